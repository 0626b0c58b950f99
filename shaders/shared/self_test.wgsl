// A driver self-test: counts in a loop longer than some drivers let a loop run.
// Grid: one workgroup. Mirrors: src/host/self_test.rs.
// provides: self_test
// expects:  nothing

@group(0) @binding(0) var<storage, read_write> counts: array<u32>;

@compute @workgroup_size(8)
fn self_test(@builtin(local_invocation_index) lane: u32) {
    var count = 0u;
    for (var i = 0u; i < 131072u; i++) {
        count += (i & 1u) + 1u;
    }
    counts[lane] = count;
}
