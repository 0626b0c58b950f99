//! From a checked call of HCAL to its dispatches.
//!
//! `hcal_index` finds for each sample the first, the next and the number of samples of its class at each level: a class
//! of the batch stands at the number of its first sample, so nothing has the size of C x D but the caller's prototypes
//! and gradients. `hcal` makes unit features and perturbed prototypes wherever they are read, of inverse lengths. One
//! tiled matrix product has three uses: scores, gradient to vectors, gradient to prototypes. A window of samples is done
//! forward and backward at once, because a level's weight is only a factor: `balance` runs after all levels, and
//! `scale_gradients`, `collect` and the `finish_` kernels apply it on the way to the caller's tensors.

use crate::device::context::Context;
use crate::device::plan::{Bind, Dispatches, Draft, Grid, Region, Scratch, Target, to_u32};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::Tensor;
use crate::error::{Error, ErrorKind};
use crate::kernels::balance;
use crate::kernels::balance::{Bound, state_tensor};
use crate::kernels::hcal::call::{HcalInputs, HcalOutputs, Wants, inspect};
use crate::kernels::hcal::params::{
    HCAL, HCAL_INDEX, HcalBindings, HcalParams, IndexBindings, IndexParams, LevelParams, Mode,
    NOISE_GIVEN, NOISE_NONE, NOISE_SEEDED, NONE, PRODUCT_TO_PROTOTYPES, PRODUCT_TO_VECTORS, Places,
    RECORD_WORDS, WindowParams, tile_cols, tile_rows,
};
use crate::kernels::view::{View, Viewed};
use crate::losses::hcal::{Aggregation, Hcal};
use crate::losses::hierarchy::Levels;
use crate::losses::labels::{AfterCall, Noise};

/// From so many classes on, a lane has a prototype to itself: enough lanes, and no barriers.
const ALONE: usize = 4096;
// Where the gradient to few vectors is a product over many classes, the classes are split in chunks.
/// Smallest chunk, in classes.
const CHUNK: usize = 1024;
/// Workgroups to aim for.
const CHUNK_GROUPS: u64 = 256;
/// Limit on the partial products of all chunks, in f32.
const CHUNK_WORDS: u64 = 1 << 22;

impl Hcal {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &HcalInputs<'_>,
        outputs: &HcalOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        let bytes = inspect(self, inputs, outputs)?;
        let draft = plan(cx.target(), self, inputs, outputs)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

/// From a checked call to its dispatches.
fn plan<'a>(
    target: Target<'_>,
    config: &Hcal,
    inputs: &HcalInputs<'a>,
    outputs: &HcalOutputs<'a>,
) -> Result<Draft<'a>, Error> {
    let mut call = Call::new(target, config, inputs, outputs)?;
    call.lengths()?;
    if call.wants.losses {
        call.index()?;
        call.contrast()?;
        call.balance()?;
        call.gradients()?;
    }
    if call.wants.predictions && call.samples > 0 {
        call.predictions()?;
        call.violations()?;
    }
    call.advance()?;
    let windows = call.levels.iter().map(|l| call.samples.div_ceil(l.rows));
    let windows = windows.max().unwrap_or(1).max(1);
    Ok(call.dispatches.draft(&call.scratch, windows))
}

/// A call while its dispatches are laid out.
struct Call<'a, 'c> {
    target: Target<'c>,
    config: &'c Hcal,
    classes: &'c Levels,
    inputs: &'c HcalInputs<'a>,
    outputs: &'c HcalOutputs<'a>,
    wants: Wants,
    samples: usize,
    dim: usize,
    dispatches: Dispatches<'a, 'c>,
    scratch: Scratch,
    /// From the finest.
    levels: Vec<Level<'a>>,
    features: Bind<'a>,
    /// The seed of the perturbation.
    seed: Viewed<'a>,
    parents: Viewed<'a>,
    grad_features: Viewed<'a>,
    state: State,
    scores: Region,
    /// Of products that are split by classes.
    chunks: Region,
}

