//! How WGSL is composed: whole files in a list, behind a generated prelude of constants.
//!
//! Nothing is substituted inside a file. A kernel is specialised by which files are chosen: every part says in its
//! header what it provides and what it expects, and parts that provide the same names can stand for one another.
//! `cargo run --example dump_shaders` writes every composed module for reading.

use crate::device::caps::{Half, Reduce, Variant};
use crate::device::tensor::DType;
use std::fmt;

macro_rules! sources {
    ($($path:literal)*) => {
        /// Every WGSL file of the crate, by its path under `shaders/`.
        pub const FILES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path)))),*];
    };
}

sources! {
    "shared/math.wgsl"
    "shared/params.wgsl"
    "shared/logits_f32.wgsl"
    "shared/logits_f16.wgsl"
    "shared/logits_packed.wgsl"
    "shared/half_f16.wgsl"
    "shared/half_bf16.wgsl"
    "shared/grad_f32.wgsl"
    "shared/grad_f16.wgsl"
    "shared/grad_packed.wgsl"
    "shared/in_place_f32.wgsl"
    "shared/in_place_f16.wgsl"
    "shared/in_place_packed.wgsl"
    "shared/second_none.wgsl"
    "shared/second_f32.wgsl"
    "shared/targets_u8.wgsl"
    "shared/targets_f32.wgsl"
    "shared/targets_f16.wgsl"
    "shared/targets_bf16.wgsl"
    "shared/targets_bits.wgsl"
    "shared/targets_csr.wgsl"
    "shared/sides.wgsl"
    "shared/element.wgsl"
    "shared/lanes_tree.wgsl"
    "shared/lanes_subgroup.wgsl"
    "shared/reduce_tree.wgsl"
    "shared/reduce_subgroup.wgsl"
    "shared/sum.wgsl"
    "shared/sum_shuffle.wgsl"
    "shared/scratch.wgsl"
    "shared/row_alone.wgsl"
    "shared/columns.wgsl"
    "shared/rows.wgsl"
    "shared/rows_tree.wgsl"
    "shared/rows_subgroup.wgsl"
    "shared/finish.wgsl"
    "shared/gather.wgsl"
    "shared/best.wgsl"
    "shared/reals.wgsl"
    "mcm/mcm.wgsl"
    "hcal/none.wgsl"
    "hcal/noise.wgsl"
    "hcal/index.wgsl"
    "hcal/contrast.wgsl"
    "balance/balance.wgsl"
    "zlpr/side.wgsl"
    "zlpr/two_sided.wgsl"
    "zlpr/two_sided_shuffle.wgsl"
    "zlpr/hard.wgsl"
    "zlpr/soft.wgsl"
    "zlpr/row_zlpr.wgsl"
    "zlpr/row_joint.wgsl"
    "zlpr/kl_excess.wgsl"
    "zlpr/kl_excess_shuffle.wgsl"
    "zlpr/kl_symmetric.wgsl"
    "per_label/label.wgsl"
    "per_label/bce.wgsl"
    "per_label/focal.wgsl"
    "per_label/asl.wgsl"
    "per_label/hill.wgsl"
    "per_label/dice.wgsl"
    "per_label/dice_shuffle.wgsl"
    "wdl/spread.wgsl"
    "wdl/planes.wgsl"
    "wdl/distribution.wgsl"
    "wdl/distribution_shuffle.wgsl"
    "wdl/differences.wgsl"
    "wdl/gradient.wgsl"
    "wdl/gradient_shuffle.wgsl"
    "wdl/theta.wgsl"
    "wdl/permutation.wgsl"
    "contrastive/params.wgsl"
    "contrastive/source_f32.wgsl"
    "contrastive/source_packed.wgsl"
    "contrastive/pack.wgsl"
    "contrastive/counts.wgsl"
    "contrastive/block.wgsl"
    "contrastive/sets.wgsl"
    "contrastive/similarity.wgsl"
    "contrastive/weights.wgsl"
    "contrastive/pairs.wgsl"
    "contrastive/slopes.wgsl"
    "contrastive/project.wgsl"
    "contrastive/merge.wgsl"
    "contrastive/relations.wgsl"
}

