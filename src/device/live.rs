//! Settings that a call takes from the device when it runs. A kernel reads its settings from its parameters; a small step
//! before writes numbers that lie in a buffer over them, so that no kernel knows where a setting comes from.

use crate::device::inspect::{Inspection, Shape};
use crate::device::module::{Mirror, Module, Piece, Program, constants, uniform, wgsl};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use std::any::TypeId;

/// A setting whose value lies on the device, and is read when the call runs: one that is scheduled or learnt changes from
/// step to step without another `prepare`, and without reading back.
///
/// **Which settings can:** those that are real numbers, and that no kernel is chosen by. The documentation of each loss
/// lists them. The setting in the loss's own struct is not looked at then, and no value is checked: that the one in the
/// buffer is finite and in the setting's range is the caller's promise, and what comes of another is not defined (but
/// nothing is read or written out of bounds).
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Its name: that of the field.
    pub name: &'a str,
    /// f32 `[1]`.
    pub value: Tensor<'a>,
}

/// What becomes of a number `x` as a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Becomes {
    /// `times x + plus`.
    Linear { times: f32, plus: f32 },
    /// `times / x`.
    Over { times: f32 },
    /// `times / max(x, 1)`.
    OverCount { times: f32 },
}

impl Becomes {
    /// Itself.
    pub(crate) const ITSELF: Becomes = Becomes::Linear {
        times: 1.0,
        plus: 0.0,
    };
}

/// A parameter: in the struct of which type, at which byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    params: fn() -> TypeId,
    at: usize,
    becomes: Becomes,
}

impl Field {
    /// That of the struct `P` at a byte.
    pub(crate) const fn of<P: 'static>(at: usize, becomes: Becomes) -> Field {
        Field {
            params: TypeId::of::<P>,
            at,
            becomes,
        }
    }
}

/// A setting that a buffer can give, and the parameters that it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
}

/// Those settings of a call that buffers give, each with what the loss has of that name.
pub(crate) type Given<'a> = Vec<(Live, Tensor<'a>)>;

/// Checks the settings that buffers give, among those of which that is possible.
pub(crate) fn inspect<'a>(
    all: &mut Inspection<'a>,
    settings: &[Setting<'a>],
    possible: &[Live],
) -> Result<Given<'a>, Error> {
    let mut given: Given<'a> = Vec::new();
    for setting in settings {
        let Some(live) = possible.iter().find(|live| live.name == setting.name) else {
            let names: Vec<&str> = possible.iter().map(|live| live.name).collect();
            let reason = match names[..] {
                [] => "no setting of this loss can come from a buffer".to_owned(),
                _ => format!(
                    "can not come from a buffer (of this loss {} can)",
                    names.join(", ")
                ),
            };
            return Err(Error::refused(setting.name, reason));
        };
        if given.iter().any(|(other, _)| other.name == live.name) {
            return Err(Error::refused(live.name, "is given twice"));
        }
        all.reads(live.name, setting.value, &[DType::F32], Shape::Vector(1))?;
        given.push((*live, setting.value));
    }
    Ok(given)
}

uniform! {
    /// As shaders/shared/live.wgsl has it.
    pub(crate) struct Change {
        source: u32,
        first: u32,
        stride: u32,
        count: u32,
        kind: u32,
        times: f32,
        plus: f32,
        pad: u32,
    }
}

constants! {
    /// How the shader calls them.
    KINDS {
        LINEAR = 0,
        OVER = 1,
        OVER_COUNT = 2,
        /// Most changes of a step.
        CHANGES = 8,
    }
}

/// All changes of a step.
pub(crate) type Changes = [Change; CHANGES as usize];

const LIVE_PARAMS: Mirror = Mirror {
    name: "LiveParams",
    fields: &[("changes", "Change")],
    size: size_of::<Changes>(),
};

/// Bindings of the step: where the number is,
pub(crate) const SOURCE: usize = 1;
/// and what it is written into.
pub(crate) const WRITTEN: usize = 7;

/// The step that writes.
pub(crate) static LIVE: Program = Program {
    name: "live",
    pieces: &[Piece::File(wgsl!("shared/live.wgsl"))],
    entries: &["write"],
    constants: &[KINDS],
    bindings: &[(SOURCE, "source"), (WRITTEN, "live")],
    mirrors: &[&[Change::MIRROR, LIVE_PARAMS]],
};

/// Every module of the mechanism.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    vec![LIVE.module(workgroup)]
}

/// What a step writes over the parameters of those behind it.
#[derive(Clone, Debug)]
pub(crate) struct Writes {
    /// The number's place in its binding.
    pub(crate) source: u32,
    /// At most [`CHANGES`].
    pub(crate) fields: Vec<Field>,
}

impl Writes {
    /// The types of the parameters.
    pub(crate) fn types(&self) -> impl Iterator<Item = TypeId> {
        self.fields.iter().map(|field| (field.params)())
    }

    /// The step's parameters. `place` gives, for a type, the byte at which the parameters of the first step behind it lie
    /// that has them, the bytes from step to step, and their number.
    pub(crate) fn changes(&self, place: impl Fn(TypeId) -> (u64, u64, u32)) -> Changes {
        let mut changes = Changes::default();
        for (change, field) in changes.iter_mut().zip(&self.fields) {
            let (first, stride, count) = place((field.params)());
            let (kind, times, plus) = match field.becomes {
                Becomes::Linear { times, plus } => (LINEAR, times, plus),
                Becomes::Over { times } => (OVER, times, 0.0),
                Becomes::OverCount { times } => (OVER_COUNT, times, 0.0),
            };
            *change = Change {
                source: self.source,
                first: ((first + field.at as u64) / 4) as u32,
                stride: (stride / 4) as u32,
                count,
                kind,
                times,
                plus,
                pad: 0,
            };
        }
        changes
    }
}
