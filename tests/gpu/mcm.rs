//! The constraint module beyond the case table.

use crate::regimes::narrow;
use crate::{Test, table};
use libtest_mimic::Failed;
use wgloss::check::{Data, Graph, Layout, McmCase, McmMode};
use wgloss::host::{Engine, Gpu, McmRows, Values, Wanted};
use wgloss::{DType, Hierarchy, Mcm, Reduction, Targets};

pub const TESTS: &[Test] = &[
    ("mcm/golden_value", golden),
    ("mcm/windows_of_small_bindings", windows),
    ("mcm/a_graph_of_the_size_of_wordnet", large),
    ("mcm/probabilities_never_break_the_graph", coherent),
    ("mcm/empty_batch_and_bit_identical_repeats", repeats),
    ("mcm/sums_of_four_million", long),
];

const PLAIN: McmCase = McmCase {
    config: Mcm {
        row_mean: true,
        reduction: Reduction::Mean,
    },
    graph: Graph::Dag,
    dtype: DType::F32,
    form: Targets::Dense(DType::U8),
    mode: McmMode::All,
    upstream: true,
    layout: Layout::Apart,
    data: Data::Normal,
    rows: 3,
    cols: 100,
    seed: 1,
};

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let hierarchy = Hierarchy::from_edges(4, &[[1, 0], [2, 0]])?;
    let rows = McmRows {
        rows: 1,
        logits: Values::F32(&[0.5, -1.0, 0.25, -2.0]),
        targets: &[1, 0, 1, 0],
        grad_loss: None,
    };
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
        for (dtype, mode, form) in [
            (DType::F32, McmMode::All, Targets::Dense(DType::U8)),
            (DType::F16, McmMode::BothSame, Targets::Bits(())),
        ] {
            cases.push(McmCase {
                rows,
                cols,
                graph,
                dtype,
                mode,
                form,
                ..PLAIN
            });
        }
    }
    table::run(&small, &cases)
}

fn large(gpu: &Gpu) -> Result<(), Failed> {
    let case = McmCase {
        rows: 2,
        cols: 82_192,
        graph: Graph::Tree,
        ..PLAIN
    };
    table::run(gpu, &[case])
}

fn coherent(gpu: &Gpu) -> Result<(), Failed> {
    let edges = [[1, 0], [2, 0], [3, 1], [3, 2], [4, 2], [5, 4]];
    let hierarchy = Hierarchy::from_edges(6, &edges)?;
    let logits: Vec<f32> = (0..600)
        .map(|i| ((i * 7919) % 601) as f32 / 75.0 - 4.0)
        .collect();
    let rows = McmRows {
        rows: 100,
        logits: Values::F32(&logits),
        targets: &[0; 600],
        grad_loss: None,
    };
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
    let empty = McmRows {
        rows: 0,
        logits: Values::F32(&[]),
        targets: &[],
        grad_loss: None,
    };
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
    let rows = McmRows {
        rows: 10,
        logits: Values::F32(&logits),
        targets: &targets,
        grad_loss: None,
    };
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
            let call = McmRows {
                rows,
                logits: Values::F32(&logits),
                targets: &vec![0; many],
                grad_loss: None,
            };
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
