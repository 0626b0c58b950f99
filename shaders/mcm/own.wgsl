// The classes that have nothing below them, and room for the wins of all.
//
// Grid: blocks of elements `begin` to `end` of a window, row by row; folded.
// provides: own
// expects:  WG, group_index, math, best, params and logit_bits of mcm/logits.wgsl, put_term of
//           mcm/class.wgsl, positive, counts, begin_wins, put_probability

@compute @workgroup_size(WG)
fn own(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let row = element / params.cols;
    let col = element % params.cols;
    let leaf = ((hierarchy[params.leaves_at + col / 32u] >> (col % 32u)) & 1u) != 0u;
    let key = order_key(logit_bits(row, col));
    let is_positive = positive(row, col);
    if (params.want_wins != 0u) {
        begin_wins(element, col, leaf && counts(row, col), is_positive);
    }
    if (params.want_terms != 0u && leaf) {
        put_term(row, col, key, key, is_positive);
    }
    if (leaf) {
        put_probability(row, col, key);
    }
}
