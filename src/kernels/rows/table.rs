//! The kernel table of the row losses: which kernel each runs, with which settings.

use crate::device::context::Context;
use crate::device::live::{Becomes, Live};
use crate::device::module::{Module, uniform, wgsl};
use crate::device::prepared::{self, Prepared};
use crate::error::Error;
use crate::kernels::rows::accumulators::carry;
use crate::kernels::rows::call::{RowInputs, RowOutputs, check};
use crate::kernels::rows::count;
use crate::kernels::rows::driver::{self, Among, FINISH};
use crate::kernels::rows::halves;
use crate::kernels::rows::loss::{
    Accumulator, Quick, Row, RowLoss, Stage, accumulator, live, quick,
};
use crate::kernels::rows::permutation::PERMUTATION;
use crate::kernels::rows::plan::plan;
use crate::kernels::rows::sides::GATHER;
use crate::kernels::rows::wdl;
use crate::kernels::rows::weights::WEIGH;
use crate::losses::bce::Bce;
use crate::losses::bp_mll::BpMll;
use crate::losses::labels::Threshold;
use crate::losses::per_label::{Asl, Dice, Focal, Hill, Splc};
use crate::losses::softmax_ce::SoftmaxCe;
use crate::losses::takes::TargetKind;
use crate::losses::zlpr::{Form, Half, Zlpr};

/// Two log-sum-exps.
static TWO_SIDED: Accumulator = accumulator!(
    5,
    6,
    "zlpr/two_sided_shuffle.wgsl",
    &[wgsl!("zlpr/side.wgsl"), wgsl!("zlpr/two_sided.wgsl")]
);
/// Two log-sum-exps, with the number of labels in each.
static PAIRS: Accumulator = accumulator!(
    6,
    6,
    "bp_mll/bp_mll_shuffle.wgsl",
    &[wgsl!("zlpr/side.wgsl")]
);
/// A sum over labels.
static SUM: Accumulator = Accumulator {
    tally: true,
    once: true,
    ..accumulator!(3, 2, "shared/sum_shuffle.wgsl", &[wgsl!("shared/sum.wgsl")])
};
static EXCESS: Accumulator = accumulator!(
    6,
    6,
    "zlpr/kl_excess_shuffle.wgsl",
    &[wgsl!("zlpr/side.wgsl")]
);
/// A softmax, and what the targets weigh against it.
static PROPORTIONS: Accumulator = accumulator!(6, 6, "softmax_ce/softmax_ce_shuffle.wgsl", &[]);
static OVERLAP: Accumulator = accumulator!(3, 3, "per_label/dice_shuffle.wgsl", &[]);

/// Sums of exponentials without their maximum, of hard labels.
static HARD_QUICK: Quick = quick!("zlpr/quick.wgsl", "zlpr/hard_quick.wgsl");
/// The same of soft labels.
static SOFT_QUICK: Quick = quick!("zlpr/quick.wgsl", "zlpr/soft_quick.wgsl");

