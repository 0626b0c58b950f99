// A sum of many numbers in one lane: never more than 64 are added into one place, up to a quarter of a million.
// provides: Nested, nested_none, nested_add, nested_sums, nested_sum
// expects:  nothing

struct Nested {
    small: vec4<f32>,     // of less than 64 terms
    middle: vec4<f32>,    // of less than 64 such
    large: vec4<f32>,
    count: u32,
}

fn nested_none() -> Nested {
    return Nested(vec4<f32>(0.0), vec4<f32>(0.0), vec4<f32>(0.0), 0u);
}

fn nested_add(to: Nested, value: vec4<f32>) -> Nested {
    let count = to.count + 1u;
    let small = to.small + value;
    let full = (count & 63u) == 0u;
    let middle = to.middle + select(vec4<f32>(0.0), small, full);
    let full_middle = (count & 4095u) == 0u;
    return Nested(
        select(small, vec4<f32>(0.0), full),
        select(middle, vec4<f32>(0.0), full_middle),
        to.large + select(vec4<f32>(0.0), middle, full_middle),
        count,
    );
}

fn nested_sums(all: Nested) -> vec4<f32> {
    return all.large + (all.middle + all.small);
}

fn nested_sum(all: Nested) -> f32 {
    let each = nested_sums(all);
    return (each.x + each.y) + (each.z + each.w);
}
