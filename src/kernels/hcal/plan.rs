//! From a checked call of HCAL to its dispatches.

use crate::device::caps::Caps;
use crate::device::context::{Context, STORAGE_BINDINGS};
use crate::device::prepared as call;
use crate::device::prepared::{Bind, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::balance as balance_steps;
use crate::kernels::balance::{Bound, check_state};
use crate::kernels::hcal::call::{HcalInputs, HcalOutputs};
use crate::kernels::shader::Program;
use crate::kernels::steps::{
    Scratch, Steps, bind_all, bind_any, bind_rows, check_apart, real_kind, rows_per_binding, word,
};
use crate::losses::balance::Balance;
use crate::losses::hcal::{Aggregation, Hcal};
use crate::losses::hierarchy::Levels;
use crate::losses::labels::{AfterCall, Noise};
use bytemuck::{Pod, Zeroable};

/// Mirror of `IndexParams` in shaders/hcal/index.wgsl, which says what each is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct IndexParams {
    samples: u32,
    groups_x: u32,
    classes: u32,
    labels_offset: u32,
    at: u32,
    below_at: u32,
    parents_offset: u32,
    above_offset: u32,
    flags_at: u32,
    link: u32,
    first: u32,
    last: u32,
    counters_offset: u32,
    pad: u32,
}

/// Mirror of `HcalParams` in shaders/hcal/contrast.wgsl, which says what each is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct HcalParams {
    samples: u32,
    dim: u32,
    classes: u32,
    level: u32,
    levels: u32,
    groups: u32,
    groups_x: u32,
    first_row: u32,
    row_count: u32,
    first_class: u32,
    class_count: u32,
    features_offset: u32,
    features_stride: u32,
    features_kind: u32,
    prototypes_offset: u32,
    prototypes_stride: u32,
    prototypes_kind: u32,
    noise_kind: u32,
    noise_offset: u32,
    noise_stride: u32,
    feature_lengths_at: u32,
    prototype_lengths_at: u32,
    at: u32,
    above_at: u32,
    losses_at: u32,
    weights_at: u32,
    from_rows: u32,
    tree: u32,
    product: u32,
    chunks: u32,
    add: u32,
    plain: u32,
    alone: u32,
    want_gradient: u32,
    want_result: u32,
    result_offset: u32,
    result_stride: u32,
    scale: f32,
    epsilon: f32,
    nan: u32,
}

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::Bf16];
/// From so many classes on, a lane has a prototype to itself: enough lanes, and no barriers.
const ALONE: usize = 4096;
/// Fewest classes of a chunk, workgroups that are aimed at, and most numbers that the chunks keep, where the gradient to
/// few vectors is a product over many classes.
const CHUNK: usize = 1024;
const CHUNK_GROUPS: u64 = 256;
const CHUNK_WORDS: u64 = 1 << 22;
/// Words of a level's index for each sample.
const INDEX_WORDS: u64 = 9;

/// What a call computes beyond the state of its inputs.
#[derive(Clone, Copy)]
struct Wants {
    losses: bool,
    to_features: bool,
    to_prototypes: bool,
    predictions: bool,
}

impl Wants {
    fn gradient(&self) -> bool {
        self.to_features || self.to_prototypes
    }
}

