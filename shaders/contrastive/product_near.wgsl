// The two products of matrices, without workgroup memory: a lane has eight own rows and four other rows, or four
// components. What is of the own rows is loaded by one lane each and handed to the others of the subgroup, so that the
// text has no barrier. For software drivers: there a barrier costs more than all that it saves.
//
// `products` fills a tile with the scalar products of own and other rows. `spread` multiplies a tile with the other rows
// and adds this to the gradient to the own ones.
// Grid: blocks of own rows (eight a subgroup) x blocks of other rows or components (four a lane), own rows first. How
// large a block is follows from the size of a subgroup, so the host has the most workgroups there can be.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points
// expects:  params, WG, HELD (own rows that lanes load at a time, 4 or 8, at most the lanes of a subgroup), SUMMED (what
//           one sum takes in before it is put away), own_z, other_z, Four, work, skipped, keep_four, put

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
            {
                let r = vec4<f32>(
                    subgroupBroadcast(a.x, 0u),
                    subgroupBroadcast(a.x, 1u),
                    subgroupBroadcast(a.x, 2u),
                    subgroupBroadcast(a.x, 3u),
                );
                s = Four(s.a + r * p.x, s.b + r * q.x, s.c + r * u.x, s.d + r * v.x);
            }
            {
                let r = vec4<f32>(
                    subgroupBroadcast(b.x, HELD - 4u + 0u),
                    subgroupBroadcast(b.x, HELD - 4u + 1u),
                    subgroupBroadcast(b.x, HELD - 4u + 2u),
                    subgroupBroadcast(b.x, HELD - 4u + 3u),
                );
                t = Four(t.a + r * p.x, t.b + r * q.x, t.c + r * u.x, t.d + r * v.x);
            }
            {
                let r = vec4<f32>(
                    subgroupBroadcast(a.y, 0u),
                    subgroupBroadcast(a.y, 1u),
                    subgroupBroadcast(a.y, 2u),
                    subgroupBroadcast(a.y, 3u),
                );
                s = Four(s.a + r * p.y, s.b + r * q.y, s.c + r * u.y, s.d + r * v.y);
            }
            {
                let r = vec4<f32>(
                    subgroupBroadcast(b.y, HELD - 4u + 0u),
                    subgroupBroadcast(b.y, HELD - 4u + 1u),
                    subgroupBroadcast(b.y, HELD - 4u + 2u),
                    subgroupBroadcast(b.y, HELD - 4u + 3u),
                );
                t = Four(t.a + r * p.y, t.b + r * q.y, t.c + r * u.y, t.d + r * v.y);
            }
            {
                let r = vec4<f32>(
                    subgroupBroadcast(a.z, 0u),
                    subgroupBroadcast(a.z, 1u),
                    subgroupBroadcast(a.z, 2u),
                    subgroupBroadcast(a.z, 3u),
                );
                s = Four(s.a + r * p.z, s.b + r * q.z, s.c + r * u.z, s.d + r * v.z);
            }
            {
                let r = vec4<f32>(
                    subgroupBroadcast(b.z, HELD - 4u + 0u),
                    subgroupBroadcast(b.z, HELD - 4u + 1u),
                    subgroupBroadcast(b.z, HELD - 4u + 2u),
                    subgroupBroadcast(b.z, HELD - 4u + 3u),
                );
                t = Four(t.a + r * p.z, t.b + r * q.z, t.c + r * u.z, t.d + r * v.z);
            }
            {
                let r = vec4<f32>(
                    subgroupBroadcast(a.w, 0u),
                    subgroupBroadcast(a.w, 1u),
                    subgroupBroadcast(a.w, 2u),
                    subgroupBroadcast(a.w, 3u),
                );
                s = Four(s.a + r * p.w, s.b + r * q.w, s.c + r * u.w, s.d + r * v.w);
            }
            {
                let r = vec4<f32>(
                    subgroupBroadcast(b.w, HELD - 4u + 0u),
                    subgroupBroadcast(b.w, HELD - 4u + 1u),
                    subgroupBroadcast(b.w, HELD - 4u + 2u),
                    subgroupBroadcast(b.w, HELD - 4u + 3u),
                );
                t = Four(t.a + r * p.w, t.b + r * q.w, t.c + r * u.w, t.d + r * v.w);
            }
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
            s.a += subgroupBroadcast(a.x, 0u) * p
                + subgroupBroadcast(a.y, 0u) * q
                + subgroupBroadcast(a.z, 0u) * u
                + subgroupBroadcast(a.w, 0u) * v;
            s.b += subgroupBroadcast(a.x, 1u) * p
                + subgroupBroadcast(a.y, 1u) * q
                + subgroupBroadcast(a.z, 1u) * u
                + subgroupBroadcast(a.w, 1u) * v;
            s.c += subgroupBroadcast(a.x, 2u) * p
                + subgroupBroadcast(a.y, 2u) * q
                + subgroupBroadcast(a.z, 2u) * u
                + subgroupBroadcast(a.w, 2u) * v;
            s.d += subgroupBroadcast(a.x, 3u) * p
                + subgroupBroadcast(a.y, 3u) * q
                + subgroupBroadcast(a.z, 3u) * u
                + subgroupBroadcast(a.w, 3u) * v;
            t.a += subgroupBroadcast(b.x, HELD - 4u + 0u) * p
                + subgroupBroadcast(b.y, HELD - 4u + 0u) * q
                + subgroupBroadcast(b.z, HELD - 4u + 0u) * u
                + subgroupBroadcast(b.w, HELD - 4u + 0u) * v;
            t.b += subgroupBroadcast(b.x, HELD - 4u + 1u) * p
                + subgroupBroadcast(b.y, HELD - 4u + 1u) * q
                + subgroupBroadcast(b.z, HELD - 4u + 1u) * u
                + subgroupBroadcast(b.w, HELD - 4u + 1u) * v;
            t.c += subgroupBroadcast(b.x, HELD - 4u + 2u) * p
                + subgroupBroadcast(b.y, HELD - 4u + 2u) * q
                + subgroupBroadcast(b.z, HELD - 4u + 2u) * u
                + subgroupBroadcast(b.w, HELD - 4u + 2u) * v;
            t.d += subgroupBroadcast(b.x, HELD - 4u + 3u) * p
                + subgroupBroadcast(b.y, HELD - 4u + 3u) * q
                + subgroupBroadcast(b.z, HELD - 4u + 3u) * u
                + subgroupBroadcast(b.w, HELD - 4u + 3u) * v;
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
