// The second look at the labels: where each ranks among its row's positives, slab by slab. It is counted at the first
// positive that it reaches, and `ranks` adds up what was counted before a positive: no lane looks at all pairs.
//
// Grid: blocks of portions `begin` to `end` of a window, as in `collect`, for slabs `first_slab` to `end_slab` of every
// row; folded.
// provides: scan
// expects:  WG, SLAB, group_index, metrics/params.wgsl, key_of, positive, counts_in

// Of the sorted places `first` to `end`, the first that does not rank before this key and label.
fn place_of(first: u32, end: u32, key: u32, label: u32) -> u32 {
    var low = first;
    var high = end;
    while (low < high) {
        let middle = (low + high) / 2u;
        let there = sorted[middle];
        let is_before = there.x > key || (there.x == key && there.y < label);
        low = select(low, middle + 1u, is_before);
        high = select(middle, high, is_before);
    }
    return low;
}

@compute @workgroup_size(WG)
fn scan(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let unit = params.begin + group_index(group) * WG + lane;
    if (unit >= params.end) {
        return;
    }
    let row = unit / params.portions;
    let places = row * params.room;
    let positives = positives_of(row);
    let last = min(positives, params.end_slab * SLAB);
    if (params.first_slab * SLAB >= last) {
        return;
    }
    for (var col = unit % params.portions; col < params.cols; col += params.portions) {
        if (!counts_in(row, col)) {
            continue;
        }
        let key = key_of(row, col);
        let kind = u32(positive(row, col));
        for (var slab = params.first_slab * SLAB; slab < last; slab += SLAB) {
            let end = places + min(slab + SLAB, last);
            // All that tie are reached, whatever their numbers.
            let level = place_of(places + slab, end, key, 0u);
            if (level < end) {
                atomicAdd(&counts[3u * level + kind], 1u);
                // Those behind this label, which may be a positive itself.
                let behind = place_of(level, end, key, col + 1u);
                if (behind < end) {
                    atomicAdd(&counts[3u * behind + 2u], 1u);
                }
            }
        }
    }
}
