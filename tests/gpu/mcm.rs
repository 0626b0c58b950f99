//! The constraint module beyond the case table.

use crate::regimes::narrow;
use crate::{Test, table};
use libtest_mimic::Failed;
use wgloss::check::{Data, Graph, Layout, McmCase, McmMode, McmSides, SPARSE};
use wgloss::host::{Dense, Engine, Gpu, McmRows, Values, Wanted};
use wgloss::{DType, Hierarchy, Mcm, Reduction, Targets};

pub const TESTS: &[Test] = &[
    ("mcm/golden_value", golden),
    ("mcm/windows_of_small_bindings", windows),
    ("mcm/a_graph_of_the_size_of_wordnet", large),
    ("mcm/probabilities_never_break_the_graph", coherent),
    ("mcm/empty_batch_and_bit_identical_repeats", repeats),
    ("mcm/sums_of_four_million", long),
    ("mcm/masks_and_weights_in_every_form", sides),
    ("mcm/weights_of_many_sizes", weights),
    ("mcm/nothing_of_a_row_of_weight_0", nothing),
    ("mcm/infinite_losses_keep_their_weights_sign", infinite),
];

const PLAIN: McmCase = McmCase {
    config: Mcm {
        row_mean: true,
        reduction: Reduction::Mean,
    },
    graph: Graph::Dag,
    dtype: DType::F32,
    form: Targets::Dense(DType::U8),
    sides: McmSides::NONE,
    mode: McmMode::All,
    upstream: true,
    layout: Layout::Apart,
    data: Data::Normal,
    rows: 3,
    cols: 100,
    seed: 1,
};

fn flags(targets: &[u8]) -> Targets<Dense<'_>, &[u32]> {
    Targets::Dense(Dense::Flags(targets))
}

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let hierarchy = Hierarchy::from_edges(4, &[[1, 0], [2, 0]])?;
    let rows = McmRows::new(
        1,
        Values::F32(&[0.5, -1.0, 0.25, -2.0]),
        flags(&[1, 0, 1, 0]),
    );
    let engine = Engine::on(gpu.clone());
    let result = engine.mcm(&Mcm::default(), &hierarchy, &rows, Wanted::Gradients)?;
    let good = (f64::from(result.loss[0]) - 0.372551525655).abs() < 1e-6;
    if good {
        Ok(())
    } else {
        Err(format!("{result:?}").into())
    }
}

fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let small = narrow(gpu, 64 << 10)?;
    let mut cases = Vec::new();
    for (rows, cols, graph) in [(90, 700, Graph::Tree), (2100, 33, Graph::Dag)] {
        let (none, all) = (McmSides::NONE, McmSides::ALL);
        for (dtype, mode, form, sides) in [
            (DType::F32, McmMode::All, Targets::Dense(DType::U8), none),
            (DType::F16, McmMode::BothSame, Targets::Bits(()), all),
            (DType::Bf16, McmMode::All, Targets::Dense(DType::Bf16), all),
        ] {
            cases.push(McmCase {
                rows,
                cols,
                graph,
                dtype,
                mode,
                form,
                sides,
                ..PLAIN
            });
        }
    }
    // The indices of lists must fit one binding.
    cases.push(McmCase {
        rows: 300,
        cols: 65,
        form: SPARSE,
        ..PLAIN
    });
    table::run(&small, &cases)
}

fn large(gpu: &Gpu) -> Result<(), Failed> {
    let case = McmCase {
        rows: 2,
        cols: 82_192,
        graph: Graph::Tree,
        ..PLAIN
    };
    let weighted = McmCase {
        sides: McmSides::ALL,
        form: SPARSE,
        ..case
    };
    table::run(gpu, &[case, weighted])
}

fn coherent(gpu: &Gpu) -> Result<(), Failed> {
    let edges = [[1, 0], [2, 0], [3, 1], [3, 2], [4, 2], [5, 4]];
    let hierarchy = Hierarchy::from_edges(6, &edges)?;
    let logits: Vec<f32> = (0..600)
        .map(|i| ((i * 7919) % 601) as f32 / 75.0 - 4.0)
        .collect();
    let rows = McmRows::new(100, Values::F32(&logits), flags(&[0; 600]));
    let engine = Engine::on(gpu.clone());
    let result = engine.mcm(&Mcm::default(), &hierarchy, &rows, Wanted::Gradients)?;
    for (row, p) in result.probabilities.chunks(6).enumerate() {
        for [child, parent] in edges {
            let coherent = p[parent as usize] >= p[child as usize];
            if !coherent {
                return Err(format!("row {row}: {child} above {parent}").into());
            }
        }
    }
    Ok(())
}

