//! What a case is, and the one way to run it.

use crate::check::arena::{Arena, Place};
use crate::check::compare::compare;
use crate::check::numbers::Numbers;
use crate::check::tensors::Tensors;
use crate::device::call::Call;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use std::fmt;

/// What running a case found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Within tolerance; the largest error as a share of what was allowed.
    Passed(f64),
    /// Not within tolerance, or something was written that should not be: what, where, which values.
    Failed(String),
}

/// How much of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every loss with every element type, the target forms taking turns (and with WDL the element types too).
    Sample,
    /// Every loss with every element type and target form.
    Every,
    /// That six times over, with other shapes, outputs, options and data each time, and with large shapes.
    Full,
}

/// How a case's tensors lie in buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each in its own, from its beginning.
    Apart,
    /// All in one, at odd offsets, rows with gaps.
    Together,
}

/// What the numbers of a case of logits are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Normal logits times 3.
    Normal,
    /// Logits up to 1e4 (f16: 6e4).
    Large,
    /// Rows without positives, without negatives, with infinities, with a NaN, constant, confident.
    Edges,
}

impl Data {
    /// Standard deviation of the logits.
    pub(super) fn scale(self, dtype: DType) -> f64 {
        match (self, dtype) {
            (Data::Large, DType::F16) => 1.5e4,
            (Data::Large, _) => 3e3,
            (Data::Normal | Data::Edges, _) => 3.0,
        }
    }
}

/// A call on numbers from a seed, with the results that it should have. [`run`] runs it.
///
/// The methods but the first are the runner's: numbers, then what should come out of them, then the call.
pub trait Case: fmt::Display + Send + Sync {
    /// What its test is called: the loss, mostly.
    fn name(&self) -> &'static str;

    /// How the tensors lie in buffers.
    #[doc(hidden)]
    fn layout(&self) -> Layout;

    /// The numbers that the call reads, by the names of tensors.
    #[doc(hidden)]
    fn numbers(&self) -> Result<Numbers, Error>;

    /// The tensors that the call writes, each with what the reference finds in f64 and in f32.
    #[doc(hidden)]
    fn outputs(&self, numbers: &Numbers) -> Result<Vec<Output>, Error>;

    /// Prepares what is to be recorded.
    #[doc(hidden)]
    fn prepare(
        &self,
        cx: &Context,
        numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error>;

    /// Looks at the outputs that are compared with no truth of their own. Says what is wrong with them.
    #[doc(hidden)]
    fn judge(&self, _numbers: &Numbers, _found: &Numbers) -> Result<(), String> {
        Ok(())
    }
}

/// A tensor that a call writes.
#[derive(Debug)]
pub struct Output {
    name: String,
    dtype: DType,
    shape: (usize, usize),
    before: Before,
    expected: Expected,
}

/// A number of every type that no result is.
const UNLIKE: f64 = -12_344.0;

/// What a tensor holds before the call.
#[derive(Debug)]
enum Before {
    /// What it should not hold afterwards.
    Unlike,
    Values(Vec<f64>),
    /// The numbers of this input, which the call writes over.
    Input(&'static str),
}

/// What it should hold afterwards.
#[derive(Debug)]
enum Expected {
    /// The truth, within what the naive values in f32 allow. `magnitude` is the size of what cancels in it; only the
    /// elements to keep are compared, all where there is no such list.
    Near {
        truth: Vec<f64>,
        naive: Vec<f32>,
        magnitude: f64,
        keep: Option<Vec<bool>>,
    },
    /// Just this.
    Exactly(Vec<f64>),
    /// What [`Case::judge`] finds good.
    Judged,
}

impl Output {
    /// A tensor to be compared with the reference's in f64, as closely as the reference's in f32 is.
    pub(super) fn near(
        name: impl Into<String>,
        dtype: DType,
        shape: (usize, usize),
        truth: Vec<f64>,
        naive: Vec<f32>,
    ) -> Self {
        Output {
            name: name.into(),
            dtype,
            shape,
            before: Before::Unlike,
            expected: Expected::Near {
                truth,
                naive,
                magnitude: 0.0,
                keep: None,
            },
        }
    }

    /// Words that are there before, to be judged.
    pub(super) fn words(name: &str, shape: (usize, usize), before: &[u32]) -> Self {
        let before = before.iter().map(|word| f64::from(*word)).collect();
        Output {
            name: name.into(),
            dtype: DType::U32,
            shape,
            before: Before::Values(before),
            expected: Expected::Judged,
        }
    }

