// The terms of MulSupCon of eight own rows with four others: the sum of w_l / |P_l(i)| over the labels l that both have.
// Where the own rows are the keys of the others too, this is the same both ways.
// provides: small (binding 1), Shared, with_word, row_none, row_word, with_row, shared_low, shared_high
// expects:  params, SAME_NUMBER, NO_KEY, Eight, own_set, Four, turned, weight_of_label

@group(0) @binding(1) var<storage, read_write> small: array<u32>;

// For each own row those with the four others.
struct Shared {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    h: vec4<f32>,
}

// The terms by one word of an own row, of whose labels the key that is the row itself has `itself`.
fn terms(w: u32, labels: u32, itself: u32, other: vec4<u32>) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    var bits = labels;
    while (bits != 0u) {
        let bit = firstTrailingBit(bits);
        bits &= bits - 1u;
        let keys = small[params.record.counts + 32u * w + bit] - ((itself >> bit) & 1u);
        let has = ((other >> vec4<u32>(bit)) & vec4<u32>(1u)) != vec4<u32>(0u);
        let term = weight_of_label(32u * w + bit) / f32(max(keys, 1u));
        sum += select(vec4<f32>(0.0), vec4<f32>(term), has);
    }
    return sum;
}

fn with_word(before: Shared, w: u32, own: Eight, other: vec4<u32>, row4: u32) -> Shared {
    // The labels that the key has which is the anchor itself.
    var itself = Eight();
    if (params.roles.itself == SAME_NUMBER) {
        itself = own;
    } else if (params.roles.itself != NO_KEY) {
        let place = params.row.words + 2u + w;
        itself = Eight(own_set(place, row4), own_set(place, row4 + 1u));
    }
    return Shared(
        before.a + terms(w, own.low.x, itself.low.x, other),
        before.b + terms(w, own.low.y, itself.low.y, other),
        before.c + terms(w, own.low.z, itself.low.z, other),
        before.d + terms(w, own.low.w, itself.low.w, other),
        before.e + terms(w, own.high.x, itself.high.x, other),
        before.f + terms(w, own.high.y, itself.high.y, other),
        before.g + terms(w, own.high.z, itself.high.z, other),
        before.h + terms(w, own.high.w, itself.high.w, other),
    );
}

// What one own row shares by no word yet, by one word more, and put to what the others do.
fn row_none() -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn row_word(before: vec4<f32>, w: u32, own: u32, other: vec4<u32>, row: u32) -> vec4<f32> {
    var itself = 0u;
    if (params.roles.itself == SAME_NUMBER) {
        itself = own;
    } else if (params.roles.itself != NO_KEY) {
        itself = own_set(params.row.words + 2u + w, row / 4u)[row & 3u];
    }
    return before + terms(w, own, itself, other);
}

fn with_row(before: Shared, r: u32, row: vec4<f32>) -> Shared {
    let none = row_none();
    return Shared(
        before.a + select(none, row, r == 0u),
        before.b + select(none, row, r == 1u),
        before.c + select(none, row, r == 2u),
        before.d + select(none, row, r == 3u),
        before.e + select(none, row, r == 4u),
        before.f + select(none, row, r == 5u),
        before.g + select(none, row, r == 6u),
        before.h + select(none, row, r == 7u),
    );
}

fn shared_low(all: Shared) -> Four {
    return turned(Four(all.a, all.b, all.c, all.d));
}

fn shared_high(all: Shared) -> Four {
    return turned(Four(all.e, all.f, all.g, all.h));
}
