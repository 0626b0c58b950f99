// Copies vectors of four words: what a kernel can move at most, against which `wgloss bench` holds the losses.
// Grid: a group 1024 vectors; groups folded over x and y. Mirrors: src/check/measure/limits.rs (vectors of a group).
// provides: copy, copy_narrow, original (binding 0), copied (binding 1)
// expects:  nothing

@group(0) @binding(0) var<storage, read_write> original: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4<u32>>;

fn copy_by(lanes: u32, lane: u32, group: vec3<u32>, groups: vec3<u32>) {
    let first = (group.y * groups.x + group.x) * 1024u;
    let end = min(first + 1024u, arrayLength(&original));
    var i = first + lane;
    // Four at a time, so that a lane does not wait for each before it asks for the next.
    for (; i + 3u * lanes < end; i += 4u * lanes) {
        let a = original[i];
        let b = original[i + lanes];
        let c = original[i + 2u * lanes];
        let d = original[i + 3u * lanes];
        copied[i] = a;
        copied[i + lanes] = b;
        copied[i + 2u * lanes] = c;
        copied[i + 3u * lanes] = d;
    }
    for (; i < end; i += lanes) {
        copied[i] = original[i];
    }
}

@compute @workgroup_size(256)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    copy_by(256u, lane, group, groups);
}

// For CPUs: one vector of lanes reads on without gaps, where eight of them in turn jump a kilobyte at every step.
@compute @workgroup_size(8)
fn copy_narrow(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    copy_by(8u, lane, group, groups);
}