fn repeats(gpu: &Gpu) -> Result<(), Failed> {
    let hierarchy = Hierarchy::from_edges(3, &[[1, 0]])?;
    let engine = Engine::on(gpu.clone());
    let empty = McmRows::new(0, Values::F32(&[]), flags(&[]));
    if engine
        .mcm(&Mcm::default(), &hierarchy, &empty, Wanted::Gradients)?
        .loss
        != [0.0]
    {
        return Err("an empty batch has a loss".into());
    }
    let edges: Vec<[u32; 2]> = (1..900).map(|i| [i, i / 3]).collect();
    let hierarchy = Hierarchy::from_edges(900, &edges)?;
    let logits: Vec<f32> = (0..9000)
        .map(|i| ((i * 7919) % 997) as f32 / 100.0)
        .collect();
    let targets: Vec<u8> = (0..9000).map(|i| u8::from((i * 31) % 17 < 3)).collect();
    let rows = McmRows::new(10, Values::F32(&logits), flags(&targets));
    let first = engine.mcm(&Mcm::default(), &hierarchy, &rows, Wanted::Gradients)?;
    for _ in 0..20 {
        if engine.mcm(&Mcm::default(), &hierarchy, &rows, Wanted::Gradients)? != first {
            return Err("the results differ".into());
        }
    }
    Ok(())
}

/// The loss and the largest gradient, over four million classes and over four million rows, to 2e-6.
fn long(gpu: &Gpu) -> Result<(), Failed> {
    let many: usize = 4_000_000;
    let engine = Engine::on(gpu.clone());
    // All below the first, so that the levels are long too.
    let star: Vec<[u32; 2]> = (1..many as u32).map(|i| [i, 0]).collect();
    for (rows, hierarchy) in [
        (1, Hierarchy::from_edges(many, &[])?),
        (1, Hierarchy::from_edges(many, &star)?),
        (many, Hierarchy::from_edges(1, &[])?),
    ] {
        for (name, step) in [("equal", 0.0), ("mixed", 0.13)] {
            let logit = |i: usize| (step * ((i * 7919) % 61) as f64 - 4.0 * step) as f32;
            let logits: Vec<f32> = (0..many).map(logit).collect();
            let zeros = vec![0; many];
            let call = McmRows::new(rows, Values::F32(&logits), flags(&zeros));
            let result = engine.mcm(&Mcm::default(), &hierarchy, &call, Wanted::Loss)?;
            let mut terms: Vec<f64> = logits.iter().map(|s| f64::from(*s).exp().ln_1p()).collect();
            if hierarchy.edges() > 0 {
                terms[0] = terms.iter().fold(0.0, |most, term| term.max(most));
            }
            let truth = terms.iter().sum::<f64>() / many as f64;
            let off = (f64::from(result.loss[0]) - truth).abs() / truth;
            println!("{rows} rows, {name}: off by {off:e}");
            if off.is_nan() || off > 2e-6 {
                let found = result.loss[0];
                return Err(format!("{rows} rows, {name}: {found}, expected {truth}").into());
            }
        }
    }
    Ok(())
}

/// Each mask and weight alone and all of them, with each form of targets, and data whose NaN are in masked places too.
fn sides(gpu: &Gpu) -> Result<(), Failed> {
    let none = McmSides::NONE;
    let each = [
        McmSides {
            class_mask: true,
            ..none
        },
        McmSides { mask: true, ..none },
        McmSides {
            sample_weight: true,
            ..none
        },
        McmSides {
            class_weight: true,
            ..none
        },
        McmSides {
            class_mask: true,
            class_weight: true,
            ..none
        },
        McmSides::ALL,
    ];
    let forms = [
        Targets::Dense(DType::U8),
        Targets::Dense(DType::F16),
        Targets::Dense(DType::U32),
        Targets::Bits(()),
        SPARSE,
    ];
    let modes = [McmMode::All, McmMode::BothSame, McmMode::Gradient];
    let mut cases = Vec::new();
    for (i, sides) in each.into_iter().enumerate() {
        for (j, form) in forms.into_iter().enumerate() {
            cases.push(McmCase {
                config: Mcm {
                    row_mean: (i + j) % 2 == 0,
                    reduction: [Reduction::None, Reduction::Mean][j % 2],
                },
                sides,
                form,
                mode: modes[(i + j) % 3],
                dtype: [DType::F32, DType::Bf16][i % 2],
                layout: [Layout::Together, Layout::Apart][j % 2],
                data: [Data::Edges, Data::Normal][i / 3],
                rows: 9,
                cols: 67,
                seed: (40 + forms.len() * i + j) as u64,
                ..PLAIN
            });
        }
    }
    table::run(gpu, &cases)
}

