// A second gradient, to the targets or to the other logits, stored as f32 where it is wanted.
// provides: second (binding 3), second_store
// expects:  params

@group(0) @binding(3) var<storage, read_write> second: array<u32>;

fn second_store(row: u32, col: u32, value: f32, nan: bool) {
    if (params.places.want_grad2 != 0u) {
        second[params.views.grad2_offset + row * params.views.grad2_stride + col] = select(bitcast<u32>(value), 0x7fc00000u, nan);
    }
}