uniform! {
    struct TwoSidedSettings as Settings {
        inv_t_pos: f32,
        inv_t_neg: f32,
    }
}
static ZLPR_HARD: RowLoss = RowLoss::new(
    "zlpr_hard",
    TargetKind::Hard,
    &TWO_SIDED,
    &[
        wgsl!("shared/no_settings.wgsl"),
        wgsl!("zlpr/unit_exponents.wgsl"),
        wgsl!("zlpr/hard.wgsl"),
        wgsl!("zlpr/row_zlpr.wgsl"),
    ],
    &[],
)
.with_masked_logits()
.with_quick(&HARD_QUICK);
static ZLPR_SOFT: RowLoss = RowLoss::new(
    "zlpr_soft",
    TargetKind::Soft,
    &TWO_SIDED,
    &[
        wgsl!("shared/no_settings.wgsl"),
        wgsl!("zlpr/soft.wgsl"),
        wgsl!("zlpr/row_zlpr.wgsl"),
    ],
    &[],
)
.with_masked_logits()
.with_quick(&SOFT_QUICK);
static ZLPR_JOINT: RowLoss = RowLoss::new(
    "zlpr_joint",
    TargetKind::Hard,
    &TWO_SIDED,
    &[
        wgsl!("zlpr/exponents.wgsl"),
        wgsl!("zlpr/hard.wgsl"),
        wgsl!("zlpr/row_joint.wgsl"),
    ],
    &[TwoSidedSettings::MIRROR],
)
.with_masked_logits()
.with_joins()
.with_quick(&HARD_QUICK);
/// No loss of the rows, where that of the classes is wanted alone.
static ZLPR_CLASSES: RowLoss = RowLoss::new(
    "zlpr_classes",
    TargetKind::Hard,
    &TWO_SIDED,
    &[
        wgsl!("zlpr/exponents.wgsl"),
        wgsl!("zlpr/hard.wgsl"),
        wgsl!("zlpr/row_none.wgsl"),
    ],
    &[TwoSidedSettings::MIRROR],
)
.with_masked_logits()
.with_joins()
.with_stage(Stage::Joined)
.with_quick(&HARD_QUICK);
uniform! {
    struct SymmetricSettings as Settings {
        beta: f32,
    }
}
static KL_SYMMETRIC: RowLoss = RowLoss::new(
    "zlpr_kl_symmetric",
    TargetKind::Logits,
    &SUM,
    &[wgsl!("zlpr/kl_symmetric.wgsl")],
    &[SymmetricSettings::MIRROR],
)
.with_masked_logits();
static KL_EXCESS: RowLoss = RowLoss::new(
    "zlpr_kl_excess",
    TargetKind::Logits,
    &EXCESS,
    &[
        wgsl!("shared/no_settings.wgsl"),
        wgsl!("zlpr/kl_excess.wgsl"),
    ],
    &[],
)
.with_masked_logits();
uniform! {
    struct BceSettings as Settings {
        pos_weight: f32,
    }
}
static BCE: RowLoss = RowLoss::new(
    "bce",
    TargetKind::Soft,
    &SUM,
    &[wgsl!("per_label/label.wgsl"), wgsl!("per_label/bce.wgsl")],
    &[BceSettings::MIRROR],
)
.with_by_label(&BCE_BY_LABEL);
static BCE_BY_LABEL: RowLoss = RowLoss::new(
    "bce_by_label",
    TargetKind::Soft,
    &SUM,
    &[
        wgsl!("shared/no_settings.wgsl"),
        wgsl!("per_label/label.wgsl"),
        wgsl!("per_label/bce_by_label.wgsl"),
    ],
    &[],
);
uniform! {
    struct FocalSettings as Settings {
        gamma: f32,
        slope_gamma: f32,
        alpha_pos: f32,
        alpha_neg: f32,
    }
}
static FOCAL: RowLoss = RowLoss::new(
    "focal",
    TargetKind::Soft,
    &SUM,
    &[
        wgsl!("per_label/label.wgsl"),
        wgsl!("per_label/focal.wgsl"),
        wgsl!("per_label/alpha.wgsl"),
    ],
    &[FocalSettings::MIRROR],
)
.with_by_label(&FOCAL_BY_LABEL);
static FOCAL_BY_LABEL: RowLoss = RowLoss::new(
    "focal_by_label",
    TargetKind::Soft,
    &SUM,
    &[
        wgsl!("per_label/label.wgsl"),
        wgsl!("per_label/focal.wgsl"),
        wgsl!("per_label/alpha_by_label.wgsl"),
    ],
    &[FocalSettings::MIRROR],
);
uniform! {
    struct AslSettings as Settings {
        gamma_pos: f32,
        gamma_neg: f32,
        slope_pos: f32,
        slope_neg: f32,
        margin: f32,
    }
}
static ASL: RowLoss = RowLoss::new(
    "asl",
    TargetKind::Soft,
    &SUM,
    &[wgsl!("per_label/label.wgsl"), wgsl!("per_label/asl.wgsl")],
    &[AslSettings::MIRROR],
);
uniform! {
    struct HillSettings as Settings {
        lambda: f32,
        margin: f32,
        gamma: f32,
    }
}
static HILL: RowLoss = RowLoss::new(
    "hill",
    TargetKind::Soft,
    &SUM,
    &[wgsl!("per_label/label.wgsl"), wgsl!("per_label/hill.wgsl")],
    &[HillSettings::MIRROR],
);
uniform! {
    struct SplcSettings as Settings {
        margin: f32,
        gamma: f32,
        threshold: f32,
    }
}
static SPLC: RowLoss = RowLoss::new(
    "splc",
    TargetKind::Soft,
    &SUM,
    &[wgsl!("per_label/label.wgsl"), wgsl!("per_label/splc.wgsl")],
    &[SplcSettings::MIRROR],
);
uniform! {
    struct DiceSettings as Settings {
        smoothing_term: f32,
        squared: f32,
    }
}
static DICE: RowLoss = RowLoss::new(
    "dice",
    TargetKind::Soft,
    &OVERLAP,
    &[wgsl!("per_label/dice.wgsl")],
    &[DiceSettings::MIRROR],
);

