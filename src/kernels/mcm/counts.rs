//! Which classes of a row count and for how much: kernels before and after those that find winners.

use crate::device::module::{Module, Piece, Program, uniform, wgsl};
use crate::device::plan::{
    Bind, Binds, Dispatches, Grid, Region, Scratch, Target, bindings, to_u32,
};
use crate::error::Error;
use crate::kernels::mcm::call::McmInputs;
use crate::kernels::mcm::table::{FORMS, form, module};
use crate::kernels::storage::REAL_KINDS;
use crate::kernels::sums;
use crate::kernels::sums::{Between, Rows, To};
use crate::kernels::view::{View, Viewed};
use crate::kernels::work::push_portions;
use std::ops::Range;

bindings! {
    /// What `mark` reaches.
    struct MarkBindings {
        1: class_mask,
        2: targets,
        3: mask,
        4: sample_weight,
        6: marks,
        7: counted,
    }
}

bindings! {
    /// What `factors` reaches.
    struct FactorBindings {
        2: counts,
        4: sample_weight,
        6: losses,
        7: row_factors,
    }
}

bindings! {
    /// What `table` reaches.
    struct TableBindings {
        1: class_mask,
        2: class_weight,
        7: weights,
    }
}

uniform! {
    /// Parameters of these kernels.
    struct CountParams {
        /// The targets of this window of rows.
        targets: View,
        /// Its mask by element.
        mask: View,
        /// A flag for each class.
        class_mask: View,
        /// The weights of all rows.
        sample_weight: View,
        /// Those of the classes.
        class_weight: View,
        /// The first element of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Classes.
        cols: u32,
        /// Words of bits of a row.
        words: u32,
        /// The first row of this window.
        first_row: u32,
        /// Whether a row's sum is divided by the number of its classes that count.
        row_mean: u32,
        /// The bits of NaN, which WGSL lets no constant have.
        nan: u32,
        /// Those of infinity.
        infinity: u32,
    }
}

macro_rules! program {
    ($name:literal, $entry:literal, $bindings:expr, [$($piece:expr),*]) => {
        Program {
            name: $name,
            pieces: &[
                Piece::File(wgsl!("shared/math.wgsl")),
                Piece::File(wgsl!("shared/view.wgsl")),
                Piece::File(wgsl!("shared/group_index.wgsl")),
                Piece::File(wgsl!("mcm/counts.wgsl")),
                $($piece),*
            ],
            entries: &[$entry],
            constants: &[REAL_KINDS],
            bindings: $bindings,
            mirrors: &[&[View::MIRROR, CountParams::MIRROR]],
        }
    };
}

/// Its part is the form of the targets, which brings their binding.
static MCM_MARK: Program = program!(
    "mcm_mark",
    "mark",
    &[
        (1, "class_mask"),
        (3, "mask"),
        (4, "sample_weight"),
        (6, "marks"),
        (7, "counted"),
    ],
    [
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/flag.wgsl")),
        Piece::File(wgsl!("shared/class_mask.wgsl")),
        Piece::File(wgsl!("shared/element_mask.wgsl")),
        Piece::Part(0),
        Piece::File(wgsl!("mcm/mark.wgsl"))
    ]
);
static MCM_FACTORS: Program = program!(
    "mcm_factors",
    "factors",
    FactorBindings::NAMES,
    [Piece::File(wgsl!("mcm/factors.wgsl"))]
);
static MCM_TABLE: Program = program!(
    "mcm_table",
    "table",
    TableBindings::NAMES,
    [
        Piece::File(wgsl!("shared/flag.wgsl")),
        Piece::File(wgsl!("shared/class_mask.wgsl")),
        Piece::File(wgsl!("mcm/table.wgsl"))
    ]
);

/// Every module of these kernels.
pub(super) fn modules(workgroup: u32) -> Vec<Module> {
    let mark = |form| module(&MCM_MARK, &[form], workgroup);
    let mut all: Vec<Module> = FORMS.into_iter().map(mark).collect();
    all.extend([MCM_FACTORS.module(workgroup), MCM_TABLE.module(workgroup)]);
    all
}

/// Adds the dispatches of one of these kernels for `count` elements of `each` loads.
fn push<'a>(
    dispatches: &mut Dispatches<'a, '_>,
    (module, entry): (Module, &'static str),
    work: (u64, u64),
    params: CountParams,
    bindings: impl Into<Binds<'a>>,
) -> Result<(), Error> {
    let lanes = u64::from(module.workgroup);
    let params = |portion: Range<u64>, grid: Grid| CountParams {
        begin: portion.start as u32,
        end: portion.end as u32,
        groups_x: grid.groups_x,
        nan: f32::NAN.to_bits(),
        infinity: f32::INFINITY.to_bits(),
        ..params
    };
    push_portions(dispatches, (module, entry), work, lanes, params, bindings)
}

/// Which classes of a row count, where masks or weights of rows say so.
pub(super) struct Marks<'a> {
    inputs: McmInputs<'a>,
    row_mean: bool,
    words: u64,
    class_mask: Viewed<'a>,
    sample_weight: Viewed<'a>,
    /// Of each 32 classes of a window's rows the positive ones, and those that count.
    marks: Region,
    /// How many count of each 32, and of each row.
    counted: Region,
    counts: Region,
    of_counts: Between,
    /// What the sum of each row of the batch is multiplied by.
    factors: Region,
}

