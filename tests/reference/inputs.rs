//! Forms of targets, and what is refused.

use super::*;

#[test]
fn target_forms_round_trip() {
    for seed in 0..100 {
        let rng = &mut Rng(seed);
        let (rows, cols) = ((rng.word() % 5) as usize, (rng.word() % 70) as usize);
        let dense: Vec<bool> = (0..rows * cols).map(|_| rng.unit() < 0.2).collect();
        let words = cols.div_ceil(32);
        let mut bits = vec![0u32; rows * words];
        let (mut offsets, mut indices) = (vec![0u32], Vec::new());
        for row in 0..rows {
            for bit in 0..words * 32 {
                let set = if bit < cols {
                    dense[row * cols + bit]
                } else {
                    rng.flip()
                };
                bits[row * words + bit / 32] |= u32::from(set) << (bit % 32);
            }
            for col in (0..cols).rev().filter(|&col| dense[row * cols + col]) {
                indices.extend(vec![col as u32; 1 + usize::from(rng.flip())]);
            }
            offsets.push(indices.len() as u32);
        }
        assert_eq!(
            dense_from_bits(rows, cols, &bits).as_ref(),
            Ok(&dense),
            "seed {seed}"
        );
        let from_sparse = dense_from_sparse(rows, cols, &offsets, &indices);
        assert_eq!(from_sparse.as_ref(), Ok(&dense), "seed {seed}");
    }
}

#[test]
fn wrong_target_forms_are_refused() {
    let sparse = dense_from_sparse;
    let table = [
        (
            dense_from_bits(2, 33, &[0; 3]),
            "target_bits: expected [4], found [3]",
        ),
        (dense_from_bits(usize::MAX, 2, &[]), "shape: expected "),
        (dense_from_bits(usize::MAX, 0, &[]), "shape: expected "),
        (sparse(1 << 16, 1 << 16, &[], &[]), "shape: expected "),
        (
            sparse(2, 4, &[0, 1], &[3]),
            "target_offsets: expected [3], found [2]",
        ),
        (
            sparse(1, 4, &[1, 1], &[3]),
            "target_offsets: expected 0 as the first value, found 1 at [0]",
        ),
        (
            sparse(2, 4, &[0, 2, 1], &[3]),
            "target_offsets: expected values that do not fall (2 before), found 1 at [2]",
        ),
        (
            sparse(1, 4, &[0, 2], &[3]),
            "target_offsets: expected 1 (all target_indices) as the last value, found 2 at [1]",
        ),
        (
            sparse(1, 4, &[0, 2], &[3, 4]),
            "target_indices: expected labels below 4, found 4 at [1]",
        ),
    ];
    for (result, want) in table {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with(want), "{message}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    type Spoil = fn(&mut RowInputs<'static, f64>);
    static LONG: [f64; 7] = [0.5; 7];
    static FLAGS: [bool; 7] = [true; 7];
    let wrong: [(&str, Spoil); 13] = [
        ("logits", |i| i.logits = &LONG[..5]),
        ("targets", |i| i.targets = &LONG),
        ("class_mask", |i| i.class_mask = Some(&FLAGS[..2])),
        ("mask", |i| i.mask = Some(&FLAGS)),
        ("sample_weight", |i| i.sample_weight = Some(&LONG[..3])),
        ("class_weight", |i| i.class_weight = Some(&LONG[..2])),
        ("weight", |i| i.weight = Some(&LONG)),
        ("threshold", |i| {
            i.threshold = Some(Threshold::Batch(&LONG[..2]));
        }),
        ("threshold", |i| {
            i.threshold = Some(Threshold::Row(&LONG[..3]));
        }),
        ("threshold", |i| {
            i.threshold = Some(Threshold::Label(&LONG[..2]));
        }),
        ("grad_loss", |i| i.grad_loss = Some(&LONG[..2])),
        ("grad_loss", |i| i.grad_loss = Some(&[])),
        ("shape", |i| i.rows = usize::MAX),
    ];
    for loss in losses() {
        let (logits, targets) = (&LONG[..6], &LONG[..6]);
        let right = RowInputs {
            rows: 2,
            cols: 3,
            logits,
            targets,
            ..RowInputs::default()
        };
        assert!(loss.run(&right).is_ok());
        for (tensor, spoil) in wrong {
            let mut inputs = right;
            spoil(&mut inputs);
            let message = loss.run(&inputs).unwrap_err().to_string();
            let refused = match tensor {
                "threshold" => !loss.uses_threshold(),
                "weight" => !loss.takes_weight(),
                _ => false,
            };
            let wanted = match (tensor, loss.targets()) {
                _ if refused => format!("{tensor}: this loss takes none"),
                ("targets", Targets::Logits) => "other: expected ".to_owned(),
                _ => format!("{tensor}: expected "),
            };
            assert!(message.starts_with(&wanted), "{message}");
        }
        let each = RowInputs {
            grad_loss: Some(&LONG[..2]),
            ..right
        };
        assert!(loss.by(Reduction::None).run(&each).is_ok());
    }
}
