// The labels of the greatest logits of each sample, tile by tile: of those of the tiles before and of this tile's. A pair of a
// logit's order and a label says where it stands; of equal logits the smaller label is the greater pair.
//
// `top`      chooses: what beats the last of those before is listed, in workgroup memory if it fits, and of list and those
//            before the greatest are found digit by digit, from counts of what has each digit.
// `top_out`  brings them to the caller's tensors.
//
// Grid: `top` a workgroup for each sample of the tile; `top_out` a lane for each place of a sample; folded.
// Invariants: barriers stand outside of conditions, which differ by what the logits are. Counts are sums of ones, whose
//       order does not matter, and what is chosen is put into order at the end.
// Mirrors: `TopParams` in src/kernels/linear/table.rs, which says what each field is.
// provides: TopParams, params (binding 0), class_mask (binding 1), work (binding 6), best (binding 7), top, labels (binding 2),
//           scores (binding 3), top_out
// expects:  WG, MOST (labels that are wanted, at most), LISTED (of a list), group_index, is_nan

struct TopParams {
    rows: u32,
    cols: u32,
    groups_x: u32,
    stride: u32,
    count: u32,
    first_row: u32,
    first_label: u32,
    mask_at: u32,
    labels_at: u32,
    labels_stride: u32,
    scores_at: u32,
    scores_stride: u32,
    nan: u32,
}

@group(0) @binding(0) var<uniform> params: TopParams;
@group(0) @binding(1) var<storage, read_write> class_mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<u32>;
@group(0) @binding(6) var<storage, read_write> work: array<u32>;
@group(0) @binding(7) var<storage, read_write> best: array<vec2<u32>>;

const NO_LABEL = 0xffffffffu;
// Orders of what is no label, and of a NaN; that of -inf is greater.
const NONE = 0u;
const LEAST = 1u;

var<workgroup> wg_before: array<vec2<u32>, MOST>;
var<workgroup> wg_list: array<vec2<u32>, LISTED>;
var<workgroup> wg_chosen: array<vec2<u32>, MOST>;
var<workgroup> wg_counts: array<atomic<u32>, 256>;
// Of the list, and of what is chosen.
var<workgroup> wg_listed: atomic<u32>;
var<workgroup> wg_taken: atomic<u32>;
// Of the list, once it is whole.
var<workgroup> wg_length: u32;

// A number that is the greater the greater the logit; both zeros have the same.
fn order_of(bits: u32) -> u32 {
    if (is_nan(bits)) {
        return LEAST;
    }
    let plain = select(bits, 0u, bits == 0x80000000u);
    return select(plain | 0x80000000u, ~plain, (plain & 0x80000000u) != 0u);
}

fn bits_of(order: u32) -> u32 {
    if (order <= LEAST) {
        return select(params.nan, 0xff800000u, order == NONE);
    }
    return select(~order, order & 0x7fffffffu, (order & 0x80000000u) != 0u);
}

// The pair of a label of the tile.
fn pair_at(row: u32, col: u32) -> vec2<u32> {
    if (params.mask_at != NO_LABEL) {
        let i = params.mask_at + col;
        if (((class_mask[i / 4u] >> ((i & 3u) * 8u)) & 0xffu) == 0u) {
            return vec2<u32>(NONE, NO_LABEL);
        }
    }
    return vec2<u32>(order_of(work[row * params.stride + col]), params.first_label + col);
}

fn greater(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x > b.x || (a.x == b.x && a.y < b.y);
}

// The i-th pair of the list, or where that has no room for all, of the tile: none where the last of those before is greater.
fn candidate(row: u32, i: u32, listed: u32, last: vec2<u32>) -> vec2<u32> {
    if (listed <= LISTED) {
        return wg_list[i];
    }
    let pair = pair_at(row, i);
    return select(vec2<u32>(NONE, NO_LABEL), pair, greater(pair, last));
}

// The digit of a pair, from the greatest on; smaller labels have greater ones.
fn digit_of(pair: vec2<u32>, digit: u32) -> u32 {
    let word = select(~pair.y, pair.x, digit < 4u);
    return (word >> (24u - 8u * (digit & 3u))) & 0xffu;
}

// Whether the digits before one are those of a pair.
fn begins_alike(a: vec2<u32>, b: vec2<u32>, digit: u32) -> bool {
    if (digit == 0u) {
        return true;
    }
    if (digit < 4u) {
        let shift = 32u - 8u * digit;
        return (a.x >> shift) == (b.x >> shift);
    }
    let shift = 32u - 8u * (digit - 4u);
    return a.x == b.x && (digit == 4u || (a.y >> shift) == (b.y >> shift));
}

fn with_digit(pair: vec2<u32>, digit: u32, value: u32) -> vec2<u32> {
    let shift = 24u - 8u * (digit & 3u);
    if (digit < 4u) {
        return vec2<u32>(pair.x | (value << shift), pair.y);
    }
    return vec2<u32>(pair.x, pair.y & ~(value << shift));
}

