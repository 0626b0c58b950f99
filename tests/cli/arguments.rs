//! What each loss takes, and arguments that are wrong: one line, exit code 2.

use crate::support::*;

/// Every loss with the options that it has to itself, and those that `bench` adds.
#[rustfmt::skip]
const LOSSES: [(&str, &[&str], &[&str]); 18] = [
    ("zlpr", &["--smoothing"], &["--targets"]),
    ("zlpr-soft", &["--smoothing"], &["--targets"]),
    ("zlpr-kl", &["--kl", "--beta"], &[]),
    ("tlpr", &[], &["--targets"]),
    ("lsep", &[], &["--targets"]),
    ("two-way", &["--t-pos", "--t-neg", "--half"], &["--targets"]),
    ("bp-mll", &[], &["--targets"]),
    ("bce", &["--pos-weight", "--smoothing", "--row"], &["--targets"]),
    ("focal", &["--gamma", "--alpha", "--detach-focus", "--smoothing", "--row"], &["--targets"]),
    ("asl", &["--gamma-pos", "--gamma-neg", "--margin", "--detach-focus", "--smoothing", "--row"], &["--targets"]),
    ("hill", &["--gamma", "--margin", "--lambda", "--smoothing", "--row"], &["--targets"]),
    ("splc", &["--margin", "--gamma", "--threshold", "--smoothing", "--row"], &["--targets"]),
    ("dice", &["--smooth", "--squared"], &["--targets"]),
    ("softmax-ce", &[], &["--targets"]),
    ("wdl", &["--form", "--prediction", "--phi", "--huber-delta", "--epsilon", "--lambda-presence", "--lambda-ratio",
        "--lambda-difference", "--additive", "--ascent", "--seed", "--seed-per-row"], &["--targets"]),
    ("mcm", &["--row"], &[]),
    ("hcal", &["--temperature", "--gamma", "--aggregation", "--attach", "--epsilon", "--seed"], &["--dim"]),
    ("contrastive", &["--weighting", "--placement", "--normalizer", "--roles", "--denominator", "--threshold", "--temperature",
        "--no-normalize"], &["--labels"]),
];

/// What is run and not measured, with its options.
const RUN_ALONE: [(&str, &[&str]); 3] = [
    (
        "linear",
        &[
            "--loss",
            "--tile-bytes",
            "--update",
            "--rate",
            "--seed",
            "--top-k",
            "--mean-over",
        ],
    ),
    ("relations", &[]),
    ("balance", &["--kind", "--gamma", "--temperature", "--seed"]),
];

/// What is measured and not run, with what it takes beside all losses.
const BENCH_ALONE: [(&str, &[&str]); 2] = [
    ("metrics", &["--targets"]),
    (
        "linear",
        &[
            "--loss",
            "--tile-bytes",
            "--update",
            "--rate",
            "--seed",
            "--dim",
            "--outputs",
            "--reduction",
            "--mean-over",
        ],
    ),
];

/// What all losses take.
const RUN: [&str; 7] = [
    "--reduction",
    "-o",
    "--backend",
    "--adapter",
    "--variant",
    "--cooperative",
    "--help",
];
#[rustfmt::skip]
const BENCH: [&str; 13] = ["--reduction", "--shape", "--dtype", "--outputs", "--time", "--sets", "--json", "--csv",
    "--backend", "--adapter", "--variant", "--cooperative", "--help"];

/// Help, which goes to stdout.
fn help(args: &[&str]) -> String {
    let done = wgloss(args);
    assert_eq!((done.code, &done.stderr[..]), (Some(0), ""), "{args:?}");
    done.stdout
}

/// Everything in a text that looks like an option.
fn options(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_option = |word: &&str| match word.strip_prefix("--") {
        Some(name) => name.starts_with(|c: char| c.is_ascii_alphabetic()),
        None => *word == "-o",
    };
    let mut options: Vec<&str> = words.filter(is_option).collect();
    options.sort_unstable();
    options.dedup();
    options
}

