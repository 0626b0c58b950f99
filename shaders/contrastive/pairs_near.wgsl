// The entry point of the sums over keys where a subgroup has eight anchors.
//
// Grid: one subgroup of the smallest size for eight anchors, folded; where subgroups are larger, each has several eights
// in turn.
// provides: the entry points
// expects:  params, WG, Acc, sweep, lifted, fold (device feature SUBGROUP)

fn gathered(acc: Acc, lanes: u32) -> Acc {
    var top = acc.largest;
    for (var d = 1u; d < lanes; d *= 2u) {
        top = max(top, subgroupShuffleXor(top, d));
    }
    var all = lifted(acc, top);
    for (var d = 1u; d < lanes; d *= 2u) {
        all.sum += subgroupShuffleXor(all.sum, d);
        all.weight += subgroupShuffleXor(all.weight, d);
        all.loss += subgroupShuffleXor(all.loss, d);
        all.lead += subgroupShuffleXor(all.lead, d);
        all.tilt += subgroupShuffleXor(all.tilt, d);
        all.count += subgroupShuffleXor(all.count, d);
        all.unsound += subgroupShuffleXor(all.unsound, d);
    }
    return all;
}

@compute @workgroup_size(WG)
fn pairs(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let lanes = min(WG, near);
    let number = group.y * params.grid.groups_x + group.x;
    if (number >= params.grid.groups) {
        return;
    }
    let teams4 = 2u * (WG / lanes);
    for (var first4 = number * teams4; 4u * first4 < params.own.rows; first4 += params.grid.groups * teams4) {
        let row4 = first4 + 2u * subgroup;
        let held = min(row4, (params.own.rows - 1u) / 8u * 2u);
        let sums = sweep(held, index, lanes);
        let low = gathered(sums.low, lanes);
        let high = gathered(sums.high, lanes);
        if (index == 0u && row4 == held) {
            fold(row4, low);
            fold(row4 + 1u, high);
        }
    }
}
