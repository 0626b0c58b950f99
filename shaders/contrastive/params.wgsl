// Sizes, places and settings of one dispatch of the contrastive losses. A dispatch looks at pairs of an own row and
// another row: own rows are what it has a result for, the others what it sums over. Both are ranges of the anchors
// or of the keys.
// Mirrors: src/kernels/contrastive/params.rs, which says what the numbers stand for.
// provides: PairGrid, PairChunks, PairSide, PairRow, PairRoles, PairRecord, PairWork, PairSettings, PairSource,
//           PairEnds, PairParams, params (binding 0), FAR, UNSOUND
// expects:  nothing

// Where a running maximum of similarities starts; similarities beyond its size are not computed with.
const FAR = -1e30f;
// Beside a set's size: the row of `z` has a value that is not finite.
const UNSOUND = 0x80000000u;

// Rows of z count vectors of four, label sets words, everything else elements.

// Which part of the work each workgroup does.
struct PairGrid {
    groups: u32,            // workgroups with work; those beyond (the grid is folded) return
    groups_x: u32,          // workgroups in x
    row_blocks: u32,        // `slopes`, `project_slopes`: blocks of own rows
    add: u32,               // 1: results are added to what is there
}

// The chunks of keys that workgroups share an anchor by.
struct PairChunks {
    count: u32,             // chunks of this dispatch: workgroups that share a block of own rows
    blocks: u32,            // blocks of other rows in each
    first: u32,             // chunks of the dispatches before this one
    all: u32,               // `merge`: chunks of all dispatches
}

// Some rows of a side of the pairs, and where they are.
struct PairSide {
    rows: u32,              // how many rows
    first: u32,             // rows before them, among all of the side
    z: u32,                 // the first of them in `z`
    sets: u32,              // the first of them in `sets`
    stride: u32,            // words from one set to the next
    sizes: u32,             // in `small`, of all rows of the side: sizes of the sets, with UNSOUND
    norms: u32,             // in `small`, of all rows: one over the norm, 0 where there is no gradient
    split: u32,             // 1: the rows are in `z2` and `sets2` instead; other rows only
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
    itself: u32,            // which key an anchor is: SAME_NUMBER, FROM_INDEX or NO_KEY
    itself_at: u32,         // where its number is in `itself_index`
    direction: u32,         // OWN_ANCHORS, OTHER_ANCHORS or both
    side: u32,              // LANE_SIDE, which a compiler may not see either
}

// Places in `small`.
struct PairRecord {
    counts: u32,            // keys with each label
    at: u32,                // what is known of each anchor: RECORD_FIELDS arrays
    stride: u32,            // each of so many words
    unsound: u32,           // whether anything is not finite
}

// Places in `work`, in vectors. The sums of the chunks begin it, or a tile of slopes.
struct PairWork {
    sum_stride: u32,        // from one sum of a chunk to the next
    sum_fields: u32,        // SUM_FIELDS, which a compiler may not see either
    tile_stride: u32,       // from one other row of a tile to the next
    rows_at: u32,           // the gradient to the tile's own rows
}

// Settings of the loss.
struct PairSettings {
    weighting: u32,         // the rule by which pairs weigh
    divisor: u32,           // what an anchor's weights are divided by
    threshold: f32,         // least similarity of label sets that counts
    inv_temperature: f32,
    normalize: u32,         // 1: rows are divided by their norms
    mean_active: u32,       // 1: the scale is one over the active anchors
    mean_labels: u32,       // 1: one over the labels of all anchors
    scale: f32,             // in all other cases
}

// Rows as they were given.
struct PairSource {
    offset: u32,            // the first embedding in `source`
    stride: u32,            // from one embedding to the next
    form: u32,              // of the label sets: FORM_BITS, FORM_BYTES or FORM_LISTS
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
    nan: u32,               // the bit pattern, which WGSL has no constant for
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
}

@group(0) @binding(0) var<uniform> params: PairParams;
