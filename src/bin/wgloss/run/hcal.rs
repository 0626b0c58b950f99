//! `wgloss run hcal`: prototype contrast over the levels of a hierarchy.

use crate::engine::EngineArgs;
use crate::names::level;
use crate::options::HcalOptions;
use crate::report::{Report, json_number};
use crate::tensors::{Numbers, Output, Reals, TensorFile};
use serde_json::json;
use wgloss::host::{HcalBatch, Values, Wanted};
use wgloss::{BalanceState, Error, Levels, Noise};

/// For the help.
pub const TENSORS: &str = "\
Tensors that are read, for each level k from 1 (finest) to m, of C_k classes:
  features        [B, D] reals
  labels_k        [B] indices, -1 without a label
  prototypes_k    [C_k, D] reals
  parents_k       [C_k] indices into level k + 1, for all k but m
  noise_k         [C_k, D] reals, optional: what is added to the unit prototypes
  level_weights   [m] reals, not negative, optional: weights of the levels in place of the adaptive ones
  grad_loss       [1]: the upstream gradient; absent: one
Tensors that are written with -o, F32 but for the predictions:
  loss            []
  losses          [m]
  weights         [m]
  grad_features   [B, D]
  grad_prototypes_k  [C_k, D]
  predictions_k   [B] I32
  hvr             [1], the share of samples whose predictions break the hierarchy
In the line of JSON dim, classes and hvr stand in place of cols and targets.";

/// Computes the loss of a file.
pub fn run(
    options: &HcalOptions,
    file: &TensorFile,
    engine: &EngineArgs,
    wanted: Wanted,
) -> Result<Report, Error> {
    let fixed = file.has("level_weights");
    let config = options.configure(fixed)?;
    let seed = options.seed;
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
    check_levels(file, m)?;
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
            return Err(Error::refused(name, "--seed makes the noise already"));
        }
        file.expect(&name, &[classes[k], dim])?;
        noise.push(file.floats(&name)?);
    }
    let features = file.reals("features")?;
    let grad_loss = file.grad_loss(None)?;
    let level_weights = file.floats_if_any("level_weights", m)?;
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
        balance: level_weights.as_deref().map(BalanceState::Weights),
        grad_loss: grad_loss.and_then(|values| values.first().copied()),
    };
    let (engine, result) =
        engine.compute(|engine| engine.hcal(&config, &levels, &batch, wanted))?;
    let hvr = result.hvr();
    let loss = json_number(result.loss);
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
    Ok(Report {
        engine,
        loss,
        fields: vec![
            ("rows", json!(samples)),
            ("dim", json!(dim)),
            ("classes", json!(classes)),
            ("dtype", json!(batch.features.dtype().to_string())),
            ("hvr", json!(hvr)),
            ("reduction", json!(options.reduction())),
        ],
        outputs,
    })
}

/// Refuses tensors of levels that are not there: numbered from 0, or behind a gap.
fn check_levels(file: &TensorFile, m: usize) -> Result<(), Error> {
    for tensor in file.names() {
        let Some((kind, number)) = level(&tensor) else {
            continue;
        };
        let last = match kind {
            "labels" | "prototypes" | "noise" => m,
            "parents" => m - 1,
            _ => continue,
        };
        // A number that is written in another way is another name.
        let k = number.parse().unwrap_or(0);
        if !(1..=last).contains(&k) || number != k.to_string() {
            let reason = match number == m.to_string() {
                true => format!("level {m} is the last one, and has no parents"),
                false => format!(
                    "no such level: labels and prototypes are there for 1 to {m}, numbered from 1 without a gap"
                ),
            };
            return Err(Error::refused(tensor, reason));
        }
    }
    Ok(())
}
