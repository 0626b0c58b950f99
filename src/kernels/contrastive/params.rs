//! What a dispatch of the contrastive losses is told, and the numbers that kernels and planner share.

use crate::device::module::{Constant, Mirror, constants, uniform};
use crate::device::plan::Grid;
use crate::losses::contrastive::{Divisor, NORM_FLOOR};

/// Numbers of the settings as constants of a prelude.
const fn of_settings<const N: usize>(
    numbers: [(&'static str, u32); N],
) -> [(&'static str, Constant); N] {
    let mut all = [("", Constant::Is(0)); N];
    let mut i = 0;
    while i < N {
        all[i] = (numbers[i].0, Constant::Is(numbers[i].1));
        i += 1;
    }
    all
}

/// `settings.divisor`.
pub(super) const DIVISORS: &[(&str, Constant)] = &of_settings(Divisor::NAMES);

constants! {
    /// `roles.itself`: which key an anchor is.
    ITSELF {
        /// None of them.
        NO_KEY = 0,
        /// The one of its own number.
        SAME_NUMBER = 1,
        /// The one that `itself_index` says.
        FROM_INDEX = 2,
        /// The one of its own number and `itself_at`.
        FROM_OFFSET = 3,
    }
}

constants! {
    /// `roles.mirror`: what becomes of a tile turned.
    MIRRORED {
        NOT_TURNED = 0,
        /// It is another tile.
        TURNED_APART = 1,
        /// It is the same tile.
        TURNED_IN_PLACE = 2,
    }
}

constants! {
    /// `source.form`: how label sets are stored.
    FORMS {
        /// Words of 32 labels.
        FORM_BITS = 0,
        /// A byte for each label.
        FORM_BYTES = 1,
        /// Lists of labels, one behind the other.
        FORM_LISTS = 2,
        /// A word for each label.
        FORM_INTEGERS = 3,
    }
}

constants! {
    /// `ends.want_*`: how many values there are; 0 where there is no such tensor.
    WANTS {
        WANT_ONE = 1,
        WANT_PER_ANCHOR = 2,
    }
}

constants! {
    /// The sums over the keys of an anchor.
    SUMS {
        /// The greatest logit s + bias in the denominator, which exponentials are relative to.
        SUM_LARGEST = 0,
        /// The sum of exponentials.
        SUM_EXPONENTIALS = 1,
        /// The sum of the weights.
        SUM_WEIGHTS = 2,
        /// The weighted sum of base - s - shift; the base is the greatest, or 0 where positives are not in the denominator.
        SUM_LOSS = 3,
        /// The weighted sum of base - s.
        SUM_LEAD = 4,
        /// The sum of exponentials times base - s.
        SUM_TILT = 5,
        /// The number of positives; where pairs are judged by themselves, of keys that count.
        SUM_COUNT = 6,
        /// The number of keys that are not sound.
        SUM_UNSOUND = 7,
        /// How many there are of these.
        SUM_FIELDS = 8,
        /// Where each positive has a denominator of its own: the weighted sum of the negatives' shares in these.
        SUM_PULL = 8,
    }
}

constants! {
    /// What is known of an anchor once its sums are merged, for the gradient. It takes the place of the sums.
    RECORD {
        /// What exponentials are relative to.
        RECORD_LARGEST = 0,
        /// The factor of e^(logit - greatest) in a slope.
        RECORD_EXPONENTIAL = 1,
        /// The factor of the weight in a slope.
        RECORD_WEIGHT = 2,
        /// The loss.
        RECORD_LOSS = 3,
        /// The sum of slope times similarity.
        RECORD_ALONG = 4,
        /// 1 if it is active, 2 if it is and met something unsound.
        RECORD_STATE = 5,
        /// Where pairs are judged by themselves: the sum of slopes.
        RECORD_LEAN = 6,
    }
}

/// `code`: which word of a block's code is filled. Of each of sixteen pairs a word has the bit of the anchor's key, and above
/// these the bits the other way: whether the key is a positive, and whether the pair counts.
pub(super) const CODE_POSITIVES: u32 = 0;
pub(super) const CODE_COUNTS: u32 = 1;

constants! {
    /// Relations of two label sets.
    RELATION {
        RELATION_KINDS = 5,
    }
}

/// The least norm.
pub(super) const NORMS: &[(&str, Constant)] = &[("NORM_FLOOR", Constant::Real(NORM_FLOOR as f32))];

uniform! {
    /// Which part of the work each workgroup does.
    pub(super) struct PairGrid {
        /// Workgroups with work; those beyond (the grid is folded) return.
        groups: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Blocks of own rows, where a workgroup has a block of a known size.
        row_blocks: u32,
        /// 1: results are added to what is there.
        add: u32,
    }
}

impl From<Grid> for PairGrid {
    fn from(grid: Grid) -> Self {
        PairGrid {
            groups: grid.groups,
            groups_x: grid.groups_x,
            ..PairGrid::default()
        }
    }
}

uniform! {
    /// The chunks of other rows that workgroups share the gradient to a row by.
    pub(super) struct PairChunks {
        /// How many; `project`: 0 where nothing has been summed.
        count: u32,
        /// Other rows in each, a multiple of 4.
        rows: u32,
        /// In `sums`, vectors from one chunk's to the next.
        stride: u32,
        /// In `sums`, the first own row's of the first chunk.
        at: u32,
    }
}

uniform! {
    /// Some rows of a side of the pairs, and where they are.
    pub(super) struct PairSide {
        /// How many rows.
        rows: u32,
        /// Rows before them, among all of the side; of pairs a multiple of 8.
        first: u32,
        /// The first of them in `z`, in vectors.
        z: u32,
        /// The first word of the first four of them in `sets`, in vectors.
        sets: u32,
        /// Vectors from one word of the sets to the next.
        stride: u32,
        /// In `small`, of all rows of the side: sizes of the sets, with `UNSOUND` or `LEFT_OUT`.
        sizes: u32,
        /// In `small`, of all rows: one over the norm, 0 where there is no gradient.
        norms: u32,
        /// In `lists`, the list of the first of them, in vectors.
        lists: u32,
    }
}

uniform! {
    /// What rows of both sides have in common.
    pub(super) struct PairRow {
        /// Components of an embedding.
        dims: u32,
        /// Vectors of a row of `z`, zeros behind the embedding; a multiple of 4.
        depth: u32,
        /// Words of a label set.
        words: u32,
        /// DEPTH. Where a compiler sees the number, it unrolls for seconds.
        stage: u32,
    }
}

uniform! {
    /// What makes a pair.
    pub(super) struct PairRoles {
        /// Which key an anchor is: `SAME_NUMBER`, `FROM_INDEX`, `FROM_OFFSET` or `NO_KEY`.
        itself: u32,
        /// Where its number is in `itself_index`; keys before the first anchor's.
        itself_at: u32,
        /// 1: the other row is an anchor too.
        both: u32,
        /// What becomes of a tile turned: `NOT_TURNED`, `TURNED_APART` or `TURNED_IN_PLACE`.
        mirror: u32,
    }
}

uniform! {
    /// Places in `small`, and what is known of each anchor in `records`.
    pub(super) struct PairRecord {
        /// In `small`: keys with each label; where labels have weights, behind these the weights, and those of sets.
        counts: u32,
        /// In `small`: whether anything is not finite; behind it the anchors that a mean is over, and the labels of all.
        unsound: u32,
        /// In `records`, vectors from one field of all anchors to the next.
        stride: u32,
        /// In `lists`, vectors from one list of words to the next.
        lists: u32,
    }
}

uniform! {
    /// The tile of pairs in `work`, in vectors.
    pub(super) struct PairWork {
        /// From one row of it to the next.
        stride: u32,
        /// Its row that the first own row is. Where nothing is done with tiles: rows of the window before the own ones.
        row: u32,
        /// The tile turned.
        mirror_at: u32,
        /// From one row of that to the next.
        mirror_stride: u32,
    }
}

uniform! {
    /// Settings of the loss.
    pub(super) struct PairSettings {
        /// What an anchor's weights are divided by.
        divisor: u32,
        /// Least similarity of label sets that counts.
        threshold: f32,
        /// One over the temperature.
        inv_temperature: f32,
        /// 1: rows are divided by their norms.
        normalize: u32,
        /// 1: the scale is one over the anchors of `in_mean`.
        mean_active: u32,
        /// 1: one over the labels of all anchors.
        mean_labels: u32,
        /// The scale in all other cases.
        scale: f32,
        /// The bit pattern of NaN, which WGSL has no constant for.
        nan: u32,
    }
}

uniform! {
    /// Rows as they were given, in elements.
    pub(super) struct PairSource {
        /// The first embedding in `source`; the first of `mask`, or of `label_weight`.
        offset: u32,
        /// From one embedding to the next.
        stride: u32,
        /// How label sets are stored.
        form: u32,
        /// The first of `labels`.
        labels_offset: u32,
        /// From one row of `labels` to the next.
        labels_stride: u32,
        /// How many labels there are.
        labels: u32,
        /// The first of `indices`.
        indices_offset: u32,
        /// How many indices there are.
        indices_len: u32,
    }
}

uniform! {
    /// The tensors that there are at the end, and where they begin.
    pub(super) struct PairEnds {
        /// The anchors' losses.
        want_each: u32,
        /// The loss: one, or one for each anchor.
        want_loss: u32,
        /// The gradient to it: one, or one for each anchor.
        want_upstream: u32,
        /// The gradient to the temperature, in `grad`.
        want_temperature: u32,
        each_at: u32,
        loss_at: u32,
        upstream_at: u32,
        temperature_at: u32,
    }
}

uniform! {
    /// What every kernel of the family is told.
    pub(super) struct PairParams {
        grid: PairGrid,
        chunks: PairChunks,
        /// The rows that the dispatch has results for.
        own: PairSide,
        /// The rows that it sums over.
        other: PairSide,
        row: PairRow,
        roles: PairRoles,
        record: PairRecord,
        work: PairWork,
        settings: PairSettings,
        source: PairSource,
        ends: PairEnds,
        /// The first result in `grad` or `relation_counts`.
        grad_at: u32,
        /// From one row of them to the next.
        grad_stride: u32,
        /// `TEAM_ROWS`, which a compiler may not see either.
        team: u32,
        /// In `small`, from the norm of a row to its factor, and from that to its power of two.
        factors: u32,
        /// What stands beside similarities where pairs are judged by themselves.
        bias: f32,
        /// `WANT_ONE`: the gradient to it, in `grad_bias`.
        want_bias: u32,
        bias_at: u32,
        /// Which word of the codes of pairs `note_rows` and `note_keys` fill.
        code: u32,
    }
}

/// Every struct of the uniform.
pub(super) const MIRRORS: &[Mirror] = &[
    PairGrid::MIRROR,
    PairChunks::MIRROR,
    PairSide::MIRROR,
    PairRow::MIRROR,
    PairRoles::MIRROR,
    PairRecord::MIRROR,
    PairWork::MIRROR,
    PairSettings::MIRROR,
    PairSource::MIRROR,
    PairEnds::MIRROR,
    PairParams::MIRROR,
];
