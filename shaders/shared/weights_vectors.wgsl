// Weights by element in f32 that begin where the logits do. They have a mask's binding and place.
// provides: weight (binding 4), mask_base, element_weight4
// expects:  params

@group(0) @binding(4) var<storage, read_write> weight: array<vec4<u32>>;

fn mask_base(row: u32, phase: u32) -> u32 {
    return (params.views.mask_offset + row * params.views.mask_stride - phase + 4u) / 4u - 1u;
}

// Their bit patterns.
fn element_weight4(base: u32, q: u32) -> vec4<u32> {
    return weight[base + q];
}
