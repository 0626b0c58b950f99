//! The contrastive losses beyond the case table.

use crate::{Test, regimes, table};
use libtest_mimic::Failed;
use wgloss::check::{ContrastiveCase, Others, SPARSE};
use wgloss::host::{Embeddings, Engine, Gpu, KeyEmbeddings, LabelSets, Values, Wanted};
use wgloss::losses::contrastive::{JACCARD_SLACK, Normalizer, Placement, Weighting};
use wgloss::{Contrastive, ContrastiveReduction, DType, Half, Reduce, Targets};

pub const TESTS: &[Test] = &[
    ("contrastive/golden_values", golden),
    ("contrastive/many_labels_and_dimensions", large),
    ("contrastive/blocks_of_every_workgroup", blocks),
    ("contrastive/windows_over_narrow_bindings", windows),
    ("contrastive/weights_of_labels", weighted),
    ("contrastive/pairs_of_the_caller", said),
    ("contrastive/what_is_not_finite", not_finite),
    (
        "contrastive/the_anchor_is_left_out_before_the_maximum",
        left_out,
    ),
    ("contrastive/similar_enough_at_the_threshold", threshold),
    ("contrastive/inactive_anchors_and_empty_batches", inactive),
    ("contrastive/bit_identical_runs", bit_identical),
];

const X: [f32; 12] = [3.0, 4.0, 4.0, 3.0, 0.0, 5.0, -3.0, 4.0, 5.0, 0.0, 1.0, -1.0];
const Y: [u8; 18] = [1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0];

/// The members with the loss and the temperature's gradient of the specification.
fn family() -> [(Contrastive, f64, f64); 9] {
    use {Normalizer::*, Placement::*};
    let mul = Contrastive::new(Weighting::MulSupCon { per_label: false }, 0.1);
    [
        (
            Contrastive::sim_dis(),
            0.8716984161242245,
            -0.4182077946556602,
        ),
        (
            Contrastive::sim_dis_at(Outside, KSum),
            1.8101369797822664,
            -0.9968670307022383,
        ),
        (
            Contrastive::sim_dis_at(Numerator, Count),
            2.687950974256961,
            -1.1730575068927147,
        ),
        (
            Contrastive::sim_dis_at(Both, Count),
            2.3443164394920957,
            -1.412818200202644,
        ),
        (
            Contrastive::sup_con_any(),
            1.8982322178775046,
            -1.1730575068927147,
        ),
        (
            Contrastive::sup_con_all(),
            0.9427428335348247,
            0.9186319968003327,
        ),
        (
            Contrastive::mul_sup_con(),
            2.004454440099727,
            -1.3855019513371594,
        ),
        (mul, 4.166689931153051, -3.0774393740095207),
        (
            Contrastive::new(Weighting::Jaccard { threshold: 0.5 }, 0.07),
            1.1978147950990925,
            -0.6727137353630572,
        ),
    ]
}

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let rows = Embeddings::new(6, 2, 3, Values::F32(&X), LabelSets::Dense(&Y));
    for (config, loss, slope) in family() {
        let config = config.with_temperature(0.5);
        let found = Engine::on(gpu.clone()).contrastive(&config, &rows, Wanted::Gradients)?;
        let truth = Engine::reference().contrastive(&config, &rows, Wanted::Gradients)?;
        let near = |f: f32, e: f64| (f64::from(f) - e).abs() < 2e-6;
        let mut right = near(found.loss[0], loss) && near(found.grad_temperature[0], slope);
        for (f, t) in [
            (&found.loss_rows, &truth.loss_rows),
            (&found.grad_embeddings, &truth.grad_embeddings),
        ] {
            right &= f.len() == t.len() && f.iter().zip(t).all(|(f, t)| near(*f, f64::from(*t)));
        }
        if !right {
            return Err(
                format!("{config:?}: {found:?}, expected {loss}, {slope}, {truth:?}").into(),
            );
        }
    }
    let none = Contrastive::sim_dis().with_reduction(ContrastiveReduction::None);
    let found = Engine::on(gpu.clone()).contrastive(&none, &rows, Wanted::Gradients)?;
    if found.loss != found.loss_rows || found.loss.len() != 6 {
        return Err("without a reduction the loss is that of the rows".into());
    }
    let relations = Engine::on(gpu.clone()).relations(&rows)?;
    if relations != Engine::reference().relations(&rows)? {
        return Err(format!("relations {relations:?}").into());
    }
    Ok(())
}