/// The row losses that share the driver `shared/rows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowLoss {
    /// ZLPR and TLPR with hard labels.
    ZlprHard,
    /// ZLPR with soft labels.
    ZlprSoft,
    /// LSEP and two-way.
    ZlprJoint,
    /// Symmetric KL of two logit vectors.
    KlSymmetric,
    /// Excess risk of one logit vector over another.
    KlExcess,
    /// Binary cross-entropy.
    Bce,
    /// Focal loss.
    Focal,
    /// Asymmetric loss.
    Asl,
    /// Hill loss.
    Hill,
    /// Soft dice.
    Dice,
    /// First stage of WDL: the distributions of a row, and their difference in place of the gradient.
    WdlDistribution,
    /// Last stage of WDL: loss and gradient.
    WdlGradient,
}

/// What a row loss is made of: one row of the kernel table.
pub(crate) struct RowParts {
    name: &'static str,
    /// Its own files.
    files: &'static [&'static str],
    /// How a lane reads another's accumulator.
    shuffle: &'static str,
    /// Whether there is a gradient to the targets (or to the other logits).
    pub(crate) second: bool,
    /// Whether the targets are logits: dense and as wide as the logits' own type.
    pub(crate) targets_are_logits: bool,
    /// Whether the gradient goes nowhere but into a tensor of f32.
    inner: bool,
    /// f32 words of an accumulator and of a row's coefficients, as `ACC_WORDS` and `COEF_WORDS` say in WGSL.
    pub(crate) acc_words: u32,
    pub(crate) coef_words: u32,
}

impl RowLoss {
    /// Every row loss.
    pub const ALL: [RowLoss; 12] = [
        RowLoss::ZlprHard,
        RowLoss::ZlprSoft,
        RowLoss::ZlprJoint,
        RowLoss::KlSymmetric,
        RowLoss::KlExcess,
        RowLoss::Bce,
        RowLoss::Focal,
        RowLoss::Asl,
        RowLoss::Hill,
        RowLoss::Dice,
        RowLoss::WdlDistribution,
        RowLoss::WdlGradient,
    ];

