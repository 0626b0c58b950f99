// What an anchor makes of a key, by their label sets: the table of src/losses/contrastive.rs.
// provides: Shared, Weights, shared_labels, shared_column, label_terms, weights
// expects:  params, small, OWN, OTHER, set_word, SAME_NUMBER, FROM_INDEX, the numbers of weightings

// Labels that four own rows share with each of four other rows.
struct Shared {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

// Of four anchors and keys: the weight before the anchor's divisor, and what stands beside the similarity in the
// denominator and in the numerator.
struct Weights {
    weight: vec4<f32>,
    bias: vec4<f32>,
    shift: vec4<f32>,
}

fn shared_labels(rows: vec4<u32>, cols: vec4<u32>) -> Shared {
    var n = Shared();
    for (var w = 0u; w < params.row.words; w++) {
        let own = vec4<u32>(
            set_word(OWN, rows.x, w),
            set_word(OWN, rows.y, w),
            set_word(OWN, rows.z, w),
            set_word(OWN, rows.w, w),
        );
        n.a += countOneBits(own & vec4<u32>(set_word(OTHER, cols.x, w)));
        n.b += countOneBits(own & vec4<u32>(set_word(OTHER, cols.y, w)));
        n.c += countOneBits(own & vec4<u32>(set_word(OTHER, cols.z, w)));
        n.d += countOneBits(own & vec4<u32>(set_word(OTHER, cols.w, w)));
    }
    return n;
}

// Those of column `j`.
fn shared_column(n: Shared, j: u32) -> vec4<u32> {
    return select(select(n.d, n.c, j == 2u), select(n.b, n.a, j == 0u), j < 2u);
}

// The terms of MulSupCon of four own rows with another row; the other row is the anchor where `side` says so.
fn label_terms(side: u32, rows: vec4<u32>, other: u32) -> vec4<f32> {
    var terms = vec4<f32>(0.0);
    if (params.settings.weighting == MUL_SUP_CON) {
        for (var r = 0u; r < params.roles.side; r++) {
            let row = rows[r];
            let sum = terms_of(side, select(row, other, side == OTHER), select(other, row, side == OTHER));
            terms = select(terms, vec4<f32>(sum), vec4<u32>(r) == vec4<u32>(0u, 1u, 2u, 3u));
        }
    }
    return terms;
}

// The sum of 1 / |P_l(i)| over the labels l that the anchor shares with the key.
fn terms_of(side: u32, anchor: u32, key: u32) -> f32 {
    var sum = 0.0;
    for (var w = 0u; w < params.row.words; w++) {
        let labels = set_word(side, anchor, w);
        var bits = labels & set_word(1u - side, key, w);
        // The labels that the key has which is the anchor itself.
        var own = 0u;
        if (params.roles.itself == SAME_NUMBER) {
            own = labels;
        } else if (params.roles.itself == FROM_INDEX) {
            own = set_word(side, anchor, params.row.words + w);
        }
        while (bits != 0u) {
            let bit = firstTrailingBit(bits);
            bits &= bits - 1u;
            let keys = small[params.record.counts + 32u * w + bit] - ((own >> bit) & 1u);
            sum += 1.0 / f32(max(keys, 1u));
        }
    }
    return sum;
}

// Four pairs, by the labels they share, the sizes of the anchors' and the keys' sets, whether the key is the anchor
// itself, and the terms of MulSupCon.
fn weights(
    n: vec4<u32>,
    anchors: vec4<u32>,
    keys: vec4<u32>,
    same: vec4<bool>,
    terms: vec4<f32>,
) -> Weights {
    let none = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    let meet = n > vec4<u32>(0u);
    let shared_count = vec4<f32>(n);
    let anchor_count = vec4<f32>(anchors);
    let key_count = vec4<f32>(keys);
    var result = Weights(select(none, one, meet), none, none);
    switch params.settings.weighting {
        case SIM_DIS: {
            let k = shared_count / (max(anchor_count, one) * (one + key_count - shared_count));
            result.weight = select(none, k, meet);
        }
        case NUMERATOR, BOTH: {
            let log_k = log(max(shared_count, one)) - log(max(anchor_count, one)) - log(one + key_count - shared_count);
            result.shift = select(none, log_k, meet);
            result.bias = select(none, result.shift, vec4<bool>(params.settings.weighting == BOTH));
        }
        case ALL: {
            result.weight = select(none, one, meet & (n == anchors) & (n == keys));
        }
        case MUL_SUP_CON: {
            result.weight = terms;
        }
        case JACCARD: {
            let either = max(anchor_count + key_count - shared_count, one);
            let enough = shared_count >= params.settings.threshold * either;
            result.weight = select(none, shared_count / either, meet & enough);
        }
        case PAIRED: {
            result.weight = select(none, one, same);
        }
        case ANY, default: {
        }
    }
    return result;
}