fn wants(outputs: &HcalOutputs<'_>) -> Wants {
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

/// One tensor for each level.
fn check_each(
    name: &str,
    tensors: &[Tensor<'_>],
    dtypes: &[DType],
    levels: &Levels,
    dim: usize,
) -> Result<(), Error> {
    if tensors.len() != levels.len() {
        return Err(Error::shape(
            name,
            format!("one tensor for each of {} levels", levels.len()),
            tensors.len(),
        ));
    }
    for (k, (tensor, classes)) in tensors.iter().zip(levels.classes()).enumerate() {
        let name = format!("{name}_{}", k + 1);
        tensor.check(&name, dtypes)?;
        tensor.check_shape(&name, *classes, dim)?;
    }
    Ok(())
}

fn check(config: &Hcal, inputs: &HcalInputs<'_>, outputs: &HcalOutputs<'_>) -> Result<(), Error> {
    let levels = inputs.levels.host;
    let (samples, dim, m) = (inputs.features.rows(), inputs.features.cols(), levels.len());
    let wants = wants(outputs);
    inputs.features.check("features", FLOATS)?;
    if dim == 0 {
        return Err(Error::shape("features", "at least one component", "[B, 0]"));
    }
    check_each("prototypes", inputs.prototypes, FLOATS, levels, dim)?;
    let mut read = vec![("features".to_owned(), inputs.features)];
    let mut written: Vec<(String, Tensor<'_>)> = Vec::new();
    for (k, tensor) in inputs.prototypes.iter().enumerate() {
        read.push((format!("prototypes_{}", k + 1), *tensor));
    }
    match (inputs.labels, wants.losses) {
        (Some(labels), _) => {
            labels.check("labels", &[DType::U32])?;
            labels.check_shape("labels", m, samples)?;
            read.push(("labels".into(), labels));
        }
        (None, true) => return Err(Error::refused("labels", "needed to compute losses")),
        (None, false) => {}
    }
    read.push(("levels".into(), inputs.levels.words));
    match inputs.noise {
        None => {}
        Some(Noise::Given(noise)) => {
            check_each("noise", noise, &[DType::F32], levels, dim)?;
            for (k, tensor) in noise.iter().enumerate() {
                read.push((format!("noise_{}", k + 1), *tensor));
            }
        }
        Some(Noise::Seeded(seed)) => {
            seed.words.check("seed", &[DType::U32])?;
            seed.words.check_len("seed", 2)?;
            let list = match seed.after {
                AfterCall::Advance => &mut written,
                AfterCall::Keep => &mut read,
            };
            list.push(("seed".into(), seed.words));
        }
    }
    if let Some((name, tensor, writes)) = check_state(&config.balance, m, &inputs.balance)? {
        let list = if writes { &mut written } else { &mut read };
        list.push((format!("balance {name}"), tensor));
    }
    if let Some(grad_loss) = inputs.grad_loss {
        grad_loss.check("grad_loss", &[DType::F32])?;
        grad_loss.check_len("grad_loss", 1)?;
        read.push(("grad_loss".into(), grad_loss));
    }
    if outputs.grad_log_variances.is_some() && config.balance != Balance::Uncertainty {
        return Err(Error::refused(
            "grad_log_variances",
            "uncertainty weighting alone has one",
        ));
    }
    for (name, tensor, len, dtype) in [
        ("losses", outputs.losses, m, DType::F32),
        ("weights", outputs.weights, m, DType::F32),
        ("loss", outputs.loss, 1, DType::F32),
        (
            "grad_log_variances",
            outputs.grad_log_variances,
            m,
            DType::F32,
        ),
        ("violations", outputs.violations, m + 1, DType::U32),
    ] {
        if let Some(tensor) = tensor {
            tensor.check(name, &[dtype])?;
            tensor.check_len(name, len)?;
            written.push((name.into(), tensor));
        }
    }
    if let Some(grad) = outputs.grad_features {
        grad.check("grad_features", &[DType::F32])?;
        grad.check_shape("grad_features", samples, dim)?;
        written.push(("grad_features".into(), grad));
    }
    if let Some(grads) = outputs.grad_prototypes {
        check_each("grad_prototypes", grads, &[DType::F32], levels, dim)?;
        for (k, tensor) in grads.iter().enumerate() {
            written.push((format!("grad_prototypes_{}", k + 1), *tensor));
        }
    }
    if let Some(predictions) = outputs.predictions {
        predictions.check("predictions", &[DType::U32])?;
        predictions.check_shape("predictions", m, samples)?;
        written.push(("predictions".into(), predictions));
    }
    if !wants.losses && !wants.predictions {
        return Err(Error::refused("outputs", "at least one is needed"));
    }
    check_apart(&written, &read)
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
    means: Option<(Bind<'a>, Bind<'a>)>,
}

impl<'a> Level<'a> {
    /// The level's windows of classes: parameters, and bindings of prototypes, noise and gradient.
    fn windows(&self, caps: &Caps) -> Vec<(HcalParams, [Bind<'a>; 3])> {
        let mut all = Vec::new();
        for first in (0..self.classes).step_by(self.window) {
            let count = self.window.min(self.classes - first);
            let part = |tensor: &Option<Tensor<'a>>| match tensor {
                Some(tensor) => bind_rows(tensor, first, count, caps),
                None => (NONE, 0),
            };
            let (prototypes, prototypes_offset) = part(&Some(self.prototypes));
            let (noise, noise_offset) = part(&self.noise);
            let (grad, result_offset) = part(&self.grad);
            let params = HcalParams {
                first_class: first as u32,
                class_count: count as u32,
                prototypes_offset,
                noise_offset: noise_offset + self.params.noise_offset,
                result_offset,
                result_stride: self.grad.map_or(0, |t| t.row_stride() as u32),
                ..self.params
            };
            all.push((params, [prototypes, noise, grad]));
        }
        all
    }
}

/// Workgroups of a product, as `product` in contrast.wgsl lays its tiles.
fn tiles(workgroup: u32, rows: usize, cols: usize) -> u64 {
    let across = 8 << (u32::from(workgroup >= 128) + u32::from(workgroup >= 512));
    let (high, wide) = (4 * workgroup / across, 4 * across);
    rows.div_ceil(high as usize) as u64 * cols.div_ceil(wide as usize) as u64
}

/// Chunks of the product over `classes` classes that gives the gradient to `rows` vectors.
fn chunks(workgroup: u32, rows: usize, dim: usize, classes: usize) -> u64 {
    let wanted = CHUNK_GROUPS / tiles(workgroup, rows, dim).max(1);
    let most = CHUNK_WORDS / (rows as u64 * dim as u64).max(1);
    wanted.min(most).clamp(1, (classes / CHUNK).max(1) as u64)
}

/// Workgroups that go through the prototypes of a window.
fn vectors(params: &HcalParams, lanes: u64) -> u64 {
    let count = u64::from(params.class_count);
    if params.alone != 0 {
        count.div_ceil(lanes)
    } else {
        count
    }
}

/// A region of scratch, in bytes.
fn region<'a>(scratch: &mut Scratch, words: u64) -> Bind<'a> {
    let start = scratch.words * 4;
    // Binding offsets are multiples of 256 bytes.
    scratch.words = (scratch.words + words.max(1)).next_multiple_of(64);
    Bind::Scratch {
        start,
        size: words.max(1) * 4,
    }
}

/// No tensor.
const NONE: Bind<'static> = Bind::Nothing;

/// Adds a dispatch of the contrast module.
fn push<'a>(
    steps: &mut Steps<'a>,
    entry: &'static str,
    groups: u64,
    params: HcalParams,
    bindings: [Bind<'a>; STORAGE_BINDINGS],
) -> Result<(), Error> {
    let params = |groups, groups_x| HcalParams {
        groups,
        groups_x,
        ..params
    };
    steps.push(Program::Hcal, entry, groups, params, bindings)
}

/// Adds a dispatch of the index module.
fn push_index<'a>(
    steps: &mut Steps<'a>,
    entry: &'static str,
    groups: u64,
    params: IndexParams,
    bindings: [Bind<'a>; STORAGE_BINDINGS],
) -> Result<(), Error> {
    let params = |_, groups_x| IndexParams { groups_x, ..params };
    steps.push(Program::HcalIndex, entry, groups, params, bindings)
}

/// A call while its dispatches are laid out.
struct Call<'a, 'c> {
    caps: &'c Caps,
    workgroup: u32,
    samples: usize,
    dim: usize,
    config: &'c Hcal,
    classes: &'c Levels,
    wants: Wants,
    steps: Steps<'a>,
    /// From the finest.
    levels: Vec<Level<'a>>,
    features: Bind<'a>,
    /// The seed of the perturbation, and where in its binding it begins.
    seed: Option<(Bind<'a>, u32)>,
    parents: (Bind<'a>, u32),
    grad_features: Option<(Bind<'a>, u32)>,
    /// What all kernels reach: lengths, indices, losses.
    state: Bind<'a>,
    scores: Bind<'a>,
    /// Of products that are split by classes.
    chunks: Bind<'a>,
    losses_at: u32,
    weights_at: u32,
    flags_at: u32,
    predictions_at: u32,
    words: u64,
}

/// A part of the state, in words.
fn part<'a>(at: u32, words: usize) -> Bind<'a> {
    Bind::Scratch {
        start: 4 * u64::from(at),
        size: 4 * words as u64,
    }
}

/// Checks a call, plans it and makes what it needs.
pub(super) fn prepare(
    cx: &Context,
    config: &Hcal,
    inputs: &HcalInputs<'_>,
    outputs: &HcalOutputs<'_>,
) -> Result<Prepared, Error> {
    check(config, inputs, outputs)?;
    let mut call = Call::new(cx, config, inputs.levels.host, inputs, outputs)?;
    call.lengths()?;
    if call.wants.losses {
        call.index(inputs)?;
        call.contrast(outputs)?;
        call.balance(inputs, outputs)?;
        call.gradients(outputs)?;
    }
    if call.wants.predictions && call.samples > 0 {
        call.predictions(outputs)?;
    }
    let advance =
        matches!(inputs.noise, Some(Noise::Seeded(seed)) if seed.after == AfterCall::Advance);
    if let Some((bind, counters_offset)) = call.seed.filter(|_| advance) {
        let params = IndexParams {
            counters_offset,
            ..IndexParams::zeroed()
        };
        let bindings = [NONE, NONE, NONE, NONE, NONE, NONE, bind];
        push_index(&mut call.steps, "advance", 1, params, bindings)?;
    }
    let windows = call.levels.iter().map(|l| call.samples.div_ceil(l.rows));
    let windows = windows.max().unwrap_or(1).max(1);
    call::build(cx, call.steps.drafts, call.words * 4, windows)
}

impl<'a, 'c> Call<'a, 'c> {
    /// Binds what is shared, and lays out the scratch.
    fn new(
        cx: &'c Context,
        config: &'c Hcal,
        classes: &'c Levels,
        inputs: &HcalInputs<'a>,
        outputs: &HcalOutputs<'a>,
    ) -> Result<Self, Error> {
        let caps = cx.caps();
        let features = inputs.features;
        let (samples, dim, m) = (features.rows(), features.cols(), classes.len());
        let elements = samples as u64 * dim as u64;
        word(elements, "features")?;
        let wants = wants(outputs);
        let tree = config.aggregation == Aggregation::Tree;
        let (features_bind, features_offset) = bind_all("features", &features, caps)?;
        let seed = match inputs.noise {
            Some(Noise::Seeded(seed)) => Some(bind_all("seed", &seed.words, caps)?),
            Some(Noise::Given(_)) | None => None,
        };

        let mut scratch = Scratch::default();
        let feature_lengths_at = scratch.take(true, samples as u64)?;
        let mut prototype_lengths_at = Vec::new();
        for count in classes.classes() {
            prototype_lengths_at.push(scratch.take(true, 3 * *count as u64)?);
        }
        let index_words = INDEX_WORDS * samples as u64;
        let index_at = scratch.take(true, index_words * m as u64)?;
        let at = |k: usize| index_at + index_words as u32 * k as u32;
        let losses_at = scratch.take(true, 2 * m as u64)?;
        let weights_at = scratch.take(true, m as u64)?;
        let flags_at = scratch.take(true, samples as u64)?;
        let predictions_at = scratch.take(
            outputs.violations.is_some() && outputs.predictions.is_none(),
            m as u64 * samples as u64,
        )?;
        let state_words = u64::from(word(scratch.words, "scratch")?);

        let most_scores = (config.scores as u64).min(caps.max_binding / 4);
        let mut score_words = 0;
        let mut chunk_words = 0;
        let workgroup = cx.variant().workgroup;
        let mut levels: Vec<Level<'a>> = Vec::new();
        for (k, &count) in classes.classes().iter().enumerate() {
            let prototypes = inputs.prototypes[k];
            let (noise, noise_kind) = match inputs.noise {
                None => (None, 0),
                Some(Noise::Given(noise)) => (Some(noise[k]), 1),
                Some(Noise::Seeded(_)) => (None, 2),
            };
            let grad = outputs.grad_prototypes.map(|grads| grads[k]);
            let mut window = count;
            for (name, tensor) in [
                ("prototypes", Some(prototypes)),
                ("noise", noise),
                ("grad_prototypes", grad),
            ] {
                if let Some(tensor) = tensor {
                    let name = format!("{name}_{}", k + 1);
                    window = window.min(rows_per_binding(&name, &tensor, caps)?);
                }
            }
            if count as u64 * 4 > caps.max_binding {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("level {}", k + 1),
                    format!("at most {} classes on this device", caps.max_binding / 4),
                    count,
                ));
            }
            let rows = (most_scores / count as u64).clamp(1, samples.max(1) as u64) as usize;
            score_words = score_words.max(rows.min(samples) as u64 * count as u64);
            // The last window has fewer samples, and perhaps more chunks.
            for rows in [rows, samples % rows] {
                let split = chunks(workgroup, rows, dim, window);
                if wants.to_features && split > 1 {
                    chunk_words = chunk_words.max(split * rows as u64 * dim as u64);
                }
            }
            let has_means = wants.losses && samples > 0 && (k > 0 || tree && m > 1);
            let means = has_means.then(|| {
                let grad = if wants.to_features { elements } else { 0 };
                (region(&mut scratch, elements), region(&mut scratch, grad))
            });
            levels.push(Level {
                prototypes,
                noise,
                grad,
                classes: count,
                window,
                rows,
                means,
                params: HcalParams {
                    samples: samples as u32,
                    dim: dim as u32,
                    classes: count as u32,
                    level: k as u32,
                    levels: m as u32,
                    features_offset,
                    features_stride: features.row_stride() as u32,
                    features_kind: real_kind(features.dtype()),
                    prototypes_stride: prototypes.row_stride() as u32,
                    prototypes_kind: real_kind(prototypes.dtype()),
                    noise_kind,
                    noise_offset: seed.map_or(0, |(_, offset)| offset),
                    noise_stride: noise.map_or(0, |t| t.row_stride() as u32),
                    feature_lengths_at,
                    prototype_lengths_at: prototype_lengths_at[k],
                    at: at(k),
                    above_at: at((k + 1).min(m - 1)),
                    losses_at,
                    weights_at,
                    from_rows: u32::from(k > 0),
                    alone: u32::from(count >= ALONE),
                    tree: u32::from(tree),
                    chunks: 1,
                    scale: 1.0 / config.temperature,
                    epsilon: config.epsilon,
                    nan: f32::NAN.to_bits(),
                    ..HcalParams::zeroed()
                },
            });
        }
        let scores = region(&mut scratch, score_words);
        let chunks = region(&mut scratch, chunk_words);
        Ok(Call {
            caps,
            workgroup,
            samples,
            dim,
            config,
            classes,
            wants,
            steps: Steps::new(cx),
            levels,
            features: features_bind,
            seed,
            parents: match classes.words_len() {
                0 => (NONE, 0),
                _ => bind_all("levels", &inputs.levels.words, caps)?,
            },
            grad_features: bind_any("grad_features", outputs.grad_features, caps)?,
            state: Bind::Scratch {
                start: 0,
                size: state_words * 4,
            },
            scores,
            chunks,
            losses_at,
            weights_at,
            flags_at,
            predictions_at,
            words: scratch.words,
        })
    }

    fn lanes(&self) -> u64 {
        u64::from(self.workgroup)
    }

    /// Workgroups with a lane for each component of each sample.
    fn element_groups(&self) -> u64 {
        (self.samples as u64 * self.dim as u64).div_ceil(self.lanes())
    }

    /// The windows of a level, with the seed in the place of given noise.
    fn windows(&self, level: &Level<'a>) -> Vec<(HcalParams, [Bind<'a>; 3])> {
        let mut all = level.windows(self.caps);
        for (_, [_, noise, _]) in &mut all {
            *noise = self.seed.map_or(*noise, |(bind, _)| bind);
        }
        all
    }

    /// Where the parents of level `k` begin in their binding.
    fn parents_offset(&self, k: usize) -> u32 {
        let before: usize = self.classes.classes()[..k].iter().sum();
        self.parents.1 + before as u32
    }

    /// The inverse lengths of all vectors.
    fn lengths(&mut self) -> Result<(), Error> {
        let samples = self.samples as u64;
        if samples > 0 {
            let bindings = [self.features, NONE, NONE, NONE, NONE, self.state, NONE];
            let params = self.levels[0].params;
            push(
                &mut self.steps,
                "feature_lengths",
                samples,
                params,
                bindings,
            )?;
        }
        for level in self.levels.clone() {
            for (params, [prototypes, noise, _]) in self.windows(&level) {
                let bindings = [NONE, prototypes, noise, NONE, NONE, self.state, NONE];
                let groups = vectors(&params, self.lanes());
                push(
                    &mut self.steps,
                    "prototype_lengths",
                    groups,
                    params,
                    bindings,
                )?;
            }
        }
        Ok(())
    }

    /// Which samples share a class.
    fn index(&mut self, inputs: &HcalInputs<'a>) -> Result<(), Error> {
        let Some(labels) = inputs.labels.filter(|_| self.samples > 0) else {
            return Ok(());
        };
        let blocks = (self.samples as u64).div_ceil(self.lanes());
        let plain = IndexParams {
            samples: self.samples as u32,
            ..IndexParams::zeroed()
        };
        for (k, level) in self.levels.iter().enumerate() {
            let (bind, labels_offset) = bind_rows(&labels, k, 1, self.caps);
            let params = IndexParams {
                classes: level.classes as u32,
                labels_offset,
                at: level.params.at,
                ..plain
            };
            let bindings = [NONE, NONE, bind, NONE, NONE, self.state, NONE];
            push_index(&mut self.steps, "members", blocks, params, bindings)?;
        }
        let tree = self.config.aggregation == Aggregation::Tree;
        for k in (1..self.levels.len()).filter(|_| tree) {
            let params = IndexParams {
                at: self.levels[k].params.at,
                below_at: self.levels[k - 1].params.at,
                parents_offset: self.parents_offset(k - 1),
                ..plain
            };
            let bindings = [NONE, NONE, NONE, self.parents.0, NONE, self.state, NONE];
            push_index(&mut self.steps, "children", blocks, params, bindings)?;
        }
        Ok(())
    }

    /// Each level forward, and backward up to the weight of its loss.
    fn contrast(&mut self, outputs: &HcalOutputs<'a>) -> Result<(), Error> {
        let mut below = NONE;
        for level in self.levels.clone() {
            if let Some((means, _)) = level.means {
                let bindings = [self.features, NONE, NONE, NONE, below, self.state, means];
                let groups = self.element_groups();
                push(&mut self.steps, "means", groups, level.params, bindings)?;
                below = means;
            }
        }
        for (k, level) in self.levels.clone().iter().enumerate() {
            // The vectors, and where their gradient goes with which offset and stride.
            let (rows, to_rows) = match (k, level.means) {
                (1.., Some((means, grad))) => (means, (grad, 0, self.dim)),
                _ => {
                    let (bind, offset) = self.grad_features.unwrap_or((NONE, 0));
                    let stride = outputs.grad_features.map_or(0, |t| t.row_stride());
                    (NONE, (bind, offset, stride))
                }
            };
            for first in (0..self.samples).step_by(level.rows) {
                self.window(level, first, rows, to_rows)?;
            }
        }
        Ok(())
    }

    /// A window of a level's vectors, from `first` on.
    fn window(
        &mut self,
        level: &Level<'a>,
        first: usize,
        rows: Bind<'a>,
        (grad_rows, result_offset, result_stride): (Bind<'a>, u32, usize),
    ) -> Result<(), Error> {
        let (state, scores, features) = (self.state, self.scores, self.features);
        let (workgroup, dim, wants) = (self.workgroup, self.dim, self.wants);
        let count = level.rows.min(self.samples - first);
        let of_window = |params: &HcalParams| HcalParams {
            first_row: first as u32,
            row_count: count as u32,
            want_gradient: u32::from(wants.gradient()),
            ..*params
        };
        let windows = self.windows(level);
        for (params, [prototypes, noise, _]) in &windows {
            let bindings = [features, *prototypes, *noise, scores, rows, state, NONE];
            let groups = tiles(workgroup, count, params.class_count as usize);
            push(
                &mut self.steps,
                "product",
                groups,
                of_window(params),
                bindings,
            )?;
        }
        let bindings = [NONE, NONE, NONE, scores, NONE, state, NONE];
        let params = of_window(&level.params);
        push(&mut self.steps, "softmax", count as u64, params, bindings)?;
        for (i, (params, [prototypes, noise, grad])) in windows.iter().enumerate() {
            if wants.to_features {
                let split = chunks(workgroup, count, dim, params.class_count as usize);
                let params = HcalParams {
                    product: 1,
                    chunks: split as u32,
                    add: u32::from(i > 0),
                    result_offset,
                    result_stride: result_stride as u32,
                    ..of_window(params)
                };
                let groups = split * tiles(workgroup, count, dim);
                let whole = [NONE, *prototypes, *noise, scores, NONE, state, grad_rows];
                let split_up = [NONE, *prototypes, *noise, scores, self.chunks, state, NONE];
                let bindings = if split > 1 { split_up } else { whole };
                push(&mut self.steps, "product", groups, params, bindings)?;
                if split > 1 {
                    let bindings = [NONE, NONE, NONE, NONE, self.chunks, NONE, grad_rows];
                    let groups = (count as u64 * dim as u64).div_ceil(self.lanes());
                    push(&mut self.steps, "sum_chunks", groups, params, bindings)?;
                }
            }
            if wants.to_prototypes {
                let params = HcalParams {
                    product: 2,
                    add: u32::from(first > 0),
                    ..of_window(params)
                };
                let bindings = [features, NONE, NONE, scores, rows, state, *grad];
                let groups = tiles(workgroup, params.class_count as usize, dim);
                push(&mut self.steps, "product", groups, params, bindings)?;
            }
        }
        Ok(())
    }

    /// The levels' losses and their weights.
    fn balance(&mut self, inputs: &HcalInputs<'a>, outputs: &HcalOutputs<'a>) -> Result<(), Error> {
        let (caps, m) = (self.caps, self.levels.len());
        let losses = bind_any("losses", outputs.losses, caps)?;
        let (result, result_offset) = losses.unwrap_or((NONE, 0));
        let params = HcalParams {
            want_result: u32::from(losses.is_some()),
            result_offset,
            ..self.levels[0].params
        };
        let bindings = [NONE, NONE, NONE, NONE, NONE, self.state, result];
        push(&mut self.steps, "level_losses", m as u64, params, bindings)?;
        let kept = check_state(&self.config.balance, m, &inputs.balance)?;
        let bound = Bound {
            count: m,
            losses: (part(self.losses_at, 2 * m), 0),
            counts: Some(m as u32),
            upstream: bind_any("grad_loss", inputs.grad_loss, caps)?,
            state: bind_any("balance", kept.map(|(_, tensor, _)| tensor), caps)?,
            weights: bind_any("weights", outputs.weights, caps)?,
            grad_losses: Some((part(self.weights_at, m), 0)),
            loss: bind_any("loss", outputs.loss, caps)?,
            grad_state: bind_any("grad_log_variances", outputs.grad_log_variances, caps)?,
        };
        balance_steps::push(&mut self.steps, &self.config.balance, &bound)
    }

    /// With the weights, to the caller's gradients.
    fn gradients(&mut self, outputs: &HcalOutputs<'a>) -> Result<(), Error> {
        let (state, groups) = (self.state, self.element_groups());
        let grad = outputs.grad_features.filter(|_| self.samples > 0);
        if let (Some(grad), Some((bind, result_offset))) = (grad, self.grad_features) {
            let params = |level: &Level<'a>, add: bool| HcalParams {
                add: u32::from(add),
                result_offset,
                result_stride: grad.row_stride() as u32,
                ..level.params
            };
            let steps = &mut self.steps;
            let first = params(&self.levels[0], false);
            let bindings = [NONE, NONE, NONE, NONE, NONE, state, bind];
            push(steps, "collect", groups, first, bindings)?;
            let mut above = NONE;
            for level in self.levels.iter().rev() {
                if let Some((_, own)) = level.means {
                    let bindings = [NONE, NONE, NONE, NONE, above, state, own];
                    push(steps, "spread", groups, level.params, bindings)?;
                    let bindings = [NONE, NONE, NONE, NONE, own, state, bind];
                    push(steps, "collect", groups, params(level, true), bindings)?;
                    above = own;
                }
            }
            let bindings = [self.features, NONE, NONE, NONE, NONE, state, bind];
            push(
                steps,
                "finish_features",
                self.samples as u64,
                first,
                bindings,
            )?;
        }
        for level in self.levels.clone().iter().filter(|l| l.grad.is_some()) {
            for (params, [prototypes, noise, grad]) in self.windows(level) {
                let bindings = [NONE, prototypes, noise, NONE, NONE, state, grad];
                let groups = vectors(&params, self.lanes());
                push(
                    &mut self.steps,
                    "finish_prototypes",
                    groups,
                    params,
                    bindings,
                )?;
            }
        }
        Ok(())
    }

    /// Predictions, without perturbation, and what they break.
    fn predictions(&mut self, outputs: &HcalOutputs<'a>) -> Result<(), Error> {
        let (samples, m) = (self.samples, self.levels.len());
        let kept = part(self.predictions_at, m * samples);
        for (k, level) in self.levels.clone().iter().enumerate() {
            // Where they are kept in the state, that is not bound a second time: `argmax` has no use for it.
            let (result, result_offset, state) = match &outputs.predictions {
                Some(tensor) => {
                    let (bind, offset) = bind_rows(tensor, k, 1, self.caps);
                    (bind, offset, self.state)
                }
                None => (kept, (k * samples) as u32, NONE),
            };
            for first in (0..samples).step_by(level.rows) {
                let count = level.rows.min(samples - first);
                let plain = |params: &HcalParams| HcalParams {
                    first_row: first as u32,
                    row_count: count as u32,
                    plain: 1,
                    from_rows: 0,
                    result_offset,
                    ..*params
                };
                for (params, [prototypes, ..]) in self.windows(level) {
                    let (features, scores) = (self.features, self.scores);
                    let bindings = [features, prototypes, NONE, scores, NONE, self.state, NONE];
                    let groups = tiles(self.workgroup, count, params.class_count as usize);
                    push(&mut self.steps, "product", groups, plain(&params), bindings)?;
                }
                let bindings = [NONE, NONE, NONE, self.scores, NONE, state, result];
                let params = plain(&level.params);
                push(&mut self.steps, "argmax", count as u64, params, bindings)?;
            }
        }
        let Some(violations) = &outputs.violations else {
            return Ok(());
        };
        let (counters, counters_offset) = bind_all("violations", violations, self.caps)?;
        let (labels, offset, stride) = match &outputs.predictions {
            Some(tensor) => {
                let (bind, offset) = bind_all("predictions", tensor, self.caps)?;
                (bind, offset, tensor.row_stride())
            }
            None => (kept, 0, samples),
        };
        let links = (m - 1).max(1);
        for k in 0..links {
            let params = IndexParams {
                samples: samples as u32,
                labels_offset: offset + (k * stride) as u32,
                above_offset: offset + ((k + 1) * stride) as u32,
                parents_offset: self.parents_offset(k),
                link: if m > 1 { k as u32 } else { u32::MAX },
                first: u32::from(k == 0),
                last: u32::from(k + 1 == links),
                counters_offset,
                ..IndexParams::zeroed()
            };
            let flags = part(self.flags_at, samples);
            let bindings = [NONE, NONE, labels, self.parents.0, NONE, flags, counters];
            push_index(&mut self.steps, "violations", 1, params, bindings)?;
        }
        Ok(())
    }
}
