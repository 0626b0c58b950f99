//! Sums of many numbers in scratch, at any length as exact as of a few: no lane adds more than a quarter of [`PORTION`]
//! numbers into one place, and what it gets is added up in the same way.

use crate::device::module::{Module, Piece, Program, constants, uniform, wgsl};
use crate::device::plan::{Bind, Dispatches, Grid, Region, Scratch, bindings, to_u32};
use crate::error::Error;
use crate::kernels::work::push_portions;
use std::ops::Range;

bindings! {
    /// What the kernel reaches.
    struct SumsBindings {
        1: addends,
        7: results,
    }
}

uniform! {
    /// Parameters of the kernel.
    struct SumsParams {
        /// The first result of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Numbers of a row.
        len: u32,
        /// Results of a row.
        portions: u32,
        /// Where the results begin.
        results_at: u32,
        /// What results are multiplied by.
        scale: f32,
        /// The bits of NaN, which WGSL lets no constant have.
        nan: u32,
        /// Those of infinity.
        infinity: u32,
    }
}

constants! {
    /// Limits that the host knows too.
    LIMITS {
        /// Most numbers that a lane adds up.
        PORTION = 64,
    }
}

static SUMS: Program = Program {
    name: "sums",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("shared/sums.wgsl")),
    ],
    entries: &["sums"],
    constants: &[LIMITS],
    bindings: SumsBindings::NAMES,
    mirrors: &[&[SumsParams::MIRROR]],
};

/// Every module of sums.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    vec![SUMS.module(workgroup)]
}

/// Rows of numbers in scratch, each to be added up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) addends: Region,
    pub(crate) rows: u64,
    pub(crate) len: u64,
}

/// Where sums go: a binding, the place of the first in it, and what they are multiplied by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To<'a> {
    pub(crate) results: Bind<'a>,
    pub(crate) at: u32,
    pub(crate) scale: f32,
}

/// Scratch for sums of rows that are not larger.
#[derive(Clone, Debug)]
pub(crate) struct Between {
    regions: Vec<Region>,
}

impl Between {
    pub(crate) fn take(scratch: &mut Scratch, rows: u64, len: u64) -> Result<Between, Error> {
        let mut regions = Vec::new();
        let mut len = len.div_ceil(u64::from(PORTION));
        while len > 1 {
            regions.push(scratch.take(rows * len)?);
            len = len.div_ceil(u64::from(PORTION));
        }
        Ok(Between { regions })
    }
}

/// Adds the dispatches for a sum of each row; none of nothing.
pub(crate) fn push<'a>(
    dispatches: &mut Dispatches<'a, '_>,
    from: Rows,
    between: &Between,
    to: To<'a>,
) -> Result<(), Error> {
    let Rows {
        mut addends,
        rows,
        mut len,
    } = from;
    let mut regions = between.regions.iter();
    loop {
        let count = len.div_ceil(u64::from(PORTION)).max(1);
        let region = if count > 1 { regions.next() } else { None };
        let to = match region {
            Some(region) => To {
                results: region.bind(),
                at: 0,
                scale: 1.0,
            },
            None => to,
        };
        let params = SumsParams {
            len: to_u32(len, "scratch")?,
            portions: to_u32(count, "scratch")?,
            results_at: to.at,
            scale: to.scale,
            nan: f32::NAN.to_bits(),
            infinity: f32::INFINITY.to_bits(),
            ..SumsParams::default()
        };
        let module = SUMS.module(dispatches.target.variant.workgroup);
        let lanes = u64::from(dispatches.target.variant.workgroup);
        to_u32(rows * count, "scratch")?;
        let params = |portion: Range<u64>, grid: Grid| SumsParams {
            begin: portion.start as u32,
            end: portion.end as u32,
            groups_x: grid.groups_x,
            ..params
        };
        let bindings = SumsBindings {
            addends: addends.bind(),
            results: to.results,
        };
        let work = (rows * count, len.div_ceil(count));
        push_portions(dispatches, (module, "sums"), work, lanes, params, bindings)?;
        match region {
            Some(region) => (addends, len) = (*region, count),
            None => return Ok(()),
        }
    }
}
