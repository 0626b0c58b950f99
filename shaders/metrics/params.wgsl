// What all kernels of the metrics share: parameters, what is kept of the rows of a window, and the words of the caller.
// Everything that is added is a whole number, so that no order of adding changes a sum.
// Mirrors: `MetricsParams` in src/kernels/metrics.rs, which says what each field is.
// provides: MetricsParams, params (binding 0), list (binding 3), sorted (binding 4), counts (binding 5), state (binding 6),
//           words (binding 7), left_out, positives_of, labels_of
// expects:  View, the ROW_ constants

struct MetricsParams {
    logits: View,
    targets: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    rows: u32,
    cols: u32,
    room: u32,
    portions: u32,
    first_slab: u32,
    end_slab: u32,
    threshold: u32,
    words_at: u32,
    top: u32,
    marked: u32,
}

@group(0) @binding(0) var<uniform> params: MetricsParams;
// Of each row, key and label of its positives as they were met, `room` places a row.
@group(0) @binding(3) var<storage, read_write> list: array<vec2<u32>>;
// The same, each slab of them in order of rank.
@group(0) @binding(4) var<storage, read_write> sorted: array<vec2<u32>>;
// Of each sorted place, how many negatives rank there or level, how many positives, and how many labels just before it.
@group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>>;
// Of each row, ROW_WORDS words.
@group(0) @binding(6) var<storage, read_write> state: array<atomic<u32>>;
@group(0) @binding(7) var<storage, read_write> words: array<atomic<u32>>;

fn left_out(row: u32) -> bool {
    return atomicLoad(&state[row * ROW_WORDS + ROW_LEFT_OUT]) != 0u;
}

// Labels of a row that count.
fn labels_of(row: u32) -> u32 {
    if (params.marked == 0u) {
        return params.cols;
    }
    return atomicLoad(&state[row * ROW_WORDS + ROW_LABELS]);
}

// Positives of a row, none of one that is left out.
fn positives_of(row: u32) -> u32 {
    return select(atomicLoad(&state[row * ROW_WORDS + ROW_POSITIVES]), 0u, left_out(row));
}
