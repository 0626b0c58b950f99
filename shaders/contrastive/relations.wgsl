// Counts how often each of the five relations of label sets occurs among an anchor's keys.
//
// Grid: one workgroup an anchor, folded. Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, sets (binding 3), sets2 (binding 4), small (binding 5), relation_counts (binding 6),
//           itself_index (binding 7)
// expects:  params, WG, SAME_NUMBER, FROM_INDEX, RELATION_KINDS

@group(0) @binding(3) var<storage, read_write> sets: array<u32>;
@group(0) @binding(4) var<storage, read_write> sets2: array<u32>;
@group(0) @binding(5) var<storage, read_write> small: array<u32>;
@group(0) @binding(6) var<storage, read_write> relation_counts: array<u32>;
@group(0) @binding(7) var<storage, read_write> itself_index: array<u32>;

var<workgroup> wg_found: array<u32, RELATION_KINDS * WG>;

fn key_word(key: u32, w: u32) -> u32 {
    let at = params.other.sets + key * params.other.stride + w;
    if (params.other.split != 0u) {
        return sets2[at];
    }
    return sets[at];
}

@compute @workgroup_size(WG)
fn relations(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.grid.groups) {
        return;
    }
    let anchor = params.own.first + row;
    var own = 0xffffffffu;
    if (params.roles.itself == SAME_NUMBER) {
        own = anchor;
    } else if (params.roles.itself == FROM_INDEX) {
        own = itself_index[params.roles.itself_at + anchor];
    }
    let size = small[params.own.sizes + anchor];
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
            n += countOneBits(sets[params.own.sets + row * params.own.stride + w] & key_word(key, w));
        }
        let key_size = small[params.other.sizes + params.other.first + key];
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
