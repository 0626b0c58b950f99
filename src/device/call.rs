//! A call as data: all that another host of WebGPU needs to run it.

use crate::device::module::Kernel;
use crate::device::plan::{Bind, Dispatch, STORAGE_BINDINGS};

/// What a prepared call is, of a context that keeps that ([`Context::keep_calls`](crate::Context::keep_calls)). No kernel has
/// to run for it: a device of wgpu's `noop` backend prepares calls on a machine without a GPU.
///
/// A host makes two buffers of [`fixed`](Call::fixed) and [`live`](Call::live), one of [`scratch_bytes`](Call::scratch_bytes),
/// and for each step a bind group: at 0 the step's parameters, as a uniform; at 1 to 7 its bindings, each as a storage
/// buffer that can be written. It then records the steps in order. The WGSL is the kernel's
/// `compose`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The dispatches in order.
    pub steps: Vec<CallStep>,
    /// Parameters that stay as they are.
    pub fixed: Vec<u8>,
    /// Parameters that steps write over; empty for most calls.
    pub live: Vec<u8>,
    /// Bytes of scratch. What they hold before does not matter.
    pub scratch_bytes: u64,
}

/// One dispatch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallStep {
    /// The kernel: its module and entry point.
    pub kernel: Kernel,
    /// Workgroups in x, y and z.
    pub groups: [u32; 3],
    /// Which parameters binding 0 reaches,
    pub block: Block,
    /// from which byte on,
    pub offset: u64,
    /// and how many bytes.
    pub size: u64,
    /// What bindings 1 to 7 reach.
    pub bindings: [Bound; STORAGE_BINDINGS],
}

/// One of the two blocks of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// [`Call::fixed`].
    Fixed,
    /// [`Call::live`].
    Live,
}

/// What a storage binding reaches.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// No tensor; any bytes stand in, 16 at least, of which no two bindings of a step have the same.
    Nothing,
    /// Bytes of a buffer of the caller's.
    Buffer {
        /// Which, as the tensor had it that `prepare` was given.
        buffer: wgpu::Buffer,
        /// From which byte on.
        start: u64,
        /// How many.
        size: u64,
    },
    /// Bytes of the scratch.
    Scratch {
        /// From which byte on.
        start: u64,
        /// How many.
        size: u64,
    },
    /// All of [`Call::live`].
    Live,
}

/// The parameters of all steps: those that stay as they are, and apart from them those that steps write over, which no
/// step may have both as uniform and as storage.
#[derive(Default)]
pub(crate) struct Laid {
    pub(crate) fixed: Vec<u8>,
    pub(crate) live: Vec<u8>,
    pub(crate) places: Vec<Place>,
}

/// Where a step's parameters lie.
pub(crate) struct Place {
    pub(crate) block: Block,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Call {
    pub(crate) fn of(drafts: &[Dispatch<'_>], laid: Laid, scratch_bytes: u64) -> Call {
        let steps = drafts
            .iter()
            .zip(&laid.places)
            .map(|(draft, place)| CallStep {
                kernel: draft.step.kernel,
                groups: draft.step.groups,
                block: place.block,
                offset: place.offset,
                size: place.size,
                bindings: draft.bindings.map(Bound::of),
            });
        Call {
            steps: steps.collect(),
            fixed: laid.fixed,
            live: laid.live,
            scratch_bytes,
        }
    }
}

impl Bound {
    fn of(bind: Bind<'_>) -> Bound {
        match bind {
            Bind::Nothing => Bound::Nothing,
            Bind::Buffer {
                buffer,
                start,
                size,
            } => Bound::Buffer {
                buffer: buffer.clone(),
                start,
                size,
            },
            Bind::Scratch { start, size } => Bound::Scratch { start, size },
            Bind::Live => Bound::Live,
        }
    }
}
