// The samples of the batch lie on several devices, and what is said of the finest level here is a part of that.
// provides: count_of, balanced, sums (binding 1), all_losses (binding 2)
// expects:  params of hcal/params.wgsl, with where `sums` begin in `prototypes` and `all_losses` in `noise`

@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> all_losses: array<u32>;

// Of how many vectors the loss of a level is the mean: of the finest level they are on all devices.
fn count_of(level: u32, here: f32) -> f32 {
    if (level == 0u) {
        return sums[params.prototypes.offset];
    }
    return here;
}

// The bits of the loss of a level that the balance takes: that of all devices, where the caller has it.
fn balanced(level: u32, own: u32) -> u32 {
    if (params.noise.present != 0u) {
        return all_losses[params.noise.offset + level];
    }
    return own;
}
