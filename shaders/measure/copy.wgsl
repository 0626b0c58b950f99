// Copies vectors of four words: what a kernel can move at most, against which `wgloss bench` holds the losses.
// Grid: a lane sixteen vectors, four loads before their stores; groups folded over x and y.
// Mirrors: src/check/measure/limits.rs (vectors of a group).
// provides: copy, original (binding 0), copied (binding 1)
// expects:  nothing

@group(0) @binding(0) var<storage, read_write> original: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4<u32>>;

@compute @workgroup_size(64)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let count = arrayLength(&original);
    let first = (group.y * groups.x + group.x) * 1024u + lane;
    for (var k = 0u; k < 4u; k++) {
        let i = first + 256u * k;
        let a = original[i];
        let b = original[i + 64u];
        let c = original[i + 128u];
        let d = original[i + 192u];
        if i < count {
            copied[i] = a;
        }
        if i + 64u < count {
            copied[i + 64u] = b;
        }
        if i + 128u < count {
            copied[i + 128u] = c;
        }
        if i + 192u < count {
            copied[i + 192u] = d;
        }
    }
}
