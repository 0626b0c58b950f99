//! What the plans of losses that are not over rows of labels share.

use super::row_steps::{bind_rows, rows_per_binding, word};
use crate::call::{Bind, Draft};
use crate::context::STORAGE_BINDINGS;
use crate::plan::{Step, fold};
use crate::shader::{Kernel, Module, Program};
use crate::{Caps, Context, DType, Error, ErrorKind, Reduce, Tensor};

/// Dispatches one after the other, of one module each and grids folded over x and y.
pub(super) struct Steps<'a> {
    pub(super) drafts: Vec<Draft<'a>>,
    workgroup: u32,
    max_groups: u32,
}

impl<'a> Steps<'a> {
    pub(super) fn new(cx: &Context) -> Self {
        Steps {
            drafts: Vec::new(),
            workgroup: cx.variant().workgroup,
            max_groups: cx.caps().max_groups,
        }
    }

    /// Adds a dispatch of `groups` workgroups; `params` gets their number and how many of them there are in x.
    pub(super) fn push<P: bytemuck::Pod>(
        &mut self,
        program: Program,
        entry: &'static str,
        groups: u64,
        params: impl FnOnce(u32, u32) -> P,
        bindings: [Bind<'a>; STORAGE_BINDINGS],
    ) -> Result<(), Error> {
        let groups = word(groups, "workgroups")?;
        let (x, y) = fold(groups, self.max_groups);
        self.drafts.push(Draft {
            step: Step {
                kernel: Kernel {
                    module: Module {
                        program,
                        reduce: Reduce::Tree,
                        workgroup: self.workgroup,
                    },
                    entry,
                },
                groups: [x, y, 1],
            },
            params: bytemuck::bytes_of(&params(groups, x)).to_vec(),
            bindings,
        });
        Ok(())
    }
}

/// The binding that reaches all of a tensor, and the element of it at which it begins.
pub(super) fn bind_all<'a>(
    name: &str,
    tensor: &Tensor<'a>,
    caps: &Caps,
) -> Result<(Bind<'a>, u32), Error> {
    let most = rows_per_binding(name, tensor, caps)?;
    if most < tensor.rows() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            name,
            format!("at most {most} rows (one storage binding of this device)"),
            tensor.rows(),
        ));
    }
    Ok(bind_rows(tensor, 0, tensor.rows(), caps))
}

/// The same of a tensor that may be absent.
pub(super) fn bind_any<'a>(
    name: &str,
    tensor: Option<Tensor<'a>>,
    caps: &Caps,
) -> Result<Option<(Bind<'a>, u32)>, Error> {
    tensor.map(|t| bind_all(name, &t, caps)).transpose()
}

/// How a kernel with `reals.wgsl` calls an element type.
pub(super) fn real_kind(dtype: DType) -> u32 {
    match dtype {
        DType::F16 => 1,
        DType::Bf16 => 2,
        DType::F32 | DType::U8 | DType::U32 => 0,
    }
}

/// Refuses outputs that share memory with an input or with each other.
pub(super) fn check_apart(
    written: &[(String, Tensor<'_>)],
    read: &[(String, Tensor<'_>)],
) -> Result<(), Error> {
    for (i, (name, tensor)) in written.iter().enumerate() {
        for (other, t) in read.iter().chain(&written[..i]) {
            if tensor.overlaps(t) {
                return Err(Error::new(
                    ErrorKind::Buffer,
                    name,
                    format!("memory apart from {other}"),
                    "an overlap",
                ));
            }
        }
    }
    Ok(())
}
