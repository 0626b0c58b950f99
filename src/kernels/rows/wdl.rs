//! WDL, a user of the rows' driver: twice the driver, and what stands between.
//!
//! The first stage is the driver with the row's two distributions as statistics and `e = p - q` where another loss has
//! its gradient. Then `differences`, which knows nothing of element types or target forms, makes of `e` a value per label
//! (`h = dD/de`) and one per weight (`c = dD/dw`). The last stage is the driver again, with the gradient proper. What the
//! stages hand on lies in scratch, for one window of rows at a time: the planes e, h and c. Before all windows come the
//! weights, from theta; behind them its gradient.

use crate::device::caps::Reduce;
use crate::device::context::Context;
use crate::device::module::{Module, Piece, Program, constants, uniform, wgsl};
use crate::device::plan::{
    ABSENT, Bind, Dispatches, Draft, Grid, Region, Scratch, Target, bindings,
};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::rows::call::{RowInputs, RowOutputs, check};
use crate::kernels::rows::driver::{
    Driver, MASK, RowBindings, SIDES, Sweep, Windows, column_sums, modules as row_modules, reach,
};
use crate::kernels::rows::loss::{Accumulator, Row, RowLoss, Stage, accumulator};
use crate::kernels::rows::params::{ROW_MIRRORS, RowParams, Settings};
use crate::kernels::rows::permutation;
use crate::kernels::rows::sides::{SideForm, Sides};
use crate::losses::labels::{AfterCall, Order, Scope, Seed, Threshold};
use crate::losses::takes::TargetKind;
use crate::losses::wdl::{Form, PairWeights, Phi, Prediction, Wdl};

constants! {
    /// How the kernels call the choices of WDL.
    CHOICES {
        SIGMOID = 0,
        SOFTMAX = 1,
        SQUARE = 0,
        ABS = 1,
        HUBER = 2,
        /// Words of a row's distributions.
        SPREAD_WORDS = 7,
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
        phi: u32,
        huber_delta: f32,
        additive: u32,
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
    }
}

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
static DIFFERENCES_OF_ROW: Accumulator = accumulator!(4, 4, "wdl/gradient_shuffle.wgsl", &[]);

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
/// The last stage.
static LAST: RowLoss = RowLoss {
    stage: Some(Stage::Last),
    ..RowLoss::new(
        "wdl_gradient",
        TargetKind::Proportions,
        &DIFFERENCES_OF_ROW,
        &[
            wgsl!("per_label/label.wgsl"),
            wgsl!("wdl/presence.wgsl"),
            wgsl!("wdl/spread.wgsl"),
            wgsl!("wdl/planes.wgsl"),
            wgsl!("wdl/gradient.wgsl"),
        ],
        &[WdlSettings::MIRROR],
    )
    .with_constants(CHOICES)
};
static DIFFERENCES: Program = Program {
    name: "wdl_differences",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/params.wgsl")),
        Piece::File(wgsl!("shared/scratch.wgsl")),
        Piece::File(wgsl!("shared/row_sides.wgsl")),
        Piece::Part(SIDES),
        Piece::File(wgsl!("shared/bytes.wgsl")),
        Piece::Part(MASK),
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("wdl/spread.wgsl")),
        Piece::File(wgsl!("wdl/planes.wgsl")),
        Piece::File(wgsl!("shared/columns.wgsl")),
        Piece::File(wgsl!("wdl/differences.wgsl")),
    ],
    entries: &["adjacent", "squares", "sweep", "columns"],
    constants: &[CHOICES],
    bindings: &[(1, "order"), (6, "scratch")],
    mirrors: &[ROW_MIRRORS, &[WdlSettings::MIRROR]],
};
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

/// Every module of WDL.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let mut all = vec![THETA.module(workgroup)];
    for sides in [SideForm::Rows, SideForm::Weights, SideForm::WeightsAny] {
        for masked in [false, true] {
            all.push(DIFFERENCES.with(reach(masked, sides), Reduce::Tree, workgroup));
        }
    }
    all.extend(row_modules(&FIRST, workgroup));
    all.extend(row_modules(&LAST, workgroup));
    all
}

/// Most words that the planes of a window take, and at most half of what a binding reaches; a window has a row at least.
const PLANE_WORDS: u64 = 1 << 24;

impl Wdl {
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
        check(&self.takes(), self.reduction, inputs, outputs)?;
        prepared::build(cx, plan(cx.target(), self, inputs, outputs)?)
    }
}

