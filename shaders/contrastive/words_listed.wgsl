// What eight own rows share with four others, by the words of each own row's list.
// provides: lists (binding 7), shared_labels
// expects:  params, Shared, row_none, row_word, with_row, other_set

@group(0) @binding(7) var<storage, read_write> lists: array<vec4<u32>>;

fn shared_labels(row4: u32, col4: u32, lane: u32) -> Shared {
    var all = Shared();
    for (var r = 0u; r < params.team; r++) {
        // Rows behind the last have none.
        let row = 4u * row4 + r;
        let list = params.own.lists + min(row, params.own.rows - 1u) * params.record.lists;
        let count = select(0u, min(lists[list].x, params.record.lists - 1u), row < params.own.rows);
        var one = row_none();
        for (var i = 1u; i <= count; i++) {
            let two = lists[list + i];
            one = row_word(one, two.x, two.y, other_set(two.x, col4), row);
            one = row_word(one, two.z, two.w, other_set(two.z, col4), row);
        }
        all = with_row(all, r, one);
    }
    return all;
}
