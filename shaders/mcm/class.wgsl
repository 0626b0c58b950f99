// The max constraint module: v_A = y_A max_{B in D_A} (y_B h_B) + (1 - y_A) max_{B in D_A} h_B with h = sigma(s) and
// D_A the descendants of A, the loss BCE(v, y) of each row. sigma rises, so the largest logit is looked for, and the
// term of a class is softplus(+-s) of it. Here: the target of a class in a row, and what follows from its winner.
// provides: targets (binding 2), hierarchy (binding 3), probabilities (binding 4), terms (binding 5), positive,
//           put_term, put_probability
// expects:  TARGET_BYTES, TARGET_BITS, math, reals, best, params of mcm/logits.wgsl

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> hierarchy: array<u32>;
@group(0) @binding(4) var<storage, read_write> probabilities: array<u32>;
@group(0) @binding(5) var<storage, read_write> terms: array<u32>;

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

fn put_probability(row: u32, col: u32, winner: u32) {
    let bits = select(key_bits(winner), params.nan, winner == NAN_KEY);
    let value = bitcast<u32>(sigmoid(finite(bits)));
    let at = params.probabilities.offset + row * params.probabilities.stride + col;
    probabilities[at] = select(value, params.nan, winner == NAN_KEY);
}

// The term of a class, from the winner of all and the one that counts.
fn put_term(row: u32, col: u32, all: u32, winner: u32, is_positive: bool) {
    let s = finite(key_bits(winner));
    let wrong = select(s, -s, is_positive);
    let value = bitcast<u32>(softplus(min(wrong, 1e30)));
    let bits = select(value, params.infinity, wrong >= HUGE);
    terms[row * params.cols + col] = select(bits, params.nan, all == NAN_KEY);
}
