//! The command, as another program sees it: files in, files and a line of JSON out, exit codes, one line on stderr.
//!
//! The tests that need a GPU are ignored; `cargo test --features cli --test cli -- --ignored` runs them.

use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wgloss::Threshold;
use wgloss::reference::{self, RowInputs, RowOutputs};
use wgloss::{Bce, Reduction, Zlpr};

#[path = "cli/contrastive.rs"]
mod contrastive;
#[path = "cli/hierarchy.rs"]
mod hierarchy;

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

// ---- files

/// Tensors of a file to be.
#[derive(Clone, Default)]
struct Tensors(Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    fn raw(mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Self {
        self.0.retain(|(other, ..)| other != name);
        self.0.push((name.into(), dtype, shape.into(), bytes));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(other, ..)| other != name);
        self
    }

    fn real(self, name: &str, dtype: Dtype, shape: &[usize], values: &[f64]) -> Self {
        let bytes = match dtype {
            Dtype::F16 => values
                .iter()
                .flat_map(|v| f16::from_f64(*v).to_le_bytes())
                .collect(),
            Dtype::BF16 => values
                .iter()
                .flat_map(|v| bf16::from_f64(*v).to_le_bytes())
                .collect(),
            _ => values
                .iter()
                .flat_map(|v| (*v as f32).to_le_bytes())
                .collect(),
        };
        self.raw(name, dtype, shape, bytes)
    }

    fn f32(self, name: &str, shape: &[usize], values: &[f64]) -> Self {
        self.real(name, Dtype::F32, shape, values)
    }

    fn u8(self, name: &str, shape: &[usize], values: &[u8]) -> Self {
        self.raw(name, Dtype::U8, shape, values.to_vec())
    }

    fn u32(self, name: &str, values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.raw(name, Dtype::U32, &[values.len()], bytes)
    }

    fn i64(self, name: &str, values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.raw(name, Dtype::I64, &[values.len()], bytes)
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.0.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
            (name, view)
        });
        safetensors::serialize(views, None).unwrap()
    }
}

/// Values as they are after a trip through an element type.
fn rounded(dtype: Dtype, values: &[f64]) -> Vec<f64> {
    let round = |v: &f64| match dtype {
        Dtype::F16 => f64::from(f16::from_f64(*v)),
        Dtype::BF16 => f64::from(bf16::from_f64(*v)),
        _ => f64::from(*v as f32),
    };
    values.iter().map(round).collect()
}

/// An empty folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{test}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

// ---- the command

struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgloss"));
    command.args(args);
    command
}

fn finish(mut command: Command) -> Done {
    let output = command.output().unwrap();
    let done = Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    done
}

fn wgloss(args: &[&str]) -> Done {
    finish(command(args))
}

impl Done {
    /// The JSON of a run that went well.
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The one line of a run that did not.
    fn refusal(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        let line = self.stderr.trim_end().strip_prefix("wgloss: ");
        line.unwrap_or_else(|| panic!("{}", self.stderr))
    }
}

/// What a run wrote: names, shapes and values.
type Written = Vec<(String, Vec<usize>, Vec<f64>)>;

/// Runs a loss on tensors; gives the JSON and what was written.
fn run(folder: &Folder, tensors: &Tensors, loss: &str, options: &[&str]) -> (Value, Written) {
    let input = folder.write("in.safetensors", &tensors.bytes());
    let output = folder.path("out.safetensors");
    let mut args = vec!["run", loss, &input, "-o", &output];
    args.extend(options);
    let json = wgloss(&args).json();
    let bytes = fs::read(&output).unwrap();
    fs::remove_file(&output).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut written: Written = file
        .iter()
        .map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
            let values = tensor.data().chunks_exact(4);
            let values = values.map(|b| f32::from_le_bytes(b.try_into().unwrap()).into());
            (name.into(), tensor.shape().into(), values.collect())
        })
        .collect();
    written.sort_by(|a, b| a.0.cmp(&b.0));
    (json, written)
}

/// Compares what was written with names, shapes and values (sorted by name).
fn compare(what: &str, written: &Written, wanted: &[(&str, &[usize], &[f64])], tolerance: f64) {
    let names = |w: &[(&str, &[usize])]| format!("{w:?}");
    let found: Vec<(&str, &[usize])> = written.iter().map(|(n, s, _)| (&n[..], &s[..])).collect();
    let expected: Vec<(&str, &[usize])> = wanted.iter().map(|(n, s, _)| (*n, *s)).collect();
    assert_eq!(names(&found), names(&expected), "{what}");
    for ((name, _, found), (_, _, wanted)) in written.iter().zip(wanted) {
        close(&format!("{what}: {name}"), found, wanted, tolerance);
    }
}

/// Relative to the value where it is above 1, else to 1 for gradients and to the value for a loss.
fn close(what: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let scale = if what.ends_with(": loss") {
            wanted.abs()
        } else {
            wanted.abs().max(1.0)
        };
        let good = (found - wanted).abs() <= tolerance * scale;
        assert!(good, "{what} [{at}]: expected {wanted}, found {found}");
    }
}

// ---- golden values

struct Golden(Value);

impl Golden {
    fn read() -> Self {
        let text = include_str!("fixtures/golden.json");
        Golden(serde_json::from_str(text).unwrap())
    }

