// The max constraint module: v_A = y_A max_{B in D_A} (y_B h_B) + (1 - y_A) max_{B in D_A} h_B with h = sigma(s) and
// D_A the descendants of A, the loss BCE(v, y) of each row. sigma rises, so the largest logit is looked for, and the
// term of a class is softplus(+-s) of it. Here: what follows from a class's winner.
// provides: hierarchy (binding 3), terms (binding 5), put_term
// expects:  math, best, params of mcm/logits.wgsl, counts, weighed

@group(0) @binding(3) var<storage, read_write> hierarchy: array<u32>;
@group(0) @binding(5) var<storage, read_write> terms: array<u32>;

// The term of a class, from the winner of all and the one that counts; 0 where the class does not count.
fn put_term(row: u32, col: u32, all: u32, winner: u32, is_positive: bool) {
    let s = finite(key_bits(winner));
    let wrong = select(s, -s, is_positive);
    let value = bitcast<u32>(softplus(wrong));
    let bits = weighed(col, select(value, params.infinity, wrong >= HUGE));
    terms[row * params.cols + col] = select(0u, select(bits, params.nan, all == NAN_KEY), counts(row, col));
}
