//! The losses as our kernels compute them, on burn's own device, queue and buffers.
//!
//! What a call is ([`Call`]) does not know its tensors; those come in numbered slots, so that one operation of burn's dispatch
//! ([`op`]) carries every loss. What happens on the device is [`launch`].

mod buffers;
pub(crate) mod cache;
mod kernels;
mod launch;
mod op;

pub(crate) use kernels::Loss;
pub(crate) use op::Differentiable;

use crate::targets::Targets;
use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, DType, Dispatch, ExtensionType};
use burn::tensor::{Bool, Int, IntDType, Tensor};
use std::sync::Arc;

/// A tensor of a call, of whichever kind, or none.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Slot<B: Backend> {
    /// None.
    None,
    /// Real numbers.
    Float(FloatTensor<B>),
    /// Whole numbers.
    Int(IntTensor<B>),
    /// Flags.
    Bool(BoolTensor<B>),
}

/// Declares the slots: burn's dispatch maps structs field by field, and has no lists.
macro_rules! slots {
    ($($field:ident)*) => {
        /// The tensors of a call, in the order in which the call names them.
        #[derive(Clone, Debug, ExtensionType)]
        #[extension_type(fusion: cfg(feature = "fusion"))]
        pub struct Slots<B: Backend> {
            $(#[extension_type] $field: Slot<B>,)*
        }

        impl<B: Backend> Slots<B> {
            fn new(slots: impl IntoIterator<Item = Slot<B>>) -> Self {
                let mut slots = slots.into_iter();
                let all = Slots { $($field: slots.next().unwrap_or(Slot::None),)* };
                debug_assert!(slots.next().is_none(), "more tensors than slots");
                all
            }

            fn into_list(self) -> Vec<Slot<B>> {
                vec![$(self.$field),*]
            }
        }

        #[cfg(feature = "fusion")]
        impl SlotsMetadata {
            fn new(slots: impl IntoIterator<Item = SlotMetadata>) -> Self {
                let mut slots = slots.into_iter();
                SlotsMetadata { $($field: slots.next().unwrap_or(SlotMetadata::None),)* }
            }
        }
    };
}

slots! { a b c d e f g h i j k l m n }

/// What a call does: a loss, what each of its slots holds, and what it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    loss: Loss,
    inputs: Vec<&'static str>,
    outputs: Vec<Made>,
}

/// A tensor that a call makes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Made {
    name: &'static str,
    shape: Vec<usize>,
    dtype: DType,
}

/// How the gradient that arrives from above reaches the gradients of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// It is one number: gradients are made with the loss, and multiplied by it.
    One,
    /// It has a number for each row, and so have the gradients, which are made with the loss: its rows are multiplied.
    ByRow,
    /// It has many numbers that all matter to each gradient: these are made when it is there, in a submission of their own.
    Read,
}

/// A differentiable loss, before its gradients are known to be wanted or not.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) call: Arc<Call>,
    /// The slots that have gradients, with the names of these.
    roots: Vec<(usize, &'static str)>,
    upstream: Upstream,
}

/// Collects the tensors of a loss.
pub(crate) struct Builder {
    call: Call,
    roots: Vec<(usize, &'static str)>,
    upstream: Upstream,
    slots: Vec<Slot<Dispatch>>,
}

impl Builder {
    /// A loss of as many numbers as `losses`.
    pub(crate) fn new(loss: Loss, losses: usize, upstream: Upstream) -> Self {
        let mut all = Builder::nothing(loss).makes("loss", vec![losses], DType::F32);
        all.upstream = upstream;
        all
    }

    /// A call that makes nothing yet.
    pub(crate) fn nothing(loss: Loss) -> Self {
        Builder {
            call: Call {
                loss,
                inputs: Vec::new(),
                outputs: Vec::new(),
            },
            roots: Vec::new(),
            upstream: Upstream::One,
            slots: Vec::new(),
        }
    }

    fn push(&mut self, name: &'static str, slot: Slot<Dispatch>) {
        self.call.inputs.push(name);
        self.slots.push(slot);
    }

    /// Real numbers that a gradient goes to, of which `gradient` is the name.
    pub(crate) fn root<const D: usize>(
        mut self,
        name: &'static str,
        gradient: &'static str,
        tensor: impl Into<Option<Tensor<D>>>,
    ) -> Self {
        if let Some(tensor) = tensor.into() {
            self.roots.push((self.slots.len(), gradient));
            self.push(name, Slot::Float(tensor.into_dispatch()));
        }
        self
    }

