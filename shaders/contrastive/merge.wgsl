// From the chunks' sums to each anchor's loss, and from the anchors to the loss, the scale and the gradient to the
// temperature.
//
// Grid: `merge` one lane an anchor, folded; `total` one workgroup.
// Mirrors: src/kernels/contrastive/params.rs, which says what the sums and the fields of a record are.
// provides: the entry points, each (binding 2, the anchors' losses), loss (binding 3), upstream (binding 4, the
//           gradient to the loss)
// expects:  params, WG, the numbers of divisors, sums, record fields and wants, small, work, grad of project.wgsl,
//           Lane, Group, group_sum of lanes_tree.wgsl

@group(0) @binding(2) var<storage, read_write> each: array<u32>;
@group(0) @binding(3) var<storage, read_write> loss: array<u32>;
@group(0) @binding(4) var<storage, read_write> upstream: array<u32>;

// A field of an anchor's record. `merge` leaves the upstream gradient to `total`. The state is 1 if the anchor is
// active, 2 if it is and met something unsound.
fn record_at(field: u32, anchor: u32) -> u32 {
    return params.record.at + field * params.record.stride + anchor;
}

fn scale_record(field: u32, anchor: u32, factor: f32) {
    let place = record_at(field, anchor);
    small[place] = bitcast<u32>(factor * bitcast<f32>(small[place]));
}

fn partial_sum(chunk: u32, field: u32, row: u32) -> f32 {
    let place = (SUM_FIELDS * chunk + field) * params.work.sum_stride + row / 4u;
    return work[place][row & 3u];
}

@compute @workgroup_size(WG)
fn merge(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (row >= params.own.rows) {
        return;
    }
    let anchor = params.own.first + row;
    var largest = FAR;
    for (var chunk = 0u; chunk < params.chunks.all; chunk++) {
        largest = max(largest, partial_sum(chunk, SUM_LARGEST, row));
    }
    var sum = 0.0;
    var weight = 0.0;
    var value = 0.0;
    var lead = 0.0;
    var tilt = 0.0;
    var count = 0.0;
    var unsound = 0.0;
    for (var chunk = 0u; chunk < params.chunks.all; chunk++) {
        let grown = largest - partial_sum(chunk, SUM_LARGEST, row);
        let keep = exp(max(-grown, -110.0));
        let exponentials = partial_sum(chunk, SUM_EXPONENTIALS, row);
        let own = partial_sum(chunk, SUM_WEIGHTS, row);
        sum += exponentials * keep;
        weight += own;
        value += partial_sum(chunk, SUM_LOSS, row) + own * grown;
        lead += partial_sum(chunk, SUM_LEAD, row) + own * grown;
        tilt += (partial_sum(chunk, SUM_TILT, row) + exponentials * grown) * keep;
        count += partial_sum(chunk, SUM_COUNT, row);
        unsound += partial_sum(chunk, SUM_UNSOUND, row);
    }
    let labels = small[params.own.sizes + anchor] & ~UNSOUND;
    var divisor = 1.0;
    switch params.settings.divisor {
        case BY_COUNT: {
            divisor = count;
        }
        case BY_SUM: {
            divisor = weight;
        }
        case BY_LABELS: {
            divisor = f32(labels);
        }
        case BY_ONE, default: {
        }
    }
    let active_anchor = count > 0.0;
    let inverse = select(0.0, 1.0 / max(divisor, 1e-30), active_anchor);
    let positives = weight * inverse;
    let exponentials = max(sum, 1e-30);
    let result = positives * log(exponentials) + value * inverse;
    let along = lead * inverse - positives * tilt / exponentials;
    let finite_bits = bitcast<u32>(select(0.0, result, active_anchor));
    let bits = select(finite_bits, params.ends.nan, active_anchor && unsound > 0.0);
    small[record_at(RECORD_LARGEST, anchor)] = bitcast<u32>(largest);
    small[record_at(RECORD_EXPONENTIAL, anchor)] = bitcast<u32>(positives / exponentials);
    small[record_at(RECORD_WEIGHT, anchor)] = bitcast<u32>(inverse);
    small[record_at(RECORD_LOSS, anchor)] = bits;
    small[record_at(RECORD_ALONG, anchor)] = bitcast<u32>(select(0.0, along, active_anchor));
    small[record_at(RECORD_STATE, anchor)] = select(0u, select(1u, 2u, unsound > 0.0), active_anchor);
    if (params.ends.want_each != 0u) {
        each[params.ends.each_at + anchor] = bits;
    }
    if (params.ends.want_loss == WANT_PER_ANCHOR) {
        loss[params.ends.loss_at + anchor] = bits;
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
    for (var anchor = lane; anchor < params.own.rows; anchor += WG) {
        let state = small[record_at(RECORD_STATE, anchor)];
        // Those with NaN are left to `kinds`.
        let value = select(0.0, bitcast<f32>(small[record_at(RECORD_LOSS, anchor)]), state == 1u);
        sums.x += value;
        kinds += vec2<f32>(select(0.0, 1.0, state > 0u), select(0.0, 1.0, state == 2u));
        labels += f32(small[params.own.sizes + anchor] & ~UNSOUND);
    }
    sums.y = labels;
    sums = group_sum(Lane(lane), Group(group), sums);
    kinds = group_sum(Lane(lane), Group(group), kinds);
    var scale = params.settings.scale;
    if (params.settings.mean_active != 0u) {
        scale = select(0.0, 1.0 / max(kinds.x, 1.0), kinds.x > 0.0);
    }
    if (params.settings.mean_labels != 0u) {
        scale = select(0.0, 1.0 / max(sums.y, 1.0), sums.y > 0.0);
    }
    var along = 0.0;
    for (var anchor = lane; anchor < params.own.rows; anchor += WG) {
        var factor = scale;
        if (params.ends.want_upstream != 0u) {
            let place = params.ends.upstream_at + select(0u, anchor, params.ends.want_upstream == WANT_PER_ANCHOR);
            factor *= bitcast<f32>(upstream[place]);
        }
        along += factor * bitcast<f32>(small[record_at(RECORD_ALONG, anchor)]);
        scale_record(RECORD_EXPONENTIAL, anchor, factor);
        scale_record(RECORD_WEIGHT, anchor, factor);
    }
    along = group_sum(Lane(lane), Group(group), vec2<f32>(along, 0.0)).x;
    if (lane == 0u) {
        let unsound = kinds.y > 0.0;
        small[params.record.unsound] = select(0u, 1u, unsound);
        if (params.ends.want_loss == WANT_ONE) {
            loss[params.ends.loss_at] = select(bitcast<u32>(scale * sums.x), params.ends.nan, unsound);
        }
        if (params.ends.want_temperature != 0u) {
            let slope = -params.settings.inv_temperature * along;
            grad[params.grad_at] = select(bitcast<u32>(slope), params.ends.nan, unsound);
        }
    }
}
