//! From a checked contrastive loss to its dispatches: tiles of pairs, what goes through scratch, and the parameters of
//! every step.
//!
//! `pack` brings rows into scratch: f32, divided by their norm, padded with zeros to 16 components; label sets as bits,
//! word by word; sizes. It is the only kernel that knows element types and label forms. `leave` takes rows out again that
//! are masked. Pairs are looked at in tiles of
//! anchors x keys, of `tile_bytes` at most: `products` fills one with the products of rows, `pairs` takes from it, for each
//! anchor, the maximum and seven sums over its keys, relative to the maximum (that for the temperature's gradient is among
//! them), onto those of the tiles before. Where each positive has a denominator of its own with the negatives, a second
//! round over the tiles sums what needs the first. `merge` makes of them what each anchor contributes, `total` adds anchors. The
//! backward pass goes over the tiles again: `slopes` writes G in place of the products (`G + G^T` where the anchors are
//! the keys), `spread` multiplies it with the rows, onto the tiles before; `project` goes through the normalisation. One
//! tile for all pairs, and its products are there still. Where the anchors are the keys, a tile is computed on one side of
//! the diagonal and written on both: in place, or as a second tile. Normalisers (|P|, sum K, |S|) divide an anchor's
//! sums at the end; only the `1/|P_l(i)|` of MulSupCon is needed inside (`count_labels`, `leave_out`). `list_words` notes
//! which words of a set have any labels at all, so that large label spaces cost what sets have in them. What the caller says
//! of pairs, bits for each anchor and key, `note_rows` and `note_others` bring into codes of a tile just before they are read.
//! Where the keys are on several devices, a call ends with the sums over its keys, or begins with those over all (`accumulators.rs`).
//!
//! `products` and `spread` are the only kernels that are products of matrices, and have all the work at large dimensions:
//! a faster one for some device replaces them alone. By cooperative matrices they multiply f16: `halve` makes those of the
//! rows, with a factor each; `scale` makes the slopes of a tile ready to be split in two.

use crate::device::caps::block_lanes;
use crate::device::context::Context;
use crate::device::inspect::Inspection;
use crate::device::live::{self, Becomes, Field, Given, Live};
use crate::device::module::Module;
use crate::device::plan::{
    Bind, Binds, Dispatches, Draft, Region, Scratch, Target, parts_per_dispatch, to_u32,
};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::contrastive::accumulators::{self, Among};
use crate::kernels::contrastive::call::{ContrastiveInputs, ContrastiveOutputs};
use crate::kernels::contrastive::counts;
use crate::kernels::contrastive::pack::{Places, Rows, Side, Sides, Window, list_vectors};
use crate::kernels::contrastive::params::{
    CODE_COUNTS, CODE_POSITIVES, FROM_INDEX, FROM_OFFSET, NOT_TURNED, PairChunks, PairEnds,
    PairGrid, PairParams, PairRecord, PairRoles, PairRow, PairSettings, PairWork, SAME_NUMBER,
    SUM_FIELDS, SUM_PULL, TURNED_APART, TURNED_IN_PLACE, WANT_ONE, WANT_PER_ANCHOR,
};
use crate::kernels::contrastive::table::{
    self, COUNTS, CodeBinds, CountBinds, EndBinds, EndForm, LISTS, ListBinds, NOTES, PairBinds,
    PairForm, ProductBinds, ProjectBinds, ScaleBinds, Tiling, WEIGH, WeighBinds,
};
use crate::kernels::gradient::{self, Adds};
use crate::kernels::products::{self, DEPTH, SUMMED, TEAM_ROWS, rows_per_dispatch};
use crate::losses::contrastive::{
    Contrastive, ContrastiveReduction, Denominator, Divisor, PairRule, Weighting,
};
use std::mem::offset_of;

/// Settings that can come from buffers: of all, of Jaccard, of the sigmoid, of means.
static LIVE: [Live; 4] = [
    Live {
        name: "temperature",
        fields: &[Field::of::<PairParams>(
            offset_of!(PairParams, settings.inv_temperature),
            Becomes::Over { times: 1.0 },
        )],
    },
    Live {
        name: "threshold",
        fields: &[Field::of::<PairParams>(
            offset_of!(PairParams, settings.threshold),
            Becomes::ITSELF,
        )],
    },
    Live {
        name: "bias",
        fields: &[Field::of::<PairParams>(
            offset_of!(PairParams, bias),
            Becomes::ITSELF,
        )],
    },
    Live {
        name: COUNT,
        fields: &[Field::of::<PairParams>(
            offset_of!(PairParams, settings.scale),
            Becomes::OverCount { times: 1.0 },
        )],
    },
];
/// What a mean is over.
const COUNT: &str = "count";

impl Contrastive {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs
    /// with other tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &ContrastiveInputs<'_>,
        outputs: &ContrastiveOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        prepare(
            cx,
            self,
            inputs,
            outputs,
            (Inspection::default(), Among::Here),
        )
    }
}

/// Checks a call, beside tensors that have been checked, and makes what it needs.
pub(super) fn prepare<'a>(
    cx: &Context,
    config: &Contrastive,
    inputs: &ContrastiveInputs<'a>,
    outputs: &ContrastiveOutputs<'a>,
    (mut tensors, among): (Inspection<'a>, Among<'a>),
) -> Result<Prepared, Error> {
    let per_anchor = config.reduction == ContrastiveReduction::None;
    inputs.inspect(per_anchor, &mut tensors)?;
    config.check_pairs(inputs.self_index.is_some() || inputs.self_offset.is_some())?;
    config.check_label_weight(inputs.label_weight.is_some())?;
    config.check_label_counts(inputs.label_counts.is_some())?;
    config.check_given(inputs.positives.is_some(), inputs.pair_mask.is_some())?;
    if !matches!(among, Among::Here) {
        config.check_parts(inputs.label_counts.is_some())?;
    }
    outputs.inspect(per_anchor, inputs, &mut tensors)?;
    if outputs.grad_bias.is_some() && !config.has_bias() {
        return Err(Error::refused("grad_bias", "needs the denominator sigmoid"));
    }
    if outputs.count.is_some() && !config.reduction.is_mean() {
        return Err(Error::refused("count", "needs a mean, which says of what"));
    }
    let mut possible = match (config.weighting, config.has_bias()) {
        (Weighting::Jaccard { .. }, _) => vec![LIVE[0], LIVE[1]],
        (_, true) => vec![LIVE[0], LIVE[2]],
        (_, false) => vec![LIVE[0]],
    };
    possible.extend(config.reduction.is_mean().then_some(LIVE[3]));
    let live = live::inspect(&mut tensors, inputs.settings, &possible)?;
    let bytes = tensors.finish()?;
    let draft = plan(cx.target(), config, inputs, outputs, &live, among)?;
    prepared::build(cx, draft.moving(bytes))
}

