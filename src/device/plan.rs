//! What a call will do, as plain data: regions of scratch, what bindings reach, dispatches. Planners work with this alone
//! and make nothing on the device.

use crate::device::caps::{Caps, Variant};
use crate::device::live::{CHANGES, Field, Given, LIVE, SOURCE, WRITTEN, Writes};
use crate::device::module::{Kernel, Module};
use crate::device::tensor::{Memory, Tensor};
use crate::error::{Error, ErrorKind};
use std::any::TypeId;

/// Storage bindings of every kernel, beside the uniform binding 0.
pub(crate) const STORAGE_BINDINGS: usize = 7;
/// Marks an absent scratch region or optional tensor.
pub(crate) const ABSENT: u32 = u32::MAX;
/// Regions of scratch begin at multiples of this many words: 256 bytes, which every device can bind at.
pub(crate) const REGION_WORDS: u64 = 64;

/// Most work of one dispatch, in multiplications of two numbers and additions of the product: drivers kill dispatches
/// that run for seconds. A software driver with two cores takes a second for it, a small GPU some ten milliseconds.
const DISPATCH_WORK: u64 = 1 << 33;

/// Of how many equal parts, of such work each, one dispatch may consist; at least of one.
pub(crate) fn parts_per_dispatch(work: u64) -> usize {
    usize::try_from((DISPATCH_WORK / work.max(1)).max(1)).unwrap_or(usize::MAX)
}

/// One dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The kernel.
    pub kernel: Kernel,
    /// Workgroups in x, y and z.
    pub groups: [u32; 3],
}

/// The dispatches of a call in order, and the memory it keeps for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The dispatches.
    pub steps: Vec<Step>,
    /// Bytes of scratch on the device.
    pub scratch_bytes: u64,
    /// Windows of rows: 1 unless a tensor is larger than one storage binding.
    pub windows: usize,
    /// Bytes that the call has to move between memory and the device's cores, by formula: what it reads, once for each
    /// sweep over it, and what it writes. Scratch that is small beside the tensors is left out.
    pub bytes: u64,
}

/// What a planner plans for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'c> {
    pub(crate) caps: &'c Caps,
    pub(crate) variant: Variant,
}

/// The memory that one storage binding of a step points at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Bind<'a> {
    /// No tensor; a piece of a private buffer stands in.
    #[default]
    Nothing,
    /// Bytes of one of the caller's buffers.
    Buffer {
        buffer: &'a wgpu::Buffer,
        start: u64,
        size: u64,
    },
    /// Bytes of the call's scratch.
    Scratch { start: u64, size: u64 },
    /// The parameters that steps write over.
    Live,
}

/// Bindings 1 to 7 of a step.
pub(crate) type Binds<'a> = [Bind<'a>; STORAGE_BINDINGS];

impl<'a> Bind<'a> {
    /// The binding that reaches bytes `first..end` of a memory, and where in it they begin.
    pub(crate) fn bytes(memory: Memory<'a>, first: u64, end: u64, align: u64) -> (Bind<'a>, u64) {
        if end == first {
            return (Bind::Nothing, 0);
        }
        let start = first - first % align;
        let size = vector_end(memory, end) - start;
        let bind = match memory {
            Memory::Buffer(buffer) => Bind::Buffer {
                buffer,
                start,
                size,
            },
            Memory::Scratch => Bind::Scratch { start, size },
        };
        (bind, first - start)
    }

    /// Words of the scratch.
    pub(crate) fn scratch(first_word: u64, words: u64) -> Bind<'a> {
        match words {
            0 => Bind::Nothing,
            words => Bind::Scratch {
                start: 4 * first_word,
                size: 4 * words,
            },
        }
    }
}

/// Where a binding ends that reaches byte `end` of a memory: with a whole vector of 16 bytes if the buffer does, since an
/// array of vectors would not reach the last bytes else; at least with a whole word. Browsers refuse a range that reaches
/// into another tensor's, so there it ends with the word.
pub(crate) fn vector_end(memory: Memory<'_>, end: u64) -> u64 {
    let size = match memory {
        Memory::Buffer(buffer) => buffer.size(),
        // A region ends with whole vectors.
        Memory::Scratch => u64::MAX,
    };
    match end.next_multiple_of(16) {
        whole if whole <= size && !cfg!(target_arch = "wasm32") => whole,
        _ => end.next_multiple_of(4),
    }
}

