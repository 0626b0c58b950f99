//! WDL, a user of the rows' driver: twice the driver, and what stands between.
//!
//! The first stage is the driver with the row's two distributions as statistics and `e = p - q` where another loss has
//! its gradient. Then comes what knows nothing of element types or target forms, and finds of `e` the weighted difference D
//! of each row, a value per label (`h = dD/de`) and one per weight (`c = dD/dw`). The last stage is the driver again, with
//! the gradient proper. What the stages hand on lies in scratch, for one window of rows at a time. Before all windows come
//! the weights, from theta; behind them its gradient.
//!
//! All pairs' squares have closed forms in sums over the row, so that neither h nor c is ever stored; and without theta D
//! follows from the sum of `e^2` that the last stage has anyway, so that there is no stage between.

use crate::device::caps::{Half, Reduce, Variant};
use crate::device::context::Context;
use crate::device::live::{Becomes, Given, Live};
use crate::device::module::{Module, NO_PART, Part, Piece, Program, constants, uniform, wgsl};
use crate::device::plan::{
    ABSENT, Bind, Dispatches, Draft, Grid, Region, Scratch, Target, bindings, to_u32,
};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::gradient::{Adds, tensor};
use crate::kernels::rows::call::{RowInputs, RowOutputs, check};
use crate::kernels::rows::driver::{
    Among, Driver, MASK, MERGE, RowBindings, SIDES, Sweep, Windows, merge_part,
    modules as row_modules, reach,
};
use crate::kernels::rows::loss::{Accumulator, Row, RowLoss, Stage, accumulator, live};
use crate::kernels::rows::params::{ROW_MIRRORS, RowParams, Settings};
use crate::kernels::rows::permutation;
use crate::kernels::rows::shape::{Merge, Shape};
use crate::kernels::rows::sides::{SideForm, Sides};
use crate::losses::labels::{AfterCall, Order, Scope, Seed, Threshold};
use crate::losses::takes::TargetKind;
use crate::losses::wdl::{Form, PairWeights, Phi, Prediction, Wdl};

constants! {
    /// How the kernels call the choices of WDL.
    CHOICES {
        SIGMOID = 0,
        SOFTMAX = 1,
        /// Words of a row's distributions.
        SPREAD_WORDS = 7,
        /// Words of what is found of a row's differences.
        FOUND_WORDS = 6,
    }
}

uniform! {
    /// The settings of WDL and the places of its planes, as shaders/wdl/spread.wgsl has them.
    struct WdlSettings as Settings {
        epsilon: f32,
        lambda_presence: f32,
        lambda_ratio: f32,
        lambda_difference: f32,
        prediction: u32,
        huber_delta: f32,
        sets: u32,
        weights: u32,
        per_pair: f32,
        degree: f32,
        spread_at: u32,
        e_at: u32,
        h_at: u32,
        c_at: u32,
        weights_at: u32,
        order_offset: u32,
        order_stride: u32,
        found_at: u32,
        unit: u32,
    }
}

/// Settings that can come from buffers, the last of them with Huber's alone.
static WDL_LIVE: &[Live] = live! {
    "epsilon": WdlSettings.epsilon Becomes::ITSELF;
    "lambda_presence": WdlSettings.lambda_presence Becomes::ITSELF;
    "lambda_ratio": WdlSettings.lambda_ratio Becomes::ITSELF;
    "lambda_difference": WdlSettings.lambda_difference Becomes::ITSELF;
    "huber_delta": WdlSettings.huber_delta Becomes::ITSELF;
};

uniform! {
    /// As shaders/wdl/theta.wgsl has it.
    struct ThetaParams {
        sets: u32,
        len: u32,
        groups_x: u32,
        theta_offset: u32,
        theta_stride: u32,
        grad_offset: u32,
        grad_stride: u32,
        weights_at: u32,
        column_at: u32,
        parts: u32,
        sign: f32,
        pad: u32,
    }
}

bindings! {
    /// What the kernels of the differences reach.
    struct DifferenceBindings {
        1: order,
        2: plane,
        4: mask,
        5: sides,
        6: scratch,
    }
}

bindings! {
    /// What the kernels of theta reach.
    struct ThetaBindings {
        1: theta_in,
        6: scratch,
        7: grad,
    }
}

static DISTRIBUTIONS: Accumulator = accumulator!(6, 7, "wdl/distribution_shuffle.wgsl", &[]);
static GRADIENTS: Accumulator = accumulator!(3, 4, "wdl/gradient_shuffle.wgsl", &[]);

