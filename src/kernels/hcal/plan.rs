//! From a checked call of HCAL to its dispatches.
//!
//! `hcal_index` finds for each sample the first, the next and the number of samples of its class at each level, and of
//! which class's mean it is a part: a class of the batch stands at the number of its first sample. `features` and
//! `prototypes` leave unit vectors in quads of components, so that the products load a quad at a time and need no
//! workgroup memory. A window of samples is done forward and backward at once, because a level's weight is only a factor:
//! `balance` runs after all levels, and `collect` and `finish` apply it on the way to the caller's tensors.

use crate::device::context::Context;
use crate::device::live::Given;
use crate::device::module::Module;
use crate::device::plan::{Bind, Binds, Dispatches, Draft, Grid, Region, Scratch, Target, to_u32};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::Tensor;
use crate::error::{Error, ErrorKind};
use crate::kernels::balance;
use crate::kernels::balance::{Bound, state_tensor};
use crate::kernels::gradient::{Adds, Gradient, tensor};
use crate::kernels::hcal::call::{HcalInputs, HcalOutputs, Wants, inspect};
use crate::kernels::hcal::params::{
    HCAL_INDEX, HCAL_PRODUCTS, HcalParams, IndexBindings, IndexParams, LevelParams, LossBindings,
    Mode, NOISE_GIVEN, NOISE_NONE, NOISE_SEEDED, NONE, Places, ProductBindings, RECORD_WORDS,
    VectorBindings, WindowParams, losses, vectors,
};
use crate::kernels::view::{View, Viewed};
use crate::kernels::work::push_portions;
use crate::losses::hcal::{Aggregation, Hcal};
use crate::losses::hierarchy::Levels;
use crate::losses::labels::{AfterCall, Noise};
use std::ops::Range;

/// From so many vectors on, of at most [`SHORT`] numbers, a lane has one to itself, as always on a CPU.
const MANY: u64 = 4096;
/// Numbers of a vector that a lane goes through alone.
const SHORT: u64 = 512;
/// Limit on the unit prototypes that are kept for all levels at once, in f32; else on those of a window of one level.
const PROTOTYPE_WORDS: u64 = 1 << 24;
// Where the gradient to few vectors is a product over many classes, the classes are split in chunks.
/// Smallest chunk, in classes.
const CHUNK: usize = 256;
/// Lanes to aim for.
const CHUNK_LANES: u64 = 1 << 15;
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
        let (bytes, live) = inspect(self, inputs, outputs)?;
        let draft = plan(cx.target(), self, inputs, outputs, &live)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

/// From a checked call to its dispatches.
fn plan<'a>(
    target: Target<'_>,
    config: &Hcal,
    inputs: &HcalInputs<'a>,
    outputs: &HcalOutputs<'a>,
    settings: &Given<'a>,
) -> Result<Draft<'a>, Error> {
    let wants = Wants::of(outputs);
    let mut call = Call::new(target, config, inputs, outputs, (wants, Stand::Samples))?;
    call.dispatches.push_settings(settings)?;
    call.features()?;
    if call.wants.losses {
        call.all_prototypes(false)?;
        call.index()?;
        call.means()?;
        call.contrast()?;
        let module = losses(false, target.variant.workgroup);
        let absent = View::default();
        call.level_losses(module, (absent, absent), LossBindings::into)?;
        call.balance()?;
        call.gradients()?;
    }
    call.rest()
}

/// Where the vectors of the levels beyond the finest stand: at the number of the first sample of their class, or where a
/// batch lies over several devices at that of the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    Samples,
    Classes,
}

impl Stand {
    /// The vectors of level `k`, whether there is one in each place or not.
    fn vectors(self, classes: &Levels, k: usize, samples: usize) -> usize {
        match (self, k, classes.classes().get(k)) {
            (Stand::Classes, 1.., Some(classes)) => *classes,
            _ => samples,
        }
    }

