// The rows of the two sides of a pair, where they lie.
// provides: z (binding 1), z2 (binding 2), sets (binding 3), sets2 (binding 4), small (binding 5), work (binding 6),
//           itself_index (binding 7), OWN, OTHER, own_z, other_z, set_word, itself_of
// expects:  params, SAME_NUMBER, FROM_INDEX

@group(0) @binding(1) var<storage, read_write> z: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> z2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> sets: array<u32>;
@group(0) @binding(4) var<storage, read_write> sets2: array<u32>;
@group(0) @binding(5) var<storage, read_write> small: array<u32>;
@group(0) @binding(6) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> itself_index: array<u32>;

const OWN = 0u;
const OTHER = 1u;

fn own_z(row: u32, i: u32) -> vec4<f32> {
    return z[params.own.z + row * params.row.depth + i];
}

fn other_z(col: u32, i: u32) -> vec4<f32> {
    let at = params.other.z + col * params.row.depth + i;
    // The same memory is bound once: browsers refuse it twice.
    if (params.other.split != 0u) {
        return z2[at];
    }
    return z[at];
}

// Word `w` of a row's label set, on one side.
fn set_word(side: u32, row: u32, w: u32) -> u32 {
    if (side == OWN) {
        return sets[params.own.sets + row * params.own.stride + w];
    }
    let at = params.other.sets + row * params.other.stride + w;
    if (params.other.split != 0u) {
        return sets2[at];
    }
    return sets[at];
}

// Which of all keys an anchor is itself.
fn itself_of(anchor: u32) -> u32 {
    if (params.roles.itself == SAME_NUMBER) {
        return anchor;
    }
    if (params.roles.itself == FROM_INDEX) {
        return itself_index[params.roles.itself_at + anchor];
    }
    return 0xffffffffu;
}
