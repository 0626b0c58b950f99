// The accumulator of the lane at distance `d`, for the subgroup reduction.
// provides: acc_shuffle
// expects:  Acc of distribution.wgsl

fn acc_shuffle(a: Acc, d: u32) -> Acc {
    return Acc(
        subgroupShuffleXor(a.shift, d),
        subgroupShuffleXor(a.sum, d),
        subgroupShuffleXor(a.total, d),
        subgroupShuffleXor(a.presence, d),
        subgroupShuffleXor(a.count, d),
        subgroupShuffleXor(a.flags, d),
    );
}
