// How many labels eight own rows share with four others.
// provides: Shared, with_word, row_none, row_word, with_row, shared_low, shared_high
// expects:  Eight, Four, turned

// For each own row those with the four others.
struct Shared {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    e: vec4<u32>,
    f: vec4<u32>,
    g: vec4<u32>,
    h: vec4<u32>,
}

fn with_word(before: Shared, w: u32, own: Eight, other: vec4<u32>, row4: u32) -> Shared {
    return Shared(
        before.a + countOneBits(vec4<u32>(own.low.x) & other),
        before.b + countOneBits(vec4<u32>(own.low.y) & other),
        before.c + countOneBits(vec4<u32>(own.low.z) & other),
        before.d + countOneBits(vec4<u32>(own.low.w) & other),
        before.e + countOneBits(vec4<u32>(own.high.x) & other),
        before.f + countOneBits(vec4<u32>(own.high.y) & other),
        before.g + countOneBits(vec4<u32>(own.high.z) & other),
        before.h + countOneBits(vec4<u32>(own.high.w) & other),
    );
}

// What one own row shares by no word yet, by one word more, and put to what the others do.
fn row_none() -> vec4<u32> {
    return vec4<u32>(0u);
}

fn row_word(before: vec4<u32>, w: u32, own: u32, other: vec4<u32>, row: u32) -> vec4<u32> {
    return before + countOneBits(vec4<u32>(own) & other);
}

fn with_row(before: Shared, r: u32, row: vec4<u32>) -> Shared {
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
    return turned(Four(vec4<f32>(all.a), vec4<f32>(all.b), vec4<f32>(all.c), vec4<f32>(all.d)));
}

fn shared_high(all: Shared) -> Four {
    return turned(Four(vec4<f32>(all.e), vec4<f32>(all.f), vec4<f32>(all.g), vec4<f32>(all.h)));
}
