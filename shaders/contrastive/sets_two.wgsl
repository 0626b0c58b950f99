// The label sets of the two sides, each in memory of its own.
// provides: sets (binding 3), sets2 (binding 4), own_set, other_set
// expects:  params

@group(0) @binding(3) var<storage, read_write> sets: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> sets2: array<vec4<u32>>;

// Word `w` of four rows.
fn own_set(w: u32, row4: u32) -> vec4<u32> {
    return sets[params.own.sets + w * params.own.stride + row4];
}

fn other_set(w: u32, row4: u32) -> vec4<u32> {
    return sets2[params.other.sets + w * params.other.stride + row4];
}
