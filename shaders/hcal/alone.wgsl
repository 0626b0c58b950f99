// A lane has a vector to itself: for many short vectors, and for drivers on which barriers cost more than all else.
// provides: Part, part_of, part_sum, part_best
// expects:  WG, Best of best.wgsl, params of hcal/params.wgsl, group_index

// What a lane does of a vector.
struct Part {
    own: u32,         // the vector's number
    start: u32,       // quads from here on, in steps
    step: u32,
    here: bool,       // whether there is a vector
    leads: bool,      // whether the lane writes what is found
}

fn part_of(lane: u32, group: vec3<u32>) -> Part {
    let number = params.begin + group_index(group) * WG + lane;
    let here = number < params.end;
    return Part(min(number, params.end - 1u), 0u, 1u, here, here);
}

fn part_sum(lane: u32, group: vec3<u32>, value: f32) -> f32 {
    return value;
}

fn part_best(lane: u32, own: Best) -> Best {
    return own;
}