    /// An input that the call changes, to be judged.
    pub(super) fn changed(input: &'static str) -> Self {
        Output {
            name: input.into(),
            dtype: DType::U32,
            shape: (0, 0),
            before: Before::Input(input),
            expected: Expected::Judged,
        }
    }

    /// The same over an input.
    pub(super) fn over(mut self, input: Option<&'static str>) -> Self {
        if let Some(input) = input {
            self.before = Before::Input(input);
        }
        self
    }

    /// The same where numbers of such a size cancel.
    pub(super) fn cancelling(mut self, size: f64) -> Self {
        if let Expected::Near { magnitude, .. } = &mut self.expected {
            *magnitude = size;
        }
        self
    }

    /// The same with elements that are not compared.
    pub(super) fn keeping(mut self, kept: Vec<bool>) -> Self {
        if let Expected::Near { keep, .. } = &mut self.expected {
            *keep = Some(kept);
        }
        self
    }

    /// The same with just these values expected.
    pub(super) fn exactly(mut self, values: Vec<f64>) -> Self {
        self.expected = Expected::Exactly(values);
        self
    }

    /// What no element should hold afterwards: NaN, or where that is expected a number.
    fn unlike(&self) -> impl Iterator<Item = f64> {
        let truth = match &self.expected {
            Expected::Near { truth, .. } => &truth[..],
            Expected::Exactly(_) | Expected::Judged => &[],
        };
        let number = |i: usize| truth.get(i).is_some_and(|value| value.is_nan());
        let elements = 0..self.shape.0 * self.shape.1;
        elements.map(move |i| if number(i) { UNLIKE } else { f64::NAN })
    }

