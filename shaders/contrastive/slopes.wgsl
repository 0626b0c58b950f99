// The gradient to the products of a tile of pairs, in place of them, zeros around the pairs.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: records (binding 5), slopes_at
// expects:  params, KEEPS_ITSELF (1: the key that is the anchor counts), the numbers of record fields, Four, tile_four,
//           keep_four, Rows, Others, rows_at, others_at, kept_four, shared_labels, shared_low, shared_high, coded, met,
//           met_back, met_counts, met_counts_back, Weights, weights, slope

@group(0) @binding(5) var<storage, read_write> records: array<vec4<f32>>;

// What is known of four anchors.
struct Known {
    largest: vec4<f32>,
    exponential: vec4<f32>,
    weight: vec4<f32>,
}

fn known(number4: u32) -> Known {
    return Known(
        records[RECORD_LARGEST * params.record.stride + number4],
        records[RECORD_EXPONENTIAL * params.record.stride + number4],
        records[RECORD_WEIGHT * params.record.stride + number4],
    );
}

// The slopes of four own rows with one other row, of which `of` has what is known if it is an anchor: its greatest
// logit, the factors of the exponential and of the weight.
fn slopes_with(
    product: vec4<f32>,
    meet: vec4<f32>,
    rows: Rows,
    own: Known,
    size: u32,
    number: u32,
    inside: vec4<bool>,
    facts: vec3<f32>,
) -> vec4<f32> {
    let s = product * params.settings.inv_temperature;
    let same = rows.itself == vec4<u32>(number);
    let counts = inside & (!same | vec4<bool>(KEEPS_ITSELF == 1u));
    let sizes = vec4<f32>(rows.sizes & vec4<u32>(SIZE));
    let other_size = vec4<f32>(f32(size & SIZE));
    let none = vec4<f32>(0.0);
    let pair = weights(met(meet), sizes, other_size, same);
    var sum = select(none, slope(s, pair, own.largest, own.exponential, own.weight), met_counts(meet));
    if (params.roles.both != 0u) {
        let back = weights(met_back(meet), other_size, sizes, same);
        let pulled = slope(s, back, vec4<f32>(facts.x), vec4<f32>(facts.y), vec4<f32>(facts.z));
        sum += select(none, pulled, met_counts_back(meet));
    }
    return select(none, sum, counts);
}

fn slopes_four(row4: u32, col4: u32, meet: Four, rows: Rows, others: Others, facts: Known) {
    let product = tile_four(row4, min(col4, params.work.stride - 1u));
    let own = known(params.own.first / 4u + row4);
    let numbers = vec4<u32>(4u * row4) + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = (numbers < vec4<u32>(params.own.rows)) & kept_four(rows.sizes);
    let a = vec3<f32>(facts.largest.x, facts.exponential.x, facts.weight.x);
    let b = vec3<f32>(facts.largest.y, facts.exponential.y, facts.weight.y);
    let c = vec3<f32>(facts.largest.z, facts.exponential.z, facts.weight.z);
    let d = vec3<f32>(facts.largest.w, facts.exponential.w, facts.weight.w);
    let slopes = Four(
        slopes_with(
            product.a, meet.a, rows, own, others.sizes.x, others.numbers.x,
            inside & vec4<bool>(others.inside.x), a,
        ),
        slopes_with(
            product.b, meet.b, rows, own, others.sizes.y, others.numbers.y,
            inside & vec4<bool>(others.inside.y), b,
        ),
        slopes_with(
            product.c, meet.c, rows, own, others.sizes.z, others.numbers.z,
            inside & vec4<bool>(others.inside.z), c,
        ),
        slopes_with(
            product.d, meet.d, rows, own, others.sizes.w, others.numbers.w,
            inside & vec4<bool>(others.inside.w), d,
        ),
    );
    keep_four(row4, col4, slopes, false);
}

// The slopes of eight own rows with four other rows. Beyond the last row of a side they are of other rows, and not kept.
fn slopes_at(row4: u32, col4: u32, lane: u32) {
    let held = min(row4, (params.own.rows - 1u) / 8u * 2u);
    let held_col = min(col4, (params.other.rows - 1u) / 4u);
    let rows = rows_at(held, lane);
    let others = others_at(col4);
    let meet = shared_labels(held, held_col, lane);
    let facts = known(params.other.first / 4u + held_col);
    slopes_four(row4, col4, coded(shared_low(meet), held, held_col), rows.low, others, facts);
    slopes_four(row4 + 1u, col4, coded(shared_high(meet), held + 1u, held_col), rows.high, others, facts);
}