/// The first stage.
static FIRST: RowLoss = RowLoss {
    stage: Some(Stage::First),
    ..RowLoss::new(
        "wdl_distribution",
        TargetKind::Hard,
        &DISTRIBUTIONS,
        &[
            wgsl!("per_label/label.wgsl"),
            wgsl!("wdl/presence.wgsl"),
            wgsl!("wdl/spread.wgsl"),
            wgsl!("wdl/distribution.wgsl"),
        ],
        &[WdlSettings::MIRROR],
    )
    .with_constants(CHOICES)
};

/// The last stage, with the files from which it has the differences.
macro_rules! last {
    ($name:literal, $($file:literal),*) => {
        RowLoss {
            stage: Some(Stage::Last),
            ..RowLoss::new(
                $name,
                TargetKind::Proportions,
                &GRADIENTS,
                &[
                    wgsl!("per_label/label.wgsl"),
                    wgsl!("wdl/presence.wgsl"),
                    wgsl!("wdl/spread.wgsl"),
                    $(wgsl!($file),)*
                    wgsl!("wdl/gradient.wgsl"),
                ],
                &[WdlSettings::MIRROR],
            )
            .with_constants(CHOICES)
        }
    };
}

static LAST_EVEN: RowLoss = last!("wdl_gradient", "wdl/slopes_even.wgsl");
static LAST_PLANE: RowLoss = last!(
    "wdl_gradient_plane",
    "wdl/found.wgsl",
    "wdl/planes.wgsl",
    "wdl/slopes_plane.wgsl"
);
static LAST_PRODUCTS: RowLoss = last!(
    "wdl_gradient_products",
    "wdl/found.wgsl",
    "wdl/weights_theta.wgsl",
    "wdl/squares_products.wgsl",
    "wdl/slopes_squares.wgsl"
);
static LAST_SUMS: RowLoss = last!(
    "wdl_gradient_sums",
    "wdl/found.wgsl",
    "wdl/weights_theta.wgsl",
    "wdl/squares_sums.wgsl",
    "wdl/slopes_squares.wgsl"
);

/// Parts of a stage between, by number.
const WEIGHTS: usize = 0;
const FORM: usize = 1;
const PHI: usize = 2;

static EVEN: Part = Part::new("", &[wgsl!("wdl/weights_even.wgsl")]);
static BY_THETA: Part = Part::new("theta", &[wgsl!("wdl/weights_theta.wgsl")]);
static SQUARES_PRODUCTS: Part = Part::new("products", &[wgsl!("wdl/squares_products.wgsl")]);
static SQUARES_SUMS: Part = Part::new("sums", &[wgsl!("wdl/squares_sums.wgsl")]);
static SWEEP_PRODUCTS: Part = Part::new("products", &[wgsl!("wdl/sweep_products.wgsl")]);
static SWEEP_SUMS: Part = Part::new("sums", &[wgsl!("wdl/sweep_sums.wgsl")]);
static PHI_SQUARE: Part = Part::new("square", &[wgsl!("wdl/phi_square.wgsl")]);
static PHI_ABS: Part = Part::new("abs", &[wgsl!("wdl/phi_abs.wgsl")]);
static PHI_HUBER: Part = Part::new("huber", &[wgsl!("wdl/phi_huber.wgsl")]);

/// A stage between: its own bindings and files.
macro_rules! between {
    ($name:literal, $entries:expr, $bindings:expr, $($piece:expr),*) => {
        Program {
            name: $name,
            pieces: &[
                Piece::File(wgsl!("shared/math.wgsl")),
                Piece::File(wgsl!("shared/params.wgsl")),
                Piece::File(wgsl!("shared/scratch.wgsl")),
                Piece::File(wgsl!("shared/row_sides.wgsl")),
                Piece::Part(SIDES),
                Piece::File(wgsl!("shared/bytes.wgsl")),
                Piece::Part(MASK),
                Piece::Lanes {
                    tree: wgsl!("shared/lanes_tree.wgsl"),
                    subgroup: wgsl!("shared/lanes_subgroup.wgsl"),
                },
                Piece::File(wgsl!("shared/units.wgsl")),
                Piece::Part(MERGE),
                Piece::File(wgsl!("wdl/spread.wgsl")),
                Piece::File(wgsl!("wdl/lines.wgsl")),
                Piece::File(wgsl!("wdl/found.wgsl")),
                Piece::Part(WEIGHTS),
                $($piece,)*
                Piece::File(wgsl!("shared/put_columns.wgsl")),
                Piece::File(wgsl!("wdl/weight_sums.wgsl")),
                Piece::Lanes {
                    tree: wgsl!("wdl/find_tree.wgsl"),
                    subgroup: wgsl!("wdl/find_subgroup.wgsl"),
                },
            ],
            entries: $entries,
            constants: &[CHOICES],
            bindings: $bindings,
            mirrors: &[ROW_MIRRORS, &[WdlSettings::MIRROR]],
        }
    };
}

