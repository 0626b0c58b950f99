// What is kept of the rows: cleared before, added to the words after.
//
// Grid: blocks of words of the state, or of rows, `begin` to `end`; folded.
// provides: clear, rows
// expects:  WG, ONE, MASKED, group_index, the ROW_ and WORDS_ constants, metrics/params.wgsl, share, mean_share

@compute @workgroup_size(WG)
fn clear(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let word = params.begin + group_index(group) * WG + lane;
    if (word < params.end) {
        atomicStore(&state[word], 0u);
    }
}

// A word of a row's state.
fn kept(row: u32, which: u32) -> u32 {
    return atomicLoad(&state[row * ROW_WORDS + which]);
}

fn add_word(which: u32, value: u32) {
    if (value > 0u) {
        atomicAdd(&words[params.words_at + which], value);
    }
}

// Adds to a pair of words.
fn add_pair(which: u32, value: u32) {
    let before = atomicAdd(&words[params.words_at + which], value);
    // The carry, whoever adds between the two.
    add_word(which + 1u, u32(before > 0xffffffffu - value));
}

@compute @workgroup_size(WG)
fn rows(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = params.begin + group_index(group) * WG + lane;
    if (row >= params.end) {
        return;
    }
    if (left_out(row)) {
        // One that a mask leaves out is nowhere.
        add_word(WORDS_LEFT_OUT, u32(kept(row, ROW_LEFT_OUT) != MASKED));
        return;
    }
    let positives = positives_of(row);
    let predicted = kept(row, ROW_PREDICTED);
    let hits = kept(row, ROW_HITS);
    add_word(WORDS_ROWS, 1u);
    add_word(WORDS_EXACT, u32(hits == predicted && hits == positives));
    add_word(WORDS_WITHOUT, u32(positives == 0u));
    if (predicted + positives > 0u) {
        add_pair(WORDS_F1, share(2u * hits, predicted + positives));
    }
    if (positives == 0u) {
        add_pair(WORDS_PRECISION, ONE);
        return;
    }
    add_pair(WORDS_RANKING, mean_share(kept(row, ROW_RANKING), kept(row, ROW_RANKING + 1u), positives));
    add_pair(WORDS_PRECISION, mean_share(kept(row, ROW_PRECISION), kept(row, ROW_PRECISION + 1u), positives));
    add_pair(WORDS_COVERAGE, kept(row, ROW_COVERAGE));
}