static SOFTMAX_CE: RowLoss = RowLoss::new(
    "softmax_ce",
    TargetKind::Soft,
    &PROPORTIONS,
    &[
        wgsl!("shared/no_settings.wgsl"),
        wgsl!("softmax_ce/softmax_ce.wgsl"),
    ],
    &[],
);

static BP_MLL: RowLoss = RowLoss::new(
    "bp_mll",
    TargetKind::Hard,
    &PAIRS,
    &[
        wgsl!("shared/no_settings.wgsl"),
        wgsl!("bp_mll/bp_mll.wgsl"),
    ],
    &[],
);

/// Every row loss that is one kernel; WDL's stages stand with it.
pub(crate) static LOSSES: &[&RowLoss] = &[
    &ZLPR_HARD,
    &ZLPR_SOFT,
    &ZLPR_JOINT,
    &ZLPR_CLASSES,
    &KL_SYMMETRIC,
    &KL_EXCESS,
    &BCE,
    &BCE_BY_LABEL,
    &FOCAL,
    &FOCAL_BY_LABEL,
    &ASL,
    &HILL,
    &SPLC,
    &DICE,
    &SOFTMAX_CE,
    &BP_MLL,
];

/// One of each kind of targets: what reaches tensors has nothing to do with the formula, and is compiled with these in every
/// way.
static THOROUGH: &[&RowLoss] = &[&ZLPR_HARD, &BCE, &KL_EXCESS];

const SELF: Becomes = Becomes::ITSELF;
const INVERSE: Becomes = Becomes::Over { times: 1.0 };
/// What is left of 1.
const REST: Becomes = Becomes::Linear {
    times: -1.0,
    plus: 1.0,
};

/// Settings that can come from buffers, loss by loss.
static SOFT_LIVE: &[Live] = live! { "smoothing": RowGeneral.smoothing SELF; };
static JOINT_LIVE: &[Live] = live! {
    "t_pos": TwoSidedSettings.inv_t_pos INVERSE;
    "t_neg": TwoSidedSettings.inv_t_neg INVERSE;
};
static SYMMETRIC_LIVE: &[Live] = live! { "beta": SymmetricSettings.beta SELF; };
static BCE_LIVE: &[Live] = live! {
    "pos_weight": BceSettings.pos_weight SELF;
    "smoothing": RowGeneral.smoothing SELF;
};
static FOCAL_LIVE: &[Live] = live! {
    "gamma": FocalSettings.gamma SELF, FocalSettings.slope_gamma SELF;
    "alpha": FocalSettings.alpha_pos SELF, FocalSettings.alpha_neg REST;
    "smoothing": RowGeneral.smoothing SELF;
};
static FOCAL_DETACHED_LIVE: &[Live] = live! {
    "gamma": FocalSettings.gamma SELF;
    "alpha": FocalSettings.alpha_pos SELF, FocalSettings.alpha_neg REST;
    "smoothing": RowGeneral.smoothing SELF;
};
static ASL_LIVE: &[Live] = live! {
    "gamma_pos": AslSettings.gamma_pos SELF, AslSettings.slope_pos SELF;
    "gamma_neg": AslSettings.gamma_neg SELF, AslSettings.slope_neg SELF;
    "margin": AslSettings.margin SELF;
    "smoothing": RowGeneral.smoothing SELF;
};
static ASL_DETACHED_LIVE: &[Live] = live! {
    "gamma_pos": AslSettings.gamma_pos SELF;
    "gamma_neg": AslSettings.gamma_neg SELF;
    "margin": AslSettings.margin SELF;
    "smoothing": RowGeneral.smoothing SELF;
};
static HILL_LIVE: &[Live] = live! {
    "lambda": HillSettings.lambda SELF;
    "margin": HillSettings.margin SELF;
    "gamma": HillSettings.gamma SELF;
    "smoothing": RowGeneral.smoothing SELF;
};
static SPLC_LIVE: &[Live] = live! {
    "margin": SplcSettings.margin SELF;
    "gamma": SplcSettings.gamma SELF;
    "smoothing": RowGeneral.smoothing SELF;
};
static DICE_LIVE: &[Live] = live! { "smooth": DiceSettings.smoothing_term SELF; };