/// Rows and columns that a tile has at least, whatever is asked for.
const TILE_SIDE: usize = 64;
/// Work on a pair beside its product and its labels, and with each word of label sets, in multiplications and additions.
const PAIR_WORK: u64 = 64;
const WORD_WORK: u64 = 4;

/// Plans a checked call.
fn plan<'a>(
    target: Target<'_>,
    config: &Contrastive,
    inputs: &ContrastiveInputs<'a>,
    outputs: &ContrastiveOutputs<'a>,
    settings: &Given<'a>,
    among: Among<'a>,
) -> Result<Draft<'a>, Error> {
    let counted = settings.iter().any(|(live, _)| live.name == COUNT);
    let mut call = Call::new(target, config, inputs, outputs, (counted, among))?;
    call.steps.push_settings(settings)?;
    call.sides
        .pack(&mut call.steps, call.small.bind(), call.base)?;
    call.sides
        .leave(&mut call.steps, call.small.bind(), call.base)?;
    if call.tiling.matrices.is_some() {
        call.sides
            .halve(&mut call.steps, call.small.bind(), call.base)?;
    }
    call.count_labels()?;
    call.weigh_labels()?;
    call.list_words()?;
    if call.sums()? {
        call.forward(outputs.count)?;
        call.backward()?;
    }
    call.adds.push(&mut call.steps)?;
    let windows = call.sides.window_pairs();
    Ok(call.steps.draft(&call.scratch, windows))
}

/// Some rows of a window that is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    window: Window,
    rows: Window,
}

/// Own and other rows of a tile.
#[derive(Clone, Copy, Debug)]
struct Tile {
    own: Part,
    other: Part,
    /// What becomes of it turned, if it is the same turned.
    mirror: u32,
}

/// What is summed over the keys of an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sums {
    /// What there is once for an anchor.
    First,
    /// What needs the first: the losses of positives that have denominators of their own.
    Second,
}

/// How the pairs are cut into tiles.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// The most rows and columns of a tile, multiples of 8.
    rows: usize,
    cols: usize,
    /// Tiles that there is room for: one, or one and that turned.
    count: u64,
}

impl Cut {
    /// Tiles of at most `bytes` together and `cols` columns.
    fn new(
        (anchors, keys): (usize, usize),
        are_one: bool,
        turned: bool,
        bytes: u64,
        most_cols: usize,
    ) -> Self {
        let most = usize::try_from(bytes / 4).unwrap_or(usize::MAX);
        let up = |n: usize| n.max(1).next_multiple_of(TEAM_ROWS);
        let down = |n: usize| (n / TILE_SIDE * TILE_SIDE).max(TILE_SIDE);
        let (all_rows, all_cols) = (up(anchors), up(keys));
        if are_one {
            if all_rows.saturating_mul(all_rows) <= most && all_rows <= most_cols {
                return Cut {
                    rows: all_rows,
                    cols: all_rows,
                    count: 1,
                };
            }
            let side = down((most / 2).isqrt()).min(down(most_cols)).min(all_rows);
            return Cut {
                rows: side,
                cols: side,
                count: 2,
            };
        }
        let count = 1 + usize::from(turned);
        // As square as may be, and longer where the other side is short.
        let rows = down((most / count).isqrt()).min(all_rows);
        let cols = down(most / count / rows).min(down(most_cols)).min(all_cols);
        let rows = down(most / count / cols).min(all_rows);
        Cut {
            rows,
            cols,
            count: count as u64,
        }
    }

    fn words(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    /// The tiles of all pairs in order; those below the diagonal come with those above it, turned.
    fn tiles(&self, sides: &Sides<'_>, turned: bool) -> Vec<Tile> {
        let parts = |side: &Side<'_>, most: usize| -> Vec<Part> {
            let pieces = |window: &Window| {
                let window = *window;
                window.pieces(most).map(move |rows| Part { window, rows })
            };
            side.windows.iter().flat_map(pieces).collect()
        };
        let mut all = Vec::new();
        for own in parts(&sides.anchors, self.rows) {
            for other in parts(sides.keys(), self.cols) {
                let mirror = match (sides.are_one(), own == other) {
                    (true, true) => TURNED_IN_PLACE,
                    (true, false) => TURNED_APART,
                    (false, _) if turned => TURNED_APART,
                    (false, _) => NOT_TURNED,
                };
                if !sides.are_one() || own.rows.first <= other.rows.first {
                    all.push(Tile { own, other, mirror });
                }
            }
        }
        all
    }
}

/// A gradient to rows.
#[derive(Clone, Copy, Debug)]
struct Gradient<'a> {
    name: &'static str,
    tensor: Tensor<'a>,
    /// Whether it is added to what is there.
    adds: bool,
    to_keys: bool,
}

