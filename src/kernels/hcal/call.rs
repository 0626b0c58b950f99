//! What HCAL reads and writes on the device, and the checks of it.

use crate::device::inspect::{Inspection, Shape};
use crate::device::live::{self, Becomes, Field, Given, Live, Setting};
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::balance;
use crate::kernels::balance::inspect_state;
use crate::kernels::gradient::{self, Gradient};
use crate::kernels::hcal::params::HcalParams;
use crate::kernels::on_device::OnDevice;
use crate::losses::balance::{Balance, BalanceState};
use crate::losses::hcal::Hcal;
use crate::losses::hierarchy::Levels;
use crate::losses::labels::{AfterCall, Noise, Seed};
use std::mem::offset_of;

/// What HCAL reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct HcalInputs<'a> {
    /// `[B, D]`, f32, f16 or bf16.
    pub features: Tensor<'a>,
    /// `[C_k, D]` for each level, f32, f16 or bf16.
    pub prototypes: &'a [Tensor<'a>],
    /// u32 `[m, B]`: a row for each level; [`Levels::NONE`] where there is no label. Needed for losses.
    pub labels: Option<Tensor<'a>>,
    /// The levels.
    pub levels: OnDevice<'a, Levels>,
    /// The perturbation of the prototypes, f32; absent: none, for validation or an ablation.
    pub noise: Option<Noise<&'a [Tensor<'a>], Seed<Tensor<'a>>>>,
    /// State or parameters of the balance, as [`BalanceInputs::state`](crate::BalanceInputs::state); with
    /// [`Balance::Fixed`](crate::Balance::Fixed) the weights of the levels, which each run of the call reads anew.
    pub balance: Option<BalanceState<Tensor<'a>>>,
    /// Upstream gradient, f32 `[1]`; absent: 1.
    pub grad_loss: Option<Tensor<'a>>,
    /// Settings that lie on the device: `temperature`, `epsilon` of seeded noise, and `gamma` of the adaptive weights (of
    /// DWA nothing, since its temperature has the other's name).
    pub settings: &'a [Setting<'a>],
}

/// What HCAL writes; what is absent is not computed. Predictions and violations alone: leave out all others, and
/// labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct HcalOutputs<'a> {
    /// f32 `[m]`: the loss of each level.
    pub losses: Option<Tensor<'a>>,
    /// f32 `[m]`: their weights.
    pub weights: Option<Tensor<'a>>,
    /// f32 `[1]`.
    pub loss: Option<Tensor<'a>>,
    /// f32 `[B, D]`.
    pub grad_features: Option<Gradient<'a>>,
    /// f32 `[C_k, D]` for each level.
    pub grad_prototypes: Option<&'a [Gradient<'a>]>,
    /// f32 `[m]`: the gradient to the log variances of [`Balance::Uncertainty`](crate::Balance::Uncertainty).
    pub grad_log_variances: Option<Gradient<'a>>,
    /// u32 `[m, B]`.
    pub predictions: Option<Tensor<'a>>,
    /// u32 `[m + 1]`, added to, so that calls of an epoch go to one tensor that was zeros at its beginning: samples,
    /// samples with a violation, and violations of each link from level `k` to `k + 1`. HVR by sample is the second
    /// through the first; by edge, the sum of the rest through `m - 1` times the first.
    pub violations: Option<Tensor<'a>>,
}

/// What the second half of a call takes whose batch lies over several devices.
#[derive(Clone, Copy, Debug)]
pub struct HcalSums<'a> {
    /// f32 `[Hcal::sums_len(levels, D)]`: the sums of all devices, added up.
    pub sums: Tensor<'a>,
    /// f32 `[m]`: the losses of all levels, level 1's added up over the devices. The balance takes them in place of its own.
    pub losses: Option<Tensor<'a>>,
}

/// What a call computes beyond the state of its inputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) losses: bool,
    pub(super) to_features: bool,
    pub(super) to_prototypes: bool,
    pub(super) predictions: bool,
}

impl Wants {
    pub(super) fn of(outputs: &HcalOutputs<'_>) -> Wants {
        let to_features = outputs.grad_features.is_some();
        let to_prototypes = outputs.grad_prototypes.is_some();
        Wants {
            losses: to_features
                || to_prototypes
                || outputs.losses.is_some()
                || outputs.weights.is_some()
                || outputs.loss.is_some()
                || outputs.grad_log_variances.is_some(),
            to_features,
            to_prototypes,
            predictions: outputs.predictions.is_some() || outputs.violations.is_some(),
        }
    }

