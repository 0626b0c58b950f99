//! The constraint module.

use crate::mcm::{McmCall, McmExtras};
use crate::ops::{FAR, counted, only, reduced, sigmoid, softplus, wide};
use crate::targets::Targets;
use burn::tensor::{Bool, DType, Int, Tensor};
use wgloss::Hierarchy;

/// The loss, reduced.
pub(crate) fn loss(call: McmCall<'_>) -> Tensor<1> {
    let dims = call.logits.dims();
    let [rows, cols] = dims;
    let McmExtras {
        class_mask,
        mask,
        sample_weight,
        class_weight,
    } = call.extras.clone();
    let s = wide(call.logits);
    let device = s.device();
    let sample_weight = sample_weight.map(wide);
    let counts = counted(dims, class_mask, mask, sample_weight.as_ref(), &device);
    // A row that counts for nothing may hold anything.
    let s = match &sample_weight {
        Some(weight) => only(s, counted(dims, None, None, Some(weight), &device)),
        None => s,
    };
    // Of what does not count only a plain 1 is positive.
    let plain = match call.targets.clone() {
        Targets::Bool(flags) => flags,
        Targets::Int(numbers) => numbers.equal_scalar(1),
        Targets::Float(numbers) => numbers.equal_scalar(1.0),
    };
    let positive = call.targets.positive();
    let y = plain.mask_where(counts.clone(), positive);

    let raw = s.clone().detach();
    let of_all = winners(call.hierarchy, raw.clone());
    let of_positives = winners(call.hierarchy, raw.mask_fill(y.clone().bool_not(), FAR));
    let winner = of_all.mask_where(y.clone(), of_positives);
    let v = s.gather(1, winner);
    let terms = softplus(v.clone().mask_where(y, -v));
    let terms = match class_weight {
        Some(weight) => terms * wide(weight).reshape([1, cols]),
        None => terms,
    };
    let each = only(terms, counts.clone()).sum_dim(1);
    let each = match call.settings.row_mean {
        true => each / wide(counts.float()).sum_dim(1).clamp_min(1.0),
        false => each,
    };
    let each = each.reshape([rows]);
    let each = match sample_weight {
        Some(weight) => each * weight,
        None => each,
    };
    reduced(each, call.settings.reduction)
}

/// The largest probability among each class's descendants and its own.
pub(crate) fn probabilities(hierarchy: &Hierarchy, logits: Tensor<2>) -> Tensor<2> {
    let s = wide(logits);
    sigmoid(s.clone().gather(1, winners(hierarchy, s)))
}

/// For each row and class, which of its descendants, itself among them, has the largest number; the first of several.
fn winners(hierarchy: &Hierarchy, s: Tensor<2>) -> Tensor<2, Int> {
    let nodes = hierarchy.nodes();
    let [rows, _] = s.dims();
    let device = s.device();
    // How far each class lies above the leaves.
    let mut height = vec![0_usize; nodes];
    for &node in hierarchy.order().iter().rev() {
        let of_children = hierarchy
            .children(node as usize)
            .iter()
            .map(|child| height[*child as usize] + 1);
        height[node as usize] = of_children.max().unwrap_or(0);
    }
    let mut order: Vec<usize> = (0..nodes).collect();
    order.sort_by_key(|node| height[*node]);
    let mut place = vec![0; nodes];
    for (at, node) in order.iter().enumerate() {
        place[*node] = at;
    }
    let index = |list: Vec<usize>| {
        let list: Vec<i32> = list.into_iter().map(|at| at as i32).collect();
        Tensor::<1, Int>::from_ints(list.as_slice(), &device)
    };
    // The classes from the leaves up, with what was found of those before. A number of a class is a real one here, so that
    // the first of several is the least of them.
    let most = nodes as f32;
    let mut best: Vec<Tensor<2>> = Vec::new();
    let mut first: Vec<Tensor<2>> = Vec::new();
    for level in order.chunk_by(|a, b| height[*a] == height[*b]) {
        let own = s.clone().select(1, index(level.to_vec()));
        let numbers: Vec<f32> = level.iter().map(|node| *node as f32).collect();
        let numbers =
            Tensor::<1>::from_floats(numbers.as_slice(), &device).reshape([1, level.len()]);
        let numbers = numbers.expand([rows, level.len()]);
        let children = level
            .iter()
            .map(|node| hierarchy.children(*node).len())
            .max()
            .unwrap_or(0);
        if children == 0 {
            best.push(own);
            first.push(numbers);
            continue;
        }
        // As many places for each class as the one with most children needs; a child of those with fewer is there again.
        let place = &place;
        let children_of = level.iter().flat_map(|node| {
            let of = hierarchy.children(*node);
            (0..children).map(move |i| place[of[i.min(of.len() - 1)] as usize])
        });
        let children_of = index(children_of.collect());
        let below = |found: &[Tensor<2>]| {
            let found = Tensor::cat(found.to_vec(), 1).select(1, children_of.clone());
            found.reshape([rows, level.len(), children])
        };
        let (values, winners) = (below(&best), below(&first));
        let shape = [rows, level.len(), 1];
        let values = Tensor::cat(vec![own.reshape(shape), values], 2);
        let winners = Tensor::cat(vec![numbers.reshape(shape), winners], 2);
        let largest = values.clone().max_dim(2);
        let less: Tensor<3, Bool> =
            values.lower(largest.clone().expand([rows, level.len(), children + 1]));
        best.push(largest.reshape([rows, level.len()]));
        first.push(
            winners
                .mask_fill(less, most)
                .min_dim(2)
                .reshape([rows, level.len()]),
        );
    }
    let winners = Tensor::cat(first, 1).select(1, index(place));
    let kind = Tensor::<1, Int>::zeros([1], &device).dtype();
    match kind {
        DType::I64 => winners.clamp_max(most - 1.0).int(),
        _ => winners.clamp_max(most - 1.0).int().cast(kind),
    }
}
