// A word of eight rows, loaded by every lane.
// provides: own_eight
// expects:  Eight, own_set

fn own_eight(w: u32, row4: u32, lane: u32) -> Eight {
    return Eight(own_set(w, row4), own_set(w, row4 + 1u));
}
