// What is read of four targets.
// provides: Target, flags, reals
// expects:  math

struct Target {
    label: vec4<f32>,      // finite, or +-HUGE
    bad: vec4<bool>,       // a NaN
}

fn flags(there: vec4<bool>) -> Target {
    return Target(select(vec4<f32>(0.0), vec4<f32>(1.0), there), vec4<bool>(false));
}

// From f32 bit patterns.
fn reals(bits: vec4<u32>) -> Target {
    return Target(finite4(bits), is_nan4(bits));
}
