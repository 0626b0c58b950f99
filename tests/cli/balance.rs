//! `run balance` and `run relations`: no losses themselves.

use crate::support::*;
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use wgloss::reference::{self, BalanceInputs, ContrastiveInputs, ContrastiveKeys};
use wgloss::{Balance, BalanceState};

type State<'a> = Option<BalanceState<&'a [f64], u64>>;

fn balances(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("balance-{backend}"));
    let losses = [0.5, 2.0, 1.25];
    let (previous, before) = ([1.0, 1.5, 0.75], [2.0, 1.25, 0.0]);
    let log_variance = [0.1, -0.5, 0.75];
    let history = [previous, before].concat();
    let plain = Tensors::default()
        .f32("losses", &[3], &losses)
        .f32("grad_loss", &[1], &[2.0]);
    let dwa = plain
        .clone()
        .f32("previous", &[3], &previous)
        .f32("before", &[3], &before);
    let learnt = plain.clone().f32("log_variance", &[3], &log_variance);
    let softmax = |gamma| Balance::Adaptive {
        gamma,
        attach: false,
    };
    #[rustfmt::skip]
    let table: [(&Tensors, &str, Balance, State<'_>); 6] = [
        (&plain, "", softmax(0.5), None),
        (&plain, "--gamma 2", softmax(2.0), None),
        (&dwa, "--kind dwa", Balance::Dwa { temperature: 2.0 }, Some(BalanceState::History(&history))),
        (&dwa, "--kind dwa --temperature 0.5", Balance::Dwa { temperature: 0.5 }, Some(BalanceState::History(&history))),
        (&learnt, "--kind uncertainty", Balance::Uncertainty, Some(BalanceState::LogVariances(&log_variance))),
        (&plain, "--kind random --seed 7", Balance::Random, Some(BalanceState::Seed(7))),
    ];
    for (tensors, options, config, state) in table {
        let inputs = BalanceInputs {
            losses: &losses,
            present: None,
            state,
            grad_loss: Some(2.0),
        };
        let truth = reference::balance(&config, &inputs).unwrap();
        let mut wanted: Vec<(&str, &[usize], &[f64])> = Vec::new();
        let loss = [truth.loss];
        if config == Balance::Uncertainty {
            wanted.push(("grad_log_variance", &[3], &truth.grad_log_variances));
        }
        wanted.push(("grad_losses", &[3], &truth.grad_losses));
        wanted.push(("loss", &[], &loss));
        wanted.push(("weights", &[3], &truth.weights));
        let mut all = vec!["--backend", backend];
        all.extend(options.split_whitespace());
        let (json, written) = run(&folder, tensors, "balance", &all);
        compare(options, &written, &wanted, tolerance);
        assert_eq!(json["losses"], 3);
        close(
            ": loss",
            &[json["loss"].as_f64().unwrap()],
            &loss,
            tolerance,
        );
    }
    // Nothing to weigh, and what hcal writes is what balance reads.
    let none = Tensors::default().f32("losses", &[0], &[]);
    let (json, _) = run(&folder, &none, "balance", &["--backend", backend]);
    assert_eq!(json["loss"], 0.0);
    let written = plain.f32("weights", &[3], &[1.0; 3]);
    run(&folder, &written, "balance", &["--backend", backend]);
}

#[test]
fn balances_on_the_reference() {
    balances("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn balances_on_a_gpu() {
    balances("gpu", 1e-5);
}

/// What `relations` wrote, and its JSON.
fn counts(folder: &Folder, tensors: &Tensors, options: &[&str]) -> (Value, Vec<usize>, Vec<i64>) {
    let input = folder.write("in.safetensors", &tensors.bytes());
    let output = folder.path("out.safetensors");
    let mut args = vec!["run", "relations", &input, "-o", &output];
    args.extend(options);
    let json = wgloss(&args).json();
    let bytes = fs::read(&output).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names(), ["counts"]);
    let tensor = file.tensor("counts").unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::I64);
    let values = tensor.data().chunks_exact(8);
    let values = values.map(|b| i64::from_le_bytes(b.try_into().unwrap()));
    (json, tensor.shape().to_vec(), values.collect())
}

fn relations(backend: &str) {
    let folder = Folder::new(&format!("relations-{backend}"));
    let sets = [
        [1, 0, 1, 0],
        [1, 0, 1, 0],
        [0, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 0, 0, 0],
    ];
    let key_sets = [[1, 0, 0, 0], [0, 1, 1, 1], [1, 0, 1, 0]];
    let own = [2_i64, -1, 0, 1, -1];
    let bools =
        |sets: &[[u8; 4]]| -> Vec<bool> { sets.iter().flatten().map(|y| *y == 1).collect() };
    let lists = |prefix: &str, sets: &[[u8; 4]], times: i64, file: Tensors| {
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for set in sets {
            indices.extend((0..4).filter(|l| set[*l as usize] == 1).map(|l| l * times));
            offsets.push(indices.len() as i64);
        }
        file.i64(&format!("{prefix}label_offsets"), &offsets)
            .i64(&format!("{prefix}label_indices"), &indices)
    };
    let index: Vec<Option<usize>> = own.iter().map(|k| usize::try_from(*k).ok()).collect();
    let (labels, key_labels) = (bools(&sets), bools(&key_sets));
    let alone = ContrastiveInputs::<f64> {
        rows: 5,
        classes: 4,
        labels: &labels,
        ..ContrastiveInputs::default()
    };
    let with_keys = ContrastiveInputs {
        keys: Some(ContrastiveKeys {
            rows: 3,
            embeddings: &[],
            labels: &key_labels,
        }),
        self_index: Some(&index),
        ..alone
    };
    let dense = Tensors::default().u8("labels", &[5, 4], &sets.concat());
    let both = dense.clone().u8("key_labels", &[3, 4], &key_sets.concat());
    let far = lists("", &sets, 4_000_000, Tensors::default());
    let table = [
        (dense, alone),
        (lists("", &sets, 1, Tensors::default()), alone),
        // Which numbers labels have makes no difference.
        (far.clone(), alone),
        (both.i64("self_index", &own), with_keys),
        (
            lists("key_", &key_sets, 4_000_000, far).i64("self_index", &own),
            with_keys,
        ),
    ];
    for (tensors, inputs) in table {
        let truth = reference::relations(&inputs).unwrap();
        let truth: Vec<i64> = truth.into_iter().map(i64::from).collect();
        let options = ["--backend", backend, "--reduction", "none"];
        let (_, shape, each) = counts(&folder, &tensors, &options);
        assert_eq!((shape, &each), (vec![5, 5], &truth));
        let (json, shape, sum) = counts(&folder, &tensors, &options[..2]);
        let total: Vec<i64> = (0..5)
            .map(|r| truth.iter().skip(r).step_by(5).sum())
            .collect();
        assert_eq!((shape, &sum), (vec![5], &total));
        assert_eq!(
            (&json["loss"], &json["counts"]),
            (&Value::Null, &total.into())
        );
    }
    let none = Tensors::default().u8("labels", &[0, 4], &[]);
    assert_eq!(counts(&folder, &none, &["--backend", backend]).2, [0; 5]);
}

#[test]
fn relations_on_the_reference() {
    relations("cpu");
}

#[test]
#[ignore = "needs a GPU adapter"]
fn relations_on_a_gpu() {
    relations("gpu");
}
