//! What the plans of all losses share: regions of scratch, bindings of tensors, dispatches, the check for overlap.

use crate::device::caps::{Caps, Reduce};
use crate::device::context::{Context, STORAGE_BINDINGS};
use crate::device::plan::{Step, fold};
use crate::device::prepared::{Bind, Draft};
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::shader::{Kernel, Module, Program};

/// A place in scratch, or an optional tensor's offset, that says there is none.
pub(crate) const ABSENT: u32 = u32::MAX;
/// Regions of scratch begin at multiples of this many words.
const REGION_WORDS: u64 = 64;

/// Hands out regions of scratch, in words.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) words: u64,
}

impl Scratch {
    pub(crate) fn take(&mut self, wanted: bool, words: u64) -> Result<u32, Error> {
        if !wanted {
            return Ok(ABSENT);
        }
        let at = word(self.words, "scratch")?;
        self.words = (self.words + words).next_multiple_of(REGION_WORDS);
        Ok(at)
    }
}

pub(crate) fn word(value: u64, subject: &str) -> Result<u32, Error> {
    match u32::try_from(value) {
        Ok(value) if value != ABSENT => Ok(value),
        _ => Err(Error::new(
            ErrorKind::Unsupported,
            subject,
            "fewer than 2^32 elements",
            value,
        )),
    }
}

/// How many rows of a tensor one storage binding reaches.
pub(crate) fn rows_per_binding(
    name: &str,
    tensor: &Tensor<'_>,
    caps: &Caps,
) -> Result<usize, Error> {
    // The kernels count elements in 32 bits, and a binding begins before its tensor by up to the alignment.
    let most = caps.max_binding.min(u64::from(u32::MAX));
    let room = most.saturating_sub(caps.storage_align + 4);
    let (first, end) = tensor.bytes(0, 1);
    let row = end - first;
    if row > room {
        return Err(Error::new(
            ErrorKind::Unsupported,
            name,
            format!("rows of at most {room} bytes (one storage binding of this device)"),
            format!("{row} bytes"),
        ));
    }
    Ok(((room - row) / tensor.stride_bytes().max(1)) as usize + 1)
}

/// The binding that reaches rows of a tensor, and the element of it at which they begin.
pub(crate) fn bind_rows<'a>(
    tensor: &Tensor<'a>,
    first: usize,
    rows: usize,
    caps: &Caps,
) -> (Bind<'a>, u32) {
    let (from, end) = tensor.bytes(first, rows);
    bind_bytes(tensor, from, end, caps)
}

pub(crate) fn bind_bytes<'a>(
    tensor: &Tensor<'a>,
    from: u64,
    end: u64,
    caps: &Caps,
) -> (Bind<'a>, u32) {
    let (bind, before) = Bind::bytes(tensor.buffer(), from, end, caps.storage_align);
    (bind, (before / tensor.dtype().size()) as u32)
}

/// Dispatches one after the other, of one module each and grids folded over x and y.
pub(crate) struct Steps<'a> {
    pub(crate) drafts: Vec<Draft<'a>>,
    workgroup: u32,
    max_groups: u32,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(cx: &Context) -> Self {
        Steps {
            drafts: Vec::new(),
            workgroup: cx.variant().workgroup,
            max_groups: cx.caps().max_groups,
        }
    }

    /// Adds a dispatch of `groups` workgroups; `params` gets their number and how many of them there are in x.
    pub(crate) fn push<P: bytemuck::Pod>(
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
pub(crate) fn bind_all<'a>(
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
pub(crate) fn bind_any<'a>(
    name: &str,
    tensor: Option<Tensor<'a>>,
    caps: &Caps,
) -> Result<Option<(Bind<'a>, u32)>, Error> {
    tensor.map(|t| bind_all(name, &t, caps)).transpose()
}

/// How a kernel with `reals.wgsl` calls an element type.
pub(crate) fn real_kind(dtype: DType) -> u32 {
    match dtype {
        DType::F16 => 1,
        DType::Bf16 => 2,
        DType::F32 | DType::U8 | DType::U32 => 0,
    }
}

/// Refuses outputs that share memory with an input of another name or with each other.
pub(crate) fn check_apart<N: AsRef<str>, M: AsRef<str>>(
    written: &[(N, Tensor<'_>)],
    read: &[(M, Tensor<'_>)],
) -> Result<(), Error> {
    for (i, (name, tensor)) in written.iter().enumerate() {
        let name = name.as_ref();
        let inputs = read.iter().map(|(other, t)| (other.as_ref(), t));
        let outputs = written[..i].iter().map(|(other, t)| (other.as_ref(), t));
        for (other, t) in inputs.chain(outputs) {
            if other != name && tensor.overlaps(t) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_regions_are_aligned_and_apart() -> Result<(), Error> {
        let mut scratch = Scratch::default();
        assert_eq!(scratch.take(true, 3)?, 0);
        assert_eq!(scratch.take(false, 3)?, ABSENT);
        assert_eq!(scratch.take(true, 65)?, 64);
        assert_eq!(scratch.words, 192);
        assert!(scratch.take(true, u64::from(u32::MAX) * 2).is_ok());
        assert!(scratch.take(true, 1).is_err());
        Ok(())
    }
}
