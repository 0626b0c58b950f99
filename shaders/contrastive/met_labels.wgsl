// Pairs of which the caller says nothing beyond labels.
// provides: coded, met, met_back, met_counts, met_counts_back
// expects:  Four

// What four own rows share with four others, with what the caller says of these pairs.
fn coded(meet: Four, row4: u32, col4: u32) -> Four {
    return meet;
}

// What of that the own row makes of the other, and the other of it; whether it looks at the other at all, and the other at it.
fn met(meet: vec4<f32>) -> vec4<f32> {
    return meet;
}

fn met_back(meet: vec4<f32>) -> vec4<f32> {
    return meet;
}

fn met_counts(meet: vec4<f32>) -> vec4<bool> {
    return vec4<bool>(true);
}

fn met_counts_back(meet: vec4<f32>) -> vec4<bool> {
    return vec4<bool>(true);
}