    pub(super) fn gradient(&self) -> bool {
        self.to_features || self.to_prototypes
    }
}

/// The tensors of a call while they are checked.
struct Tensors<'a, 'c> {
    all: Inspection<'a>,
    levels: &'c Levels,
    samples: usize,
    dim: usize,
}

/// The settings that can come from buffers.
fn possible(config: &Hcal, inputs: &HcalInputs<'_>) -> Vec<Live> {
    const TEMPERATURE: &[Field] = &[Field::of::<HcalParams>(
        offset_of!(HcalParams, scale),
        Becomes::Over { times: 1.0 },
    )];
    const EPSILON: &[Field] = &[Field::of::<HcalParams>(
        offset_of!(HcalParams, epsilon),
        Becomes::ITSELF,
    )];
    let live = |name, fields| Live { name, fields };
    let mut all = vec![live("temperature", TEMPERATURE)];
    if matches!(inputs.noise, Some(Noise::Seeded(_))) {
        all.push(live("epsilon", EPSILON));
    }
    if matches!(config.balance, Balance::Adaptive { .. }) {
        all.extend(balance::live(&config.balance));
    }
    all
}

/// Checks the tensors of a call, and gives their bytes.
pub(super) fn inspect<'a>(
    config: &Hcal,
    inputs: &HcalInputs<'a>,
    outputs: &HcalOutputs<'a>,
) -> Result<(u64, Given<'a>), Error> {
    Tensors::of(inputs).call(config, inputs, outputs)
}

/// The same of a call that takes the sums of all devices.
pub(super) fn inspect_merged<'a>(
    config: &Hcal,
    inputs: &HcalInputs<'a>,
    sums: &HcalSums<'a>,
    outputs: &HcalOutputs<'a>,
) -> Result<(u64, Given<'a>), Error> {
    let mut tensors = Tensors::of(inputs);
    let f32s = &[DType::F32];
    let len = Hcal::sums_len(tensors.levels, tensors.dim);
    tensors
        .all
        .reads("sums", sums.sums, f32s, Shape::Vector(len))?;
    let m = Shape::Vector(tensors.levels.len());
    tensors.all.reads("all_losses", sums.losses, f32s, m)?;
    if sums.losses.is_none() {
        if outputs.loss.is_some() {
            return Err(Error::refused(
                "all_losses",
                "needed for the loss, which is made of the losses of all devices",
            ));
        }
        let follows = outputs.weights.is_some()
            || outputs.grad_log_variances.is_some()
            || Wants::of(outputs).gradient();
        if follows && config.balance != Balance::Fixed {
            return Err(Error::refused(
                "all_losses",
                "needed for weights and gradients, which follow from the losses of all devices unless weights are fixed",
            ));
        }
    }
    tensors.call(config, inputs, outputs)
}

/// Checks the tensors of a call that leaves its device's sums, and gives the bytes of those that it moves.
pub(super) fn inspect_partial<'a>(
    config: &Hcal,
    inputs: &HcalInputs<'a>,
    sums: Gradient<'a>,
) -> Result<u64, Error> {
    let mut tensors = Tensors::of(inputs);
    tensors.inputs(config, inputs, true)?;
    let f32s = &[DType::F32];
    let shape = Shape::Vector(Hcal::sums_len(tensors.levels, tensors.dim));
    gradient::inspect(&mut tensors.all, "sums", Some(sums), f32s, shape)?;
    live::inspect(&mut tensors.all, inputs.settings, &possible(config, inputs))?;
    tensors.all.finish()?;
    let moved = [
        Some(inputs.features),
        inputs.labels,
        Some(inputs.levels.words),
        sums.tensor(),
        sums.tensor().filter(|_| sums.adds()),
    ];
    let bytes = |t: Tensor<'_>| t.len() as u64 * t.dtype().size();
    Ok(moved.into_iter().flatten().map(bytes).sum())
}

