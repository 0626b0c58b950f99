// Which words of their label sets eight anchors together have a label in: a list for each eight, its length first. Where
// sets are small against the number of labels, pairs are looked at by these words alone.
//
// Grid: one workgroup for eight anchors, folded. A lane has neighbouring words, so the list rises.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, lists (binding 7)
// expects:  params, WG, own_set

@group(0) @binding(7) var<storage, read_write> lists: array<u32>;

var<workgroup> wg_found: array<u32, WG>;

fn has_labels(w: u32, row4: u32) -> bool {
    let any = own_set(w, row4) | own_set(w, row4 + 1u);
    return (any.x | any.y | any.z | any.w) != 0u;
}

@compute @workgroup_size(WG)
fn list_words(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    if (number >= params.grid.groups) {
        return;
    }
    let row4 = 2u * number;
    let share = (params.row.words + WG - 1u) / WG;
    let end = min((lane + 1u) * share, params.row.words);
    var count = 0u;
    for (var w = lane * share; w < end; w++) {
        count += select(0u, 1u, has_labels(w, row4));
    }
    wg_found[lane] = count;
    // Every lane's count is there before they are added.
    workgroupBarrier();
    let list = params.own.lists + number * params.record.lists;
    var place = list + 1u;
    for (var i = 0u; i < lane; i++) {
        place += wg_found[i];
    }
    for (var w = lane * share; w < end; w++) {
        if (has_labels(w, row4)) {
            lists[place] = w;
            place++;
        }
    }
    if (lane == WG - 1u) {
        lists[list] = place - list - 1u;
    }
}
