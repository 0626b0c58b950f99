//! Golden values of the losses of rows.

use crate::support::*;
use safetensors::tensor::Dtype;
use serde_json::Value;
use wgloss::reference;

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
            let plain =
                Tensors::default()
                    .f32("logits", &[1, 5], &s)
                    .f32("theta", &[theta.len()], &theta);
            // Pairs take no permutation.
            let bytes = order.iter().flat_map(|l| l.to_le_bytes()).collect();
            let (plain, row) = match form {
                "adj" => (
                    plain.clone().u32("permutation", &order),
                    plain.raw("permutation", Dtype::I32, &[1, 5], bytes),
                ),
                _ => (plain.clone(), plain),
            };
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