    pub(crate) fn parts(self) -> RowParts {
        let two_sided = RowParts {
            name: "",
            files: &[],
            shuffle: "zlpr/two_sided_shuffle.wgsl",
            second: false,
            targets_are_logits: false,
            inner: false,
            acc_words: 5,
            coef_words: 5,
        };
        let sum = RowParts {
            shuffle: "shared/sum_shuffle.wgsl",
            second: true,
            acc_words: 3,
            coef_words: 2,
            ..two_sided
        };
        match self {
            RowLoss::ZlprHard => RowParts {
                name: "zlpr_hard",
                files: &[
                    "zlpr/side.wgsl",
                    "zlpr/two_sided.wgsl",
                    "zlpr/hard.wgsl",
                    "zlpr/row_zlpr.wgsl",
                ],
                ..two_sided
            },
            RowLoss::ZlprSoft => RowParts {
                name: "zlpr_soft",
                files: &[
                    "zlpr/side.wgsl",
                    "zlpr/two_sided.wgsl",
                    "zlpr/soft.wgsl",
                    "zlpr/row_zlpr.wgsl",
                ],
                second: true,
                ..two_sided
            },
            RowLoss::ZlprJoint => RowParts {
                name: "zlpr_joint",
                files: &[
                    "zlpr/side.wgsl",
                    "zlpr/two_sided.wgsl",
                    "zlpr/hard.wgsl",
                    "zlpr/row_joint.wgsl",
                ],
                ..two_sided
            },
            RowLoss::KlSymmetric => RowParts {
                name: "zlpr_kl_symmetric",
                files: &["shared/sum.wgsl", "zlpr/kl_symmetric.wgsl"],
                targets_are_logits: true,
                ..sum
            },
            RowLoss::KlExcess => RowParts {
                name: "zlpr_kl_excess",
                files: &["zlpr/side.wgsl", "zlpr/kl_excess.wgsl"],
                shuffle: "zlpr/kl_excess_shuffle.wgsl",
                second: true,
                targets_are_logits: true,
                inner: false,
                acc_words: 6,
                coef_words: 6,
            },
            RowLoss::Bce => RowParts {
                name: "bce",
                files: &[
                    "shared/sum.wgsl",
                    "per_label/label.wgsl",
                    "per_label/bce.wgsl",
                ],
                ..sum
            },
            RowLoss::Focal => RowParts {
                name: "focal",
                files: &[
                    "shared/sum.wgsl",
                    "per_label/label.wgsl",
                    "per_label/focal.wgsl",
                ],
                ..sum
            },
            RowLoss::Asl => RowParts {
                name: "asl",
                files: &[
                    "shared/sum.wgsl",
                    "per_label/label.wgsl",
                    "per_label/asl.wgsl",
                ],
                ..sum
            },
            RowLoss::Hill => RowParts {
                name: "hill",
                files: &[
                    "shared/sum.wgsl",
                    "per_label/label.wgsl",
                    "per_label/hill.wgsl",
                ],
                ..sum
            },
            RowLoss::Dice => RowParts {
                name: "dice",
                files: &["per_label/dice.wgsl"],
                shuffle: "per_label/dice_shuffle.wgsl",
                coef_words: 3,
                ..sum
            },
            RowLoss::WdlDistribution => RowParts {
                name: "wdl_distribution",
                files: &[
                    "per_label/label.wgsl",
                    "per_label/bce.wgsl",
                    "wdl/spread.wgsl",
                    "wdl/distribution.wgsl",
                ],
                shuffle: "wdl/distribution_shuffle.wgsl",
                inner: true,
                acc_words: 6,
                coef_words: 7,
                ..two_sided
            },
            RowLoss::WdlGradient => RowParts {
                name: "wdl_gradient",
                files: &[
                    "per_label/label.wgsl",
                    "per_label/bce.wgsl",
                    "wdl/spread.wgsl",
                    "wdl/planes.wgsl",
                    "wdl/gradient.wgsl",
                ],
                shuffle: "wdl/gradient_shuffle.wgsl",
                second: true,
                acc_words: 4,
                coef_words: 4,
                ..two_sided
            },
        }
    }
}

/// How real values are stored in a buffer, as the kernels see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Storage {
    /// f32.
    F32,
    /// f16 as WGSL's own type.
    F16,
    /// f16, two to a word.
    F16Packed,
    /// bf16, two to a word.
    Bf16,
}

/// Where the gradient to the logits goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GradStorage {
    /// Into a tensor of f32 (also where no gradient is wanted).
    F32,
    /// Into a tensor stored like the logits.
    Same,
    /// Over the logits.
    InPlace,
}

/// How targets are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetStorage {
    /// Bytes.
    U8,
    /// f32.
    F32,
    /// f16, read two to a word.
    F16,
    /// bf16, two to a word.
    Bf16,
    /// Packed bits.
    Bits,
    /// Offsets and indices of the positives.
    Csr,
}

/// What a module computes, before the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Program {
    /// A row loss over given storage.
    Rows {
        /// The loss.
        loss: RowLoss,
        /// Storage of the logits.
        logits: Storage,
        /// Storage of the targets.
        targets: TargetStorage,
        /// Storage of the gradient.
        grad: GradStorage,
    },
    /// Sums and copies from scratch to the caller's tensors.
    Finish,
    /// Copies of side tensors into scratch.
    Gather,
    /// Middle stage of WDL: the differences between labels.
    WdlDifferences,
    /// Learnable weights of WDL, and the gradient to what they are made of.
    WdlTheta,
    /// Seeded permutations of the labels.
    Permutation,
    /// The max constraint module.
    Mcm,
    /// HCAL: which samples share a class, and what breaks the hierarchy.
    HcalIndex,
    /// HCAL: vectors against prototypes.
    Hcal,
    /// Weights of several losses.
    Balance,
    /// A part of the contrastive losses.
    Contrastive(ContrastivePart),
}

