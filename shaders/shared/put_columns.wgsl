// Leaves the sums of four neighbouring columns in scratch, added to those of the windows before.
// provides: put_columns
// expects:  params, scratch

fn put_columns(chunk: u32, q: u32, sums: vec4<f32>) {
    let place = params.places.column_at + chunk * params.grid.columns;
    put_column(place, 4u * q, sums.x);
    put_column(place, 4u * q + 1u, sums.y);
    put_column(place, 4u * q + 2u, sums.z);
    put_column(place, 4u * q + 3u, sums.w);
}

fn put_column(place: u32, col: u32, value: f32) {
    if (col < params.grid.columns) {
        var sum = value;
        if (params.window.first_row > 0u) {
            sum += bitcast<f32>(scratch[place + col]);
        }
        scratch[place + col] = bitcast<u32>(sum);
    }
}
