// HCAL's means and matrix products, a lane for a block of results; no lane needs another. Vectors stand in quads of four
// components, the last filled with zeros, scores in quads of classes.
//
// `means`:      the mean of each class at the number of its first sample, the other rows 0; in a tree of one level, else
//               of all.
// `scores`:     vectors . prototypes / tau, four vectors by four classes a lane.
// `slopes`:     their gradient to vectors, four vectors by four components a lane, where there are many classes in
//               chunks; then that to prototypes, four classes by four components.
// `sum_chunks`: those chunks, added up.
// Grid: blocks of lanes `begin` to `end`; folded.
// provides: the entry points, vectors (binding 1), prototypes (binding 2), table (binding 3), given (binding 4),
//           state (binding 6, records of record.wgsl too), result (binding 7)
// expects:  WG, NONE, record with the fields RECORD_, params of hcal/params.wgsl, group_index, nested

@group(0) @binding(1) var<storage, read_write> vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> prototypes: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> given: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<storage, read_write> result: array<f32>;

// `vectors` are the unit features.
@compute @workgroup_size(WG)
fn means(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let row = element / params.quads;
    let q = element % params.quads;
    let n = params.slots;
    let i = row % n;
    let at = params.level.at + row / n * RECORD_WORDS * n;
    var sum = nested_none();
    var share = 1.0;
    if (state[record(at, RECORD_FIRST, i)] == i) {
        let children = state[record(at, RECORD_CHILDREN, i)];
        if (params.mode.tree != 0u && params.level.number > 0u && children > 0u) {
            var j = state[record(at, RECORD_HEAD, i)];
            for (var step = 0u; step < children && j < n; step++) {
                // The means of the level below.
                sum = nested_add(sum, given[(params.vectors_row - n + j) * params.quads + q]);
                j = state[record(at, RECORD_LINK, j)];
            }
            share = f32(children);
        } else {
            let count = state[record(at, RECORD_COUNT, i)];
            var j = i;
            for (var step = 0u; step < count && j < n; step++) {
                sum = nested_add(sum, vectors[j * params.quads + q]);
                j = state[record(at, RECORD_NEXT, j)];
            }
            share = f32(count);
        }
    }
    given[params.vectors_row * params.quads + element] = nested_sums(sum) / share;
}

// Four rows of a block, those beyond the last being the last again.
fn rows_of(block: u32, count: u32) -> vec4<u32> {
    return min(4u * block + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
}

@compute @workgroup_size(WG)
fn scores(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let across = (params.window.class_count + 3u) / 4u;
    let block = element / across;
    let four = element % across;
    let quads = params.quads;
    let a = (params.vectors_row + params.window.first_row + rows_of(block, params.window.row_count)) * quads;
    let b = rows_of(four, params.window.class_count) * quads;
    var first = vec4<f32>(0.0);
    var second = first;
    var third = first;
    var fourth = first;
    var q = 0u;
    loop {
        let p0 = prototypes[b.x + q];
        let p1 = prototypes[b.y + q];
        let p2 = prototypes[b.z + q];
        let p3 = prototypes[b.w + q];
        let v0 = vectors[a.x + q];
        let v1 = vectors[a.y + q];
        let v2 = vectors[a.z + q];
        let v3 = vectors[a.w + q];
        first += vec4<f32>(dot(v0, p0), dot(v0, p1), dot(v0, p2), dot(v0, p3));
        second += vec4<f32>(dot(v1, p0), dot(v1, p1), dot(v1, p2), dot(v1, p3));
        third += vec4<f32>(dot(v2, p0), dot(v2, p1), dot(v2, p2), dot(v2, p3));
        fourth += vec4<f32>(dot(v3, p0), dot(v3, p1), dot(v3, p2), dot(v3, p3));
        q++;
        continuing {
            break if q >= quads;
        }
    }
    let width = params.level.row_quads;
    let place = 4u * block * width + params.window.first_class / 4u + four;
    let left = params.window.row_count - 4u * block;
    table[place] = first * params.scale;
    if (left > 1u) {
        table[place + width] = second * params.scale;
    }
    if (left > 2u) {
        table[place + 2u * width] = third * params.scale;
    }
    if (left > 3u) {
        table[place + 3u * width] = fourth * params.scale;
    }
}

@compute @workgroup_size(WG)
fn slopes(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    if (element < params.vector_blocks) {
        to_vectors(element);
    } else {
        to_prototypes(element - params.vector_blocks);
    }
}

fn to_vectors(element: u32) {
    let quads = params.quads;
    let blocks = (params.window.row_count + 3u) / 4u;
    let q = element % quads;
    let block = element / quads % blocks;
    let chunk = element / quads / blocks;
    let all = (params.window.class_count + 3u) / 4u;
    let span = (all + params.mode.chunks - 1u) / params.mode.chunks;
    let width = params.level.row_quads;
    let g = rows_of(block, params.window.row_count) * width + params.window.first_class / 4u;
    let last = params.window.class_count - 1u;
    var first = vec4<f32>(0.0);
    var second = first;
    var third = first;
    var fourth = first;
    let end = min(all, (chunk + 1u) * span);
    for (var begin = chunk * span; begin < end; begin += 64u) {
        // No more than 64 terms in one place.
        var a = vec4<f32>(0.0);
        var b = a;
        var c = a;
        var d = a;
        let stop = min(begin + 64u, end);
        var four = begin;
        loop {
            // The last quad's slopes beyond the last class are 0.
            let at = min(4u * four + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last)) * quads + q;
            let p0 = prototypes[at.x];
            let p1 = prototypes[at.y];
            let p2 = prototypes[at.z];
            let p3 = prototypes[at.w];
            let g0 = table[g.x + four];
            let g1 = table[g.y + four];
            let g2 = table[g.z + four];
            let g3 = table[g.w + four];
            a += g0.x * p0 + g0.y * p1 + (g0.z * p2 + g0.w * p3);
            b += g1.x * p0 + g1.y * p1 + (g1.z * p2 + g1.w * p3);
            c += g2.x * p0 + g2.y * p1 + (g2.z * p2 + g2.w * p3);
            d += g3.x * p0 + g3.y * p1 + (g3.z * p2 + g3.w * p3);
            four++;
            continuing {
                break if four >= stop;
            }
        }
        first += a;
        second += b;
        third += c;
        fourth += d;
    }
    let left = params.window.row_count - 4u * block;
    var place = (params.level.number * params.slots + params.window.first_row + 4u * block) * quads + q;
    if (params.mode.chunks > 1u) {
        place = (chunk * params.window.row_count + 4u * block) * quads + q;
    }
    put_vector(place, first);
    if (left > 1u) {
        put_vector(place + quads, second);
    }
    if (left > 2u) {
        put_vector(place + 2u * quads, third);
    }
    if (left > 3u) {
        put_vector(place + 3u * quads, fourth);
    }
}

