//! Tensors that a loss does not take.

use crate::support::*;

#[test]
fn names_of_the_contract_that_mean_nothing_here_are_refused() {
    let folder = Folder::new("names");
    let edges: Vec<u8> = [1_i64, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
    let mcm = good().raw("edges", safetensors::Dtype::I64, &[1, 2], edges);
    let sets = Tensors::default()
        .f32("embeddings", &[2, 1], &[1.0, 2.0])
        .u8("labels", &[2, 1], &[1, 1]);
    let wdl = good().u32("permutation", &[0, 1, 2]);
    let losses = Tensors::default().f32("losses", &[2], &[1.0, 2.0]);
    let one = |tensors: &Tensors, name: &str| tensors.clone().f32(name, &[1], &[1.0]);
    #[rustfmt::skip]
    let table = [
        (one(&mcm, "threshold"), "mcm", "", "threshold: mcm does not take it (it takes logits, "),
        (one(&mcm, "permutation"), "mcm", "", "permutation: mcm does not take it"),
        (one(&sets, "mask"), "contrastive", "", "mask: contrastive does not take it"),
        (one(&sets, "sample_weight"), "contrastive", "", "sample_weight: contrastive does not take it"),
        (one(&good(), "theta"), "bce", "", "theta: bce does not take it"),
        (one(&good(), "bias"), "bce", "", "bias: bce does not take it"),
        (one(&good(), "hidden"), "bce", "", "hidden: bce does not take it"),
        (one(&good(), "labels_3"), "bce", "", "labels_3: bce does not take it"),
        (one(&good(), "prototypes_2"), "zlpr", "", "prototypes_2: zlpr does not take it"),
        (one(&sets, "labels_0"), "contrastive", "", "labels_0: contrastive does not take it"),
        (wdl, "wdl", "--form pairs", "permutation: --form pairs takes none"),
        (sets.clone(), "relations", "", "embeddings: relations does not take it"),
        (one(&losses, "previous"), "balance", "", "previous: needs --kind dwa"),
        (one(&losses, "log_variance"), "balance", "--kind random --seed 3", "log_variance: needs --kind uncertainty"),
        (losses.clone(), "balance", "--kind dwa", "previous: expected a tensor of this name, found none"),
        (one(&losses, "log_variance"), "balance", "--kind uncertainty", "log_variance: expected [2], found [1]"),
        (one(&losses, "logits"), "balance", "", "logits: balance does not take it"),
    ];
    for (tensors, loss, options, message) in table {
        let input = folder.write("in.safetensors", &tensors.bytes());
        let mut args = vec!["run", loss, &input, "--backend", "cpu"];
        args.extend(options.split_whitespace());
        let done = wgloss(&args);
        let line = done.refusal(2);
        assert!(line.starts_with(message), "{line}\nexpected {message}");
    }
}

#[test]
fn slips_get_one_notice_and_other_names_none() {
    let folder = Folder::new("slips");
    let run = |tensors: Tensors| {
        let input = folder.write("in.safetensors", &tensors.bytes());
        let done = wgloss(&["run", "bce", &input, "--backend", "cpu"]);
        done.json();
        done.stderr
    };
    let one = |name: &str| run(good().f32(name, &[1], &[1.0]));
    for (name, meant) in [
        ("class_weights", "class_weight"),
        ("masks", "mask"),
        ("label", "labels"),
        ("logit", "logits"),
        ("targets_", "targets"),
        ("labels1", "labels"),
        ("prototype_7", "prototypes_7"),
    ] {
        let wanted =
            format!("wgloss: {name} ({meant}?): left alone, no loss reads a tensor of this name\n");
        assert_eq!(one(name), wanted);
    }
    // What nobody knows, and what the command writes.
    for name in [
        "x",
        "my_scores",
        "loss",
        "grad_logits",
        "predictions_1",
        "Ünïcode",
    ] {
        assert_eq!(one(name), "", "{name}");
    }
    let many = (0..6).fold(good(), |file, i| {
        file.f32(&format!("mask{i}"), &[1], &[1.0])
    });
    let notice = "wgloss: mask0 (mask?), mask1 (mask?), mask2 (mask?), mask3 (mask?) and 2 more: left alone, no loss \
                  reads tensors of these names\n";
    assert_eq!(run(many), notice);
    // An error stays alone.
    let input = folder.write(
        "in.safetensors",
        &good().without("logits").f32("logit", &[1], &[1.0]).bytes(),
    );
    let done = wgloss(&["run", "bce", &input, "--backend", "cpu"]);
    assert_eq!(
        done.refusal(2),
        "logits: expected a tensor of this name, found none (in the file: logit, targets)"
    );
}
