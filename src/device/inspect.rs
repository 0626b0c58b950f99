//! The checks that every call makes of its tensors: each by itself, and that nothing written shares memory with another.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use std::borrow::Cow;

/// What shape a tensor has to have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Rows and columns.
    Matrix(usize, usize),
    /// A vector of so many elements.
    Vector(usize),
}

type Named<'a> = (Cow<'static, str>, Tensor<'a>);

/// The tensors of a call by name, as far as they have been checked.
#[derive(Debug, Default)]
pub(crate) struct Inspection<'a> {
    read: Vec<Named<'a>>,
    written: Vec<Named<'a>>,
    /// Whether one of the written is an output.
    outputs: bool,
    /// Bytes of the written that are read too.
    again: u64,
}

fn check(name: &str, tensor: &Tensor<'_>, dtypes: &[DType], shape: Shape) -> Result<(), Error> {
    tensor.check(name, dtypes)?;
    match shape {
        Shape::Matrix(rows, cols) => tensor.check_shape(name, rows, cols),
        Shape::Vector(len) => tensor.check_len(name, len),
    }
}

fn bytes(tensor: &Tensor<'_>) -> u64 {
    tensor.len() as u64 * tensor.dtype().size()
}

impl<'a> Inspection<'a> {
    /// Checks a tensor that the call reads.
    pub(crate) fn reads(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        tensor: impl Into<Option<Tensor<'a>>>,
        dtypes: &[DType],
        shape: Shape,
    ) -> Result<(), Error> {
        if let Some(tensor) = tensor.into() {
            let name = name.into();
            check(&name, &tensor, dtypes, shape)?;
            self.read.push((name, tensor));
        }
        Ok(())
    }

    /// Checks a matrix of f32 that the call reads, of a row for each of whatever is counted, at least one.
    pub(crate) fn reads_each(
        &mut self,
        name: &'static str,
        tensor: Tensor<'a>,
        (each, cols): (&str, usize),
    ) -> Result<(), Error> {
        let count = tensor.rows();
        if count == 0 || u32::try_from(count).is_err() {
            let expected = format!("a row for each {each}");
            return Err(Error::shape(name, expected, count));
        }
        self.reads(name, tensor, &[DType::F32], Shape::Matrix(count, cols))
    }

    /// Checks a tensor that the call writes.
    pub(crate) fn writes(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        tensor: impl Into<Option<Tensor<'a>>>,
        dtypes: &[DType],
        shape: Shape,
    ) -> Result<(), Error> {
        if let Some(tensor) = tensor.into() {
            let name = name.into();
            check(&name, &tensor, dtypes, shape)?;
            self.written.push((name, tensor));
            self.outputs = true;
        }
        Ok(())
    }

    /// Checks a tensor that the call reads and writes a sum over.
    pub(crate) fn adds_to(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        tensor: Tensor<'a>,
        dtypes: &[DType],
        shape: Shape,
    ) -> Result<(), Error> {
        self.writes(name, tensor, dtypes, shape)?;
        self.again += bytes(&tensor);
        Ok(())
    }

    /// Checks a state that the call reads and moves on, such as a seed: written, but no output.
    pub(crate) fn moves_on(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        tensor: Tensor<'a>,
        dtypes: &[DType],
        shape: Shape,
    ) -> Result<(), Error> {
        let name = name.into();
        check(&name, &tensor, dtypes, shape)?;
        self.written.push((name, tensor));
        Ok(())
    }

    /// Notes that the call writes over a tensor that it reads, which has been checked under this name.
    pub(crate) fn overwrites(&mut self, name: &'static str, tensor: Tensor<'a>) {
        self.written.push((name.into(), tensor));
        self.outputs = true;
    }

    /// Checks the upstream gradient: one value, or where each of `rows` rows has a loss, one or as many.
    pub(crate) fn grad_loss(
        &mut self,
        tensor: Option<Tensor<'a>>,
        rows: Option<usize>,
    ) -> Result<(), Error> {
        let len = match (tensor, rows) {
            (Some(t), Some(rows)) if t.cols() != 1 => rows,
            _ => 1,
        };
        self.reads("grad_loss", tensor, &[DType::F32], Shape::Vector(len))
    }

    /// Checks that something is written, and that it shares no memory with a tensor of another name. Gives the bytes of
    /// all tensors, each once, and once more where it is added to.
    pub(crate) fn finish(self) -> Result<u64, Error> {
        if !self.outputs {
            return Err(Error::refused("outputs", "at least one is needed"));
        }
        for (i, (name, tensor)) in self.written.iter().enumerate() {
            for (other, t) in self.read.iter().chain(&self.written[..i]) {
                if other != name && tensor.overlaps(t) {
                    return Err(Error::new(
                        ErrorKind::Buffer,
                        name,
                        format!("memory apart from {other}"),
                        "an overlap",
                    ));
                }
            }
        }
        let all = self.read.iter().chain(&self.written);
        Ok(self.again + all.map(|(_, tensor)| bytes(tensor)).sum::<u64>())
    }
}
