// The accumulator of the lane at distance `d`, for the subgroup reduction.
// provides: acc_shuffle
// expects:  Acc of two_sided.wgsl

fn acc_shuffle(a: Acc, d: u32) -> Acc {
    return Acc(
        subgroupShuffleXor(a.max_pos, d),
        subgroupShuffleXor(a.sum_pos, d),
        subgroupShuffleXor(a.max_neg, d),
        subgroupShuffleXor(a.sum_neg, d),
        subgroupShuffleXor(a.flags, d),
    );
}