/// The modules of the contrastive losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContrastivePart {
    /// Rows of f32 and label sets in the form in which pairs are looked at.
    PackF32,
    /// The same of f16.
    PackF16,
    /// The same of bf16.
    PackBf16,
    /// Keys with each label.
    Counts,
    /// Sums over the keys of each anchor.
    Pairs,
    /// The gradient to the products, and its product with the rows.
    Slopes,
    /// From the sums to the loss, and the gradient to the rows as they were given.
    Ends,
    /// Counts of the relations of label sets.
    Relations,
}

impl ContrastivePart {
    /// Every part.
    pub const ALL: [ContrastivePart; 8] = [
        ContrastivePart::PackF32,
        ContrastivePart::PackF16,
        ContrastivePart::PackBf16,
        ContrastivePart::Counts,
        ContrastivePart::Pairs,
        ContrastivePart::Slopes,
        ContrastivePart::Ends,
        ContrastivePart::Relations,
    ];

    fn entries(self) -> &'static [&'static str] {
        match self {
            ContrastivePart::PackF32 | ContrastivePart::PackF16 | ContrastivePart::PackBf16 => {
                &["pack"]
            }
            ContrastivePart::Counts => &["count_labels", "leave_out"],
            ContrastivePart::Pairs => &["pairs"],
            ContrastivePart::Slopes => &["slopes", "spread"],
            ContrastivePart::Ends => &["project", "merge", "total"],
            ContrastivePart::Relations => &["relations"],
        }
    }

    fn files(self) -> Vec<&'static str> {
        const PAIR: [&str; 4] = [
            "contrastive/block.wgsl",
            "contrastive/sets.wgsl",
            "contrastive/similarity.wgsl",
            "contrastive/weights.wgsl",
        ];
        const PACK: [&str; 3] = [
            "shared/math.wgsl",
            "shared/lanes_tree.wgsl",
            "contrastive/pack.wgsl",
        ];
        const PACKED: &str = "contrastive/source_packed.wgsl";
        let (shared, own): (&[&str], &[&str]) = match self {
            ContrastivePart::PackF32 => (&PACK, &["contrastive/source_f32.wgsl"]),
            ContrastivePart::PackF16 => (&PACK, &["shared/half_f16.wgsl", PACKED]),
            ContrastivePart::PackBf16 => (&PACK, &["shared/half_bf16.wgsl", PACKED]),
            ContrastivePart::Counts => (&[], &["contrastive/counts.wgsl"]),
            ContrastivePart::Pairs => (&PAIR, &["contrastive/pairs.wgsl"]),
            ContrastivePart::Slopes => (&PAIR, &["contrastive/slopes.wgsl"]),
            ContrastivePart::Ends => (
                &["shared/lanes_tree.wgsl"],
                &["contrastive/project.wgsl", "contrastive/merge.wgsl"],
            ),
            ContrastivePart::Relations => (&[], &["contrastive/relations.wgsl"]),
        };
        [&["contrastive/params.wgsl"], shared, own].concat()
    }
}

/// Lanes along the rows and along the columns of a block of pairs.
pub(crate) fn block_lanes(workgroup: u32) -> (u32, u32) {
    let rows = 1 << (workgroup.ilog2() / 2);
    (rows, workgroup / rows)
}

/// One WGSL module: program, reduction and workgroup size. Everything that its text depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Module {
    /// What it computes.
    pub program: Program,
    /// How lanes reduce.
    pub reduce: Reduce,
    /// Lanes of a workgroup.
    pub workgroup: u32,
}

/// One kernel: a module and an entry point of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kernel {
    /// The module.
    pub module: Module,
    /// The entry point.
    pub entry: &'static str,
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.program {
            Program::Rows {
                loss,
                logits,
                targets,
                grad,
            } => write!(
                f,
                "{}_{}_{}_{}",
                loss.parts().name,
                name_of(logits),
                name_of(targets),
                name_of(grad)
            )?,
            Program::Finish => f.write_str("finish")?,
            Program::Gather => f.write_str("gather")?,
            Program::WdlDifferences => f.write_str("wdl_differences")?,
            Program::WdlTheta => f.write_str("wdl_theta")?,
            Program::Permutation => f.write_str("permutation")?,
            Program::Mcm => f.write_str("mcm")?,
            Program::HcalIndex => f.write_str("hcal_index")?,
            Program::Hcal => f.write_str("hcal")?,
            Program::Balance => f.write_str("balance")?,
            Program::Contrastive(part) => write!(f, "contrastive_{}", name_of(part))?,
        }
        write!(f, "_{}_{}", name_of(self.reduce), self.workgroup)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.entry)
    }
}

