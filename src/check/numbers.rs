//! Numbers by the names of the tensors that hold them, and the bits of numbers in each element type.

use crate::device::tensor::DType;
use crate::losses::labels::{TargetNames, Targets};
use crate::reference::Real;
use half::{bf16, f16};

/// How labels are held: dense in an element type, as bits, or sparse.
pub type TargetForm = Targets<DType, ()>;

/// Offsets and indices.
pub const SPARSE: TargetForm = Targets::Sparse {
    offsets: (),
    indices: (),
};

/// What reports call a form.
pub(super) fn form_name(form: TargetForm) -> String {
    match form {
        Targets::Dense(dtype) => dtype.to_string(),
        Targets::Bits(()) => "bits".into(),
        Targets::Sparse { .. } => "sparse".into(),
    }
}

/// The element type of the numbers behind a form: flags are 0 or 1.
pub(super) fn form_type(form: TargetForm) -> DType {
    match form {
        Targets::Dense(dtype) if dtype.is_float() => dtype,
        Targets::Dense(_) | Targets::Bits(()) | Targets::Sparse { .. } => DType::F32,
    }
}

/// Labels of 0 and 1 as a case gives them in a form: where that is integers, ones become words that are true in other ways,
/// among them a NaN and a zero to who takes them for f32.
pub(super) fn in_words(form: TargetForm, labels: Vec<f64>) -> Vec<f64> {
    const TRUE: [u32; 5] = [1, 2, u32::MAX, 0x7fc0_0000, 0x8000_0000];
    if form != Targets::Dense(DType::U32) {
        return labels;
    }
    let word = |(i, label): (usize, f64)| label * f64::from(TRUE[i % TRUE.len()]);
    labels.into_iter().enumerate().map(word).collect()
}

/// Matrices by name, each as it is after rounding to its element type, in the order in which they are put down.
#[derive(Debug, Default)]
pub struct Numbers(Vec<Matrix>);

#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) name: String,
    /// The names of the tensors where the matrix is a set of labels, which may take two.
    pub(super) labels: Option<TargetNames>,
    pub(super) form: TargetForm,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) values: Vec<f64>,
}

impl Numbers {
    /// Adds a matrix.
    pub(super) fn put(
        &mut self,
        name: impl Into<String>,
        dtype: DType,
        (rows, cols): (usize, usize),
        values: Vec<f64>,
    ) {
        self.0.push(Matrix {
            name: name.into(),
            labels: None,
            form: Targets::Dense(dtype),
            rows,
            cols,
            values,
        });
    }

    /// Adds a vector, if there is one.
    pub(super) fn put_vector(&mut self, name: &str, dtype: DType, values: Option<Vec<f64>>) {
        if let Some(values) = values {
            self.put(name, dtype, (1, values.len()), values);
        }
    }

    /// Adds words.
    pub(super) fn put_words(&mut self, name: &str, shape: (usize, usize), words: &[u32]) {
        let values = words.iter().map(|word| f64::from(*word)).collect();
        self.put(name, DType::U32, shape, values);
    }

    /// Adds a seed: its low word, then its high one.
    pub(super) fn put_seed(&mut self, name: &str, seed: u64) {
        self.put_words(name, (1, 2), &[seed as u32, (seed >> 32) as u32]);
    }

    /// Adds labels, in the form that they are to have on the device. Here they go by the name of the dense form.
    pub(super) fn put_labels(
        &mut self,
        names: TargetNames,
        form: TargetForm,
        (rows, cols): (usize, usize),
        values: Vec<f64>,
    ) {
        self.0.push(Matrix {
            name: names.dense.into(),
            labels: Some(names),
            form,
            rows,
            cols,
            values,
        });
    }

    pub(super) fn all(&self) -> &[Matrix] {
        &self.0
    }

    /// The values of a matrix, if it is there.
    pub(super) fn find(&self, name: &str) -> Option<&[f64]> {
        let found = self.0.iter().find(|matrix| matrix.name == name);
        found.map(|matrix| &matrix.values[..])
    }

    /// The values of a matrix, none if it is not there.
    pub(super) fn get(&self, name: &str) -> &[f64] {
        self.find(name).unwrap_or(&[])
    }

    /// The same in the number type of a reference.
    pub(super) fn real<T: Real>(&self, name: &str) -> Option<Vec<T>> {
        let values = self.find(name)?;
        Some(values.iter().map(|value| T::from_f64(*value)).collect())
    }

    /// Labels in the number type of a reference, integers as 0 or 1.
    pub(super) fn labels<T: Real>(&self, name: &str) -> Vec<T> {
        let found = self.0.iter().find(|matrix| matrix.name == name);
        match found.map(|matrix| matrix.form) {
            Some(Targets::Dense(DType::U32)) => {
                let flags = from_flags(&self.flags(name).unwrap_or_default());
                flags.into_iter().map(T::from_f64).collect()
            }
            _ => self.real(name).unwrap_or_default(),
        }
    }

    /// The same as flags.
    pub(super) fn flags(&self, name: &str) -> Option<Vec<bool>> {
        let values = self.find(name)?;
        Some(values.iter().map(|value| *value != 0.0).collect())
    }

    /// The same as words.
    pub(super) fn words(&self, name: &str) -> Option<Vec<u32>> {
        let values = self.find(name)?;
        Some(values.iter().map(|value| *value as u32).collect())
    }
}

/// Flags as numbers.
pub(super) fn from_flags(flags: &[bool]) -> Vec<f64> {
    flags
        .iter()
        .map(|flag| f64::from(u8::from(*flag)))
        .collect()
}

/// The bits of a value, in as many of the first bytes as the element type has.
pub(super) fn encode(dtype: DType, value: f64) -> [u8; 4] {
    let bits = match dtype {
        DType::F32 => (value as f32).to_bits(),
        DType::F16 => u32::from(f16::from_f64(value).to_bits()),
        DType::Bf16 => u32::from(bf16::from_f64(value).to_bits()),
        DType::U8 => u32::from(value as u8),
        DType::U32 => value as u32,
    };
    bits.to_le_bytes()
}

pub(super) fn decode(dtype: DType, bytes: &[u8]) -> f64 {
    match *bytes {
        [a] => f64::from(a),
        [a, b] if dtype == DType::F16 => f64::from(f16::from_le_bytes([a, b])),
        [a, b] => f64::from(bf16::from_le_bytes([a, b])),
        [a, b, c, d] if dtype == DType::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
        [a, b, c, d] => f64::from(u32::from_le_bytes([a, b, c, d])),
        _ => f64::NAN,
    }
}

/// A value as it is after a round trip through the element type.
pub(super) fn rounded(dtype: DType, value: f64) -> f64 {
    decode(dtype, &encode(dtype, value)[..dtype.size() as usize])
}
