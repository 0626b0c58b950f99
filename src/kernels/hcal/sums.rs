//! A batch over several devices: the sums of a device's samples by class, and a call that takes those of all devices.
//!
//! The first half finds the samples of each class as an ordinary call does, and adds up the features of each in the order of
//! samples. In the second a class of a level beyond the finest has its vector at its own number, whether its samples are here
//! or not; the finest level's are the device's samples as ever, and only their number is that of all devices.

use crate::device::context::Context;
use crate::device::live::Given;
use crate::device::plan::{Bind, Binds, Draft, Target};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::Tensor;
use crate::error::{Error, ErrorKind};
use crate::kernels::gradient::{Gradient, tensor};
use crate::kernels::hcal::call::{
    HcalInputs, HcalOutputs, HcalSums, Wants, inspect_merged, inspect_partial,
};
use crate::kernels::hcal::params::{
    HCAL_SUMS, HcalParams, MergedBindings, SumBindings, WindowParams, losses,
};
use crate::kernels::hcal::plan::{Call, Level, Stand};
use crate::losses::balance::Balance;
use crate::losses::hcal::{Aggregation, Hcal};

impl Hcal {
    /// The first half of a call whose batch lies over several devices: the sums of this one's samples by class, f32
    /// `[Hcal::sums_len(levels, D)]`, which the caller adds up over all of them ([`losses::hcal`](crate::losses::hcal) has their
    /// order). Every word is written, or with [`Gradient::AddTo`] added to, for a batch in several parts on one device.
    ///
    /// Of the inputs features, labels and levels are read; the others are checked, and a seed stays as it is. Scratch: `B D`
    /// words, 12 B words for each level, 2 words for each class, and with `AddTo` the sums once more. Dispatches: three, and
    /// two for each level beyond the first and window of its classes.
    ///
    /// # Errors
    /// [`Aggregation::Tree`]; no labels; what [`Hcal::prepare`] refuses of settings and inputs; sums of another length or type, or
    /// that overlap an input. Nothing has been written then.
    pub fn prepare_partial(
        &self,
        cx: &Context,
        inputs: &HcalInputs<'_>,
        sums: Gradient<'_>,
    ) -> Result<Prepared, Error> {
        self.check_over_devices()?;
        let bytes = inspect_partial(self, inputs, sums)?;
        let draft = partial(cx.target(), self, inputs, sums)?;
        prepared::build(cx, draft.moving(bytes))
    }

    /// The second half, with the sums of all devices: the losses, and the gradients for this device's samples.
    ///
    /// Level 1's loss and its gradient to prototypes are this device's part of those of the batch, to be added up over the devices;
    /// of the other levels both are whole, and the same on every device that got the same words. The gradient to features is
    /// complete. Predictions and violations are those of this device's samples. Weights, `loss` and the gradient to log
    /// variances are the batch's.
    ///
    /// Without [`HcalSums::losses`] a call has `losses`, and with [`Balance::Fixed`] gradients and weights too. A balance that
    /// moves its state on moves this device's in each call that has them.
    ///
    /// Scratch is that of [`Hcal::prepare`], with the most classes of a level beyond the first in the place of B where these are
    /// more; what is kept of all classes has to fit one storage binding.
    ///
    /// # Errors
    /// [`Aggregation::Tree`]; what [`Hcal::prepare`] refuses; sums or losses of another length or type, or that overlap an output;
    /// weights, `loss` or gradients asked for without the losses that they follow from. Nothing has been written then.
    pub fn prepare_merged(
        &self,
        cx: &Context,
        inputs: &HcalInputs<'_>,
        sums: &HcalSums<'_>,
        outputs: &HcalOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check_over_devices()?;
        let (bytes, live) = inspect_merged(self, inputs, sums, outputs)?;
        let draft = merged(cx.target(), self, inputs, sums, outputs, &live)?;
        prepared::build(cx, draft.moving(bytes))
    }

    fn check_over_devices(&self) -> Result<(), Error> {
        self.check()?;
        match self.aggregation {
            Aggregation::SampleMean => Ok(()),
            Aggregation::Tree => Err(Error::refused(
                "aggregation",
                "the mean of child classes' means is not over devices: means over samples are",
            )),
        }
    }
}

/// The rows of a level beyond the first, one for each class, in a tensor of sums.
fn rows_of<'a>(sums: Tensor<'a>, levels: &[usize], dim: usize, k: usize) -> Tensor<'a> {
    let words = dim + 1;
    let before: usize = levels.iter().take(k).skip(1).sum();
    let classes = levels.get(k).copied().unwrap_or(0);
    sums.of_cols(1 + before * words, words)
        .with_row_stride(words)
        .of_rows(0, classes)
}

/// Plans a checked first half.
fn partial<'a>(
    target: Target<'_>,
    config: &Hcal,
    inputs: &HcalInputs<'a>,
    sums: Gradient<'a>,
) -> Result<Draft<'a>, Error> {
    let outputs = HcalOutputs::default();
    let of_call = (Wants::of(&outputs), Stand::Samples);
    let mut call = Call::new(target, config, inputs, &outputs, of_call)?;
    let mut place = |of: &dyn Fn(Tensor<'a>) -> Tensor<'a>| {
        call.place("sums", sums.part(of))
            .map(|part| tensor(Some(part)))
    };
    let (classes, dim) = (inputs.levels.host.classes(), inputs.features.cols());
    let labelled = place(&|sums| sums.of_cols(0, 1))?;
    let mut rows = vec![None];
    for k in 1..classes.len() {
        rows.push(place(&|sums| rows_of(sums, classes, dim, k))?);
    }
    if classes.len() > 1 {
        call.features()?;
    }
    call.index()?;
    call.count(labelled)?;
    for (level, rows) in call.levels.clone().iter().zip(rows) {
        if let Some(rows) = rows {
            call.add_up(level, rows)?;
        }
    }
    call.rest()
}

