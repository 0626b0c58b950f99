//! What a row loss is to the driver: files, statistics, settings.

use crate::device::live::Live;
use crate::device::module::{Constant, File, Mirror, Part, wgsl};
use crate::device::tensor::Tensor;
use crate::kernels::rows::params::Settings;
use crate::losses::reduction::Reduction;
use crate::losses::takes::TargetKind;

/// What a row loss is made of.
#[derive(Debug)]
pub(crate) struct RowLoss {
    /// Its name and own files.
    pub(crate) part: Part,
    /// The statistics of a row that it works with.
    pub(crate) accumulator: &'static Accumulator,
    /// What the targets mean.
    pub(crate) targets: TargetKind,
    /// How lanes gather statistics by short cuts, where there is such a way.
    pub(crate) quick: Option<&'static Quick>,
    /// The same with a setting by label, which comes the way of a threshold.
    pub(crate) by_label: Option<&'static RowLoss>,
    /// Whether a logit of -inf leaves its label out.
    pub(crate) masked_logits: bool,
    /// Whether its gradient may be joined with that of another half.
    pub(crate) joins: bool,
    /// Whether it is a stage, which leaves or finds something in scratch.
    pub(crate) stage: Option<Stage>,
}

/// A stage that hands on through scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// WDL's first: its gradient goes nowhere but into a tensor of f32.
    First,
    /// WDL's last: it begins each row with what lies in scratch.
    Last,
    /// It counts, and leaves the number of all rows.
    Count,
    /// It has no loss of its own, and the gradient of another half.
    Joined,
}

/// The statistics of a row: how lanes gather them, and what a row's gradient needs of them.
#[derive(Debug)]
pub(crate) struct Accumulator {
    pub(crate) part: Part,
    /// f32 words of an accumulator and of a row's coefficients.
    pub(crate) acc_words: u32,
    pub(crate) coef_words: u32,
    /// Changes when the words of an accumulator come to mean something else: devices may exchange them.
    pub(crate) version: u32,
    /// Whether it brings its own way for a lane to gather them.
    pub(crate) tally: bool,
    /// Whether gradients need nothing of a row, so that one sweep makes loss and gradient.
    pub(crate) once: bool,
}

/// One sweep, as the loss gathers.
static ONCE: Part = Part::new("", &[wgsl!("shared/statistics_once.wgsl")]);
/// One sweep, label by label.
static EXACT: Part = Part::new(
    "",
    &[
        wgsl!("shared/tally_acc.wgsl"),
        wgsl!("shared/statistics_once.wgsl"),
    ],
);

/// An [`Accumulator`] of so many words, with the file by which a lane reads another's in a subgroup.
macro_rules! accumulator {
    ($acc:literal, $coef:literal, $shuffle:literal, $files:expr) => {
        $crate::kernels::rows::loss::Accumulator {
            part: $crate::device::module::Part {
                subgroup_files: &[$crate::device::module::wgsl!($shuffle)],
                constants: &[
                    ("ACC_WORDS", $crate::device::module::Constant::Is($acc)),
                    ("COEF_WORDS", $crate::device::module::Constant::Is($coef)),
                ],
                ..$crate::device::module::Part::new("", $files)
            },
            acc_words: $acc,
            coef_words: $coef,
            version: 1,
            tally: false,
            once: false,
        }
    };
}
pub(crate) use accumulator;

/// Statistics by short cuts that are checked.
#[derive(Debug)]
pub(crate) struct Quick {
    /// In steps of four labels,
    pub(crate) four: Part,
    /// and of eight.
    pub(crate) eight: Part,
}

/// A [`Quick`] of files that say what is summed.
macro_rules! quick {
    ($($file:literal),*) => {
        $crate::kernels::rows::loss::Quick {
            four: $crate::device::module::Part::new("", &[
                $($crate::device::module::wgsl!($file),)*
                $crate::device::module::wgsl!("shared/quick_4.wgsl"),
                $crate::device::module::wgsl!("shared/statistics_checked.wgsl"),
            ]),
            eight: $crate::device::module::Part::new("", &[
                $($crate::device::module::wgsl!($file),)*
                $crate::device::module::wgsl!("shared/quick_8.wgsl"),
                $crate::device::module::wgsl!("shared/statistics_checked.wgsl"),
            ]),
        }
    };
}
pub(crate) use quick;