    /// Targets that no gradient goes to.
    pub(crate) fn targets(self, targets: Targets) -> Self {
        match targets {
            Targets::Bool(targets) => self.bool("targets", targets),
            Targets::Int(targets) => self.int("targets", targets),
            Targets::Float(targets) => self.float("targets", targets),
        }
    }

    /// Real numbers.
    pub(crate) fn float<const D: usize>(
        mut self,
        name: &'static str,
        tensor: impl Into<Option<Tensor<D>>>,
    ) -> Self {
        if let Some(tensor) = tensor.into() {
            self.push(name, Slot::Float(tensor.into_dispatch()));
        }
        self
    }

    /// Whole numbers, or flags where the kernels take words.
    pub(crate) fn int<const D: usize>(
        mut self,
        name: &'static str,
        tensor: impl Into<Option<Tensor<D, Int>>>,
    ) -> Self {
        if let Some(tensor) = tensor.into() {
            let tensor = match tensor.dtype() {
                DType::I32 | DType::U32 | DType::U8 => tensor,
                _ => tensor.cast(IntDType::I32),
            };
            self.push(name, Slot::Int(tensor.into_dispatch()));
        }
        self
    }

    /// Flags, where the kernels take words or bytes.
    pub(crate) fn bool<const D: usize>(
        mut self,
        name: &'static str,
        tensor: Tensor<D, Bool>,
    ) -> Self {
        self.push(name, Slot::Bool(tensor.into_dispatch()));
        self
    }

    /// Flags, where the kernels take bytes: burn has none on most wgpu devices, so four go into a word.
    pub(crate) fn flags<const D: usize>(
        self,
        name: &'static str,
        flags: Option<Tensor<D, Bool>>,
    ) -> Self {
        self.int(name, flags.map(|flags| packed(flags, 4, 8)))
    }

    /// Something else that is made with the loss, and that no gradient goes through.
    pub(crate) fn makes(mut self, name: &'static str, shape: Vec<usize>, dtype: DType) -> Self {
        self.call.outputs.push(Made { name, shape, dtype });
        self
    }

    /// Runs it: the loss, and what else it makes.
    pub(crate) fn run(self) -> Vec<Slot<Dispatch>> {
        let made = self.call.outputs.len();
        let slots = Slots::new(self.slots);
        let job = Job {
            call: Arc::new(self.call),
            roots: self.roots,
            upstream: self.upstream,
        };
        let made_slots = <Dispatch as Differentiable>::wgloss(slots, Arc::new(job));
        made_slots.into_list().into_iter().take(made).collect()
    }

    /// Runs it, where it makes a loss alone.
    pub(crate) fn loss(self) -> Tensor<1> {
        let mut made = self.run();
        float(made.swap_remove(0))
    }
}

/// The tensor of real numbers in a slot.
pub(crate) fn float<const D: usize>(slot: Slot<Dispatch>) -> Tensor<D> {
    match slot {
        Slot::Float(tensor) => Tensor::from_dispatch(tensor),
        other => unreachable!("a loss made {other:?} where it makes real numbers"),
    }
}

/// The tensor of whole numbers in a slot.
pub(crate) fn int<const D: usize>(slot: Slot<Dispatch>) -> Tensor<D, Int> {
    match slot {
        Slot::Int(tensor) => Tensor::from_dispatch(tensor),
        other => unreachable!("a loss made {other:?} where it makes whole numbers"),
    }
}

/// `per_word` flags of `bits` bits each in every word, the first lowest; a row of several dimensions begins where the one
/// before ends.
pub(crate) fn packed<const D: usize>(
    flags: Tensor<D, Bool>,
    per_word: usize,
    bits: u32,
) -> Tensor<1, Int> {
    let count = flags.shape().num_elements();
    let words = count.div_ceil(per_word);
    let device = flags.device();
    let mut flags = flags.int().cast(IntDType::I32).reshape([count]);
    if words * per_word > count {
        let rest = Tensor::zeros([words * per_word - count], (&device, DType::I32));
        flags = Tensor::cat(vec![flags, rest], 0);
    }
    let place = |k: usize| 1_i32.wrapping_shl(bits * k as u32);
    let places: Vec<i32> = (0..per_word).map(place).collect();
    let places = Tensor::<1, Int>::from_data(places.as_slice(), (&device, DType::I32));
    let parts = flags.reshape([words, per_word]) * places.reshape([1, per_word]);
    parts.sum_dim(1).reshape([words])
}
