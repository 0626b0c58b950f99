//! Numbers on the host: element types, conversions, checks of values.

use crate::device::tensor::DType;
use crate::error::{Error, ErrorKind, check_len};
use half::{bf16, f16};

/// Real numbers in one of the three element types.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// f32.
    F32(&'a [f32]),
    /// f16.
    F16(&'a [f16]),
    /// bf16.
    Bf16(&'a [bf16]),
}

impl<'a> Values<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(v) => v.len(),
            Values::F16(v) => v.len(),
            Values::Bf16(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their element type.
    pub fn dtype(&self) -> DType {
        match self {
            Values::F32(_) => DType::F32,
            Values::F16(_) => DType::F16,
            Values::Bf16(_) => DType::Bf16,
        }
    }

    /// The same numbers as f64.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Values::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::F16(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::Bf16(v) => v.iter().map(|x| f64::from(*x)).collect(),
        }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        match self {
            Values::F32(v) => bytemuck::cast_slice(v),
            Values::F16(v) => bytemuck::cast_slice(v),
            Values::Bf16(v) => bytemuck::cast_slice(v),
        }
    }
}

/// Dense labels.
#[derive(Clone, Copy, Debug)]
pub enum Dense<'a> {
    /// Flags, 0 or 1.
    Flags(&'a [u8]),
    /// Integers, of which 0 is false and anything else true. Those of an i32 are taken by their bits.
    Integers(&'a [u32]),
    /// Numbers: soft labels in `[0, 1]`, for WDL not negative, exactly 0 or 1 for losses of hard labels, or other
    /// logits.
    Values(Values<'a>),
}

/// What to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The loss alone.
    Loss,
    /// The loss and every gradient there is.
    Gradients,
}

/// Checks each value; the message has the first that fails and its place.
pub(super) fn check_each<T: std::fmt::Display>(
    name: &str,
    values: &[T],
    cols: usize,
    expected: &str,
    good: impl Fn(&T) -> bool,
) -> Result<(), Error> {
    let all = Counted {
        cols,
        ..Counted::default()
    };
    check_counted(name, values, &all, expected, good)
}

/// Which elements of `rows x cols` count: a value that a mask or a weight of 0 takes out is not looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted<'a> {
    /// Columns.
    pub cols: usize,
    /// A flag for each column.
    pub class_mask: Option<&'a [u8]>,
    /// A flag for each element.
    pub mask: Option<&'a [u8]>,
    /// A weight for each row.
    pub sample_weight: Option<&'a [f32]>,
}

impl Counted<'_> {
    /// Whether a row counts: none does whose weight is 0, whatever it holds.
    pub fn has_row(&self, row: usize) -> bool {
        let weight = self.sample_weight.and_then(|weights| weights.get(row));
        weight.is_none_or(|weight| *weight != 0.0)
    }

    /// Whether the element at this place, row after row, counts. So does one that a mask is too short for.
    pub fn has(&self, place: usize) -> bool {
        let (row, col) = (place / self.cols.max(1), place % self.cols.max(1));
        let flag = |flags: Option<&[u8]>, i: usize| {
            flags
                .and_then(|flags| flags.get(i))
                .is_none_or(|flag| *flag != 0)
        };
        self.has_row(row) && flag(self.class_mask, col) && flag(self.mask, place)
    }
}

/// Checks each value that counts, as [`check_each`].
pub(super) fn check_counted<T: std::fmt::Display>(
    name: &str,
    values: &[T],
    counted: &Counted<'_>,
    expected: &str,
    good: impl Fn(&T) -> bool,
) -> Result<(), Error> {
    let mut places = values.iter().enumerate();
    match places.find(|(i, value)| counted.has(*i) && !good(value)) {
        None => Ok(()),
        Some((i, value)) => {
            let (row, col) = (i / counted.cols.max(1), i % counted.cols.max(1));
            let found = format!("{value} at [{row}, {col}]");
            Err(Error::value(name, expected, found))
        }
    }
}

/// Checks the length of an upstream gradient: one, or without a reduction as many as there are `rows`.
pub(super) fn check_upstream(grad_loss: Option<&[f32]>, rows: Option<usize>) -> Result<(), Error> {
    match grad_loss.map_or(1, <[f32]>::len) {
        1 => Ok(()),
        len => check_len("grad_loss", rows.unwrap_or(1), len),
    }
}

/// Refuses work that needs more bytes than there is address space for: an allocation that fails ends the process.
pub(super) fn check_room(subject: &str, bytes: usize) -> Result<(), Error> {
    let mut room: Vec<u8> = Vec::new();
    room.try_reserve_exact(bytes).map_err(|_| {
        let expected = "memory to work with it";
        Error::new(
            ErrorKind::OutOfMemory,
            subject,
            expected,
            format!("none for {bytes} bytes"),
        )
    })
}

/// Bytes that the reference takes for each element of its matrices: copies in f64, gradients in f64 and f32.
pub(super) const REFERENCE_BYTES: usize = 64;

/// The same numbers for the reference.
pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

/// What the reference gave, in the precision of the GPU.
pub(super) fn narrow(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|x| x as f32).collect()
}

/// The words of a seed, the low one first.
pub(super) fn seed_words(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}