/// Declares the storage bindings of a program: a field for each, with its number.
macro_rules! bindings {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($at:literal: $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default)]
        $vis struct $name<'a> { $(pub(crate) $field: $crate::device::plan::Bind<'a>,)* }

        impl $name<'_> {
            /// Numbers and names, as in WGSL.
            #[allow(dead_code, reason = "a program whose parts declare some lists its own")]
            pub(crate) const NAMES: &'static [(usize, &'static str)] = &[$(($at, stringify!($field)),)*];
        }

        impl<'a> From<$name<'a>> for $crate::device::plan::Binds<'a> {
            fn from(from: $name<'a>) -> Self {
                let mut all = $crate::device::plan::Binds::default();
                $(all[$at - 1] = from.$field;)*
                all
            }
        }
    };
}
pub(crate) use bindings;

/// A region of scratch, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    at: u32,
    words: u64,
    /// Words before the regions that are bound with it.
    apart: u32,
}

impl Region {
    /// No region.
    pub(crate) const ABSENT: Region = Region {
        at: ABSENT,
        words: 0,
        apart: 0,
    };

    /// Its first word in the binding of [`Scratch::bind`], or [`ABSENT`].
    pub(crate) fn at(&self) -> u32 {
        match self.at {
            ABSENT => ABSENT,
            at => at - self.apart,
        }
    }

    /// Its first word in all of the scratch.
    pub(crate) fn first(&self) -> u64 {
        u64::from(self.at)
    }

    /// The binding that reaches all of it.
    pub(crate) fn bind<'a>(&self) -> Bind<'a> {
        // Whole vectors, which lie before the next region.
        Bind::scratch(u64::from(self.at), self.words.next_multiple_of(4))
    }

    /// The binding that reaches `words` words from the word `first` of it on.
    pub(crate) fn part<'a>(&self, first: u64, words: u64) -> Bind<'a> {
        Bind::scratch(u64::from(self.at) + first, words)
    }
}

/// Hands out regions of scratch.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    words: u64,
    apart: u32,
    /// What has been lent.
    lent: u64,
}

impl Scratch {
    /// A region of `words` words behind all others.
    pub(crate) fn take(&mut self, words: u64) -> Result<Region, Error> {
        let at = to_u32(self.words, "scratch")?;
        self.words = (self.words + words).next_multiple_of(REGION_WORDS);
        Ok(Region {
            at,
            words,
            apart: self.apart,
        })
    }

    /// Leaves the regions so far out of the binding of those to come.
    pub(crate) fn set_apart(&mut self) -> Result<(), Error> {
        self.apart = to_u32(self.words, "scratch")?;
        Ok(())
    }

    /// The same, or no region where it is not wanted.
    pub(crate) fn take_if(&mut self, wanted: bool, words: u64) -> Result<Region, Error> {
        match wanted {
            true => self.take(words),
            false => Ok(Region::ABSENT),
        }
    }

    /// Regions for some steps alone: what is lent next may be the same memory.
    pub(crate) fn lend<T>(
        &mut self,
        to: impl FnOnce(&mut Scratch) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut inner = Scratch {
            words: self.words,
            apart: self.apart,
            lent: 0,
        };
        let done = to(&mut inner)?;
        self.lent = self.lent.max(inner.most());
        Ok(done)
    }

    /// Words that there have to be.
    fn most(&self) -> u64 {
        self.words.max(self.lent)
    }

    /// How many words have been handed out.
    pub(crate) fn words(&self) -> u64 {
        self.words
    }

    /// The binding that reaches every region so far but those set apart. In it, a region begins at [`Region::at`].
    pub(crate) fn bind<'a>(&self) -> Bind<'a> {
        let apart = u64::from(self.apart);
        Bind::scratch(apart, self.words - apart)
    }
}

/// A dispatch whose GPU objects do not exist yet.
#[derive(Debug)]
pub(crate) struct Dispatch<'a> {
    pub(crate) step: Step,
    pub(crate) params: Vec<u8>,
    /// The type that the parameters have.
    pub(crate) params_type: TypeId,
    pub(crate) bindings: Binds<'a>,
    /// What it writes over the parameters of later steps; its own come last.
    pub(crate) writes: Option<Writes>,
}

/// A planned call whose GPU objects do not exist yet.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) dispatches: Vec<Dispatch<'a>>,
    pub(crate) scratch_bytes: u64,
    pub(crate) windows: usize,
    pub(crate) bytes: u64,
}

