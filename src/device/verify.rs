//! Whether a driver computes what it is told to: probes, which are a call like any other, and what their words say.

use crate::device::caps::{Half, Reduce, Variant};
use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::judge::{Fault, GIVEN, GROUPS, PATTERNS, ROUNDS, SIZES, Words, judge, lanes};
use crate::device::module::{
    Constant, Mirror, Module, NO_PART, PARTS, Part, Piece, Program, uniform, wgsl,
};
use crate::device::plan::{Bind, Binds, Dispatches, Draft, Scratch, Target};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;

uniform! {
    /// Places and sizes, as the files have them that probes share with kernels.
    struct VerifyViews {
        logits_offset: u32,
        logits_stride: u32,
        grad_offset: u32,
        grad_stride: u32,
        rounds: u32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

uniform! {
    /// Bits of four numbers.
    struct Pattern {
        a: u32,
        b: u32,
        c: u32,
        d: u32,
    }
}

/// As shaders/verify/params.wgsl has it.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct VerifyParams {
    views: VerifyViews,
    patterns: [Pattern; PATTERNS as usize],
}

const PARAMS: Mirror = Mirror {
    name: "VerifyParams",
    fields: &[("views", "VerifyViews"), ("patterns", "Pattern")],
    size: size_of::<VerifyParams>(),
};
const MIRRORS: &[&[Mirror]] = &[&[VerifyViews::MIRROR, Pattern::MIRROR, PARAMS]];

/// The lanes of a probe.
const LANES: &[(&str, Constant)] = &[("LANES", Constant::Of(lanes))];

/// What is bound where: the words at 7, what WGSL's f16 reads at 1.
const WORDS: usize = 7;
const SOURCE: usize = 1;

static NUMBERS: Program = Program {
    name: "verify_numbers",
    pieces: &[
        Piece::File(wgsl!("verify/params.wgsl")),
        Piece::File(wgsl!("verify/words.wgsl")),
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/half_f16.wgsl")),
        Piece::File(wgsl!("verify/numbers.wgsl")),
    ],
    entries: &["loops", "numbers", "halves", "widths"],
    constants: &[SIZES, LANES],
    bindings: &[(WORDS, "words")],
    mirrors: MIRRORS,
};

static LANES_OF: Program = Program {
    name: "verify_lanes",
    pieces: &[
        Piece::File(wgsl!("verify/params.wgsl")),
        Piece::File(wgsl!("verify/words.wgsl")),
        Piece::Lanes {
            tree: wgsl!("shared/lanes_tree.wgsl"),
            subgroup: wgsl!("shared/lanes_subgroup.wgsl"),
        },
        Piece::Lanes {
            tree: wgsl!("verify/barriers.wgsl"),
            subgroup: wgsl!("verify/subgroups.wgsl"),
        },
    ],
    entries: &["lanes"],
    constants: &[SIZES, LANES],
    bindings: &[(WORDS, "words")],
    mirrors: MIRRORS,
};

static ATOMICS: Program = Program {
    name: "verify_atomics",
    pieces: &[
        Piece::File(wgsl!("verify/params.wgsl")),
        Piece::File(wgsl!("shared/grad_words_any.wgsl")),
        Piece::File(wgsl!("verify/atomics.wgsl")),
    ],
    entries: &["clear", "atomics"],
    constants: &[SIZES, LANES],
    bindings: &[(WORDS, "grad")],
    mirrors: MIRRORS,
};

static NATIVE: Program = Program {
    name: "verify_native",
    pieces: &[
        Piece::File(wgsl!("verify/params.wgsl")),
        Piece::Part(0),
        Piece::File(wgsl!("verify/native.wgsl")),
    ],
    entries: &["native"],
    constants: &[SIZES, LANES],
    bindings: &[],
    mirrors: MIRRORS,
};
static F16: Part = Part {
    bindings: &[(SOURCE, "logits"), (WORDS, "grad")],
    f16: true,
    ..Part::new(
        "",
        &[
            wgsl!("shared/logits_f16_any.wgsl"),
            wgsl!("shared/grad_f16_any.wgsl"),
        ],
    )
};

/// The module of WGSL's f16.
fn native(workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = &F16;
    NATIVE.with(parts, Reduce::Tree, workgroup)
}

/// Every module of the probes.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let of_subgroups = LANES_OF.with([&NO_PART; PARTS], Reduce::Subgroup, workgroup);
    vec![
        NUMBERS.module(workgroup),
        LANES_OF.module(workgroup),
        of_subgroups,
        ATOMICS.module(workgroup),
        native(workgroup),
    ]
}

