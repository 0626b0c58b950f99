// Sums over the lanes of a subgroup, which share a row.
// provides: team_sum
// expects:  nothing (device feature SUBGROUP)

// The sum over the lanes, in all of them. All lanes of the workgroup must call it.
fn team_sum(value: vec2<f32>, lane: u32, lanes: u32) -> vec2<f32> {
    var sum = value;
    for (var d = 1u; d < lanes; d *= 2u) {
        sum += subgroupShuffleXor(sum, d);
    }
    return sum;
}
