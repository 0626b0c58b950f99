// The accumulator of the lane at distance `d`, for the subgroup reduction.
// provides: acc_shuffle
// expects:  Acc of count.wgsl

fn acc_shuffle(a: Acc, d: u32) -> Acc {
    return Acc(subgroupShuffleXor(a.count, d));
}
