//! The operation in burn's dispatch, in its fusion and in its autodiff. One operation carries every loss.
//!
//! Under fusion it waits in burn's stream like any other and runs with the tensors resolved, on the device's thread; a failure
//! there shows at a read only, which is why everything is checked before.

use crate::fused::launch::launch;
use crate::fused::{Call, Job, Made, Slot, Slots, Upstream};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Cube, DType, Shape, TensorMetadata, backend_extension,
};
use std::sync::Arc;

#[cfg(feature = "fusion")]
use crate::fused::{SlotMetadata, SlotsMetadata};
#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;

/// Most tensors that a gradient goes to.
const ROOTS: usize = 4;

/// What runs on the device, whatever is wanted of it.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub trait Run: Backend {
    /// Runs a call.
    #[fusion(meta = |_slots, call| call.describe())]
    fn wgloss_call(#[extension_type] slots: Slots<Self>, call: Arc<Call>) -> Slots<Self>;
}

impl Run for CubeBackend {
    fn wgloss_call(slots: Slots<Self>, call: Arc<Call>) -> Slots<Self> {
        launch(slots, &call)
    }
}

#[cfg(feature = "fusion")]
impl Call {
    /// What it will make, for fusion, which hands it out before it is there.
    fn describe(&self) -> SlotsMetadata {
        SlotsMetadata::new(self.outputs.iter().map(|made| {
            let spec = TensorSpec::new(Shape::from(made.shape.clone()), made.dtype);
            match made.dtype.is_float() {
                true => SlotMetadata::Float(spec),
                false => SlotMetadata::Int(spec),
            }
        }))
    }
}

/// What the modules reach: a loss, with gradients where they are wanted.
#[backend_extension(Cube, Autodiff)]
pub trait Differentiable: Backend {
    /// The loss, and what else the job makes.
    fn wgloss(#[extension_type] slots: Slots<Self>, job: Arc<Job>) -> Slots<Self>;
}

impl Differentiable for Cube {
    fn wgloss(slots: Slots<Self>, job: Arc<Job>) -> Slots<Self> {
        Self::wgloss_call(slots, job.call.clone())
    }
}

impl<B: Run, C: CheckpointStrategy> Differentiable for Autodiff<B, C> {
    fn wgloss(slots: Slots<Self>, job: Arc<Job>) -> Slots<Self> {
        let all = slots.into_list();
        let tensor = |slot: usize| match &all[slot] {
            Slot::Float(tensor) => tensor,
            other => unreachable!("a gradient to {other:?}"),
        };
        // Of all that can have a gradient, what is in the graph. The kernels make that to targets beside that to logits only.
        let tracked = |slot: usize| is_tracked::<B, C>(tensor(slot).node());
        let all_roots = || job.roots.iter().copied();
        let to_targets = all_roots().any(|(slot, name)| name == "grad_targets" && tracked(slot));
        let roots: Vec<(usize, &'static str)> = all_roots()
            .filter(|&(slot, name)| (to_targets && name == "grad_logits") || tracked(slot))
            .collect();
        let Some(&(first, _)) = roots.first() else {
            let inner = Slots::new(all.into_iter().map(into_inner));
            let made = B::wgloss_call(inner, job.call.clone());
            return Slots::new(made.into_list().into_iter().map(constant));
        };
        // Parents are an array: those beyond the roots are the first again, and get nothing.
        let guards =
            std::array::from_fn(|i| tensor(roots.get(i).map_or(first, |root| root.0)).node());
        let gradients = roots
            .iter()
            .map(|&(slot, name)| Made::gradient(name, tensor(slot)));
        let gradients: Vec<Made> = gradients.collect();
        let dtypes = roots
            .iter()
            .map(|&(slot, _)| tensor(slot).dtype())
            .collect();
        let inner: Vec<Slot<B>> = all.into_iter().map(into_inner).collect();
        let mut call = Call::clone(&job.call);
        let later = match job.upstream {
            Upstream::Read => {
                let mut later = call.clone();
                later.inputs.push("grad_loss");
                later.outputs = gradients;
                Some((inner.clone(), Arc::new(later)))
            }
            Upstream::One | Upstream::ByRow => {
                call.outputs.extend(gradients);
                None
            }
        };
        let mut made: Vec<Slot<B>> = B::wgloss_call(Slots::new(inner), Arc::new(call)).into_list();
        let rest = made.split_off(job.call.outputs.len());
        let state = State {
            gradients: match later {
                Some((slots, call)) => Wanted::Later(slots, call),
                None => Wanted::Made(rest),
            },
            dtypes,
        };
        let Slot::Float(loss) = std::mem::replace(&mut made[0], Slot::None) else {
            unreachable!("a loss has real numbers");
        };
        let loss = match Scale.prepare::<C>(guards).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(state, loss),
            OpsKind::UnTracked(prepared) => prepared.finish(loss),
        };
        let others = made.into_iter().skip(1).map(constant);
        Slots::new(std::iter::once(Slot::Float(loss)).chain(others))
    }
}

impl Made {
    /// A gradient to a tensor: f32 where the kernels have no other.
    fn gradient(name: &'static str, to: &impl TensorMetadata) -> Made {
        Made {
            name,
            shape: to.shape().to_vec(),
            dtype: match name {
                "grad_logits" => to.dtype(),
                _ => DType::F32,
            },
        }
    }
}

/// What the backward pass has.
#[derive(Clone, Debug)]
struct State<B: Backend> {
    gradients: Wanted<B>,
    dtypes: Vec<DType>,
}

/// Gradients of a loss.
#[derive(Clone, Debug)]
enum Wanted<B: Backend> {
    /// Made with the loss: the gradient from above multiplies them.
    Made(Vec<Slot<B>>),
    /// Made when the gradient from above is there, of these tensors.
    Later(Vec<Slot<B>>, Arc<Call>),
}

#[derive(Debug)]
struct Scale;

impl<B: Run> Backward<B, ROOTS> for Scale {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, ROOTS>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<B>(&ops.node);
        let State { gradients, dtypes } = ops.state;
        let gradients: Vec<Slot<B>> = match gradients {
            Wanted::Made(gradients) => gradients
                .into_iter()
                .map(|g| scaled(g, &upstream))
                .collect(),
            Wanted::Later(slots, call) => {
                let mut slots: Vec<_> = slots.into_iter().take(call.inputs.len() - 1).collect();
                slots.push(Slot::Float(upstream));
                B::wgloss_call(Slots::new(slots), call).into_list()
            }
        };
        for ((parent, gradient), dtype) in ops.parents.into_iter().zip(gradients).zip(dtypes) {
            let (Some(parent), Slot::Float(gradient)) = (parent, gradient) else {
                continue;
            };
            let gradient = match gradient.dtype() == dtype {
                true => gradient,
                false => B::float_cast(gradient, dtype.into()),
            };
            grads.register::<B>(parent.id, gradient);
        }
    }
}

