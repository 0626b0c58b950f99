// From the anchors' sums to each anchor's loss, and from the anchors to the loss, the scale and the gradient to the
// temperature. What is known of an anchor for its gradient takes the place of its sums.
//
// Grid: `merge` one lane an anchor, folded; `total` one workgroup.
// Mirrors: src/kernels/contrastive/params.rs, which says what the sums and the fields of a record are.
// provides: the entry points, Outcome, record_at, records (binding 1, what is known of the anchors), each (binding 2, the
//           anchors' losses), loss (binding 3), upstream (binding 4, the gradient to the loss), small (binding 5),
//           grad (binding 7)
// expects:  params, WG, SUMMED (what one sum takes in), the numbers of divisors, sums, record fields and wants, Lane,
//           Group, group_sum of lanes_tree.wgsl, kept, in_mean,
//           has_denominator, outcome_of, labels_of, keep_lean, lean_of, put_lean

@group(0) @binding(1) var<storage, read_write> records: array<f32>;
@group(0) @binding(2) var<storage, read_write> each: array<u32>;
@group(0) @binding(3) var<storage, read_write> loss: array<u32>;
@group(0) @binding(4) var<storage, read_write> upstream: array<u32>;
@group(0) @binding(5) var<storage, read_write> small: array<u32>;
@group(0) @binding(7) var<storage, read_write> grad: array<u32>;

// A field of an anchor. `merge` leaves the upstream gradient to `total`. The state is 1 if the anchor is active, 2 if it
// is and met something unsound.
fn record_at(field: u32, anchor: u32) -> u32 {
    return 4u * field * params.record.stride + anchor;
}

// What comes of an anchor's sums: the greatest logit that exponentials are relative to, the factor of these in a slope,
// the loss, and the sum of slope times similarity.
struct Outcome {
    largest: f32,
    exponential: f32,
    loss: f32,
    along: f32,
}

@compute @workgroup_size(WG)
fn merge(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let anchor = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (anchor >= params.own.rows) {
        return;
    }
    let weight = records[record_at(SUM_WEIGHTS, anchor)];
    let count = records[record_at(SUM_COUNT, anchor)];
    let unsound = records[record_at(SUM_UNSOUND, anchor)];
    var divisor = 1.0;
    switch params.settings.divisor {
        case BY_COUNT: {
            divisor = count;
        }
        case BY_SUM: {
            divisor = weight;
        }
        case BY_LABELS: {
            divisor = labels_of(anchor);
        }
        case BY_ONE, default: {
        }
    }
    let active_anchor = count > 0.0 && has_denominator(anchor);
    let inverse = select(0.0, 1.0 / max(divisor, 1e-30), active_anchor);
    let outcome = outcome_of(anchor, inverse, weight * inverse);
    keep_lean(anchor);
    let finite_bits = bitcast<u32>(select(0.0, outcome.loss, active_anchor));
    let bits = select(finite_bits, params.settings.nan, active_anchor && unsound > 0.0);
    records[record_at(RECORD_LARGEST, anchor)] = outcome.largest;
    records[record_at(RECORD_EXPONENTIAL, anchor)] = outcome.exponential;
    records[record_at(RECORD_WEIGHT, anchor)] = inverse;
    records[record_at(RECORD_LOSS, anchor)] = select(0.0, outcome.loss, active_anchor);
    records[record_at(RECORD_ALONG, anchor)] = select(0.0, outcome.along, active_anchor);
    records[record_at(RECORD_STATE, anchor)] = select(0.0, select(1.0, 2.0, unsound > 0.0), active_anchor);
    if (params.ends.want_each != 0u) {
        each[params.ends.each_at + anchor] = bits;
    }
    if (params.ends.want_loss == WANT_PER_ANCHOR) {
        loss[params.ends.loss_at + anchor] = bits;
    }
}

// What the loss and the scale need of some anchors.
struct Ends {
    loss: f32,
    anchors: f32,
    unsound: f32,
    labels: f32,
}

@compute @workgroup_size(WG)
fn total(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let at = Lane(lane);
    let rows = params.own.rows;
    var all = Ends();
    for (var start = lane; start < rows; start += SUMMED * WG) {
        let stop = min(rows, start + SUMMED * WG);
        var some = Ends();
        for (var anchor = start; anchor < stop; anchor += WG) {
            let state = records[record_at(RECORD_STATE, anchor)];
            let size = small[params.own.sizes + anchor];
            // Those with NaN are left to `unsound`.
            some.loss += select(0.0, records[record_at(RECORD_LOSS, anchor)], state == 1.0);
            some.anchors += select(0.0, 1.0, in_mean(state, size));
            some.unsound += select(0.0, 1.0, state == 2.0);
            some.labels += labels_of(anchor);
        }
        all = Ends(all.loss + some.loss, all.anchors + some.anchors, all.unsound + some.unsound, all.labels + some.labels);
    }
    let sums = group_sum(at, Group(group), vec2<f32>(all.loss, all.labels));
    let kinds = group_sum(at, Group(group), vec2<f32>(all.anchors, all.unsound));
    var scale = params.settings.scale;
    if (params.settings.mean_active != 0u) {
        scale = select(0.0, 1.0 / max(kinds.x, 1.0), kinds.x > 0.0);
    }
    if (params.settings.mean_labels != 0u) {
        scale = select(0.0, 1.0 / max(sums.y, 1e-30), sums.y > 0.0);
    }
    // Of slopes times similarities, and of slopes.
    var along = vec2<f32>(0.0);
    for (var start = lane; start < rows; start += SUMMED * WG) {
        let stop = min(rows, start + SUMMED * WG);
        var some = vec2<f32>(0.0);
        for (var anchor = start; anchor < stop; anchor += WG) {
            var factor = scale;
            if (params.ends.want_upstream != 0u) {
                let place = params.ends.upstream_at + select(0u, anchor, params.ends.want_upstream == WANT_PER_ANCHOR);
                factor *= bitcast<f32>(upstream[place]);
            }
            // What is upstream of an anchor that is left out does not matter.
            let counts = kept(small[params.own.sizes + anchor]);
            let each_along = vec2<f32>(records[record_at(RECORD_ALONG, anchor)], lean_of(anchor));
            some += select(vec2<f32>(0.0), factor * each_along, counts);
            records[record_at(RECORD_EXPONENTIAL, anchor)] *= factor;
            records[record_at(RECORD_WEIGHT, anchor)] *= factor;
        }
        along += some;
    }
    along = group_sum(at, Group(group), along);
    if (lane == 0u) {
        let unsound = kinds.y > 0.0;
        small[params.record.unsound] = select(0u, 1u, unsound);
        // What means are over.
        small[params.record.unsound + 1u] = bitcast<u32>(kinds.x);
        small[params.record.unsound + 2u] = bitcast<u32>(sums.y);
        if (params.ends.want_loss == WANT_ONE) {
            loss[params.ends.loss_at] = select(bitcast<u32>(scale * sums.x), params.settings.nan, unsound);
        }
        if (params.ends.want_temperature != 0u) {
            let slope = -params.settings.inv_temperature * along.x;
            grad[params.ends.temperature_at] = select(bitcast<u32>(slope), params.settings.nan, unsound);
        }
        put_lean(along.y, unsound);
    }
}