/// A call while its dispatches are laid out.
struct Call<'a, 'c> {
    steps: Dispatches<'a, 'c>,
    scratch: Scratch,
    sides: Sides<'a>,
    rule: PairRule,
    denominator: Denominator,
    tiling: Tiling,
    cut: Cut,
    tiles: Vec<Tile>,
    gradients: Vec<Gradient<'a>>,
    /// Sizes, norms, counts.
    small: Region,
    /// What is known of the anchors.
    records: Region,
    /// Words in which anchors have labels; absent where all are looked at.
    lists: Region,
    /// A tile of pairs, and that turned.
    work: Region,
    /// What the caller says of the pairs of a tile, and of which it is there.
    codes: Region,
    noted: Option<(usize, usize)>,
    positives: Option<Tensor<'a>>,
    pair_mask: Option<Tensor<'a>>,
    /// What every step is told.
    base: PairParams,
    ends: EndBinds<'a>,
    /// Whether anything needs more than each anchor's own loss.
    needs_total: bool,
    /// The weights of labels, and the first of them in that binding.
    label_weight: Option<(Bind<'a>, u32)>,
    /// Whether the mean is over the anchors that a mask does not leave out.
    mean_kept: bool,
    /// How many keys have each label, where the caller knows.
    label_counts: Option<Tensor<'a>>,
    /// Whether a mean is over labels.
    mean_labels: bool,
    among: Among<'a>,
    /// What is added to the caller's tensors in the end.
    adds: Adds<'a>,
}

impl<'a, 'c> Call<'a, 'c> {
    /// Lays out the scratch, and binds what is shared. `counted`: what a mean is over comes from a buffer.
    fn new(
        target: Target<'c>,
        config: &Contrastive,
        inputs: &ContrastiveInputs<'a>,
        outputs: &ContrastiveOutputs<'a>,
        (counted, among): (bool, Among<'a>),
    ) -> Result<Self, Error> {
        let words = inputs.classes.div_ceil(32) as u64;
        to_u32(words * 32, "labels")?;
        let (rule, _) = config.weighting.rule();
        let by_label = rule == PairRule::MulSupCon;
        let embeddings = std::iter::once(inputs.embeddings);
        let keys = inputs.keys.map(|keys| keys.embeddings);
        let dtypes = embeddings.chain(keys).map(|t| t.dtype());
        let anchors = inputs.embeddings.rows();
        let others = inputs.keys.map_or(anchors, |keys| keys.embeddings.rows());
        let tiling = Tiling::of(target).pairing(anchors, others);
        let tiling = tiling.multiplying(target, dtypes);
        let mut scratch = Scratch::default();
        let mut adds = Adds::default();
        let mut place = |name, gradient| adds.place(&mut scratch, name, gradient);
        let outputs = &ContrastiveOutputs {
            grad_temperature: place("grad_temperature", outputs.grad_temperature)?,
            grad_bias: place("grad_bias", outputs.grad_bias)?,
            ..*outputs
        };
        let mut sides = sides(inputs, by_label, target, &mut scratch)?;
        let n = sides.anchors.rows.count;
        let keys = sides.keys().rows.count;

        let label_weight = target.bind_any("label_weight", inputs.label_weight)?;
        let mut places = Places::default();
        sides.place(&mut places)?;
        let factors = match tiling.matrices {
            Some(_) => sides.place_halves(&mut places, &mut scratch)?,
            None => 0,
        };
        let stride = n.next_multiple_of(TEAM_ROWS) as u64 / 4;
        let list = list_vectors(words);
        let record = PairRecord {
            counts: places.take(match (by_label, label_weight) {
                (false, _) => 0,
                (true, None) => 32 * words,
                (true, Some(_)) => 64 * words + n as u64,
            })?,
            unsound: places.take(3)?,
            stride: to_u32(stride, "embeddings")?,
            lists: to_u32(list, "labels")?,
        };
        let small = scratch.take(places.words)?;
        let fields = match config.denominator {
            Denominator::OnePositive => SUM_PULL + 1,
            Denominator::All | Denominator::Negatives | Denominator::Sigmoid => SUM_FIELDS,
        };
        let records = scratch.take(u64::from(fields) * 4 * stride)?;
        let wordless = matches!(rule, PairRule::Paired | PairRule::Given);
        let listed = sides.anchors.rows.listed() && !wordless && keys > 0;
        let lists = scratch.take_if(listed, n as u64 * 4 * list)?;

        let gradients = wanted(outputs);
        let turned = gradients.iter().any(|gradient| gradient.to_keys);
        let room = target.caps.max_binding.min(u64::from(u32::MAX));
        // A lane adds every so many keys of a tile one after the other.
        let lanes = tiling.lanes.near.unwrap_or(tiling.lanes.workgroup);
        let summed = 4 * (lanes * SUMMED) as usize;
        let unit = (sides.anchors.z_words).max(PAIR_WORK + WORD_WORK * words);
        let bounded = parts_per_dispatch(TEAM_ROWS as u64 * unit);
        let cut = Cut::new(
            (n, keys),
            sides.are_one(),
            turned,
            config.tile_bytes.min(room),
            summed.min(bounded),
        );
        let work = scratch.take(cut.count * cut.words())?;
        let said = inputs.positives.is_some() || inputs.pair_mask.is_some();
        let codes = scratch.take_if(said, cut.words() / 8)?;
        let tiles = cut.tiles(&sides, turned);
        for gradient in &gradients {
            let chunks = chunks(&sides, gradient.to_keys, &tiles, tiling, target);
            sides.side_mut(gradient.to_keys).sum(chunks, &mut scratch)?;
        }

        sides.identify(inputs.self_index, inputs.self_offset, target)?;
        let told = inputs.row_mask.is_some() || outputs.count.is_some();
        let mean_kept = config.reduction == ContrastiveReduction::MeanAll && told;
        // An anchor has its own labels, wherever the key is that it is.
        let own = inputs.label_counts.is_some() && sides.roles.itself == FROM_OFFSET;
        let base = PairParams {
            own: sides.anchors.all(),
            row: PairRow {
                dims: inputs.embeddings.cols() as u32,
                depth: (sides.anchors.z_words / 4) as u32,
                words: words as u32,
                stage: DEPTH,
            },
            roles: PairRoles {
                both: u32::from(sides.are_one()),
                itself: if own { SAME_NUMBER } else { sides.roles.itself },
                ..sides.roles
            },
            record,
            settings: settings(config, n, mean_kept, counted),
            team: TEAM_ROWS as u32,
            factors,
            bias: config.bias,
            ..PairParams::default()
        };
        let mut call = Call {
            steps: Dispatches::new(target),
            scratch,
            sides,
            rule,
            denominator: config.denominator,
            tiling,
            cut,
            tiles,
            gradients,
            small,
            records,
            lists,
            work,
            codes,
            noted: None,
            positives: inputs.positives,
            pair_mask: inputs.pair_mask,
            base,
            ends: EndBinds::default(),
            needs_total: false,
            label_weight,
            mean_kept,
            label_counts: inputs.label_counts,
            mean_labels: config.reduction == ContrastiveReduction::MeanLabels,
            among,
            adds,
        };
        call.bind_ends(config, inputs, outputs)?;
        Ok(call)
    }

    /// Binds what `merge` and `total` read and write.
    fn bind_ends(
        &mut self,
        config: &Contrastive,
        inputs: &ContrastiveInputs<'a>,
        outputs: &ContrastiveOutputs<'a>,
    ) -> Result<(), Error> {
        let target = self.steps.target;
        let per_anchor = config.reduction == ContrastiveReduction::None;
        let mut ends = PairEnds::default();
        let mut binds = EndBinds {
            records: self.records.bind(),
            small: self.small.bind(),
            ..EndBinds::default()
        };
        let want = |each: bool| if each { WANT_PER_ANCHOR } else { WANT_ONE };
        if let Some(t) = &outputs.loss_rows {
            (binds.each, ends.each_at) = target.bind_all("loss_rows", t)?;
            ends.want_each = WANT_PER_ANCHOR;
        }
        if let Some(t) = &outputs.loss {
            (binds.loss, ends.loss_at) = target.bind_all("loss", t)?;
            ends.want_loss = want(per_anchor);
        }
        if let Some(t) = &inputs.grad_loss {
            (binds.upstream, ends.upstream_at) = target.bind_all("grad_loss", t)?;
            ends.want_upstream = want(per_anchor && t.cols() > 1);
        }
        if let Some(t) = gradient::tensor(outputs.grad_temperature) {
            (binds.grad, ends.temperature_at) = target.bind_all("grad_temperature", &t)?;
            ends.want_temperature = WANT_ONE;
        }
        if let Some(t) = gradient::tensor(outputs.grad_bias) {
            (binds.grad_bias, self.base.bias_at) = target.bind_all("grad_bias", &t)?;
            self.base.want_bias = WANT_ONE;
        }
        let reduced = ends.want_loss == WANT_ONE;
        let learnt = outputs.grad_temperature.is_some() || outputs.grad_bias.is_some();
        let counts = outputs.count.is_some();
        self.needs_total = reduced || learnt || counts || !self.gradients.is_empty();
        self.base.ends = ends;
        self.ends = binds;
        Ok(())
    }

    fn push(
        &mut self,
        module: Module,
        entry: &'static str,
        groups: u64,
        params: PairParams,
        binds: impl Into<Binds<'a>>,
    ) -> Result<(), Error> {
        let params = |grid| PairParams {
            grid: PairGrid {
                row_blocks: params.grid.row_blocks,
                add: params.grid.add,
                ..PairGrid::from(grid)
            },
            ..params
        };
        self.steps.push(module, entry, groups, params, binds)
    }

    fn workgroup(&self) -> u32 {
        self.steps.target.variant.workgroup
    }

    /// What MulSupCon needs to know of the labels: keys with each, and which a key has that is the anchor.
    fn count_labels(&mut self) -> Result<(), Error> {
        if self.rule != PairRule::MulSupCon || self.sides.anchors.rows.count == 0 {
            return Ok(());
        }
        if let Some(given) = self.label_counts {
            let (small, at) = (self.small.bind(), self.base.record.counts);
            let of = ("label_counts", given);
            return counts::carry(&mut self.steps, "take", of, (small, at), self.base);
        }
        counts::count(&mut self.steps, self.sides.keys(), self.small, self.base)?;
        let module = COUNTS.module(self.workgroup());
        let own_windows = self.sides.anchors.windows.clone();
        let other_windows = self.sides.keys().windows.clone();
        if ![FROM_INDEX, FROM_OFFSET].contains(&self.base.roles.itself) {
            return Ok(());
        }
        for own in &own_windows {
            for (i, other) in other_windows.iter().enumerate() {
                let (anchors, keys) = (&self.sides.anchors, self.sides.keys());
                let binds = CountBinds {
                    sets: anchors.sets(*own),
                    sets2: keys.sets(*other),
                    itself_index: self.sides.index,
                    ..CountBinds::default()
                };
                let mut params = self.base;
                params.own = anchors.params(*own, *own);
                params.other = keys.params(*other, *other);
                params.grid.add = u32::from(i > 0);
                self.push(module, "leave_out", own.rows as u64, params, binds)?;
            }
        }
        Ok(())
    }

    /// What labels weigh, and with them anchors' sets.
    fn weigh_labels(&mut self) -> Result<(), Error> {
        let Some((label_weight, offset)) = self.label_weight else {
            return Ok(());
        };
        let module = WEIGH.module(self.workgroup());
        let lanes = u64::from(self.workgroup());
        let mut params = self.base;
        params.source.offset = offset;
        params.source.labels = to_u32(self.sides.anchors.rows.classes as u64, "labels")?;
        let mut binds = WeighBinds {
            label_weight,
            small: self.small.bind(),
            ..WeighBinds::default()
        };
        let groups = (32 * u64::from(self.base.row.words)).div_ceil(lanes);
        if groups > 0 {
            self.push(module, "weigh_labels", groups, params, binds)?;
        }
        // A lane goes through all words of a set.
        let most = parts_per_dispatch(WORD_WORK * u64::from(self.base.row.words));
        for window in self.sides.anchors.windows.clone() {
            binds.sets = self.sides.anchors.sets(window);
            for rows in window.pieces(most.next_multiple_of(TEAM_ROWS)) {
                params.own = self.sides.anchors.params(window, rows);
                let groups = (rows.rows as u64).div_ceil(lanes);
                self.push(module, "weigh_sets", groups, params, binds)?;
            }
        }
        Ok(())
    }

    /// The lists of words in which anchors have labels.
    fn list_words(&mut self) -> Result<(), Error> {
        if self.lists == Region::ABSENT {
            return Ok(());
        }
        let module = LISTS.module(self.workgroup());
        for own in self.sides.anchors.windows.clone() {
            let binds = ListBinds {
                sets: self.sides.anchors.sets(own),
                lists: self.listed(own),
            };
            let mut params = self.base;
            params.own = self.sides.anchors.params(own, own);
            let groups = own.rows.div_ceil(self.workgroup() as usize) as u64;
            self.push(module, "list_words", groups, params, binds)?;
        }
        Ok(())
    }

    /// The lists of a window of anchors.
    fn listed(&self, window: Window) -> Bind<'a> {
        if self.lists == Region::ABSENT {
            return Bind::Nothing;
        }
        let list = 4 * u64::from(self.base.record.lists);
        let words = |rows: usize| rows as u64 * list;
        self.lists.part(words(window.first), words(window.rows))
    }