/// A gradient times that from above, which has one number, or one for each row.
fn scaled<B: Backend>(gradient: Slot<B>, upstream: &FloatTensor<B>) -> Slot<B> {
    let Slot::Float(gradient) = gradient else {
        return gradient;
    };
    let mut shape = vec![1; gradient.shape().num_dims()];
    shape[0] = upstream.shape().num_elements();
    let upstream = match upstream.dtype() == gradient.dtype() {
        true => upstream.clone(),
        false => B::float_cast(upstream.clone(), gradient.dtype().into()),
    };
    let upstream = B::float_reshape(upstream, Shape::from(shape));
    Slot::Float(B::float_mul(gradient, upstream))
}

/// Whether a tensor is in the graph. There is no other public way to ask than to begin an operation on it.
fn is_tracked<B: Run, C: CheckpointStrategy>(node: NodeGuard) -> bool {
    #[derive(Debug)]
    struct Ask;
    impl<B: Backend> Backward<B, 1> for Ask {
        type State = ();
        fn backward(self, _: Ops<(), 1>, _: &mut Gradients, _: &mut Checkpointer) {}
    }
    let asked = Backward::<B, 1>::prepare::<C>(Ask, [node]);
    matches!(asked.compute_bound().stateful(), OpsKind::Tracked(_))
}

fn into_inner<B: Backend, C: CheckpointStrategy>(slot: Slot<Autodiff<B, C>>) -> Slot<B> {
    match slot {
        Slot::None => Slot::None,
        Slot::Float(tensor) => Slot::Float(tensor.into_primitive()),
        Slot::Int(tensor) => Slot::Int(tensor),
        Slot::Bool(tensor) => Slot::Bool(tensor),
    }
}

/// Something that no gradient goes through.
fn constant<B: Backend, C: CheckpointStrategy>(slot: Slot<B>) -> Slot<Autodiff<B, C>> {
    match slot {
        Slot::None => Slot::None,
        Slot::Float(tensor) => Slot::Float(<Autodiff<B, C> as AutodiffBackend>::from_inner(tensor)),
        Slot::Int(tensor) => Slot::Int(tensor),
        Slot::Bool(tensor) => Slot::Bool(tensor),
    }
}
