//! What a device allows, and which form of the kernels is used on it.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::str::FromStr;

/// How the lanes of a workgroup bring their parts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reduce {
    /// By a tree in workgroup memory; every device can.
    Tree,
    /// By subgroup shuffles; needs the device feature `SUBGROUP`.
    Subgroup,
}

/// How f16 tensors are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Half {
    /// Two to a 32-bit word; every device can.
    Packed,
    /// As `f16` of WGSL; needs the device feature `SHADER_F16`.
    Native,
}

/// The workgroup sizes there are kernels for.
const WORKGROUPS: [u32; 6] = [32, 64, 128, 256, 512, 1024];

/// One form of the kernels. All give the same results within rounding.
///
/// Written and parsed as for example `tree-64-packed` or `subgroup-256-native-cooperative`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variant {
    /// How lanes reduce.
    pub reduce: Reduce,
    /// Lanes of a workgroup: a power of two from 32 to 1024.
    pub workgroup: u32,
    /// How f16 is stored.
    pub half: Half,
    /// Whether contrastive losses multiply matrices of 16-bit embeddings by cooperative matrices, and last layers those of
    /// 16-bit hidden states and weights; needs
    /// [`Context::with_cooperative_matrices`](crate::Context::with_cooperative_matrices). Everything else is as without.
    pub cooperative: bool,
}

impl Reduce {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reduce::Tree => "tree",
            Reduce::Subgroup => "subgroup",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reduce = self.reduce.name();
        let half = match self.half {
            Half::Packed => "packed",
            Half::Native => "native",
        };
        let cooperative = match self.cooperative {
            true => "-cooperative",
            false => "",
        };
        write!(f, "{reduce}-{}-{half}{cooperative}", self.workgroup)
    }
}

impl FromStr for Variant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::value(
                "variant",
                "(tree|subgroup)-(32..1024)-(packed|native)[-cooperative], such as tree-64-packed",
                format!("{text:?}"),
            )
        };
        let mut words = text.split('-');
        let reduce = match words.next() {
            Some("tree") => Reduce::Tree,
            Some("subgroup") => Reduce::Subgroup,
            _ => return Err(bad()),
        };
        let workgroup = words
            .next()
            .and_then(|w| WORKGROUPS.into_iter().find(|size| size.to_string() == w))
            .ok_or_else(bad)?;
        let half = match words.next() {
            Some("packed") => Half::Packed,
            Some("native") => Half::Native,
            _ => return Err(bad()),
        };
        let cooperative = match words.next() {
            None => false,
            Some("cooperative") => true,
            Some(_) => return Err(bad()),
        };
        if words.next().is_some() {
            return Err(bad());
        }
        Ok(Variant {
            reduce,
            workgroup,
            half,
            cooperative,
        })
    }
}

/// What of a device matters to the kernels. Read from the caller's `wgpu::Device`; nothing is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caps {
    /// Feature `SHADER_F16`.
    pub f16: bool,
    /// Feature `SUBGROUP` with subgroups of 4 lanes or more.
    pub subgroup: bool,
    /// Fewest lanes of a subgroup; 0 without subgroups.
    pub subgroup_size: u32,
    /// Rows and columns of the matrices of f16 that subgroups multiply into f32, 8 or 16; 0 without them, or where nobody
    /// has said what the adapter offers ([`Context::with_cooperative_matrices`](crate::Context::with_cooperative_matrices)).
    pub cooperative: u32,
    /// Whether the adapter is a CPU: small workgroups are faster there.
    pub cpu: bool,
    /// Most bytes one storage binding may reach.
    pub max_binding: u64,
    /// Most bytes a buffer may have.
    pub max_buffer: u64,
    /// Alignment of a storage binding's offset.
    pub storage_align: u64,
    /// Alignment of a uniform binding's offset.
    pub uniform_align: u64,
    /// Upper bound on the workgroups per dimension of a dispatch.
    pub max_groups: u32,
    /// Most lanes of a workgroup.
    pub max_workgroup: u32,
    /// Most bytes of workgroup memory.
    pub max_workgroup_bytes: u32,
}