    /// Workgroups of a product and its blocks of own rows.
    fn product_blocks(&self, rows: usize, fours: u64, of_slopes: bool) -> (u64, u32) {
        let Tiling { lanes, matrices } = self.tiling;
        products::blocks(lanes, matrices, (rows, fours), of_slopes)
    }

    /// Own rows of a part in pieces whose work one dispatch may have.
    fn strips(&self, own: Part, others: usize, work: u64) -> Vec<Part> {
        let most = rows_per_dispatch(others, work);
        let strip = |rows| Part { rows, ..own };
        own.rows.pieces(most).map(strip).collect()
    }

    /// What kernels are told of own and other rows of a tile.
    fn pair_params(&self, tile: &Tile, strip: Part, mirror: u32) -> PairParams {
        let (anchors, keys) = (&self.sides.anchors, self.sides.keys());
        let (own, other) = (&tile.own, &tile.other);
        let stride = other.rows.rows.next_multiple_of(TEAM_ROWS) / 4;
        let height = own.rows.rows.next_multiple_of(TEAM_ROWS) / 4;
        let in_place = mirror == TURNED_IN_PLACE;
        let mut params = self.base;
        params.own = anchors.params(own.window, strip.rows);
        params.own.lists = (strip.rows.first - own.window.first) as u32 * self.base.record.lists;
        params.other = keys.params(other.window, other.rows);
        params.roles.mirror = mirror;
        params.work = PairWork {
            stride: stride as u32,
            row: (strip.rows.first - own.rows.first) as u32,
            // A binding has fewer than 2^32 bytes.
            mirror_at: if in_place {
                0
            } else {
                (self.cut.words() / 4) as u32
            },
            mirror_stride: if in_place { stride } else { height } as u32,
        };
        params
    }

