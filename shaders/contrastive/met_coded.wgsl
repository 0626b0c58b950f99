// Pairs that the caller masks, or whose positives the caller names: what they share is a number, behind two bits for either
// direction. What is given in place of labels is the number then: 0 or 1 one way, and 2 more the other way.
// provides: codes (binding 2), coded, met, met_back, met_counts, met_counts_back
// expects:  params, GIVEN (1: positives are given), MASKED (1: pairs are), Four

// Of each block of four own by four other rows of the tile the positives, and which count.
@group(0) @binding(2) var<storage, read_write> codes: array<vec2<u32>>;

// The bits of one other row and four own rows, one way and twice that the other way.
fn both_ways(word: u32, c: u32) -> vec4<u32> {
    let own = vec4<u32>(0u, 4u, 8u, 12u) + vec4<u32>(c);
    let one_way = (vec4<u32>(word) >> own) & vec4<u32>(1u);
    let other_way = (vec4<u32>(word) >> (own + vec4<u32>(16u))) & vec4<u32>(1u);
    return one_way + 2u * other_way;
}

fn with_code(meet: vec4<f32>, code: vec2<u32>, c: u32) -> vec4<f32> {
    let number = select(vec4<u32>(meet), both_ways(code.x, c), vec4<bool>(GIVEN == 1u));
    let counts = select(vec4<u32>(3u), both_ways(code.y, c), vec4<bool>(MASKED == 1u));
    return vec4<f32>(4u * number + counts);
}

// What four own rows share with four others, with what the caller says of these pairs.
fn coded(meet: Four, row4: u32, col4: u32) -> Four {
    let code = codes[(params.work.row / 4u + row4) * params.work.stride + col4];
    return Four(
        with_code(meet.a, code, 0u),
        with_code(meet.b, code, 1u),
        with_code(meet.c, code, 2u),
        with_code(meet.d, code, 3u),
    );
}

// What of that the own row makes of the other, and the other of it; whether it looks at the other at all, and the other at it.
fn met(meet: vec4<f32>) -> vec4<f32> {
    let number = vec4<u32>(meet) / 4u;
    return vec4<f32>(select(number, number & vec4<u32>(1u), vec4<bool>(GIVEN == 1u)));
}

fn met_back(meet: vec4<f32>) -> vec4<f32> {
    let number = vec4<u32>(meet) / 4u;
    return vec4<f32>(select(number, number / 2u, vec4<bool>(GIVEN == 1u)));
}

fn met_counts(meet: vec4<f32>) -> vec4<bool> {
    return (vec4<u32>(meet) & vec4<u32>(1u)) != vec4<u32>(0u);
}

fn met_counts_back(meet: vec4<f32>) -> vec4<bool> {
    return (vec4<u32>(meet) & vec4<u32>(2u)) != vec4<u32>(0u);
}