/// Refuses what one storage binding does not hold: unlike the sums, it is not taken in windows.
fn fits(target: Target<'_>, what: &str, bind: Bind<'_>) -> Result<(), Error> {
    let most = target.caps.max_binding;
    match bind {
        Bind::Scratch { size, .. } if size > most => Err(Error::new(
            ErrorKind::Unsupported,
            "levels",
            format!(
                "classes whose {what} have at most {most} bytes (one storage binding of this device)"
            ),
            format!("{size} bytes"),
        )),
        _ => Ok(()),
    }
}

/// Plans a checked second half.
fn merged<'a>(
    target: Target<'_>,
    config: &Hcal,
    inputs: &HcalInputs<'a>,
    sums: &HcalSums<'a>,
    outputs: &HcalOutputs<'a>,
    settings: &Given<'a>,
) -> Result<Draft<'a>, Error> {
    let of_call = (Wants::of(outputs), Stand::Classes);
    let mut call = Call::new(target, config, inputs, outputs, of_call)?;
    fits(target, "records", call.state.bind)?;
    fits(target, "means", call.means.bind())?;
    fits(target, "gradients", call.gradients.bind())?;
    call.dispatches.push_settings(settings)?;
    call.features()?;
    if call.wants.losses {
        call.all_prototypes(false)?;
        let (classes, dim) = (inputs.levels.host.classes(), inputs.features.cols());
        for (k, level) in call.levels.clone().iter().enumerate().skip(1) {
            call.divide(level, rows_of(sums.sums, classes, dim, k))?;
        }
        call.shares()?;
        call.contrast()?;
        let (labelled, at) = target.view_all("sums", sums.sums.of_cols(0, 1))?;
        let (all_losses, all_at) = target.view_all("all_losses", sums.losses)?;
        let module = losses(true, target.variant.workgroup);
        call.level_losses(module, (at, all_at), |own| {
            Binds::from(MergedBindings {
                sums: labelled,
                all_losses,
                state: own.state,
                result: own.result,
            })
        })?;
        if sums.losses.is_some() || config.balance == Balance::Fixed {
            call.balance()?;
            call.gradients()?;
        }
    }
    call.rest()
}

impl<'a> Call<'a, '_> {
    /// Adds the dispatches of the module of sums for so many lanes, of so many loads each.
    fn push_sums(
        &mut self,
        entry: &'static str,
        work: (u64, u64),
        params: HcalParams,
        bindings: SumBindings<'a>,
    ) -> Result<(), Error> {
        let module = HCAL_SUMS.module(self.target.variant.workgroup);
        self.push_lanes((module, entry), work, self.lanes(), params, bindings)
    }

    /// How many samples have a label at the finest level.
    fn count(&mut self, labelled: Option<Tensor<'a>>) -> Result<(), Error> {
        let (sums, result) = self.target.view_all("sums", labelled)?;
        let shared = self.levels.first().map(|level| level.params);
        let params = HcalParams {
            result,
            ..shared.unwrap_or_default()
        };
        let bindings = SumBindings {
            state: self.state.bind,
            sums,
            ..SumBindings::default()
        };
        let module = HCAL_SUMS.module(self.target.variant.workgroup);
        self.dispatches
            .push(module, "count", 1, |_| params, bindings)
    }

    /// The parameters and the binding for each window of classes of a level whose sums have these rows.
    fn windows_of_sums(
        &self,
        level: &Level<'a>,
        rows: Tensor<'a>,
    ) -> Result<Vec<(HcalParams, SumBindings<'a>)>, Error> {
        let most = self.target.rows_per_binding("sums", &rows)?;
        let window = |first: usize| {
            let count = most.min(level.classes - first);
            let (sums, result) = self.target.view_rows(rows, first, count);
            let params = HcalParams {
                result,
                window: WindowParams {
                    first_class: first as u32,
                    class_count: count as u32,
                    ..WindowParams::default()
                },
                ..level.params
            };
            let bindings = SumBindings {
                state: self.state.bind,
                sums,
                ..SumBindings::default()
            };
            (params, bindings)
        };
        Ok((0..level.classes).step_by(most).map(window).collect())
    }

    /// The sums of a level's classes.
    fn add_up(&mut self, level: &Level<'a>, rows: Tensor<'a>) -> Result<(), Error> {
        let (samples, quads) = (self.samples as u64, self.quads as u64);
        for (params, bindings) in self.windows_of_sums(level, rows)? {
            let words = u64::from(params.window.class_count) * rows.cols() as u64;
            let only_sums = SumBindings {
                sums: bindings.sums,
                ..SumBindings::default()
            };
            self.push_sums("clear", (words, 1), params, only_sums)?;
            let bindings = SumBindings {
                vectors: self.units.bind(),
                ..bindings
            };
            self.push_sums("add_up", (samples * quads, 6), params, bindings)?;
        }
        Ok(())
    }

    /// The means of a level's classes, and their records.
    fn divide(&mut self, level: &Level<'a>, rows: Tensor<'a>) -> Result<(), Error> {
        for (params, bindings) in self.windows_of_sums(level, rows)? {
            let params = HcalParams {
                vectors_row: level.means.unwrap_or(0),
                ..params
            };
            let bindings = SumBindings {
                given: self.means.bind(),
                ..bindings
            };
            let count = u64::from(params.window.class_count) * self.quads as u64;
            self.push_sums("divide", (count, 8), params, bindings)?;
        }
        Ok(())
    }
}
