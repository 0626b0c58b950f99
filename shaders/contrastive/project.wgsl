// From the gradient to unit rows to that to the rows as they were given.
//
// Mirrors: src/kernels/contrastive/params.rs.
// provides: project_row, z (binding 1), small (binding 5), sums (binding 6), grad (binding 7)
// expects:  params, SUMMED (what one sum takes in), team_sum, kept, onto

@group(0) @binding(1) var<storage, read_write> z: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> small: array<u32>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> grad: array<u32>;

// Four components of the gradient to a unit row: the chunks' sums, in order.
fn summed(row: u32, i: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < params.chunks.count; chunk++) {
        sum += sums[params.chunks.at + chunk * params.chunks.stride + row * params.row.depth + i];
    }
    return sum;
}

// Projects a row that some lanes share. All of them must call it, those without a row too: these write nothing.
fn project_row(row: u32, writes: bool, lane: u32, lanes: u32) {
    let unit = params.own.z + row * params.row.depth;
    var along = 0.0;
    if (params.settings.normalize != 0u) {
        for (var start = lane; start < params.row.depth; start += SUMMED * lanes) {
            let stop = min(params.row.depth, start + SUMMED * lanes);
            var some = 0.0;
            for (var i = start; i < stop; i += lanes) {
                some += dot(summed(row, i), z[unit + i]);
            }
            along += some;
        }
    }
    along = team_sum(vec2<f32>(along, 0.0), lane, lanes).x;
    if (writes) {
        let inverse = bitcast<f32>(small[params.own.norms + params.own.first + row]);
        let unsound = small[params.record.unsound] != 0u && kept(small[params.own.sizes + params.own.first + row]);
        for (var i = lane; i < params.row.depth; i += lanes) {
            let g = (summed(row, i) - along * z[unit + i]) * params.settings.inv_temperature * inverse;
            let bits = select(bitcast<vec4<u32>>(g), vec4<u32>(params.settings.nan), unsound);
            for (var d = 0u; d < min(4u, params.row.dims - min(4u * i, params.row.dims)); d++) {
                let place = params.grad_at + row * params.grad_stride + 4u * i + d;
                grad[place] = onto(place, bits[d]);
            }
        }
    }
}