/// A level's tensors and places.
#[derive(Clone, Copy)]
struct Level<'a> {
    prototypes: Tensor<'a>,
    noise: Option<Tensor<'a>>,
    grad: Option<Tensor<'a>>,
    classes: usize,
    /// Classes that one binding reaches in each of them.
    window: usize,
    /// Samples whose scores are kept at a time.
    rows: usize,
    params: HcalParams,
    means: Option<Means>,
}

/// A level's means, and the gradient to them.
#[derive(Clone, Copy)]
struct Means {
    values: Region,
    grad: Region,
}

/// A window of a level's classes.
#[derive(Clone, Copy)]
struct Window<'a> {
    params: HcalParams,
    prototypes: Bind<'a>,
    noise: Bind<'a>,
    grad: Bind<'a>,
}

/// What all kernels reach: lengths, records, losses.
struct State {
    /// All of it.
    bind: Bind<'static>,
    feature_lengths: Region,
    prototype_lengths: Vec<Region>,
    /// Of all levels, one after the other.
    records: Region,
    record_words: u32,
    losses: Region,
    weights: Region,
    flags: Region,
    /// Where the caller wants none, but violations.
    predictions: Region,
}

impl State {
    fn take(
        scratch: &mut Scratch,
        classes: &Levels,
        samples: usize,
        outputs: &HcalOutputs<'_>,
    ) -> Result<State, Error> {
        let (samples, m) = (samples as u64, classes.len() as u64);
        let feature_lengths = scratch.take(samples)?;
        let lengths = classes.classes().iter();
        let prototype_lengths = lengths
            .map(|count| scratch.take(3 * *count as u64))
            .collect::<Result<_, _>>()?;
        let record_words = u64::from(RECORD_WORDS) * samples;
        let records = scratch.take(record_words * m)?;
        let losses = scratch.take(2 * m)?;
        let weights = scratch.take(m)?;
        let flags = scratch.take(samples)?;
        let kept = outputs.violations.is_some() && outputs.predictions.is_none();
        let predictions = scratch.take_if(kept, m * samples)?;
        to_u32(scratch.words(), "scratch")?;
        Ok(State {
            bind: scratch.bind(),
            feature_lengths,
            prototype_lengths,
            records,
            record_words: record_words as u32,
            losses,
            weights,
            flags,
            predictions,
        })
    }

    /// Where the records of level `k` begin.
    fn records_at(&self, k: usize) -> u32 {
        self.records.at() + self.record_words * k as u32
    }
}

/// Workgroups of a product.
fn tiles(workgroup: u32, rows: usize, cols: usize) -> u64 {
    let (high, wide) = (tile_rows(workgroup) as usize, tile_cols(workgroup) as usize);
    rows.div_ceil(high) as u64 * cols.div_ceil(wide) as u64
}

/// Chunks of the product over `classes` classes that gives the gradient to `rows` vectors.
fn chunks(workgroup: u32, rows: usize, dim: usize, classes: usize) -> u64 {
    let wanted = CHUNK_GROUPS / tiles(workgroup, rows, dim).max(1);
    let most = CHUNK_WORDS / (rows as u64 * dim as u64).max(1);
    wanted.min(most).clamp(1, (classes / CHUNK).max(1) as u64)
}

impl<'a, 'c> Call<'a, 'c> {
    /// Binds what is shared, and lays out the scratch.
    fn new(
        target: Target<'c>,
        config: &'c Hcal,
        inputs: &'c HcalInputs<'a>,
        outputs: &'c HcalOutputs<'a>,
    ) -> Result<Self, Error> {
        let classes = inputs.levels.host;
        let (samples, dim) = (inputs.features.rows(), inputs.features.cols());
        to_u32(samples as u64 * dim as u64, "features")?;
        let wants = Wants::of(outputs);
        let (features, features_view) = target.view_all("features", inputs.features)?;
        let seed = match inputs.noise {
            Some(Noise::Seeded(seed)) => target.view_all("seed", seed.words)?,
            None | Some(Noise::Given(_)) => Viewed::default(),
        };
        let mut scratch = Scratch::default();
        let state = State::take(&mut scratch, classes, samples, outputs)?;
        let mut call = Call {
            target,
            config,
            classes,
            inputs,
            outputs,
            wants,
            samples,
            dim,
            dispatches: Dispatches::new(target),
            scratch,
            levels: Vec::new(),
            features,
            seed,
            parents: Viewed::default(),
            grad_features: Viewed::default(),
            state,
            scores: Region::ABSENT,
            chunks: Region::ABSENT,
        };
        call.take_levels(features_view)?;
        if classes.words_len() > 0 {
            call.parents = target.view_all("levels", inputs.levels.words)?;
        }
        call.grad_features = target.view_all("grad_features", outputs.grad_features)?;
        Ok(call)
    }

