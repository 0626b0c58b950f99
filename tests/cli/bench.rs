//! `wgloss bench`.

use crate::support::*;
use serde_json::Value;

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
