// What each positive adds to its row: its share of the ranking loss and of the average precision, how far down it is; and
// to the words, that it is one of the first labels.
//
// Grid: blocks of places `begin` to `end`, those of one row after those of another; folded.
// provides: ranks
// expects:  WG, SLAB, group_index, the ROW_ constants, WORDS_RANKS, metrics/params.wgsl, share

// Adds to a pair of words of a row.
fn add_to_row(at: u32, value: u32) {
    let before = atomicAdd(&state[at], value);
    // The carry, whoever adds between the two.
    if (before > 0xffffffffu - value) {
        atomicAdd(&state[at + 1u], 1u);
    }
}

@compute @workgroup_size(WG)
fn ranks(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let place = params.begin + group_index(group) * WG + lane;
    if (place >= params.end) {
        return;
    }
    let row = place / params.room;
    let i = place % params.room;
    let positives = positives_of(row);
    if (i >= positives) {
        return;
    }
    // Of labels no lower than this positive, negatives and positives; and labels that rank before it.
    var negative = 0u;
    var positive = 0u;
    var before = 0u;
    for (var at = place - i % SLAB; at <= place; at++) {
        negative += atomicLoad(&counts[3u * at]);
        positive += atomicLoad(&counts[3u * at + 1u]);
        before += atomicLoad(&counts[3u * at + 2u]);
    }
    let of_row = row * ROW_WORDS;
    let labels = labels_of(row);
    if (positives < labels) {
        add_to_row(of_row + ROW_RANKING, share(negative, labels - positives));
    }
    add_to_row(of_row + ROW_PRECISION, share(positive, positive + negative));
    atomicMax(&state[of_row + ROW_COVERAGE], positive + negative);
    if (before < params.top) {
        atomicAdd(&words[params.words_at + WORDS_RANKS + before], 1u);
    }
}