    /// Fills the tile with products, and that turned where it is wanted.
    fn products(&mut self, tile: &Tile, mirror: u32) -> Result<(), Error> {
        let (own, other) = (tile.own, tile.other);
        let two = !self.sides.share(own.window, other.window);
        let module = self.tiling.products(two);
        let depth = self.sides.anchors.z_words;
        for strip in self.strips(own, other.rows.rows, depth) {
            let mut params = self.pair_params(tile, strip, mirror);
            let fours = other.rows.rows.div_ceil(4) as u64;
            let (groups, row_blocks) = self.product_blocks(strip.rows.rows, fours, false);
            params.grid.row_blocks = row_blocks;
            let binds = ProductBinds {
                z: self.factor_bind(&self.sides.anchors, own.window),
                z2: match two {
                    true => self.factor_bind(self.sides.keys(), other.window),
                    false => Bind::Nothing,
                },
                small: self.factors(),
                work: self.work.bind(),
                ..ProductBinds::default()
            };
            self.push(module, "products", groups, params, binds)?;
        }
        Ok(())
    }

    /// The rows of a side as they are multiplied.
    fn factor_bind(&self, side: &Side<'a>, window: Window) -> Bind<'a> {
        match self.tiling.matrices {
            Some(_) => side.halves(window),
            None => side.z(window),
        }
    }

    /// What rows in f16 have to be multiplied by.
    fn factors(&self) -> Bind<'a> {
        match self.tiling.matrices {
            Some(_) => self.small.bind(),
            None => Bind::Nothing,
        }
    }

    /// What `pairs` and `slopes` read and write.
    fn pair_binds(&self, tile: &Tile, work: Bind<'a>) -> (bool, PairBinds<'a>) {
        let two = !self.sides.share(tile.own.window, tile.other.window);
        let binds = PairBinds {
            small: match self.rule {
                PairRule::MulSupCon => self.small.bind(),
                _ => Bind::Nothing,
            },
            sets: self.sides.anchors.sets(tile.own.window),
            sets2: match two {
                true => self.sides.keys().sets(tile.other.window),
                false => Bind::Nothing,
            },
            codes: match self.codes {
                Region::ABSENT => Bind::Nothing,
                codes => codes.bind(),
            },
            records: self.records.bind(),
            work,
            lists: self.listed(tile.own.window),
        };
        (two, binds)
    }

    /// What the kernels of pairs are chosen by, for label sets in two bindings or in one.
    fn form(&self, two: bool) -> PairForm {
        PairForm {
            rule: self.rule,
            two,
            listed: self.lists != Region::ABSENT,
            masked: self.sides.masked(),
            denominator: self.denominator,
            weighted: self.label_weight.is_some(),
            pairs_masked: self.pair_mask.is_some(),
        }
    }

