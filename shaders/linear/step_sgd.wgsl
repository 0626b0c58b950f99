// How far a step goes: the rate.
// provides: step_size
// expects:  params

fn step_size(row: u32, lane: u32, group: vec3<u32>) -> f32 {
    return params.rate;
}
