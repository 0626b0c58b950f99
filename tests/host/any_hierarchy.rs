//! Hierarchies of any edges and levels of any parents: refused where they are none, and what is accepted has the order and the
//! closure that plain search finds, and makes calls. `fuzz/` runs the same function on other bytes.

use arbitrary::{Result, Unstructured};
use std::collections::BTreeSet;
use wgloss::host::Gpu;
use wgloss::{
    DType, Error, Hcal, HcalInputs, HcalOutputs, Hierarchy, Levels, Mcm, McmInputs, McmOutputs,
    Targets, Tensor,
};

/// Makes what some bytes stand for. Whether it was accepted.
pub fn make(gpu: &Gpu, bytes: &mut Unstructured<'_>) -> Result<bool> {
    match bytes.arbitrary()? {
        true => graph(gpu, bytes),
        false => levels(gpu, bytes),
    }
}

/// Mostly small, else at a border.
fn count(bytes: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match bytes.int_in_range(0..=15)? {
        0 => 0,
        1 => *bytes.choose(&[1 << 31, (1 << 31) + 1, 1 << 62, usize::MAX])?,
        2 => *bytes.choose(&[31, 32, 33, 63, 64, 65, 200])?,
        _ => bytes.int_in_range(1..=12)?,
    })
}

/// A node of so many, now and then one that is not there.
fn node(bytes: &mut Unstructured<'_>, nodes: usize) -> Result<u32> {
    match bytes.ratio(1, 60)? {
        true => bytes.arbitrary(),
        false => bytes.int_in_range(0..=(nodes.clamp(1, 1 << 16) - 1) as u32),
    }
}

fn graph(gpu: &Gpu, bytes: &mut Unstructured<'_>) -> Result<bool> {
    let nodes = count(bytes)?;
    let many = bytes.int_in_range(0..=40)?;
    let downwards: bool = bytes.arbitrary()?;
    let edge = |_| {
        let (a, b) = (node(bytes, nodes)?, node(bytes, nodes)?);
        // In any order there are cycles, mostly.
        Ok(if downwards {
            [a.max(b), a.min(b)]
        } else {
            [a, b]
        })
    };
    let mut edges = (0..many).map(edge).collect::<Result<Vec<[u32; 2]>>>()?;
    if downwards {
        edges.retain(|[child, parent]| child != parent);
        edges.sort_unstable();
        edges.dedup();
    }
    let made = Hierarchy::from_edges(nodes, &edges);
    let reached = ancestors(nodes, &edges);
    match (made, reached) {
        (Err(error), None) => {
            assert!(!error.subject().is_empty(), "{error}");
            Ok(false)
        }
        (Ok(hierarchy), Some(ancestors)) => {
            check(&hierarchy, &edges, &ancestors);
            call_mcm(gpu, &hierarchy).unwrap();
            Ok(true)
        }
        (made, reached) => panic!("{nodes} nodes, {edges:?}: {made:?}, by search {reached:?}"),
    }
}

/// Of each node itself and all above it; nothing where that is no hierarchy.
fn ancestors(nodes: usize, edges: &[[u32; 2]]) -> Option<Vec<BTreeSet<u32>>> {
    let distinct: BTreeSet<[u32; 2]> = edges.iter().copied().collect();
    let inside = edges.iter().flatten().all(|node| (*node as usize) < nodes);
    if nodes == 0 || nodes >= 1 << 31 || !inside || distinct.len() < edges.len() {
        return None;
    }
    let mut all: Vec<BTreeSet<u32>> = (0..nodes as u32).map(|node| [node].into()).collect();
    // As often as the longest way could need.
    for _ in 0..nodes.min(edges.len() + 1) {
        for [child, parent] in edges {
            let above = all[*parent as usize].clone();
            all[*child as usize].extend(above);
        }
    }
    let cycle = |[child, parent]: &[u32; 2]| all[*parent as usize].contains(child);
    (!edges.iter().any(cycle)).then_some(all)
}

fn check(hierarchy: &Hierarchy, edges: &[[u32; 2]], ancestors: &[BTreeSet<u32>]) {
    let nodes = ancestors.len();
    assert_eq!((hierarchy.nodes(), hierarchy.edges()), (nodes, edges.len()));
    let pairs: usize = ancestors.iter().map(BTreeSet::len).sum();
    assert_eq!(hierarchy.pairs(), pairs);
    let order = hierarchy.order();
    let mut place = vec![nodes; nodes];
    for (at, node) in order.iter().enumerate() {
        place[*node as usize] = at;
    }
    assert!(order.len() == nodes && !place.contains(&nodes), "{order:?}");
    let list = |of: &mut dyn Iterator<Item = u32>| of.collect::<BTreeSet<u32>>();
    let mut depth = vec![1; nodes];
    for &node in order {
        let at = node as usize;
        let parents = list(&mut edges.iter().filter(|e| e[0] == node).map(|e| e[1]));
        let children = list(&mut edges.iter().filter(|e| e[1] == node).map(|e| e[0]));
        let below = |other: &u32| ancestors[*other as usize].contains(&node);
        let descendants = list(&mut (0..nodes as u32).filter(below));
        assert!(hierarchy.parents(at).iter().eq(&parents), "{node}");
        assert!(hierarchy.children(at).iter().eq(&children), "{node}");
        assert!(hierarchy.ancestors(at).iter().eq(&ancestors[at]), "{node}");
        assert!(hierarchy.descendants(at).iter().eq(&descendants), "{node}");
        for parent in parents {
            assert!(place[parent as usize] < place[at], "{parent} before {node}");
            depth[at] = depth[at].max(depth[parent as usize] + 1);
        }
    }
    assert_eq!(Some(hierarchy.depth()), depth.into_iter().max());
    assert_eq!(hierarchy.words().len(), hierarchy.words_len());
    assert!(hierarchy.parents(nodes).is_empty());
}