/// The probes of a device in one variant, prepared: made by [`Context::verify`].
#[derive(Debug)]
pub struct Verification {
    call: Prepared,
    variant: Variant,
}

impl Context {
    /// How many words [`Context::verify`] takes.
    pub fn verify_words(&self) -> usize {
        Words::of(self.variant()).len
    }

    /// Prepares the probes that tell whether this device's driver computes what it is told to, in the variant in use: long
    /// loops, NaN and infinity by their bits, `exp`, `log` and division, f16 in words and, where the variant has them,
    /// WGSL's f16 and subgroups (numbered without a gap, every one full, shuffles at their size), barriers, integer
    /// atomics. They write to `words`, a u32 vector of [`Context::verify_words`]; give one that holds zeros, so that no
    /// result of an earlier run is taken for this one's.
    ///
    /// Like every call it is recorded into an encoder of yours, and nothing here submits or reads back. What the words say,
    /// once you have read them, [`Verification::faults`] tells. Once for a device is enough. Cooperative matrices have no
    /// probe.
    ///
    /// Some faults have a way round, a variant that does [without](Variant::without) what is wrong, for
    /// [`Context::with_variant`]: the tree where subgroups are, `packed` where WGSL's f16 is. `host::Gpu::open` takes it by
    /// itself. A driver with another fault should compute nothing.
    ///
    /// `docs/drivers.md` in the repository lists drivers that are known to be wrong, with the evidence.
    ///
    /// # Errors
    /// As of every call: element type, length and buffer of `words`, device errors.
    pub fn verify(&self, words: &Tensor<'_>) -> Result<Verification, Error> {
        let len = self.verify_words();
        let mut all = Inspection::default();
        all.writes("words", *words, &[DType::U32], Shape::Vector(len))?;
        let bytes = all.finish()?;
        let draft = plan(self.target(), words)?;
        Ok(Verification {
            call: prepared::build(self, draft.moving(bytes))?,
            variant: self.variant(),
        })
    }
}

impl Verification {
    /// The call, to be recorded.
    pub fn call(&self) -> &Prepared {
        &self.call
    }

    /// What is wrong, at most one fault of each probe; none where the driver has passed. Words that are missing are taken
    /// for wrong.
    #[must_use]
    pub fn faults(&self, words: &[u32]) -> Vec<Fault> {
        judge(self.variant, words)
    }
}

fn plan<'a>(target: Target<'_>, words: &Tensor<'a>) -> Result<Draft<'a>, Error> {
    let Variant {
        workgroup,
        reduce,
        half,
        ..
    } = target.variant;
    let (bind, at) = target.bind_all("words", words)?;
    let places = Words::of(target.variant);
    let mut scratch = Scratch::default();
    let source = scratch.take(2 * u64::from(lanes(workgroup)))?;
    let mut steps = Dispatches::new(target);
    let mut push = |module: Module, entry, to: Bind<'a>, offset: u32| {
        let views = VerifyViews {
            grad_offset: offset,
            rounds: ROUNDS,
            ..VerifyViews::default()
        };
        let mut bindings = Binds::default();
        bindings[WORDS - 1] = to;
        if module.needs_f16() {
            bindings[SOURCE - 1] = source.bind();
        }
        let params = VerifyParams {
            views,
            patterns: bytemuck::cast(GIVEN),
        };
        steps.push_grid(module, entry, [GROUPS, 1, 1], params, bindings);
    };
    let place = |words: usize| at + words as u32;
    let numbers = NUMBERS.module(workgroup);
    push(numbers, "loops", bind, place(places.loops));
    push(numbers, "numbers", bind, place(places.numbers));
    push(numbers, "halves", bind, place(places.halves));
    push(numbers, "widths", bind, place(places.widths));
    push(
        LANES_OF.module(workgroup),
        "lanes",
        bind,
        place(places.barriers),
    );
    let atomics = ATOMICS.module(workgroup);
    push(atomics, "clear", bind, place(places.atomics));
    push(atomics, "atomics", bind, place(places.atomics));
    if half == Half::Native {
        push(numbers, "halves", source.bind(), source.at());
        // Two to a word.
        push(native(workgroup), "native", bind, 2 * place(places.native));
    }
    if reduce == Reduce::Subgroup {
        let module = LANES_OF.with([&NO_PART; PARTS], reduce, workgroup);
        push(module, "lanes", bind, place(places.subgroups));
    }
    Ok(steps.draft(&scratch, 1))
}
