// The entry point of the sums over keys where a workgroup has eight anchors.
//
// Grid: one workgroup for eight anchors, folded.
// provides: the entry points
// expects:  params, WG, SUM_FIELDS, Acc, sweep, lifted, field, fold

var<workgroup> wg_lanes: array<vec4<f32>, WG>;
var<workgroup> wg_all: array<vec4<f32>, SUM_FIELDS>;

// The maximum over the workgroup, in all lanes. All lanes must call it.
fn greatest(value: vec4<f32>, lane: u32) -> vec4<f32> {
    // What was there has been read.
    workgroupBarrier();
    wg_lanes[lane] = value;
    // Every lane's value is there before they are compared.
    workgroupBarrier();
    for (var reach = WG / 2u; reach > 0u; reach /= 2u) {
        if (lane < reach) {
            wg_lanes[lane] = max(wg_lanes[lane], wg_lanes[lane + reach]);
        }
        // A level is complete before the next reads it.
        workgroupBarrier();
    }
    return wg_lanes[0];
}

// The sums of all lanes. All lanes must call it.
fn gathered(acc: Acc, lane: u32) -> Acc {
    let top = greatest(acc.largest, lane);
    let mine = lifted(acc, top);
    for (var i = 1u; i < SUM_FIELDS; i++) {
        // What was there has been read.
        workgroupBarrier();
        wg_lanes[lane] = field(mine, i);
        // Every lane's value is there before they are added.
        workgroupBarrier();
        for (var reach = WG / 2u; reach > 0u; reach /= 2u) {
            if (lane < reach) {
                wg_lanes[lane] += wg_lanes[lane + reach];
            }
            // A level is complete before the next reads it.
            workgroupBarrier();
        }
        if (lane == 0u) {
            wg_all[i] = wg_lanes[0];
        }
    }
    // The last sum is there.
    workgroupBarrier();
    return Acc(top, wg_all[1], wg_all[2], wg_all[3], wg_all[4], wg_all[5], wg_all[6], wg_all[7]);
}

@compute @workgroup_size(WG)
fn pairs(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    if (number >= params.grid.groups) {
        return;
    }
    let sums = sweep(2u * number, lane, WG);
    let low = gathered(sums.low, lane);
    let high = gathered(sums.high, lane);
    if (lane == 0u) {
        fold(2u * number, low);
        fold(2u * number + 1u, high);
    }
}