fn name_of(choice: impl fmt::Debug) -> String {
    format!("{choice:?}").to_lowercase()
}

/// Logits that a workgroup keeps between the sweeps of a row.
pub(crate) fn cache_words(workgroup: u32) -> u32 {
    workgroup.max(1536)
}

/// Words of label bits that a workgroup stages of sparse targets.
pub(crate) fn bit_words(workgroup: u32) -> u32 {
    workgroup.max(512)
}

/// The most workgroup memory, in bytes, that a row kernel of this variant uses: cache, label bits, accumulators, sums.
pub(crate) fn workgroup_bytes(variant: Variant) -> u32 {
    let wg = variant.workgroup;
    let entries = match variant.reduce {
        Reduce::Tree => wg,
        Reduce::Subgroup => wg.div_ceil(4),
    };
    let acc = RowLoss::ALL
        .iter()
        .map(|loss| loss.parts())
        .map(|parts| 4 * (entries * parts.acc_words) + 4 * bits_of(&parts, wg))
        .max()
        .unwrap_or(0);
    let rows = 4 * cache_words(wg) + acc + 8 * entries;
    // Blocks of pairs: 16 steps of both sides, and a vector for each lane.
    let (row_lanes, col_lanes) = block_lanes(wg);
    let pairs = 16 * (16 * (row_lanes + col_lanes) + wg);
    rows.max(pairs)
}

fn bits_of(parts: &RowParts, workgroup: u32) -> u32 {
    if parts.targets_are_logits {
        0
    } else {
        bit_words(workgroup)
    }
}

