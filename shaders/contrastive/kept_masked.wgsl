// Rows of which a mask leaves some out.
// provides: kept, kept_four
// expects:  LEFT_OUT of params

// Whether a row counts, by its size and what stands beside it.
fn kept(size: u32) -> bool {
    return (size & LEFT_OUT) == 0u;
}

fn kept_four(sizes: vec4<u32>) -> vec4<bool> {
    return (sizes & vec4<u32>(LEFT_OUT)) == vec4<u32>(0u);
}