impl Caps {
    /// The capabilities of a device.
    pub fn of(device: &wgpu::Device) -> Self {
        let features = device.features();
        let limits = device.limits();
        let info = device.adapter_info();
        let subgroup = features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size >= 4;
        Caps {
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroup,
            subgroup_size: if subgroup { info.subgroup_min_size } else { 0 },
            cooperative: 0,
            cpu: info.device_type == wgpu::DeviceType::Cpu,
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            storage_align: u64::from(limits.min_storage_buffer_offset_alignment),
            uniform_align: u64::from(limits.min_uniform_buffer_offset_alignment),
            max_groups: limits.max_compute_workgroups_per_dimension,
            max_workgroup: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        }
    }

    /// The features that a device needs for cooperative matrices, beside what its adapter offers.
    pub(crate) const COOPERATIVE_FEATURES: wgpu::Features =
        wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
            .union(wgpu::Features::SHADER_F16)
            .union(wgpu::Features::SUBGROUP);

    /// Rows and columns of the largest matrices of f16 that an adapter multiplies into f32, of those there are kernels for:
    /// in subgroups of one size, of the fewest to the most lanes, since workgroups are laid out for it.
    pub(crate) fn cooperative_side(
        (least, most): (u32, u32),
        offered: &[wgpu::CooperativeMatrixProperties],
    ) -> Option<u32> {
        let of_side = |side: &u32| {
            offered.iter().any(|matrices| {
                [matrices.m_size, matrices.n_size, matrices.k_size] == [*side; 3]
                    && matrices.ab_type == wgpu::CooperativeScalarType::F16
                    && matrices.cr_type == wgpu::CooperativeScalarType::F32
            })
        };
        let one_size = least == most && least >= 8;
        [16, 8].into_iter().find(of_side).filter(|_| one_size)
    }

    /// How cooperative matrices are laid out in workgroups of this device.
    pub(crate) fn teams(&self) -> Teams {
        Teams::new(self.cooperative, self.subgroup_size)
    }

    /// The same device with cooperative matrices.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where it lacks something for them.
    pub(crate) fn with_cooperative(
        &self,
        device: &wgpu::Device,
        offered: &[wgpu::CooperativeMatrixProperties],
    ) -> Result<Self, Error> {
        let lacks = |expected: String, found: String| {
            Err(Error::new(
                ErrorKind::Unsupported,
                "cooperative matrices",
                expected,
                found,
            ))
        };
        let missing = Caps::COOPERATIVE_FEATURES - device.features();
        if !missing.is_empty() {
            return lacks(
                format!("a device with {}", Caps::COOPERATIVE_FEATURES),
                format!("none of {missing}"),
            );
        }
        let info = device.adapter_info();
        let (least, most) = (info.subgroup_min_size, info.subgroup_max_size);
        let Some(cooperative) = Caps::cooperative_side((least, most), offered) else {
            return lacks(
                "16x16x16 or 8x8x8 of f16 into f32, in subgroups of one size of at least 8 lanes"
                    .into(),
                format!("subgroups of {least} to {most} lanes and {offered:?}"),
            );
        };
        let caps = Caps {
            cooperative,
            ..*self
        };
        let (lanes, bytes) = (caps.teams().workgroup(), caps.teams().bytes());
        if lanes > caps.max_workgroup || bytes > caps.max_workgroup_bytes {
            return lacks(
                format!("workgroups of {lanes} lanes with {bytes} bytes"),
                format!(
                    "at most {} and {}",
                    caps.max_workgroup, caps.max_workgroup_bytes
                ),
            );
        }
        Ok(caps)
    }