impl<'a, 'c> Tensors<'a, 'c> {
    /// None yet, of a call of these inputs.
    fn of(inputs: &HcalInputs<'a>) -> Self
    where
        'a: 'c,
    {
        Tensors {
            all: Inspection::default(),
            levels: inputs.levels.host,
            samples: inputs.features.rows(),
            dim: inputs.features.cols(),
        }
    }

    /// Checks inputs and outputs, and gives the bytes of all, and the settings that are among them.
    fn call(
        mut self,
        config: &Hcal,
        inputs: &HcalInputs<'a>,
        outputs: &HcalOutputs<'a>,
    ) -> Result<(u64, Given<'a>), Error> {
        self.inputs(config, inputs, Wants::of(outputs).losses)?;
        if outputs.grad_log_variances.is_some() && config.balance != Balance::Uncertainty {
            return Err(Error::refused(
                "grad_log_variances",
                "uncertainty weighting alone has one",
            ));
        }
        self.outputs(outputs)?;
        let given = live::inspect(&mut self.all, inputs.settings, &possible(config, inputs))?;
        Ok((self.all.finish()?, given))
    }
}

impl<'a> Tensors<'a, '_> {
    /// The shape of one value for each sample at each level.
    fn of_samples(&self) -> Shape {
        Shape::Matrix(self.levels.len(), self.samples)
    }

    /// One tensor for each level, or where its gradient goes, which `check` looks at under its name and with its shape.
    fn each<T: Copy>(
        &mut self,
        name: &str,
        tensors: &[T],
        mut check: impl FnMut(&mut Inspection<'a>, String, T, Shape) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if tensors.len() != self.levels.len() {
            return Err(Error::shape(
                name,
                format!("one tensor for each of {} levels", self.levels.len()),
                tensors.len(),
            ));
        }
        for (k, (tensor, classes)) in tensors.iter().zip(self.levels.classes()).enumerate() {
            let name = format!("{name}_{}", k + 1);
            check(
                &mut self.all,
                name,
                *tensor,
                Shape::Matrix(*classes, self.dim),
            )?;
        }
        Ok(())
    }

    fn inputs(
        &mut self,
        config: &Hcal,
        inputs: &HcalInputs<'a>,
        needs_labels: bool,
    ) -> Result<(), Error> {
        let m = self.levels.len();
        let features = Shape::Matrix(self.samples, self.dim);
        self.all
            .reads("features", inputs.features, FLOATS, features)?;
        if self.dim == 0 {
            return Err(Error::shape("features", "at least one component", "[B, 0]"));
        }
        self.each(
            "prototypes",
            inputs.prototypes,
            |all, name, tensor, shape| all.reads(name, tensor, FLOATS, shape),
        )?;
        if inputs.labels.is_none() && needs_labels {
            return Err(Error::refused("labels", "needed to compute losses"));
        }
        let labels = self.of_samples();
        self.all
            .reads("labels", inputs.labels, &[DType::U32], labels)?;
        let words = Shape::Vector(self.levels.words_len());
        self.all
            .reads("levels", inputs.levels.words, &[DType::U32], words)?;
        let of_seed = Shape::Vector(2);
        match inputs.noise {
            None => {}
            Some(Noise::Given(noise)) => {
                self.each("noise", noise, |all, name, tensor, shape| {
                    all.reads(name, tensor, &[DType::F32], shape)
                })?;
            }
            Some(Noise::Seeded(seed)) => {
                let words = &[DType::U32];
                match seed.after {
                    AfterCall::Keep => self.all.reads("seed", seed.words, words, of_seed)?,
                    AfterCall::Advance => self.all.moves_on("seed", seed.words, words, of_seed)?,
                }
            }
        }
        inspect_state(
            &mut self.all,
            "balance ",
            &config.balance,
            m,
            &inputs.balance,
        )?;
        self.all.grad_loss(inputs.grad_loss, None)
    }

    fn outputs(&mut self, outputs: &HcalOutputs<'a>) -> Result<(), Error> {
        let m = self.levels.len();
        for (name, tensor, len, dtype) in [
            ("losses", outputs.losses, m, DType::F32),
            ("weights", outputs.weights, m, DType::F32),
            ("loss", outputs.loss, 1, DType::F32),
            ("violations", outputs.violations, m + 1, DType::U32),
        ] {
            self.all
                .writes(name, tensor, &[dtype], Shape::Vector(len))?;
        }
        for (name, grad, shape) in [
            (
                "grad_log_variances",
                outputs.grad_log_variances,
                Shape::Vector(m),
            ),
            (
                "grad_features",
                outputs.grad_features,
                Shape::Matrix(self.samples, self.dim),
            ),
        ] {
            gradient::inspect(&mut self.all, name, grad, &[DType::F32], shape)?;
        }
        if let Some(grads) = outputs.grad_prototypes {
            self.each("grad_prototypes", grads, |all, name, grad, shape| {
                gradient::inspect(all, name, Some(grad), &[DType::F32], shape)
            })?;
        }
        let predictions = self.of_samples();
        self.all.writes(
            "predictions",
            outputs.predictions,
            &[DType::U32],
            predictions,
        )
    }
}