impl Zlpr {
    fn row(&self) -> Row {
        match self.form {
            Form::Hard => Row::new(&ZLPR_HARD, (), &[], self.reduction),
            Form::Joint { t_pos, t_neg, .. } => {
                let settings = TwoSidedSettings {
                    inv_t_pos: 1.0 / t_pos,
                    inv_t_neg: 1.0 / t_neg,
                };
                Row::new(&ZLPR_JOINT, settings, JOINT_LIVE, self.reduction)
            }
            Form::Soft => Row {
                smoothing: self.smoothing,
                ..Row::new(&ZLPR_SOFT, (), SOFT_LIVE, self.reduction)
            },
            Form::KlSymmetric { beta } => Row::new(
                &KL_SYMMETRIC,
                SymmetricSettings { beta },
                SYMMETRIC_LIVE,
                self.reduction,
            ),
            Form::KlExcess => Row::new(&KL_EXCESS, (), &[], self.reduction),
        }
    }
}

impl Bce {
    fn row(&self) -> Row {
        let settings = BceSettings {
            pos_weight: self.pos_weight,
        };
        Row {
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            ..Row::new(&BCE, settings, BCE_LIVE, self.reduction)
        }
    }
}

/// What an exponent is to the gradient.
fn slope_exponent(gamma: f32, detached: bool) -> f32 {
    if detached { 0.0 } else { gamma }
}

impl Focal {
    fn row(&self) -> Row {
        let (alpha_pos, alpha_neg) = self.alphas();
        let settings = FocalSettings {
            gamma: self.gamma,
            slope_gamma: slope_exponent(self.gamma, self.detach_focus),
            alpha_pos: alpha_pos as f32,
            alpha_neg: alpha_neg as f32,
        };
        let live = match self.detach_focus {
            true => FOCAL_DETACHED_LIVE,
            false => FOCAL_LIVE,
        };
        Row {
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            ..Row::new(&FOCAL, settings, live, self.reduction)
        }
    }
}

impl Asl {
    fn row(&self) -> Row {
        let settings = AslSettings {
            gamma_pos: self.gamma_pos,
            gamma_neg: self.gamma_neg,
            slope_pos: slope_exponent(self.gamma_pos, self.detach_focus),
            slope_neg: slope_exponent(self.gamma_neg, self.detach_focus),
            margin: self.margin,
        };
        let live = match self.detach_focus {
            true => ASL_DETACHED_LIVE,
            false => ASL_LIVE,
        };
        Row {
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            ..Row::new(&ASL, settings, live, self.reduction)
        }
    }
}

impl Hill {
    fn row(&self) -> Row {
        let settings = HillSettings {
            lambda: self.lambda,
            margin: self.margin,
            gamma: self.gamma,
        };
        Row {
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            ..Row::new(&HILL, settings, HILL_LIVE, self.reduction)
        }
    }
}

