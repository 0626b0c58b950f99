// Numbers of the call's own that the caller gives or gets.
//
// Grid: a lane a number, folded.
// Mirrors: src/kernels/contrastive/params.rs. Of the parameters `record.counts` is where they are in `small`, `source.offset`
// where they are in `numbers`, and `source.labels` how many there are.
// provides: the entry points, small (binding 5), numbers (binding 7)
// expects:  params, WG

@group(0) @binding(5) var<storage, read_write> small: array<u32>;
@group(0) @binding(7) var<storage, read_write> numbers: array<u32>;

@compute @workgroup_size(WG)
fn take(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let i = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (i < params.source.labels) {
        small[params.record.counts + i] = numbers[params.source.offset + i];
    }
}

@compute @workgroup_size(WG)
fn give(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let i = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (i < params.source.labels) {
        numbers[params.source.offset + i] = small[params.record.counts + i];
    }
}