    /// What WebGPU guarantees on any GPU.
    pub const fn webgpu() -> Self {
        Caps {
            f16: false,
            subgroup: false,
            subgroup_size: 0,
            cooperative: 0,
            cpu: false,
            max_binding: 128 << 20,
            max_buffer: 256 << 20,
            storage_align: 256,
            uniform_align: 256,
            max_groups: 65_535,
            max_workgroup: 256,
            max_workgroup_bytes: 16_384,
        }
    }

    /// The variant used unless the caller forces one.
    pub fn default_variant(&self) -> Variant {
        let wanted = if self.cpu { 64 } else { 256 };
        Variant {
            reduce: if self.subgroup {
                Reduce::Subgroup
            } else {
                Reduce::Tree
            },
            // A device may offer any limit; the largest power of two within it.
            workgroup: wanted.min(1 << self.max_workgroup.max(1).ilog2()).max(32),
            half: if self.f16 { Half::Native } else { Half::Packed },
            cooperative: false,
        }
    }

    /// The variant of [`default_variant`](Caps::default_variant), with cooperative matrices.
    pub fn cooperative_variant(&self) -> Variant {
        Variant {
            cooperative: true,
            ..self.default_variant()
        }
    }

    /// Every variant this device allows, over workgroups of 64, 128, 256 and more lanes; of those with cooperative
    /// matrices [the one](Caps::cooperative_variant), last.
    pub fn variants(&self) -> Vec<Variant> {
        let mut all = Vec::new();
        for reduce in [Reduce::Tree, Reduce::Subgroup] {
            for workgroup in [64, 128, 256, 512, 1024] {
                for half in [Half::Packed, Half::Native] {
                    let variant = Variant {
                        reduce,
                        workgroup,
                        half,
                        cooperative: false,
                    };
                    if self.check(variant).is_ok() {
                        all.push(variant);
                    }
                }
            }
        }
        let cooperative = self.cooperative_variant();
        if self.check(cooperative).is_ok() {
            all.push(cooperative);
        }
        all
    }

    /// Whether the device allows a variant, and what it lacks if not.
    pub fn check(&self, variant: Variant) -> Result<(), Error> {
        let lacks = |expected: String, found: String| {
            Err(Error::new(
                ErrorKind::Unsupported,
                format!("variant {variant}"),
                expected,
                found,
            ))
        };
        if !WORKGROUPS.contains(&variant.workgroup) {
            return Err(Error::value(
                "variant",
                "a workgroup of 32, 64, 128, 256, 512 or 1024 lanes",
                variant.workgroup,
            ));
        }
        if variant.half == Half::Native && !self.f16 {
            return lacks("a device with SHADER_F16".into(), "none".into());
        }
        if variant.reduce == Reduce::Subgroup && !self.subgroup {
            return lacks("a device with SUBGROUP".into(), "none".into());
        }
        if variant.cooperative && self.cooperative == 0 {
            return lacks(
                "a context that knows of cooperative matrices".into(),
                "none".into(),
            );
        }
        if variant.workgroup > self.max_workgroup {
            return lacks(
                format!("workgroups of {} lanes", variant.workgroup),
                format!("at most {}", self.max_workgroup),
            );
        }
        let bytes = workgroup_bytes(variant);
        if bytes > self.max_workgroup_bytes {
            return lacks(
                format!("{bytes} bytes of workgroup memory"),
                format!("at most {}", self.max_workgroup_bytes),
            );
        }
        Ok(())
    }
}

/// Logits that a workgroup keeps between the sweeps of a row.
pub(crate) fn cache_words(workgroup: u32) -> u32 {
    workgroup.max(1536)
}

/// Words of label bits that a workgroup stages of sparse targets.
pub(crate) fn bit_words(workgroup: u32) -> u32 {
    workgroup.max(512)
}

/// Lanes along the rows and along the columns where a workgroup is a block.
pub(crate) fn block_lanes(workgroup: u32) -> (u32, u32) {
    let rows = 1 << (workgroup.ilog2() / 2);
    (rows, workgroup / rows)
}

