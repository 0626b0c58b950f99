//! `wgloss run hcal`: prototype contrast over the levels of a hierarchy.

use crate::engine;
use crate::run::{self, RunArgs};
use crate::tensors::{self, Numbers, Output, Reals, TensorFile};
use serde_json::json;
use std::process::ExitCode;
use wgloss::host::{HcalBatch, Values, Wanted};
use wgloss::{Error, Levels, Noise};

pub fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    let (config, seed) = args.settings.hcal()?;
    let output = args.output.as_deref().map(tensors::output).transpose()?;
    let file = TensorFile::open(&args.input)?;
    let (samples, dim) = match *file.shape("features")? {
        [samples, dim] if dim > 0 => (samples, dim),
        ref shape => {
            let expected = "[B, D], D at least 1";
            return Err(Error::shape("features", expected, format!("{shape:?}")));
        }
    };
    let named = |kind: &str, k: usize| file.has(&format!("{kind}_{}", k + 1));
    let kinds = ["labels", "prototypes"];
    let m = (0..).take_while(|k| kinds.iter().any(|kind| named(kind, *k)));
    let m = m.count().max(1);
    for kind in ["labels", "prototypes", "parents", "noise"] {
        if named(kind, m) {
            return Err(Error::shape(
                format!("{kind}_{}", m + 1),
                format!("no such tensor, there being labels and prototypes of {m} levels"),
                "one",
            ));
        }
    }
    let mut reals: Vec<Reals> = Vec::new();
    let mut classes = Vec::new();
    for k in 0..m {
        let name = format!("prototypes_{}", k + 1);
        match *file.shape(&name)? {
            [count, width] if width == dim && count > 0 => classes.push(count),
            ref shape => {
                let expected = format!("[C, {dim}], C at least 1");
                return Err(Error::shape(name, expected, format!("{shape:?}")));
            }
        }
        reals.push(file.reals(&name)?);
    }
    let mut parents = Vec::new();
    for (k, count) in classes.iter().enumerate().take(m - 1) {
        let name = format!("parents_{}", k + 1);
        file.expect(&name, &[*count])?;
        parents.push(file.indices(&name)?);
    }
    let parents: Vec<&[u32]> = parents.iter().map(Vec::as_slice).collect();
    let levels = Levels::new(&classes, &parents)?;
    let mut labels = Vec::new();
    for k in 0..m {
        let name = format!("labels_{}", k + 1);
        file.expect(&name, &[samples])?;
        labels.extend(file.labels(&name)?);
    }
    let mut noise = Vec::new();
    let given = (0..m).any(|k| named("noise", k));
    for k in (0..m).filter(|_| given) {
        let name = format!("noise_{}", k + 1);
        if !file.has(&name) {
            noise.push(vec![0.0; classes[k] * dim]);
            continue;
        }
        if seed.is_some() {
            return Err(Error::shape(name, "no such tensor beside --seed", "one"));
        }
        file.expect(&name, &[classes[k], dim])?;
        noise.push(file.floats(&name)?);
    }
    let features = file.reals("features")?;
    let grad_loss = run::grad_loss(&file, None)?;
    let prototypes: Vec<Values<'_>> = reals.iter().map(Reals::values).collect();
    let batch = HcalBatch {
        samples,
        dim,
        features: features.values(),
        prototypes: &prototypes,
        labels: &labels,
        noise: match seed {
            Some(seed) => Some(Noise::Seeded(seed)),
            None if given => Some(Noise::Given(&noise[..])),
            None => None,
        },
        balance: None,
        grad_loss: grad_loss.and_then(|values| values.first().copied()),
    };
    let wanted = match output {
        Some(_) => Wanted::Gradients,
        None => Wanted::Loss,
    };
    let (engine, result) = args
        .engine
        .compute(|engine| engine.hcal(&config, &levels, &batch, wanted))?;
    let hvr = result.hvr();
    let loss = run::number(result.loss);
    if let Some(path) = output {
        let mut outputs = vec![
            Output::reals("losses", vec![m], result.losses),
            Output::reals("weights", vec![m], result.weights),
            Output::reals("loss", vec![], vec![result.loss]),
            Output::reals("grad_features", vec![samples, dim], result.grad_features),
            Output::reals("hvr", vec![1], vec![hvr]),
        ];
        for (k, grad) in result.grad_prototypes.into_iter().enumerate() {
            let name = format!("grad_prototypes_{}", k + 1);
            outputs.push(Output::reals(name, vec![classes[k], dim], grad));
        }
        for (k, predictions) in result.predictions.into_iter().enumerate() {
            outputs.push(Output {
                name: format!("predictions_{}", k + 1).into(),
                shape: vec![samples],
                values: Numbers::I32(predictions.into_iter().map(u32::cast_signed).collect()),
            });
        }
        tensors::write(&path, &outputs)?;
    }
    crate::print(&run::object(&[
        ("loss", loss),
        ("backend", json!(engine.backend())),
        ("adapter", json!(engine.adapter())),
        ("driver", json!(engine.driver())),
        ("variant", json!(engine::variant(&engine))),
        ("rows", json!(samples)),
        ("dim", json!(dim)),
        ("classes", json!(classes)),
        ("dtype", json!(batch.features.dtype().to_string())),
        ("hvr", json!(hvr)),
        ("reduction", json!(args.settings.reduction())),
    ]))?;
    Ok(ExitCode::SUCCESS)
}