    /// The most of a level, at least the samples.
    fn slots(self, classes: &Levels, samples: usize) -> usize {
        let all = (0..classes.len()).map(|k| self.vectors(classes, k, samples));
        all.max().unwrap_or(0).max(samples)
    }
}

/// A call while its dispatches are laid out.
pub(super) struct Call<'a, 'c> {
    pub(super) target: Target<'c>,
    config: &'c Hcal,
    classes: &'c Levels,
    inputs: &'c HcalInputs<'a>,
    outputs: &'c HcalOutputs<'a>,
    pub(super) wants: Wants,
    stand: Stand,
    pub(super) samples: usize,
    /// Records of a level.
    slots: usize,
    dim: usize,
    pub(super) quads: usize,
    pub(super) dispatches: Dispatches<'a, 'c>,
    scratch: Scratch,
    /// The tensors that gradients are made in, those to the prototypes by level.
    grads: Grads<'a>,
    /// What is added to the caller's tensors in the end.
    adds: Adds<'a>,
    /// From the finest.
    pub(super) levels: Vec<Level<'a>>,
    features: Bind<'a>,
    /// The seed of the perturbation.
    seed: Viewed<'a>,
    parents: Viewed<'a>,
    pub(super) state: State,
    /// Whether the unit prototypes of all levels are kept, each level's in a region of its own.
    kept_at_once: bool,
    /// The unit features.
    pub(super) units: Region,
    /// The means of each level that has some, one level after the other.
    pub(super) means: Region,
    scores: Region,
    /// The gradients to the vectors of each level, one level after the other.
    pub(super) gradients: Region,
    /// Of products that are split by classes.
    chunks: Region,
}

/// A level's tensors and places.
#[derive(Clone, Copy)]
pub(super) struct Level<'a> {
    prototypes: Tensor<'a>,
    noise: Option<Tensor<'a>>,
    grad: Option<Tensor<'a>>,
    pub(super) classes: usize,
    /// Vectors of the level.
    vectors: usize,
    /// Classes that one binding reaches in each of them.
    window: usize,
    /// Samples whose scores are kept at a time.
    rows: usize,
    pub(super) params: HcalParams,
    /// The row at which its means begin among those of all levels.
    pub(super) means: Option<u32>,
    /// The unit prototypes, of a window where not all are kept.
    packed: Region,
}

/// A window of a level's classes.
#[derive(Clone, Copy)]
struct Window<'a> {
    params: HcalParams,
    prototypes: Bind<'a>,
    noise: Bind<'a>,
    grad: Bind<'a>,
}

/// The tensors that gradients are made in.
struct Grads<'a> {
    features: Option<Tensor<'a>>,
    /// Of each level; none where they are not wanted.
    prototypes: Vec<Option<Tensor<'a>>>,
    log_variances: Option<Tensor<'a>>,
}

impl<'a> Grads<'a> {
    /// Those of the caller, or in scratch what is added to them.
    fn place(
        adds: &mut Adds<'a>,
        scratch: &mut Scratch,
        outputs: &HcalOutputs<'a>,
    ) -> Result<Self, Error> {
        let mut prototypes = Vec::new();
        for (k, grad) in outputs.grad_prototypes.into_iter().flatten().enumerate() {
            let name = format!("grad_prototypes_{}", k + 1);
            prototypes.push(tensor(adds.place(scratch, name, Some(*grad))?));
        }
        let mut place = |name, grad| Ok(tensor(adds.place(scratch, name, grad)?));
        Ok(Grads {
            features: place("grad_features", outputs.grad_features)?,
            prototypes,
            log_variances: place("grad_log_variances", outputs.grad_log_variances)?,
        })
    }
}

