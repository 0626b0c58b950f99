//! `wgloss run mcm`: the constraint module.

use crate::engine;
use crate::run::{self, RunArgs};
use crate::tensors::{self, Output, TensorFile};
use serde_json::{Value, json};
use std::process::ExitCode;
use wgloss::host::{McmRows, Wanted};
use wgloss::{Error, Hierarchy, Reduction};

pub fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    let config = args.settings.mcm()?;
    let output = args.output.as_deref().map(tensors::output).transpose()?;
    let file = TensorFile::open(&args.input)?;
    let (rows, cols) = match *file.shape("logits")? {
        [rows, cols] => (rows, cols),
        ref shape => return Err(Error::shape("logits", "[B, L]", format!("{shape:?}"))),
    };
    let hierarchy = read_hierarchy(&file, cols)?;
    let logits = file.reals("logits")?;
    file.expect("targets", &[rows, cols])?;
    let targets = file.flags("targets")?;
    let each = config.reduction == Reduction::None;
    let grad_loss = run::grad_loss(&file, each.then_some(rows))?;
    let inputs = McmRows {
        rows,
        logits: logits.values(),
        targets: &targets,
        grad_loss: grad_loss.as_deref(),
    };
    let wanted = match output {
        Some(_) => Wanted::Gradients,
        None => Wanted::Loss,
    };
    let (engine, result) = args
        .engine
        .compute(|engine| engine.mcm(&config, &hierarchy, &inputs, wanted))?;
    let (shape, loss) = match result.loss[..] {
        [loss] if !each => (vec![], run::number(loss)),
        _ => (vec![rows], Value::Null),
    };
    if let Some(path) = output {
        tensors::write(
            &path,
            &[
                Output::reals("loss", shape, result.loss),
                Output::reals("grad_logits", vec![rows, cols], result.grad_logits),
                Output::reals("probabilities", vec![rows, cols], result.probabilities),
            ],
        )?;
    }
    crate::print(&run::object(&[
        ("loss", loss),
        ("backend", json!(engine.backend())),
        ("adapter", json!(engine.adapter())),
        ("driver", json!(engine.driver())),
        ("variant", json!(engine::variant(&engine))),
        ("rows", json!(rows)),
        ("cols", json!(cols)),
        ("dtype", json!(inputs.logits.dtype().to_string())),
        ("edges", json!(hierarchy.edges())),
        ("pairs", json!(hierarchy.pairs())),
        ("depth", json!(hierarchy.depth())),
        ("reduction", json!(args.settings.reduction())),
    ]))?;
    Ok(ExitCode::SUCCESS)
}

/// The hierarchy of `nodes` classes, by its edges.
fn read_hierarchy(file: &TensorFile, nodes: usize) -> Result<Hierarchy, Error> {
    match *file.shape("edges")? {
        [_, 2] => {}
        ref shape => {
            return Err(Error::shape(
                "edges",
                "[E, 2] (child, parent)",
                format!("{shape:?}"),
            ));
        }
    }
    let edges: Vec<[u32; 2]> = file
        .indices("edges")?
        .chunks_exact(2)
        .map(|edge| [edge[0], edge[1]])
        .collect();
    Hierarchy::from_edges(nodes, &edges)
}
