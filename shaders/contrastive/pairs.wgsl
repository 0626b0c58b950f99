// Sweeps the keys of a chunk for a block of anchors and leaves, for each anchor, the chunk's maximum and sums.
//
// Grid: blocks of BLOCK_ROWS anchors x chunks of keys, folded. The chunks of an anchor are added by merge.wgsl, in
// order. A workgroup keeps its sums in registers, a lane those of four anchors and every COL_LANES-th four keys.
// Mirrors: src/kernels/contrastive/params.rs, which says what the sums are.
// provides: the entry points
// expects:  params, WG, ROW_LANES, BLOCK_ROWS, BLOCK_COLS, LANE_SIDE, PAIRED, the numbers of sums, the names of
//           block.wgsl, sets.wgsl, similarity.wgsl, weights.wgsl

// Over some keys of four anchors, relative to `largest`, the greatest logit s + bias: the sum of exponentials; the
// weights; the weighted sums of largest - s - shift and of largest - s; the sum of exponentials times largest - s;
// the number of positives; keys that are not sound.
struct Acc {
    largest: vec4<f32>,
    sum: vec4<f32>,
    weight: vec4<f32>,
    loss: vec4<f32>,
    lead: vec4<f32>,
    tilt: vec4<f32>,
    count: vec4<f32>,
    unsound: vec4<f32>,
}

var<workgroup> wg_lanes: array<vec4<f32>, WG>;

// The same sums relative to a greater maximum.
fn lifted(acc: Acc, largest: vec4<f32>) -> Acc {
    // Huge where there was nothing; what it is multiplied with is 0 then.
    let grown = largest - acc.largest;
    let keep = exp(max(-grown, vec4<f32>(-110.0)));
    var next = acc;
    next.largest = largest;
    next.sum = acc.sum * keep;
    next.loss = acc.loss + acc.weight * grown;
    next.lead = acc.lead + acc.weight * grown;
    next.tilt = (acc.tilt + acc.sum * grown) * keep;
    return next;
}

// One more key of each anchor, where it counts.
fn absorb(acc: Acc, product: vec4<f32>, pair: Weights, counts: vec4<bool>, unsound: vec4<bool>) -> Acc {
    let none = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    let scaled = product * params.settings.inv_temperature;
    // By bits: what is beyond 1e30 may be infinite or NaN.
    let wild = (bitcast<vec4<u32>>(scaled) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7149f2cau);
    let s = select(scaled, none, wild);
    let logit = s + pair.bias;
    let weight = select(none, pair.weight, counts);
    var next = lifted(acc, select(acc.largest, max(acc.largest, logit), counts));
    let below = next.largest - s;
    let e = select(none, exp(clamp(logit - next.largest, vec4<f32>(-110.0), none)), counts);
    next.sum += e;
    next.weight += weight;
    next.loss += weight * (below - pair.shift);
    next.lead += weight * below;
    next.tilt += e * below;
    next.count += select(none, one, weight > none);
    next.unsound += select(none, one, counts & (unsound | wild));
    return next;
}

// One of the sums, by its place in `work`.
fn field(acc: Acc, i: u32) -> vec4<f32> {
    switch i {
        case SUM_EXPONENTIALS: {
            return acc.sum;
        }
        case SUM_WEIGHTS: {
            return acc.weight;
        }
        case SUM_LOSS: {
            return acc.loss;
        }
        case SUM_LEAD: {
            return acc.lead;
        }
        case SUM_TILT: {
            return acc.tilt;
        }
        case SUM_COUNT: {
            return acc.count;
        }
        default: {
            return acc.unsound;
        }
    }
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
    let first_row = number / params.chunks.count * BLOCK_ROWS;
    let chunk = number % params.chunks.count;
    let row = first_row + LANE_SIDE * (lane % ROW_LANES);
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let rows = min(vec4<u32>(row) + four, vec4<u32>(params.own.rows - 1u));
    let anchors = rows + vec4<u32>(params.own.first);
    let anchor_sizes = vec4<u32>(
        small[params.own.sizes + anchors.x],
        small[params.own.sizes + anchors.y],
        small[params.own.sizes + anchors.z],
        small[params.own.sizes + anchors.w],
    );
    let own = vec4<u32>(
        itself_of(anchors.x),
        itself_of(anchors.y),
        itself_of(anchors.z),
        itself_of(anchors.w),
    );
    let paired = vec4<bool>(params.settings.weighting == PAIRED);
    var acc = Acc();
    acc.largest = vec4<f32>(FAR);
    let tiles = (params.other.rows + BLOCK_COLS - 1u) / BLOCK_COLS;
    let end = min((chunk + 1u) * params.chunks.blocks, tiles);
    for (var tile = chunk * params.chunks.blocks; tile < end; tile++) {
        let block = products(lane, first_row, tile * BLOCK_COLS);
        let col = tile * BLOCK_COLS + LANE_SIDE * (lane / ROW_LANES);
        let cols = min(vec4<u32>(col) + four, vec4<u32>(params.other.rows - 1u));
        let n = shared_labels(rows, cols);
        for (var j = 0u; j < params.roles.side; j++) {
            let key = params.other.first + min(col + j, params.other.rows - 1u);
            let size = small[params.other.sizes + key];
            let same = own == vec4<u32>(key);
            let counts = vec4<bool>(col + j < params.other.rows) & (!same | paired);
            let terms = label_terms(OWN, rows, key - params.other.first);
            let sizes = anchor_sizes & vec4<u32>(~UNSOUND);
            let pair = weights(shared_column(n, j), sizes, vec4<u32>(size & ~UNSOUND), same, terms);
            let unsound = ((anchor_sizes | vec4<u32>(size)) & vec4<u32>(UNSOUND)) != vec4<u32>(0u);
            acc = absorb(acc, block_column(block, j), pair, counts, unsound);
        }
    }

    // The lanes of a row agree on a maximum, then their sums add up.
    workgroupBarrier();
    wg_lanes[lane] = acc.largest;
    // Every lane's maximum is there before they are compared.
    workgroupBarrier();
    var largest = vec4<f32>(FAR);
    for (var i = lane % ROW_LANES; i < WG; i += ROW_LANES) {
        largest = max(largest, wg_lanes[i]);
    }
    acc = lifted(acc, largest);
    let stride = params.work.sum_stride;
    let place = (params.chunks.first + chunk) * SUM_FIELDS * stride + row / 4u;
    let writes = lane < ROW_LANES && row < params.own.rows;
    if (writes) {
        work[place] = largest;
    }
    for (var i = 1u; i < params.work.sum_fields; i++) {
        // What was there has been read.
        workgroupBarrier();
        wg_lanes[lane] = field(acc, i);
        // Every lane's value is there before they are added.
        workgroupBarrier();
        if (writes) {
            var sum = vec4<f32>(0.0);
            for (var at = lane; at < WG; at += ROW_LANES) {
                sum += wg_lanes[at];
            }
            work[place + i * stride] = sum;
        }
    }
}