    /// Lays out the levels, and the scratch that they share.
    fn take_levels(&mut self, features: View) -> Result<(), Error> {
        let workgroup = self.target.variant.workgroup;
        let elements = self.samples as u64 * self.dim as u64;
        let tree = self.config.aggregation == Aggregation::Tree;
        let (mut score_words, mut chunk_words) = (0, 0);
        for (k, &count) in self.classes.classes().iter().enumerate() {
            let mut level = self.level(k, count, features)?;
            let rows = level.rows;
            score_words = score_words.max(rows.min(self.samples) as u64 * count as u64);
            // The last window has fewer samples, and perhaps more chunks.
            for rows in [rows, self.samples % rows] {
                let split = chunks(workgroup, rows, self.dim, level.window);
                if self.wants.to_features && split > 1 {
                    chunk_words = chunk_words.max(split * rows as u64 * self.dim as u64);
                }
            }
            let has_means = k > 0 || tree && self.classes.len() > 1;
            if self.wants.losses && self.samples > 0 && has_means {
                let grad = if self.wants.to_features { elements } else { 1 };
                level.means = Some(Means {
                    values: self.scratch.take(elements)?,
                    grad: self.scratch.take(grad)?,
                });
            }
            self.levels.push(level);
        }
        self.scores = self.scratch.take(score_words.max(1))?;
        self.chunks = self.scratch.take(chunk_words.max(1))?;
        Ok(())
    }

