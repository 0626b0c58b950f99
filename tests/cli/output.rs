//! The output: the file, whatever stands in its place, and standard output.

use crate::support::*;
use safetensors::SafeTensors;
use std::fs;

fn is_written(path: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| SafeTensors::deserialize(&bytes).is_ok())
}

fn run_to(input: &str, output: &str) -> Done {
    wgloss(&["run", "zlpr", input, "-o", output, "--backend", "cpu"])
}

#[test]
fn an_output_that_cannot_be_is_refused_before_any_work() {
    let folder = Folder::new("output");
    let input = folder.write("in.safetensors", &good().bytes());
    let long = "x".repeat(300);
    for (output, message) in [
        (folder.path(""), "a directory"),
        (input.clone(), "the input itself"),
        (folder.path("./in.safetensors"), "the input itself"),
        (folder.path("no-such-folder/out"), ""),
        (folder.path("in.safetensors/out"), ""),
        (folder.path("new/"), "no name of a file"),
        (folder.path(&long), ""),
    ] {
        // Found before the file is read, which is not there.
        for input in [&input, &folder.path("none")] {
            if message == "the input itself" && !input.ends_with("in.safetensors") {
                continue;
            }
            let line = run_to(input, &output).refusal(2).to_owned();
            let wanted = format!("{output}: expected a file to write, found {message}");
            assert!(line.starts_with(&wanted), "{line}\nexpected {wanted}");
        }
    }
    assert_eq!(fs::read(&input).unwrap(), good().bytes());
    assert_eq!(folder.names(), ["in.safetensors"]);
    // As long as a name can be.
    let longest = folder.path(&long[..255]);
    run_to(&input, &longest).json();
    assert!(is_written(&longest));
}

#[test]
#[cfg(unix)]
fn links_devices_and_rights_stay_as_they_are() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
    let folder = Folder::new("links");
    let input = folder.write("in.safetensors", &good().bytes());
    let is_link = |path: &str| fs::symlink_metadata(path).unwrap().is_symlink();
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    // A link to a file, and one to a file that is not there, by way of another.
    let (link, file) = (folder.path("link"), folder.write("file", b"old"));
    symlink("file", &link).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    run_to(&input, &link).json();
    assert!(is_link(&link) && is_written(&file));
    assert_eq!(mode(&file), 0o600);
    for (rights, name) in [(0o640, "a"), (0o444, "b"), (0o666, "c")] {
        let path = folder.write(name, b"old");
        fs::set_permissions(&path, fs::Permissions::from_mode(rights)).unwrap();
        run_to(&input, &path).json();
        assert_eq!(mode(&path), rights);
        fs::remove_file(&path).unwrap();
    }
    let (first, second) = (folder.path("first"), folder.path("second"));
    symlink(&second, &first).unwrap();
    symlink("made", &second).unwrap();
    run_to(&input, &first).json();
    assert!(is_link(&first) && is_link(&second) && is_written(&folder.path("made")));
    // A new file has what the process makes: as any other new file.
    let plain = folder.write("plain", b"");
    assert_eq!(mode(&folder.path("made")), mode(&plain));
    // Links that lead nowhere, and to the input.
    let (round, own) = (folder.path("round"), folder.path("own"));
    symlink("round", &round).unwrap();
    symlink("in.safetensors", &own).unwrap();
    let hard = folder.path("hard");
    fs::hard_link(&input, &hard).unwrap();
    run_to(&input, &round).refusal(2);
    for output in [&own, &hard] {
        let done = run_to(&input, output);
        assert!(
            done.refusal(2).contains("the input itself"),
            "{}",
            done.stderr
        );
    }
    let done = run_to(&own, &input);
    assert!(
        done.refusal(2).contains("the input itself"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read(&input).unwrap(), good().bytes());
    for device in ["/dev/null", "/dev/full"] {
        if fs::metadata(device).is_ok() {
            let done = run_to(&input, device);
            assert!(
                done.refusal(2).contains("a device or a pipe"),
                "{}",
                done.stderr
            );
        }
    }
    let null = fs::metadata("/dev/null").unwrap();
    assert!(null.file_type().is_char_device());
    let names = folder.names();
    assert!(names.iter().all(|name| !name.contains(".tmp")), "{names:?}");
}

/// A script in which `$0` is the command and `$1` the input.
#[cfg(unix)]
fn shell(script: &str, input: &str) -> Done {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_wgloss"), input]);
    finish(command)
}