static SQUARES: Program = between!(
    "wdl_squares",
    &["find", "columns"],
    &[(2, "plane"), (6, "scratch")],
    Piece::File(wgsl!("wdl/plane_vectors.wgsl")),
    Piece::Part(FORM),
    Piece::File(wgsl!("wdl/squares.wgsl"))
);
static ADJACENT: Program = between!(
    "wdl_adjacent",
    &["find", "columns"],
    &[(1, "order"), (6, "scratch")],
    Piece::File(wgsl!("wdl/planes.wgsl")),
    Piece::Part(PHI),
    Piece::File(wgsl!("wdl/adjacent.wgsl"))
);
static SWEEP: Program = between!(
    "wdl_sweep",
    &["sweep", "find", "columns"],
    &[(2, "plane"), (6, "scratch")],
    Piece::File(wgsl!("wdl/plane_vectors.wgsl")),
    Piece::File(wgsl!("wdl/planes.wgsl")),
    Piece::Part(PHI),
    Piece::Part(FORM),
    Piece::File(wgsl!("wdl/sweep.wgsl"))
);
static THETA: Program = Program {
    name: "wdl_theta",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("wdl/theta.wgsl")),
    ],
    entries: &["weights", "theta"],
    constants: &[],
    bindings: ThetaBindings::NAMES,
    mirrors: &[&[ThetaParams::MIRROR]],
};

/// The module of a stage between.
fn between(
    (program, form, phi): (&'static Program, &'static Part, &'static Part),
    weights: &'static Part,
    merge: Merge,
    (masked, sides): (bool, SideForm),
    variant: Variant,
) -> Module {
    let mut parts = reach(masked, sides);
    parts[MERGE] = merge_part(merge);
    parts[WEIGHTS] = weights;
    parts[FORM] = form;
    parts[PHI] = phi;
    program.with(parts, variant.reduce, variant.workgroup)
}

/// Every module of WDL.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let mut all = vec![THETA.module(workgroup)];
    for (reduce, merges) in [
        (Reduce::Tree, [Merge::Alone, Merge::Tree]),
        (Reduce::Subgroup, [Merge::Near, Merge::Wide]),
    ] {
        let variant = Variant {
            reduce,
            workgroup,
            half: Half::Packed,
            cooperative: false,
        };
        for merge in merges {
            let bare = (false, SideForm::Rows);
            let mut add = |what, weights, reached| {
                all.push(between(what, weights, merge, reached, variant));
            };
            for form in [&SQUARES_PRODUCTS, &SQUARES_SUMS] {
                add((&SQUARES, form, &NO_PART), &BY_THETA, bare);
            }
            for phi in [&PHI_SQUARE, &PHI_ABS, &PHI_HUBER] {
                add((&ADJACENT, &NO_PART, phi), &EVEN, bare);
                add((&ADJACENT, &NO_PART, phi), &BY_THETA, bare);
            }
            for phi in [&PHI_ABS, &PHI_HUBER] {
                add((&SWEEP, &SWEEP_PRODUCTS, phi), &EVEN, bare);
                add((&SWEEP, &SWEEP_PRODUCTS, phi), &BY_THETA, bare);
                add((&SWEEP, &SWEEP_SUMS, phi), &BY_THETA, bare);
            }
            for what in [
                (&SQUARES, &SQUARES_PRODUCTS, &NO_PART),
                (&ADJACENT, &NO_PART, &PHI_SQUARE),
                (&SWEEP, &SWEEP_PRODUCTS, &PHI_ABS),
            ] {
                for reached in [
                    (true, SideForm::Rows),
                    (false, SideForm::Weights),
                    (true, SideForm::Weights),
                    (false, SideForm::WeightsAny),
                ] {
                    add(what, &BY_THETA, reached);
                }
            }
        }
    }
    for loss in [&FIRST, &LAST_EVEN, &LAST_PLANE, &LAST_PRODUCTS, &LAST_SUMS] {
        all.extend(row_modules(loss, false, workgroup));
    }
    all
}