fn count_digit(pair: vec2<u32>, found: vec2<u32>, digit: u32) {
    if (pair.x != NONE && begins_alike(pair, found, digit)) {
        atomicAdd(&wg_counts[digit_of(pair, digit)], 1u);
    }
}

fn take(pair: vec2<u32>, found: vec2<u32>) {
    if (pair.x != NONE && !greater(found, pair)) {
        let slot = atomicAdd(&wg_taken, 1u);
        wg_chosen[min(slot, MOST - 1u)] = pair;
    }
}

// The pairs of the list, or where that has no room for all, of the tile.
fn candidates_of(listed: u32) -> u32 {
    return select(params.cols, listed, listed <= LISTED);
}

// The least pair that is chosen, of which some digits are known: those not known yet are the least there are. `wanted` of
// those that begin like it are chosen.
struct Least {
    pair: vec2<u32>,
    wanted: u32,
}

// The same with the next digit. All lanes must call it.
fn next_digit(least: Least, digit: u32, lane: u32, row: u32, listed: u32, last: vec2<u32>) -> Least {
    for (var i = lane; i < 256u; i += WG) {
        atomicStore(&wg_counts[i], 0u);
    }
    // Nothing is counted.
    workgroupBarrier();
    for (var i = lane; i < params.count; i += WG) {
        count_digit(wg_before[i], least.pair, digit);
    }
    let candidates = candidates_of(listed);
    for (var i = lane; i < candidates; i += WG) {
        count_digit(candidate(row, i, listed, last), least.pair, digit);
    }
    // Everything is counted.
    workgroupBarrier();
    // The digit at which there are enough; 0 where there never are.
    var wanted = least.wanted;
    var value = 255u;
    for (; value > 0u; value--) {
        let here = atomicLoad(&wg_counts[value]);
        if (here >= wanted) {
            break;
        }
        wanted -= here;
    }
    // The counts have been read.
    workgroupBarrier();
    return Least(with_digit(least.pair, digit, value), wanted);
}

@compute @workgroup_size(WG)
fn top(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group_index(group);
    if (row >= params.rows) {
        return;
    }
    let place = (params.first_row + row) * params.count;
    let begun = params.first_label > 0u;
    for (var i = lane; i < params.count; i += WG) {
        wg_before[i] = select(vec2<u32>(NONE, NO_LABEL), best[place + i], begun);
    }
    if (lane == 0u) {
        atomicStore(&wg_listed, 0u);
        atomicStore(&wg_taken, 0u);
    }
    // Those before are there, and nothing is listed.
    workgroupBarrier();
    let last = wg_before[params.count - 1u];
    for (var col = lane; col < params.cols; col += WG) {
        let pair = pair_at(row, col);
        if (greater(pair, last) && pair.x != NONE) {
            let slot = atomicAdd(&wg_listed, 1u);
            if (slot < LISTED) {
                wg_list[slot] = pair;
            }
        }
    }
    // The list is whole.
    workgroupBarrier();
    // It bounds loops before barriers, and what comes of an atomic is another value in each lane to Direct3D's FXC.
    if (lane == 0u) {
        wg_length = atomicLoad(&wg_listed);
    }
    let listed = workgroupUniformLoad(&wg_length);
    // One call after the other, in no loop: FXC takes barriers in one that has loops by lane in it for non-uniform.
    var least = Least(vec2<u32>(0u, NO_LABEL), params.count);
    least = next_digit(least, 0u, lane, row, listed, last);
    least = next_digit(least, 1u, lane, row, listed, last);
    least = next_digit(least, 2u, lane, row, listed, last);
    least = next_digit(least, 3u, lane, row, listed, last);
    least = next_digit(least, 4u, lane, row, listed, last);
    least = next_digit(least, 5u, lane, row, listed, last);
    least = next_digit(least, 6u, lane, row, listed, last);
    least = next_digit(least, 7u, lane, row, listed, last);
    let found = least.pair;
    let candidates = candidates_of(listed);
    for (var i = lane; i < params.count; i += WG) {
        take(wg_before[i], found);
    }
    for (var i = lane; i < candidates; i += WG) {
        take(candidate(row, i, listed, last), found);
    }
    // All are chosen.
    workgroupBarrier();
    let taken = min(atomicLoad(&wg_taken), params.count);
    for (var i = lane; i < params.count; i += WG) {
        if (i >= taken) {
            best[place + i] = vec2<u32>(NONE, NO_LABEL);
        } else {
            let pair = wg_chosen[i];
            var rank = 0u;
            for (var j = 0u; j < taken; j++) {
                rank += select(0u, 1u, greater(wg_chosen[j], pair));
            }
            best[place + rank] = pair;
        }
    }
}

@compute @workgroup_size(WG)
fn top_out(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group_index(group) * WG + lane;
    let row = number / params.count;
    if (row >= params.rows) {
        return;
    }
    let pair = best[number];
    let i = number % params.count;
    labels[params.labels_at + row * params.labels_stride + i] = pair.y;
    scores[params.scores_at + row * params.scores_stride + i] = bits_of(pair.x);
}
