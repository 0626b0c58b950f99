// Four by four numbers.
// provides: Four, turned
// expects:  nothing

// Four rows (the components) and four columns (the members), or the other way round.
struct Four {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

fn turned(four: Four) -> Four {
    return Four(
        vec4<f32>(four.a.x, four.b.x, four.c.x, four.d.x),
        vec4<f32>(four.a.y, four.b.y, four.c.y, four.d.y),
        vec4<f32>(four.a.z, four.b.z, four.c.z, four.d.z),
        vec4<f32>(four.a.w, four.b.w, four.c.w, four.d.w),
    );
}