    /// Notes what the caller says of the pairs of a tile, unless that is there still.
    fn note(&mut self, tile: &Tile) -> Result<(), Error> {
        let (own, other) = (tile.own.rows, tile.other.rows);
        let of = (own.first, other.first);
        if self.codes == Region::ABSENT || self.noted == Some(of) {
            return Ok(());
        }
        self.noted = Some(of);
        let said = [
            ("positives", self.positives, CODE_POSITIVES),
            ("pair_mask", self.pair_mask, CODE_COUNTS),
        ];
        for (name, tensor, code) in said {
            let Some(bits) = tensor else { continue };
            self.note_side((name, &bits, code), tile, false)?;
            if self.sides.are_one() {
                self.note_side((name, &bits, code), tile, true)?;
            }
        }
        Ok(())
    }

    /// Notes what rows of a tile say of pairs: the own ones, or the others.
    fn note_side(
        &mut self,
        (name, bits, code): (&str, &Tensor<'a>, u32),
        tile: &Tile,
        others: bool,
    ) -> Result<(), Error> {
        let target = self.steps.target;
        let module = NOTES.module(self.workgroup());
        let (own, other) = (tile.own.rows, tile.other.rows);
        let (said, seen) = if others { (other, own) } else { (own, other) };
        let most = target.rows_per_binding(name, bits)?;
        // A lane has a block of four by four pairs.
        let most = most.min(parts_per_dispatch(seen.rows as u64));
        for rows in said.pieces((most / 4 * 4).max(4)) {
            let (pair_bits, at) = target.bind_rows(bits, rows.first, rows.rows);
            let mut params = self.pair_params(tile, tile.own, NOT_TURNED);
            params.source.labels = bits.cols() as u32;
            params.source.labels_offset = at;
            params.source.labels_stride = bits.row_stride() as u32;
            params.code = code;
            let side = if others {
                &mut params.other
            } else {
                &mut params.own
            };
            (side.first, side.rows) = (rows.first as u32, rows.rows as u32);
            let before = (rows.first - said.first) as u32;
            match others {
                false => params.work.row = before,
                true => params.chunks.at = before / 4,
            }
            let fours = |rows: u32| u64::from(rows.div_ceil(4));
            let blocks = fours(params.own.rows) * fours(params.other.rows);
            let groups = blocks.div_ceil(u64::from(self.workgroup()));
            let binds = CodeBinds {
                pair_bits,
                codes: self.codes.bind(),
            };
            let entry = if others { "note_others" } else { "note_rows" };
            self.push(module, entry, groups, params, binds)?;
        }
        Ok(())
    }

    /// Work on a pair whose product is there.
    fn label_work(&self) -> u64 {
        PAIR_WORK + WORD_WORK * u64::from(self.base.row.words)
    }

    /// Adds the pairs of a tile to the sums of its anchors, or to their second sums.
    fn pairs(&mut self, tile: &Tile, work: Bind<'a>, sums: Sums, add: bool) -> Result<(), Error> {
        self.note(tile)?;
        let (two, binds) = self.pair_binds(tile, work);
        let module = match sums {
            Sums::First => self.tiling.pairs(self.form(two)),
            Sums::Second => self.tiling.pulls(self.form(two)),
        };
        for strip in self.strips(tile.own, tile.other.rows.rows, self.label_work()) {
            let mut params = self.pair_params(tile, strip, NOT_TURNED);
            params.grid.add = u32::from(add);
            let groups = self.tiling.teams(strip.rows.rows.div_ceil(TEAM_ROWS));
            self.push(module, "pairs", groups, params, binds)?;
        }
        Ok(())
    }

    /// Replaces the products of a tile by slopes.
    fn slopes(&mut self, tile: &Tile) -> Result<(), Error> {
        self.note(tile)?;
        let (two, binds) = self.pair_binds(tile, self.work.bind());
        let module = self.tiling.slopes(self.form(two));
        let others = tile.other.rows.rows;
        for strip in self.strips(tile.own, others, self.label_work()) {
            let mut params = self.pair_params(tile, strip, tile.mirror);
            let (groups, row_blocks) =
                self.tiling
                    .lanes
                    .blocks(strip.rows.rows, others.div_ceil(4) as u64, 1);
            params.grid.row_blocks = row_blocks;
            self.push(module, "slopes", groups, params, binds)?;
        }
        Ok(())
    }

    /// The tile, or that turned.
    fn tile_bind(&self, turned: bool) -> Bind<'a> {
        let words = self.cut.words();
        self.work.part(if turned { words } else { 0 }, words)
    }

    /// The sums of all anchors. Returns whether they are those over all keys.
    fn sums(&mut self) -> Result<bool, Error> {
        let (denominator, base, records) = (self.denominator, self.base, self.records.bind());
        if let Among::Meets(from) = self.among {
            accumulators::meet(&mut self.steps, denominator, from, base, records)?;
            return Ok(true);
        }
        self.sum(Sums::First)?;
        if let Among::Leaves(to) = self.among {
            accumulators::leave(&mut self.steps, denominator, to, base, records)?;
            return Ok(false);
        }
        if denominator == Denominator::OnePositive {
            self.sum(Sums::Second)?;
        }
        Ok(true)
    }

    /// What comes of the sums, and how many a mean is over.
    fn forward(&mut self, count: Option<Tensor<'a>>) -> Result<(), Error> {
        let form = EndForm {
            masked: self.sides.masked(),
            mean_kept: self.mean_kept,
            denominator: self.denominator,
            weighted: self.label_weight.is_some(),
        };
        let module = table::ends(form, self.workgroup());
        let anchors = self.sides.anchors.rows.count;
        let groups = anchors.div_ceil(self.workgroup() as usize) as u64;
        if groups > 0 {
            self.push(module, "merge", groups, self.base, self.ends)?;
        }
        if self.needs_total {
            self.push(module, "total", 1, self.base, self.ends)?;
        }
        let Some(count) = count else { return Ok(()) };
        let at = self.base.record.unsound + if self.mean_labels { 2 } else { 1 };
        let small = (self.small.bind(), at);
        counts::carry(&mut self.steps, "give", ("count", count), small, self.base)
    }