    /// One entry of all rows, one after the other.
    fn rows(&self, entry: &str) -> Vec<f64> {
        let rows = self.0["zlpr"]["rows"].as_array().unwrap();
        rows.iter().flat_map(|row| numbers(&row[entry])).collect()
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

/// The same labels in each form: flags, reals of a type, bits, and sparse.
fn in_all_forms(
    tensors: &Tensors,
    dtype: Dtype,
    [rows, cols]: [usize; 2],
    y: &[f64],
) -> [(&'static str, Tensors); 4] {
    let positive = |row: usize, col: usize| y[row * cols + col] == 1.0;
    let flags: Vec<u8> = y.iter().map(|y| *y as u8).collect();
    let width = cols.div_ceil(32);
    let mut bits = vec![0_u32; rows * width];
    let mut offsets = vec![0];
    let mut indices = Vec::new();
    for row in 0..rows {
        for col in (0..cols).filter(|col| positive(row, *col)) {
            bits[row * width + col / 32] |= 1 << (col % 32);
            indices.push(col as i64);
        }
        offsets.push(indices.len() as u32);
    }
    let bits = bits.iter().flat_map(|word| word.to_le_bytes()).collect();
    let shape = [rows, cols];
    let sparse = tensors.clone().u32("target_offsets", &offsets);
    [
        ("dense", tensors.clone().u8("targets", &shape, &flags)),
        ("dense", tensors.clone().real("targets", dtype, &shape, y)),
        (
            "bits",
            tensors
                .clone()
                .raw("target_bits", Dtype::U32, &[rows, width], bits),
        ),
        ("sparse", sparse.i64("target_indices", &indices)),
    ]
}

/// All forms of targets and all element types give the golden values of ZLPR.
fn golden(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("golden-{backend}"));
    let golden = Golden::read();
    let (s, y) = (golden.rows("s"), golden.rows("y"));
    let (loss, ds) = (golden.rows("hard"), golden.rows("hard_ds"));
    for dtype in DTYPES {
        // They are the golden values of every type.
        assert_eq!(rounded(dtype, &s), s);
        let logits = Tensors::default().real("logits", dtype, &[2, 5], &s);
        for (form, tensors) in in_all_forms(&logits, dtype, [2, 5], &y) {
            let what = format!("{backend} {dtype} {form}");
            let options = ["--backend", backend, "--reduction", "none"];
            let (json, written) = run(&folder, &tensors, "zlpr", &options);
            let wanted: [(&str, &[usize], &[f64]); 2] =
                [("grad_logits", &[2, 5], &ds), ("loss", &[2], &loss)];
            compare(&what, &written, &wanted, tolerance);
            assert_eq!(json["targets"], form);
            assert_eq!(json["loss"], Value::Null);
            // The mean of two, in the file and in the JSON.
            let (json, written) = run(&folder, &tensors, "zlpr", &options[..2]);
            let half: Vec<f64> = ds.iter().map(|ds| ds / 2.0).collect();
            let mean = [(loss[0] + loss[1]) / 2.0];
            let wanted: [(&str, &[usize], &[f64]); 2] =
                [("grad_logits", &[2, 5], &half), ("loss", &[], &mean)];
            compare(&what, &written, &wanted, tolerance);
            let found = json["loss"].as_f64().unwrap();
            close("json: loss", &[found], &mean, tolerance);
            assert_eq!(json["backend"], backend);
        }
    }
    for edge in golden.0["zlpr"]["edge"].as_array().unwrap() {
        let logits = Tensors::default().f32("logits", &[1, 3], &numbers(&edge["s"]));
        for (form, tensors) in in_all_forms(&logits, Dtype::F32, [1, 3], &numbers(&edge["y"])) {
            let what = format!("{backend} {} {form}", edge["name"]);
            let (_, written) = run(&folder, &tensors, "zlpr", &["--backend", backend]);
            let (loss, ds) = (numbers(&edge["hard"]), numbers(&edge["ds"]));
            let wanted: [(&str, &[usize], &[f64]); 2] =
                [("grad_logits", &[1, 3], &ds), ("loss", &[], &loss)];
            compare(&what, &written, &wanted, tolerance);
        }
    }
}

/// The weighted difference in its two forms and with both predictions, and what makes them.
fn golden_wdl(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("golden-wdl-{backend}"));
    let golden = &Golden::read().0["wdl"];
    let order: Vec<u32> = numbers(&golden["pi"]).iter().map(|l| *l as u32).collect();
    let (s, y) = (numbers(&golden["s"]), numbers(&golden["y"]));
    let flags: Vec<u8> = y.iter().map(|y| *y as u8).collect();
    for (form, option) in [("adj", "adjacent"), ("pair", "pairs")] {
        let theta = numbers(&golden[format!("theta_{form}")]);
        for (short, prediction) in [("nsig", "sigmoid"), ("softmax", "softmax")] {
            let full = &golden["full"][format!("{form}/{short}")];
            let plain = Tensors::default()
                .f32("logits", &[1, 5], &s)
                .f32("theta", &[theta.len()], &theta)
                .u32("permutation", &order);
            let row = plain.clone().raw(
                "permutation",
                Dtype::I32,
                &[1, 5],
                order.iter().flat_map(|l| l.to_le_bytes()).collect(),
            );
            // Flags have a gradient too: what is 0 or 1 may be a proportion.
            for tensors in [
                plain.clone().f32("targets", &[1, 5], &y),
                plain.u8("targets", &[1, 5], &flags),
                row.f32("targets", &[1, 5], &y),
            ] {
                let options = ["--form", option, "--prediction", prediction];
                let options = [&options[..], &["--backend", backend]].concat();
                let (json, written) = run(&folder, &tensors, "wdl", &options);
                let what = format!("{backend} {form} {prediction}");
                let [loss, ds, dy, dtheta] =
                    ["loss", "ds", "dy", "dtheta"].map(|k| numbers(&full[k]));
                let wanted: [(&str, &[usize], &[f64]); 4] = [
                    ("grad_logits", &[1, 5], &ds),
                    ("grad_targets", &[1, 5], &dy),
                    ("grad_theta", &[theta.len()], &dtheta),
                    ("loss", &[], &loss),
                ];
                compare(&what, &written, &wanted, tolerance);
                close(
                    &format!("{what}: loss"),
                    &[json["loss"].as_f64().unwrap()],
                    &loss,
                    tolerance,
                );
            }
        }
    }
    // A seed makes the permutation that the reference makes, one for all rows or one for each.
    let tensors = Tensors::default()
        .f32("logits", &[2, 5], &[s.clone(), s.clone()].concat())
        .f32("targets", &[2, 5], &[y.clone(), y.clone()].concat())
        .f32("theta", &[4], &numbers(&golden["theta_adj"]));
    for (options, rows) in [
        (&["--seed", "7"][..], [0, 0]),
        (&["--seed", "7", "--seed-per-row"], [0, 1]),
    ] {
        let each = ["--reduction", "none", "--backend", backend];
        let (_, seeded) = run(&folder, &tensors, "wdl", &[options, &each].concat());
        let order: Vec<u32> = rows
            .iter()
            .flat_map(|row| reference::permutation(7, *row, 5))
            .collect();
        let bytes = order.iter().flat_map(|l| l.to_le_bytes()).collect();
        let tensors = tensors
            .clone()
            .raw("permutation", Dtype::U32, &[2, 5], bytes);
        let (_, given) = run(&folder, &tensors, "wdl", &each);
        assert_eq!(seeded, given, "{options:?}");
        assert_eq!(
            rows[0] == rows[1],
            seeded[3].2[0] == seeded[3].2[1],
            "{seeded:?}"
        );
    }
}

#[test]
fn golden_wdl_on_the_reference() {
    golden_wdl("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn golden_wdl_on_a_gpu() {
    golden_wdl("gpu", 1e-5);
}

#[test]
fn golden_on_the_reference() {
    golden("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn golden_on_a_gpu() {
    golden("gpu", 1e-5);
}

// ---- every loss with everything it takes

enum Config {
    Zlpr(Zlpr),
    Bce(Bce),
}

impl Config {
    fn truth(&self, inputs: &RowInputs<'_, f64>) -> RowOutputs<f64> {
        match self {
            Config::Zlpr(loss) => reference::zlpr(&loss.with_reduction(Reduction::None), inputs),
            Config::Bce(loss) => reference::bce(&loss.with_reduction(Reduction::None), inputs),
        }
        .unwrap()
    }
}

/// Every loss, with masks, weights and upstream gradients in all element types, is that of the library.
fn family(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("family-{backend}"));
    let golden = Golden::read();
    let (s, u) = (golden.rows("s"), golden.rows("u"));
    let (y, t) = (golden.rows("y"), golden.rows("t"));
    let class_weight = [0.5, 1.0, 2.0, 1.5, 0.25];
    let (sample_weight, grad_loss) = ([0.75, 2.0], [-1.5, 0.5]);
    let class_mask = [1, 1, 0, 1, 1];
    let mask = [1, 1, 1, 1, 1, 1, 0, 1, 1, 1];
    let bools = |flags: &[u8]| -> Vec<bool> { flags.iter().map(|flag| *flag == 1).collect() };

    let half = |row_mean| Bce {
        pos_weight: 2.5,
        smoothing: 0.1,
        row_mean,
        ..Bce::default()
    };
    let bce = ["--pos-weight", "2.5", "--smoothing", "0.1"];
    let table: [(&str, &[&str], Config); 11] = [
        ("zlpr", &[], Config::Zlpr(Zlpr::hard())),
        (
            "zlpr",
            &["--smoothing", "0.1"],
            Config::Zlpr(Zlpr::soft().with_smoothing(0.1)),
        ),
        ("zlpr-soft", &[], Config::Zlpr(Zlpr::soft())),
        (
            "zlpr-soft",
            &["--smoothing", "0.25"],
            Config::Zlpr(Zlpr::soft().with_smoothing(0.25)),
        ),
        ("zlpr-kl", &[], Config::Zlpr(Zlpr::kl_symmetric(1.0))),
        (
            "zlpr-kl",
            &["--beta", "2"],
            Config::Zlpr(Zlpr::kl_symmetric(2.0)),
        ),
        (
            "zlpr-kl",
            &["--kl", "excess"],
            Config::Zlpr(Zlpr::kl_excess()),
        ),
        ("lsep", &[], Config::Zlpr(Zlpr::lsep())),
        ("two-way", &[], Config::Zlpr(Zlpr::two_way(4.0, 1.0))),
        (
            "two-way",
            &["--t-pos", "2", "--t-neg", "0.5"],
            Config::Zlpr(Zlpr::two_way(2.0, 0.5)),
        ),
        ("bce", &bce, Config::Bce(half(false))),
    ];
    let mean = [&bce[..], &["--row", "mean"]].concat();
    let table = table
        .into_iter()
        .chain([("bce", &mean[..], Config::Bce(half(true)))]);
    for (loss, options, config) in table {
        for dtype in DTYPES {
            let (name, grad, targets) = match loss {
                "zlpr-kl" => ("other", Some("grad_other"), &u),
                "zlpr-soft" | "bce" => ("targets", Some("grad_targets"), &t),
                _ => ("targets", None, &y),
            };
            let shape = [2, 5];
            let tensors = Tensors::default()
                .real("logits", dtype, &shape, &s)
                .real(name, dtype, &shape, targets)
                .raw("class_mask", Dtype::BOOL, &[5], class_mask.to_vec())
                .u8("mask", &shape, &mask)
                .real("sample_weight", Dtype::BF16, &[2], &sample_weight)
                .real("class_weight", Dtype::F16, &[5], &class_weight)
                .f32("grad_loss", &[2], &grad_loss)
                .i64("something_else", &[-1]);
            let what = format!("{backend} {loss} {options:?} {dtype}");
            let options = [options, &["--backend", backend, "--reduction", "none"]].concat();
            let (_, written) = run(&folder, &tensors, loss, &options);
            let truth = config.truth(&RowInputs {
                rows: 2,
                cols: 5,
                logits: &rounded(dtype, &s),
                targets: &rounded(dtype, targets),
                class_mask: Some(&bools(&class_mask)),
                mask: Some(&bools(&mask)),
                sample_weight: Some(&sample_weight),
                class_weight: Some(&class_weight),
                grad_loss: Some(&grad_loss),
                ..RowInputs::default()
            });
            let mut wanted: Vec<(&str, &[usize], &[f64])> =
                vec![("grad_logits", &[2, 5], &truth.grad_logits)];
            wanted.extend(grad.map(|grad| (grad, &[2, 5][..], &truth.grad_targets[..])));
            wanted.push(("loss", &[2], &truth.loss));
            wanted.sort_by(|a, b| a.0.cmp(b.0));
            compare(&what, &written, &wanted, tolerance);
        }
    }
}

#[test]
fn every_loss_on_the_reference() {
    family("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn every_loss_on_a_gpu() {
    family("gpu", 1e-5);
}

/// The golden values of the other losses, with the defaults of the options.
fn golden_family(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("golden-family-{backend}"));
    let golden = Golden::read();
    let logits = Tensors::default().f32("logits", &[2, 5], &golden.rows("s"));
    let hard = logits.clone().f32("targets", &[2, 5], &golden.rows("y"));
    let soft = logits.clone().f32("targets", &[2, 5], &golden.rows("t"));
    let other = logits.f32("other", &[2, 5], &golden.rows("u"));
    let tlpr = hard.clone().f32("threshold", &[1], &[0.4]);
    let golden_rows: [(&str, &[&str], &Tensors, &str); 6] = [
        ("zlpr-soft", &[], &soft, "soft"),
        ("zlpr-kl", &[], &other, "kl_beta1"),
        ("zlpr-kl", &["--beta", "2"], &other, "kl_beta2"),
        ("zlpr-kl", &["--kl", "excess"], &other, "excess"),
        ("lsep", &[], &hard, "lsep"),
        ("tlpr", &[], &tlpr, "tlpr"),
    ];
    for (loss, options, tensors, entry) in golden_rows {
        let options = [options, &["--backend", backend, "--reduction", "none"]].concat();
        let (_, written) = run(&folder, tensors, loss, &options);
        let what = format!("{backend} {loss} {options:?}");
        for (name, _, values) in &written {
            let column = match &name[..] {
                "loss" => entry.to_owned(),
                "grad_logits" => format!("{entry}_ds"),
                "grad_targets" => format!("{entry}_dt"),
                "grad_other" if entry == "excess" => continue,
                "grad_other" => format!("{entry}_du"),
                "grad_threshold" => {
                    let each = golden.rows("tlpr_ds0");
                    let sum = [each[0] + each[1]];
                    close(&format!("{what}: {name}"), values, &sum, tolerance);
                    continue;
                }
                other => panic!("{other}"),
            };
            let wanted = golden.rows(&column);
            close(&format!("{what}: {name}"), values, &wanted, tolerance);
        }
    }
    let hard = hard.without("logits").f32("logits", &[2, 5], &{
        // The baselines have the first row alone.
        let s = golden.rows("s");
        [&s[..5], &s[..5]].concat()
    });
    let y = golden.rows("y");
    let hard = hard.f32("targets", &[2, 5], &[&y[..5], &y[..5]].concat());
    let (json, _) = run(&folder, &hard, "bce", &["--backend", backend]);
    let found = json["loss"].as_f64().unwrap();
    close("bce: loss", &[found], &[2.156001214875], tolerance);
}

#[test]
fn golden_family_on_the_reference() {
    golden_family("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn golden_family_on_a_gpu() {
    golden_family("gpu", 1e-5);
}

#[test]
fn a_threshold_is_shared_as_its_shape_says() {
    let folder = Folder::new("threshold");
    let table: [([usize; 2], &[usize], &str); 11] = [
        ([2, 3], &[], "batch"),
        ([2, 3], &[1], "batch"),
        ([2, 3], &[1, 1], "batch"),
        ([2, 3], &[2], "row"),
        ([2, 3], &[2, 1], "row"),
        ([2, 3], &[3], "label"),
        ([2, 3], &[1, 3], "label"),
        ([3, 3], &[3], "row"),
        ([3, 3], &[3, 1], "row"),
        ([3, 3], &[1, 3], "label"),
        ([1, 3], &[3], "label"),
    ];
    for ([rows, cols], shape, shared) in table {
        let all = rows * cols;
        let s: Vec<f64> = (0..all).map(|i| i as f64 * 0.5 - 1.0).collect();
        let y: Vec<f64> = (0..all).map(|i| f64::from(i % 3 == 1)).collect();
        let t: Vec<f64> = (0..shape.iter().product())
            .map(|i: usize| i as f64 * 0.25 - 0.5)
            .collect();
        let tensors = Tensors::default()
            .f32("logits", &[rows, cols], &s)
            .f32("targets", &[rows, cols], &y)
            .f32("threshold", shape, &t);
        let (_, written) = run(&folder, &tensors, "tlpr", &["--backend", "cpu"]);
        let truth = reference::zlpr(
            &Zlpr::hard(),
            &RowInputs {
                rows,
                cols,
                logits: &s,
                targets: &y,
                threshold: match shared {
                    "batch" => Some(Threshold::Batch(&t[..])),
                    "row" => Some(Threshold::Row(&t[..])),
                    _ => Some(Threshold::Label(&t[..])),
                },
                ..RowInputs::default()
            },
        )
        .unwrap();
        let wanted: [(&str, &[usize], &[f64]); 3] = [
            ("grad_logits", &[rows, cols], &truth.grad_logits),
            ("grad_threshold", shape, &truth.grad_threshold),
            ("loss", &[], &truth.loss),
        ];
        compare(&format!("{shape:?} {shared}"), &written, &wanted, 1e-6);
    }
}

// ---- what the result looks like

/// Two rows of three labels, of which nothing is wrong.
fn good() -> Tensors {
    Tensors::default()
        .f32("logits", &[2, 3], &[1.0, -2.0, 0.5, 0.0, 3.0, -1.0])
        .u8("targets", &[2, 3], &[1, 0, 0, 0, 1, 1])
}

#[test]
fn the_result_is_one_object_with_these_fields() {
    let folder = Folder::new("json");
    let input = folder.write("in.safetensors", &good().bytes());
    let done = wgloss(&["run", "zlpr", &input, "--backend", "cpu"]);
    assert_eq!(done.stderr, "");
    let json = done.json();
    let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(|k| &k[..]).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "adapter",
            "backend",
            "cols",
            "driver",
            "dtype",
            "loss",
            "reduction",
            "rows",
            "targets",
            "variant"
        ]
    );
    assert_eq!(json["variant"], "reference");
    assert_eq!(json["backend"], "cpu");
    assert_eq!(json["rows"], 2);
    assert_eq!(json["cols"], 3);
    assert_eq!(json["dtype"], "f32");
    assert_eq!(json["reduction"], "mean");
    assert_eq!(folder.names(), ["in.safetensors"]);
}

#[test]
fn losses_that_json_has_no_number_for_have_names() {
    let folder = Folder::new("names");
    for (logit, weight, name) in [
        (f64::NAN, 1.0, "NaN"),
        (f64::NEG_INFINITY, 1.0, "Infinity"),
        (f64::NEG_INFINITY, -1.0, "-Infinity"),
    ] {
        let tensors = good()
            .f32("logits", &[2, 3], &[logit, -2.0, 0.5, 0.0, 3.0, -1.0])
            .f32("sample_weight", &[2], &[weight, 1.0]);
        let (json, _) = run(&folder, &tensors, "zlpr", &["--backend", "cpu"]);
        assert_eq!(json["loss"], name);
    }
}

#[test]
fn empty_batches_and_rows_cost_nothing() {
    let folder = Folder::new("empty");
    for shape in [[0, 3], [2, 0], [0, 0]] {
        let logits = Tensors::default().f32("logits", &shape, &[]);
        for (_, tensors) in in_all_forms(&logits, Dtype::F32, shape, &[]) {
            let (json, written) = run(&folder, &tensors, "zlpr", &["--backend", "cpu"]);
            assert_eq!(json["loss"], 0.0, "{shape:?}");
            let wanted: [(&str, &[usize], &[f64]); 2] =
                [("grad_logits", &shape, &[]), ("loss", &[], &[0.0])];
            compare("empty", &written, &wanted, 0.0);
            let options = ["--backend", "cpu", "--reduction", "none"];
            let (json, written) = run(&folder, &tensors, "zlpr", &options);
            assert_eq!(json["loss"], Value::Null, "{shape:?}");
            assert_eq!(written[1].1, [shape[0]]);
        }
    }
}

// ---- what is refused

#[test]
fn bad_tensors_are_refused_by_name() {
    let folder = Folder::new("tensors");
    let nan = f64::NAN;
    let soft = good().f32("targets", &[2, 3], &[1.0, 0.25, 0.0, 0.0, 1.0, 1.0]);
    let sparse = |offsets: &[i64], indices: &[i64]| {
        let tensors = good().without("targets").i64("target_offsets", offsets);
        tensors.i64("target_indices", indices)
    };
    let kl = good().without("targets").f32("other", &[2, 3], &[0.0; 6]);
    let tlpr = |shape: &[usize], t: &[f64]| good().f32("threshold", shape, t);
    let bits = |cols: usize| {
        let tensors = good().without("targets");
        tensors.raw("target_bits", Dtype::U32, &[2, cols], vec![0; 8 * cols])
    };
    let order = |values: &[u32]| good().u32("permutation", values);
    let wdl = |theta: &[usize], t: &[f64]| good().f32("theta", theta, t);
    #[rustfmt::skip]
    let table: Vec<(Tensors, &str, &str)> = vec![
        (order(&[0, 2, 2]), "wdl", "permutation: expected each label below 3 once, found 2 twice in row 0"),
        (order(&[0, 3, 1]), "wdl", "permutation: expected each label below 3 once, found 3 in row 0"),
        (order(&[0, 1]), "wdl", "permutation: expected [3] or [2, 3], found [2]"),
        (good().i64("permutation", &[0, -1, 1]), "wdl", "permutation: expected values from 0 to 4294967295, found -1 at [1]"),
        (good().f32("permutation", &[3], &[0.0, 1.0, 2.0]), "wdl", "permutation: expected U32 or I32 or I64, found F32"),
        (good().f32("targets", &[2, 3], &[0.0, -0.5, 0.0, 0.0, 0.0, 0.0]), "wdl", "targets: expected finite values, not negative, found -0.5 at [0, 1]"),
        (good().f32("targets", &[2, 3], &[0.0, 0.0, 0.0, 0.0, nan, 0.0]), "wdl", "targets: expected finite values, not negative, found NaN at [1, 1]"),
        (wdl(&[2], &[0.0; 2]), "wdl", "theta: expected [3] or [r, 3], found [2]"),
        (wdl(&[2, 2], &[0.0; 4]), "wdl", "theta: expected [3] or [r, 3], found [2, 2]"),
        (wdl(&[3], &[0.0, nan, 0.0]), "wdl", "theta: expected finite values, found NaN at [0, 1]"),
        (order(&[0, 2, 1]).f32("theta", &[3], &[0.0; 3]), "wdl", "theta: expected [2], found [3]"),
        (good().f32("theta0", &[2], &[0.0; 2]), "wdl", "theta0: expected [1], found [2]"),
        (good().f32("theta0", &[1], &[nan]), "wdl", "theta0: expected a finite value, found NaN"),
        (good().without("logits"), "zlpr", "logits: expected a tensor of this name, found none (in the file: targets)"),
        (good().f32("logits", &[6], &[0.0; 6]), "zlpr", "logits: expected [B, L], found [6]"),
        (good().f32("logits", &[1, 2, 3], &[0.0; 6]), "zlpr", "logits: expected [B, L], found [1, 2, 3]"),
        (good().u8("logits", &[2, 3], &[0; 6]), "zlpr", "logits: expected F32 or F16 or BF16, found U8"),
        (good().f32("logits", &[1 << 40, 0], &[]), "zlpr", "logits: expected at most 16777216 rows and "),
        (good().f32("logits", &[0, 1 << 40], &[]), "zlpr", "logits: expected at most 4294967295 rows and 4294967295 labels, found "),
        (good().without("targets"), "zlpr", "targets: expected one of targets, target_bits, target_offsets with target_indices, found none of them"),
        (good().u8("targets", &[3, 2], &[0; 6]), "zlpr", "targets: expected [2, 3], found [3, 2]"),
        (good().u8("targets", &[2, 3], &[0, 1, 0, 0, 7, 0]), "zlpr", "targets: expected 0 or 1, found 7 at [1, 1]"),
        (good().raw("targets", Dtype::I64, &[2, 3], vec![0; 48]), "zlpr", "targets: expected U8 or BOOL or F32 or F16 or BF16, found I64"),
        (soft.clone(), "zlpr", "targets: expected 0 or 1 with zlpr (zlpr-soft takes soft labels), found 0.25 at [0, 1]"),
        (soft, "lsep", "targets: expected 0 or 1 with lsep, found 0.25 at [0, 1]"),
        (good().f32("targets", &[2, 3], &[0.0, 1.5, 0.0, 0.0, 0.0, 0.0]), "zlpr-soft", "targets: expected values in [0, 1], found 1.5 at [0, 1]"),
        (good().f32("targets", &[2, 3], &[0.0, 0.0, 0.0, 0.0, nan, 0.0]), "bce", "targets: expected values in [0, 1], found NaN at [1, 1]"),
        (good().u32("target_offsets", &[0]), "zlpr", "target_offsets: expected no second form of targets beside targets, found one"),
        (good().u32("target_indices", &[0]), "zlpr", "target_offsets: expected no second form of targets beside targets, found one"),
        (good().without("targets").u32("target_indices", &[0]), "zlpr", "target_offsets: expected a tensor of this name, found none"),
        (good().without("targets").u32("target_offsets", &[0, 0, 0]), "zlpr", "target_indices: expected a tensor of this name, found none"),
        (bits(2), "zlpr", "target_bits: expected [2, 1], found [2, 2]"),
        (sparse(&[0, 1], &[0]), "zlpr", "target_offsets: expected [3], found [2]"),
        (sparse(&[1, 1, 1], &[0]), "zlpr", "target_offsets: expected 0 as the first value, found 1 at [0]"),
        (sparse(&[0, 2, 1], &[0]), "zlpr", "target_offsets: expected values that do not fall (2 before), found 1 at [2]"),
        (sparse(&[0, 1, 3], &[0]), "zlpr", "target_offsets: expected 1 (all target_indices) as the last value, found 3 at [2]"),
        (sparse(&[0, -1, 1], &[0]), "zlpr", "target_offsets: expected values from 0 to 4294967295, found -1 at [1]"),
        (sparse(&[0, 1, 2], &[0, 3]), "zlpr", "target_indices: expected labels below 3, found 3 at [1]"),
        (sparse(&[0, 1, 2], &[1 << 40, 0]), "zlpr", "target_indices: expected values from 0 to 4294967295, found 1099511627776 at [0]"),
        (good(), "zlpr-kl", "targets: expected no such tensor with zlpr-kl, which takes other, found one"),
        (good().without("targets"), "zlpr-kl", "other: expected a tensor of this name, found none"),
        (kl.clone(), "zlpr", "other: expected no such tensor with zlpr, which takes targets, found one"),
        (kl.clone().real("other", Dtype::F16, &[2, 3], &[0.0; 6]), "zlpr-kl", "other: expected f32, found f16"),
        (kl.u8("other", &[2, 3], &[0; 6]), "zlpr-kl", "other: expected F32 or F16 or BF16, found U8"),
        (good(), "tlpr", "threshold: expected a tensor of this name, found none"),
        (tlpr(&[1], &[0.0]), "zlpr", "threshold: expected no such tensor with zlpr (tlpr takes one), found one"),
        (tlpr(&[4], &[0.0; 4]), "tlpr", "threshold: expected [1], [2] or [2, 1] (rows), [3] or [1, 3] (labels), found [4]"),
        (tlpr(&[2, 3], &[0.0; 6]), "tlpr", "threshold: expected [1], [2] or [2, 1] (rows), [3] or [1, 3] (labels), found [2, 3]"),
        (tlpr(&[2, 1], &[0.0, nan]), "tlpr", "threshold: expected finite values, found NaN at [1, 0]"),
        (good().f32("class_weight", &[2], &[1.0; 2]), "zlpr", "class_weight: expected [3], found [2]"),
        (good().f32("class_weight", &[3], &[1.0, -1.0, 1.0]), "zlpr", "class_weight: expected finite weights, not negative, found -1 at [0, 1]"),
        (good().f32("sample_weight", &[2], &[1.0, nan]), "zlpr", "sample_weight: expected finite weights, found NaN at [0, 1]"),
        (good().f32("sample_weight", &[2, 1], &[1.0; 2]), "zlpr", "sample_weight: expected [2], found [2, 1]"),
        (good().f32("class_mask", &[3], &[1.0; 3]), "zlpr", "class_mask: expected U8 or BOOL, found F32"),
        (good().u8("mask", &[3], &[1; 3]), "zlpr", "mask: expected [2, 3], found [3]"),
        (good().f32("grad_loss", &[2], &[1.0; 2]), "zlpr", "grad_loss: expected [1], found [2]"),
    ];
    let untouched = folder.write("out.safetensors", b"as it was");
    for (tensors, loss, message) in table {
        let input = folder.write("in.safetensors", &tensors.bytes());
        let done = wgloss(&["run", loss, &input, "-o", &untouched, "--backend", "cpu"]);
        let line = done.refusal(2);
        assert!(line.starts_with(message), "{line}\nexpected {message}");
        assert_eq!(fs::read(&untouched).unwrap(), b"as it was");
        assert_eq!(folder.names(), ["in.safetensors", "out.safetensors"]);
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    let folder = Folder::new("settings");
    let input = folder.write("in.safetensors", &good().bytes());
    #[rustfmt::skip]
    let table: [(&str, &[&str], &str); 24] = [
        ("zlpr", &["--beta", "2"], "--beta: expected an option of zlpr (--smoothing), found one of another loss"),
        ("zlpr", &["--t-pos", "2"], "--t-pos: expected an option of zlpr"),
        ("zlpr-soft", &["--pos-weight", "2"], "--pos-weight: expected an option of zlpr-soft"),
        ("zlpr-kl", &["--smoothing", "0"], "--smoothing: expected an option of zlpr-kl (--kl, --beta)"),
        ("tlpr", &["--smoothing", "0.1"], "--smoothing: expected an option of tlpr (none)"),
        ("lsep", &["--t-neg", "1"], "--t-neg: expected an option of lsep (none)"),
        ("two-way", &["--row", "mean"], "--row: expected an option of two-way (--t-pos, --t-neg)"),
        ("bce", &["--kl", "excess"], "--kl: expected an option of bce"),
        ("zlpr-kl", &["--kl", "excess", "--beta", "1"], "--beta: expected none with --kl excess, found 1"),
        ("zlpr-kl", &["--beta", "-1"], "beta: expected a finite number"),
        ("two-way", &["--t-pos", "0"], "t_pos: expected a finite number"),
        ("two-way", &["--t-neg", "inf"], "t_neg: expected a finite number"),
        ("bce", &["--pos-weight", "nan"], "pos_weight: expected a finite number"),
        ("zlpr", &["--smoothing", "1.5"], "smoothing: expected a number from 0 to 1, found 1.5"),
        ("zlpr", &["--smoothing", "nan"], "smoothing: expected a number from 0 to 1, found NaN"),
        ("bce", &["--seed", "3"], "--seed: expected an option of bce"),
        ("wdl", &["--form", "adjacent"], "permutation: expected one with --form adjacent, or --seed, found none"),
        ("wdl", &["--form", "pairs", "--seed", "3"], "--seed: expected none with --form pairs"),
        ("wdl", &["--seed-per-row"], "--seed-per-row: expected none without --seed"),
        ("wdl", &["--huber-delta", "1"], "--huber-delta: expected none without --phi huber"),
        ("wdl", &["--phi", "huber", "--huber-delta", "0"], "huber_delta: expected a finite number of at least 1e-6, found 0"),
        ("wdl", &["--epsilon", "-1"], "epsilon: expected a finite number of at least 0e0, found -1"),
        ("wdl", &["--lambda-ratio", "nan"], "lambda_ratio: expected a finite number of at least 0e0, found NaN"),
        ("zlpr", &["--variant", "tree-64-packed"], "--variant: expected a GPU backend, found --backend cpu"),
    ];
    for (loss, options, message) in table {
        let args = [&["run", loss, &input, "--backend", "cpu"], options].concat();
        let done = wgloss(&args);
        let line = done.refusal(2);
        assert!(line.starts_with(message), "{line}\nexpected {message}");
    }
    // What clap refuses: more lines, the same code.
    let usage: [&[&str]; 6] = [
        &[],
        &["run", "zlpr"],
        &["run", "no-such-loss", &input],
        &["run", "zlpr", &input, "--variant", "bush-64-packed"],
        &["run", "zlpr", &input, "--reduction", "max"],
        &["bench", "zlpr", "--shape", "3"],
    ];
    for args in usage {
        assert_eq!(wgloss(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn benchmarks_give_one_object() {
    for (loss, options) in [("zlpr", &[][..]), ("wdl", &["--form", "adjacent"])] {
        let common = [
            "bench",
            loss,
            "--shape",
            "20x30",
            "--backend",
            "cpu",
            "--json",
            "--time",
            "0.05",
        ];
        let json = wgloss(&[&common[..], options].concat()).json();
        assert!(json["reference_us"].as_f64().unwrap() > 0.0, "{json}");
        assert_eq!(json["loss"], loss, "{json}");
        assert_eq!(
            (&json["rows"], &json["cols"]),
            (&Value::from(20), &Value::from(30)),
            "{json}"
        );
    }
}

#[test]
fn outputs_are_written_whole_or_not_at_all() {
    let folder = Folder::new("output");
    let input = folder.write("in.safetensors", &good().bytes());
    let run = |output: &str| wgloss(&["run", "zlpr", &input, "-o", output, "--backend", "cpu"]);
    // Over the input itself.
    let both = folder.write("both.safetensors", &good().bytes());
    wgloss(&["run", "zlpr", &both, "-o", &both, "--backend", "cpu"]).json();
    assert!(SafeTensors::deserialize(&fs::read(&both).unwrap()).is_ok());
    // Not over a folder, nor into one that is not there.
    assert!(run(&folder.path("")).refusal(2).contains("a directory"));
    let missing = folder.path("no-such-folder/out.safetensors");
    assert!(run(&missing).refusal(2).contains("a file to write"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt as _, symlink};
        let link = folder.path("link");
        symlink(&both, &link).unwrap();
        fs::write(&both, "old").unwrap();
        run(&link).json();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(SafeTensors::deserialize(&fs::read(&both).unwrap()).is_ok());
        run("/dev/null").refusal(2);
        let null = fs::metadata("/dev/null").unwrap();
        assert!(null.file_type().is_char_device());
        assert_eq!(
            folder.names(),
            ["both.safetensors", "in.safetensors", "link"]
        );
    }
}

/// A file with this header, and so many bytes after it.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn malformed_files_are_refused() {
    let folder = Folder::new("malformed");
    let whole = good().bytes();
    let one = |name: &str, dtype: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let header = |tensors: &[String]| format!("{{{}}}", tensors.join(","));
    // Sizes that add up to 2^64 and a little more.
    let eighth = (1_u64 << 61) - 1;
    let mut huge = Vec::new();
    let mut end = 0_u64;
    for i in 0..8 {
        let begin = end;
        end += eighth;
        let offsets = format!("[{begin},{end}]");
        huge.push(one(
            &format!("t{i}"),
            "U8",
            &format!("[{eighth}]"),
            &offsets,
        ));
    }
    let mut table = vec![
        ("empty", vec![]),
        ("seven bytes", vec![0; 7]),
        ("no header", vec![0; 8]),
        ("half of it", whole[..whole.len() / 2].into()),
        ("a byte less", whole[..whole.len() - 1].into()),
        ("a byte more", [&whole[..], &[0]].concat()),
        ("huge header", [&[0xff; 8][..], &whole[8..]].concat()),
        ("header of 2^40", file("{}", 0)),
        ("no JSON", file("not JSON", 0)),
        ("other JSON", file("[1, 2, 3]", 0)),
        (
            "no UTF-8",
            [&[2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe][..]].concat(),
        ),
        ("deep JSON", file(&"[".repeat(100_000), 0)),
        ("lines", file("{\"a\n\r\nb\": \n\n}", 0)),
        (
            "overlap",
            file(
                &header(&[
                    one("logits", "F32", "[1,1]", "[0,4]"),
                    one("targets", "F32", "[1,1]", "[0,4]"),
                ]),
                4,
            ),
        ),
        (
            "hole",
            file(&header(&[one("logits", "F32", "[1,1]", "[4,8]")]), 8),
        ),
        (
            "backwards",
            file(&header(&[one("logits", "F32", "[1,1]", "[4,0]")]), 4),
        ),
        (
            "beyond the end",
            file(&header(&[one("logits", "F32", "[1,4]", "[0,16]")]), 4),
        ),
        (
            "wrong size",
            file(&header(&[one("logits", "F32", "[1,3]", "[0,4]")]), 4),
        ),
        (
            "unknown type",
            file(&header(&[one("logits", "F99", "[1,1]", "[0,4]")]), 4),
        ),
        (
            "negative shape",
            file(&header(&[one("logits", "F32", "[-1,1]", "[0,4]")]), 4),
        ),
        (
            "overflowing shape",
            file(
                &header(&[one("logits", "F32", "[4294967296,4294967296,4]", "[0,4]")]),
                4,
            ),
        ),
        ("sizes beyond 2^64", file(&header(&huge), 0)),
    ];
    if let Some((_, bytes)) = table.iter_mut().find(|(name, _)| *name == "header of 2^40") {
        bytes[..8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    }
    for (name, bytes) in table {
        let input = folder.write("in.safetensors", &bytes);
        let done = wgloss(&["run", "zlpr", &input, "--backend", "cpu"]);
        let line = done.refusal(2);
        let expected = format!("{input}: expected a safetensors file, found ");
        assert!(line.starts_with(&expected), "{name}: {line}");
    }
    for path in [folder.path(""), folder.path("no-such-file")] {
        let done = wgloss(&["run", "zlpr", &path, "--backend", "cpu"]);
        assert!(done.refusal(2).contains("expected a safetensors file"));
    }
}

/// Numbers from a seed (xorshift).
struct Seed(u64);

impl Seed {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn spoilt_files_never_cause_a_panic() {
    let folder = Folder::new("spoilt");
    let sparse = good()
        .without("targets")
        .u32("target_offsets", &[0, 1, 3])
        .i64("target_indices", &[0, 1, 2])
        .f32("threshold", &[2], &[0.5, -0.5]);
    let dense = good()
        .real("logits", Dtype::BF16, &[2, 3], &[0.5; 6])
        .u8("mask", &[2, 3], &[1; 6])
        .f32("sample_weight", &[2], &[1.0; 2])
        .f32("grad_loss", &[1], &[2.0]);
    let files = [("tlpr", sparse.bytes()), ("zlpr", dense.bytes())];
    let (mut good, mut bad) = (0, 0);
    for round in 0..240_u64 {
        let mut seed = Seed(0x9e37_79b9_7f4a_7c15 ^ (round + 1));
        let (loss, whole) = &files[round as usize % 2];
        let mut bytes = whole.clone();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        match round / 2 % 6 {
            0 => bytes.truncate(seed.below(bytes.len())),
            1 => bytes[seed.below(8)] = seed.below(256) as u8,
            2 => {
                // Any bits of the header.
                for _ in 0..=seed.below(4) {
                    bytes[8 + seed.below(header - 8)] ^= 1 << seed.below(8);
                }
            }
            3 => {
                // Another digit, which leaves it JSON.
                let digits: Vec<usize> = (8..header)
                    .filter(|at| bytes[*at].is_ascii_digit())
                    .collect();
                for _ in 0..=seed.below(3) {
                    bytes[digits[seed.below(digits.len())]] = b'0' + seed.below(10) as u8;
                }
            }
            4 => {
                // Any bits of the tensors.
                for _ in 0..=seed.below(8) {
                    let at = header + seed.below(bytes.len() - header);
                    bytes[at] ^= 1 << seed.below(8);
                }
            }
            _ => {
                // A piece of the header twice.
                let from = 8 + seed.below(header - 8);
                let piece = bytes[from..header].to_vec();
                bytes.splice(from..from, piece);
                let longer = (2 * header - from - 8) as u64;
                bytes[..8].copy_from_slice(&longer.to_le_bytes());
            }
        }
        let input = folder.write("in.safetensors", &bytes);
        let output = folder.path("out.safetensors");
        let done = wgloss(&["run", loss, &input, "-o", &output, "--backend", "cpu"]);
        let written = Path::new(&output).exists();
        if done.code == Some(0) {
            done.json();
            assert!(written, "round {round}");
            fs::remove_file(&output).unwrap();
            good += 1;
        } else {
            done.refusal(2);
            assert!(!written, "round {round}");
            bad += 1;
        }
    }
    // Both happen: it is no test of the first check alone.
    assert!(good >= 10 && bad >= 100, "{good} good, {bad} bad");
}

// ---- with and without a GPU

/// A command that sees no Vulkan driver.
#[cfg(target_os = "linux")]
fn without_gpu(args: &[&str]) -> Done {
    let mut command = command(args);
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        command.env(variable, "/no-such-driver.json");
    }
    command
        .env_remove("VK_ADD_DRIVER_FILES")
        .env_remove("WGPU_BACKEND");
    finish(command)
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_gpu_the_reference_computes_and_says_so() {
    let folder = Folder::new("no-gpu");
    let input = folder.write("in.safetensors", &good().bytes());
    let done = without_gpu(&["run", "zlpr", &input]);
    assert_eq!(done.json()["backend"], "cpu");
    assert!(
        done.stderr
            .starts_with("wgloss: computing on the CPU reference"),
        "{}",
        done.stderr
    );
    assert_eq!(done.stderr.lines().count(), 1);
    for options in [
        ["--backend", "gpu"],
        ["--adapter", "x"],
        ["--variant", "tree-64-packed"],
    ] {
        let done = without_gpu(&[&["run", "zlpr", &input], &options[..]].concat());
        assert!(done.refusal(1).starts_with("adapter: expected "));
    }
    assert!(
        without_gpu(&["adapters"])
            .refusal(1)
            .contains("scripts/driver.sh")
    );
    // Bad input is told alone, without the notice.
    let input = folder.write("in.safetensors", &good().without("targets").bytes());
    without_gpu(&["run", "zlpr", &input]).refusal(2);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn adapters_marks_the_one_that_auto_takes() {
    let done = wgloss(&["adapters"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let marked: Vec<&str> = done
        .stdout
        .lines()
        .filter(|l| l.starts_with("*  "))
        .collect();
    assert_eq!(marked.len(), 1, "{}", done.stdout);
    let folder = Folder::new("auto");
    let (json, _) = run(&folder, &good(), "zlpr", &[]);
    assert_eq!(json["backend"], "gpu");
    for field in ["adapter", "variant"] {
        let value = json[field].as_str().unwrap();
        assert!(marked[0].contains(value), "{value} in {}", marked[0]);
    }
    // A variant can be forced, and one that no device has is a refusal, not bad input.
    let options = ["--variant", "tree-32-packed"];
    let (json, _) = run(&folder, &good(), "zlpr", &options);
    assert_eq!(json["variant"], options[1]);
}
