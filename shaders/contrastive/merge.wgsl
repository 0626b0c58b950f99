// From the chunks' sums to each anchor's loss, and from the anchors to the loss, the scale and the temperature's gradient.
//
// Grid: `merge` one lane an anchor, folded; `total` one workgroup.
// Mirrors: src/kernels/contrastive/plan.rs; the sums of pairs.wgsl; the record in slopes.wgsl.
// provides: the entry points, each (binding 2, the anchors' losses), loss (binding 3), upstream (binding 4, the gradient
//           to the loss)
// expects:  params, WG, small, work, grad of project.wgsl, Lane, Group, group_sum of lanes_tree.wgsl

@group(0) @binding(2) var<storage, read_write> each: array<u32>;
@group(0) @binding(3) var<storage, read_write> loss: array<u32>;
@group(0) @binding(4) var<storage, read_write> upstream: array<u32>;

// The record of an anchor: the greatest logit; the factors of e^(logit - greatest) and of the weight in the gradient
// (`merge` leaves the upstream gradient to `total`); the loss; the sum of slope times similarity; 1 if it is active, 2
// if it is and met something unsound.
fn record_at(field: u32, anchor: u32) -> u32 {
    return params.record + field * params.record_stride + anchor;
}

fn partial_sum(chunk: u32, field: u32, row: u32) -> f32 {
    let place = params.partial_at + (8u * chunk + field) * params.partial_stride + row / 4u;
    return work[place][row & 3u];
}

@compute @workgroup_size(WG)
fn merge(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = (group.y * params.groups_x + group.x) * WG + lane;
    if (row >= params.rows) {
        return;
    }
    let anchor = params.first_row + row;
    var largest = FAR;
    for (var chunk = 0u; chunk < params.all_chunks; chunk++) {
        largest = max(largest, partial_sum(chunk, 0u, row));
    }
    var sum = 0.0;
    var weight = 0.0;
    var value = 0.0;
    var lead = 0.0;
    var tilt = 0.0;
    var count = 0.0;
    var unsound = 0.0;
    for (var chunk = 0u; chunk < params.all_chunks; chunk++) {
        let grown = largest - partial_sum(chunk, 0u, row);
        let keep = exp(max(-grown, -110.0));
        let exponentials = partial_sum(chunk, 1u, row);
        let own = partial_sum(chunk, 2u, row);
        sum += exponentials * keep;
        weight += own;
        value += partial_sum(chunk, 3u, row) + own * grown;
        lead += partial_sum(chunk, 4u, row) + own * grown;
        tilt += (partial_sum(chunk, 5u, row) + exponentials * grown) * keep;
        count += partial_sum(chunk, 6u, row);
        unsound += partial_sum(chunk, 7u, row);
    }
    let labels = small[params.own_sizes + anchor] & ~UNSOUND;
    var divisor = 1.0;
    switch params.divisor {
        case BY_COUNT: {
            divisor = count;
        }
        case BY_SUM: {
            divisor = weight;
        }
        case BY_LABELS: {
            divisor = f32(labels);
        }
        default: {
        }
    }
    let active_anchor = count > 0.0;
    let inverse = select(0.0, 1.0 / max(divisor, 1e-30), active_anchor);
    let positives = weight * inverse;
    let exponentials = max(sum, 1e-30);
    let result = positives * log(exponentials) + value * inverse;
    let along = lead * inverse - positives * tilt / exponentials;
    let bits = select(bitcast<u32>(select(0.0, result, active_anchor)), params.nan, active_anchor && unsound > 0.0);
    small[record_at(0u, anchor)] = bitcast<u32>(largest);
    small[record_at(1u, anchor)] = bitcast<u32>(positives / exponentials);
    small[record_at(2u, anchor)] = bitcast<u32>(inverse);
    small[record_at(3u, anchor)] = bits;
    small[record_at(4u, anchor)] = bitcast<u32>(select(0.0, along, active_anchor));
    small[record_at(5u, anchor)] = select(0u, select(1u, 2u, unsound > 0.0), active_anchor);
    if (params.want_each != 0u) {
        each[params.each_at + anchor] = bits;
    }
    if (params.want_loss == 2u) {
        loss[params.loss_at + anchor] = bits;
    }
}

@compute @workgroup_size(WG)
fn total(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    var sums = vec2<f32>(0.0);
    var kinds = vec2<f32>(0.0);
    var labels = 0.0;
    for (var anchor = lane; anchor < params.rows; anchor += WG) {
        let state = small[record_at(5u, anchor)];
        // Those with NaN are left to `kinds`.
        let value = select(0.0, bitcast<f32>(small[record_at(3u, anchor)]), state == 1u);
        sums.x += value;
        kinds += vec2<f32>(select(0.0, 1.0, state > 0u), select(0.0, 1.0, state == 2u));
        labels += f32(small[params.own_sizes + anchor] & ~UNSOUND);
    }
    sums.y = labels;
    sums = group_sum(Lane(lane), Group(group), sums);
    kinds = group_sum(Lane(lane), Group(group), kinds);
    var scale = params.scale;
    if (params.mean_active != 0u) {
        scale = select(0.0, 1.0 / max(kinds.x, 1.0), kinds.x > 0.0);
    }
    if (params.mean_labels != 0u) {
        scale = select(0.0, 1.0 / max(sums.y, 1.0), sums.y > 0.0);
    }
    var along = 0.0;
    for (var anchor = lane; anchor < params.rows; anchor += WG) {
        var factor = scale;
        if (params.want_upstream != 0u) {
            let place = params.upstream_at + select(0u, anchor, params.want_upstream == 2u);
            factor *= bitcast<f32>(upstream[place]);
        }
        along += factor * bitcast<f32>(small[record_at(4u, anchor)]);
        small[record_at(1u, anchor)] = bitcast<u32>(factor * bitcast<f32>(small[record_at(1u, anchor)]));
        small[record_at(2u, anchor)] = bitcast<u32>(factor * bitcast<f32>(small[record_at(2u, anchor)]));
    }
    along = group_sum(Lane(lane), Group(group), vec2<f32>(along, 0.0)).x;
    if (lane == 0u) {
        let unsound = kinds.y > 0.0;
        small[params.totals] = select(0u, 1u, unsound);
        if (params.want_loss == 1u) {
            loss[params.loss_at] = select(bitcast<u32>(scale * sums.x), params.nan, unsound);
        }
        if (params.want_temperature != 0u) {
            let slope = -params.inv_temperature * along;
            grad[params.grad_at] = select(bitcast<u32>(slope), params.nan, unsound);
        }
    }
}