/// Most pairs of labels that a dispatch of the sweep meets: some milliseconds of a GPU.
const DISPATCH_PAIRS: u64 = 1 << 32;
/// Rows of a part of the sums over rows, at least, and most parts: one lane adds them up in the end.
const PART_ROWS: u32 = 64;
const MOST_PARTS: u32 = 256;
/// Vectors that one lane adds up in one accumulator.
const BLOCK: u32 = 64;

/// Most words that the planes of a window take, and at most half of what a binding reaches; a window has a row at least.
const PLANE_WORDS: u64 = 1 << 24;

impl Wdl {
    /// It has stages, and is no loss as the kernels of the others see one.
    pub(crate) fn of_rows(&self) -> Option<Row> {
        None
    }

    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &RowInputs<'_>,
        outputs: &RowOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        let possible = match self.phi {
            Phi::Huber { .. } => WDL_LIVE,
            Phi::Square | Phi::Abs => &WDL_LIVE[..WDL_LIVE.len() - 1],
        };
        let live = check(&self.takes(), self.reduction, possible, inputs, outputs)?;
        prepared::build(cx, plan(cx.target(), self, inputs, outputs, &live)?)
    }
}

/// Plans a checked call.
fn plan<'a>(
    target: Target<'_>,
    config: &Wdl,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
    settings: &Given<'a>,
) -> Result<Draft<'a>, Error> {
    // The bounded form's parameter goes the way of a threshold that the whole batch shares.
    let inputs = RowInputs {
        threshold: inputs.theta0.map(Threshold::Batch),
        ..*inputs
    };
    let mut scratch = Scratch::default();
    let mut adds = Adds::default();
    let (to_theta, to_theta0) = (outputs.grad_theta, outputs.grad_theta0);
    let outputs = RowOutputs {
        grad_threshold: adds.place(&mut scratch, "grad_theta0", to_theta0)?,
        grad_theta: adds.place(&mut scratch, "grad_theta", to_theta)?,
        ..*outputs
    };
    let mut stages = Stages::new(target, config, &inputs, &outputs);
    let row = Row::new(stages.last(), (), WDL_LIVE, config.reduction);
    let by_rows: Vec<_> = stages.by_rows().collect();
    let most = stages.most_rows();
    let windows = Windows::of(target, &row, &inputs, &outputs, most, &by_rows)?;

    let mut driver = Driver::new(
        target,
        &row,
        &inputs,
        &outputs,
        &windows,
        Among::Here,
        &mut scratch,
    )?;
    let first = driver.stage(&FIRST, windows.first());
    stages.take_sums(&mut scratch, windows.first(), &first)?;
    let first_scratch = scratch.bind();
    stages.take_planes(&mut scratch, windows.first())?;
    let own = scratch.bind();
    stages.take_apart(&mut scratch, windows.first())?;
    let sides = Sides::bind(target, &inputs, driver.phases(), &mut scratch)?;
    driver.take_copies(&mut scratch, windows.first())?;

    let mut steps = Dispatches::new(target);
    steps.push_settings(settings)?;
    for (i, (params, bindings)) in driver
        .windows(&windows, &sides, own)?
        .into_iter()
        .enumerate()
    {
        if i == 0 {
            sides.gather(&mut steps);
            stages.weights(&mut steps, own)?;
        }
        let params = stages.params(params, (0, 0));
        driver.before(&mut steps, &params)?;
        stages.distributions(&mut steps, &first, params, bindings, first_scratch)?;
        stages.differences(&mut steps, params, bindings)?;
        driver.record(&mut steps, Among::Here, (params, bindings), own)?;
    }
    driver.finish(&mut steps, own)?;
    stages.finish(&mut steps, own)?;
    adds.push(&mut steps)?;
    Ok(steps
        .draft(&scratch, windows.count())
        .moving(driver.bytes(2) + stages.bytes(inputs.logits.rows())))
}

/// Where in its region the plane of e begins: at the phase of the window's first row, so that both are met in vectors.
fn plane_start(params: &RowParams) -> u32 {
    params.views.logits_offset % 4
}

/// How the weighted differences are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// All pairs' squares without theta: by the last stage alone.
    Even,
    /// All pairs' squares: by sums over the row.
    Squares,
    /// Along a permutation.
    Adjacent,
    /// Pair by pair.
    Sweep,
}

