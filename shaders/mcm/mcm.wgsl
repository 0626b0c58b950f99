// The max constraint module: v_A = y_A max_{B in D_A} (y_B h_B) + (1 - y_A) max_{B in D_A} h_B with h = sigma(s) and
// D_A the descendants of A, the loss BCE(v, y) of each row, and its gradient, which goes to the first of the largest.
// sigma rises, so the largest logit is looked for, and the term of a class is softplus(+-s) of it.
//
// `small`:    the winner of each class with at most SMALL descendants, a lane each.
//                                                                          Grid: rows x blocks of classes, folded.
// `large`:    the others, a workgroup each.                                Grid: rows x such classes, folded.
// `rows`:     the loss of a row, from the winners.                         Grid: rows, folded.
// `gradient`: a class counts for how many ancestors it has won.            Grid: rows x blocks of words, folded.
// `total`:    the losses of the rows, summed or copied.                    Grid: 1, or blocks of rows, folded.
// Mirrors: `McmParams` in src/kernels/mcm.rs, which says what each field is.
// provides: the entry points, McmParams, params (binding 0), logits (binding 1), targets (binding 2),
//           hierarchy (binding 3), probabilities (binding 4), sides (binding 5, upstream gradient or loss),
//           scratch (binding 6), grad (binding 7)
// expects:  WG, SMALL, TARGET_BYTES, TARGET_BITS, math, reals with REAL_F32, best, View, group_index,
//           Lane, Group, group_sum of lanes_tree.wgsl

struct McmParams {
    logits: View,
    targets: View,
    probabilities: View,
    sides: View,
    grad: View,
    groups: u32,
    groups_x: u32,
    cols: u32,
    first_row: u32,
    hierarchy_offset: u32,
    pairs: u32,
    large_count: u32,
    choice_at: u32,
    loss_at: u32,
    bad_at: u32,
    want_loss: u32,
    reduce: u32,
    all_rows: u32,
    scale: f32,
    row_scale: f32,
    nan: u32,
    infinity: u32,
}

@group(0) @binding(0) var<uniform> params: McmParams;
@group(0) @binding(1) var<storage, read_write> logits: array<u32>;
@group(0) @binding(2) var<storage, read_write> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> hierarchy: array<u32>;
@group(0) @binding(4) var<storage, read_write> probabilities: array<f32>;
@group(0) @binding(5) var<storage, read_write> sides: array<u32>;
@group(0) @binding(6) var<storage, read_write> scratch: array<u32>;
@group(0) @binding(7) var<storage, read_write> grad: array<atomic<u32>>;

fn logit_bits(row: u32, col: u32) -> u32 {
    let i = params.logits.offset + row * params.logits.stride + col;
    return real_bits(params.logits.kind, logits[real_place(params.logits.kind, i)], i);
}

fn positive(row: u32, col: u32) -> bool {
    if (params.targets.present == 0u) {
        return false;
    }
    let at = params.targets.offset + row * params.targets.stride;
    switch params.targets.kind {
        case TARGET_BYTES: {
            return ((targets[(at + col) / 4u] >> (((at + col) & 3u) * 8u)) & 0xffu) != 0u;
        }
        case TARGET_BITS: {
            return ((targets[at + col / 32u] >> (col % 32u)) & 1u) != 0u;
        }
        default: {
            let i = at + col;
            let kind = params.targets.kind;
            let bits = real_bits(kind, targets[real_place(kind, i)], i);
            return bitcast<f32>(bits) > 0.5 && !is_nan(bits);
        }
    }
}

// Where the list of a node's descendants begins, and the node's number.
fn descendants(node: u32) -> u32 {
    return params.hierarchy_offset + node;
}

fn descendant_at(i: u32) -> u32 {
    return hierarchy[params.hierarchy_offset + 2u * (params.cols + 1u) + i];
}

// The best of all candidates, and of the positive ones. A NaN wins the first.
struct Winners {
    all: Best,
    positives: Best,
}

fn compete(winners: Winners, row: u32, col: u32) -> Winners {
    let own = Best(order_key(logit_bits(row, col)), col);
    var result = Winners(best_of(winners.all, own), winners.positives);
    if (own.key != NAN_KEY && positive(row, col)) {
        result.positives = best_of(winners.positives, own);
    }
    return result;
}

fn decide(row: u32, col: u32, winners: Winners) {
    let choice = select(winners.all.index, winners.positives.index, positive(row, col));
    scratch[params.choice_at + row * params.cols + col] = choice;
    if (params.probabilities.present != 0u) {
        let bits = select(key_bits(winners.all.key), params.nan, winners.all.key == NAN_KEY);
        let value = select(sigmoid(finite(bits)), bitcast<f32>(params.nan), is_nan(bits));
        probabilities[params.probabilities.offset + row * params.probabilities.stride + col] = value;
    }
}

@compute @workgroup_size(WG)
fn small(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group_index(group);
    let blocks = (params.cols + WG - 1u) / WG;
    let row = number / blocks;
    let col = (number % blocks) * WG + lane;
    if (number >= params.groups || col >= params.cols) {
        return;
    }
    let begin = hierarchy[descendants(col)];
    let to = hierarchy[descendants(col) + 1u];
    if (to - begin > SMALL) {
        return;
    }
    var winners = Winners(best_none(), best_none());
    for (var i = begin; i < to; i++) {
        winners = compete(winners, row, descendant_at(i));
    }
    decide(row, col, winners);
}

