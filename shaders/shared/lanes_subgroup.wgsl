// The lanes of a workgroup numbered by subgroup, so that neighbours share one.
// provides: Lane, Group, lane_index
// expects:  nothing (device feature SUBGROUP)

// What differs from lane to lane. What does not is in `Group`: browsers take a struct with one non-uniform member for
// non-uniform as a whole, and refuse barriers and shuffles under conditions on it.
struct Lane {
    subgroup: u32,    // number of the subgroup
    index: u32,       // of the lane in it
}

struct Group {
    id: vec3<u32>,    // number of the workgroup
    near: u32,        // lanes of a subgroup
}

fn lane_index(at: Lane, group: Group) -> u32 {
    return at.subgroup * group.near + at.index;
}