/// How cooperative matrices are laid out in a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Teams {
    /// Rows and columns of a matrix.
    pub(crate) side: u32,
    /// Lanes of a subgroup.
    pub(crate) lanes: u32,
    /// Subgroups along the rows and along the columns, each of which has four by four matrices.
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    /// Steps of the inner dimension that are staged at a time, a multiple of the side.
    pub(crate) depth: u32,
}

impl Teams {
    /// For matrices of a side. Four subgroups: with sides of 16 all that 16 KiB of workgroup memory have room for.
    pub(crate) const fn new(side: u32, lanes: u32) -> Self {
        Teams {
            side,
            lanes,
            rows: 2,
            cols: 2,
            depth: side,
        }
    }

    /// Lanes of a workgroup.
    pub(crate) const fn workgroup(self) -> u32 {
        self.rows * self.cols * self.lanes
    }

    /// Rows and columns of the products that a workgroup has.
    pub(crate) const fn block(self) -> (u32, u32) {
        (4 * self.side * self.rows, 4 * self.side * self.cols)
    }

    /// Bytes of workgroup memory: staged rows and columns, each 16 bytes longer than it is, and a matrix of each subgroup.
    pub(crate) const fn bytes(self) -> u32 {
        let (rows, cols) = self.block();
        (rows + cols) * (2 * self.depth + 16) + 4 * self.rows * self.cols * self.side * self.side
    }
}

/// Words of the largest accumulator of a lane.
const ACC_WORDS: u32 = 6;

/// The most workgroup memory, in bytes, that a kernel of this variant uses; tests compare it with every module.
fn workgroup_bytes(variant: Variant) -> u32 {
    let wg = variant.workgroup;
    let entries = match variant.reduce {
        Reduce::Tree => wg,
        Reduce::Subgroup => wg.div_ceil(4),
    };
    // Rows: logits, label bits, accumulators, two sums.
    let rows = 4 * (cache_words(wg) + bit_words(wg) + entries * (ACC_WORDS + 2));
    // Blocks of pairs: 16 steps of eight rows and eight columns a lane.
    let (row_lanes, col_lanes) = block_lanes(wg);
    let pairs = 16 * 16 * 2 * (row_lanes + col_lanes);
    rows.max(pairs)
}

#[cfg(test)]
mod tests {
    use super::{Caps, Teams};
    use wgpu::CooperativeScalarType::{F16, F32};

    #[test]
    fn cooperative_matrices_are_taken_where_lanes_and_types_fit() {
        let of = |side, k, ab_type, cr_type| wgpu::CooperativeMatrixProperties {
            m_size: side,
            n_size: side,
            k_size: k,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        };
        let (small, large) = (of(8, 8, F16, F32), of(16, 16, F16, F32));
        let others = [
            of(16, 16, F16, F16),
            of(8, 8, F32, F32),
            of(16, 8, F16, F32),
        ];
        let side = Caps::cooperative_side;
        assert_eq!(side((32, 32), &[small, large]), Some(16));
        assert_eq!(side((8, 8), &[small, others[0]]), Some(8));
        assert_eq!(side((32, 32), &others), None);
        assert_eq!(side((32, 32), &[]), None);
        // Lanes are laid out for subgroups of one size.
        assert_eq!(side((32, 64), &[large]), None);
        assert_eq!(side((4, 4), &[small]), None);
    }

    #[test]
    fn cooperative_matrices_fit_what_webgpu_guarantees() {
        let guaranteed = Caps::webgpu();
        for (teams, lanes, bytes) in [
            (Teams::new(16, 32), 128, 16_384),
            (Teams::new(8, 8), 32, 5_120),
        ] {
            assert_eq!((teams.workgroup(), teams.bytes()), (lanes, bytes));
            assert!(lanes <= guaranteed.max_workgroup && bytes <= guaranteed.max_workgroup_bytes);
            assert_eq!(teams.depth % teams.side, 0);
        }
    }
}