impl RowLoss {
    pub(crate) const fn new(
        name: &'static str,
        targets: TargetKind,
        accumulator: &'static Accumulator,
        files: &'static [File],
        mirrors: &'static [Mirror],
    ) -> RowLoss {
        RowLoss {
            part: Part {
                mirrors,
                ..Part::new(name, files)
            },
            accumulator,
            targets,
            quick: None,
            by_label: None,
            masked_logits: false,
            joins: false,
            stage: None,
        }
    }

    /// What it is with a setting by label.
    pub(crate) const fn with_by_label(mut self, loss: &'static RowLoss) -> RowLoss {
        self.by_label = Some(loss);
        self
    }

    /// A logit of -inf leaves its label out.
    pub(crate) const fn with_masked_logits(mut self) -> RowLoss {
        self.masked_logits = true;
        self
    }

    /// It is a stage.
    pub(crate) const fn with_stage(mut self, stage: Stage) -> RowLoss {
        self.stage = Some(stage);
        self
    }

    /// Its gradient may be joined with that of another half.
    pub(crate) const fn with_joins(mut self) -> RowLoss {
        self.joins = true;
        self
    }

    /// With a quick way to gather statistics.
    pub(crate) const fn with_quick(mut self, quick: &'static Quick) -> RowLoss {
        self.quick = Some(quick);
        self
    }

    /// The part by which lanes gather statistics from vectors of `step` labels.
    pub(crate) fn statistics(&self, step: u32) -> &'static Part {
        match self.quick {
            Some(quick) if step == 8 => &quick.eight,
            Some(quick) => &quick.four,
            None if self.accumulator.tally => &ONCE,
            None => &EXACT,
        }
    }

    /// With constants of its own.
    pub(crate) const fn with_constants(
        mut self,
        constants: &'static [(&'static str, Constant)],
    ) -> RowLoss {
        self.part.constants = constants;
        self
    }
}

/// A row loss with its settings, as the kernels see them.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) loss: &'static RowLoss,
    pub(crate) own: Settings,
    pub(crate) smoothing: f32,
    pub(crate) row_mean: bool,
    pub(crate) reduction: Reduction,
    /// Settings that buffers can give.
    pub(crate) live: &'static [Live],
    /// The gradient of another half, a row for each class, in scratch.
    pub(crate) turned: Option<Tensor<'static>>,
}

impl Row {
    /// With the loss's own settings, whose size its WGSL knows.
    pub(crate) fn new<S: bytemuck::Pod>(
        loss: &'static RowLoss,
        settings: S,
        live: &'static [Live],
        reduction: Reduction,
    ) -> Row {
        Row {
            loss,
            own: Settings::of(settings),
            smoothing: 0.0,
            row_mean: false,
            reduction,
            live,
            turned: None,
        }
    }
}

/// The [`Live`] settings of a row loss: of each the fields of its struct, or of another, and what becomes of the number there.
macro_rules! live {
    ($($name:literal: $($params:ident.$field:ident $becomes:expr),+;)*) => {
        &[$($crate::device::live::Live {
            name: $name,
            fields: &[$($crate::kernels::rows::loss::live!(@ $params $field $becomes)),+],
        },)*]
    };
    (@ RowGeneral $field:ident $becomes:expr) => {
        $crate::device::live::Field::of::<$crate::kernels::rows::params::RowParams>(
            std::mem::offset_of!($crate::kernels::rows::params::RowParams, general.$field),
            $becomes,
        )
    };
    (@ $settings:ident $field:ident $becomes:expr) => {
        $crate::device::live::Field::of::<$crate::kernels::rows::params::RowParams>(
            std::mem::offset_of!($crate::kernels::rows::params::RowParams, own)
                + std::mem::offset_of!($settings, $field),
            $becomes,
        )
    };
}
pub(crate) use live;
