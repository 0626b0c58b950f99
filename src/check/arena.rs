//! Tensors in device buffers, with guard bytes around them and a memory of what every byte was.

use crate::check::numbers::{Matrix, decode, encode};
use crate::check::rng::Rng;
use crate::check::tensors::{Tensors, View};
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::losses::labels::Targets;

const GUARD: u8 = 0xa5;

/// How a case's tensors lie in buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each in its own, from its beginning.
    Apart,
    /// All in one, at odd offsets, rows with gaps.
    Together,
    /// All in one, each from a multiple of 256 bytes, rows with gaps: how a case of [`Layout::Together`] is run in a browser,
    /// which refuses a step two bindings of which overlap.
    Aligned,
}

/// Where a tensor was put.
#[derive(Clone, Copy)]
pub(super) struct Place {
    buffer: usize,
    offset: u64,
    rows: usize,
    cols: usize,
    stride: usize,
    pub(super) dtype: DType,
}

/// Tensors, each in a buffer of its own or all in one.
pub(super) struct Arena {
    layout: Layout,
    images: Vec<Vec<u8>>,
    places: Vec<(String, Place)>,
    buffers: Vec<wgpu::Buffer>,
}

impl Arena {
    pub(super) fn new(layout: Layout) -> Self {
        Arena {
            layout,
            images: Vec::new(),
            places: Vec::new(),
            buffers: Vec::new(),
        }
    }

    /// Puts a matrix down, labels in their form.
    pub(super) fn put(&mut self, matrix: &Matrix) {
        let (rows, cols, values) = (matrix.rows, matrix.cols, &matrix.values);
        let label = |row: usize, col: usize| values[row * cols + col] > 0.5;
        match (matrix.form, matrix.labels) {
            (Targets::Bits(()), Some(names)) => {
                let words = cols.div_ceil(32);
                let mut bits = vec![0; rows * words];
                for i in (0..rows * cols).filter(|i| values[*i] > 0.5) {
                    bits[i / cols * words + i % cols / 32] |= 1 << (i % cols % 32);
                }
                self.put_words(names.bits, (rows, words), &bits);
            }
            (Targets::Sparse { .. }, Some(names)) => {
                let mut offsets = vec![0];
                let mut indices = Vec::new();
                for row in 0..rows {
                    // Backwards and, now and then, twice: neither order nor repeats matter.
                    for col in (0..cols).rev().filter(|col| label(row, *col)) {
                        indices.extend(std::iter::repeat_n(col as u32, 1 + col % 2));
                    }
                    offsets.push(indices.len() as u32);
                }
                self.put_words(names.offsets, (1, rows + 1), &offsets);
                self.put_words(names.indices, (1, indices.len()), &indices);
            }
            (Targets::Dense(dtype), _) => {
                self.put_values(&matrix.name, dtype, (rows, cols), values.iter().copied());
            }
            (Targets::Bits(()) | Targets::Sparse { .. }, None) => {}
        }
    }

    fn put_words(&mut self, name: &str, shape: (usize, usize), words: &[u32]) {
        self.put_values(name, DType::U32, shape, words.iter().map(|w| f64::from(*w)));
    }

    pub(super) fn put_values(
        &mut self,
        name: &str,
        dtype: DType,
        (rows, cols): (usize, usize),
        values: impl Iterator<Item = f64>,
    ) {
        let place = self.reserve(dtype, rows, cols);
        let size = dtype.size() as usize;
        let image = &mut self.images[place.buffer];
        for (i, value) in values.enumerate() {
            let at = place.byte(i / cols, i % cols);
            image[at..at + size].copy_from_slice(&encode(dtype, value)[..size]);
        }
        self.places.push((name.into(), place));
    }