/// Enough pairs for workgroups of every size to have a block each; fewer have small workgroups.
fn blocks(gpu: &Gpu) -> Result<(), Failed> {
    let square = ContrastiveCase::plain("simdis", Contrastive::sim_dis(), 1450, 20, 40);
    for variant in gpu.context().caps().variants() {
        if variant.reduce == Reduce::Tree && variant.half == Half::Packed {
            let keys = ContrastiveCase {
                others: Others::Keys(1600),
                seed: 2,
                ..ContrastiveCase::plain("simdis", Contrastive::sim_dis(), 1310, 9, 40)
            };
            let cases = [square, keys];
            let mine = if variant.workgroup == 256 { 2 } else { 1 };
            table::run(&gpu.with_variant(variant)?, &cases[..mine])?;
        }
    }
    Ok(())
}

/// The largest case of the specification: 900 rows of 768 dimensions, 9,000 labels; the path of a large batch with its
/// chunks and tiles, reduced; 4,096 dimensions and 16,384 labels; more keys than a chunk has.
fn large(gpu: &Gpu) -> Result<(), Failed> {
    let large = ContrastiveCase::plain("simdis", Contrastive::sim_dis(), 900, 768, 9000);
    let small_tile = Contrastive {
        tile_bytes: 1 << 16,
        ..Contrastive::mul_sup_con()
    };
    let deep = ContrastiveCase::plain("any", Contrastive::sup_con_any(), 40, 4096, 16_384);
    let few = ContrastiveCase::plain("jaccard", Contrastive::jaccard(), 3, 8, 40);
    table::run(
        gpu,
        &[
            ContrastiveCase {
                form: SPARSE,
                dtype: DType::F16,
                ..large
            },
            ContrastiveCase::plain("mulsupcon", small_tile, 700, 20, 90),
            ContrastiveCase {
                form: Targets::Bits(()),
                ..deep
            },
            ContrastiveCase {
                others: Others::Keys(3000),
                ..few
            },
        ],
    )
}

/// Rows, sets and outputs over many bindings: with a device whose bindings reach 64 KiB.
fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let mut cases = Vec::new();
    for (turn, (config, ..)) in family().into_iter().enumerate().step_by(3) {
        let plain = ContrastiveCase::plain("windows", config.with_temperature(0.2), 300, 100, 70);
        for others in [Others::Same, Others::Indexed(270)] {
            cases.push(ContrastiveCase {
                others,
                form: [Targets::Dense(DType::U8), Targets::Bits(()), SPARSE][turn % 3],
                seed: 70 + turn as u64,
                ..plain
            });
        }
    }
    table::run(&regimes::narrow(gpu, 64 << 10)?, &cases)
}

/// Positives and masks of pairs that the caller gives, and pairs that are judged by themselves, by keys of every kind, in
/// several tiles and windows, by lanes of either kind.
fn said(gpu: &Gpu) -> Result<(), Failed> {
    let given = Contrastive::new(Weighting::Given, 0.3);
    let case = |loss, rows, others, seed| ContrastiveCase {
        others,
        pairs_masked: true,
        seed,
        ..ContrastiveCase::plain("said", loss, rows, 9, 45)
    };
    let siglip = Contrastive::sig_lip();
    let jaccard = Contrastive::jaccard();
    let cases = [
        case(given.with_tile_bytes(0), 150, Others::Same, 1),
        case(given, 71, Others::Indexed(101), 2),
        case(siglip.with_tile_bytes(0), 70, Others::Indexed(150), 3),
        case(jaccard.with_tile_bytes(0), 130, Others::Same, 4),
        ContrastiveCase {
            pairs_masked: false,
            masked: true,
            ..case(given, 41, Others::Same, 5)
        },
    ];
    table::run(gpu, &cases)?;
    // More bits than a binding has.
    let large = case(given, 800, Others::Same, 6);
    table::run(&regimes::narrow(gpu, 64 << 10)?, &[large])?;
    let mut variants = gpu.context().caps().variants().into_iter();
    let tree = variants.find(|variant| variant.reduce == Reduce::Tree);
    match tree {
        Some(tree) => table::run(&gpu.with_variant(tree)?, &cases),
        None => Ok(()),
    }
}

