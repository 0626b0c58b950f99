// The first look at the labels: which are positive, how many are predicted, whether there is a NaN. A lane has a portion of
// a row; neighbouring lanes read neighbouring labels.
//
// Grid: blocks of portions `begin` to `end` of a window, those of one row after those of another; folded.
// provides: collect
// expects:  WG, group_index, best, the ROW_ constants, metrics/params.wgsl, key_of, positive,
//           counts_in

@compute @workgroup_size(WG)
fn collect(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let unit = params.begin + group_index(group) * WG + lane;
    if (unit >= params.end) {
        return;
    }
    let row = unit / params.portions;
    let of_row = row * ROW_WORDS;
    let threshold = order_key(params.threshold);
    var predicted = 0u;
    var hits = 0u;
    var nans = 0u;
    for (var col = unit % params.portions; col < params.cols; col += params.portions) {
        if (!counts_in(row, col)) {
            continue;
        }
        let key = key_of(row, col);
        let is_predicted = u32(key > threshold);
        nans += u32(key == NAN_KEY);
        predicted += is_predicted;
        if (positive(row, col)) {
            hits += is_predicted;
            // In whatever order lanes come: the list is sorted before it is read.
            let place = atomicAdd(&state[of_row + ROW_POSITIVES], 1u);
            list[row * params.room + place] = vec2<u32>(key, col);
        }
    }
    if (predicted > 0u) {
        atomicAdd(&state[of_row + ROW_PREDICTED], predicted);
    }
    if (hits > 0u) {
        atomicAdd(&state[of_row + ROW_HITS], hits);
    }
    if (nans > 0u) {
        atomicAdd(&state[of_row + ROW_LEFT_OUT], nans);
    }
}
