// What the probes of a driver are given, and where their words go: word `k` of lane `w` of all lanes lies at `k * LANES + w`
// behind `grad_offset`, which is counted in what `grad` is made of.
// Mirrors: `VerifyParams` in src/device/verify.rs.
// provides: params (binding 0), given
// expects:  PATTERNS, WG, LANES

struct VerifyViews {
    logits_offset: u32,
    logits_stride: u32,
    grad_offset: u32,
    grad_stride: u32,
    rounds: u32,            // of the long loop: from memory, so that no compiler counts for the driver
    _pad0: u32,
    _pad1: u32,
    _pad2: u32,
}

// Bits of four numbers.
struct Pattern {
    a: u32,
    b: u32,
    c: u32,
    d: u32,
}

struct VerifyParams {
    views: VerifyViews,
    patterns: array<Pattern, PATTERNS>,
}

@group(0) @binding(0) var<uniform> params: VerifyParams;

// The bits that lane `w` looks at.
fn given(w: u32) -> vec4<u32> {
    let pattern = params.patterns[w % PATTERNS];
    return vec4<u32>(pattern.a, pattern.b, pattern.c, pattern.d);
}
