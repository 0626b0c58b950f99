//! Tensors on the device by name.

use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::gradient::Gradient;
use crate::losses::labels::{TargetNames, Targets};

/// Tensors with the buffers that hold them. Families take theirs by the names that errors give them.
#[derive(Debug, Default)]
pub struct Tensors {
    all: Vec<(String, View)>,
    /// Whether gradients are added to what is there.
    adds: bool,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) buffer: wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) stride: usize,
    pub(super) dtype: DType,
}

impl View {
    fn tensor(&self) -> Tensor<'_> {
        Tensor::matrix(&self.buffer, self.dtype, self.rows, self.cols)
            .with_offset(self.offset)
            .with_row_stride(self.stride)
    }
}

impl Tensors {
    pub(super) fn put(&mut self, name: impl Into<String>, view: View) {
        self.all.push((name.into(), view));
    }

    /// Adds a matrix that a buffer begins with.
    pub(super) fn put_matrix(
        &mut self,
        name: &str,
        buffer: &wgpu::Buffer,
        dtype: DType,
        (rows, cols): (usize, usize),
    ) {
        let view = View {
            buffer: buffer.clone(),
            offset: 0,
            rows,
            cols,
            stride: cols,
            dtype,
        };
        self.put(name, view);
    }

    /// All of them, to be changed.
    pub(super) fn entries(&mut self) -> &mut Vec<(String, View)> {
        &mut self.all
    }

    /// All of them: their names, their buffers, what they are.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &wgpu::Buffer, Tensor<'_>)> {
        let all = self.all.iter();
        all.map(|(name, view)| (&name[..], &view.buffer, view.tensor()))
    }

    /// The tensor of a name, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<Tensor<'_>> {
        let (_, view) = self.all.iter().find(|(other, _)| other == name)?;
        Some(view.tensor())
    }

    /// The tensor of a name.
    pub(super) fn get(&self, name: &str) -> Result<Tensor<'_>, Error> {
        self.find(name)
            .ok_or_else(|| Error::refused(name, "the case has no such tensor"))
    }

    /// Where the gradient of a name goes, if it is wanted.
    pub(super) fn gradient(&self, name: &str) -> Option<Gradient<'_>> {
        self.find(name).map(|tensor| self.gradient_to(tensor))
    }

    /// The gradients `[1]`, `[2]`, .. of a name.
    pub(super) fn gradients(&self, name: &str) -> Vec<Gradient<'_>> {
        let all = self.levels(name).into_iter();
        all.map(|tensor| self.gradient_to(tensor)).collect()
    }

    fn gradient_to<'a>(&self, tensor: Tensor<'a>) -> Gradient<'a> {
        match self.adds {
            true => Gradient::AddTo(tensor),
            false => Gradient::To(tensor),
        }
    }

    /// The same tensors where gradients are added to what is there.
    pub(super) fn adding(&self) -> Tensors {
        Tensors {
            all: self.all.clone(),
            adds: true,
        }
    }

    /// `[1]`, `[2]`, .. of a name, to the first that is not there.
    pub(super) fn levels(&self, name: &str) -> Vec<Tensor<'_>> {
        let level = |k: usize| self.find(&format!("{name}_{k}"));
        (1..).map_while(level).collect()
    }

    /// Labels, in the form that they have.
    pub(super) fn labels(&self, names: TargetNames) -> Result<Targets<Tensor<'_>>, Error> {
        if let Some(bits) = self.find(names.bits) {
            return Ok(Targets::Bits(bits));
        }
        match self.find(names.offsets) {
            Some(offsets) => Ok(Targets::Sparse {
                offsets,
                indices: self.get(names.indices)?,
            }),
            None => Ok(Targets::Dense(self.get(names.dense)?)),
        }
    }

    /// The same tensors in buffers of their own, which `copy` makes of those here.
    pub(super) fn copied(
        &self,
        copy: impl Fn(&wgpu::Buffer) -> Result<wgpu::Buffer, Error>,
    ) -> Result<Tensors, Error> {
        let mut copies: Vec<(&wgpu::Buffer, wgpu::Buffer)> = Vec::new();
        for (_, view) in &self.all {
            if !copies.iter().any(|(from, _)| **from == view.buffer) {
                copies.push((&view.buffer, copy(&view.buffer)?));
            }
        }
        let mut all = Tensors::default();
        for (name, view) in &self.all {
            let copy = copies.iter().find(|(from, _)| **from == view.buffer);
            let buffer = copy.map_or(&view.buffer, |(_, copy)| copy).clone();
            let view = View {
                buffer,
                ..view.clone()
            };
            all.put(name.clone(), view);
        }
        Ok(all)
    }

    /// Bytes of all buffers.
    pub(super) fn bytes(&self) -> u64 {
        let mut seen: Vec<&wgpu::Buffer> = Vec::new();
        for (_, view) in &self.all {
            if !seen.contains(&&view.buffer) {
                seen.push(&view.buffer);
            }
        }
        seen.iter().map(|buffer| buffer.size()).sum()
    }

    /// The buffer that holds the tensor of a name.
    pub(super) fn buffer(&self, name: &str) -> Option<&wgpu::Buffer> {
        let found = self.all.iter().find(|(other, _)| other == name);
        found.map(|(_, view)| &view.buffer)
    }
}
