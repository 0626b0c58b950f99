// The label sets of both sides where they lie in the same memory, which is bound once: browsers refuse it twice.
// provides: sets (binding 3), own_set, other_set
// expects:  params

@group(0) @binding(3) var<storage, read_write> sets: array<vec4<u32>>;

// Word `w` of four rows.
fn own_set(w: u32, row4: u32) -> vec4<u32> {
    return sets[params.own.sets + w * params.own.stride + row4];
}

fn other_set(w: u32, row4: u32) -> vec4<u32> {
    return sets[params.other.sets + w * params.other.stride + row4];
}