    /// The sums of all anchors over all tiles.
    fn sum(&mut self, sums: Sums) -> Result<(), Error> {
        let mut begun: Vec<usize> = Vec::new();
        let tiles = self.tiles.clone();
        for tile in &tiles {
            let tile = *tile;
            let mirror = match self.sides.are_one() {
                true => tile.mirror,
                false => NOT_TURNED,
            };
            // The products of the one tile that there is are there still.
            if sums == Sums::First || tiles.len() > 1 {
                self.products(&tile, mirror)?;
            }
            let mut halves = vec![(tile, false)];
            if mirror == TURNED_APART {
                halves.push((tile.turned(), true));
            }
            for (tile, turned) in halves {
                let first = tile.own.rows.first;
                let work = self.tile_bind(turned);
                self.pairs(&tile, work, sums, begun.contains(&first))?;
                if !begun.contains(&first) {
                    begun.push(first);
                }
            }
        }
        if self.sides.keys().rows.count == 0 {
            // Anchors that nothing is summed for.
            for window in self.sides.anchors.windows.clone() {
                let own = Part {
                    window,
                    rows: window,
                };
                let other = Part {
                    window: Window::default(),
                    rows: Window::default(),
                };
                let tile = Tile {
                    own,
                    other,
                    mirror: NOT_TURNED,
                };
                let work = self.tile_bind(false);
                self.pairs(&tile, work, sums, false)?;
            }
        }
        Ok(())
    }

    /// The gradients.
    fn backward(&mut self) -> Result<(), Error> {
        if self.gradients.is_empty() {
            return Ok(());
        }
        let wants = |keys: bool| {
            let mut all = self.gradients.iter();
            all.any(|gradient| gradient.to_keys == keys)
        };
        let one = self.sides.are_one();
        let (to_anchors, to_keys) = (wants(false), wants(true));
        let mut begun: Vec<(bool, usize)> = Vec::new();
        let tiles = self.tiles.clone();
        for tile in &tiles {
            // The products of the one tile that there is are there still, if it has been summed.
            if tiles.len() > 1 || matches!(self.among, Among::Meets(_)) {
                self.products(tile, NOT_TURNED)?;
            }
            self.slopes(tile)?;
            let mut halves = Vec::new();
            if to_anchors {
                halves.push((false, *tile, false));
            }
            if tile.mirror == TURNED_APART && (one || to_keys) {
                halves.push((!one, tile.turned(), true));
            }
            for (keys, tile, turned) in halves {
                let of = (keys, tile.own.rows.first);
                self.spread(keys, &tile, turned, begun.contains(&of))?;
                if !begun.contains(&of) {
                    begun.push(of);
                }
            }
        }
        for gradient in self.gradients.clone() {
            self.project(&gradient, !tiles.is_empty())?;
        }
        Ok(())
    }

    /// Adds what a tile of slopes does to the gradient to its own rows.
    fn spread(&mut self, keys: bool, tile: &Tile, turned: bool, add: bool) -> Result<(), Error> {
        let module = self.tiling.products(false);
        let vectors = self.sides.anchors.z_words / 4;
        for strip in self.strips(tile.own, tile.other.rows.rows, 4 * vectors) {
            let (own, other) = (self.sides.side(keys), self.sides.side(!keys));
            let others = tile.other.rows.rows;
            let mut params = self.base;
            params.own = own.params_from(tile.own.window, strip.rows);
            params.other = other.params_from(tile.other.window, tile.other.rows);
            params.grid.add = u32::from(add);
            params.work = PairWork {
                stride: (others.next_multiple_of(TEAM_ROWS) / 4) as u32,
                row: (strip.rows.first - tile.own.rows.first) as u32,
                ..PairWork::default()
            };
            params.chunks = own.chunks(tile.own.window, strip.rows, others);
            let chunks = u64::from(params.chunks.count);
            let binds = ProductBinds {
                z: self.factor_bind(other, tile.other.window),
                small: self.factors(),
                work: self.tile_bind(turned),
                sums: own.sums(tile.own.window),
                ..ProductBinds::default()
            };
            let (groups, row_blocks) = self.product_blocks(strip.rows.rows, vectors, true);
            params.grid.row_blocks = row_blocks;
            if self.tiling.matrices.is_some() {
                let scaled = ScaleBinds {
                    small: binds.small,
                    work: binds.work,
                };
                let rows = strip.rows.rows as u64;
                self.push(self.tiling.scale(), "scale", rows, params, scaled)?;
            }
            self.push(module, "spread", groups * chunks, params, binds)?;
        }
        Ok(())
    }

    /// The gradient to rows as they were given.
    fn project(&mut self, gradient: &Gradient<'a>, summed: bool) -> Result<(), Error> {
        if self.base.row.dims == 0 {
            return Ok(());
        }
        let target = self.steps.target;
        let module = self.tiling.project(self.sides.masked(), gradient.adds);
        let most = target.rows_per_binding(gradient.name, &gradient.tensor)?;
        for window in self.sides.side(gradient.to_keys).windows.clone() {
            for rows in window.pieces(most) {
                let own = self.sides.side(gradient.to_keys);
                let (grad, grad_at) = target.bind_rows(&gradient.tensor, rows.first, rows.rows);
                let mut params = self.base;
                params.own = own.params_from(window, rows);
                params.grad_at = grad_at;
                params.grad_stride = gradient.tensor.row_stride() as u32;
                params.chunks = own.chunks(window, rows, 1);
                if !summed {
                    params.chunks.count = 0;
                }
                let binds = ProjectBinds {
                    z: own.z(window),
                    small: self.small.bind(),
                    sums: own.sums(window),
                    grad,
                };
                let groups = self.tiling.teams(rows.rows);
                self.push(module, "project", groups, params, binds)?;
            }
        }
        Ok(())
    }
}

impl Tile {
    /// With its sides exchanged.
    fn turned(&self) -> Tile {
        Tile {
            own: self.other,
            other: self.own,
            mirror: self.mirror,
        }
    }
}

impl Side<'_> {
    /// What kernels are told of the chunks of the gradient to some rows of a window, by their sums over others.
    fn chunks(&self, window: Window, rows: Window, others: usize) -> PairChunks {
        let vectors = self.z_words / 4;
        // A binding has fewer than 2^32 bytes.
        PairChunks {
            count: self.chunks as u32,
            rows: (others.div_ceil(self.chunks as usize).next_multiple_of(4)) as u32,
            stride: (window.rows as u64 * vectors) as u32,
            at: ((rows.first - window.first) as u64 * vectors) as u32,
        }
    }
}