impl<'a> Marks<'a> {
    /// Room for windows of `window` rows, where the call has masks or weights of rows.
    pub(super) fn take(
        target: &Target<'_>,
        inputs: &McmInputs<'a>,
        row_mean: bool,
        window: u64,
        scratch: &mut Scratch,
    ) -> Result<Option<Self>, Error> {
        let tensors = [inputs.class_mask, inputs.mask, inputs.sample_weight];
        if tensors.iter().all(Option::is_none) {
            return Ok(None);
        }
        let words = inputs.logits.cols().div_ceil(32) as u64;
        Ok(Some(Marks {
            inputs: *inputs,
            row_mean,
            words,
            class_mask: target.view_all("class_mask", inputs.class_mask)?,
            sample_weight: target.view_all("sample_weight", inputs.sample_weight)?,
            marks: scratch.take(2 * window * words)?,
            counted: scratch.take(window * words)?,
            counts: scratch.take(window)?,
            of_counts: Between::take(scratch, window, words)?,
            factors: scratch.take(inputs.logits.rows() as u64)?,
        }))
    }

    /// What stands for the targets once it is made.
    pub(super) fn view(&self) -> Viewed<'a> {
        (self.marks.bind(), View::whole(self.words as usize))
    }

    /// The factors of all rows.
    pub(super) fn factors(&self) -> Bind<'a> {
        self.factors.bind()
    }

    fn params(&self, first: usize) -> CountParams {
        CountParams {
            class_mask: self.class_mask.1,
            sample_weight: self.sample_weight.1,
            cols: self.inputs.logits.cols() as u32,
            words: self.words as u32,
            first_row: first as u32,
            row_mean: u32::from(self.row_mean),
            ..CountParams::default()
        }
    }

    /// Makes the marks of a window of rows, from their targets.
    pub(super) fn make(
        &self,
        dispatches: &mut Dispatches<'a, '_>,
        (first, rows): (usize, usize),
        (targets, targets_view): Viewed<'a>,
    ) -> Result<(), Error> {
        let Some(form) = self.inputs.targets.as_ref().map(form) else {
            return Ok(());
        };
        let target = dispatches.target;
        let (mask, mask_view) = target.view_rows(self.inputs.mask, first, rows);
        let params = CountParams {
            targets: targets_view,
            mask: mask_view,
            ..self.params(first)
        };
        let bindings = MarkBindings {
            class_mask: self.class_mask.0,
            targets,
            mask,
            sample_weight: self.sample_weight.0,
            marks: self.marks.bind(),
            counted: self.counted.bind(),
        };
        let mark = (module(&MCM_MARK, &[form], target.variant.workgroup), "mark");
        let rows = rows as u64;
        let work = (rows * self.words, 3 * 32);
        push(dispatches, mark, work, params, bindings)?;
        let from = Rows {
            addends: self.counted,
            rows,
            len: self.words,
        };
        let to = To {
            results: self.counts.bind(),
            at: 0,
            scale: 1.0,
        };
        sums::push(dispatches, from, &self.of_counts, to)
    }

    /// Brings weights and numbers of a window's rows to their sums, which become their losses.
    pub(super) fn weigh(
        &self,
        dispatches: &mut Dispatches<'a, '_>,
        (first, rows): (usize, usize),
        losses: Region,
    ) -> Result<(), Error> {
        let bindings = FactorBindings {
            counts: self.counts.bind(),
            sample_weight: self.sample_weight.0,
            losses: losses.bind(),
            row_factors: self.factors.bind(),
        };
        let workgroup = dispatches.target.variant.workgroup;
        let factors = (MCM_FACTORS.module(workgroup), "factors");
        let work = (rows as u64, 4);
        push(dispatches, factors, work, self.params(first), bindings)
    }
}

/// The weights of the classes, in scratch.
pub(super) struct Table {
    weights: Region,
    /// Their sum.
    total: Region,
    of_total: Between,
}

impl Table {
    /// Room for them, where the call has some.
    pub(super) fn take(
        inputs: &McmInputs<'_>,
        scratch: &mut Scratch,
    ) -> Result<Option<Self>, Error> {
        let cols = inputs.logits.cols() as u64;
        if inputs.class_weight.is_none() {
            return Ok(None);
        }
        Ok(Some(Table {
            weights: scratch.take(cols)?,
            total: scratch.take(1)?,
            of_total: Between::take(scratch, 1, cols)?,
        }))
    }

    /// Copies and adds them up.
    pub(super) fn make<'a>(
        &self,
        dispatches: &mut Dispatches<'a, '_>,
        inputs: &McmInputs<'a>,
    ) -> Result<(), Error> {
        let target = dispatches.target;
        let (class_mask, mask_view) = target.view_all("class_mask", inputs.class_mask)?;
        let (class_weight, weight_view) = target.view_all("class_weight", inputs.class_weight)?;
        let cols = inputs.logits.cols() as u64;
        let params = CountParams {
            class_mask: mask_view,
            class_weight: weight_view,
            cols: cols as u32,
            ..CountParams::default()
        };
        let bindings = TableBindings {
            class_mask,
            class_weight,
            weights: self.weights.bind(),
        };
        let table = (MCM_TABLE.module(target.variant.workgroup), "table");
        push(dispatches, table, (cols, 2), params, bindings)?;
        let from = Rows {
            addends: self.weights,
            rows: 1,
            len: cols,
        };
        let to = To {
            results: self.total.bind(),
            at: 0,
            scale: 1.0,
        };
        sums::push(dispatches, from, &self.of_total, to)
    }

    /// The binding of their sum.
    pub(super) fn total<'a>(&self) -> Bind<'a> {
        self.total.bind()
    }

    /// A binding of the terms, which lie before, that reaches them too; and where in it they and their sum begin.
    pub(super) fn with_terms<'a>(&self, terms: Region) -> Result<(Bind<'a>, u32, u32), Error> {
        let weights = self.weights.at() - terms.at();
        let total = self.total.at() - terms.at();
        let words = to_u32(u64::from(total) + 4, "scratch")?;
        Ok((terms.part(0, u64::from(words)), weights, total))
    }
}