impl Module {
    /// The entry points.
    pub fn entries(&self) -> &'static [&'static str] {
        match self.program {
            Program::Rows { .. } => &["rows", "partial", "combine", "gradient", "columns"],
            Program::Finish => &["finish"],
            Program::Gather => &["gather"],
            Program::WdlDifferences => &["adjacent", "squares", "sweep", "columns"],
            Program::WdlTheta => &["weights", "theta"],
            Program::Permutation => &["permutation", "advance"],
            Program::Mcm => &["small", "large", "rows", "gradient", "total"],
            Program::HcalIndex => &["members", "children", "violations", "advance"],
            Program::Hcal => &[
                "feature_lengths",
                "prototype_lengths",
                "means",
                "product",
                "sum_chunks",
                "softmax",
                "argmax",
                "level_losses",
                "spread",
                "collect",
                "finish_features",
                "finish_prototypes",
            ],
            Program::Balance => &["balance"],
            Program::Contrastive(part) => part.entries(),
        }
    }

    /// The files the module consists of, in order.
    pub fn files(&self) -> Vec<&'static str> {
        let (lanes, reduce, entries) = match self.reduce {
            Reduce::Tree => (
                "shared/lanes_tree.wgsl",
                "shared/reduce_tree.wgsl",
                "shared/rows_tree.wgsl",
            ),
            Reduce::Subgroup => (
                "shared/lanes_subgroup.wgsl",
                "shared/reduce_subgroup.wgsl",
                "shared/rows_subgroup.wgsl",
            ),
        };
        match self.program {
            Program::Gather => vec!["shared/gather.wgsl"],
            Program::Finish => vec!["shared/lanes_tree.wgsl", "shared/finish.wgsl"],
            Program::WdlDifferences => vec![
                "shared/math.wgsl",
                "shared/params.wgsl",
                "shared/scratch.wgsl",
                "shared/sides.wgsl",
                "shared/lanes_tree.wgsl",
                "wdl/spread.wgsl",
                "wdl/planes.wgsl",
                "shared/columns.wgsl",
                "wdl/differences.wgsl",
            ],
            Program::WdlTheta => vec![
                "shared/math.wgsl",
                "shared/lanes_tree.wgsl",
                "wdl/theta.wgsl",
            ],
            Program::Permutation => vec!["wdl/permutation.wgsl"],
            Program::Mcm => vec![
                "shared/math.wgsl",
                "shared/lanes_tree.wgsl",
                "shared/best.wgsl",
                "shared/reals.wgsl",
                "mcm/mcm.wgsl",
            ],
            Program::HcalIndex => vec!["hcal/none.wgsl", "hcal/index.wgsl"],
            Program::Hcal => vec![
                "shared/math.wgsl",
                "shared/lanes_tree.wgsl",
                "shared/best.wgsl",
                "shared/reals.wgsl",
                "hcal/none.wgsl",
                "hcal/noise.wgsl",
                "hcal/contrast.wgsl",
            ],
            Program::Balance => vec![
                "shared/math.wgsl",
                "hcal/noise.wgsl",
                "balance/balance.wgsl",
            ],
            Program::Contrastive(part) => part.files(),
            Program::Rows {
                loss,
                logits,
                targets,
                grad,
            } => {
                let parts = loss.parts();
                let mut files = vec![
                    "shared/math.wgsl",
                    "shared/params.wgsl",
                    "shared/scratch.wgsl",
                    "shared/sides.wgsl",
                ];
                match logits {
                    Storage::F16Packed => files.push("shared/half_f16.wgsl"),
                    Storage::Bf16 => files.push("shared/half_bf16.wgsl"),
                    Storage::F32 | Storage::F16 => {}
                }
                match (grad, logits) {
                    (GradStorage::InPlace, Storage::F32) => files.push("shared/in_place_f32.wgsl"),
                    (GradStorage::InPlace, Storage::F16) => files.push("shared/in_place_f16.wgsl"),
                    (GradStorage::InPlace, _) => files.push("shared/in_place_packed.wgsl"),
                    (GradStorage::F32 | GradStorage::Same, _) => {
                        files.push(match logits {
                            Storage::F32 => "shared/logits_f32.wgsl",
                            Storage::F16 => "shared/logits_f16.wgsl",
                            Storage::F16Packed | Storage::Bf16 => "shared/logits_packed.wgsl",
                        });
                        files.push(match (grad, logits) {
                            (GradStorage::F32, _) | (_, Storage::F32) => "shared/grad_f32.wgsl",
                            (_, Storage::F16) => "shared/grad_f16.wgsl",
                            (_, _) => "shared/grad_packed.wgsl",
                        });
                    }
                }
                files.push(match targets {
                    TargetStorage::U8 => "shared/targets_u8.wgsl",
                    TargetStorage::F32 => "shared/targets_f32.wgsl",
                    TargetStorage::F16 => "shared/targets_f16.wgsl",
                    TargetStorage::Bf16 => "shared/targets_bf16.wgsl",
                    TargetStorage::Bits => "shared/targets_bits.wgsl",
                    TargetStorage::Csr => "shared/targets_csr.wgsl",
                });
                files.push(if parts.second && targets != TargetStorage::Csr {
                    "shared/second_f32.wgsl"
                } else {
                    "shared/second_none.wgsl"
                });
                files.extend(["shared/element.wgsl", lanes, reduce]);
                if self.reduce == Reduce::Subgroup {
                    files.push(parts.shuffle);
                }
                files.extend(parts.files);
                if loss != RowLoss::WdlGradient {
                    files.push("shared/row_alone.wgsl");
                }
                files.extend(["shared/columns.wgsl", "shared/rows.wgsl", entries]);
                files
            }
        }
    }

    /// Whether the module needs the device feature `SHADER_F16`.
    pub fn needs_f16(&self) -> bool {
        matches!(
            self.program,
            Program::Rows {
                logits: Storage::F16,
                ..
            }
        )
    }

    /// Whether the module needs the device feature `SUBGROUP`.
    pub fn needs_subgroup(&self) -> bool {
        self.reduce == Reduce::Subgroup && matches!(self.program, Program::Rows { .. })
    }

    /// The module's WGSL: directives, constants, then its files, each behind a line with its name.
    pub fn compose(&self) -> String {
        let mut text = format!("// {self}\n");
        if self.needs_f16() {
            text.push_str("enable f16;\n");
        }
        // naga has the subgroup functions without the directive and refuses it; browsers demand it.
        if self.needs_subgroup() && cfg!(target_arch = "wasm32") {
            text.push_str("enable subgroups;\n");
        }
        let wg = self.workgroup;
        text.push_str(&format!(
            "const WG = {wg}u;\nconst CACHE = {}u;\nconst BIT_WORDS = {}u;\n",
            cache_words(wg),
            bit_words(wg)
        ));
        if let Program::Contrastive(_) = self.program {
            let (rows, cols) = block_lanes(wg);
            text.push_str(&format!(
                "const ROW_LANES = {rows}u;\nconst COL_LANES = {cols}u;\n"
            ));
        }
        for name in self.files() {
            let source = FILES.iter().find(|(path, _)| *path == name);
            text.push_str(&format!(
                "\n// ---- {name}\n{}",
                source.map_or("", |(_, source)| source)
            ));
        }
        text
    }

    /// Every module that a device with all features could be asked for, at one workgroup size.
    pub fn all(workgroup: u32) -> Vec<Module> {
        let mut programs = vec![
            Program::Finish,
            Program::Gather,
            Program::WdlDifferences,
            Program::WdlTheta,
            Program::Permutation,
            Program::Mcm,
            Program::HcalIndex,
            Program::Hcal,
            Program::Balance,
        ];
        programs.extend(ContrastivePart::ALL.map(Program::Contrastive));
        for loss in RowLoss::ALL {
            for logits in [
                Storage::F32,
                Storage::F16,
                Storage::F16Packed,
                Storage::Bf16,
            ] {
                for targets in targets_for(loss, logits) {
                    for grad in [GradStorage::F32, GradStorage::Same, GradStorage::InPlace] {
                        // f32 logits: the same as `F32`.
                        let same = (logits, grad) == (Storage::F32, GradStorage::Same);
                        if !same && (grad == GradStorage::F32 || !loss.parts().inner) {
                            programs.push(Program::Rows {
                                loss,
                                logits,
                                targets,
                                grad,
                            });
                        }
                    }
                }
            }
        }
        let mut all = Vec::new();
        for program in programs {
            for reduce in [Reduce::Tree, Reduce::Subgroup] {
                // Copies and last sums have one form.
                if reduce == Reduce::Subgroup && !matches!(program, Program::Rows { .. }) {
                    continue;
                }
                all.push(Module {
                    program,
                    reduce,
                    workgroup,
                });
            }
        }
        all
    }
}