    /// Writes any words over all tensors of words so far: lists of labels, hierarchies, permutations, seeds, sets.
    pub(super) fn scribble(&mut self, seed: u64) {
        let mut rng = Rng(seed);
        let words = self.places.iter().map(|(_, place)| place);
        for place in words.filter(|place| place.dtype == DType::U32) {
            let image = &mut self.images[place.buffer];
            // All, few or no bits set: far out, at the ends of ranges, and now and then what is there.
            let kind = rng.below(4);
            for at in (0..place.rows).flat_map(|row| (0..place.cols).map(move |col| (row, col))) {
                let word = match kind {
                    0 => u32::MAX,
                    1 => rng.below(2 * place.rows.max(place.cols) + 2) as u32,
                    2 => rng.word() as u32,
                    _ => [0, u32::MAX, u32::MAX / 2 + 1, rng.word() as u32][rng.below(4)],
                };
                let at = place.byte(at.0, at.1);
                image[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
    }

    fn reserve(&mut self, dtype: DType, rows: usize, cols: usize) -> Place {
        let (unit, offset, stride) = match self.layout {
            Layout::Apart => (4, 0, cols),
            Layout::Together => (4, 3, cols + 3),
            Layout::Aligned => (256, 0, cols + 3),
        };
        if self.layout == Layout::Apart || self.images.is_empty() {
            self.images.push(Vec::new());
        }
        let buffer = self.images.len() - 1;
        let image = &mut self.images[buffer];
        let begin = image.len().next_multiple_of(unit) as u64 / dtype.size();
        let place = Place {
            buffer,
            offset: begin + offset,
            rows,
            cols,
            stride,
            dtype,
        };
        let end = place.byte(rows, 0).next_multiple_of(4) + 16;
        image.resize(end, GUARD);
        place
    }

    /// Where the tensor of a name was put.
    pub(super) fn place(&self, name: &str) -> Result<Place, Error> {
        let found = self.places.iter().find(|(other, _)| other == name);
        found
            .map(|(_, place)| *place)
            .ok_or_else(|| Error::refused(name, "the case has no such tensor"))
    }

    /// Brings everything to the device.
    pub(super) fn upload(&mut self, gpu: &Gpu) -> Result<Tensors, Error> {
        for image in &self.images {
            self.buffers.push(gpu.upload(image)?);
        }
        let mut tensors = Tensors::default();
        for (name, place) in &self.places {
            let view = View {
                buffer: self.buffers[place.buffer].clone(),
                offset: place.offset,
                rows: place.rows,
                cols: place.cols,
                stride: place.stride,
                dtype: place.dtype,
            };
            tensors.put(name, view);
        }
        Ok(tensors)
    }

    /// The buffers with what they held before.
    pub(super) fn into_buffers(self) -> Vec<(wgpu::Buffer, Vec<u8>)> {
        self.buffers.into_iter().zip(self.images).collect()
    }

    /// What the outputs hold now; where anything else has changed, a sentence that says so.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn read(
        &self,
        gpu: &Gpu,
        outputs: &[Place],
    ) -> Result<Result<Vec<Vec<f64>>, String>, Error> {
        let mut after = Vec::new();
        for (buffer, image) in self.buffers.iter().zip(&self.images) {
            after.push(gpu.download(buffer, image.len() as u64)?);
        }
        Ok(self.look(&after, outputs))
    }

    /// The same without blocking.
    pub(super) async fn read_async(
        &self,
        gpu: &Gpu,
        outputs: &[Place],
    ) -> Result<Result<Vec<Vec<f64>>, String>, Error> {
        let mut after = Vec::new();
        for (buffer, image) in self.buffers.iter().zip(&self.images) {
            after.push(gpu.download_async(buffer, image.len() as u64).await?);
        }
        Ok(self.look(&after, outputs))
    }

    /// The same of buffers that somebody else has read.
    pub(super) fn look(
        &self,
        after: &[Vec<u8>],
        outputs: &[Place],
    ) -> Result<Vec<Vec<f64>>, String> {
        let lengths = |images: &[Vec<u8>]| images.iter().map(Vec::len).collect::<Vec<_>>();
        if lengths(after) != lengths(&self.images) {
            return Err(format!(
                "buffers of {:?} bytes, found {:?}",
                lengths(&self.images),
                lengths(after)
            ));
        }
        let mut before = self.images.clone();
        let mut values = Vec::new();
        for place in outputs {
            let mut all = Vec::new();
            for row in 0..place.rows {
                for col in 0..place.cols {
                    let at = place.byte(row, col);
                    let size = place.dtype.size() as usize;
                    let bytes = &after[place.buffer][at..at + size];
                    all.push(decode(place.dtype, bytes));
                    before[place.buffer][at..at + size].copy_from_slice(bytes);
                }
            }
            values.push(all);
        }
        for (i, (before, after)) in before.iter().zip(after).enumerate() {
            if let Some(at) = before.iter().zip(after).position(|(b, a)| b != a) {
                return Err(format!(
                    "buffer {i}: byte {at} was written, which no output holds"
                ));
            }
        }
        Ok(values)
    }
}

impl Place {
    fn byte(&self, row: usize, col: usize) -> usize {
        (self.offset as usize + row * self.stride + col) * self.dtype.size() as usize
    }
}