    /// Level `k` of `count` classes, without its means.
    fn level(&self, k: usize, count: usize, features: View) -> Result<Level<'a>, Error> {
        let most = self.target.caps.max_binding / 4;
        let prototypes = self.inputs.prototypes[k];
        let (noise, noise_kind) = match self.inputs.noise {
            None => (None, NOISE_NONE),
            Some(Noise::Given(noise)) => (Some(noise[k]), NOISE_GIVEN),
            Some(Noise::Seeded(_)) => (None, NOISE_SEEDED),
        };
        let grad = self.outputs.grad_prototypes.map(|grads| grads[k]);
        let mut window = count;
        for (name, tensor) in [
            ("prototypes", Some(prototypes)),
            ("noise", noise),
            ("grad_prototypes", grad),
        ] {
            if let Some(tensor) = tensor {
                let name = format!("{name}_{}", k + 1);
                window = window.min(self.target.rows_per_binding(&name, &tensor)?);
            }
        }
        if count as u64 > most {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("level {}", k + 1),
                format!("at most {most} classes on this device"),
                count,
            ));
        }
        let rows = (self.config.scores as u64).min(most) / count as u64;
        let m = self.classes.len();
        let params = HcalParams {
            features,
            noise: View {
                kind: noise_kind,
                ..self.seed.1
            },
            level: LevelParams {
                number: k as u32,
                classes: count as u32,
                at: self.state.records_at(k),
                above_at: self.state.records_at((k + 1).min(m - 1)),
            },
            places: Places {
                feature_lengths: self.state.feature_lengths.at(),
                prototype_lengths: self.state.prototype_lengths[k].at(),
                losses: self.state.losses.at(),
                weights: self.state.weights.at(),
            },
            mode: Mode {
                chunks: 1,
                from_rows: u32::from(k > 0),
                tree: u32::from(self.config.aggregation == Aggregation::Tree),
                alone: u32::from(count >= ALONE),
                ..Mode::default()
            },
            samples: self.samples as u32,
            dim: self.dim as u32,
            levels: m as u32,
            scale: 1.0 / self.config.temperature,
            epsilon: self.config.epsilon,
            nan: f32::NAN.to_bits(),
            ..HcalParams::default()
        };
        Ok(Level {
            prototypes,
            noise,
            grad,
            classes: count,
            window,
            rows: rows.clamp(1, self.samples.max(1) as u64) as usize,
            params,
            means: None,
        })
    }

    /// Adds a dispatch of the contrast module.
    fn push(
        &mut self,
        entry: &'static str,
        groups: u64,
        params: HcalParams,
        bindings: HcalBindings<'a>,
    ) -> Result<(), Error> {
        let module = HCAL.module(self.target.variant.workgroup);
        let params = |grid: Grid| HcalParams {
            groups: grid.groups,
            groups_x: grid.groups_x,
            ..params
        };
        self.dispatches
            .push(module, entry, groups, params, bindings)
    }

    /// Adds a dispatch of the index module.
    fn push_index(
        &mut self,
        entry: &'static str,
        groups: u64,
        params: IndexParams,
        bindings: IndexBindings<'a>,
    ) -> Result<(), Error> {
        let module = HCAL_INDEX.module(self.target.variant.workgroup);
        let params = |grid: Grid| IndexParams {
            groups_x: grid.groups_x,
            ..params
        };
        self.dispatches
            .push(module, entry, groups, params, bindings)
    }

    /// The state alone.
    fn bindings(&self) -> HcalBindings<'a> {
        HcalBindings {
            state: self.state.bind,
            ..HcalBindings::default()
        }
    }

    fn lanes(&self) -> u64 {
        u64::from(self.target.variant.workgroup)
    }

    /// Workgroups of a product.
    fn tiles(&self, rows: usize, cols: usize) -> u64 {
        tiles(self.target.variant.workgroup, rows, cols)
    }

    /// Workgroups with a lane for each component of each sample.
    fn element_groups(&self) -> u64 {
        (self.samples as u64 * self.dim as u64).div_ceil(self.lanes())
    }

    /// Workgroups that go through the prototypes of a window.
    fn vector_groups(&self, params: &HcalParams) -> u64 {
        let count = u64::from(params.window.class_count);
        match params.mode.alone {
            0 => count,
            _ => count.div_ceil(self.lanes()),
        }
    }

    /// The windows of a level's classes.
    fn windows(&self, level: &Level<'a>) -> Vec<Window<'a>> {
        let window = |first: usize| {
            let count = level.window.min(level.classes - first);
            let view = |tensor: Option<Tensor<'a>>| self.target.view_rows(tensor, first, count);
            let (prototypes, prototypes_view) = view(Some(level.prototypes));
            let (noise, noise_view) = match level.noise {
                Some(_) => view(level.noise),
                None => self.seed,
            };
            let (grad, result) = view(level.grad);
            let params = HcalParams {
                prototypes: prototypes_view,
                noise: View {
                    kind: level.params.noise.kind,
                    ..noise_view
                },
                result,
                window: WindowParams {
                    first_class: first as u32,
                    class_count: count as u32,
                    ..WindowParams::default()
                },
                ..level.params
            };
            Window {
                params,
                prototypes,
                noise,
                grad,
            }
        };
        (0..level.classes)
            .step_by(level.window)
            .map(window)
            .collect()
    }

    /// Where the parents of level `k` begin in their binding.
    fn parents_offset(&self, k: usize) -> u32 {
        let before: usize = self.classes.classes()[..k].iter().sum();
        self.parents.1.offset + before as u32
    }

    /// The inverse lengths of all vectors.
    fn lengths(&mut self) -> Result<(), Error> {
        let samples = self.samples as u64;
        if samples > 0 {
            let bindings = HcalBindings {
                features: self.features,
                ..self.bindings()
            };
            let params = self.levels[0].params;
            self.push("feature_lengths", samples, params, bindings)?;
        }
        for level in self.levels.clone() {
            for window in self.windows(&level) {
                let bindings = HcalBindings {
                    prototypes: window.prototypes,
                    noise: window.noise,
                    ..self.bindings()
                };
                let groups = self.vector_groups(&window.params);
                self.push("prototype_lengths", groups, window.params, bindings)?;
            }
        }
        Ok(())
    }

    /// Which samples share a class.
    fn index(&mut self) -> Result<(), Error> {
        let Some(labels) = self.inputs.labels.filter(|_| self.samples > 0) else {
            return Ok(());
        };
        let blocks = (self.samples as u64).div_ceil(self.lanes());
        let plain = IndexParams {
            samples: self.samples as u32,
            ..IndexParams::default()
        };
        let bindings = IndexBindings {
            state: self.state.bind,
            ..IndexBindings::default()
        };
        for k in 0..self.levels.len() {
            let (labels, view) = self.target.view_rows(labels, k, 1);
            let params = IndexParams {
                classes: self.levels[k].classes as u32,
                labels_offset: view.offset,
                at: self.state.records_at(k),
                ..plain
            };
            let bindings = IndexBindings { labels, ..bindings };
            self.push_index("members", blocks, params, bindings)?;
        }
        let tree = self.config.aggregation == Aggregation::Tree;
        for k in (1..self.levels.len()).filter(|_| tree) {
            let params = IndexParams {
                at: self.state.records_at(k),
                below_at: self.state.records_at(k - 1),
                parents_offset: self.parents_offset(k - 1),
                ..plain
            };
            let bindings = IndexBindings {
                levels: self.parents.0,
                ..bindings
            };
            self.push_index("children", blocks, params, bindings)?;
        }
        Ok(())
    }

    /// Each level forward, and backward up to the weight of its loss.
    fn contrast(&mut self) -> Result<(), Error> {
        let levels = self.levels.clone();
        let mut below = Bind::Nothing;
        for level in &levels {
            if let Some(means) = level.means {
                let bindings = HcalBindings {
                    features: self.features,
                    rows: below,
                    result: means.values.bind(),
                    ..self.bindings()
                };
                let groups = self.element_groups();
                self.push("means", groups, level.params, bindings)?;
                below = means.values.bind();
            }
        }
        for (k, level) in levels.iter().enumerate() {
            // The vectors, and where their gradient goes.
            let (rows, to_rows) = match (k, level.means) {
                (1.., Some(means)) => {
                    let grad = (means.grad.bind(), View::whole(self.dim));
                    (means.values.bind(), grad)
                }
                _ => (Bind::Nothing, self.grad_features),
            };
            for first in (0..self.samples).step_by(level.rows) {
                self.contrast_window(level, first, rows, to_rows)?;
            }
        }
        Ok(())
    }

    /// A window of a level's vectors, from `first` on.
    fn contrast_window(
        &mut self,
        level: &Level<'a>,
        first: usize,
        rows: Bind<'a>,
        to_rows: Viewed<'a>,
    ) -> Result<(), Error> {
        let count = level.rows.min(self.samples - first);
        let of_window = |params: &HcalParams| HcalParams {
            window: WindowParams {
                first_row: first as u32,
                row_count: count as u32,
                ..params.window
            },
            mode: Mode {
                want_gradient: u32::from(self.wants.gradient()),
                ..params.mode
            },
            ..*params
        };
        let softmax = of_window(&level.params);
        let mut windows = self.windows(level);
        for window in &mut windows {
            window.params = of_window(&window.params);
        }
        let scored = HcalBindings {
            scores: self.scores.bind(),
            ..self.bindings()
        };
        for window in &windows {
            let bindings = HcalBindings {
                features: self.features,
                prototypes: window.prototypes,
                noise: window.noise,
                rows,
                ..scored
            };
            let groups = self.tiles(count, window.params.window.class_count as usize);
            self.push("product", groups, window.params, bindings)?;
        }
        self.push("softmax", count as u64, softmax, scored)?;
        for (i, window) in windows.iter().enumerate() {
            if self.wants.to_features {
                self.grad_vectors(window, i > 0, to_rows)?;
            }
            if self.wants.to_prototypes {
                let params = HcalParams {
                    mode: Mode {
                        product: PRODUCT_TO_PROTOTYPES,
                        add: u32::from(first > 0),
                        ..window.params.mode
                    },
                    ..window.params
                };
                let bindings = HcalBindings {
                    features: self.features,
                    rows,
                    result: window.grad,
                    ..scored
                };
                let groups = self.tiles(params.window.class_count as usize, self.dim);
                self.push("product", groups, params, bindings)?;
            }
        }
        Ok(())
    }

    /// The gradient to a window of vectors from a window of classes, added to that of the windows before.
    fn grad_vectors(
        &mut self,
        window: &Window<'a>,
        add: bool,
        (result, result_view): Viewed<'a>,
    ) -> Result<(), Error> {
        let WindowParams {
            row_count,
            class_count,
            ..
        } = window.params.window;
        let (count, workgroup) = (row_count as usize, self.target.variant.workgroup);
        let split = chunks(workgroup, count, self.dim, class_count as usize);
        let params = HcalParams {
            mode: Mode {
                product: PRODUCT_TO_VECTORS,
                chunks: split as u32,
                add: u32::from(add),
                ..window.params.mode
            },
            result: result_view,
            ..window.params
        };
        let groups = split * self.tiles(count, self.dim);
        let product = HcalBindings {
            prototypes: window.prototypes,
            noise: window.noise,
            scores: self.scores.bind(),
            ..self.bindings()
        };
        if split == 1 {
            return self.push(
                "product",
                groups,
                params,
                HcalBindings { result, ..product },
            );
        }
        let rows = self.chunks.bind();
        self.push("product", groups, params, HcalBindings { rows, ..product })?;
        let groups = (count as u64 * self.dim as u64).div_ceil(self.lanes());
        let sum = HcalBindings {
            rows,
            result,
            ..HcalBindings::default()
        };
        self.push("sum_chunks", groups, params, sum)
    }

    /// The levels' losses and their weights.
    fn balance(&mut self) -> Result<(), Error> {
        let (target, outputs, m) = (self.target, self.outputs, self.levels.len());
        let (losses, result) = target.view_all("losses", outputs.losses)?;
        let params = HcalParams {
            result,
            ..self.levels[0].params
        };
        let bindings = HcalBindings {
            result: losses,
            ..self.bindings()
        };
        self.push("level_losses", m as u64, params, bindings)?;
        let whole = View::whole(0);
        let bound = Bound {
            count: m,
            losses: (self.state.losses.bind(), whole),
            counts: View {
                offset: m as u32,
                ..whole
            },
            upstream: target.view_all("grad_loss", self.inputs.grad_loss)?,
            state: target.view_all("balance", state_tensor(&self.inputs.balance))?,
            weights: target.view_all("weights", outputs.weights)?,
            grad_losses: (self.state.weights.bind(), whole),
            loss: target.view_all("loss", outputs.loss)?,
            grad_state: target.view_all("grad_log_variances", outputs.grad_log_variances)?,
        };
        balance::push(&mut self.dispatches, &self.config.balance, &bound)
    }

    /// With the weights, to the caller's gradients.
    fn gradients(&mut self) -> Result<(), Error> {
        if self.outputs.grad_features.is_some() && self.samples > 0 {
            self.gradient_to_features()?;
        }
        for level in self.levels.clone().iter().filter(|l| l.grad.is_some()) {
            for window in self.windows(level) {
                let bindings = HcalBindings {
                    prototypes: window.prototypes,
                    noise: window.noise,
                    result: window.grad,
                    ..self.bindings()
                };
                let groups = self.vector_groups(&window.params);
                self.push("finish_prototypes", groups, window.params, bindings)?;
            }
        }
        Ok(())
    }

    /// What the levels give the features, from the coarsest on.
    fn gradient_to_features(&mut self) -> Result<(), Error> {
        let groups = self.element_groups();
        let (grad, result) = self.grad_features;
        let params = |level: &Level<'a>, add: bool| HcalParams {
            result,
            mode: Mode {
                add: u32::from(add),
                ..level.params.mode
            },
            ..level.params
        };
        let to_grad = HcalBindings {
            result: grad,
            ..self.bindings()
        };
        let first = params(&self.levels[0], false);
        self.push("collect", groups, first, to_grad)?;
        let mut above = Bind::Nothing;
        for level in self.levels.clone().iter().rev() {
            if let Some(means) = level.means {
                let own = means.grad.bind();
                let bindings = HcalBindings {
                    rows: above,
                    result: own,
                    ..self.bindings()
                };
                self.push("scale_gradients", groups, level.params, bindings)?;
                let bindings = HcalBindings {
                    rows: own,
                    ..to_grad
                };
                self.push("collect", groups, params(level, true), bindings)?;
                above = own;
            }
        }
        let bindings = HcalBindings {
            features: self.features,
            ..to_grad
        };
        self.push("finish_features", self.samples as u64, first, bindings)
    }

    /// Predictions, without perturbation.
    fn predictions(&mut self) -> Result<(), Error> {
        for (k, level) in self.levels.clone().iter().enumerate() {
            // Where they are kept in the state, that is not bound a second time: `argmax` has no use for it.
            let ((result, result_view), state) = match self.outputs.predictions {
                Some(tensor) => (self.target.view_rows(tensor, k, 1), self.state.bind),
                None => {
                    let view = View {
                        offset: (k * self.samples) as u32,
                        ..View::whole(self.samples)
                    };
                    ((self.state.predictions.bind(), view), Bind::Nothing)
                }
            };
            for first in (0..self.samples).step_by(level.rows) {
                let count = level.rows.min(self.samples - first);
                let plain = |params: &HcalParams| HcalParams {
                    result: result_view,
                    window: WindowParams {
                        first_row: first as u32,
                        row_count: count as u32,
                        ..params.window
                    },
                    mode: Mode {
                        plain: 1,
                        from_rows: 0,
                        ..params.mode
                    },
                    ..*params
                };
                for window in self.windows(level) {
                    let bindings = HcalBindings {
                        features: self.features,
                        prototypes: window.prototypes,
                        scores: self.scores.bind(),
                        ..self.bindings()
                    };
                    let groups = self.tiles(count, window.params.window.class_count as usize);
                    self.push("product", groups, plain(&window.params), bindings)?;
                }
                let bindings = HcalBindings {
                    scores: self.scores.bind(),
                    state,
                    result,
                    ..HcalBindings::default()
                };
                self.push("argmax", count as u64, plain(&level.params), bindings)?;
            }
        }
        Ok(())
    }

    /// What the predictions break.
    fn violations(&mut self) -> Result<(), Error> {
        if self.outputs.violations.is_none() {
            return Ok(());
        }
        let (samples, m) = (self.samples, self.levels.len());
        let (counters, counters_view) = self
            .target
            .view_all("violations", self.outputs.violations)?;
        let (labels, view) = match self.outputs.predictions {
            Some(tensor) => self.target.view_all("predictions", tensor)?,
            None => (self.state.predictions.bind(), View::whole(samples)),
        };
        let of_level = |k: usize| view.offset + k as u32 * view.stride;
        let links = (m - 1).max(1);
        for k in 0..links {
            let params = IndexParams {
                samples: samples as u32,
                labels_offset: of_level(k),
                above_offset: of_level((k + 1).min(m - 1)),
                parents_offset: self.parents_offset(k),
                link: if m > 1 { k as u32 } else { NONE },
                first: u32::from(k == 0),
                last: u32::from(k + 1 == links),
                counters_offset: counters_view.offset,
                ..IndexParams::default()
            };
            let bindings = IndexBindings {
                labels,
                levels: self.parents.0,
                state: self.state.flags.bind(),
                counters,
            };
            self.push_index("violations", 1, params, bindings)?;
        }
        Ok(())
    }

    /// The seed of the next call.
    fn advance(&mut self) -> Result<(), Error> {
        match self.inputs.noise {
            Some(Noise::Seeded(seed)) if seed.after == AfterCall::Advance => {}
            _ => return Ok(()),
        }
        let (counters, view) = self.seed;
        let params = IndexParams {
            counters_offset: view.offset,
            ..IndexParams::default()
        };
        let bindings = IndexBindings {
            counters,
            ..IndexBindings::default()
        };
        self.push_index("advance", 1, params, bindings)
    }
}