fn put_vector(place: u32, value: vec4<f32>) {
    var sum = value * params.scale;
    if (params.mode.add != 0u && params.mode.chunks == 1u) {
        sum += given[place];
    }
    given[place] = sum;
}

// `vectors` are the chunks.
@compute @workgroup_size(WG)
fn sum_chunks(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let all = params.window.row_count * params.quads;
    var sum = nested_none();
    for (var chunk = 0u; chunk < params.mode.chunks; chunk++) {
        sum = nested_add(sum, vectors[chunk * all + element]);
    }
    let place = (params.level.number * params.slots + params.window.first_row) * params.quads + element;
    var value = nested_sums(sum);
    if (params.mode.add != 0u) {
        value += given[place];
    }
    given[place] = value;
}

fn to_prototypes(element: u32) {
    let quads = params.quads;
    let q = element % quads;
    let four = element / quads;
    let width = params.level.row_quads;
    let rows = params.window.row_count;
    var first = nested_none();
    var second = first;
    var third = first;
    var fourth = first;
    let zero = vec4<f32>(0.0);
    var g = params.window.first_class / 4u + four;
    var v = (params.vectors_row + params.window.first_row) * quads + q;
    for (var begin = 0u; begin < rows; begin += 64u) {
        // No more than 64 terms in one place.
        var a = zero;
        var b = zero;
        var c = zero;
        var d = zero;
        let stop = min(begin + 64u, rows);
        var row = begin;
        loop {
            let slope = table[g];
            // A sample without a label counts for nothing, whatever it holds.
            let value = select(vectors[v], zero, all(slope == zero));
            a += slope.x * value;
            b += slope.y * value;
            c += slope.z * value;
            d += slope.w * value;
            g += width;
            v += quads;
            row++;
            continuing {
                break if row >= stop;
            }
        }
        first = nested_add(first, a);
        second = nested_add(second, b);
        third = nested_add(third, c);
        fourth = nested_add(fourth, d);
    }
    let left = params.window.class_count - 4u * four;
    put(4u * four, q, nested_sums(first));
    if (left > 1u) {
        put(4u * four + 1u, q, nested_sums(second));
    }
    if (left > 2u) {
        put(4u * four + 2u, q, nested_sums(third));
    }
    if (left > 3u) {
        put(4u * four + 3u, q, nested_sums(fourth));
    }
}

// A quad of the gradient to a prototype, to the caller's tensor.
fn put(row: u32, quad: u32, value: vec4<f32>) {
    let at = params.result.offset + row * params.result.stride + 4u * quad;
    let left = params.dim - 4u * quad;
    put_one(at, value.x);
    if (left > 1u) {
        put_one(at + 1u, value.y);
    }
    if (left > 2u) {
        put_one(at + 2u, value.z);
    }
    if (left > 3u) {
        put_one(at + 3u, value.w);
    }
}

fn put_one(at: u32, value: f32) {
    var sum = value * params.scale;
    if (params.add_rows != 0u) {
        sum += result[at];
    }
    result[at] = sum;
}
