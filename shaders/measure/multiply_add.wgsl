// Multiplies and adds in registers: what a kernel can compute at most, against which `wgloss bench` holds the losses
// that are products. Thirty-two chains a lane, so that none waits for its own result; one factor and one addend for all, so
// that registers can deliver them as fast as they are asked for.
// Grid: groups over x. Mirrors: src/check/measure/limits.rs (lanes, multiply-adds of a lane).
// provides: multiply_add, numbers (binding 0), results (binding 1)
// expects:  nothing

// Factor and addend; read, since a compiler would work out what is constant.
@group(0) @binding(0) var<storage, read_write> numbers: array<f32, 2>;
@group(0) @binding(1) var<storage, read_write> results: array<f32>;

const TURNS: u32 = 256u;

@compute @workgroup_size(256)
fn multiply_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let a = vec4<f32>(numbers[0]);
    let b = vec4<f32>(numbers[1]);
    var c = vec4<f32>(f32(lane));
    var d = c + 1.0;
    var e = c + 2.0;
    var f = c + 3.0;
    var g = c + 4.0;
    var h = c + 5.0;
    var k = c + 6.0;
    var l = c + 7.0;
    for (var turn = 0u; turn < TURNS; turn++) {
        c = fma(c, a, b);
        d = fma(d, a, b);
        e = fma(e, a, b);
        f = fma(f, a, b);
        g = fma(g, a, b);
        h = fma(h, a, b);
        k = fma(k, a, b);
        l = fma(l, a, b);
        c = fma(c, a, b);
        d = fma(d, a, b);
        e = fma(e, a, b);
        f = fma(f, a, b);
        g = fma(g, a, b);
        h = fma(h, a, b);
        k = fma(k, a, b);
        l = fma(l, a, b);
    }
    let sum = (c + d + e + f) + (g + h + k + l);
    results[group.x * 256u + lane] = sum.x + sum.y + sum.z + sum.w;
}
