// The parameters of HCAL's vectors, products and losses.
// Mirrors: `HcalParams` and its parts in src/kernels/hcal/params.rs, which says what each field is.
// provides: HcalParams, params (binding 0)
// expects:  View

struct LevelParams {
    number: u32,
    classes: u32,
    at: u32,
    row_quads: u32,
}

struct WindowParams {
    first_row: u32,
    row_count: u32,
    first_class: u32,
    class_count: u32,
}

struct Places {
    feature_lengths: u32,
    prototype_lengths: u32,
    losses: u32,
    weights: u32,
}

struct Mode {
    chunks: u32,
    add: u32,
    plain: u32,
    tree: u32,
}

struct HcalParams {
    features: View,
    prototypes: View,
    noise: View,
    result: View,
    level: LevelParams,
    window: WindowParams,
    places: Places,
    mode: Mode,
    begin: u32,
    end: u32,
    groups_x: u32,
    records: u32,
    want_gradient: u32,
    vectors_row: u32,
    vector_blocks: u32,
    add_rows: u32,
    samples: u32,
    slots: u32,
    dim: u32,
    quads: u32,
    levels: u32,
    scale: f32,
    epsilon: f32,
    nan: u32,
}

@group(0) @binding(0) var<uniform> params: HcalParams;