/// Plans a checked call.
fn plan<'a>(
    target: Target<'_>,
    config: &Wdl,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
) -> Result<Draft<'a>, Error> {
    // The bounded form's parameter goes the way of a threshold that the whole batch shares.
    let inputs = RowInputs {
        threshold: inputs.theta0.map(Threshold::Batch),
        ..*inputs
    };
    let outputs = RowOutputs {
        grad_threshold: outputs.grad_theta0,
        ..*outputs
    };
    let mut stages = Stages::new(target, config, &inputs, &outputs);
    let row = Row::new(&LAST, (), config.reduction);
    let by_rows: Vec<_> = stages.by_rows().collect();
    let most = stages.most_rows();
    let windows = Windows::of(target, &row, &inputs, &outputs, most, &by_rows)?;

    let mut scratch = Scratch::default();
    let mut driver = Driver::new(target, &row, &inputs, &outputs, &windows, &mut scratch)?;
    let first = driver.stage(&FIRST, windows.first());
    stages.take_sums(&mut scratch, windows.first(), driver.parts, &first)?;
    let first_scratch = scratch.bind();
    stages.take_planes(&mut scratch, windows.first())?;
    let own = scratch.bind();
    stages.take_order(&mut scratch, windows.first())?;
    let sides = Sides::bind(target, &inputs, driver.phases(), &mut scratch)?;
    driver.take_bits(&mut scratch, windows.first())?;

    let mut steps = Dispatches::new(target);
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
        driver.sweep.record(&mut steps, params, bindings)?;
        driver.after(&mut steps, &params, own);
    }
    driver.finish(&mut steps, own)?;
    stages.finish(&mut steps, own, driver.parts)?;
    Ok(steps
        .draft(&scratch, windows.count())
        .moving(driver.bytes(2) + stages.bytes(inputs.logits.rows())))
}