/// A call of WDL: its settings, its own tensors, its regions of scratch.
struct Stages<'a, 'c> {
    target: Target<'c>,
    config: Wdl,
    cols: usize,
    sets: usize,
    /// Weights of a set.
    len: usize,
    order: Option<Order<Tensor<'a>, Seed<Tensor<'a>>>>,
    theta: Option<Tensor<'a>>,
    grad_theta: Option<Tensor<'a>>,
    gradient: bool,
    masked: bool,
    sides: SideForm,
    way: Way,
    /// The distributions of a window's rows.
    spread: Region,
    /// What is found of their differences.
    found: Region,
    weights: Region,
    /// The first stage's accumulators of split rows.
    chunk: Region,
    /// Parts of the sums of c over the rows: where, how many, of how many rows.
    column: Region,
    parts: u32,
    part_rows: u32,
    e: Region,
    h: Region,
    c: Region,
    /// Where seeded permutations go.
    made_order: Region,
}

impl<'a, 'c> Stages<'a, 'c> {
    fn new(
        target: Target<'c>,
        config: &Wdl,
        inputs: &RowInputs<'a>,
        outputs: &RowOutputs<'a>,
    ) -> Self {
        let cols = inputs.logits.cols();
        let (sets, len) = config.theta_shape(cols);
        let adjacent = config.form == Form::Adjacent;
        let theta = inputs.theta.filter(|_| len > 0);
        let way = match (config.form, config.phi) {
            (Form::Adjacent, _) => Way::Adjacent,
            (_, Phi::Abs | Phi::Huber { .. }) => Way::Sweep,
            _ if theta.is_none() => Way::Even,
            _ => Way::Squares,
        };
        Stages {
            target,
            config: *config,
            cols,
            sets,
            len,
            order: inputs.permutation.filter(|_| adjacent),
            theta,
            grad_theta: tensor(outputs.grad_theta).filter(|_| len > 0),
            gradient: outputs.grad_logits.is_some(),
            masked: inputs.mask.is_some(),
            sides: SideForm::of(target, inputs),
            way,
            spread: Region::ABSENT,
            found: Region::ABSENT,
            weights: Region::ABSENT,
            chunk: Region::ABSENT,
            column: Region::ABSENT,
            parts: 0,
            part_rows: 0,
            e: Region::ABSENT,
            h: Region::ABSENT,
            c: Region::ABSENT,
            made_order: Region::ABSENT,
        }
    }

    fn module(&self, program: &'static Program) -> Module {
        program.module(self.target.variant.workgroup)
    }

    /// Whether weights of pairs are sums. Those that are all the same add to what they multiply to.
    fn additive(&self) -> bool {
        let sums = matches!(
            self.config.form,
            Form::Pairs {
                weights: PairWeights::Additive,
            }
        );
        sums && self.theta.is_some()
    }