/// Weights of labels with all words of sets and with lists, by keys of every kind, in tiles, by lanes of either kind.
fn weighted(gpu: &Gpu) -> Result<(), Failed> {
    let mul = Contrastive::mul_sup_con();
    let sum = Contrastive::mul_sup_con_sum().with_tile_bytes(0);
    let case = |loss, rows, labels, seed| ContrastiveCase {
        weighted: true,
        seed,
        ..ContrastiveCase::plain("weighted", loss, rows, 9, labels)
    };
    let cases = [
        case(sum, 70, 45, 1),
        ContrastiveCase {
            others: Others::Indexed(41),
            masked: true,
            ..case(mul, 33, 100, 2)
        },
        ContrastiveCase {
            others: Others::Keys(41),
            form: SPARSE,
            ..case(mul, 21, 700, 3)
        },
    ];
    table::run(gpu, &cases)?;
    let mut variants = gpu.context().caps().variants().into_iter();
    let tree = variants.find(|variant| variant.reduce == Reduce::Tree);
    match tree {
        Some(tree) => table::run(&gpu.with_variant(tree)?, &cases),
        None => Ok(()),
    }
}

fn not_finite(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = X;
        x[11] = bad;
        let rows = Embeddings::new(6, 2, 3, Values::F32(&x), LabelSets::Dense(&Y));
        let found = engine.contrastive(&Contrastive::sim_dis(), &rows, Wanted::Gradients)?;
        // The last row has no labels, so it is no anchor, but it is everyone's key.
        let each = &found.loss_rows;
        let right = found.loss[0].is_nan()
            && each[..5].iter().all(|l| l.is_nan())
            && each[5] == 0.0
            && found.grad_temperature[0].is_nan()
            && found.grad_embeddings.iter().all(|g| g.is_nan());
        if !right {
            return Err(format!("{bad}: {found:?}").into());
        }
        // Without anyone to meet it there is nothing to tell.
        let alone = Embeddings::new(2, 2, 1, Values::F32(&x[8..]), LabelSets::Dense(&[0, 0]));
        let found = engine.contrastive(&Contrastive::sim_dis(), &alone, Wanted::Gradients)?;
        if found.loss != [0.0] || found.grad_embeddings != [0.0; 4] {
            return Err(format!("{bad}: {found:?}").into());
        }
    }
    // Similarities beyond 1e30, which only rows as they are can have.
    let rows = Embeddings::new(
        2,
        2,
        1,
        Values::F32(&[1e16, 0.0, 1e16, 1.0]),
        LabelSets::Dense(&[1, 1]),
    );
    let raw = Contrastive {
        normalize: false,
        ..Contrastive::sim_dis()
    };
    let found = engine.contrastive(&raw, &rows, Wanted::Loss)?;
    if !found.loss[0].is_nan() {
        return Err(format!("beyond 1e30: {found:?}").into());
    }
    Ok(())
}

/// At temperature 0.01 an anchor in its own row would put 100 into the exponent, and hide everything else.
fn left_out(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let config = Contrastive::sup_con_any().with_temperature(0.01);
    let x = [1.0, 0.0, -1.0, 0.0, 0.0, 1.0];
    let y = [1, 0, 1, 0, 0, 1];
    let rows = Embeddings::new(3, 2, 2, Values::F32(&x), LabelSets::Dense(&y));
    let found = engine.contrastive(&config, &rows, Wanted::Gradients)?;
    // The positive at -100, the other key at 0.
    if (found.loss[0] - 100.0).abs() > 1e-4 || found.loss_rows[2] != 0.0 {
        return Err(format!("{found:?}").into());
    }
    // Without an index the anchor's copy is a key like any other; with one it is not.
    let with = Embeddings {
        keys: Some(KeyEmbeddings {
            rows: 3,
            embeddings: Values::F32(&x),
            labels: LabelSets::Dense(&y),
        }),
        ..rows
    };
    let free = engine.contrastive(&config, &with, Wanted::Loss)?;
    let indexed = Embeddings {
        self_index: Some(&[0, 1, 2]),
        ..with
    };
    let same = engine.contrastive(&config, &indexed, Wanted::Gradients)?;
    let both: Vec<f32> = same
        .grad_embeddings
        .iter()
        .zip(&same.grad_keys)
        .map(|(a, b)| a + b)
        .collect();
    let mut pairs = both.iter().zip(&found.grad_embeddings);
    let near = pairs.all(|(a, b)| (a - b).abs() < 1e-3);
    // Positives at 100 and -100 against 100: half of 200 for two anchors, 0 for the third.
    if (free.loss[0] - 200.0 / 3.0).abs() > 1e-3 || same.loss != found.loss || !near {
        return Err(format!("{free:?}, {same:?}, {found:?}").into());
    }
    Ok(())
}

