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
/// Written and parsed as for example `tree-64-packed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variant {
    /// How lanes reduce.
    pub reduce: Reduce,
    /// Lanes of a workgroup: a power of two from 32 to 1024.
    pub workgroup: u32,
    /// How f16 is stored.
    pub half: Half,
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
        write!(f, "{reduce}-{}-{half}", self.workgroup)
    }
}

impl FromStr for Variant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::value(
                "variant",
                "(tree|subgroup)-(32..1024)-(packed|native), such as tree-64-packed",
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
        if words.next().is_some() {
            return Err(bad());
        }
        Ok(Variant {
            reduce,
            workgroup,
            half,
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

    /// What WebGPU guarantees on any GPU.
    pub const fn webgpu() -> Self {
        Caps {
            f16: false,
            subgroup: false,
            subgroup_size: 0,
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
        }
    }

    /// Every variant this device allows, over workgroups of 64, 128, 256 and more lanes.
    pub fn variants(&self) -> Vec<Variant> {
        let mut all = Vec::new();
        for reduce in [Reduce::Tree, Reduce::Subgroup] {
            for workgroup in [64, 128, 256, 512, 1024] {
                for half in [Half::Packed, Half::Native] {
                    let variant = Variant {
                        reduce,
                        workgroup,
                        half,
                    };
                    if self.check(variant).is_ok() {
                        all.push(variant);
                    }
                }
            }
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
