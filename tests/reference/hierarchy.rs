//! Hierarchies, the constraint module, HCAL and balance.

use super::golden;
use serde_json::Value;
use wgloss::check::Rng;
use wgloss::losses::hcal::Aggregation;
use wgloss::reference::{
    BalanceInputs, HcalInputs, HcalOutputs, McmInputs, balance, hcal, mcm, perturbation,
};
use wgloss::{
    Balance, BalanceState, Error, ErrorKind, Hcal, Hierarchy, Levels, Mcm, Noise, Reduction,
};

fn near(what: &str, found: f64, expected: f64, within: f64) {
    let good = (found - expected).abs() <= within * expected.abs().max(1e-3);
    assert!(good, "{what} is {found}, expected {expected}");
}

fn all_near(what: &str, found: &[f64], expected: &[f64], within: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let good = (f - e).abs() <= within * largest.max(1e-9);
        assert!(good, "{what}[{i}] is {f}, expected {e}");
    }
}

fn floats(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(floats).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

// ---- hierarchies

fn message(result: Result<Hierarchy, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn descendants_and_ancestors_of_a_diamond() -> Result<(), Error> {
    // 3 below 1 and 2, both below 0; 4 below 3; 5 alone.
    let edges = [[4, 3], [3, 2], [1, 0], [3, 1], [2, 0]];
    let h = Hierarchy::from_edges(6, &edges)?;
    assert_eq!(h.descendants(0), [0, 1, 2, 3, 4]);
    assert_eq!(h.descendants(2), [2, 3, 4]);
    assert_eq!(h.descendants(5), [5]);
    assert_eq!(h.ancestors(4), [0, 1, 2, 3, 4]);
    assert_eq!(h.ancestors(1), [0, 1]);
    assert_eq!((h.parents(3), h.children(0)), (&[1, 2][..], &[1, 2][..]));
    assert_eq!((h.nodes(), h.edges(), h.pairs(), h.depth()), (6, 5, 15, 4));
    let place = |node| h.order().iter().position(|n| *n == node);
    assert!(
        edges
            .iter()
            .all(|[child, parent]| place(*parent) < place(*child))
    );
    assert_eq!(h.descendants(6), [0; 0]);
    assert_eq!(h.words().len(), h.words_len());
    Ok(())
}

#[test]
fn what_is_no_hierarchy_is_named() {
    let of = |nodes, edges: &[[u32; 2]]| message(Hierarchy::from_edges(nodes, edges));
    assert_eq!(
        of(0, &[]),
        "hierarchy: expected at least one node, and fewer than 2^31 nodes and edges, found 0 nodes, 0 edges"
    );
    assert_eq!(
        of(3, &[[1, 0], [3, 1]]),
        "edges: expected nodes below 3, found child 3, parent 1 in edge 1"
    );
    assert_eq!(
        of(3, &[[1, 0], [2, 2]]),
        "edges: expected no node that is its own parent, found node 2 in edge 1"
    );
    assert_eq!(
        of(3, &[[1, 0], [2, 0], [1, 0]]),
        "edges: expected each pair of child and parent once, found child 1 with parent 0 twice"
    );
    // 4 hangs below the cycle and is not on it.
    assert_eq!(
        of(5, &[[4, 3], [3, 2], [2, 1], [1, 3], [1, 0]]),
        "edges: expected no cycle, found from child to parent 1 -> 3 -> 2 -> 1"
    );
}

#[test]
fn levels_are_checked() {
    let of = |classes: &[usize], parents: &[&[u32]]| {
        Levels::new(classes, parents).map_err(|error| error.to_string())
    };
    assert!(of(&[3, 2], &[&[0, 0, 1]]).is_ok());
    for (classes, parents, error) in [
        (
            &[][..],
            &[][..],
            "levels: expected from 1 to 65536 levels, found 0",
        ),
        (
            &[0],
            &[],
            "level 1: expected at least 1 class and fewer than 2^31, found 0",
        ),
        (
            &[3, 2],
            &[],
            "parents: expected those of 1 levels (all but the last), found of 0",
        ),
        (
            &[3, 2],
            &[&[0, 1][..]],
            "parents_1: expected [3] (one for each class), found [2]",
        ),
        (
            &[3, 2],
            &[&[0, 2, 1]],
            "parents_1: expected classes of level 2, below 2, found 2 as parent of class 1",
        ),
    ] {
        assert_eq!(of(classes, parents), Err(error.to_owned()));
    }
    let levels = of(&[3, 2], &[&[0, 0, 1]]).unwrap();
    let labels = |labels: &[u32]| {
        let result = levels.check_paths(labels.len() / 2, labels);
        result.map_err(|error| error.to_string())
    };
    const NONE: u32 = Levels::NONE;
    assert_eq!(labels(&[2, NONE, 1, NONE]), Ok(()));
    assert_eq!(levels.check_labels(2, &[0, 2, 0, 0]), Ok(()));
    assert_eq!(
        labels(&[0, 3, 0, 0]),
        Err("labels_1: expected classes below 3, or -1, found 3 of sample 1".into())
    );
    assert_eq!(
        labels(&[0, 2, 0, 0]),
        Err("labels_2: expected 1, the parent of class 2 that the sample has at level 1, found 0 of sample 1".into())
    );
}

#[test]
fn levels_make_a_hierarchy() -> Result<(), Error> {
    let levels = Levels::new(&[3, 2, 1], &[&[1, 0, 1], &[0, 0]])?;
    let h = Hierarchy::from_levels(&levels)?;
    assert_eq!((h.nodes(), h.edges(), h.depth()), (6, 5, 3));
    assert_eq!(h.ancestors(0), [0, 4, 5]);
    assert_eq!(h.descendants(5), [0, 1, 2, 3, 4, 5]);
    Ok(())
}

/// As many nodes, parents and levels as WordNet's nouns: 82,192 nodes, of which 2,214 have several parents.
#[test]
fn a_hierarchy_of_the_size_of_wordnet_is_small_and_quick() -> Result<(), Error> {
    const NODES: usize = 82_192;
    const TWICE: usize = 2_214;
    let mut rng = Rng(11);
    let mut depth = vec![1_usize];
    let mut edges = Vec::new();
    for node in 1..NODES {
        // Parents among the first, so that the way up is about as long as in WordNet.
        let mut pick = || rng.below(node.min(1 + node / 3 + 4));
        let mut parent = pick();
        while depth[parent] >= 19 {
            parent = pick();
        }
        edges.push([node as u32, parent as u32]);
        depth.push(depth[parent] + 1);
    }
    for i in 0..TWICE {
        let child = 40_000 + 17 * i;
        let other = rng.below(30_000);
        if edges[child - 1][1] as usize != other {
            edges.push([child as u32, other as u32]);
        }
    }
    let began = std::time::Instant::now();
    let h = Hierarchy::from_edges(NODES, &edges)?;
    let took = began.elapsed();
    let bytes = 4 * h.words_len();
    println!(
        "{took:?}, {} pairs, depth {}, {bytes} bytes for the device",
        h.pairs(),
        h.depth()
    );
    assert!(took.as_secs() < 5, "{took:?}");
    assert!(bytes < 40_000_000, "{bytes}");
    // Descendants are ancestors the other way round.
    let sum: usize = (0..NODES).map(|node| h.ancestors(node).len()).sum();
    assert_eq!(sum, h.pairs());
    assert_eq!(h.descendants(0).len(), NODES);
    Ok(())
}

/// A chain has pairs in the square of its length: refused before memory runs out.
#[test]
fn too_many_pairs_are_refused() {
    let edges: Vec<[u32; 2]> = (1..70_000).map(|node| [node, node - 1]).collect();
    let error = Hierarchy::from_edges(70_000, &edges).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

// ---- constraint module

fn mcm_of(
    config: &Mcm,
    h: &Hierarchy,
    rows: usize,
    s: &[f64],
    y: &[bool],
) -> wgloss::reference::McmOutputs<f64> {
    let y: Vec<f64> = y.iter().map(|y| f64::from(u8::from(*y))).collect();
    let inputs = McmInputs {
        rows,
        logits: s,
        targets: &y,
        ..McmInputs::default()
    };
    mcm(config, h, &inputs).unwrap()
}

#[test]
fn golden_mcloss() {
    let golden = golden();
    let case = &golden["hcal"]["mcloss"];
    let mut edges = Vec::new();
    for (a, row) in case["R"].as_array().unwrap().iter().enumerate() {
        for (b, below) in floats(row).into_iter().enumerate() {
            if a != b && below == 1.0 {
                edges.push([b as u32, a as u32]);
            }
        }
    }
    let h = Hierarchy::from_edges(4, &edges).unwrap();
    let y: Vec<bool> = floats(&case["y"]).into_iter().map(|y| y == 1.0).collect();
    let out = mcm_of(&Mcm::default(), &h, 1, &floats(&case["s"]), &y);
    near("loss", out.loss[0], case["loss"].as_f64().unwrap(), 1e-13);
    all_near("ds", &out.grad_logits, &floats(&case["ds"]), 1e-13);
}

#[test]
fn mcloss_is_the_formula_of_the_paper() -> Result<(), Error> {
    let mut rng = Rng(3);
    let edges = [[1, 0], [2, 0], [3, 1], [3, 2], [4, 2], [5, 4]];
    let h = Hierarchy::from_edges(7, &edges)?;
    for _ in 0..50 {
        let s: Vec<f64> = rng.many(7, -1.0, 1.0).iter().map(|s| 4.0 * s).collect();
        let y: Vec<bool> = rng.many(7, -1.0, 1.0).iter().map(|y| *y > 0.2).collect();
        let sigma = |s: f64| 1.0 / (1.0 + (-s).exp());
        let mut loss = 0.0;
        let out = mcm_of(&Mcm::default(), &h, 1, &s, &y);
        for a in 0..7 {
            let below = h.descendants(a).iter().map(|b| *b as usize);
            let largest = |only: bool| {
                let of = below.clone().filter(|b| !only || y[*b]);
                of.map(|b| sigma(s[b])).fold(0.0, f64::max)
            };
            let v = if y[a] { largest(true) } else { largest(false) };
            loss -= if y[a] { v.ln() } else { (1.0 - v).ln() } / 7.0;
            near("probability", out.probabilities[a], largest(false), 1e-12);
        }
        near("loss", out.loss[0], loss, 1e-12);
    }
    Ok(())
}

#[test]
fn mcloss_gradient_is_the_derivative() -> Result<(), Error> {
    let mut rng = Rng(5);
    let edges = [[1, 0], [2, 0], [3, 1], [3, 2], [4, 2], [5, 4]];
    let h = Hierarchy::from_edges(7, &edges)?;
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(5.0)] {
        for row_mean in [true, false] {
            let config = Mcm {
                row_mean,
                reduction,
            };
            let s: Vec<f64> = rng.many(21, -1.0, 1.0).iter().map(|s| 3.0 * s).collect();
            let y: Vec<bool> = rng.many(21, -1.0, 1.0).iter().map(|y| *y > 0.0).collect();
            let out = mcm_of(&config, &h, 3, &s, &y);
            for i in 0..s.len() {
                let at = |d: f64| {
                    let mut moved = s.clone();
                    moved[i] += d;
                    mcm_of(&config, &h, 3, &moved, &y).loss[0]
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((slope - out.grad_logits[i]).abs() < 1e-7, "{config:?} {i}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_first_of_several_winners_has_the_gradient() -> Result<(), Error> {
    let h = Hierarchy::from_edges(3, &[[1, 0], [2, 0]])?;
    let config = Mcm {
        row_mean: false,
        ..Mcm::default()
    };
    // Node 0 is below the two, which are equal: its term goes to node 1.
    let out = mcm_of(&config, &h, 1, &[-1.0, 0.0, 0.0], &[false; 3]);
    assert_eq!(out.grad_logits, [0.0, 1.0, 0.5]);
    // A zero is a zero, whatever its sign.
    let out = mcm_of(&config, &h, 1, &[-1.0, -0.0, 0.0], &[false; 3]);
    assert_eq!(out.grad_logits, [0.0, 1.0, 0.5]);
    Ok(())
}

#[test]
fn edges_of_mcloss() -> Result<(), Error> {
    let h = Hierarchy::from_edges(3, &[[1, 0]])?;
    let config = Mcm::default().with_reduction(Reduction::None);
    let s = [0.0, f64::NAN, 1.0, 0.0, f64::INFINITY, 1.0];
    let out = mcm_of(&config, &h, 2, &s, &[false; 6]);
    assert!(out.loss[0].is_nan() && out.loss[1] == f64::INFINITY);
    assert!(out.grad_logits[..3].iter().all(|g| g.is_nan()));
    assert!(out.grad_logits[3..].iter().all(|g| g.is_finite()));
    assert!(out.probabilities[0].is_nan() && out.probabilities[2] > 0.7);
    assert_eq!(out.probabilities[3..5], [1.0, 1.0]);
    let none = mcm_of(&Mcm::default(), &h, 0, &[], &[]);
    assert_eq!((none.loss, none.grad_logits), (vec![0.0], vec![]));
    let wrong = McmInputs {
        rows: 1,
        logits: &[0.0; 2],
        targets: &[0.0; 3],
        ..McmInputs::default()
    };
    let error = mcm(&config, &h, &wrong).unwrap_err();
    assert_eq!(error.to_string(), "logits: expected [3], found [2]");
    Ok(())
}

/// Everything that can be masked and weighed, against the formula in probabilities written out.
#[test]
fn masks_and_weights_of_mcloss() -> Result<(), Error> {
    let mut rng = Rng(11);
    let edges = [[1, 0], [2, 0], [3, 1], [3, 2], [4, 2], [5, 4]];
    let h = Hierarchy::from_edges(7, &edges)?;
    let config = Mcm::default().with_reduction(Reduction::None);
    for turn in 0..50 {
        let s: Vec<f64> = rng.many(7, -4.0, 4.0);
        let class_mask: Vec<bool> = (0..7).map(|_| rng.chance(0.7)).collect();
        let mask: Vec<bool> = (0..7).map(|_| rng.chance(0.7)).collect();
        let class_weight = rng.many(7, 0.1, 3.0);
        let weight = rng.uniform(-1.0, 2.0);
        let counts = |a: usize| class_mask[a] && mask[a];
        // What is masked may be anything, and only a plain 1 is a positive there.
        let others = [f64::NAN, -1.0, 255.0, 0.3, 0.7, 1.0];
        let y: Vec<f64> = (0..7)
            .map(|a| match counts(a) {
                true => f64::from(u8::from(rng.chance(0.5))),
                false => others[(a + turn) % 6],
            })
            .collect();
        let inputs = McmInputs {
            rows: 1,
            logits: &s,
            targets: &y,
            class_mask: Some(&class_mask),
            mask: Some(&mask),
            sample_weight: Some(&[weight]),
            class_weight: Some(&class_weight),
            grad_loss: Some(&[1.5]),
        };
        let of = |s: &[f64]| {
            mcm(
                &config,
                &h,
                &McmInputs {
                    logits: s,
                    ..inputs
                },
            )
            .unwrap()
        };
        let out = of(&s);
        let sigma = |s: f64| 1.0 / (1.0 + (-s).exp());
        let (mut loss, mut counted) = (0.0, 0.0);
        for a in 0..7 {
            let below = h.descendants(a).iter().map(|b| *b as usize);
            let largest = |only: bool| {
                let of = below.clone().filter(|b| !only || y[*b] == 1.0);
                of.map(|b| sigma(s[b])).fold(0.0, f64::max)
            };
            near("probability", out.probabilities[a], largest(false), 1e-12);
            if counts(a) {
                let v = largest(y[a] == 1.0);
                let term = if y[a] == 1.0 { v.ln() } else { (1.0 - v).ln() };
                loss -= class_weight[a] * term;
                counted += 1.0;
            }
        }
        near(
            "loss",
            out.loss[0],
            weight * loss / f64::max(counted, 1.0),
            1e-12,
        );
        for i in 0..7 {
            let at = |d: f64| {
                let mut moved = s.clone();
                moved[i] += d;
                of(&moved).loss[0]
            };
            let slope = 1.5 * (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((slope - out.grad_logits[i]).abs() < 1e-7, "{turn} {i}");
        }
    }
    Ok(())
}

/// Without the roots, as the published scripts train: their terms are absent, and nothing else changes.
#[test]
fn a_class_mask_of_the_roots() -> Result<(), Error> {
    let h = Hierarchy::from_edges(4, &[[1, 0], [2, 0], [3, 1]])?;
    let config = Mcm::default().with_row_sum();
    let (s, y) = ([0.3, -1.0, 0.8, -0.2], [1.0, 1.0, 0.0, 0.0]);
    let all = McmInputs {
        rows: 1,
        logits: &s,
        targets: &y,
        ..McmInputs::default()
    };
    let mask = [false, true, true, true];
    let masked = McmInputs {
        class_mask: Some(&mask),
        ..all
    };
    let (all, masked) = (mcm(&config, &h, &all)?, mcm(&config, &h, &masked)?);
    // The root is positive, and its best positive is itself.
    near(
        "loss",
        all.loss[0] - masked.loss[0],
        (-0.3_f64).exp().ln_1p(),
        1e-12,
    );
    assert_eq!(masked.grad_logits[0], 0.0);
    assert_eq!(all.grad_logits[1..], masked.grad_logits[1..]);
    assert_eq!(all.probabilities, masked.probabilities);
    Ok(())
}

/// A NaN matters where a class that counts is above it, and a row of weight 0 holds what it likes.
#[test]
fn what_does_not_count_is_not_looked_at() -> Result<(), Error> {
    let h = Hierarchy::from_edges(3, &[[1, 0]])?;
    let config = Mcm::default().with_reduction(Reduction::None);
    let nan = f64::NAN;
    let s = [0.5, 0.1, nan, nan, 0.1, 0.2, nan, nan, nan, 0.5, nan, 1.0];
    let mask: Vec<bool> = [1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1].map(|m| m == 1).into();
    let inputs = McmInputs {
        rows: 4,
        logits: &s,
        targets: &[1.0, 0.0, nan, nan, 1.0, 0.0, nan, nan, nan, 0.0, nan, 0.0],
        mask: Some(&mask),
        sample_weight: Some(&[1.0, 1.0, 0.0, 1.0]),
        ..McmInputs::default()
    };
    let out = mcm(&config, &h, &inputs)?;
    for (row, is_nan) in [false, false, false, true].into_iter().enumerate() {
        assert_eq!(out.loss[row].is_nan(), is_nan, "{row}");
        let gradient = &out.grad_logits[3 * row..][..3];
        assert!(gradient.iter().all(|g| g.is_nan() == is_nan), "{row}");
    }
    assert_eq!(out.loss[2], 0.0);
    assert_eq!(out.grad_logits[6..9], [0.0; 3]);
    // The mean is over those that count.
    near(
        "mean",
        out.loss[0],
        ((-0.5_f64).exp().ln_1p() + 0.1_f64.exp().ln_1p()) / 2.0,
        1e-12,
    );
    let short = McmInputs {
        class_weight: Some(&[1.0; 2]),
        ..inputs
    };
    let error = mcm(&config, &h, &short).unwrap_err();
    assert_eq!(error.to_string(), "class_weight: expected [3], found [2]");
    Ok(())
}

// ---- HCAL

/// A problem of HCAL, owned.
#[derive(Clone)]
struct Problem {
    config: Hcal,
    levels: Levels,
    samples: usize,
    dim: usize,
    features: Vec<f64>,
    prototypes: Vec<Vec<f64>>,
    labels: Vec<u32>,
    noise: Option<Vec<Vec<f64>>>,
    /// Log variances of the levels, or their weights.
    of_levels: Vec<f64>,
    grad_loss: f64,
}

impl Problem {
    fn run(&self) -> HcalOutputs<f64> {
        let prototypes: Vec<&[f64]> = self.prototypes.iter().map(Vec::as_slice).collect();
        let noise: Vec<&[f64]> = self.noise.iter().flatten().map(Vec::as_slice).collect();
        let inputs = HcalInputs {
            samples: self.samples,
            dim: self.dim,
            features: &self.features,
            prototypes: &prototypes,
            labels: &self.labels,
            noise: match self.noise {
                Some(_) => Some(Noise::Given(&noise[..])),
                None => None,
            },
            balance: match self.config.balance {
                Balance::Uncertainty => Some(BalanceState::LogVariances(&self.of_levels[..])),
                Balance::Fixed => Some(BalanceState::Weights(&self.of_levels[..])),
                _ => None,
            },
            grad_loss: Some(self.grad_loss),
        };
        hcal(&self.config, &self.levels, &inputs).unwrap()
    }

    fn random(rng: &mut Rng, config: Hcal, missing: usize) -> Problem {
        let (samples, dim) = (7, 3);
        let classes = [5, 3, 2];
        let parents: Vec<Vec<u32>> = (0..2)
            .map(|k| {
                (0..classes[k])
                    .map(|_| rng.below(classes[k + 1]) as u32)
                    .collect()
            })
            .collect();
        let slices: Vec<&[u32]> = parents.iter().map(Vec::as_slice).collect();
        let levels = Levels::new(&classes, &slices).unwrap();
        let mut labels = vec![Levels::NONE; 3 * samples];
        for i in 0..samples {
            let mut class = rng.below(5) as u32;
            for k in 0..3 {
                if missing == 0 || rng.below(missing) > 0 {
                    labels[k * samples + i] = class;
                }
                class = levels.parents(k).get(class as usize).copied().unwrap_or(0);
            }
        }
        Problem {
            config,
            samples,
            dim,
            features: rng.many(samples * dim, -1.0, 1.0),
            prototypes: classes
                .iter()
                .map(|c| rng.many(c * dim, -1.0, 1.0))
                .collect(),
            labels,
            noise: Some(
                classes
                    .iter()
                    .map(|c| rng.many(c * dim, -1.0, 1.0))
                    .collect(),
            ),
            of_levels: rng.many(3, -1.0, 1.0),
            grad_loss: 1.0,
            levels,
        }
    }
}

fn indices(value: &Value) -> Vec<u32> {
    floats(value).into_iter().map(|v| v as u32).collect()
}

#[test]
fn golden_hcal() {
    let golden = golden();
    let all = &golden["hcal"];
    let mut cases = 0;
    let mut check = |inputs: &Value, case: &Value, parents: &[&[u32]], tree: bool| {
        let each = |name: &Value| -> Vec<Vec<f64>> {
            name.as_array().unwrap().iter().map(floats).collect()
        };
        let prototypes = each(&inputs["P"]);
        let dim = inputs["X"][0].as_array().unwrap().len();
        let classes: Vec<usize> = prototypes.iter().map(|p| p.len() / dim).collect();
        let problem = Problem {
            config: Hcal {
                temperature: case["tau"].as_f64().unwrap() as f32,
                aggregation: if tree {
                    Aggregation::Tree
                } else {
                    Aggregation::SampleMean
                },
                ..Hcal::default()
            },
            levels: Levels::new(&classes, parents).unwrap(),
            samples: inputs["X"].as_array().unwrap().len(),
            dim,
            features: floats(&inputs["X"]),
            prototypes,
            labels: indices(&inputs["labels"]),
            noise: match case["noise_name"].as_str() {
                Some("fixed") => Some(each(&case["noise"])),
                _ => None,
            },
            of_levels: vec![],
            grad_loss: 1.0,
        };
        let out = problem.run();
        // The temperature is an f32.
        let within = 1e-6;
        all_near("losses", &out.losses, &floats(&case["losses"]), within);
        all_near("weights", &out.weights, &floats(&case["lam"]), within);
        near("loss", out.loss, case["total"].as_f64().unwrap(), within);
        all_near("features", &out.grad_features, &floats(&case["dX"]), within);
        for (k, grad) in out.grad_prototypes.iter().enumerate() {
            all_near("prototypes", grad, &floats(&case["dP"][k]), within);
        }
        cases += 1;
    };
    let parent = indices(&all["parent"]);
    for case in all["cases"].as_array().unwrap() {
        check(all, case, &[&parent], false);
    }
    for case in all["three"].as_array().unwrap() {
        // The parents that the labels show.
        let labels = indices(&case["labels"]);
        let mut shown = [vec![0; 4], vec![0; 3]];
        for k in 0..2 {
            for i in 0..6 {
                shown[k][labels[k * 6 + i] as usize] = labels[(k + 1) * 6 + i];
            }
        }
        check(case, case, &[&shown[0], &shown[1]], case["agg"] == "tree");
    }
    assert_eq!(cases, 6);
}

#[test]
fn hcal_gradients_are_derivatives() {
    let mut rng = Rng(17);
    let balances = [
        Balance::Adaptive {
            gamma: 0.7,
            attach: true,
        },
        Balance::Uncertainty,
        Balance::Fixed,
    ];
    for turn in 0..12 {
        let config = Hcal {
            temperature: 0.5,
            aggregation: [Aggregation::SampleMean, Aggregation::Tree][turn % 2],
            balance: balances[turn / 2 % 3],
            ..Hcal::default()
        };
        let mut problem = Problem::random(&mut rng, config, [0, 3][turn / 4 % 2]);
        if turn >= 8 {
            problem.noise = None;
        }
        problem.grad_loss = -1.5;
        let out = problem.run();
        let slope = |change: &dyn Fn(&mut Problem, f64)| {
            let at = |d: f64| {
                let mut moved = problem.clone();
                change(&mut moved, d);
                moved.run().loss
            };
            -1.5 * (at(1e-6) - at(-1e-6)) / 2e-6
        };
        let equal = |what: &str, slope: f64, found: f64| {
            assert!(
                (slope - found).abs() < 3e-7,
                "turn {turn} {what}: {slope} {found}"
            );
        };
        for i in 0..problem.features.len() {
            let slope = slope(&|problem, d| problem.features[i] += d);
            equal("features", slope, out.grad_features[i]);
        }
        for k in 0..3 {
            for i in 0..problem.prototypes[k].len() {
                let slope = slope(&|problem, d| problem.prototypes[k][i] += d);
                equal("prototypes", slope, out.grad_prototypes[k][i]);
            }
            if !out.grad_log_variances.is_empty() {
                let slope = slope(&|problem, d| problem.of_levels[k] += d);
                equal("log variances", slope, out.grad_log_variances[k]);
            }
        }
    }
}

/// Where weights are detached, the gradient is that of the sum with the weights held.
#[test]
fn detached_weights_are_constants() {
    let mut rng = Rng(19);
    let problem = Problem::random(&mut rng, Hcal::default(), 0);
    let out = problem.run();
    for i in 0..problem.features.len() {
        let at = |d: f64| {
            let mut moved = problem.clone();
            moved.features[i] += d;
            let losses = moved.run().losses;
            losses
                .iter()
                .zip(&out.weights)
                .map(|(l, w)| l * w)
                .sum::<f64>()
        };
        let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
        assert!((slope - out.grad_features[i]).abs() < 1e-6);
    }
}

#[test]
fn fixed_weights_take_the_place_of_adaptive_ones() {
    let mut rng = Rng(21);
    let mut problem = Problem::random(&mut rng, Hcal::default(), 0);
    let adaptive = problem.run();
    problem.config.balance = Balance::Fixed;
    // Those that the softmax has found give the same, and gradients follow the weights.
    problem.of_levels = adaptive.weights.clone();
    let same = problem.run();
    near("loss", same.loss, adaptive.loss, 1e-14);
    all_near(
        "features",
        &same.grad_features,
        &adaptive.grad_features,
        1e-14,
    );
    problem.of_levels = vec![0.5, 0.0, 2.0];
    let fixed = problem.run();
    assert_eq!(fixed.weights, problem.of_levels);
    assert_eq!(fixed.losses, adaptive.losses);
    let sum = 0.5 * fixed.losses[0] + 2.0 * fixed.losses[2];
    near("loss", fixed.loss, sum, 1e-14);
    assert!(fixed.grad_prototypes[1].iter().all(|g| *g == 0.0));
    // A level without labels keeps its weight, and has no loss.
    let n = problem.samples;
    problem.labels[2 * n..].fill(Levels::NONE);
    let out = problem.run();
    assert_eq!(
        (out.loss, out.weights),
        (0.5 * out.losses[0], problem.of_levels)
    );
}

#[test]
fn missing_labels_and_levels() {
    let mut rng = Rng(23);
    let mut problem = Problem::random(&mut rng, Hcal::default(), 0);
    let n = problem.samples;
    // A level without a label is out; with one level left its weight is 1.
    problem.labels[n..].fill(Levels::NONE);
    let out = problem.run();
    assert_eq!((out.weights[0], &out.losses[1..]), (1.0, &[0.0, 0.0][..]));
    assert_eq!(out.loss, out.losses[0]);
    assert!(out.grad_prototypes[1].iter().all(|g| *g == 0.0));
    // A sample without any label has no gradient.
    problem.labels[0] = Levels::NONE;
    let out = problem.run();
    assert!(out.grad_features[..3].iter().all(|g| *g == 0.0));
    // Whatever it holds; the others are as they are without it.
    for bad in [f64::NAN, f64::INFINITY] {
        let mut strange = problem.clone();
        strange.features[1] = bad;
        let strange = strange.run();
        assert_eq!((strange.loss, &strange.losses), (out.loss, &out.losses));
        assert_eq!(strange.grad_features, out.grad_features);
        assert_eq!(strange.grad_prototypes, out.grad_prototypes);
    }
    // Without a label at the first level it counts at the others.
    let mut elsewhere = problem.clone();
    let of_others = Problem::random(&mut rng, Hcal::default(), 0).labels;
    elsewhere.labels[n..].copy_from_slice(&of_others[n..]);
    let elsewhere = elsewhere.run();
    assert!(elsewhere.losses[1] > 0.0);
    assert!(elsewhere.grad_features[..3].iter().any(|g| *g != 0.0));
    // None at all.
    problem.labels.fill(Levels::NONE);
    let out = problem.run();
    assert_eq!((out.loss, out.weights), (0.0, vec![0.0; 3]));
    // No sample at all.
    problem.samples = 0;
    problem.labels.clear();
    problem.features.clear();
    let out = problem.run();
    assert_eq!((out.loss, out.violations), (0.0, vec![0; 4]));
}

/// In a tree a class is the mean of its children in the batch; without one, of its samples.
#[test]
fn trees_weigh_children_alike() {
    let levels = Levels::new(&[3, 1], &[&[0, 0, 0]]).unwrap();
    let labels = [0, 0, 1, 0, 0, 0];
    let problem = Problem {
        config: Hcal {
            aggregation: Aggregation::Tree,
            ..Hcal::default()
        },
        levels,
        samples: 3,
        dim: 2,
        features: vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0],
        prototypes: vec![vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0], vec![0.6, 0.8]],
        labels: labels.to_vec(),
        noise: None,
        of_levels: vec![],
        grad_loss: 1.0,
    };
    // One class: its loss is 0 whatever the mean; two prototypes tell means apart.
    let mut two = problem.clone();
    two.levels = Levels::new(&[3, 2], &[&[0, 0, 0]]).unwrap();
    two.prototypes[1].extend([1.0, 0.0]);
    let mean = [(0.8 + 0.0) / 2.0, (0.4 + 1.0) / 2.0];
    let own = 0.6 * mean[0] + 0.8 * mean[1];
    let other = mean[0];
    let tau = f64::from(0.1_f32);
    let expected = (1.0 + ((other - own) / tau).exp()).ln();
    near("tree", two.run().losses[1], expected, 1e-12);
    // Level 1 without labels: the samples' own mean.
    two.labels[..3].fill(Levels::NONE);
    let mean = [1.6 / 3.0, 1.8 / 3.0];
    let expected = (1.0 + ((mean[0] - 0.6 * mean[0] - 0.8 * mean[1]) / tau).exp()).ln();
    near("samples", two.run().losses[1], expected, 1e-12);
    assert_eq!(problem.run().losses[1], 0.0);
}

#[test]
fn violations_are_counted_by_sample_and_link() {
    let golden = golden();
    let parent = indices(&golden["hcal"]["parent"]);
    let levels = Levels::new(&[3, 2], &[&parent]).unwrap();
    // Prototypes that make the predictions [0, 1, 2, 2] and [0, 1, 1, 0].
    let features = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1], [-1.0, -0.1]];
    let prototypes = vec![
        vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0],
        vec![0.6, -0.8, -0.6, 0.8],
    ];
    let problem = Problem {
        config: Hcal::default(),
        levels,
        samples: 4,
        dim: 2,
        features: features.concat(),
        prototypes,
        labels: vec![Levels::NONE; 8],
        noise: None,
        of_levels: vec![],
        grad_loss: 1.0,
    };
    let mut out = problem.run();
    assert_eq!(out.predictions[0], [0, 1, 2, 2]);
    assert_eq!(out.predictions[1], [0, 1, 1, 1]);
    assert_eq!(out.violations, [4, 1, 1]);
    // Turned a little, the last one is on the other side.
    let mut turned = problem;
    turned.prototypes[1] = vec![0.1, -0.99, -0.1, 0.99];
    turned.features[6..].copy_from_slice(&[-1.0, -0.2]);
    out = turned.run();
    assert_eq!(out.predictions, [[0, 1, 2, 2], [0, 1, 1, 0]]);
    assert_eq!(out.violations, [4, 2, 2]);
}

#[test]
fn zero_vectors_have_no_gradient() {
    let mut rng = Rng(29);
    let mut problem = Problem::random(&mut rng, Hcal::default(), 0);
    problem.features[..3].fill(0.0);
    problem.prototypes[0][..3].fill(0.0);
    let out = problem.run();
    assert_eq!(out.grad_features[..3], [0.0; 3]);
    assert_eq!(out.grad_prototypes[0][..3], [0.0; 3]);
    assert!(out.loss.is_finite());
}

#[test]
fn perturbations_are_uniform_and_differ() {
    let mut sum = 0.0;
    let mut squares = 0.0;
    let mut seen = std::collections::BTreeSet::new();
    let n = 40_000;
    for i in 0..n {
        let (level, class, component) = (i % 2, i / 2 % 200, i / 400);
        let eta = perturbation(77, level, class, component, 0.01);
        assert!((-0.01..0.01).contains(&eta));
        sum += f64::from(eta);
        squares += f64::from(eta) * f64::from(eta);
        seen.insert(eta.to_bits());
    }
    let n = f64::from(n);
    assert!((sum / n).abs() < 1e-4, "{}", sum / n);
    near("variance", squares / n, 1e-4 / 3.0, 0.02);
    assert!(seen.len() > 39_800, "{}", seen.len());
    assert_ne!(
        perturbation(1, 0, 0, 0, 1.0),
        perturbation(1 << 32, 0, 0, 0, 1.0)
    );
    assert_eq!(perturbation(1, 2, 3, 4, 0.0), 0.0);
}

// ---- balance

fn balance_of(config: Balance, losses: &[f64], history: &[f64], seed: u64) -> Vec<f64> {
    let inputs = BalanceInputs {
        losses,
        state: match config {
            Balance::Dwa { .. } => Some(BalanceState::History(history)),
            Balance::Random => Some(BalanceState::Seed(seed)),
            _ => None,
        },
        ..BalanceInputs::default()
    };
    balance(&config, &inputs).unwrap().weights
}

#[test]
fn weights_of_every_balance() {
    let adaptive = balance_of(Balance::default(), &[1.0, 2.0], &[], 0);
    near(
        "softmax",
        adaptive[1],
        1.0 / (1.0 + (-2.0_f64).exp()),
        1e-12,
    );
    // What fell to half counts less than what stayed; without a history all are 1.
    let dwa = Balance::Dwa { temperature: 2.0 };
    let weights = balance_of(dwa, &[1.0, 1.0], &[0.5, 1.0, 1.0, 1.0], 0);
    let share = 1.0 / (1.0 + (0.25_f64).exp());
    all_near("dwa", &weights, &[2.0 * share, 2.0 - 2.0 * share], 1e-12);
    assert_eq!(balance_of(dwa, &[3.0, 1.0], &[0.0; 4], 0), [1.0, 1.0]);
    let one = balance_of(Balance::Random, &[0.0; 6], &[], 1);
    near("random", one.iter().sum(), 1.0, 1e-12);
    assert_ne!(one, balance_of(Balance::Random, &[0.0; 6], &[], 2));
    let huge = balance_of(Balance::default(), &[1e30, 0.0], &[], 0);
    assert_eq!(huge, [1.0, 0.0]);
}

#[test]
fn histories_move_on_and_absent_losses_stay_out() {
    let dwa = Balance::Dwa { temperature: 1.0 };
    let inputs = BalanceInputs {
        losses: &[3.0, 7.0, 5.0],
        present: Some(&[true, false, true]),
        state: Some(BalanceState::History(&[2.0, 9.0, 4.0, 1.0, 8.0, 6.0])),
        ..BalanceInputs::default()
    };
    let out = balance(&dwa, &inputs).unwrap();
    assert_eq!(out.history, [3.0, 9.0, 5.0, 2.0, 8.0, 4.0]);
    assert_eq!((out.weights[1], out.grad_losses[1]), (0.0, 0.0));
    near("sum", out.weights.iter().sum(), 2.0, 1e-12);
}

#[test]
fn bad_settings_are_named() {
    for (balance, name) in [
        (
            Balance::Adaptive {
                gamma: 0.0,
                attach: false,
            },
            "gamma",
        ),
        (Balance::Dwa { temperature: -1.0 }, "dwa temperature"),
    ] {
        assert_eq!(balance.check().unwrap_err().subject(), name);
    }
    for (config, name) in [
        (
            Hcal {
                temperature: 0.0,
                ..Hcal::default()
            },
            "temperature",
        ),
        (
            Hcal {
                temperature: f32::NAN,
                ..Hcal::default()
            },
            "temperature",
        ),
        (
            Hcal {
                epsilon: -0.1,
                ..Hcal::default()
            },
            "epsilon",
        ),
    ] {
        assert_eq!(config.check().unwrap_err().subject(), name);
    }
}
