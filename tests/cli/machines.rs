//! With and without a GPU.

use crate::support::*;

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
