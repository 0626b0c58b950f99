//! Sums over the keys of anchors in tensors of the caller's, on their way to other devices and from them.

use crate::device::plan::{Bind, Dispatches};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::contrastive::params::{PairChunks, PairGrid, PairParams, SUM_FIELDS};
use crate::kernels::contrastive::table::{self, AccumulatorBinds};
use crate::losses::contrastive::Denominator;

/// Words of an anchor's accumulator.
pub(super) const WORDS: usize = SUM_FIELDS as usize;

/// Where the sums over all keys of an anchor come from, and where they go.
#[derive(Clone, Copy)]
pub(super) enum Among<'a> {
    /// The keys are all of the call.
    Here,
    /// The sums over the call's keys are left to the caller.
    Leaves(Tensor<'a>),
    /// Those over the keys of all devices are taken from the caller.
    Meets(Tensor<'a>),
}

/// Leaves the sums of all anchors in accumulators.
pub(super) fn leave<'a>(
    steps: &mut Dispatches<'a, '_>,
    denominator: Denominator,
    to: Tensor<'a>,
    base: PairParams,
    records: Bind<'a>,
) -> Result<(), Error> {
    let (accumulators, at) = steps.target.bind_all("accumulators", &to)?;
    let strides = (to.row_stride() as u32, 0);
    let binds = AccumulatorBinds {
        records,
        accumulators,
    };
    push(steps, ("leave", denominator), (at, strides, 1), base, binds)
}

/// Puts accumulators of all devices together, in their order, as the sums of all anchors.
pub(super) fn meet<'a>(
    steps: &mut Dispatches<'a, '_>,
    denominator: Denominator,
    from: Tensor<'a>,
    mut base: PairParams,
    records: Bind<'a>,
) -> Result<(), Error> {
    let target = steps.target;
    let most = target.rows_per_binding("accumulators", &from)?;
    for first in (0..from.rows()).step_by(most) {
        let count = most.min(from.rows() - first);
        let (accumulators, at) = target.bind_rows(&from, first, count);
        let strides = (SUM_FIELDS, from.row_stride() as u32);
        let binds = AccumulatorBinds {
            records,
            accumulators,
        };
        base.grid.add = u32::from(first > 0);
        let of = (at, strides, count as u32);
        push(steps, ("meet", denominator), of, base, binds)?;
    }
    Ok(())
}

fn push<'a>(
    steps: &mut Dispatches<'a, '_>,
    (entry, denominator): (&'static str, Denominator),
    (at, (of_anchor, of_device), devices): (u32, (u32, u32), u32),
    base: PairParams,
    binds: AccumulatorBinds<'a>,
) -> Result<(), Error> {
    let module = table::accumulators(denominator, steps.target.variant.workgroup);
    let groups = u64::from(base.own.rows.div_ceil(4)).div_ceil(u64::from(module.workgroup));
    if groups == 0 {
        return Ok(());
    }
    let params = |grid| PairParams {
        grid: PairGrid {
            add: base.grid.add,
            ..PairGrid::from(grid)
        },
        chunks: PairChunks {
            count: devices,
            stride: of_device,
            ..PairChunks::default()
        },
        grad_at: at,
        grad_stride: of_anchor,
        ..base
    };
    steps.push(module, entry, groups, params, binds)
}
