// For MulSupCon: how many keys have each label, and which of an anchor's labels the key has that is the anchor itself.
//
// `count_labels` reads the own rows' sets, `leave_out` writes words behind the own sets from the others'.
// Grid: one workgroup a word of the sets; one workgroup an anchor; both folded.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, sets (binding 3), sets2 (binding 4), small (binding 5), itself_index (binding 7)
// expects:  params, WG, FROM_INDEX

@group(0) @binding(3) var<storage, read_write> sets: array<u32>;
@group(0) @binding(4) var<storage, read_write> sets2: array<u32>;
@group(0) @binding(5) var<storage, read_write> small: array<u32>;
@group(0) @binding(7) var<storage, read_write> itself_index: array<u32>;

var<workgroup> wg_counts: array<u32, WG>;

@compute @workgroup_size(WG)
fn count_labels(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let word = group.y * params.grid.groups_x + group.x;
    if (word >= params.grid.groups) {
        return;
    }
    // A lane has one label of the word, and shares the rows with the other lanes of that label.
    let bit = lane & 31u;
    let first = 4u * (params.own.sets + word * params.own.stride);
    var count = 0u;
    for (var row = lane / 32u; row < params.own.rows; row += WG / 32u) {
        count += (sets[first + row] >> bit) & 1u;
    }
    wg_counts[lane] = count;
    // Every lane's count is there before they are added.
    workgroupBarrier();
    if (lane < 32u) {
        let place = params.record.counts + 32u * word + lane;
        count = 0u;
        for (var i = lane; i < WG; i += 32u) {
            count += wg_counts[i];
        }
        if (params.grid.add != 0u) {
            count += small[place];
        }
        small[place] = count;
    }
}

@compute @workgroup_size(WG)
fn leave_out(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.grid.groups) {
        return;
    }
    let number = params.roles.itself_at + params.own.first + row;
    var itself = number;
    if (params.roles.itself == FROM_INDEX) {
        itself = itself_index[number];
    }
    let key = itself - params.other.first;
    let inside = key < params.other.rows;
    for (var w = lane; w < params.row.words; w += WG) {
        let place = 4u * (params.own.sets + (params.row.words + 2u + w) * params.own.stride) + row;
        var word = 0u;
        if (inside) {
            word = sets2[4u * (params.other.sets + w * params.other.stride) + key];
        } else if (params.grid.add != 0u) {
            // What another window's key has.
            word = sets[place];
        }
        sets[place] = word;
    }
}
