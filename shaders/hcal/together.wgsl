// The lanes of a workgroup share a vector.
// provides: Part, part_of, part_sum, part_best
// expects:  WG, Best of best.wgsl, group_best, params of hcal/params.wgsl, group_index,
//           Lane, Group, group_sum of lanes_tree.wgsl

// What a lane does of a vector.
struct Part {
    own: u32,         // the vector's number
    start: u32,       // quads from here on, in steps
    step: u32,
    here: bool,       // whether there is a vector
    leads: bool,      // whether the lane writes what is found
}

fn part_of(lane: u32, group: vec3<u32>) -> Part {
    let number = params.begin + group_index(group);
    let here = number < params.end;
    return Part(min(number, params.end - 1u), lane, WG, here, here && lane == 0u);
}

// The sum over the lanes that share a vector, in all of them. All must call it.
fn part_sum(lane: u32, group: vec3<u32>, value: f32) -> f32 {
    return group_sum(Lane(lane), Group(group), vec2<f32>(value, 0.0)).x;
}

// The same of the best.
fn part_best(lane: u32, own: Best) -> Best {
    return group_best(lane, own);
}