impl Draft<'_> {
    /// With the bytes that the call has to move.
    pub(crate) fn moving(self, bytes: u64) -> Self {
        Draft { bytes, ..self }
    }
}

/// How many workgroups a dispatch has, and how many of them lie in x. A kernel finds its number from both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) groups: u32,
    pub(crate) groups_x: u32,
}

/// Dispatches in order.
#[derive(Debug)]
pub(crate) struct Dispatches<'a, 'c> {
    pub(crate) target: Target<'c>,
    all: Vec<Dispatch<'a>>,
}

impl<'a, 'c> Dispatches<'a, 'c> {
    pub(crate) fn new(target: Target<'c>) -> Self {
        Dispatches {
            target,
            all: Vec::new(),
        }
    }

    /// Adds a dispatch of `groups` workgroups, folded over x and y, in `layers` along z. `params` gets the grid.
    pub(crate) fn push_layers<P: bytemuck::Pod>(
        &mut self,
        module: Module,
        entry: &'static str,
        (groups, layers): (u64, u32),
        params: impl FnOnce(Grid) -> P,
        bindings: impl Into<Binds<'a>>,
    ) -> Result<(), Error> {
        let groups = to_u32(groups, "workgroups")?;
        let most = self.target.caps.max_groups;
        let (x, y) = fold(groups, most);
        if y > most || layers > most {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "workgroups",
                format!("at most {most} x {most} x {most}"),
                format!("{groups} x {layers}"),
            ));
        }
        let grid = Grid {
            groups,
            groups_x: x,
        };
        self.push_grid(module, entry, [x, y, layers], params(grid), bindings);
        Ok(())
    }

    /// The same in one layer.
    pub(crate) fn push<P: bytemuck::Pod>(
        &mut self,
        module: Module,
        entry: &'static str,
        groups: u64,
        params: impl FnOnce(Grid) -> P,
        bindings: impl Into<Binds<'a>>,
    ) -> Result<(), Error> {
        self.push_layers(module, entry, (groups, 1), params, bindings)
    }

    /// Adds a dispatch of a grid that needs no folding.
    pub(crate) fn push_grid<P: bytemuck::Pod>(
        &mut self,
        module: Module,
        entry: &'static str,
        groups: [u32; 3],
        params: P,
        bindings: impl Into<Binds<'a>>,
    ) {
        self.all.push(Dispatch {
            step: Step {
                kernel: Kernel { module, entry },
                groups,
            },
            params: bytemuck::bytes_of(&params).to_vec(),
            params_type: TypeId::of::<P>(),
            bindings: bindings.into(),
            writes: None,
        });
    }

    /// Adds steps that write the settings which buffers give over the parameters of all steps that are added after.
    pub(crate) fn push_settings(&mut self, given: &Given<'a>) -> Result<(), Error> {
        for (setting, value) in given {
            let place = self.target.bind_all(setting.name, value)?;
            self.push_live(place, setting.fields);
        }
        Ok(())
    }

    /// Adds steps that write a number, which lies at `source` of a binding, over parameters of all steps that are added
    /// after.
    pub(crate) fn push_live(&mut self, (bind, source): (Bind<'a>, u32), fields: &[Field]) {
        for fields in fields.chunks(CHANGES as usize) {
            let mut bindings = Binds::default();
            bindings[SOURCE - 1] = bind;
            bindings[WRITTEN - 1] = Bind::Live;
            let module = LIVE.module(self.target.variant.workgroup);
            // How many steps come after is not known yet.
            self.push_grid(module, "write", [0, fields.len() as u32, 1], (), bindings);
            if let Some(step) = self.all.last_mut() {
                step.writes = Some(Writes {
                    source,
                    fields: fields.to_vec(),
                });
            }
        }
    }

    /// All of them, with the scratch they share.
    pub(crate) fn draft(mut self, scratch: &Scratch, windows: usize) -> Draft<'a> {
        let mut rest = &mut self.all[..];
        while let Some((step, after)) = rest.split_first_mut() {
            if let Some(writes) = &step.writes {
                let steps = |of| after.iter().filter(|d| d.params_type == of).count();
                let most = writes.types().map(steps).max().unwrap_or(0) as u32;
                step.step.groups[0] = most.div_ceil(step.step.kernel.module.workgroup);
            }
            rest = after;
        }
        Draft {
            dispatches: self.all,
            scratch_bytes: 4 * scratch.most(),
            windows,
            bytes: 0,
        }
    }
}