/// What all kernels reach: lengths, records, losses.
pub(super) struct State {
    /// All of it.
    pub(super) bind: Bind<'static>,
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
        (samples, slots): (usize, usize),
        outputs: &HcalOutputs<'_>,
    ) -> Result<State, Error> {
        let (samples, m) = (samples as u64, classes.len() as u64);
        let feature_lengths = scratch.take(samples)?;
        let lengths = classes.classes().iter();
        let prototype_lengths = lengths
            .map(|count| scratch.take(2 * *count as u64))
            .collect::<Result<_, _>>()?;
        let record_words = u64::from(RECORD_WORDS) * slots as u64;
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

/// Chunks of the product over `classes` classes that gives the gradient to `rows` vectors of so many quads.
fn chunks(rows: usize, quads: usize, classes: usize) -> u64 {
    let lanes = rows.div_ceil(4) as u64 * quads as u64;
    let wanted = CHUNK_LANES / lanes.max(1);
    let most = CHUNK_WORDS / (4 * rows as u64 * quads as u64).max(1);
    wanted.min(most).clamp(1, (classes / CHUNK).max(1) as u64)
}

impl<'a, 'c> Call<'a, 'c> {
    /// Binds what is shared, and lays out the scratch.
    pub(super) fn new(
        target: Target<'c>,
        config: &'c Hcal,
        inputs: &'c HcalInputs<'a>,
        outputs: &'c HcalOutputs<'a>,
        (wants, stand): (Wants, Stand),
    ) -> Result<Self, Error> {
        let classes = inputs.levels.host;
        let (samples, dim) = (inputs.features.rows(), inputs.features.cols());
        let quads = dim.div_ceil(4);
        let slots = stand.slots(classes, samples);
        let vectors = samples as u64 * quads as u64;
        let of_levels = (slots as u64 * quads as u64).saturating_mul(4 * classes.len() as u64);
        to_u32(of_levels, "features")?;
        let (features, features_view) = target.view_all("features", inputs.features)?;
        let seed = match inputs.noise {
            Some(Noise::Seeded(seed)) => target.view_all("seed", seed.words)?,
            None | Some(Noise::Given(_)) => Viewed::default(),
        };
        let mut scratch = Scratch::default();
        let mut adds = Adds::default();
        let grads = Grads::place(&mut adds, &mut scratch, outputs)?;
        let state = State::take(&mut scratch, classes, (samples, slots), outputs)?;
        let units = scratch.take(4 * vectors)?;
        let gradients = match wants.to_features {
            true => scratch.take(of_levels)?,
            false => Region::ABSENT,
        };
        let mut call = Call {
            target,
            config,
            classes,
            inputs,
            outputs,
            wants,
            stand,
            samples,
            slots,
            dim,
            quads,
            dispatches: Dispatches::new(target),
            scratch,
            grads,
            adds,
            levels: Vec::new(),
            features,
            seed,
            parents: target.view_all("levels", inputs.levels.words)?,
            state,
            kept_at_once: false,
            units,
            means: Region::ABSENT,
            scores: Region::ABSENT,
            gradients,
            chunks: Region::ABSENT,
        };
        call.take_levels(features_view)?;
        Ok(call)
    }

    /// Where kernels are to make what goes to a tensor or is added to it, in the end, as [`Adds::place`].
    pub(super) fn place(
        &mut self,
        name: &'static str,
        to: Gradient<'a>,
    ) -> Result<Gradient<'a>, Error> {
        let placed = self.adds.place(&mut self.scratch, name, Some(to))?;
        Ok(placed.unwrap_or(to))
    }

    /// Lays out the levels, and the scratch that they share.
    fn take_levels(&mut self, features: View) -> Result<(), Error> {
        let tree = self.config.aggregation == Aggregation::Tree;
        let (mut score_words, mut chunk_words) = (0, 0);
        let mut with_means = 0;
        let scored = self.wants.losses || self.wants.predictions;
        for (k, &count) in self.classes.classes().iter().enumerate() {
            let mut level = self.level(k, count, features)?;
            let (rows, vectors) = (level.rows, level.vectors);
            let width = 4 * u64::from(level.params.level.row_quads);
            score_words = score_words.max(rows.min(vectors.max(self.samples)) as u64 * width);
            // The last window has fewer samples, and perhaps more chunks.
            for rows in [rows, vectors % rows] {
                let split = chunks(rows, self.quads, level.window);
                if self.wants.to_features && split > 1 {
                    chunk_words = chunk_words.max(4 * split * rows as u64 * self.quads as u64);
                }
            }
            let has_means = k > 0 || tree && self.classes.len() > 1;
            if self.wants.losses && vectors > 0 && has_means {
                level.means = Some(to_u32(with_means, "features")?);
                with_means += vectors as u64;
            }
            self.levels.push(level);
        }
        if !scored {
            return Ok(());
        }
        self.means = self.scratch.take(4 * self.quads as u64 * with_means)?;
        self.scores = self.scratch.take(score_words.max(1))?;
        self.chunks = self.scratch.take(chunk_words.max(1))?;
        let words = |count: usize| 4 * count as u64 * self.quads as u64;
        let all: u64 = self.levels.iter().map(|level| words(level.classes)).sum();
        let whole = self.levels.iter().all(|l| l.window == l.classes);
        self.kept_at_once = whole && all <= PROTOTYPE_WORDS;
        if self.kept_at_once {
            for level in &mut self.levels {
                level.packed = self.scratch.take(words(level.classes))?;
            }
        } else {
            let largest = self.levels.iter().map(|level| words(level.window)).max();
            let packed = self.scratch.take(largest.unwrap_or(0))?;
            self.levels
                .iter_mut()
                .for_each(|level| level.packed = packed);
        }
        Ok(())
    }

    /// Level `k` of `count` classes, without what is kept of it.
    fn level(&self, k: usize, count: usize, features: View) -> Result<Level<'a>, Error> {
        let most = self.target.caps.max_binding / 4;
        let prototypes = self.inputs.prototypes[k];
        let (noise, noise_kind) = match self.inputs.noise {
            None => (None, NOISE_NONE),
            Some(Noise::Given(noise)) => (Some(noise[k]), NOISE_GIVEN),
            Some(Noise::Seeded(_)) => (None, NOISE_SEEDED),
        };
        let grad = self.grads.prototypes.get(k).copied().flatten();
        let unit = 4 * self.quads as u64;
        let kept = PROTOTYPE_WORDS.min(most) / unit;
        let mut window = count.min(kept.max(4) as usize);
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
        // Windows begin at whole quads of scores.
        if window < count {
            window -= window % 4;
        }
        if window == 0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("prototypes_{}", k + 1),
                "rows of which one storage binding of this device holds four",
                self.dim,
            ));
        }
        if count as u64 > most - 3 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("level {}", k + 1),
                format!("at most {} classes on this device", most - 3),
                count,
            ));
        }
        let row_quads = count.div_ceil(4);
        let rows = (self.config.scores as u64).min(most) / (4 * row_quads as u64);
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
                row_quads: row_quads as u32,
            },
            places: Places {
                feature_lengths: self.state.feature_lengths.at(),
                prototype_lengths: self.state.prototype_lengths[k].at(),
                losses: self.state.losses.at(),
                weights: self.state.weights.at(),
            },
            records: self.state.records.at(),
            want_gradient: u32::from(self.wants.gradient()),
            mode: Mode {
                chunks: 1,
                tree: u32::from(self.config.aggregation == Aggregation::Tree),
                ..Mode::default()
            },
            samples: self.samples as u32,
            slots: self.slots as u32,
            dim: self.dim as u32,
            quads: self.quads as u32,
            levels: self.classes.len() as u32,
            scale: 1.0 / self.config.temperature,
            epsilon: self.config.epsilon,
            nan: f32::NAN.to_bits(),
            ..HcalParams::default()
        };
        let vectors = self.stand.vectors(self.classes, k, self.samples);
        let most = vectors.max(self.samples).max(1) as u64;
        Ok(Level {
            prototypes,
            noise,
            grad,
            classes: count,
            vectors,
            window,
            rows: rows.clamp(1, most) as usize,
            params,
            means: None,
            packed: Region::ABSENT,
        })
    }

    /// Adds the dispatches for `count` vectors of `len` quads.
    fn push_vectors(
        &mut self,
        entry: &'static str,
        (count, len): (usize, usize),
        params: HcalParams,
        bindings: VectorBindings<'a>,
    ) -> Result<(), Error> {
        let (count, len) = (count as u64, 4 * len as u64);
        let alone = self.target.caps.cpu || count >= MANY && len <= SHORT;
        let module = vectors(alone, self.target.variant.workgroup);
        let lanes = if alone { self.lanes() } else { 1 };
        let work = (count, 3 * len);
        self.push_lanes((module, entry), work, lanes, params, bindings)
    }

    /// Adds the dispatches for so many blocks, of so many loads each.
    fn push_blocks(
        &mut self,
        entry: &'static str,
        work: (u64, u64),
        params: HcalParams,
        bindings: ProductBindings<'a>,
    ) -> Result<(), Error> {
        let module = HCAL_PRODUCTS.module(self.target.variant.workgroup);
        self.push_lanes((module, entry), work, self.lanes(), params, bindings)
    }

    /// Adds the dispatches of a kernel for `count` elements of so many loads each, so many of them a workgroup.
    pub(super) fn push_lanes(
        &mut self,
        kernel: (Module, &'static str),
        work: (u64, u64),
        lanes: u64,
        params: HcalParams,
        bindings: impl Into<Binds<'a>>,
    ) -> Result<(), Error> {
        let params = |portion: Range<u64>, grid: Grid| HcalParams {
            begin: portion.start as u32,
            end: portion.end as u32,
            groups_x: grid.groups_x,
            ..params
        };
        push_portions(&mut self.dispatches, kernel, work, lanes, params, bindings)
    }

    /// Adds the dispatches of the index module for `count` lanes of so many loads each.
    fn push_index(
        &mut self,
        entry: &'static str,
        (count, each): (u64, u64),
        params: IndexParams,
        bindings: IndexBindings<'a>,
    ) -> Result<(), Error> {
        let module = HCAL_INDEX.module(self.target.variant.workgroup);
        let lanes = self.lanes();
        let params = |portion: Range<u64>, grid: Grid| IndexParams {
            begin: portion.start as u32,
            end: portion.end as u32,
            groups_x: grid.groups_x,
            ..params
        };
        let steps = &mut self.dispatches;
        push_portions(
            steps,
            (module, entry),
            (count, each),
            lanes,
            params,
            bindings,
        )
    }

    pub(super) fn lanes(&self) -> u64 {
        u64::from(self.target.variant.workgroup)
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
        self.parents.1.offset + self.classes.parents_at(k) as u32
    }

    /// The unit features.
    pub(super) fn features(&mut self) -> Result<(), Error> {
        let bindings = VectorBindings {
            features_in: self.features,
            vectors: self.units.bind(),
            state: self.state.bind,
            ..VectorBindings::default()
        };
        let params = self.levels[0].params;
        self.push_vectors("features", (self.samples, self.quads), params, bindings)
    }

    /// The unit prototypes of a window, perturbed or not.
    fn prototypes(
        &mut self,
        level: &Level<'a>,
        window: &Window<'a>,
        plain: bool,
    ) -> Result<(), Error> {
        let params = HcalParams {
            mode: Mode {
                plain: u32::from(plain),
                ..window.params.mode
            },
            ..window.params
        };
        let bindings = VectorBindings {
            prototypes_in: window.prototypes,
            noise: window.noise,
            vectors: level.packed.bind(),
            state: self.state.bind,
            ..VectorBindings::default()
        };
        let count = params.window.class_count as usize;
        self.push_vectors("prototypes", (count, self.quads), params, bindings)
    }

    /// The unit prototypes of all levels, if they are kept at once.
    pub(super) fn all_prototypes(&mut self, plain: bool) -> Result<(), Error> {
        for level in self.levels.clone() {
            for window in self.windows(&level) {
                if self.kept_at_once {
                    self.prototypes(&level, &window, plain)?;
                }
            }
        }
        Ok(())
    }

    /// What the kernels of the index that look at labels are told.
    fn labelled(&self) -> Result<(IndexParams, IndexBindings<'a>), Error> {
        let (labels, view) = self.target.view_all("labels", self.inputs.labels)?;
        let params = IndexParams {
            samples: self.samples as u32,
            slots: self.slots as u32,
            levels: self.levels.len() as u32,
            levels_offset: self.parents.1.offset,
            labels_offset: view.offset,
            labels_stride: view.stride,
            at: self.state.records.at(),
            ..IndexParams::default()
        };
        let bindings = IndexBindings {
            labels,
            levels: self.parents.0,
            state: self.state.bind,
            ..IndexBindings::default()
        };
        Ok((params, bindings))
    }

    /// Of which vectors samples are parts, where those have records at the numbers of their classes.
    pub(super) fn shares(&mut self) -> Result<(), Error> {
        let (params, bindings) = self.labelled()?;
        let count = self.slots as u64 * self.levels.len() as u64;
        self.push_index("shares", (count, 8), params, bindings)
    }

    /// Which samples share a class.
    pub(super) fn index(&mut self) -> Result<(), Error> {
        if self.samples == 0 {
            return Ok(());
        }
        let (params, bindings) = self.labelled()?;
        let (samples, m) = (self.samples as u64, self.levels.len() as u64);
        self.push_index("members", (samples * m, samples), params, bindings)?;
        if self.config.aggregation == Aggregation::Tree {
            let work = (samples * (m - 1), 2 * samples);
            self.push_index("children", work, params, bindings)?;
            if self.wants.to_features {
                self.push_index("assign", (samples, 6 * m), params, bindings)?;
            }
        }
        Ok(())
    }

    /// The means of classes.
    fn means(&mut self) -> Result<(), Error> {
        let levels = self.levels.clone();
        let tree = self.config.aggregation == Aggregation::Tree;
        let each = if tree { 1 } else { levels.len() };
        for level in levels
            .iter()
            .filter(|level| level.means.is_some())
            .step_by(each)
        {
            let bindings = ProductBindings {
                vectors: self.units.bind(),
                given: self.means.bind(),
                state: self.state.bind,
                ..ProductBindings::default()
            };
            let of_levels = if tree { 1 } else { levels.len() - 1 };
            let count = of_levels as u64 * self.samples as u64 * self.quads as u64;
            let params = HcalParams {
                vectors_row: level.means.unwrap_or(0),
                ..level.params
            };
            self.push_blocks("means", (count, 6), params, bindings)?;
        }
        Ok(())
    }

    /// Each level forward, and backward up to the weight of its loss.
    pub(super) fn contrast(&mut self) -> Result<(), Error> {
        for (k, level) in self.levels.clone().iter().enumerate() {
            let (vectors, row) = match (k, level.means) {
                (1.., Some(row)) => (self.means.bind(), row),
                _ => (self.units.bind(), 0),
            };
            for first in (0..level.vectors).step_by(level.rows) {
                self.contrast_window(level, first, (vectors, row))?;
            }
        }
        Ok(())
    }

    /// The scores of a window of vectors, from `first` on, with all classes.
    fn scores(
        &mut self,
        level: &Level<'a>,
        windows: &[Window<'a>],
        plain: bool,
        vectors: Bind<'a>,
    ) -> Result<(), Error> {
        for window in windows {
            if !self.kept_at_once {
                self.prototypes(level, window, plain)?;
            }
            let bindings = ProductBindings {
                vectors,
                prototypes: level.packed.bind(),
                table: self.scores.bind(),
                ..ProductBindings::default()
            };
            let WindowParams {
                row_count,
                class_count,
                ..
            } = window.params.window;
            let blocks = u64::from(row_count.div_ceil(4)) * u64::from(class_count.div_ceil(4));
            let work = (blocks, 8 * self.quads as u64);
            self.push_blocks("scores", work, window.params, bindings)?;
        }
        Ok(())
    }

    /// A window of a level's vectors, from `first` on; they begin at a row of their binding.
    fn contrast_window(
        &mut self,
        level: &Level<'a>,
        first: usize,
        (vectors, vectors_row): (Bind<'a>, u32),
    ) -> Result<(), Error> {
        let count = level.rows.min(level.vectors - first);
        let of_window = |params: &HcalParams| HcalParams {
            window: WindowParams {
                first_row: first as u32,
                row_count: count as u32,
                ..params.window
            },
            vectors_row,
            ..*params
        };
        let mut windows = self.windows(level);
        for window in &mut windows {
            window.params = of_window(&window.params);
        }
        self.scores(level, &windows, false, vectors)?;
        let bindings = VectorBindings {
            table: self.scores.bind(),
            state: self.state.bind,
            ..VectorBindings::default()
        };
        let width = level.params.level.row_quads as usize;
        let softmax = of_window(&level.params);
        self.push_vectors("softmax", (count, width), softmax, bindings)?;
        if !self.wants.gradient() {
            return Ok(());
        }
        for (i, window) in windows.iter().enumerate() {
            if !self.kept_at_once && windows.len() > 1 && self.wants.to_features {
                self.prototypes(level, window, false)?;
            }
            self.slopes(level, window, (i > 0, first > 0), vectors)?;
        }
        Ok(())
    }

    /// The gradient to a window of vectors and to a window of classes, added to that of the windows before.
    fn slopes(
        &mut self,
        level: &Level<'a>,
        window: &Window<'a>,
        (add, add_rows): (bool, bool),
        vectors: Bind<'a>,
    ) -> Result<(), Error> {
        let WindowParams {
            row_count,
            class_count,
            ..
        } = window.params.window;
        let (count, quads) = (row_count as usize, self.quads as u64);
        let fours = u64::from(class_count.div_ceil(4));
        let split = chunks(count, self.quads, class_count as usize);
        let of_vectors = match self.wants.to_features {
            true => count.div_ceil(4) as u64 * quads * split,
            false => 0,
        };
        let of_prototypes = if self.wants.to_prototypes {
            fours * quads
        } else {
            0
        };
        let params = HcalParams {
            mode: Mode {
                chunks: split as u32,
                add: u32::from(add),
                ..window.params.mode
            },
            vector_blocks: to_u32(of_vectors, "features")?,
            add_rows: u32::from(add_rows),
            ..window.params
        };
        let gradients = self.gradients.bind();
        let bindings = ProductBindings {
            vectors,
            prototypes: level.packed.bind(),
            table: self.scores.bind(),
            given: match split {
                1 => gradients,
                _ => self.chunks.bind(),
            },
            result: window.grad,
            ..ProductBindings::default()
        };
        let each = (8 * fours.div_ceil(split)).max(2 * u64::from(row_count));
        let work = (of_vectors + of_prototypes, each);
        self.push_blocks("slopes", work, params, bindings)?;
        if split == 1 || of_vectors == 0 {
            return Ok(());
        }
        let bindings = ProductBindings {
            vectors: self.chunks.bind(),
            given: gradients,
            ..ProductBindings::default()
        };
        let work = (count as u64 * quads, split);
        self.push_blocks("sum_chunks", work, params, bindings)
    }

    /// The levels' losses, by a module and where it is to look.
    pub(super) fn level_losses(
        &mut self,
        module: Module,
        (sums, all_losses): (View, View),
        bindings: impl FnOnce(LossBindings<'a>) -> Binds<'a>,
    ) -> Result<(), Error> {
        let (losses, result) = self.target.view_all("losses", self.outputs.losses)?;
        let shared = self.levels[0].params;
        let params = |grid: Grid| HcalParams {
            prototypes: sums,
            noise: all_losses,
            result,
            end: grid.groups,
            groups_x: grid.groups_x,
            ..shared
        };
        let bindings = bindings(LossBindings {
            state: self.state.bind,
            result: losses,
        });
        let m = self.levels.len() as u64;
        self.dispatches
            .push(module, "level_losses", m, params, bindings)
    }

    /// The weights of the levels' losses.
    pub(super) fn balance(&mut self) -> Result<(), Error> {
        let (target, outputs, m) = (self.target, self.outputs, self.levels.len());
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
            grad_state: target.view_all("grad_log_variances", self.grads.log_variances)?,
        };
        balance::push(&mut self.dispatches, &self.config.balance, &bound)
    }

    /// With the weights, to the caller's gradients.
    pub(super) fn gradients(&mut self) -> Result<(), Error> {
        if let Some(grad) = self.grads.features {
            let (grad, result) = self.target.view_all("grad_features", grad)?;
            let params = HcalParams {
                result,
                ..self.levels[0].params
            };
            let bindings = VectorBindings {
                vectors: self.units.bind(),
                table: self.gradients.bind(),
                state: self.state.bind,
                result: grad,
                ..VectorBindings::default()
            };
            self.push_vectors("collect", (self.samples, self.quads), params, bindings)?;
        }
        for level in self.levels.clone().iter().filter(|l| l.grad.is_some()) {
            for window in self.windows(level) {
                let bindings = VectorBindings {
                    prototypes_in: window.prototypes,
                    noise: window.noise,
                    state: self.state.bind,
                    result: window.grad,
                    ..VectorBindings::default()
                };
                let mut params = window.params;
                params.window.row_count = level.vectors as u32;
                let count = params.window.class_count as usize;
                self.push_vectors("finish", (count, self.quads), params, bindings)?;
            }
        }
        Ok(())
    }

    /// Predictions, without perturbation.
    fn predictions(&mut self) -> Result<(), Error> {
        let plain_already = self.wants.losses && self.inputs.noise.is_none();
        if !plain_already {
            self.all_prototypes(true)?;
        }
        for (k, level) in self.levels.clone().iter().enumerate() {
            // Where they are kept in the state, that is not bound a second time: `argmax` has no use for it.
            let (result, result_view) = match self.outputs.predictions {
                Some(tensor) => self.target.view_rows(tensor, k, 1),
                None => {
                    let view = View {
                        offset: (k * self.samples) as u32,
                        ..View::whole(self.samples)
                    };
                    (self.state.predictions.bind(), view)
                }
            };
            for first in (0..self.samples).step_by(level.rows) {
                let count = level.rows.min(self.samples - first);
                let of_window = |params: &HcalParams| HcalParams {
                    result: result_view,
                    window: WindowParams {
                        first_row: first as u32,
                        row_count: count as u32,
                        ..params.window
                    },
                    ..*params
                };
                let mut windows = self.windows(level);
                for window in &mut windows {
                    window.params = of_window(&window.params);
                }
                self.scores(level, &windows, true, self.units.bind())?;
                let bindings = VectorBindings {
                    table: self.scores.bind(),
                    result,
                    ..VectorBindings::default()
                };
                let width = level.params.level.row_quads as usize;
                let params = of_window(&level.params);
                self.push_vectors("argmax", (count, width), params, bindings)?;
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
            self.push_index("violations", (1, samples as u64), params, bindings)?;
        }
        Ok(())
    }

    /// What a call has behind its losses and gradients, and all of its dispatches.
    pub(super) fn rest(mut self) -> Result<Draft<'a>, Error> {
        if self.wants.predictions && self.samples > 0 {
            self.predictions()?;
            self.violations()?;
        }
        self.advance()?;
        self.adds.push(&mut self.dispatches)?;
        let windows = self.levels.iter().map(|l| l.vectors.div_ceil(l.rows));
        let windows = windows.max().unwrap_or(1).max(1);
        Ok(self.dispatches.draft(&self.scratch, windows))
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
        self.push_index("advance", (1, 1), params, bindings)
    }
}