/// Weights from 1e-6 to 4e4, of which the gradient keeps the digits: each class wins itself alone, or a chain of them all.
fn weights(gpu: &Gpu) -> Result<(), Failed> {
    let cols = 60;
    let weights: Vec<f32> = (0..cols)
        .map(|c| 10f32.powf(c as f32 * 0.18 - 6.0))
        .collect();
    let logits: Vec<f32> = (0..cols).map(|c| 0.1 * c as f32 - 2.0).collect();
    let chain: Vec<[u32; 2]> = (1..cols as u32).map(|c| [c, c - 1]).collect();
    for edges in [&[][..], &chain] {
        let hierarchy = Hierarchy::from_edges(cols, edges)?;
        let zeros = vec![0; cols];
        let rows = McmRows {
            class_weight: Some(&weights),
            ..McmRows::new(1, Values::F32(&logits), flags(&zeros))
        };
        let wanted = Engine::reference();
        let wanted = wanted.mcm(&Mcm::default(), &hierarchy, &rows, Wanted::Gradients)?;
        let engine = Engine::on(gpu.clone());
        let found = engine.mcm(&Mcm::default(), &hierarchy, &rows, Wanted::Gradients)?;
        let pairs = found.grad_logits.iter().zip(&wanted.grad_logits);
        for (c, (found, wanted)) in pairs.enumerate() {
            if (found - wanted).abs() > 3e-6 * wanted.abs() {
                return Err(format!("class {c}: {found}, expected {wanted}").into());
            }
        }
    }
    Ok(())
}

/// A row of weight 0 may hold what it likes, and a masked class a NaN that no class which counts is above.
fn nothing(gpu: &Gpu) -> Result<(), Failed> {
    let hierarchy = Hierarchy::from_edges(3, &[[1, 0]])?;
    let nan = f32::NAN;
    let logits = [nan, nan, f32::INFINITY, 0.5, 1.0, nan, nan, 1.0, 0.0];
    let rows = McmRows {
        class_mask: Some(&[1, 1, 0]),
        mask: Some(&[1, 1, 1, 1, 1, 1, 0, 1, 1]),
        sample_weight: Some(&[0.0, 2.0, 1.0]),
        ..McmRows::new(
            3,
            Values::F32(&logits),
            flags(&[255, 0, 7, 1, 0, 9, 3, 1, 0]),
        )
    };
    let config = Mcm::default().with_reduction(Reduction::None);
    for engine in [Engine::reference(), Engine::on(gpu.clone())] {
        let out = engine.mcm(&config, &hierarchy, &rows, Wanted::Gradients)?;
        let finite = out
            .loss
            .iter()
            .chain(&out.grad_logits)
            .all(|v| v.is_finite());
        let zeros = out.grad_logits[..3].iter().all(|g| *g == 0.0);
        if !(finite && zeros && out.loss[0] == 0.0 && out.loss[1] > 0.5) {
            return Err(format!("{out:?}").into());
        }
    }
    Ok(())
}

/// Found by random calls: sums took every infinity for a positive one.
fn infinite(gpu: &Gpu) -> Result<(), Failed> {
    let hierarchy = Hierarchy::from_edges(1, &[])?;
    let logits = [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.5];
    for (weights, sum) in [
        ([-0.5, -2.0, 1.0], f32::NEG_INFINITY),
        ([0.5, 2.0, -1.0], f32::INFINITY),
        ([0.5, -2.0, 1.0], f32::NAN),
    ] {
        for (reduction, all) in [
            (Reduction::Sum, vec![sum]),
            (
                Reduction::None,
                vec![
                    weights[0] * f32::INFINITY,
                    weights[1] * f32::INFINITY,
                    weights[2] * 0.474_077,
                ],
            ),
        ] {
            let rows = McmRows {
                sample_weight: Some(&weights),
                ..McmRows::new(3, Values::F32(&logits), flags(&[1, 1, 1]))
            };
            let config = Mcm::default().with_reduction(reduction);
            for engine in [Engine::on(gpu.clone()), Engine::reference()] {
                let found = engine.mcm(&config, &hierarchy, &rows, Wanted::Loss)?.loss;
                let near = |(f, e): (&f32, &f32)| {
                    f == e || f.is_nan() && e.is_nan() || (f - e).abs() < 1e-5
                };
                if found.len() != all.len() || !found.iter().zip(&all).all(near) {
                    return Err(format!("{weights:?}: {found:?}, expected {all:?}").into());
                }
            }
        }
    }
    Ok(())
}