impl Splc {
    fn row(&self) -> Row {
        let settings = SplcSettings {
            margin: self.margin,
            gamma: self.gamma,
            threshold: self
                .threshold_logit()
                .clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32,
        };
        Row {
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            ..Row::new(&SPLC, settings, SPLC_LIVE, self.reduction)
        }
    }
}

impl Dice {
    fn row(&self) -> Row {
        let settings = DiceSettings {
            smoothing_term: self.smooth,
            squared: f32::from(u8::from(self.squared)),
        };
        Row::new(&DICE, settings, DICE_LIVE, self.reduction)
    }
}

impl SoftmaxCe {
    fn row(&self) -> Row {
        Row::new(&SOFTMAX_CE, (), &[], self.reduction)
    }
}

impl BpMll {
    fn row(&self) -> Row {
        Row::new(&BP_MLL, (), &[], self.reduction)
    }
}

impl Zlpr {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs
    /// with other tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &RowInputs<'_>,
        outputs: &RowOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        let row = self.row();
        let live = check(&self.takes(), self.reduction, row.live, inputs, outputs)?;
        let target = cx.target();
        let draft = match self.half() {
            Half::Sample => plan(
                target,
                &row,
                inputs,
                outputs,
                &live,
                Among::Here,
                |steps, scratch| count::before(steps, scratch, &row, inputs),
            )?,
            half => halves::plan(target, (&row, half), &ZLPR_CLASSES, inputs, outputs, &live)?,
        };
        prepared::build(cx, draft)
    }
}

impl Zlpr {
    /// The loss as the kernels see it, where it is one of the rows alone.
    pub(crate) fn of_rows(&self) -> Option<Row> {
        (self.half() == Half::Sample).then(|| self.row())
    }
}

/// Gives losses with a `check` and a `row` their `prepare`.
macro_rules! prepare {
    ($($loss:ident)*) => {$(
        impl $loss {
            /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
            ///
            /// # Errors
            /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs
            /// with other tensors, limits of the device. Nothing has been written then.
            pub fn prepare(
                &self,
                cx: &Context,
                inputs: &RowInputs<'_>,
                outputs: &RowOutputs<'_>,
            ) -> Result<Prepared, Error> {
                self.check()?;
                let (row, by_label) = by_label(self.row(), inputs);
                let live = check(&self.takes(), self.reduction, row.live, inputs, outputs)?;
                prepared::build(
                    cx,
                    plan(cx.target(), &row, &by_label, outputs, &live, Among::Here, |steps, scratch| {
                        count::before(steps, scratch, &row, &by_label)
                    })?,
                )
            }

            /// The loss as the kernels see it.
            pub(crate) fn of_rows(&self) -> Option<Row> {
                Some(self.row())
            }
        }
    )*};
}

prepare!(Bce Focal Asl Hill Splc Dice SoftmaxCe BpMll);

/// A setting that a tensor gives for each label goes the way of a threshold per label, which no such loss has.
pub(crate) fn by_label<'a>(row: Row, inputs: &RowInputs<'a>) -> (Row, RowInputs<'a>) {
    let Some(values) = inputs.pos_weight.or(inputs.alpha) else {
        return (row, *inputs);
    };
    let row = Row {
        loss: row.loss.by_label.unwrap_or(row.loss),
        ..row
    };
    let inputs = RowInputs {
        threshold: Some(Threshold::Label(values)),
        ..*inputs
    };
    (row, inputs)
}

/// Every module of the row losses.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let programs = [&FINISH, &GATHER, &WEIGH, &PERMUTATION];
    let mut all: Vec<Module> = programs.map(|program| program.module(workgroup)).into();
    all.push(carry(workgroup));
    for loss in LOSSES {
        let thorough = THOROUGH.iter().any(|one| std::ptr::eq(*one, *loss));
        all.extend(driver::modules(loss, thorough, workgroup));
    }
    all.extend(halves::modules(workgroup));
    for loss in count::COUNTS {
        all.extend(driver::modules(loss, false, workgroup));
    }
    all.extend(wdl::modules(workgroup));
    all
}
