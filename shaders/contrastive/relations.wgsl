// Counts how often each of the five relations of label sets occurs among an anchor's keys.
//
// Grid: one workgroup an anchor, folded. Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, relation_counts (binding 6)
// expects:  params, WG, RELATION_KINDS, own_set, other_set

@group(0) @binding(6) var<storage, read_write> relation_counts: array<u32>;

var<workgroup> wg_found: array<u32, RELATION_KINDS * WG>;

@compute @workgroup_size(WG)
fn relations(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.grid.groups) {
        return;
    }
    let at = params.work.row + row;
    let own = own_set(params.row.words + 1u, at / 4u)[at & 3u];
    let size = own_set(params.row.words, at / 4u)[at & 3u];
    var disjoint = 0u;
    var equal = 0u;
    var inside = 0u;
    var around = 0u;
    var overlap = 0u;
    for (var key = lane; key < params.other.rows; key += WG) {
        if (params.other.first + key == own) {
            continue;
        }
        var n = 0u;
        for (var w = 0u; w < params.row.words; w++) {
            n += countOneBits(own_set(w, at / 4u)[at & 3u] & other_set(w, key / 4u)[key & 3u]);
        }
        let key_size = other_set(params.row.words, key / 4u)[key & 3u];
        let all_own = n == size;
        let all_key = n == key_size;
        if (n == 0u) {
            disjoint++;
        } else if (all_own && all_key) {
            equal++;
        } else if (all_key) {
            inside++;
        } else if (all_own) {
            around++;
        } else {
            overlap++;
        }
    }
    wg_found[lane] = disjoint;
    wg_found[WG + lane] = equal;
    wg_found[2u * WG + lane] = overlap;
    wg_found[3u * WG + lane] = inside;
    wg_found[4u * WG + lane] = around;
    // Every lane's counts are there before they are added.
    workgroupBarrier();
    if (lane < RELATION_KINDS) {
        let place = params.grad_at + row * params.grad_stride + lane;
        var sum = 0u;
        for (var i = 0u; i < WG; i++) {
            sum += wg_found[lane * WG + i];
        }
        if (params.grid.add != 0u) {
            sum += relation_counts[place];
        }
        relation_counts[place] = sum;
    }
}