/// The target storages a loss takes beside logits of a storage.
fn targets_for(loss: RowLoss, logits: Storage) -> Vec<TargetStorage> {
    if loss.parts().targets_are_logits {
        return vec![match logits {
            Storage::F32 => TargetStorage::F32,
            Storage::F16 | Storage::F16Packed => TargetStorage::F16,
            Storage::Bf16 => TargetStorage::Bf16,
        }];
    }
    vec![
        TargetStorage::U8,
        TargetStorage::F32,
        TargetStorage::F16,
        TargetStorage::Bf16,
        TargetStorage::Bits,
        TargetStorage::Csr,
    ]
}

impl Storage {
    /// How logits of an element type are stored under a variant; `None` for a type that is not real.
    pub(crate) fn of(dtype: DType, half: Half) -> Option<Storage> {
        match (dtype, half) {
            (DType::F32, _) => Some(Storage::F32),
            (DType::F16, Half::Native) => Some(Storage::F16),
            (DType::F16, Half::Packed) => Some(Storage::F16Packed),
            (DType::Bf16, _) => Some(Storage::Bf16),
            (DType::U8 | DType::U32, _) => None,
        }
    }

    /// Gradient elements in one storage word, as PACK says in WGSL.
    pub(crate) fn pack(self) -> u32 {
        match self {
            Storage::F32 | Storage::F16 => 1,
            Storage::F16Packed | Storage::Bf16 => 2,
        }
    }
}
