// A gradient to the logits with that of the classes' half, which lies turned in a plane: a row for each class.
// provides: turned (binding 3), joined
// expects:  params, Labels

@group(0) @binding(3) var<storage, read_write> turned: array<f32>;

fn turned_at(e: Labels, i: u32) -> f32 {
    return turned[params.views.grad2_offset + e.row + (e.col + i) * params.views.grad2_stride];
}

// Before a row's first label and behind its last the column wraps, or is another row's: what is there is not stored.
fn joined(e: Labels, slope: vec4<f32>) -> vec4<f32> {
    return slope + vec4<f32>(turned_at(e, 0u), turned_at(e, 1u), turned_at(e, 2u), turned_at(e, 3u));
}
