// Sizes, places and settings of one dispatch of the contrastive losses. A dispatch looks at pairs of an own row and
// another row: own rows are what it has a result for, the others what it sums over. Both are ranges of the anchors
// or of the keys.
// Mirrors: src/kernels/contrastive/params.rs, which says what the numbers stand for.
// provides: PairGrid, PairChunks, PairSide, PairRow, PairRoles, PairRecord, PairWork, PairSettings, PairSource,
//           PairEnds, PairParams, params (binding 0), FAR, UNSOUND, LEFT_OUT, SIZE
// expects:  nothing

// Where a running maximum of similarities starts; similarities beyond its size are not computed with.
const FAR = -1e30f;
// Beside a set's size: the row of `z` has a value that is not finite.
const UNSOUND = 0x80000000u;
// The same: the row's mask is 0.
const LEFT_OUT = 0x40000000u;
// What of such a word is the size.
const SIZE = 0x3fffffffu;

// Rows of z, tiles, sums, sets and records count vectors of four, everything else elements. Label sets lie word by word:
// a vector has one word of four rows. Behind the words come the sizes, with UNSOUND or LEFT_OUT, and which key each row is
// itself; behind these, for MulSupCon with an index, the words of that key's set.

// Which part of the work each workgroup does.
struct PairGrid {
    groups: u32,            // workgroups with work; those beyond (the grid is folded) return
    groups_x: u32,          // workgroups in x
    row_blocks: u32,        // blocks of own rows, where a workgroup has a block of a known size
    add: u32,               // 1: results are added to what is there
}

// The chunks of other rows that workgroups share the gradient to a row by.
struct PairChunks {
    count: u32,             // how many; `project`: 0 where nothing has been summed
    rows: u32,              // other rows in each, a multiple of 4
    stride: u32,            // in `sums`, from one chunk's to the next
    at: u32,                // in `sums`, the first own row's of the first chunk
}

// Some rows of a side of the pairs, and where they are.
struct PairSide {
    rows: u32,              // how many rows
    first: u32,             // rows before them, among all of the side; of pairs a multiple of 8
    z: u32,                 // the first of them in `z`
    sets: u32,              // the first word of the first four of them in `sets`
    stride: u32,            // from one word of the sets to the next
    sizes: u32,             // in `small`, of all rows of the side: sizes of the sets, with UNSOUND or LEFT_OUT
    norms: u32,             // in `small`, of all rows: one over the norm, 0 where there is no gradient
    lists: u32,             // in `lists`, the list of the first of them
}

// What rows of both sides have in common.
struct PairRow {
    dims: u32,              // components of an embedding
    depth: u32,             // vectors of a row of `z`, zeros behind the embedding; a multiple of 4
    words: u32,             // of a label set
    stage: u32,             // DEPTH; where a compiler sees the number, it unrolls for seconds
}

// What makes a pair.
struct PairRoles {
    itself: u32,            // which key an anchor is: SAME_NUMBER, FROM_INDEX, FROM_OFFSET or NO_KEY
    itself_at: u32,         // where its number is in `itself_index`; keys before the first anchor's
    both: u32,              // 1: the other row is an anchor too
    mirror: u32,            // what becomes of a tile turned: NOT_TURNED, TURNED_APART or TURNED_IN_PLACE
}

// Places in `small`, and what is known of each anchor in `records`.
struct PairRecord {
    counts: u32,            // in `small`: keys with each label; behind these weights of labels, if any, and of sets
    unsound: u32,           // in `small`: whether anything is not finite; behind it the anchors of a mean, and all labels
    stride: u32,            // in `records`, from one field of all anchors to the next
    lists: u32,             // in `lists`, from one list of words to the next
}

// The tile of pairs in `work`.
struct PairWork {
    stride: u32,            // from one row of it to the next
    row: u32,               // its row that the first own row is; without a tile, rows of the window before the own ones
    mirror_at: u32,         // the tile turned
    mirror_stride: u32,     // from one row of that to the next
}

// Settings of the loss.
struct PairSettings {
    divisor: u32,           // what an anchor's weights are divided by
    threshold: f32,         // least similarity of label sets that counts
    inv_temperature: f32,
    normalize: u32,         // 1: rows are divided by their norms
    mean_active: u32,       // 1: the scale is one over the anchors of `in_mean`
    mean_labels: u32,       // 1: one over the labels of all anchors
    scale: f32,             // in all other cases
    nan: u32,               // the bit pattern, which WGSL has no constant for
}

// Rows as they were given.
struct PairSource {
    offset: u32,            // the first embedding in `source`; the first of `mask`, or of `label_weight`
    stride: u32,            // from one embedding to the next
    form: u32,              // of the label sets: FORM_BITS, FORM_BYTES, FORM_INTEGERS or FORM_LISTS
    labels_offset: u32,     // the first of `labels`
    labels_stride: u32,     // from one row of `labels` to the next
    labels: u32,            // how many labels there are
    indices_offset: u32,    // the first of `indices`
    indices_len: u32,       // how many indices there are
}

// The tensors that there are at the end, and where they begin.
struct PairEnds {
    want_each: u32,         // the anchors' losses: WANT_PER_ANCHOR, or 0
    want_loss: u32,         // the loss: WANT_ONE, WANT_PER_ANCHOR, or 0
    want_upstream: u32,     // the gradient to it: the same
    want_temperature: u32,  // the gradient to the temperature, in `grad`: WANT_ONE, or 0
    each_at: u32,
    loss_at: u32,
    upstream_at: u32,
    temperature_at: u32,
}

struct PairParams {
    grid: PairGrid,
    chunks: PairChunks,
    own: PairSide,          // the rows that the dispatch has results for
    other: PairSide,        // the rows that it sums over
    row: PairRow,
    roles: PairRoles,
    record: PairRecord,
    work: PairWork,
    settings: PairSettings,
    source: PairSource,
    ends: PairEnds,
    grad_at: u32,           // the first result in `grad` or `relation_counts`
    grad_stride: u32,       // from one row of them to the next
    team: u32,              // 8, the own rows that lanes share; as the stage
    factors: u32,           // in `small`, from the norm of a row to its factor, and from that to its power of two
    bias: f32,              // what stands beside similarities where pairs are judged by themselves
    want_bias: u32,         // the gradient to it, in `grad_bias`: WANT_ONE, or 0
    bias_at: u32,
    code: u32,              // which word of the codes of pairs is filled
}

@group(0) @binding(0) var<uniform> params: PairParams;
