// A gradient that is made where it is stored, in 16 bits.
//
// Grid: blocks of elements `begin` to `end` of a window, words of two, those of one row after those of another; folded.
// provides: gradient, grad (binding 7)
// expects:  WG, group_index, params (begin, end, cols, grad: View), slope, onto_half

@group(0) @binding(7) var<storage, read_write> grad: array<atomic<u32>>;

@compute @workgroup_size(WG)
fn gradient(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let cols = params.cols;
    // A row may begin in the middle of a word.
    let words = (cols + 2u) / 2u;
    let row = element / words;
    let begin = params.grad.offset + row * params.grad.stride;
    let place = begin / 2u + element % words;
    // Before the row this wraps to a large number.
    let first = 2u * place - begin;
    let second = 2u * place + 1u - begin;
    let low = onto_half(2u * place, slope(row, min(first, cols - 1u)));
    let high = onto_half(2u * place + 1u, slope(row, min(second, cols - 1u)));
    // A word with the end of one row and the beginning of another is written by two lanes, each its half.
    if (first < cols && second < cols) {
        atomicStore(&grad[place], low | (high << 16u));
    } else if (first < cols) {
        atomicAnd(&grad[place], 0xffff0000u);
        atomicOr(&grad[place], low);
    } else if (second < cols) {
        atomicAnd(&grad[place], 0x0000ffffu);
        atomicOr(&grad[place], high << 16u);
    }
}