    /// The error as a share of what is allowed, or what is wrong.
    fn compare(&self, dtype: DType, found: &[f64]) -> Result<f64, String> {
        match &self.expected {
            Expected::Judged => Ok(0.0),
            Expected::Exactly(expected) if found == expected => Ok(0.0),
            Expected::Exactly(expected) => {
                let at = found.iter().zip(expected).position(|(f, e)| f != e);
                let name = &self.name;
                Err(format!(
                    "{name}: {found:?} at {at:?}, expected {expected:?}"
                ))
            }
            Expected::Near {
                truth,
                naive,
                magnitude,
                keep,
            } => match keep {
                None => compare(&self.name, dtype, found, truth, naive, *magnitude),
                Some(keep) => {
                    let (found, truth) = (kept(keep, found), kept(keep, truth));
                    let naive = kept(keep, naive);
                    compare(&self.name, dtype, &found, &truth, &naive, *magnitude)
                }
            },
        }
    }
}

fn kept<T: Copy>(keep: &[bool], values: &[T]) -> Vec<T> {
    let pairs = keep.iter().zip(values).filter(|(keep, _)| **keep);
    pairs.map(|(_, value)| *value).collect()
}

/// Runs a case on a device, in the variant it is set to.
///
/// # Errors
/// Device errors and refused calls; a wrong result is an [`Outcome`].
pub fn run(gpu: &Gpu, case: &dyn Case) -> Result<Outcome, Error> {
    let mut laid = LaidOut::of(case, case.layout(), None)?;
    let found = laid.run(gpu)?;
    Ok(laid.outcome(found))
}

/// Runs a case on a device with any words in every tensor of words that it reads, as one finds them that nobody has
/// checked. It passes if it ends and writes nothing but its outputs, whatever they hold then.
///
/// # Errors
/// Device errors and refused calls.
pub fn run_hostile(gpu: &Gpu, case: &dyn Case, seed: u64) -> Result<Outcome, Error> {
    let found = LaidOut::of(case, case.layout(), Some(seed))?.run(gpu)?;
    Ok(found.map_or_else(Outcome::Failed, |_| Outcome::Passed(0.0)))
}

/// Runs a case twice on a device, each time from the beginning. It passes if its outputs hold the same bits both times,
/// whatever they are.
///
/// # Errors
/// Device errors and refused calls.
pub fn run_twice(gpu: &Gpu, case: &dyn Case) -> Result<Outcome, Error> {
    let bits = || -> Result<Result<Vec<Vec<u64>>, String>, Error> {
        let found = LaidOut::of(case, case.layout(), None)?.run(gpu)?;
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect();
        Ok(found.map(|outputs| outputs.into_iter().map(bits).collect()))
    };
    Ok(match (bits()?, bits()?) {
        (Ok(first), Ok(second)) if first == second => Outcome::Passed(0.0),
        (Ok(_), Ok(_)) => Outcome::Failed("other bits at the second run".into()),
        (Err(message), _) | (_, Err(message)) => Outcome::Failed(message),
    })
}

/// A case as data, for another host to run: its calls in order, the tensors by name, and the buffers with what they hold.
pub struct Exported {
    /// What is to be run.
    pub calls: Vec<Call>,
    /// Where the tensors lie.
    pub tensors: Tensors,
    /// The buffers in the tensors' order, each with its bytes.
    pub buffers: Vec<(wgpu::Buffer, Vec<u8>)>,
}

/// A case as data. The device need not compute (wgpu's `noop`), but its context has to keep calls
/// ([`Context::keep_calls`]). Each tensor has a buffer of its own.
///
/// # Errors
/// Device errors, refused calls, a context that does not keep them.
pub fn export(gpu: &Gpu, case: &dyn Case) -> Result<Exported, Error> {
    let mut laid = LaidOut::of(case, Layout::Apart, None)?;
    let (tensors, calls) = laid.prepare(gpu)?;
    let kept = calls.iter().map(|call| call.call().cloned());
    let calls: Option<Vec<Call>> = kept.collect();
    Ok(Exported {
        calls: calls.ok_or_else(|| Error::refused("context", "keeps no calls"))?,
        tensors,
        buffers: laid.arena.into_buffers(),
    })
}

/// What a host has found that ran a case as [`export`] gave it: the bytes of its buffers afterwards.
///
/// # Errors
/// Cases that the reference refuses.
pub fn judge(case: &dyn Case, after: &[Vec<u8>]) -> Result<Outcome, Error> {
    let laid = LaidOut::of(case, Layout::Apart, None)?;
    Ok(laid.outcome(laid.arena.look(after, &laid.places)))
}

/// The values of a case's outputs, or what was written beside them.
type Found = Result<Vec<Vec<f64>>, String>;

/// A case with its tensors put down.
struct LaidOut<'c> {
    case: &'c dyn Case,
    numbers: Numbers,
    outputs: Vec<Output>,
    arena: Arena,
    /// Of the outputs.
    places: Vec<Place>,
}

impl<'c> LaidOut<'c> {
    /// With a seed, words are not those of the case.
    fn of(case: &'c dyn Case, layout: Layout, hostile: Option<u64>) -> Result<Self, Error> {
        let numbers = case.numbers()?;
        let outputs = case.outputs(&numbers)?;
        let mut arena = Arena::new(layout == Layout::Together);
        for matrix in numbers.all() {
            arena.put(matrix);
        }
        if let Some(seed) = hostile {
            arena.scribble(seed);
        }
        let mut places = Vec::new();
        for output in &outputs {
            let name = match &output.before {
                Before::Unlike => {
                    let values = output.unlike();
                    arena.put_values(&output.name, output.dtype, output.shape, values);
                    &output.name
                }
                Before::Values(values) => {
                    arena.put_values(
                        &output.name,
                        output.dtype,
                        output.shape,
                        values.iter().copied(),
                    );
                    &output.name
                }
                Before::Input(input) => *input,
            };
            places.push(arena.place(name)?);
        }
        Ok(LaidOut {
            case,
            numbers,
            outputs,
            arena,
            places,
        })
    }

    fn prepare(&mut self, gpu: &Gpu) -> Result<(Tensors, Vec<Prepared>), Error> {
        let tensors = self.arena.upload(gpu)?;
        let calls = self.case.prepare(gpu.context(), &self.numbers, &tensors)?;
        Ok((tensors, calls))
    }

    fn run(&mut self, gpu: &Gpu) -> Result<Found, Error> {
        let (_, calls) = self.prepare(gpu)?;
        gpu.run(&calls.iter().collect::<Vec<_>>())?;
        self.arena.read(gpu, &self.places)
    }

    fn outcome(&self, found: Found) -> Outcome {
        let compare = || {
            let mut worst: f64 = 0.0;
            let mut all = Numbers::default();
            for ((output, place), values) in self.outputs.iter().zip(&self.places).zip(found?) {
                worst = worst.max(output.compare(place.dtype, &values)?);
                let shape = (1, values.len());
                all.put(&output.name, place.dtype, shape, values);
            }
            self.case.judge(&self.numbers, &all)?;
            Ok(worst)
        };
        compare().map_or_else(Outcome::Failed, Outcome::Passed)
    }
}
