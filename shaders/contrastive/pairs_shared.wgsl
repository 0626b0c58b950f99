// The entry point of the sums over keys where a workgroup has eight anchors.
//
// Grid: one workgroup for eight anchors, folded.
// provides: the entry points
// expects:  params, WG, SUM_FIELDS, Acc, Sums, sweep, lifted, field, fold

// Of four anchors or of all eight, as many as workgroup memory has room for.
const AT_ONCE = select(1u, 2u, WG <= 256u);

var<workgroup> wg_lanes: array<vec4<f32>, AT_ONCE * WG>;
// One sum after the other, of the first and of the second four anchors.
var<workgroup> wg_all: array<vec4<f32>, 2u * SUM_FIELDS>;

fn merged(a: vec4<f32>, b: vec4<f32>, largest: bool) -> vec4<f32> {
    return select(a + b, max(a, b), largest);
}

// Brings what each lane has put into `wg_lanes` together, four numbers at a time: few levels, each of which waits for all
// lanes. All lanes must call it.
fn brought_together(lane: u32, largest: bool) {
    for (var width = WG; width > 1u; width = max(width / 4u, 1u)) {
        // A level is complete before the next reads it.
        workgroupBarrier();
        let reach = max(width / 4u, 1u);
        if (lane < AT_ONCE * reach) {
            let at = lane / reach * WG + lane % reach;
            var all = merged(wg_lanes[at], wg_lanes[at + reach], largest);
            // Two or four, in no loop: Direct3D's FXC takes barriers around one under such a condition for non-uniform.
            if (width > 2u * reach) {
                all = merged(all, wg_lanes[at + 2u * reach], largest);
                all = merged(all, wg_lanes[at + 3u * reach], largest);
            }
            wg_lanes[at] = all;
        }
    }
}

// The sums of all lanes, in `wg_all`. All lanes must call it.
fn gather(sums: Sums, lane: u32) {
    var mine = sums;
    for (var i = 0u; i < SUM_FIELDS; i++) {
        for (var side = 0u; side < 2u; side += AT_ONCE) {
            // What was there has been read.
            workgroupBarrier();
            if (AT_ONCE == 2u) {
                wg_lanes[lane] = field(mine.low, i);
                wg_lanes[AT_ONCE * WG - WG + lane] = field(mine.high, i);
            } else {
                wg_lanes[lane] = select(field(mine.high, i), field(mine.low, i), side == 0u);
            }
            brought_together(lane, i == SUM_LARGEST);
            if (lane < AT_ONCE) {
                wg_all[2u * i + side + lane] = wg_lanes[lane * WG];
            }
        }
        if (i == SUM_LARGEST) {
            // All lanes' sums are relative to the greatest maximum before they are added.
            workgroupBarrier();
            mine.low = lifted(mine.low, wg_all[2u * i]);
            mine.high = lifted(mine.high, wg_all[2u * i + 1u]);
        }
    }
    // The last sum is there.
    workgroupBarrier();
}

// The sums of the first or of the second four anchors.
fn gathered(side: u32) -> Acc {
    return Acc(
        wg_all[2u * SUM_LARGEST + side],
        wg_all[2u * SUM_EXPONENTIALS + side],
        wg_all[2u * SUM_WEIGHTS + side],
        wg_all[2u * SUM_LOSS + side],
        wg_all[2u * SUM_LEAD + side],
        wg_all[2u * SUM_TILT + side],
        wg_all[2u * SUM_COUNT + side],
        wg_all[2u * SUM_UNSOUND + side],
    );
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
    gather(sweep(2u * number, lane, WG), lane);
    if (lane < 2u) {
        fold(2u * number + lane, gathered(lane));
    }
}
