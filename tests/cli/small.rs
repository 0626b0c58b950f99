//! A small file never costs much: memory and time follow what is in it, not what its shapes say.

use crate::files::file;
use crate::support::*;
use safetensors::tensor::Dtype;
use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

/// Address space of a run in KiB: the command itself takes a tenth of it. The reference computes, as drivers of GPUs
/// take address space of their own.
#[cfg(target_os = "linux")]
const ROOM: u32 = 512 << 10;
/// Far more than any of these takes, on any machine.
const LONG: Duration = Duration::from_secs(20);

#[cfg(target_os = "linux")]
fn in_a_small_room(args: &[&str]) -> Done {
    let mut command = Command::new("sh");
    let script = format!("ulimit -v {ROOM}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_wgloss")]);
    command.args(args);
    let began = Instant::now();
    let done = finish(command);
    assert!(began.elapsed() < LONG, "{args:?}: {:?}", began.elapsed());
    done
}

#[test]
#[cfg(target_os = "linux")]
fn small_files_never_cost_much() {
    let folder = Folder::new("small");
    let none = Tensors::default();
    let edges: Vec<u8> = [5_i64, 3].iter().flat_map(|n| n.to_le_bytes()).collect();
    let edges = none.clone().raw("edges", Dtype::I64, &[1, 2], edges);
    let empty = |file: &Tensors, shape: &[usize]| {
        file.clone()
            .f32("logits", shape, &[])
            .u8("targets", shape, &[])
    };
    let sets = |shape: &[usize], labels: usize| {
        let embeddings = none.clone().f32("embeddings", shape, &[]);
        embeddings.u8("labels", &[shape[0], labels], &[])
    };
    let most = 400;
    let lists = |names: [&str; 2], file: Tensors| {
        let offsets: Vec<i64> = (0..=most as i64).collect();
        let indices: Vec<i64> = (0..most as i64).map(|i| (1 << 24) - 1 - i).collect();
        file.i64(names[0], &offsets).i64(names[1], &indices)
    };
    let rows = vec![0.5; most];
    let embedded = none.clone().f32("embeddings", &[most, 1], &rows);
    let listed = lists(["label_offsets", "label_indices"], embedded.clone());
    let thetas = empty(&none, &[3, 0]).f32("theta", &[u32::MAX as usize, 0], &[]);
    let chain: Vec<u8> = (0..20_000_i64)
        .flat_map(|n| [n, n + 1])
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let chain = none.clone().raw("edges", Dtype::I64, &[20_000, 2], chain);
    let (tiny, wide) = ((1 << 31) - 1, u32::MAX as usize);
    #[rustfmt::skip]
    let table: Vec<(Tensors, &str, &str, &str)> = vec![
        // Nothing is in these batches, and the loss of nothing is 0.
        (empty(&edges, &[0, tiny]), "mcm", "-o", ""),
        (empty(&edges, &[0, tiny]), "mcm", "", ""),
        (empty(&none, &[0, wide]), "wdl", "", ""),
        (empty(&none, &[0, wide]), "wdl", "--seed 3", ""),
        (empty(&none, &[0, wide]), "wdl", "-o", "logits: expected at most 65536 labels without rows or theta, for grad_theta, found [0, 4294967295]"),
        (empty(&none, &[0, wide]), "zlpr", "-o", ""),
        (empty(&none, &[0, wide]), "bce", "-o", ""),
        (empty(&none, &[0, 1 << 40]), "bce", "-o", "logits: expected at most "),
        (empty(&none, &[1 << 24, 0]), "bce", "-o", "logits: expected at most 65536 rows and "),
        (empty(&none, &[1 << 16, 0]), "bce", "-o", ""),
        (thetas, "wdl", "--form pairs", ""),
        (empty(&edges, &[0, 1 << 31]), "mcm", "", "hierarchy: expected at least one node, and fewer than 2^31"),
        (empty(&edges, &[0, 4]), "mcm", "", "edges: expected nodes below 4"),
        (empty(&none.clone().raw("edges", Dtype::I64, &[1, 2], [tiny as i64, 3].iter().flat_map(|n| n.to_le_bytes()).collect()), &[0, tiny]), "mcm", "", "edges: expected nodes below 2147483647, found 2147483647"),
        (empty(&none.clone().raw("edges", Dtype::I64, &[0, 2], vec![]), &[0, tiny]), "mcm", "", ""),
        (empty(&chain, &[0, 20_001]), "mcm", "", "hierarchy: expected "),
        (sets(&[1 << 24, 0], 0), "contrastive", "-o", "embeddings: expected at most 4096 rows without dimensions, found 16777216"),
        (sets(&[1 << 12, 0], 0), "contrastive", "-o", ""),
        (sets(&[0, wide], 9), "contrastive", "-o", ""),
        (sets(&[0, 3], 1 << 50), "contrastive", "-o", "labels: expected at most 65536 rows or columns where "),
        (none.clone().f32("embeddings", &[0, 3], &[]).raw("label_bits", Dtype::U32, &[0, 1 << 60], vec![]), "contrastive", "", "label_bits: expected at most 65536 rows or columns where "),
        (listed.clone(), "contrastive", "-o", ""),
        (lists(["key_label_offsets", "key_label_indices"], listed.f32("keys", &[most, 1], &rows)), "contrastive", "-o", ""),
        (none.clone().u8("labels", &[1 << 12, 0], &[]), "relations", "-o", ""),
        (none.clone().u8("labels", &[1 << 24, 0], &[]), "relations", "-o", "labels: expected at most 4096 rows or columns where "),
        (lists(["label_offsets", "label_indices"], none.clone()), "relations", "-o", ""),
        (none.clone().f32("features", &[1 << 40, 0], &[]), "hcal", "-o", "features: expected [B, D], D at least 1"),
        (none.clone().f32("features", &[0, 1 << 40], &[]).i64("labels_1", &[]).f32("prototypes_1", &[0, 1 << 40], &[]), "hcal", "-o", "prototypes_1: expected "),
        (empty(&none, &[0, 3]).u32("target_indices", &[]), "bce", "", "target_offsets: a second form"),
    ];
    for (tensors, loss, options, message) in table {
        let input = folder.write("in.safetensors", &tensors.bytes());
        let output = folder.path("out.safetensors");
        let mut args = vec!["run", loss, &input, "--backend", "cpu"];
        match options {
            "-o" => args.extend(["-o", &output]),
            _ => args.extend(options.split_whitespace()),
        }
        let done = in_a_small_room(&args);
        if !message.is_empty() {
            let code = if message == "hierarchy: expected " {
                1
            } else {
                2
            };
            assert!(
                done.refusal(code).starts_with(message),
                "{}\nexpected {message}",
                done.stderr
            );
            continue;
        }
        let json = done.json();
        let loss = &json["loss"];
        let about = format!("{args:?} {json}");
        assert!(
            loss.is_null() || loss == 0.0 || tensors.bytes().len() > 4000,
            "{about}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn files_of_holes_are_refused() {
    use std::io::Write as _;
    let folder = Folder::new("holes");
    let long = 1_u64 << 42;
    let tensor = |name: &str, dtype: &str, count: u64, begin: u64, end: u64| {
        format!(
            r#""{name}":{{"dtype":"{dtype}","shape":[{count}],"data_offsets":[{begin},{end}]}}"#
        )
    };
    // The same with what is no hole: the memory is asked for, and is not there.
    for (size, code) in [(long, 2), (1_u64 << 28, 1)] {
        let half = size / 2;
        for names in [
            ["target_offsets", "target_indices"],
            ["label_offsets", "label_indices"],
            ["logits", "targets"],
        ] {
            let header = format!(
                "{{{},{}}}",
                tensor(names[0], "I64", half / 8, 0, half),
                tensor(names[1], "I64", half / 8, half, size),
            );
            let path = folder.path("in.safetensors");
            let start = file(&header, 0);
            let mut whole = File::create(&path).unwrap();
            whole.write_all(&start).unwrap();
            if whole.set_len(start.len() as u64 + size).is_err() {
                continue; // a file system without such files
            }
            let loss = if names[0] == "label_offsets" {
                "relations"
            } else {
                "bce"
            };
            let done = in_a_small_room(&["run", loss, &path, "--backend", "cpu"]);
            if code == 2 {
                let found = done.refusal(2).contains("bytes of which the disk has ");
                assert!(found, "{}", done.stderr);
            } else {
                assert!([Some(1), Some(2)].contains(&done.code), "{}", done.stderr);
                assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            }
        }
    }
}
