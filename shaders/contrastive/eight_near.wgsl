// A word of eight rows that a subgroup shares: two lanes load it.
// provides: own_eight
// expects:  Eight, own_set (device feature SUBGROUP)

fn own_eight(w: u32, row4: u32, lane: u32) -> Eight {
    let mine = own_set(w, row4 + (lane & 1u));
    return Eight(subgroupBroadcast(mine, 0u), subgroupBroadcast(mine, 1u));
}
