// Sizes, places and settings of one dispatch of the contrastive losses; mirrored by `PairParams` in
// src/kernels/contrastive/plan.rs. A dispatch looks at pairs of an own row and another row: own rows are what it has a
// result for, the others what it sums over. Both are ranges of the anchors or of the keys.
// provides: PairParams, params (binding 0), SIM_DIS, NUMERATOR, BOTH, ALL, MUL_SUP_CON, JACCARD, PAIRED, BY_COUNT, BY_SUM,
//           BY_LABELS, SAME_NUMBER, FROM_INDEX, OWN_ANCHORS, OTHER_ANCHORS, FAR, UNSOUND
// expects:  nothing

// `weighting`; whatever else: SupCon ANY.
const SIM_DIS = 0u;
const NUMERATOR = 1u;
const BOTH = 2u;
const ALL = 4u;
const MUL_SUP_CON = 5u;
const JACCARD = 6u;
const PAIRED = 7u;
// `divisor` of an anchor's weights: the number of its positives, their sum, the number of its labels; else 1.
const BY_COUNT = 0u;
const BY_SUM = 1u;
const BY_LABELS = 2u;
// `itself`: which key the anchor is; else none.
const SAME_NUMBER = 1u;
const FROM_INDEX = 2u;
// `direction`, as bits: who is the anchor of a pair.
const OWN_ANCHORS = 1u;
const OTHER_ANCHORS = 2u;
// Where a running maximum of similarities starts; similarities beyond its size are not computed with.
const FAR = -1e30f;
// Beside a set's size: the row of `z` has a value that is not finite.
const UNSOUND = 0x80000000u;

// Rows of z count vectors of four, label sets words, everything else elements.
struct PairParams {
    rows: u32,              // own rows of this dispatch
    cols: u32,              // other rows of it
    first_row: u32,         // own rows before them
    first_col: u32,         // other rows before them
    groups: u32,            // workgroups with work; those beyond (the grid is folded) return
    groups_x: u32,          // workgroups in x
    chunks: u32,            // workgroups that share a block of own rows
    chunk_tiles: u32,       // tiles of other rows that each takes
    first_chunk: u32,       // chunks of the dispatches before this one
    all_chunks: u32,        // of all dispatches
    row_blocks: u32,        // `slopes`, `spread`: blocks of own rows

    dims: u32,              // of an embedding
    depth: u32,             // vectors of a row of `z`, zeros behind the embedding; a multiple of 4
    words: u32,             // of a label set
    stage: u32,             // DEPTH of block.wgsl and, below, 4: where a compiler sees them, it unrolls for seconds
    four: u32,
    own_z: u32,             // the first own row in `z`, and the first other one in `z` or, where split, in `z2`
    other_z: u32,
    split_z: u32,
    own_sets: u32,          // the same in `sets` and `sets2`
    other_sets: u32,
    split_sets: u32,
    own_stride: u32,        // words from one own set to the next
    other_stride: u32,

    own_sizes: u32,         // places in `small`, of all rows: sizes of the sets (with UNSOUND),
    other_sizes: u32,
    norms: u32,             // one over the norm of own rows, 0 where there is no gradient,
    counts: u32,            // keys with each label,
    record: u32,            // what is known of each anchor: RECORD arrays of record_stride,
    record_stride: u32,
    totals: u32,            // whether anything is not finite
    itself: u32,
    itself_at: u32,         // in `itself_index`

    partial_at: u32,        // places in `work`
    partial_stride: u32,
    tile_at: u32,
    tile_stride: u32,
    sum_at: u32,
    add: u32,               // 1: onto what is there

    weighting: u32,
    divisor: u32,
    direction: u32,
    threshold: f32,
    inv_temperature: f32,
    normalize: u32,
    mean_active: u32,       // 1: the scale is one over the active anchors
    mean_labels: u32,       // 1: one over the labels of all anchors
    scale: f32,             // else

    source_offset: u32,
    source_stride: u32,
    form: u32,              // of the label sets: 0 bits, 1 bytes, 2 sparse
    labels_offset: u32,
    labels_stride: u32,
    labels: u32,
    indices_offset: u32,
    indices_len: u32,

    want_each: u32,         // which tensors there are, and places in them
    want_loss: u32,         // 1: one, 2: one for each anchor
    want_upstream: u32,     // 1: one, 2: one for each anchor
    want_temperature: u32,
    each_at: u32,
    loss_at: u32,
    upstream_at: u32,
    grad_at: u32,
    grad_stride: u32,
    nan: u32,               // the bit pattern, which WGSL has no constant for
}

@group(0) @binding(0) var<uniform> params: PairParams;
