// True positives, false positives and false negatives of each label, and rows in which it does not count, over BLOCK rows a
// lane.
//
// Grid: blocks of labels `begin` to `end`, all of one block of rows after those of another; folded.
// provides: labels
// expects:  WG, BLOCK, group_index, best, WORDS_RANKS, metrics/params.wgsl, key_of, positive, counts_in

@compute @workgroup_size(WG)
fn labels(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let unit = params.begin + group_index(group) * WG + lane;
    if (unit >= params.end) {
        return;
    }
    let col = unit % params.cols;
    let first = unit / params.cols * BLOCK;
    let threshold = order_key(params.threshold);
    var hits = 0u;
    var extra = 0u;
    var missed = 0u;
    var absent = 0u;
    for (var row = first; row < min(first + BLOCK, params.rows); row++) {
        if (!left_out(row)) {
            let is_there = counts_in(row, col);
            let is_predicted = is_there && key_of(row, col) > threshold;
            let is_positive = is_there && positive(row, col);
            hits += u32(is_predicted && is_positive);
            extra += u32(is_predicted && !is_positive);
            missed += u32(!is_predicted && is_positive);
            absent += u32(!is_there);
        }
    }
    let at = params.words_at + WORDS_RANKS + params.top + 4u * col;
    if (hits > 0u) {
        atomicAdd(&words[at], hits);
    }
    if (extra > 0u) {
        atomicAdd(&words[at + 1u], extra);
    }
    if (missed > 0u) {
        atomicAdd(&words[at + 2u], missed);
    }
    if (absent > 0u) {
        atomicAdd(&words[at + 3u], absent);
    }
}