/// The options that each loss takes with a command.
fn takes() -> impl Iterator<Item = (&'static str, &'static str, Vec<&'static str>)> {
    LOSSES.iter().flat_map(|(loss, own, bench)| {
        let of_rows = !["hcal", "contrastive"].contains(loss);
        let own = [*own, if of_rows { &["--mean-over"] } else { &[] }].concat();
        [
            ("run", *loss, own.clone()),
            ("bench", *loss, [&own, *bench].concat()),
        ]
    })
}

#[test]
fn help_has_the_options_of_the_loss_alone() {
    for (command, loss, own) in takes() {
        let common = if command == "run" { &RUN[..] } else { &BENCH };
        let mut wanted = [&own, common].concat();
        wanted.sort_unstable();
        for flag in ["--help", "-h"] {
            let text = help(&[command, loss, flag]);
            assert_eq!(options(&text), wanted, "{command} {loss} {flag}");
        }
    }
    for (loss, own) in RUN_ALONE {
        let mut wanted = [own, &RUN[..]].concat();
        wanted.sort_unstable();
        assert_eq!(options(&help(&["run", loss, "--help"])), wanted, "{loss}");
    }
    for (loss, own) in BENCH_ALONE {
        let common = BENCH.iter().filter(|name| **name != "--reduction");
        let common = common.filter(|name| **name != "--outputs");
        let mut wanted: Vec<&str> = own.iter().chain(common).copied().collect();
        wanted.sort_unstable();
        assert_eq!(options(&help(&["bench", loss, "--help"])), wanted, "{loss}");
    }
    // A last layer has the options of its loss.
    for (command, own) in [("run", "--top-k"), ("bench", "--dim")] {
        let text = help(&[command, "linear", "--loss", "asl", "--help"]);
        let found = options(&text);
        for option in [
            own,
            "--gamma-pos",
            "--margin",
            "--mean-over",
            "--reduction",
            "--rate",
        ] {
            assert!(found.contains(&option), "{command} {option}: {text}");
        }
        assert!(!found.contains(&"--t-pos"), "{text}");
    }
    // The list of losses is whole.
    for (command, more) in [("run", &RUN_ALONE[..]), ("bench", &BENCH_ALONE)] {
        let text = help(&[command, "--help"]);
        let listed = text.lines().skip_while(|line| *line != "Losses:").skip(1);
        let listed = listed.map_while(|line| line.split_whitespace().next());
        let more = more.iter().map(|(loss, _)| *loss);
        let all = LOSSES.iter().map(|(loss, ..)| *loss).chain(more);
        assert!(listed.eq(all), "{text}");
    }
    // Which losses take soft targets, as the library has it.
    let text = help(&["run", "--help"]);
    let of = |kind: &str| {
        text.lines()
            .find(|line| line.trim_start().starts_with(kind))
    };
    let soft =
        "  soft, reals from 0 to 1: zlpr-soft, bce, focal, asl, hill, splc, dice, softmax-ce";
    assert_eq!(of("soft, "), Some(soft));
    assert_eq!(of("other logits"), Some("  other logits: zlpr-kl"));
    assert!(help(&["--help"]).contains("Usage: wgloss"));
    let version = concat!("wgloss ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(help(&["--version"]), version);
}

#[test]
fn help_names_the_tensors_of_the_loss_alone() {
    #[rustfmt::skip]
    let table: [(&str, &[&str], &[&str]); 11] = [
        ("relations", &["labels", "key_labels", "counts"], &["embeddings", "keys", "logits"]),
        ("balance", &["losses", "log_variance", "grad_losses"], &["logits", "labels"]),
        ("zlpr", &["logits", "target_bits", "class_mask"], &["other", "threshold", "theta", "edges", "grad_targets"]),
        ("bce", &["targets", "grad_targets", "weight", "pos_weight"], &["other", "threshold", "theta", "features", "alpha"]),
        ("focal", &["targets", "grad_targets", "weight", "alpha"], &["other", "threshold", "theta", "features", "pos_weight"]),
        ("dice", &["targets", "grad_targets"], &["weight"]),
        ("zlpr-kl", &["other", "grad_other"], &["targets", "target_bits", "threshold", "weight"]),
        ("tlpr", &["threshold", "grad_threshold"], &["other", "theta"]),
        ("wdl", &["permutation", "theta", "theta0", "grad_theta"], &["other", "threshold", "edges"]),
        ("mcm", &["edges", "probabilities", "class_mask", "target_bits"], &["prototypes_k", "threshold"]),
        ("hcal", &["prototypes_k", "level_weights", "hvr"], &["logits", "edges", "embeddings"]),
    ];
    for (loss, named, others) in table {
        let text = help(&["run", loss, "--help"]);
        let tensors = &text[text.find("Tensors that are read").unwrap()..];
        let names: Vec<&str> = tensors
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
            .collect();
        for name in named {
            assert!(names.contains(name), "{loss} without {name}: {text}");
        }
        for name in others {
            assert!(!names.contains(name), "{loss} with {name}: {text}");
        }
    }
}

#[test]
fn an_option_of_another_loss_is_refused_with_those_of_this_one() {
    for (command, loss, own) in takes() {
        let mut others: Vec<&str> = LOSSES
            .iter()
            .flat_map(|(_, own, _)| *own)
            .copied()
            .collect();
        others.sort_unstable();
        others.dedup();
        others.retain(|option| !own.contains(option));
        let takes = match &own[..] {
            [] => "it has no options of its own".into(),
            own => format!("it takes {}", own.join(", ")),
        };
        // All are refused alike, and each is a process: three stand for them.
        for option in [
            others[0],
            others[others.len() / 2],
            others[others.len() - 1],
        ] {
            let done = match command {
                "run" => wgloss(&["run", loss, "no-such-file", option, "1"]),
                _ => wgloss(&["bench", loss, "--shape", "2x2", option, "1"]),
            };
            let wanted = format!("{option}: {loss} does not take it ({takes})");
            assert_eq!(done.refusal(2), wanted);
        }
    }
}

#[test]
fn wrong_arguments_are_told_in_one_line() {
    let list = |more: &[&str]| {
        let mut list = [&LOSSES.map(|(loss, ..)| loss), more].concat().join(", ");
        let or = list.rfind(", ").unwrap();
        list.replace_range(or..or + 2, " or ");
        list
    };
    let measured = list(&BENCH_ALONE.map(|(loss, _)| loss));
    let list = list(&RUN_ALONE.map(|(loss, _)| loss));
    #[rustfmt::skip]
    let table: [(&[&str], &str); 45] = [
        (&[], "command: wgloss needs one: adapters, check, run, bench or export"),
        (&["runs"], "runs: no such command, wgloss takes adapters, check, run, bench or export"),
        (&["help", "runs"], "runs: no such command, wgloss takes adapters, check, run, bench or export"),
        (&["--backend"], "--backend: options of wgloss follow the command"),
        (&["adapters", "all"], "all: one argument too many for wgloss adapters"),
        (&["check", "--al"], "--al: check does not take it (it takes --adapter, --all, --quick, --cooperative, --soak, --seed); did you mean --all?"),
        (&["run"], &format!("loss: wgloss run needs one: {list}")),
        (&["run", "zlqr", "x"], &format!("zlqr: no such loss, wgloss run takes {list}")),
        (&["run", "help"], &format!("help: no such loss, wgloss run takes {list}")),
        (&["run", "--backend", "cpu", "zlpr", "x"], "--backend: options of wgloss run follow the loss"),
        (&["run", "zlpr"], "IN.safetensors: missing, wgloss run zlpr needs <IN.safetensors>"),
        (&["run", "zlpr", "x", "y"], "y: one argument too many for wgloss run zlpr"),
        (&["run", "zlpr", "x", "-x"], "-x: zlpr does not take it (it takes --smoothing, --mean-over)"),
        (&["run", "zlpr", "x", "--backnd", "cpu"], "--backnd: zlpr does not take it (it takes --smoothing, --mean-over); did you mean --backend?"),
        (&["run", "zlpr", "x", "--smoothing=much"], "--smoothing: \"much\" does not fit, invalid float literal"),
        (&["run", "zlpr", "x", "--smoothing"], "--smoothing: needs a value"),
        (&["run", "zlpr", "x", "-o"], "-o: needs a value"),
        (&["run", "zlpr", "x", "--smoothing", "0", "--smoothing", "0"], "--smoothing: given twice"),
        (&["run", "zlpr", "x", "--reduction", "max"], "--reduction: expected mean, sum, none, mean-elements or mean-active, found max"),
        (&["run", "zlpr", "x", "--variant", "bush-64-packed"], "--variant: expected (tree|subgroup)-(32..1024)-(packed|native)[-cooperative], such as tree-64-packed, found \"bush-64-packed\""),
        (&["run", "wdl", "x", "--seed", "-3"], "--seed: \"-3\" does not fit, invalid digit found in string"),
        (&["run", "wdl", "x", "--additive=yes"], "--additive: takes no value, found yes"),
        (&["run", "contrastive", "x", "--weighting", "some"], "--weighting: expected simdis, any, all, mulsupcon, mulsupcon-sum, jaccard or infonce, found some"),
        (&["bench"], &format!("loss: wgloss bench needs one, or --suite: {measured}")),
        (&["bench", "balance"], &format!("balance: no such loss, wgloss bench takes {measured}")),
        (&["bench", "mcm", "--shape", "4294967296x4294967296"], "--shape: expected at least one element and fewer than 2^32, of dimensions too, found 4294967296x4294967296"),
        (&["bench", "hcal", "--shape", "2x3", "--dim", "9223372036854775808"], "--shape: expected at least one element and fewer than 2^32, of dimensions too, found 2x3"),
        (&["run", "balance", "x", "--kind", "random"], "--kind random: needs --seed"),
        (&["run", "balance", "x", "--seed", "3"], "--seed: needs --kind random"),
        (&["run", "balance", "x", "--kind", "dwa", "--gamma", "3"], "--gamma: needs --kind softmax"),
        (&["run", "balance", "x", "--temperature", "3"], "--temperature: needs --kind dwa"),
        (&["run", "balance", "x", "--reduction", "mean"], "--reduction: expected sum, found mean"),
        (&["run", "relations", "x", "--reduction", "mean"], "--reduction: expected sum or none, found mean"),
        (&["run", "hill", "x", "--lambda", "0.5"], "lambda: expected a finite number of at least 1e0, found 0.5"),
        (&["run", "dice", "x", "--smooth", "0"], "smooth: expected a finite number of at least 1e-6, found 0"),
        (&["bench", "--json"], "--suite: missing, wgloss bench needs --suite"),
        (&["bench", "--suite", "--time", "0"], "--time: expected seconds, more than 0 and at most 3600, found 0"),
        (&["bench", "zlpr", "--suite", "--shape", "2x2"], "--suite: zlpr does not take it (it takes --smoothing, --mean-over, --targets)"),
        (&["bench", "zlpr", "--shape", "2x2", "--sets", "0"], "--sets: \"0\" does not fit, 0 is not in 1..=256"),
        (&["bench", "zlpr"], "--shape: missing, wgloss bench zlpr needs --shape <ROWSxCOLS>"),
        (&["bench", "zlpr", "--shape", "3"], "--shape: expected ROWSxCOLS, such as 512x4096, found \"3\""),
        (&["bench", "zlpr", "2x2"], "2x2: one argument too many for wgloss bench zlpr"),
        (&["bench", "zlpr-kl", "--shape", "2x2", "--targets", "u8"], "--targets: zlpr-kl does not take it (it takes --kl, --beta, --mean-over)"),
        (&["bench", "mcm", "--shape", "2x2", "--outputs", "gradient"], "--outputs: expected both or loss, found gradient"),
        (&["bench", "zlpr", "--shape", "2x2", "--json", "--csv", "x"], "--json: does not go together with --csv"),
    ];
    for (args, wanted) in table {
        assert_eq!(wgloss(args).refusal(2), wanted, "{args:?}");
    }
}

#[test]
fn options_stand_before_or_after_the_file() {
    let folder = Folder::new("order");
    let input = folder.write("in.safetensors", &good().bytes());
    let after = wgloss(&["run", "asl", &input, "--backend", "cpu", "--gamma-neg", "2"]).json();
    let before = wgloss(&["run", "asl", "--gamma-neg", "2", "--backend", "cpu", &input]).json();
    assert_eq!(after, before);
    let plain = wgloss(&["run", "asl", &input, "--backend", "cpu"]).json();
    assert_ne!(plain["loss"], after["loss"]);
}