/// The constraint module takes every hierarchy.
fn call_mcm(gpu: &Gpu, hierarchy: &Hierarchy) -> std::result::Result<(), Error> {
    let cols = hierarchy.nodes();
    let bytes = |len: usize| gpu.zeros(4 * len as u64);
    let (logits, targets, loss) = (bytes(2 * cols)?, bytes(2 * cols)?, bytes(1)?);
    let (words, grad) = (bytes(hierarchy.words_len())?, bytes(2 * cols)?);
    let words = Tensor::vector(&words, DType::U32, hierarchy.words_len());
    let matrix = |buffer| Tensor::matrix(buffer, DType::F32, 2, cols);
    let inputs = McmInputs {
        targets: Some(Targets::Dense(matrix(&targets))),
        ..McmInputs::new(matrix(&logits), hierarchy.on_device(words)?)
    };
    let outputs = McmOutputs {
        loss: Some(Tensor::vector(&loss, DType::F32, 1)),
        grad_logits: Some(matrix(&grad).into()),
        probabilities: None,
    };
    let call = Mcm::default().prepare(gpu.context(), &inputs, &outputs)?;
    gpu.run(&[&call])
}

fn levels(gpu: &Gpu, bytes: &mut Unstructured<'_>) -> Result<bool> {
    let many: usize = bytes.int_in_range(0..=4)?;
    let classes = (0..many)
        .map(|_| count(bytes))
        .collect::<Result<Vec<usize>>>()?;
    let lists = match bytes.ratio(1, 20)? {
        true => bytes.int_in_range(0..=5)?,
        false => many.saturating_sub(1),
    };
    let mut parents: Vec<Vec<u32>> = Vec::new();
    for k in 0..lists {
        let size = |at: usize| classes.get(at).copied().unwrap_or(1).min(300);
        let len = match bytes.ratio(1, 20)? {
            true => bytes.int_in_range(0..=12)?,
            false => size(k),
        };
        let all = (0..len).map(|_| node(bytes, size(k + 1)));
        parents.push(all.collect::<Result<_>>()?);
    }
    let slices: Vec<&[u32]> = parents.iter().map(Vec::as_slice).collect();
    let sizes = !classes.is_empty() && classes.iter().all(|n| (1..1 << 31).contains(n));
    let counts = parents.len() + 1 == classes.len()
        && (parents.iter().zip(&classes)).all(|(of, n)| of.len() == *n);
    let inside = |(of, n): (&Vec<u32>, &usize)| of.iter().all(|p| (*p as usize) < *n);
    let good = sizes && counts && parents.iter().zip(&classes[1..]).all(inside);
    let levels = match (Levels::new(&classes, &slices), good) {
        (Ok(levels), true) => levels,
        (Err(error), false) => {
            assert!(!error.subject().is_empty(), "{error}");
            return Ok(false);
        }
        (made, _) => panic!("{classes:?}, {parents:?}: {made:?}"),
    };
    assert_eq!(levels.words().len(), levels.words_len());
    let hierarchy = Hierarchy::from_levels(&levels).unwrap();
    let first: Vec<usize> = (0..many).map(|k| classes[..k].iter().sum()).collect();
    for (k, of) in parents.iter().enumerate() {
        for (class, parent) in of.iter().enumerate() {
            let parent = first[k + 1] as u32 + parent;
            assert_eq!(hierarchy.parents(first[k] + class), [parent]);
        }
    }
    call_hcal(gpu, &levels).unwrap();
    Ok(true)
}

/// HCAL takes all levels.
fn call_hcal(gpu: &Gpu, levels: &Levels) -> std::result::Result<(), Error> {
    let (samples, dim) = (3, 2);
    let bytes = |len: usize| gpu.zeros(4 * len as u64);
    let (features, labels, loss) = (bytes(6)?, bytes(3 * levels.len())?, bytes(1)?);
    let (words, grad) = (bytes(levels.words_len())?, bytes(6)?);
    let buffers = levels.classes().iter().map(|n| bytes(2 * n));
    let buffers = buffers.collect::<std::result::Result<Vec<_>, Error>>()?;
    let matrix = |buffer, rows| Tensor::matrix(buffer, DType::F32, rows, dim);
    let prototypes: Vec<Tensor<'_>> = (buffers.iter().zip(levels.classes()))
        .map(|(buffer, n)| matrix(buffer, *n))
        .collect();
    let words = Tensor::vector(&words, DType::U32, levels.words_len());
    let inputs = HcalInputs {
        features: matrix(&features, samples),
        prototypes: &prototypes,
        labels: Some(Tensor::matrix(&labels, DType::U32, levels.len(), samples)),
        levels: levels.on_device(words)?,
        noise: None,
        balance: None,
        grad_loss: None,
        settings: &[],
    };
    let outputs = HcalOutputs {
        loss: Some(Tensor::vector(&loss, DType::F32, 1)),
        grad_features: Some(matrix(&grad, samples).into()),
        ..HcalOutputs::default()
    };
    let call = Hcal::default().prepare(gpu.context(), &inputs, &outputs)?;
    gpu.run(&[&call])
}

#[test]
fn any_edges_and_parents_are_refused_or_right() {
    let gpu = crate::bytes::noop().unwrap();
    let (mut accepted, mut all) = (0, 0);
    crate::seeded(CASES, 600, |bytes| {
        accepted += u32::from(make(&gpu, bytes)?);
        all += 1;
        Ok(())
    });
    assert!(accepted > all / 20 && accepted < all, "{accepted} of {all}");
}

#[cfg(test)]
const CASES: u64 = 4000;
