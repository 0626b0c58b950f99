// Weights of losses and what follows from them, by one workgroup: L = sum_k lambda_k l_k. By `kind`, lambda is
// - BALANCE_ADAPTIVE: softmax(l / divisor);
// - BALANCE_DWA: n softmax(w / divisor), w the ratio of the two losses before, at most DWA_MOST;
// - BALANCE_UNCERTAINTY: e^-theta / 2, and theta / 2 is added;
// - BALANCE_RANDOM: the softmax of normal numbers;
// - BALANCE_FIXED: what `state` has.
//
// Grid: 1 workgroup. Mirrors: `BalanceParams` in src/kernels/balance.rs, which says what each field is;
// reference::balance.
// provides: balance, BalanceParams, losses (binding 1, with counts behind them), upstream (binding 2),
//           state (binding 3, history, log variances, seed or weights), weights (binding 4), grad_losses (binding 5),
//           loss (binding 6), grad_state (binding 7)
// expects:  WG, the BALANCE_ kinds, DWA_MOST, math, best, group_best, nested, View, counter_key and counter_mix of shared/noise.wgsl,
//           Lane, Group, group_sum of lanes_tree.wgsl

struct BalanceParams {
    losses: View,
    counts: View,
    upstream: View,
    state: View,
    weights: View,
    grad_losses: View,
    loss: View,
    grad_state: View,
    count: u32,
    kind: u32,
    attach: u32,
    divisor: f32,
    nan: u32,
}

@group(0) @binding(0) var<uniform> params: BalanceParams;
@group(0) @binding(1) var<storage, read_write> losses: array<u32>;
@group(0) @binding(2) var<storage, read_write> upstream: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> weights: array<u32>;
@group(0) @binding(5) var<storage, read_write> grad_losses: array<u32>;
@group(0) @binding(6) var<storage, read_write> loss: array<u32>;
@group(0) @binding(7) var<storage, read_write> grad_state: array<u32>;

fn counts(k: u32) -> bool {
    return params.counts.present == 0u || losses[params.counts.offset + k] != 0u;
}

fn loss_bits(k: u32) -> u32 {
    return losses[params.losses.offset + k];
}

fn state_value(k: u32) -> f32 {
    return bitcast<f32>(state[params.state.offset + k]);
}

// cos(2 pi v) for v in [0, 1); WGSL's own may be off by 5e-4.
fn cos_turn(v: f32) -> f32 {
    let x = abs(v - 0.5);
    let far = x > 0.25;
    let t = 6.283185307179586 * select(x, 0.5 - x, far);
    let u = t * t;
    let near = 1.0 - u / 2.0 * (1.0 - u / 12.0 * (1.0 - u / 30.0 * (1.0 - u / 56.0 * (1.0 - u / 90.0 * (1.0 - u / 132.0)))));
    return select(-near, near, far);
}

fn uniform_bits(key: u32, i: u32) -> f32 {
    return f32(counter_mix(key + i * 0x9e3779b9u) >> 8u);
}

// What the softmax is of, before it is divided.
fn score(k: u32) -> f32 {
    switch params.kind {
        case BALANCE_ADAPTIVE: {
            return finite(loss_bits(k));
        }
        case BALANCE_DWA: {
            let last = state_value(k);
            let before = state_value(params.count + k);
            let known = last > 0.0 && before > 0.0;
            // No quotient leaves the range of f32.
            let divisor = select(1.0, max(before, last * 1e-35), known);
            return select(1.0, min(last / divisor, DWA_MOST), known);
        }
        default: {
            let key = counter_key(state[params.state.offset], state[params.state.offset + 1u], 0x5bd1e995u);
            let u = (uniform_bits(key, 2u * k) + 1.0) / 16777216.0;
            let v = uniform_bits(key, 2u * k + 1u) / 16777216.0;
            return sqrt(max(-2.0 * log(u), 0.0)) * cos_turn(v);
        }
    }
}

// e^((score - largest) / divisor). By halves, and no more than makes it 0: neither a distance nor a quotient leaves the
// range of f32.
fn power(k: u32, largest: f32) -> f32 {
    let half = min(0.5 * largest - 0.5 * score(k), 60.0 * min(params.divisor, 5e36));
    return exp(-2.0 * (half / params.divisor));
}