#[test]
#[cfg(unix)]
fn a_folder_without_write_permission_is_refused_before_any_work() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("rights");
    let input = folder.write("in.safetensors", &good().bytes());
    let closed = folder.path("closed");
    fs::create_dir(&closed).unwrap();
    let rights = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    rights(0o555);
    let output = folder.path("closed/out");
    // Root may write there all the same.
    if fs::write(folder.path("closed/probe"), "").is_err() {
        let done = run_to(&folder.path("none"), &output);
        assert!(
            done.refusal(2).starts_with(&format!("{output}: ")),
            "{}",
            done.stderr
        );
    }
    rights(0o755);
    let _ = fs::remove_file(folder.path("closed/probe"));
    run_to(&input, &output).json();
}

#[test]
#[cfg(target_os = "linux")]
fn a_write_that_fails_leaves_nothing() {
    let folder = Folder::new("full");
    let logits = Tensors::default().f32("logits", &[64, 64], &[0.5; 4096]);
    let tensors = logits.u8("targets", &[64, 64], &[0; 4096]);
    let input = folder.write("in.safetensors", &tensors.bytes());
    let output = folder.write("out.safetensors", b"as it was");
    // No file may have more than 4 blocks; the signal that says so is ignored, and the write fails.
    let script = format!(
        "trap '' XFSZ; ulimit -f 4; exec \"$0\" run zlpr \"$1\" --backend cpu -o '{output}'"
    );
    let done = shell(&script, &input);
    let wanted = format!("{output}: could not write the file: ");
    assert!(done.refusal(1).starts_with(&wanted), "{}", done.stderr);
    assert_eq!(fs::read(&output).unwrap(), b"as it was");
    assert_eq!(folder.names(), ["in.safetensors", "out.safetensors"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_result_that_nobody_can_read_is_an_error() {
    let folder = Folder::new("stdout");
    let input = folder.write("in.safetensors", &good().bytes());
    let run = "run zlpr \"$1\" --backend cpu";
    let bench = "bench zlpr --shape 4x4 --time 0.01 --backend cpu";
    for command in [run, &format!("{bench} --json"), bench] {
        // Closed, full, and below a pipe whose reader has gone.
        for (script, reason) in [
            (format!("exec \"$0\" {command} >&-"), "stdout: closed"),
            (
                format!("exec \"$0\" {command} >/dev/full"),
                "stdout: could not write the result: No space left",
            ),
        ] {
            let done = shell(&script, &input);
            assert!(done.refusal(1).starts_with(reason), "{}", done.stderr);
        }
        let script = format!(
            "rm -f \"$1.pipe\"; mkfifo \"$1.pipe\"; sleep 0 <\"$1.pipe\" & exec 4>\"$1.pipe\"; wait; exec \"$0\" {command} >&4"
        );
        let done = shell(&script, &input);
        let wanted = "stdout: could not write the result: Broken pipe";
        assert!(done.refusal(1).starts_with(wanted), "{}", done.stderr);
    }
    let _ = fs::remove_file(format!("{input}.pipe"));
    let csv = format!("exec \"$0\" {bench} --csv /dev/full");
    assert!(shell(&csv, &input).refusal(2).starts_with("/dev/full: "));
    // Thrown away on purpose: no error, however the null device is open (Python's DEVNULL is both ways).
    let output = folder.path("out.safetensors");
    for to in [">/dev/null", "1<>/dev/null"] {
        for command in [run, bench, &format!("{run} -o '{output}'")] {
            let done = shell(&format!("exec \"$0\" {command} {to}"), &input);
            assert_eq!(
                (done.code, &done.stderr[..]),
                (Some(0), ""),
                "{command} {to}"
            );
        }
    }
    // The file is written all the same, where it is the line of JSON that nobody reads.
    let output = folder.path("other.safetensors");
    let done = shell(&format!("exec \"$0\" {run} -o '{output}' >&-"), &input);
    assert!(
        done.refusal(1).starts_with("stdout: closed"),
        "{}",
        done.stderr
    );
    assert!(is_written(&output));
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_that_is_killed_while_it_writes_leaves_nothing() {
    let folder = Folder::new("killed");
    let logits = Tensors::default().f32("logits", &[64, 64], &[0.5; 4096]);
    let tensors = logits.u8("targets", &[64, 64], &[0; 4096]);
    let input = folder.write("in.safetensors", &tensors.bytes());
    let output = folder.write("out.safetensors", b"as it was");
    // The signal that a file has grown beyond 4 blocks ends the process within the write.
    let run = format!("\"$0\" run zlpr \"$1\" --backend cpu -o '{output}'");
    let done = shell(&format!("ulimit -c 0; ulimit -f 4; exec {run}"), &input);
    assert_eq!((done.code, &done.stdout[..]), (None, ""), "{}", done.stderr);
    assert_eq!(fs::read(&output).unwrap(), b"as it was");
    assert_eq!(folder.names(), ["in.safetensors", "out.safetensors"]);
}
