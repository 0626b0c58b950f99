// The words of each anchor's label set that have any labels, as a list. Where sets are small against the number of labels,
// pairs are looked at by these words alone.
//
// Grid: one lane an anchor, folded. A list begins with a vector that has its length in vectors; each of these has two
// words, each behind its number, the last perhaps an empty word.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, sets (binding 3), lists (binding 7)
// expects:  params, WG

@group(0) @binding(3) var<storage, read_write> sets: array<u32>;
@group(0) @binding(7) var<storage, read_write> lists: array<u32>;

@compute @workgroup_size(WG)
fn list_words(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (row >= params.own.rows) {
        return;
    }
    let list = 4u * (params.own.lists + row * params.record.lists);
    var place = list + 4u;
    for (var w = 0u; w < params.row.words; w++) {
        let word = sets[4u * (params.own.sets + w * params.own.stride) + row];
        if (word != 0u) {
            lists[place] = w;
            lists[place + 1u] = word;
            place += 2u;
        }
    }
    if ((place & 2u) != 0u) {
        lists[place] = 0u;
        lists[place + 1u] = 0u;
        place += 2u;
    }
    lists[list] = (place - list) / 4u - 1u;
}