fn weight(k: u32, largest: f32, all: f32) -> f32 {
    if (params.kind == BALANCE_FIXED) {
        return state_value(k);
    }
    if (!counts(k)) {
        return 0.0;
    }
    if (params.kind == BALANCE_UNCERTAINTY) {
        return 0.5 * exp(-state_value(k));
    }
    return power(k, largest) * all;
}

@compute @workgroup_size(WG)
fn balance(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let uncertainty = params.kind == BALANCE_UNCERTAINTY;
    // Weights that follow from no softmax.
    let apart = uncertainty || params.kind == BALANCE_FIXED;
    var best = best_none();
    // How many count, and how many of them are no numbers.
    var here_and_bad = nested_none();
    for (var k = lane; k < params.count; k += WG) {
        let here = counts(k);
        let bad = here && (loss_bits(k) & 0x7f800000u) == 0x7f800000u;
        here_and_bad = nested_add(here_and_bad, vec4<f32>(f32(here), f32(bad), 0.0, 0.0));
        if (here && !apart) {
            best.key = max(best.key, order_key(bitcast<u32>(score(k))));
        }
    }
    let found = group_sum(Lane(lane), Group(group), nested_sums(here_and_bad).xy);
    let present = found.x;
    let bad = found.y > 0.0;
    let key = group_best(lane, best).key;
    // Without any there is no weight either.
    let largest = finite(select(key_bits(key), 0u, key == 0u || key == NAN_KEY));
    var powers = nested_none();
    for (var k = lane; k < params.count; k += WG) {
        if (counts(k) && !apart) {
            powers = nested_add(powers, vec4<f32>(power(k, largest), 0.0, 0.0, 0.0));
        }
    }
    var all = group_sum(Lane(lane), Group(group), nested_sums(powers).xy).x;
    // Each softmax's share, or its share of the number of losses.
    all = select(1.0, present, params.kind == BALANCE_DWA) / max(all, 1e-30);
    var terms = nested_none();
    for (var k = lane; k < params.count; k += WG) {
        if (counts(k)) {
            let theta = select(0.0, 0.5 * state_value(select(0u, k, uncertainty)), uncertainty);
            let term = weight(k, largest, all) * bitcast<f32>(loss_bits(k));
            terms = nested_add(terms, vec4<f32>(term, theta, 0.0, 0.0));
        }
    }
    let both = group_sum(Lane(lane), Group(group), nested_sums(terms).xy);
    let sum = both.x + both.y;
    if (params.loss.present != 0u && lane == 0u) {
        loss[params.loss.offset] = select(bitcast<u32>(sum), params.nan, bad);
    }
    var above = 1.0;
    if (params.upstream.present != 0u) {
        above = upstream[params.upstream.offset];
    }
    for (var k = lane; k < params.count; k += WG) {
        let here = counts(k);
        let own = weight(k, largest, all);
        let value = bitcast<f32>(loss_bits(k));
        if (params.weights.present != 0u) {
            weights[params.weights.offset + k] = select(bitcast<u32>(own), params.nan, bad && here && params.kind != BALANCE_FIXED);
        }
        if (params.grad_losses.present != 0u) {
            var slope = above * own;
            if (params.attach != 0u) {
                slope *= 1.0 + (value - sum) / params.divisor;
            }
            let known = select(bitcast<u32>(slope), params.nan, bad);
            grad_losses[params.grad_losses.offset + k] = select(0u, known, here);
        }
        if (params.grad_state.present != 0u) {
            let known = select(bitcast<u32>(above * (0.5 - own * value)), params.nan, bad);
            grad_state[params.grad_state.offset + k] = select(0u, known, here);
        }
        // Only now: the weight is made of it, and of no other loss's.
        if (params.kind == BALANCE_DWA && here) {
            state[params.state.offset + params.count + k] = state[params.state.offset + k];
            state[params.state.offset + k] = loss_bits(k);
        }
    }
    // All lanes have made their weights of the seed.
    storageBarrier();
    if (params.kind == BALANCE_RANDOM && lane == 0u) {
        let low = state[params.state.offset] + 1u;
        state[params.state.offset] = low;
        state[params.state.offset + 1u] += u32(low == 0u);
    }
}
