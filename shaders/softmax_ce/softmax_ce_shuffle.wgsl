// The accumulator of the lane at distance `d`, for the subgroup reduction.
// provides: acc_shuffle
// expects:  Acc of softmax_ce.wgsl

fn acc_shuffle(a: Acc, d: u32) -> Acc {
    return Acc(
        subgroupShuffleXor(a.shift, d),
        subgroupShuffleXor(a.rest, d),
        subgroupShuffleXor(a.total, d),
        subgroupShuffleXor(a.weight, d),
        subgroupShuffleXor(a.below, d),
        subgroupShuffleXor(a.flags, d),
    );
}
