//! Files of tensors, the command itself, golden values, comparison.

use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

// ---- files

/// Tensors of a file to be.
#[derive(Clone, Default)]
pub struct Tensors(Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    pub fn raw(mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Self {
        self.0.retain(|(other, ..)| other != name);
        self.0.push((name.into(), dtype, shape.into(), bytes));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(other, ..)| other != name);
        self
    }

    pub fn real(self, name: &str, dtype: Dtype, shape: &[usize], values: &[f64]) -> Self {
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

    pub fn f32(self, name: &str, shape: &[usize], values: &[f64]) -> Self {
        self.real(name, Dtype::F32, shape, values)
    }

    pub fn u8(self, name: &str, shape: &[usize], values: &[u8]) -> Self {
        self.raw(name, Dtype::U8, shape, values.to_vec())
    }

    pub fn u32(self, name: &str, values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.raw(name, Dtype::U32, &[values.len()], bytes)
    }

    pub fn i64(self, name: &str, values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.raw(name, Dtype::I64, &[values.len()], bytes)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let views = self.0.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
            (name, view)
        });
        safetensors::serialize(views, None).unwrap()
    }
}

/// Values as they are after a trip through an element type.
pub fn rounded(dtype: Dtype, values: &[f64]) -> Vec<f64> {
    let round = |v: &f64| match dtype {
        Dtype::F16 => f64::from(f16::from_f64(*v)),
        Dtype::BF16 => f64::from(bf16::from_f64(*v)),
        _ => f64::from(*v as f32),
    };
    values.iter().map(round).collect()
}

/// An empty folder of its own for each test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{test}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

// ---- the command

pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgloss"));
    command.args(args);
    command
}

pub fn finish(mut command: Command) -> Done {
    let output = command.output().unwrap();
    let done = Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    done
}

pub fn wgloss(args: &[&str]) -> Done {
    finish(command(args))
}

impl Done {
    /// The JSON of a run that went well.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The one line of a run that did not.
    pub fn refusal(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        let line = self.stderr.trim_end().strip_prefix("wgloss: ");
        line.unwrap_or_else(|| panic!("{}", self.stderr))
    }
}

/// What a run wrote: names, shapes and values.
pub type Written = Vec<(String, Vec<usize>, Vec<f64>)>;

/// Runs a loss on tensors; gives the JSON and what was written.
pub fn run(folder: &Folder, tensors: &Tensors, loss: &str, options: &[&str]) -> (Value, Written) {
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
pub fn compare(what: &str, written: &Written, wanted: &[(&str, &[usize], &[f64])], tolerance: f64) {
    let names = |w: &[(&str, &[usize])]| format!("{w:?}");
    let found: Vec<(&str, &[usize])> = written.iter().map(|(n, s, _)| (&n[..], &s[..])).collect();
    let expected: Vec<(&str, &[usize])> = wanted.iter().map(|(n, s, _)| (*n, *s)).collect();
    assert_eq!(names(&found), names(&expected), "{what}");
    for ((name, _, found), (_, _, wanted)) in written.iter().zip(wanted) {
        close(&format!("{what}: {name}"), found, wanted, tolerance);
    }
}

/// Relative to the value where it is above 1, else to 1 for gradients and to the value for a loss.
pub fn close(what: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
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

pub struct Golden(pub Value);

impl Golden {
    pub fn read() -> Self {
        let text = include_str!("../fixtures/golden.json");
        Golden(serde_json::from_str(text).unwrap())
    }

    /// One entry of all rows, one after the other.
    pub fn rows(&self, entry: &str) -> Vec<f64> {
        let rows = self.0["zlpr"]["rows"].as_array().unwrap();
        rows.iter().flat_map(|row| numbers(&row[entry])).collect()
    }
}

pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

/// The same labels in each form: flags, reals of a type, bits, and sparse.
pub fn in_all_forms(
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

/// Two rows of three labels, of which nothing is wrong.
pub fn good() -> Tensors {
    Tensors::default()
        .f32("logits", &[2, 3], &[1.0, -2.0, 0.5, 0.0, 3.0, -1.0])
        .u8("targets", &[2, 3], &[1, 0, 0, 0, 1, 1])
}