@compute @workgroup_size(WG)
fn large(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group_index(group);
    if (number >= params.groups) {
        return;
    }
    let row = number / params.large_count;
    let list = params.hierarchy_offset + 2u * (params.cols + 1u + params.pairs);
    let col = hierarchy[list + number % params.large_count];
    let to = hierarchy[descendants(col) + 1u];
    var winners = Winners(best_none(), best_none());
    for (var i = hierarchy[descendants(col)] + lane; i < to; i += WG) {
        winners = compete(winners, row, descendant_at(i));
    }
    winners.all = group_best(lane, winners.all);
    winners.positives = group_best(lane, winners.positives);
    if (lane == 0u) {
        decide(row, col, winners);
    }
}

@compute @workgroup_size(WG)
fn rows(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group_index(group);
    if (row >= params.groups) {
        return;
    }
    var sum = 0.0;
    var marks = 0.0;
    for (var col = lane; col < params.cols; col += WG) {
        // As far above all counts as the number of infinite terms never comes.
        marks += select(0.0, 1e30, is_nan(logit_bits(row, col)));
        let choice = scratch[params.choice_at + row * params.cols + col];
        if (choice < params.cols) {
            let s = finite(logit_bits(row, choice));
            let wrong = select(s, -s, positive(row, col));
            marks += select(0.0, 1.0, wrong >= HUGE);
            sum += softplus(min(wrong, 1e30));
        }
    }
    let both = group_sum(Lane(lane), Group(group), vec2<f32>(sum, marks));
    if (lane == 0u) {
        let bad = both.y >= 1e30;
        scratch[params.bad_at + row] = u32(bad);
        if (params.want_loss != 0u) {
            var bits = bitcast<u32>(both.x * params.row_scale);
            bits = select(bits, params.infinity, both.y > 0.0);
            scratch[params.loss_at + params.first_row + row] = select(bits, params.nan, bad);
        }
    }
}

// The gradient to one class, as bits.
fn slope(row: u32, col: u32) -> u32 {
    if (scratch[params.bad_at + row] != 0u) {
        return params.nan;
    }
    let offsets = params.hierarchy_offset + params.cols + 1u;
    let list = params.hierarchy_offset + 2u * (params.cols + 1u) + params.pairs;
    let to = hierarchy[offsets + col + 1u];
    var wins = vec2<u32>(0u);
    for (var i = hierarchy[offsets + col]; i < to; i++) {
        let above = hierarchy[list + i];
        if (scratch[params.choice_at + row * params.cols + above] == col) {
            let plus = positive(row, above);
            wins += vec2<u32>(u32(plus), u32(!plus));
        }
    }
    let s = finite(logit_bits(row, col));
    let value = f32(wins.y) * sigmoid(s) - f32(wins.x) * sigmoid(-s);
    var factor = params.scale * params.row_scale;
    if (params.sides.present != 0u) {
        factor *= bitcast<f32>(sides[params.sides.offset + params.sides.stride * (params.first_row + row)]);
    }
    return bitcast<u32>(factor * value);
}

@compute @workgroup_size(WG)
fn gradient(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group_index(group);
    let pack = select(2u, 1u, params.grad.kind == REAL_F32);
    // A row may begin in the middle of a word.
    let words = (params.cols + 2u * pack - 2u) / pack;
    let blocks = (words + WG - 1u) / WG;
    let row = number / blocks;
    let begin = params.grad.offset + row * params.grad.stride;
    let word = (number % blocks) * WG + lane;
    if (number >= params.groups || word >= words) {
        return;
    }
    if (pack == 1u) {
        atomicStore(&grad[begin + word], slope(row, word));
        return;
    }
    let place = begin / 2u + word;
    // Before the row this wraps to a large number.
    let first = 2u * place - begin;
    let second = 2u * place + 1u - begin;
    // A word with the end of one row and the beginning of another is written by two lanes, each its half.
    if (first < params.cols && second < params.cols) {
        let low = real_half(params.grad.kind, slope(row, first));
        let high = real_half(params.grad.kind, slope(row, second));
        atomicStore(&grad[place], low | (high << 16u));
    } else if (first < params.cols) {
        let low = real_half(params.grad.kind, slope(row, first));
        atomicAnd(&grad[place], 0xffff0000u);
        atomicOr(&grad[place], low);
    } else if (second < params.cols) {
        let high = real_half(params.grad.kind, slope(row, second));
        atomicAnd(&grad[place], 0x0000ffffu);
        atomicOr(&grad[place], high << 16u);
    }
}

@compute @workgroup_size(WG)
fn total(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    if (params.reduce == 0u) {
        let row = group_index(group) * WG + lane;
        if (row < params.all_rows) {
            sides[params.sides.offset + row] = scratch[params.loss_at + row];
        }
        return;
    }
    var sum = 0.0;
    var marks = 0.0;
    for (var row = lane; row < params.all_rows; row += WG) {
        let bits = scratch[params.loss_at + row];
        marks += select(0.0, 1e30, is_nan(bits)) + select(0.0, 1.0, bits == params.infinity);
        sum += select(bitcast<f32>(bits), 0.0, bits == params.infinity || is_nan(bits));
    }
    let both = group_sum(Lane(lane), Group(group), vec2<f32>(sum, marks));
    if (lane == 0u) {
        let bits = select(bitcast<u32>(both.x * params.scale), params.infinity, both.y > 0.0);
        sides[params.sides.offset] = select(bits, params.nan, both.y >= 1e30);
    }
}
