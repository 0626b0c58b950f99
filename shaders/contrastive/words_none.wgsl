// Pairs whose labels do not matter.
// provides: Shared, shared_labels, shared_low, shared_high
// expects:  Four

struct Shared {
    none: f32,
}

fn shared_labels(row4: u32, col4: u32, lane: u32) -> Shared {
    return Shared();
}

fn shared_low(shared_with: Shared) -> Four {
    return Four();
}

fn shared_high(shared_with: Shared) -> Four {
    return Four();
}
