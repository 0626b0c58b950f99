// The gradient to unit rows, as it is summed.
// provides: sums (binding 7), put
// expects:  params

@group(0) @binding(7) var<storage, read_write> sums: array<vec4<f32>>;

// Four components of an own row's gradient, from some of a chunk's other rows; with `add` onto what is there.
fn put(chunk: u32, row: u32, dim4: u32, value: vec4<f32>, add: bool) {
    if (row < params.own.rows && dim4 < params.row.depth) {
        let place = params.chunks.at + chunk * params.chunks.stride + row * params.row.depth + dim4;
        if (add) {
            sums[place] += value;
        } else {
            sums[place] = value;
        }
    }
}
