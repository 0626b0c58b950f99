// Numbers from the device on their way into the parameters of later steps.
//
// Grid: x a lane for each step that has the parameter, y the changes.
// Mirrors: `Change` in src/device/live.rs.
// provides: params (binding 0), source (binding 1), live (binding 7), write
// expects:  WG, LINEAR, OVER, OVER_COUNT, CHANGES

struct Change {
    source: u32,     // the number's place in `source`
    first: u32,      // the parameter's place in those of the first step
    stride: u32,     // from step to step
    count: u32,      // steps
    kind: u32,       // what becomes of the number x: LINEAR times * x + plus, OVER times / x,
                     // OVER_COUNT times / x of an x that is 1 at least
    times: f32,
    plus: f32,
    _pad: u32,
}

struct LiveParams {
    changes: array<Change, CHANGES>,
}

@group(0) @binding(0) var<uniform> params: LiveParams;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(7) var<storage, read_write> live: array<u32>;

@compute @workgroup_size(WG)
fn write(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let change = params.changes[group.y];
    let step = group.x * WG + lane;
    if (step >= change.count) {
        return;
    }
    let x = bitcast<f32>(source[change.source]);
    var value = change.times * x + change.plus;
    if (change.kind == OVER) {
        value = change.times / x;
    }
    if (change.kind == OVER_COUNT) {
        value = change.times / max(x, 1.0);
    }
    live[change.first + step * change.stride] = bitcast<u32>(value);
}