/// Where in its region the plane of e begins: at the phase of the window's first row, so that both are met in vectors.
fn plane_start(params: &RowParams) -> u32 {
    params.views.logits_offset % 4
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
    /// The distributions of a window's rows.
    spread: Region,
    weights: Region,
    /// The first stage's accumulators of split rows.
    chunk: Region,
    /// Parts of the sums of c over the rows.
    column: Region,
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
        Stages {
            target,
            config: *config,
            cols,
            sets,
            len,
            order: inputs.permutation.filter(|_| adjacent),
            theta: inputs.theta.filter(|_| len > 0),
            grad_theta: outputs.grad_theta.filter(|_| len > 0),
            gradient: outputs.grad_logits.is_some(),
            masked: inputs.mask.is_some(),
            sides: SideForm::of(target, inputs),
            spread: Region::ABSENT,
            weights: Region::ABSENT,
            chunk: Region::ABSENT,
            column: Region::ABSENT,
            e: Region::ABSENT,
            h: Region::ABSENT,
            c: Region::ABSENT,
            made_order: Region::ABSENT,
        }
    }

    fn module(&self, program: &'static Program) -> Module {
        program.module(self.target.variant.workgroup)
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
        let planes = 1 + usize::from(self.gradient) + usize::from(seeded);
        let words = (planes * self.cols + self.sets * self.len) as u64;
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
        parts: u32,
        first: &Sweep,
    ) -> Result<(), Error> {
        let chunks = first.shape.chunk_words(FIRST.accumulator.acc_words, rows);
        self.chunk = scratch.take_if(first.shape.chunks > 1, chunks)?;
        let weights = (self.sets * self.len) as u64;
        self.spread = scratch.take(rows as u64 * u64::from(SPREAD_WORDS))?;
        self.weights = scratch.take_if(self.theta.is_some(), weights)?;
        let sums = u64::from(parts) * weights;
        self.column = scratch.take_if(self.grad_theta.is_some(), sums)?;
        Ok(())
    }

    /// Takes the planes of a window of `rows` rows.
    fn take_planes(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        let words = (rows * self.cols) as u64;
        self.e = scratch.take(words + 4)?;
        self.h = scratch.take_if(self.gradient, words)?;
        self.c = scratch.take((rows * self.sets * self.len) as u64)?;
        Ok(())
    }

    /// Takes room for seeded permutations, apart from the planes: they are bound beside them.
    fn take_order(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        if let Some(Order::Seeded { scope, .. }) = self.order {
            let rows = if scope == Scope::Row { rows } else { 1 };
            self.made_order = scratch.take((rows * self.cols) as u64)?;
        }
        Ok(())
    }

    /// The parameters of every stage; the order of the labels begins at an offset and has a stride from row to row.
    fn params(&self, params: RowParams, (order_offset, order_stride): (u32, u32)) -> RowParams {
        let config = &self.config;
        let (phi, huber_delta) = match config.phi {
            Phi::Square => (SQUARE, 0.0),
            Phi::Abs => (ABS, 0.0),
            Phi::Huber { delta } => (HUBER, delta),
        };
        let (additive, per_pair, degree) = match config.form {
            Form::Adjacent => (false, self.cols as f32, 1.0),
            Form::Pairs {
                weights: PairWeights::Additive,
            } => (true, 2.0, 1.0),
            Form::Pairs { .. } => (false, 2.0 / self.sets as f32, 2.0),
        };
        let settings = WdlSettings {
            epsilon: config.epsilon,
            lambda_presence: config.lambda_presence,
            lambda_ratio: config.lambda_ratio,
            lambda_difference: config.lambda_difference,
            prediction: match config.prediction {
                Prediction::Sigmoid => SIGMOID,
                Prediction::Softmax => SOFTMAX,
            },
            phi,
            huber_delta,
            additive: u32::from(additive),
            sets: self.sets as u32,
            weights: self.len as u32,
            per_pair,
            degree,
            spread_at: self.spread.at(),
            e_at: self.e.at() + plane_start(&params),
            h_at: self.h.at(),
            c_at: self.c.at(),
            weights_at: self.weights.at(),
            order_offset,
            order_stride,
        };
        RowParams {
            own: Settings::of(settings),
            ..params
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
        places.want_grad = 1;
        places.want_grad2 = 0;
        places.loss_at = ABSENT;
        places.threshold_at = ABSENT;
        places.chunk_at = self.chunk.at();
        places.coef_at = self.spread.at();
        let bindings = RowBindings {
            scratch,
            grad: self.e.bind(),
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
        if self.cols == 0 {
            return Ok(());
        }
        let (order, offset, stride) = self.order(steps, &params)?;
        let parts = reach(self.masked, self.sides);
        let module = DIFFERENCES.with(parts, Reduce::Tree, self.target.variant.workgroup);
        let tiles = (self.cols as u32).div_ceil(module.workgroup);
        let (entry, chunks) = match (self.config.form, self.config.phi) {
            (Form::Adjacent, _) => ("adjacent", tiles),
            (Form::Pairs { .. }, Phi::Square) => ("squares", 1),
            (Form::Pairs { .. }, Phi::Abs | Phi::Huber { .. }) => ("sweep", tiles),
        };
        let mut params = self.params(params, (offset, stride));
        params.grid.chunks = chunks;
        params.grid.columns = (self.sets * self.len) as u32;
        params.places.column_at = self.column.at();
        let bindings = DifferenceBindings {
            order,
            mask: bindings.mask,
            sides: bindings.sides,
            scratch: bindings.scratch,
        };
        let groups = u64::from(params.window.rows) * u64::from(chunks);
        steps.push(module, entry, groups, |grid| params.on(grid), bindings)?;
        if self.grad_theta.is_some() {
            column_sums(steps, module, params, bindings)?;
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
        parts: u32,
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
            parts,
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
            Some(theta) => self.theta_kernel(steps, "weights", theta, scratch, 0),
            None => Ok(()),
        }
    }

    /// Behind the last window: the gradient to theta, and the next seed.
    fn finish(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: Bind<'a>,
        parts: u32,
    ) -> Result<(), Error> {
        if let Some(theta) = self.theta.filter(|_| self.grad_theta.is_some()) {
            self.theta_kernel(steps, "theta", theta, scratch, parts)?;
        }
        match self.order {
            Some(Order::Seeded { seed, .. }) if seed.after == AfterCall::Advance => {
                permutation::advance(steps, seed.words)
            }
            _ => Ok(()),
        }
    }

    /// Bytes that the planes of `rows` rows move: e is written and read, c too and for the gradient to theta once more,
    /// h written and read twice.
    fn bytes(&self, rows: usize) -> u64 {
        let all = (rows * self.cols) as u64;
        let weights = (rows * self.sets * self.len) as u64;
        let gradient = u64::from(self.gradient);
        4 * (all * (2 + 3 * gradient) + weights * (2 + gradient))
    }
}
