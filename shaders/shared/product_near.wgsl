// The two products of matrices, without workgroup memory: a lane has eight own rows and four other rows, or four
// components. What is of the own rows is loaded by one lane each and handed to the others of the subgroup, so that the
// text has no barrier. For software drivers: there a barrier costs more than all that it saves.
//
// `products` fills a tile with the scalar products of own and other rows. `spread` multiplies a tile with the other rows
// and adds this to the gradient to the own ones.
// Grid: blocks of own rows (eight a subgroup) x blocks of other rows or components (four a lane), own rows first. How
// large a block is follows from the size of a subgroup, so the host has the most workgroups there can be.
// Mirrors: src/kernels/products.rs.
// provides: the entry points
// expects:  params, WG, HELD (own rows that lanes load at a time, 4 or 8, at most the lanes of a subgroup), SUMMED (what
//           one sum takes in before it is put away), own_z, other_z, Four, work, skipped, keep_four, put

// One component of the first four own rows, each of which one lane has loaded.
fn low_rows(component: f32) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(component, 0u),
        subgroupBroadcast(component, 1u),
        subgroupBroadcast(component, 2u),
        subgroupBroadcast(component, 3u),
    );
}

// The same of the other four.
fn high_rows(component: f32) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(component, HELD - 4u),
        subgroupBroadcast(component, HELD - 3u),
        subgroupBroadcast(component, HELD - 2u),
        subgroupBroadcast(component, HELD - 1u),
    );
}

// Products of four own rows with four other rows, and one component more.
fn grown(s: Four, rows: vec4<f32>, cols: vec4<f32>) -> Four {
    return Four(s.a + rows * cols.x, s.b + rows * cols.y, s.c + rows * cols.z, s.d + rows * cols.w);
}

// What is added to the gradient to an own row, from its four slopes to the other rows.
fn pulled(slopes: vec4<f32>, rows: Four) -> vec4<f32> {
    return slopes.x * rows.a + slopes.y * rows.b + slopes.z * rows.c + slopes.w * rows.d;
}

@compute @workgroup_size(WG)
fn products(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let lanes = min(WG, near);
    let number = group.y * params.grid.groups_x + group.x;
    let rows4 = 2u * (WG / lanes);
    let row_blocks = (params.own.rows + 4u * rows4 - 1u) / (4u * rows4);
    let first4 = number % row_blocks * rows4;
    let begin4 = number / row_blocks * lanes;
    if (4u * begin4 >= params.other.rows || skipped(first4, begin4 + lanes)) {
        return;
    }
    let row4 = first4 + 2u * subgroup;
    let col4 = begin4 + index;
    let last = params.own.rows - 1u;
    let low = min(4u * row4 + (index & (HELD - 1u)), last);
    let high = min(4u * row4 + 4u + (index & (HELD - 1u)), last);
    let cols = min(vec4<u32>(4u * col4) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.other.rows - 1u));
    for (var start = 0u; start < params.row.depth; start += SUMMED / 4u) {
        let stop = min(start + SUMMED / 4u, params.row.depth);
        var s = Four();
        var t = Four();
        var i = start;
        loop {
            let a = own_z(low, i);
            var b = a;
            if (HELD == 4u) {
                b = own_z(high, i);
            }
            let p = other_z(cols.x, i);
            let q = other_z(cols.y, i);
            let u = other_z(cols.z, i);
            let v = other_z(cols.w, i);
            s = grown(s, low_rows(a.x), vec4<f32>(p.x, q.x, u.x, v.x));
            t = grown(t, high_rows(b.x), vec4<f32>(p.x, q.x, u.x, v.x));
            s = grown(s, low_rows(a.y), vec4<f32>(p.y, q.y, u.y, v.y));
            t = grown(t, high_rows(b.y), vec4<f32>(p.y, q.y, u.y, v.y));
            s = grown(s, low_rows(a.z), vec4<f32>(p.z, q.z, u.z, v.z));
            t = grown(t, high_rows(b.z), vec4<f32>(p.z, q.z, u.z, v.z));
            s = grown(s, low_rows(a.w), vec4<f32>(p.w, q.w, u.w, v.w));
            t = grown(t, high_rows(b.w), vec4<f32>(p.w, q.w, u.w, v.w));
            i++;
            continuing {
                break if i >= stop;
            }
        }
        keep_four(row4, col4, s, start > 0u);
        keep_four(row4 + 1u, col4, t, start > 0u);
    }
}

@compute @workgroup_size(WG)
fn spread(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let lanes = min(WG, near);
    let number = group.y * params.grid.groups_x + group.x;
    let rows = 8u * (WG / lanes);
    let row_blocks = (params.own.rows + rows - 1u) / rows;
    let chunk = number / row_blocks % params.chunks.count;
    let begin = number / row_blocks / params.chunks.count * lanes;
    if (begin >= params.row.depth) {
        return;
    }
    let row = number % row_blocks * rows + 8u * subgroup;
    let dim4 = begin + index;
    let held = min(dim4, params.row.depth - 1u);
    let last = params.own.rows - 1u;
    let low = (params.work.row + min(row + (index & (HELD - 1u)), last)) * params.work.stride;
    let high = (params.work.row + min(row + 4u + (index & (HELD - 1u)), last)) * params.work.stride;
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let last_col = vec4<u32>(params.other.rows - 1u);
    let end = min((chunk + 1u) * params.chunks.rows, params.other.rows);
    for (var start = chunk * params.chunks.rows; start < end; start += SUMMED) {
        let stop = min(start + SUMMED, end);
        var s = Four();
        var t = Four();
        var j = start;
        loop {
            let a = work[low + j / 4u];
            var b = a;
            if (HELD == 4u) {
                b = work[high + j / 4u];
            }
            // Behind the last row the tile has zeros.
            let cols = min(vec4<u32>(j) + four, last_col);
            let p = other_z(cols.x, held);
            let q = other_z(cols.y, held);
            let u = other_z(cols.z, held);
            let v = other_z(cols.w, held);
            let rows = Four(p, q, u, v);
            s.a += pulled(subgroupBroadcast(a, 0u), rows);
            s.b += pulled(subgroupBroadcast(a, 1u), rows);
            s.c += pulled(subgroupBroadcast(a, 2u), rows);
            s.d += pulled(subgroupBroadcast(a, 3u), rows);
            t.a += pulled(subgroupBroadcast(b, HELD - 4u), rows);
            t.b += pulled(subgroupBroadcast(b, HELD - 3u), rows);
            t.c += pulled(subgroupBroadcast(b, HELD - 2u), rows);
            t.d += pulled(subgroupBroadcast(b, HELD - 1u), rows);
            j += 4u;
            continuing {
                break if j >= stop;
            }
        }
        let add = params.grid.add != 0u || start > chunk * params.chunks.rows;
        put(chunk, row, dim4, s.a, add);
        put(chunk, row + 1u, dim4, s.b, add);
        put(chunk, row + 2u, dim4, s.c, add);
        put(chunk, row + 3u, dim4, s.d, add);
        put(chunk, row + 4u, dim4, t.a, add);
        put(chunk, row + 5u, dim4, t.b, add);
        put(chunk, row + 6u, dim4, t.c, add);
        put(chunk, row + 7u, dim4, t.d, add);
    }
}
