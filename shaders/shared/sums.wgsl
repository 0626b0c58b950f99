// Sums of numbers that lie in rows, in portions of at most PORTION, of what a portion's lane adds no more than a quarter
// into one place. NaN and infinities are marked by their bits, and carried as such: an infinity with its sign, unless there is
// a NaN, or one of the other sign, which make a NaN.
//
// Grid: blocks of results `begin` to `end`, the portions of one row after those of another; folded. Neighbouring lanes
// read neighbouring numbers.
// Mirrors: `SumsParams` in src/kernels/sums.rs, which says what each field is.
// provides: sums, SumsParams, params (binding 0), addends (binding 1), results (binding 7)
// expects:  WG, group_index, is_nan of math.wgsl

struct SumsParams {
    begin: u32,
    end: u32,
    groups_x: u32,
    len: u32,
    portions: u32,
    results_at: u32,
    scale: f32,
    nan: u32,
    infinity: u32,
}

@group(0) @binding(0) var<uniform> params: SumsParams;
@group(0) @binding(1) var<storage, read_write> addends: array<u32>;
@group(0) @binding(7) var<storage, read_write> results: array<u32>;

const POSITIVE = 1u;
const NEGATIVE = 2u;
const NOT_A_NUMBER = 4u;

// A sum, and what is in it that is no finite number: the marks of all of them.
struct Part {
    sum: f32,
    mark: u32,
}

fn with_number(part: Part, row_at: u32, i: u32) -> Part {
    let here = i < params.len;
    let bits = addends[row_at + min(i, params.len - 1u)];
    let special = (bits & 0x7f800000u) == 0x7f800000u;
    let infinite = select(POSITIVE, NEGATIVE, (bits & 0x80000000u) != 0u);
    let mark = select(0u, select(infinite, NOT_A_NUMBER, is_nan(bits)), special && here);
    return Part(part.sum + select(bitcast<f32>(bits), 0.0, special || !here), part.mark | mark);
}

@compute @workgroup_size(WG)
fn sums(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let result = params.begin + group_index(group) * WG + lane;
    if (result >= params.end) {
        return;
    }
    let row = result / params.portions;
    let portion = result % params.portions;
    let step = params.portions;
    let row_at = row * params.len;
    var a = Part(0.0, 0u);
    var b = a;
    var c = a;
    var d = a;
    for (var i = portion; i < params.len; i += 4u * step) {
        a = with_number(a, row_at, i);
        b = with_number(b, row_at, i + step);
        c = with_number(c, row_at, i + 2u * step);
        d = with_number(d, row_at, i + 3u * step);
    }
    let sum = bitcast<u32>(params.scale * ((a.sum + b.sum) + (c.sum + d.sum)));
    let mark = (a.mark | b.mark) | (c.mark | d.mark);
    let infinite = params.infinity | select(0u, 0x80000000u, mark == NEGATIVE);
    results[params.results_at + result] =
        select(select(sum, infinite, mark != 0u), params.nan, mark > NEGATIVE);
}
