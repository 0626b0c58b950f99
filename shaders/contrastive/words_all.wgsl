// What eight own rows share with four others, by all words of their sets.
// provides: shared_labels
// expects:  params, Shared, with_word, own_eight, other_set

fn shared_labels(row4: u32, col4: u32, lane: u32) -> Shared {
    var all = Shared();
    for (var w = 0u; w < params.row.words; w++) {
        all = with_word(all, w, own_eight(w, row4, lane), other_set(w, col4), row4);
    }
    return all;
}