/// Spreads `groups` workgroups over x and y, where one dimension is too short. Returns (x, y); x * y >= groups.
fn fold(groups: u32, max_groups: u32) -> (u32, u32) {
    let y = groups.div_ceil(max_groups).max(1);
    (groups.div_ceil(y), y)
}

/// A number of elements as the kernels count them.
pub(crate) fn to_u32(value: u64, subject: &str) -> Result<u32, Error> {
    match u32::try_from(value) {
        Ok(value) if value != ABSENT => Ok(value),
        _ => Err(Error::new(
            ErrorKind::Unsupported,
            subject,
            "fewer than 2^32 elements",
            value,
        )),
    }
}

impl Target<'_> {
    /// How many rows of a tensor one storage binding reaches.
    pub(crate) fn rows_per_binding(&self, name: &str, tensor: &Tensor<'_>) -> Result<usize, Error> {
        let caps = self.caps;
        // The kernels count elements in 32 bits, and a binding begins before its tensor by up to the alignment.
        let most = caps.max_binding.min(u64::from(u32::MAX));
        let room = most.saturating_sub(caps.storage_align + 16);
        let (first, end) = tensor.bytes(0, 1);
        let row = end - first;
        if row > room {
            return Err(Error::new(
                ErrorKind::Unsupported,
                name,
                format!("rows of at most {room} bytes (one storage binding of this device)"),
                format!("{row} bytes"),
            ));
        }
        Ok(((room - row) / tensor.stride_bytes().max(1)) as usize + 1)
    }

    /// The binding that reaches rows of a tensor, and the element of it at which they begin.
    pub(crate) fn bind_rows<'a>(
        &self,
        tensor: &Tensor<'a>,
        first: usize,
        rows: usize,
    ) -> (Bind<'a>, u32) {
        let (from, end) = tensor.bytes(first, rows);
        self.bind_bytes(tensor, from, end)
    }

    /// The same of bytes of its buffer.
    pub(crate) fn bind_bytes<'a>(
        &self,
        tensor: &Tensor<'a>,
        from: u64,
        end: u64,
    ) -> (Bind<'a>, u32) {
        let (bind, before) = Bind::bytes(tensor.memory(), from, end, self.caps.storage_align);
        (bind, (before / tensor.dtype().size()) as u32)
    }

    /// The binding that reaches all of a tensor, and the element of it at which it begins.
    pub(crate) fn bind_all<'a>(
        &self,
        name: &str,
        tensor: &Tensor<'a>,
    ) -> Result<(Bind<'a>, u32), Error> {
        let most = self.rows_per_binding(name, tensor)?;
        if most < tensor.rows() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                name,
                format!("at most {most} rows (one storage binding of this device)"),
                tensor.rows(),
            ));
        }
        Ok(self.bind_rows(tensor, 0, tensor.rows()))
    }

    /// The same of a tensor that may be absent.
    pub(crate) fn bind_any<'a>(
        &self,
        name: &str,
        tensor: Option<Tensor<'a>>,
    ) -> Result<Option<(Bind<'a>, u32)>, Error> {
        tensor.map(|t| self.bind_all(name, &t)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_covers_every_group_within_the_limit() {
        for (groups, expected) in [
            (0, (0, 1)),
            (1, (1, 1)),
            (65_535, (65_535, 1)),
            (65_536, (32_768, 2)),
            (1_000_000, (62_500, 16)),
        ] {
            let (x, y) = fold(groups, 65_535);
            assert_eq!((x, y), expected);
            assert!(x <= 65_535 && u64::from(x) * u64::from(y) >= u64::from(groups));
        }
    }

    #[test]
    fn scratch_regions_are_aligned_and_apart() -> Result<(), Error> {
        let mut scratch = Scratch::default();
        assert_eq!(scratch.take(3)?.at(), 0);
        assert_eq!(scratch.take_if(false, 3)?.at(), ABSENT);
        assert_eq!(scratch.take(65)?.at(), 64);
        assert_eq!(scratch.words(), 192);
        let lent = [70, 10].map(|words| scratch.lend(|scratch| Ok(scratch.take(words)?.at())));
        assert!(lent.iter().all(|at| matches!(at, Ok(192))));
        assert_eq!((scratch.words(), scratch.most()), (192, 320));
        assert!(scratch.take(u64::from(u32::MAX) * 2).is_ok());
        assert!(scratch.take(1).is_err());
        Ok(())
    }
}