/// The gradients that are wanted.
fn wanted<'a>(outputs: &ContrastiveOutputs<'a>) -> Vec<Gradient<'a>> {
    let gradient = |name, to_keys, to: Option<gradient::Gradient<'a>>| {
        gradient::tensor(to).map(|tensor| Gradient {
            name,
            tensor,
            adds: to.is_some_and(|to| to.adds()),
            to_keys,
        })
    };
    let embeddings = gradient("grad_embeddings", false, outputs.grad_embeddings);
    let keys = gradient("grad_keys", true, outputs.grad_keys);
    embeddings.into_iter().chain(keys).collect()
}

/// In how many chunks the gradient to a side's rows is summed: few workgroups share what there is of a single tile.
fn chunks(
    sides: &Sides<'_>,
    to_keys: bool,
    tiles: &[Tile],
    tiling: Tiling,
    target: Target<'_>,
) -> u64 {
    let (own, other) = (sides.side(to_keys), sides.side(!to_keys));
    let others = other.rows.count as u64;
    let near = tiling.lanes.near.is_some() && tiling.matrices.is_none();
    if near || tiles.len() != 1 || others == 0 {
        return 1;
    }
    let (block_rows, block_dims) = match tiling.matrices {
        Some(teams) => products::matrix_block(teams, true),
        None => {
            let (row_lanes, col_lanes) = block_lanes(tiling.lanes.workgroup);
            (TEAM_ROWS * row_lanes as usize, 8 * u64::from(col_lanes))
        }
    };
    let row_blocks = own.rows.count.div_ceil(block_rows) as u64;
    let dim_blocks = own.z_words.div_ceil(block_dims);
    let row_bytes = 4 * own.z_words * own.rows.count as u64;
    let fitting = target.caps.max_binding.min(u64::from(u32::MAX)) / row_bytes.max(1);
    products::chunks(others, row_blocks * dim_blocks, fitting)
}

/// Finds room for the anchors and the keys of a call.
fn sides<'a>(
    inputs: &ContrastiveInputs<'a>,
    by_label: bool,
    target: Target<'_>,
    scratch: &mut Scratch,
) -> Result<Sides<'a>, Error> {
    let anchors = Rows {
        keys: false,
        count: inputs.embeddings.rows(),
        embeddings: Some(inputs.embeddings),
        classes: inputs.classes,
        sets: inputs.labels,
        leaves_out: by_label
            && inputs.label_counts.is_none()
            && (inputs.self_index.is_some() || inputs.self_offset.is_some()),
        mask: inputs.row_mask,
    };
    let keys = inputs.keys.map(|keys| Rows {
        keys: true,
        count: keys.embeddings.rows(),
        embeddings: Some(keys.embeddings),
        classes: inputs.classes,
        sets: keys.labels,
        leaves_out: false,
        mask: inputs.key_mask,
    });
    Sides::new(anchors, keys, target.caps, scratch)
}

/// The settings as the kernels have them.
fn settings(config: &Contrastive, anchors: usize, mean_kept: bool, counted: bool) -> PairSettings {
    let divisor = match (config.denominator, config.weighting.rule()) {
        (Denominator::Sigmoid, _) => Divisor::One,
        (_, (_, divisor)) => divisor,
    };
    PairSettings {
        divisor: divisor as u32,
        threshold: config.weighting.least(),
        inv_temperature: 1.0 / config.temperature,
        normalize: u32::from(config.normalize),
        mean_active: u32::from(
            !counted && (mean_kept || config.reduction == ContrastiveReduction::MeanActive),
        ),
        mean_labels: u32::from(!counted && config.reduction == ContrastiveReduction::MeanLabels),
        scale: match config.reduction {
            ContrastiveReduction::MeanAll => 1.0 / anchors.max(1) as f32,
            _ => 1.0,
        },
        nan: f32::NAN.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, TILE_SIDE};

    #[test]
    fn tiles_keep_within_their_bounds() {
        for rows in [1, 63, 64, 65, 900, 40_000] {
            for cols in [1, 64, 1000, 40_000, 3_000_000] {
                for bytes in [1 << 20, 16 << 20, 64 << 20] {
                    for (are_one, turned) in [(true, true), (false, true), (false, false)] {
                        let keys = if are_one { rows } else { cols };
                        let most = 8192;
                        let cut = Cut::new((rows, keys), are_one, turned, bytes, most);
                        let name = format!("{rows} x {keys} in {bytes}: {cut:?}");
                        let whole = cut.rows.is_multiple_of(8) && cut.cols.is_multiple_of(8);
                        assert!(whole, "{name}");
                        assert!(4 * cut.count * cut.words() <= bytes, "{name}");
                        assert!(cut.cols <= most, "{name}");
                        // Room is not wasted: all pairs fit, or a good part of the bound is used.
                        let all = cut.rows >= rows && cut.cols >= keys.min(most);
                        let used = 16 * cut.count * cut.words() >= bytes;
                        assert!(all || used, "{name}");
                        // At least a small tile, whatever is asked for.
                        let least = Cut::new((rows, keys), are_one, turned, 0, most);
                        assert!(least.rows <= TILE_SIDE && least.cols <= TILE_SIDE, "{name}");
                    }
                }
            }
        }
    }
}
