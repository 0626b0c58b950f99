//! The steps of WDL around the two sweeps of the row losses' driver: `weights`; for each window of rows the first
//! stage (the driver, with e = p - q for the gradient), the differences, the column sums of the gradient to the weights,
//! and the last stage (the driver again, with the gradient proper); at the end `theta`.
//!
//! What the stages hand on lies in scratch, for one window at a time: the planes e, h (a value per label) and c (a value
//! per weight).

use crate::device::caps::Caps;
use crate::device::context::STORAGE_BINDINGS;
use crate::device::plan::{Step, fold};
use crate::device::prepared::{Bind, Draft};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::permutation;
use crate::kernels::rows::plan::{RowParams, folded};
use crate::kernels::shader::{Kernel, Program, RowLoss};
use crate::kernels::steps::{ABSENT, Scratch, bind_all, bind_rows, word};
use crate::losses::labels::{AfterCall, Order, Scope, Seed};
use crate::losses::wdl::{Form, PairWeights, Phi, Prediction, Wdl};
use bytemuck::{Pod, Zeroable};

/// Mirror of `ThetaParams` in shaders/wdl/theta.wgsl.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
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

/// Most words that the planes of a window take, and at most half of what a binding reaches; a window has a row at least.
const PLANE_WORDS: u64 = 1 << 24;

/// A WDL call: its settings, its own tensors, its regions of scratch.
pub(crate) struct Stages<'a, 'k> {
    config: Wdl,
    cols: usize,
    sets: usize,
    /// Weights of a set.
    len: usize,
    order: Option<Order<Tensor<'a>, Seed<Tensor<'a>>>>,
    theta: Option<Tensor<'a>>,
    grad_theta: Option<Tensor<'a>>,
    gradient: bool,
    kernel: &'k dyn Fn(Program, &'static str) -> Kernel,
    spread_at: u32,
    weights_at: u32,
    column_at: u32,
    e_at: u32,
    h_at: u32,
    c_at: u32,
    e_words: u64,
    /// Where seeded permutations go.
    order_at: u32,
    order_words: u64,
}

impl<'a, 'k> Stages<'a, 'k> {
    /// The row loss of the first stage; that of the last is the call's own.
    pub(crate) const FIRST: RowLoss = RowLoss::WdlDistribution;

