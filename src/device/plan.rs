//! What a prepared call will do, as plain data.

use crate::kernels::shader::Kernel;

/// One dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The kernel.
    pub kernel: Kernel,
    /// Workgroups in x, y and z.
    pub groups: [u32; 3],
}

/// The dispatches of a call in order, and the memory it keeps for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The dispatches.
    pub steps: Vec<Step>,
    /// Bytes of scratch on the device.
    pub scratch_bytes: u64,
    /// Windows of rows: 1 unless a tensor is larger than one storage binding.
    pub windows: usize,
}

/// Spreads `groups` workgroups over x and y, where one dimension is too short. Returns (x, y); x * y >= groups.
pub(crate) fn fold(groups: u32, max_groups: u32) -> (u32, u32) {
    let y = groups.div_ceil(max_groups).max(1);
    (groups.div_ceil(y), y)
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn folding_covers_every_group_within_the_limit() {
        for (groups, expected) in [
            (0, (0, 1)),
            (1, (1, 1)),
            (65_535, (65_535, 1)),
            (65_536, (32_768, 2)),
            (1_000_000, (62_500, 16)),
        ] {
            let (x, y) = fold(groups, 65_535);
            assert_eq!((x, y), expected);
            assert!(x <= 65_535 && u64::from(x) * u64::from(y) >= u64::from(groups));
        }
    }
}