    /// The last stage.
    fn last(&self) -> &'static RowLoss {
        match self.way {
            Way::Even => &LAST_EVEN,
            Way::Squares if self.additive() => &LAST_SUMS,
            Way::Squares => &LAST_PRODUCTS,
            Way::Adjacent | Way::Sweep => &LAST_PLANE,
        }
    }

    /// Whether there are the planes e, h and c.
    fn planes(&self) -> [usize; 3] {
        let stored = matches!(self.way, Way::Adjacent | Way::Sweep);
        let summed = self.grad_theta.is_some() || self.way == Way::Sweep;
        [
            self.way != Way::Even,
            stored && self.gradient,
            stored && summed,
        ]
        .map(usize::from)
    }

    /// The most rows of a window.
    fn most_rows(&self) -> usize {
        // Each row may have a seeded permutation of its own.
        let seeded = matches!(
            self.order,
            Some(Order::Seeded {
                scope: Scope::Row,
                ..
            })
        );
        let budget = PLANE_WORDS.min(self.target.caps.max_binding / 8);
        let [e, h, c] = self.planes();
        let planes = (e + h + usize::from(seeded)).saturating_mul(self.cols);
        let weights = (c * self.sets).saturating_mul(self.len);
        let words = planes.saturating_add(weights) as u64;
        (budget / words.max(1)).max(1) as usize
    }

    /// The tensors that have rows.
    fn by_rows(&self) -> impl Iterator<Item = (&'static str, Tensor<'a>)> + use<'a> {
        let order = match self.order {
            Some(Order::PerRow(t)) => Some(t),
            _ => None,
        };
        order.map(|t| ("permutation", t)).into_iter()
    }

    /// Takes room for the distributions of a window of `rows` rows, the weights, and the sums over all rows.
    fn take_sums(
        &mut self,
        scratch: &mut Scratch,
        rows: usize,
        first: &Sweep,
    ) -> Result<(), Error> {
        let chunks = first.shape.chunk_words(FIRST.accumulator.acc_words, rows);
        self.chunk = scratch.take_if(first.shape.chunks > 1, chunks)?;
        let weights = (self.sets * self.len) as u64;
        self.spread = scratch.take(rows as u64 * u64::from(SPREAD_WORDS))?;
        let found = rows as u64 * self.sets as u64 * u64::from(FOUND_WORDS);
        self.found = scratch.take_if(self.way != Way::Even, found)?;
        self.weights = scratch.take_if(self.theta.is_some(), weights)?;
        // The first window has the most rows, and the others add to its parts.
        self.part_rows = (rows as u32).div_ceil(MOST_PARTS).max(PART_ROWS);
        self.parts = (rows as u32).div_ceil(self.part_rows);
        let sums = u64::from(self.parts) * weights;
        self.column = scratch.take_if(self.grad_theta.is_some(), sums)?;
        Ok(())
    }

    /// Takes the planes of a window of `rows` rows, but for that of e where it is bound by itself.
    fn take_planes(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        let [_, h, c] = self.planes().map(|there| there > 0);
        if self.way == Way::Adjacent {
            self.take_e(scratch, rows)?;
        }
        self.h = scratch.take_if(h, (rows * self.cols) as u64)?;
        self.c = scratch.take_if(c, (rows * self.sets * self.len) as u64)?;
        Ok(())
    }

    fn take_e(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        let [e, ..] = self.planes().map(|there| there > 0);
        // Whole vectors, wherever in one it begins.
        let words = (rows * self.cols + 3).next_multiple_of(4) as u64;
        self.e = scratch.take_if(e, words)?;
        Ok(())
    }

    /// Takes room for what is bound beside the planes: that of e in vectors, and seeded permutations.
    fn take_apart(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        if self.way != Way::Adjacent {
            self.take_e(scratch, rows)?;
        }
        if let Some(Order::Seeded { scope, .. }) = self.order {
            let rows = if scope == Scope::Row { rows } else { 1 };
            self.made_order = scratch.take((rows * self.cols) as u64)?;
        }
        Ok(())
    }

    /// The parameters of every stage; the order of the labels begins at an offset and has a stride from row to row.
    fn params(&self, params: RowParams, (order_offset, order_stride): (u32, u32)) -> RowParams {
        let own = WdlSettings {
            order_offset,
            order_stride,
            ..self.settings(&params)
        };
        RowParams {
            own: Settings::of(own),
            ..params
        }
    }

    /// The settings of a window.
    fn settings(&self, params: &RowParams) -> WdlSettings {
        let config = &self.config;
        let huber_delta = match config.phi {
            Phi::Huber { delta } => delta,
            Phi::Square | Phi::Abs => 0.0,
        };
        let (per_pair, degree) = match config.form {
            Form::Adjacent => (self.cols as f32, 1.0),
            Form::Pairs { .. } if self.additive() => (2.0, 1.0),
            Form::Pairs { .. } => (2.0 / self.sets as f32, 2.0),
        };
        WdlSettings {
            epsilon: config.epsilon,
            lambda_presence: config.lambda_presence,
            lambda_ratio: config.lambda_ratio,
            lambda_difference: config.lambda_difference,
            prediction: match config.prediction {
                Prediction::Sigmoid => SIGMOID,
                Prediction::Softmax => SOFTMAX,
            },
            huber_delta,
            sets: self.sets as u32,
            weights: self.len as u32,
            per_pair,
            degree,
            spread_at: self.spread.at(),
            e_at: self.e.at().wrapping_add(plane_start(params)),
            h_at: self.h.at(),
            c_at: self.c.at(),
            weights_at: self.weights.at(),
            order_offset: 0,
            order_stride: 0,
            found_at: self.found.at(),
            unit: 0,
        }
    }

    /// Adds the first stage: the driver, whose coefficients and "gradient" go to scratch, and no loss anywhere.
    fn distributions(
        &self,
        steps: &mut Dispatches<'a, '_>,
        sweep: &Sweep,
        mut params: RowParams,
        bindings: RowBindings<'a>,
        scratch: Bind<'a>,
    ) -> Result<(), Error> {
        params.views.grad_offset = plane_start(&params);
        params.views.grad_stride = self.cols as u32;
        let places = &mut params.places;
        places.want_grad = u32::from(self.way != Way::Even);
        places.loss_at = ABSENT;
        places.threshold_at = ABSENT;
        places.chunk_at = self.chunk.at();
        places.coef_at = self.spread.at();
        let bindings = RowBindings {
            scratch,
            grad: match self.way {
                Way::Even => Bind::Nothing,
                _ => self.e.bind(),
            },
            ..bindings
        };
        sweep.record(steps, params, bindings)
    }

    /// Adds the differences of a window, and their sums over its rows. `bindings` are those of the last stage.
    fn differences(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        if self.cols == 0 || self.way == Way::Even {
            return Ok(());
        }
        let (order, offset, stride) = self.order(steps, &params)?;
        let variant = self.target.variant;
        let rows = params.window.rows;
        let mut params = self.params(params, (offset, stride));
        params.views.grad_offset = plane_start(&params);
        params.views.grad_stride = self.cols as u32;
        // Adjacent positions begin with a row's first.
        let phase = if self.way == Way::Adjacent { 0 } else { 3 };
        let at = (self.cols, phase);
        let subgroup = self.target.caps.subgroup_size;
        let shape = Shape::of(rows as usize, at, 4, variant, subgroup);
        params.grid.width = shape.width;
        params.grid.shift = shape.width.ilog2();
        params.grid.block = shape.width * BLOCK;
        params.grid.columns = (self.sets * self.len) as u32;
        params.places.column_at = self.column.at();
        let bindings = DifferenceBindings {
            order,
            plane: match self.way {
                Way::Adjacent => Bind::Nothing,
                _ => self.e.bind(),
            },
            mask: bindings.mask,
            sides: bindings.sides,
            scratch: bindings.scratch,
        };
        let module = self.between(shape.merge);
        if self.way == Way::Sweep {
            self.sweep(steps, module, params, bindings)?;
        }
        let groups = u64::from(rows).div_ceil(u64::from(variant.workgroup / shape.width));
        steps.push(module, "find", groups, |grid| params.on(grid), bindings)?;
        if self.grad_theta.is_some() {
            self.weight_sums(steps, module, params, bindings)?;
        }
        Ok(())
    }

    /// The module of the stage between.
    fn between(&self, merge: Merge) -> Module {
        let phi = match self.config.phi {
            Phi::Square => &PHI_SQUARE,
            Phi::Abs => &PHI_ABS,
            Phi::Huber { .. } => &PHI_HUBER,
        };
        let what = match (self.way, self.additive()) {
            (Way::Adjacent, _) => (&ADJACENT, &NO_PART, phi),
            (Way::Sweep, false) => (&SWEEP, &SWEEP_PRODUCTS, phi),
            (Way::Sweep, true) => (&SWEEP, &SWEEP_SUMS, phi),
            (_, false) => (&SQUARES, &SQUARES_PRODUCTS, &NO_PART),
            (_, true) => (&SQUARES, &SQUARES_SUMS, &NO_PART),
        };
        let weights = if self.theta.is_some() {
            &BY_THETA
        } else {
            &EVEN
        };
        let reached = (self.masked, self.sides);
        between(what, weights, merge, reached, self.target.variant)
    }

    /// Adds the sums of c over a window's rows.
    fn weight_sums(
        &self,
        steps: &mut Dispatches<'a, '_>,
        module: Module,
        mut params: RowParams,
        bindings: DifferenceBindings<'a>,
    ) -> Result<(), Error> {
        params.grid.column_rows = self.part_rows;
        let groups = u64::from(params.grid.columns.div_ceil(4 * module.workgroup));
        let parts = params.window.rows.div_ceil(self.part_rows);
        let on = |grid| params.on(grid);
        steps.push_layers(module, "columns", (groups, parts), on, bindings)
    }

    /// Adds the sweep over all pairs of labels, in dispatches of bounded work.
    fn sweep(
        &self,
        steps: &mut Dispatches<'a, '_>,
        module: Module,
        mut params: RowParams,
        bindings: DifferenceBindings<'a>,
    ) -> Result<(), Error> {
        let owned = 4 * module.workgroup;
        let chunks = (self.cols as u32 + 3).div_ceil(owned);
        params.grid.chunks = chunks;
        let units = u64::from(params.window.rows) * u64::from(chunks);
        let cols = self.cols as u64;
        let pairs = cols.min(u64::from(owned)) * cols * self.sets as u64;
        let most = (DISPATCH_PAIRS / pairs).max(1);
        let mut unit = 0;
        while unit < units {
            let count = most.min(units - unit);
            let own = WdlSettings {
                unit: to_u32(unit, "workgroups")?,
                ..self.settings(&params)
            };
            params.own = Settings::of(own);
            steps.push(module, "sweep", count, |grid| params.on(grid), bindings)?;
            unit += count;
        }
        Ok(())
    }

    /// The order of a window's labels: its binding, where it begins, from row to row. Makes it where there is a seed.
    fn order(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: &RowParams,
    ) -> Result<(Bind<'a>, u32, u32), Error> {
        let (first, rows) = (params.window.first_row, params.window.rows);
        match self.order {
            None => Ok((Bind::Nothing, 0, 0)),
            Some(Order::Batch(t)) => {
                let (bind, at) = self.target.bind_all("permutation", &t)?;
                Ok((bind, at, 0))
            }
            Some(Order::PerRow(t)) => {
                let (bind, at) = self.target.bind_rows(&t, first as usize, rows as usize);
                Ok((bind, at, t.row_stride() as u32))
            }
            Some(Order::Seeded { seed, scope }) => {
                let bind = self.made_order.bind();
                let per_row = scope == Scope::Row;
                let stride = if per_row { self.cols as u32 } else { 0 };
                if per_row || first == 0 {
                    let rows = if per_row { rows } else { 1 };
                    let images = (bind, 0, stride);
                    permutation::make(steps, seed.words, images, (first, rows), self.cols as u32)?;
                }
                Ok((bind, 0, stride))
            }
        }
    }

    fn theta_kernel(
        &self,
        steps: &mut Dispatches<'a, '_>,
        entry: &'static str,
        theta: Tensor<'a>,
        scratch: Bind<'a>,
    ) -> Result<(), Error> {
        let (theta_in, theta_offset) = self.target.bind_all("theta", &theta)?;
        let (grad, grad_offset, grad_stride) = match self.grad_theta {
            Some(t) => {
                let (bind, at) = self.target.bind_all("grad_theta", &t)?;
                (bind, at, t.row_stride() as u32)
            }
            None => (Bind::Nothing, 0, 0),
        };
        let bindings = ThetaBindings {
            theta_in,
            scratch,
            grad,
        };
        let params = |grid: Grid| ThetaParams {
            sets: self.sets as u32,
            len: self.len as u32,
            groups_x: grid.groups_x,
            theta_offset,
            theta_stride: theta.row_stride() as u32,
            grad_offset,
            grad_stride,
            weights_at: self.weights.at(),
            column_at: self.column.at(),
            parts: self.parts,
            sign: if self.config.ascent { -1.0 } else { 1.0 },
            pad: 0,
        };
        steps.push(
            self.module(&THETA),
            entry,
            self.sets as u64,
            params,
            bindings,
        )
    }

    /// Before the first window: the weights, from theta.
    fn weights(&self, steps: &mut Dispatches<'a, '_>, scratch: Bind<'a>) -> Result<(), Error> {
        match self.theta {
            Some(theta) => self.theta_kernel(steps, "weights", theta, scratch),
            None => Ok(()),
        }
    }

    /// Behind the last window: the gradient to theta, and the next seed.
    fn finish(&self, steps: &mut Dispatches<'a, '_>, scratch: Bind<'a>) -> Result<(), Error> {
        if let Some(theta) = self.theta.filter(|_| self.grad_theta.is_some()) {
            self.theta_kernel(steps, "theta", theta, scratch)?;
        }
        match self.order {
            Some(Order::Seeded { seed, .. }) if seed.after == AfterCall::Advance => {
                permutation::advance(steps, seed.words)
            }
            _ => Ok(()),
        }
    }

    /// Bytes that the planes of `rows` rows move: each is written and read, and those that the gradient to theta needs
    /// once more.
    fn bytes(&self, rows: usize) -> u64 {
        let [e, h, c] = self.planes().map(|there| there as u64);
        let all = (rows * self.cols) as u64;
        let weights = (rows * self.sets * self.len) as u64;
        let again = u64::from(self.grad_theta.is_some());
        let summed = u64::from(self.way == Way::Squares) * again;
        4 * (all * (e * (2 + summed) + 2 * h) + weights * c * (2 + again))
    }
}
