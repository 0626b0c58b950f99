//! Where gradients go. Kernels that store a large one at their end can add it to what is there themselves, by a part of
//! their own; others make it in scratch, and [`Adds`] brings it from there to the caller's tensor.

use crate::device::inspect::{Inspection, Shape};
use crate::device::module::{Module, Part, Piece, Program, uniform, wgsl};
use crate::device::plan::{Dispatches, Grid, Scratch, bindings};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::view::View;
use crate::kernels::work::push_portions;
use std::borrow::Cow;
use std::ops::Range;

/// Where a gradient goes.
#[derive(Clone, Copy, Debug)]
pub enum Gradient<'a> {
    /// Into a tensor.
    To(Tensor<'a>),
    /// Added to what is in a tensor: for several losses of one tensor, and for accumulation over batches. The sum is made in
    /// f32 and rounded to the tensor's type; what does not count keeps what it has; a NaN on either side is one in the sum.
    /// Gradients that are finished in more than one step are made in scratch first: those to thresholds, theta, a
    /// temperature, losses and log variances, and HCAL's to features and prototypes.
    AddTo(Tensor<'a>),
    /// Over the logits of a row loss. No other gradient can take the place of what it is a gradient to.
    InPlace,
}

impl<'a> From<Tensor<'a>> for Gradient<'a> {
    fn from(tensor: Tensor<'a>) -> Self {
        Gradient::To(tensor)
    }
}

impl<'a> Gradient<'a> {
    /// The tensor that it goes to, unless it takes the place of another.
    pub(crate) fn tensor(&self) -> Option<Tensor<'a>> {
        match *self {
            Gradient::To(tensor) | Gradient::AddTo(tensor) => Some(tensor),
            Gradient::InPlace => None,
        }
    }

    /// The same, to a part of the tensor.
    pub(crate) fn part(self, of: impl FnOnce(Tensor<'a>) -> Tensor<'a>) -> Self {
        match self {
            Gradient::To(tensor) => Gradient::To(of(tensor)),
            Gradient::AddTo(tensor) => Gradient::AddTo(of(tensor)),
            Gradient::InPlace => Gradient::InPlace,
        }
    }

    /// Whether it is added to what is there.
    pub(crate) fn adds(&self) -> bool {
        matches!(self, Gradient::AddTo(_))
    }
}

/// How kernels store a gradient that they make value by value: in place of what is there, and added to it.
static STORE_F32: [Part; 2] = [
    Part::new(
        "f32",
        &[
            wgsl!("shared/replaces.wgsl"),
            wgsl!("shared/store_f32.wgsl"),
        ],
    ),
    Part::new(
        "f32_added",
        &[
            wgsl!("shared/sum_bits.wgsl"),
            wgsl!("shared/adds.wgsl"),
            wgsl!("shared/store_f32.wgsl"),
        ],
    ),
];
static STORE_HALF: [Part; 2] = [
    Part::new(
        "half",
        &[
            wgsl!("shared/replaces_half.wgsl"),
            wgsl!("shared/store_half.wgsl"),
        ],
    ),
    Part::new(
        "half_added",
        &[
            wgsl!("shared/sum_bits.wgsl"),
            wgsl!("shared/adds_half.wgsl"),
            wgsl!("shared/store_half.wgsl"),
        ],
    ),
];

/// The part that stores one in a type.
pub(crate) fn store_part(dtype: DType, adds: bool) -> &'static Part {
    match dtype {
        DType::F32 => &STORE_F32[usize::from(adds)],
        _ => &STORE_HALF[usize::from(adds)],
    }
}

/// Elements that its lanes have of a row of so many: values, or the words that they may lie in.
pub(crate) fn stored(dtype: DType, cols: usize) -> u64 {
    match dtype {
        DType::F32 => cols as u64,
        _ => cols as u64 / 2 + 1,
    }
}

/// The tensor that a gradient goes to, where it is wanted.
pub(crate) fn tensor<'a>(gradient: Option<Gradient<'a>>) -> Option<Tensor<'a>> {
    gradient.and_then(|gradient| gradient.tensor())
}

