//! `wgloss bench`.

use crate::support::*;
use serde_json::Value;

#[test]
fn benchmarks_give_one_object() {
    for (loss, options) in [
        ("zlpr", &[][..]),
        ("wdl", &["--form", "adjacent"]),
        ("metrics", &["--targets", "sparse"]),
    ] {
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

/// A measurement of a loss on the adapter.
fn measured(args: &[&str]) -> Value {
    let common = ["bench", "--backend", "gpu", "--json", "--time", "0.05"];
    let mut all = vec![common[0]];
    all.extend(args);
    all.extend(&common[1..]);
    wgloss(&all).json()
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_call_is_held_against_a_copy_and_products_against_the_peak() {
    let json = measured(&["zlpr", "--shape", "20x300", "--sets", "3"]);
    assert_eq!(json["sets"], 3, "{json}");
    // Logits, bytes, gradient, loss.
    assert_eq!(json["set_bytes"], 6000 * 9 + 4, "{json}");
    let number = |json: &Value, name: &str| json[name].as_f64().unwrap_or(0.0);
    let clock = match json["clock"].as_str() {
        Some("timestamps") => "gpu_us",
        Some("submit-and-wait") => "wall_us",
        other => panic!("{other:?}"),
    };
    let near = |a: f64, b: f64| a > 0.0 && (a / b - 1.0).abs() < 0.01;
    let time = number(&json, clock);
    assert!(near(
        number(&json, "copy_times"),
        time / number(&json, "copy_us")
    ));
    assert!(near(
        number(&json, "copy_gb_per_s"),
        2.0 * 24.0 / number(&json, "copy_us")
    ));
    let speed = number(&json, "bytes") / time / 1e3;
    assert!(near(number(&json, "gb_per_s"), speed));
    assert!(near(
        number(&json, "copy_share"),
        speed / number(&json, "copy_gb_per_s")
    ));
    assert!(
        json["flops"].is_null() && json["peak_share"].is_null(),
        "{json}"
    );
    assert!(number(&json, "first_loss_us") > number(&json, "prepare_us"));
    assert!(number(&json, "prepare_us") > number(&json, "prepare_warm_us"));

    let json = measured(&[
        "metrics", "--shape", "20x30", "--dtype", "f16", "--sets", "2",
    ]);
    assert_eq!(
        (&json["loss"], &json["dispatches"]),
        (&"metrics".into(), &7.into())
    );
    // Logits, bytes, words.
    assert_eq!(json["bytes"], 600 * 3 + 4 * (17 + 4 * 30), "{json}");

    let shape = ["contrastive", "--shape", "16x8", "--labels", "5"];
    let json = measured(&shape);
    assert_eq!(
        (&json["flops"], &json["labels"]),
        (&Value::from(6 * 16 * 16 * 8), &Value::from(5))
    );
    let share = number(&json, "gflop_per_s") / number(&json, "peak_gflop_per_s");
    assert!(near(number(&json, "peak_share"), share), "{json}");
    assert!(json["copy_us"].is_null(), "{json}");
    let json = measured(&[&shape[..], &["--outputs", "loss"]].concat());
    assert_eq!(json["flops"], 2 * 16 * 16 * 8, "{json}");
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_suite_names_every_case_that_it_leaves_out() {
    let folder = Folder::new("suite");
    let csv = folder.path("suite.csv");
    let args = [
        "bench", "--suite", "--only", "mcm ", "--most", "40000", "--time", "30",
    ];
    let done = wgloss(&[&args[..], &["--json", "--csv", &csv]].concat());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let rows: Vec<Value> = done
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 5, "{}", done.stdout);
    for row in &rows {
        let small = row["cols"] == 499;
        assert_eq!(row["skipped"].is_null(), small, "{row}");
        assert_eq!(row["wall_us"].is_null(), !small, "{row}");
        assert!(
            row["adapter"].is_string() && row["version"].is_string(),
            "{row}"
        );
    }
    let text = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(text.lines().count(), 6, "{text}");
    let none = wgloss(&["bench", "--suite", "--only", "no such case"]);
    assert_eq!(none.refusal(2), "--only: no case has this in its name");
}