/// A similarity that is just what the threshold asks for, with its slack, is enough; one below the next number is not.
fn threshold(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    // The first two share one of two labels.
    let rows = Embeddings::new(
        3,
        4,
        3,
        Values::F32(&X),
        LabelSets::Dense(&[1, 1, 0, 1, 0, 0, 0, 0, 1]),
    );
    let loss = |threshold: f32| {
        let config = Contrastive::new(Weighting::Jaccard { threshold }, 0.5);
        engine.contrastive(&config, &rows, Wanted::Loss)
    };
    let mut near = (0..64).map(|i| f32::from_bits(0.500_001_f32.to_bits() - 32 + i));
    let at = near
        .rfind(|t| *t - JACCARD_SLACK == 0.5)
        .ok_or("a threshold")?;
    let above = f32::from_bits(at.to_bits() + 1);
    let (low, at, above) = (loss(0.4)?, loss(at)?, loss(above)?);
    if low.loss[0] <= 0.0 || at.loss != low.loss || above.loss != [0.0] {
        return Err(format!("{low:?}, {at:?}, {above:?}").into());
    }
    Ok(())
}

fn inactive(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let x = [1.0, 2.0, 3.0, 1.0];
    let zero = |v: &[f32]| v.iter().all(|v| *v == 0.0);
    let batches: [(usize, &[u8]); 4] = [(1, &[1, 1]), (2, &[0; 4]), (2, &[1, 0, 0, 1]), (0, &[])];
    for (n, y) in batches {
        let rows = Embeddings::new(n, 2, 2, Values::F32(&x[..2 * n]), LabelSets::Dense(y));
        for (config, ..) in family() {
            let found = engine.contrastive(&config, &rows, Wanted::Gradients)?;
            let right = found.loss == [0.0]
                && zero(&found.loss_rows)
                && found.grad_embeddings.len() == 2 * n
                && zero(&found.grad_embeddings)
                && found.grad_temperature == [0.0];
            if !right {
                return Err(format!("{n}: {config:?}: {found:?}").into());
            }
        }
    }
    // No anchors for some keys, no keys for some anchors.
    for (n, m) in [(0, 2), (2, 0)] {
        let rows = Embeddings {
            keys: Some(KeyEmbeddings {
                rows: m,
                embeddings: Values::F32(&x[..2 * m]),
                labels: LabelSets::Dense(&[1, 1][..m]),
            }),
            ..Embeddings::new(
                n,
                2,
                1,
                Values::F32(&x[..2 * n]),
                LabelSets::Dense(&[1, 1][..n]),
            )
        };
        let found = engine.contrastive(&Contrastive::sim_dis(), &rows, Wanted::Gradients)?;
        let all = [found.loss, found.grad_embeddings, found.grad_keys].concat();
        if all != vec![0.0; 1 + 2 * (n + m)] {
            return Err(format!("{n} anchors, {m} keys: {all:?}").into());
        }
    }
    Ok(())
}

fn bit_identical(gpu: &Gpu) -> Result<(), Failed> {
    let x: Vec<f32> = (0..200 * 24)
        .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
        .collect();
    same_bits(gpu, Values::F32(&x))
}

/// Twenty runs over 200 embeddings of 24 components give the same bits.
pub fn same_bits(gpu: &Gpu, x: Values<'_>) -> Result<(), Failed> {
    let y: Vec<u8> = (0..200 * 20).map(|i| u8::from((i * 31) % 7 < 1)).collect();
    let rows = Embeddings::new(200, 24, 20, x, LabelSets::Dense(&y));
    let engine = Engine::on(gpu.clone());
    let first = engine.contrastive(&Contrastive::sim_dis(), &rows, Wanted::Gradients)?;
    if !first.grad_embeddings.iter().any(|g| *g != 0.0) {
        return Err("there is nothing to compare".into());
    }
    for run in 1..20 {
        let again = engine.contrastive(&Contrastive::sim_dis(), &rows, Wanted::Gradients)?;
        if again != first {
            return Err(format!("run {run} differs").into());
        }
    }
    Ok(())
}