/// Checks where a gradient goes that has to have a tensor.
pub(crate) fn inspect<'a>(
    all: &mut Inspection<'a>,
    name: impl Into<Cow<'static, str>>,
    gradient: Option<Gradient<'a>>,
    dtypes: &[DType],
    shape: Shape,
) -> Result<(), Error> {
    let name = name.into();
    match gradient {
        None => Ok(()),
        Some(Gradient::To(tensor)) => all.writes(name, tensor, dtypes, shape),
        Some(Gradient::AddTo(tensor)) => all.adds_to(name, tensor, dtypes, shape),
        Some(Gradient::InPlace) => Err(Error::refused(
            name,
            "needs a tensor: in place is for the logits of row losses alone",
        )),
    }
}

uniform! {
    /// Parameters of the kernel.
    struct AddParams {
        /// What is added.
        made: View,
        /// What it is added to.
        grad: View,
        /// The first element of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Elements of a row.
        cols: u32,
    }
}

bindings! {
    /// What the kernel reaches.
    struct AddBindings {
        1: made,
        7: grad,
    }
}

static ADD: Program = Program {
    name: "add",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("shared/sum_bits.wgsl")),
        Piece::File(wgsl!("shared/adds.wgsl")),
        Piece::File(wgsl!("shared/add.wgsl")),
    ],
    entries: &["add"],
    constants: &[],
    bindings: AddBindings::NAMES,
    mirrors: &[&[View::MIRROR, AddParams::MIRROR]],
};

/// Every module of additions.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    vec![ADD.module(workgroup)]
}

/// Gradients that are made in scratch, and added to the caller's tensors behind everything else.
#[derive(Debug, Default)]
pub(crate) struct Adds<'a>(Vec<Add<'a>>);

#[derive(Debug)]
struct Add<'a> {
    name: Cow<'static, str>,
    made: Tensor<'a>,
    grad: Tensor<'a>,
}

impl<'a> Adds<'a> {
    /// Where kernels are to store an f32 gradient that they cannot add: the tensor that it goes to, or one in scratch from
    /// which it is added. What is taken of the scratch later is bound apart from that.
    pub(crate) fn place(
        &mut self,
        scratch: &mut Scratch,
        name: impl Into<Cow<'static, str>>,
        gradient: Option<Gradient<'a>>,
    ) -> Result<Option<Gradient<'a>>, Error> {
        let grad = match gradient {
            Some(Gradient::AddTo(grad)) if grad.len() > 0 => grad,
            _ => return Ok(gradient),
        };
        let region = scratch.take(grad.len() as u64)?;
        scratch.set_apart()?;
        let made = Tensor::scratch(region.first(), DType::F32, grad.rows(), grad.cols());
        let name = name.into();
        self.0.push(Add { name, made, grad });
        Ok(Some(Gradient::To(made)))
    }

    /// Adds the dispatches that add them.
    pub(crate) fn push(&self, steps: &mut Dispatches<'a, '_>) -> Result<(), Error> {
        self.0.iter().try_for_each(|add| add.push(steps))
    }
}

/// Adds the dispatches that add what was made in scratch to what is there, both of f32 and in scratch.
pub(crate) fn push_sum(
    steps: &mut Dispatches<'_, '_>,
    made: Tensor<'static>,
    grad: Tensor<'static>,
) -> Result<(), Error> {
    let name = "scratch".into();
    Add { name, made, grad }.push(steps)
}

impl<'a> Add<'a> {
    fn push(&self, steps: &mut Dispatches<'a, '_>) -> Result<(), Error> {
        let target = steps.target;
        let module = ADD.module(target.variant.workgroup);
        let (rows, cols) = (self.grad.rows(), self.grad.cols());
        let most = target.rows_per_binding(&self.name, &self.grad)?;
        let most = most.min(target.rows_per_binding(&self.name, &self.made)?);
        for first in (0..rows).step_by(most) {
            let count = most.min(rows - first);
            let (made, made_view) = target.view_rows(self.made, first, count);
            let (grad, grad_view) = target.view_rows(self.grad, first, count);
            let params = |portion: Range<u64>, grid: Grid| AddParams {
                made: made_view,
                grad: grad_view,
                begin: portion.start as u32,
                end: portion.end as u32,
                groups_x: grid.groups_x,
                cols: cols as u32,
            };
            // A binding has fewer than 2^32 bytes.
            let work = (count as u64 * cols as u64, 2);
            let lanes = u64::from(module.workgroup);
            let bindings = AddBindings { made, grad };
            push_portions(steps, (module, "add"), work, lanes, params, bindings)?;
        }
        Ok(())
    }
}
