// Copies vectors of four words: what a kernel can move at most, against which `wgloss bench` holds the losses.
// Grid: a lane sixteen vectors; groups folded over x and y. Mirrors: src/check/measure/limits.rs (vectors of a group).
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
    // Eight lanes go side by side through 2 KiB of their own, by whole lines of 128 bytes: all the same to a GPU, and
    // where eight lanes are one vector of a CPU they read on without gaps.
    let first = ((group.y * groups.x + group.x) * 8u + lane / 8u) * 128u;
    let end = min(first + 128u, arrayLength(&original));
    for (var i = first + lane % 8u; i < end; i += 8u) {
        copied[i] = original[i];
    }
}
