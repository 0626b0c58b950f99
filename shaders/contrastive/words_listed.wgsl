// What eight own rows share with four others, by the words of their list.
// provides: lists (binding 7), shared_labels
// expects:  params, Shared, Eight, with_word, own_set, other_set

@group(0) @binding(7) var<storage, read_write> lists: array<u32>;

fn shared_labels(row4: u32, col4: u32, lane: u32) -> Shared {
    let list = params.own.lists + row4 / 2u * params.record.lists;
    let end = list + 1u + min(lists[list], params.row.words);
    var all = Shared();
    for (var i = list + 1u; i < end; i++) {
        let w = min(lists[i], params.row.words - 1u);
        all = with_word(all, w, Eight(own_set(w, row4), own_set(w, row4 + 1u)), other_set(w, col4), row4);
    }
    return all;
}