    pub(crate) fn new(
        config: Wdl,
        inputs: &RowInputs<'a>,
        outputs: &RowOutputs<'a>,
        gradient: bool,
        kernel: &'k dyn Fn(Program, &'static str) -> Kernel,
    ) -> Self {
        let (sets, len) = config.theta_shape(inputs.logits.cols());
        let adjacent = config.form == Form::Adjacent;
        Stages {
            config,
            cols: inputs.logits.cols(),
            sets,
            len,
            order: inputs.permutation.filter(|_| adjacent),
            theta: inputs.theta.filter(|_| len > 0),
            grad_theta: outputs.grad_theta.filter(|_| len > 0),
            gradient,
            kernel,
            spread_at: ABSENT,
            weights_at: ABSENT,
            column_at: ABSENT,
            e_at: ABSENT,
            h_at: ABSENT,
            c_at: ABSENT,
            e_words: 0,
            order_at: ABSENT,
            order_words: 0,
        }
    }

    /// Whether each row has a seeded permutation of its own.
    fn seeded_rows(&self) -> bool {
        matches!(
            self.order,
            Some(Order::Seeded {
                scope: Scope::Row,
                ..
            })
        )
    }

    /// The most rows of a window.
    pub(crate) fn most_rows(&self, caps: &Caps) -> usize {
        let budget = PLANE_WORDS.min(caps.max_binding / 8);
        let planes = 1 + usize::from(self.gradient) + usize::from(self.seeded_rows());
        let words = (planes * self.cols + self.sets * self.len) as u64;
        (budget / words.max(1)).max(1) as usize
    }

    /// The tensors that have rows.
    pub(crate) fn by_rows(&self) -> Option<(&'static str, Tensor<'a>)> {
        match self.order {
            Some(Order::PerRow(t)) => Some(("permutation", t)),
            _ => None,
        }
    }

    /// Takes room for the distributions of a window of `rows` rows, the weights, and the sums over all rows.
    pub(crate) fn take_sums(
        &mut self,
        scratch: &mut Scratch,
        rows: usize,
        parts: u32,
    ) -> Result<(), Error> {
        let spread_words = u64::from(Self::FIRST.parts().coef_words);
        let weights = (self.sets * self.len) as u64;
        self.spread_at = scratch.take(true, rows as u64 * spread_words)?;
        self.weights_at = scratch.take(self.theta.is_some(), weights)?;
        self.column_at = scratch.take(self.grad_theta.is_some(), u64::from(parts) * weights)?;
        Ok(())
    }

    /// Takes the planes of a window of `rows` rows.
    pub(crate) fn take_planes(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        self.e_words = (rows * self.cols) as u64;
        self.e_at = scratch.take(true, self.e_words)?;
        self.h_at = scratch.take(self.gradient, self.e_words)?;
        self.c_at = scratch.take(true, (rows * self.sets * self.len) as u64)?;
        Ok(())
    }

    /// Takes room for seeded permutations, apart from the planes: they are bound beside them.
    pub(crate) fn take_order(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        if let Some(Order::Seeded { scope, .. }) = self.order {
            let rows = if scope == Scope::Row { rows } else { 1 };
            self.order_words = (rows * self.cols) as u64;
            self.order_at = scratch.take(true, self.order_words)?;
        }
        Ok(())
    }

    fn theta_draft(
        &self,
        entry: &'static str,
        theta: Tensor<'a>,
        scratch: Bind<'a>,
        parts: u32,
        caps: &Caps,
    ) -> Result<Draft<'a>, Error> {
        let mut bindings = [Bind::Nothing; STORAGE_BINDINGS];
        let (x, y) = fold(self.sets as u32, caps.max_groups);
        let mut params = ThetaParams {
            sets: self.sets as u32,
            len: self.len as u32,
            groups_x: x,
            theta_stride: theta.row_stride() as u32,
            weights_at: self.weights_at,
            column_at: self.column_at,
            parts,
            sign: if self.config.ascent { -1.0 } else { 1.0 },
            ..ThetaParams::default()
        };
        (bindings[0], params.theta_offset) = bind_all("theta", &theta, caps)?;
        bindings[5] = scratch;
        if let Some(grad) = self.grad_theta {
            (bindings[6], params.grad_offset) = bind_all("grad_theta", &grad, caps)?;
            params.grad_stride = grad.row_stride() as u32;
        }
        Ok(Draft {
            step: Step {
                kernel: (self.kernel)(Program::WdlTheta, entry),
                groups: [x, y, 1],
            },
            params: bytemuck::bytes_of(&params).to_vec(),
            bindings,
        })
    }

    /// Before the first window: the weights, from theta.
    pub(crate) fn weights(
        &self,
        drafts: &mut Vec<Draft<'a>>,
        scratch: Bind<'a>,
        caps: &Caps,
    ) -> Result<(), Error> {
        if let Some(theta) = self.theta {
            drafts.push(self.theta_draft("weights", theta, scratch, 0, caps)?);
        }
        Ok(())
    }

    /// The parameters of every stage.
    pub(crate) fn params(&self, params: RowParams) -> RowParams {
        let (phi, huber_delta) = match self.config.phi {
            Phi::Square => (0, 0.0),
            Phi::Abs => (1, 0.0),
            Phi::Huber { delta } => (2, delta),
        };
        let (additive, per_pair, degree) = match self.config.form {
            Form::Adjacent => (false, self.cols as f32, 1.0),
            Form::Pairs {
                weights: PairWeights::Additive,
            } => (true, 2.0, 1.0),
            Form::Pairs { .. } => (false, 2.0 / self.sets as f32, 2.0),
        };
        RowParams {
            prediction: u32::from(self.config.prediction == Prediction::Softmax),
            phi,
            additive: u32::from(additive),
            sets: self.sets as u32,
            weights: self.len as u32,
            huber_delta,
            lambda_presence: self.config.lambda_presence,
            lambda_difference: self.config.lambda_difference,
            per_pair,
            degree,
            spread_at: self.spread_at,
            e_at: self.e_at,
            h_at: self.h_at,
            c_at: self.c_at,
            weights_at: self.weights_at,
            ..params
        }
    }

    /// The first stage in the driver's terms: coefficients and "gradient" go to scratch, and no loss anywhere.
    pub(crate) fn first(&self, params: RowParams) -> (RowParams, Bind<'a>) {
        let plane = match self.e_words {
            0 => Bind::Nothing,
            words => Bind::Scratch {
                start: u64::from(self.e_at) * 4,
                size: words * 4,
            },
        };
        let params = RowParams {
            // The coefficients are the window's own, and nothing else of this stage asks for a row's number.
            first_row: 0,
            grad_offset: 0,
            grad_stride: self.cols as u32,
            want_grad: 1,
            want_grad2: 0,
            loss_at: ABSENT,
            threshold_at: ABSENT,
            partial_at: ABSENT,
            coef_at: self.spread_at,
            ..params
        };
        (params, plane)
    }

    /// The differences of a window, and their sums over its rows in `parts` parts.
    /// `bindings` are those of the last stage.
    pub(crate) fn differences(
        &self,
        drafts: &mut Vec<Draft<'a>>,
        params: RowParams,
        bindings: [Bind<'a>; STORAGE_BINDINGS],
        parts: u32,
        caps: &Caps,
    ) -> Result<(), Error> {
        if self.cols == 0 {
            return Ok(());
        }
        let (first, rows) = (params.first_row as usize, params.rows as usize);
        let (mut order, mut order_offset, mut order_stride) = (Bind::Nothing, 0, 0);
        match self.order {
            Some(Order::Batch(t)) => {
                (order, order_offset) = bind_all("permutation", &t, caps)?;
            }
            Some(Order::PerRow(t)) => {
                (order, order_offset) = bind_rows(&t, first, rows, caps);
                order_stride = t.row_stride() as u32;
            }
            Some(Order::Seeded { seed, scope }) => {
                let per_row = scope == Scope::Row;
                order = Bind::Scratch {
                    start: u64::from(self.order_at) * 4,
                    size: self.order_words * 4,
                };
                if per_row {
                    order_stride = self.cols as u32;
                }
                if per_row || first == 0 {
                    drafts.push(permutation::draft(
                        (self.kernel)(Program::Permutation, "permutation"),
                        seed.words,
                        (order, 0, order_stride),
                        (params.first_row, if per_row { params.rows } else { 1 }),
                        self.cols as u32,
                        caps,
                    )?);
                }
            }
            None => {}
        }
        let workgroup = (self.kernel)(Program::WdlDifferences, "").module.workgroup;
        let tiles = (self.cols as u32).div_ceil(workgroup);
        let (entry, chunks) = match (self.config.form, self.config.phi) {
            (Form::Adjacent, _) => ("adjacent", tiles),
            (Form::Pairs { .. }, Phi::Square) => ("squares", 1),
            (Form::Pairs { .. }, Phi::Abs | Phi::Huber { .. }) => ("sweep", tiles),
        };
        let groups = word(u64::from(params.rows) * u64::from(chunks), "logits")?;
        let params = RowParams {
            groups,
            chunks,
            order_offset,
            order_stride,
            columns: (self.sets * self.len) as u32,
            column_at: self.column_at,
            ..params
        };
        let bindings = [
            order,
            Bind::Nothing,
            Bind::Nothing,
            bindings[3],
            bindings[4],
            bindings[5],
            Bind::Nothing,
        ];
        let mut push = |entry, (groups, params): ([u32; 3], RowParams)| {
            drafts.push(Draft {
                step: Step {
                    kernel: (self.kernel)(Program::WdlDifferences, entry),
                    groups,
                },
                params: bytemuck::bytes_of(&params).to_vec(),
                bindings,
            });
        };
        push(entry, folded(params, groups, 1, caps.max_groups));
        if self.grad_theta.is_some() {
            let tiles = params.columns.div_ceil(32);
            push("columns", folded(params, tiles, parts, caps.max_groups));
        }
        Ok(())
    }

    /// Behind the last window: the gradient to theta, and the next seed.
    pub(crate) fn finish(
        &self,
        drafts: &mut Vec<Draft<'a>>,
        scratch: Bind<'a>,
        parts: u32,
        caps: &Caps,
    ) -> Result<(), Error> {
        if let Some(theta) = self.theta.filter(|_| self.grad_theta.is_some()) {
            drafts.push(self.theta_draft("theta", theta, scratch, parts, caps)?);
        }
        let seed = match self.order {
            Some(Order::Seeded { seed, .. }) => Some(seed),
            _ => None,
        };
        if let Some(seed) = seed.filter(|seed| seed.after == AfterCall::Advance) {
            let kernel = (self.kernel)(Program::Permutation, "advance");
            drafts.push(permutation::advance(kernel, seed.words, caps)?);
        }
        Ok(())
    }
}
