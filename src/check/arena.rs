//! Tensors in device buffers, with guard bytes around them and a memory of what every byte was.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::host::Gpu;
use half::{bf16, f16};

const GUARD: u8 = 0xa5;

/// Where a tensor was put.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    buffer: usize,
    offset: u64,
    rows: usize,
    cols: usize,
    stride: usize,
    dtype: DType,
}

/// Tensors, each in a buffer of its own or all in one.
pub(crate) struct Arena {
    together: bool,
    images: Vec<Vec<u8>>,
    buffers: Vec<wgpu::Buffer>,
}

impl Arena {
    pub(crate) fn new(together: bool) -> Self {
        Arena {
            together,
            images: Vec::new(),
            buffers: Vec::new(),
        }
    }

    /// Puts a matrix down. In one buffer it begins at an odd element and its rows have gaps.
    pub(crate) fn put(&mut self, dtype: DType, rows: usize, cols: usize, values: &[f64]) -> Place {
        let place = self.reserve(dtype, rows, cols);
        let image = &mut self.images[place.buffer];
        for (i, value) in values.iter().enumerate() {
            let at = place.byte(i / cols, i % cols);
            let size = dtype.size() as usize;
            image[at..at + size].copy_from_slice(&encode(dtype, *value)[..size]);
        }
        place
    }

    /// Puts a matrix of words down.
    pub(crate) fn put_words(&mut self, rows: usize, cols: usize, words: &[u32]) -> Place {
        let place = self.reserve(DType::U32, rows, cols);
        let image = &mut self.images[place.buffer];
        for (i, word) in words.iter().enumerate() {
            let at = place.byte(i / cols, i % cols);
            image[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        place
    }

    /// Room for an output, filled with NaN.
    pub(crate) fn output(&mut self, dtype: DType, rows: usize, cols: usize) -> Place {
        self.put(dtype, rows, cols, &vec![f64::NAN; rows * cols])
    }

    fn reserve(&mut self, dtype: DType, rows: usize, cols: usize) -> Place {
        let (offset, stride) = if self.together {
            (3, cols + 3)
        } else {
            (0, cols)
        };
        if !self.together || self.images.is_empty() {
            self.images.push(Vec::new());
        }
        let buffer = self.images.len() - 1;
        let image = &mut self.images[buffer];
        let begin = image.len().next_multiple_of(4) as u64 / dtype.size();
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

    /// Brings everything to the device.
    pub(crate) fn upload(&mut self, gpu: &Gpu) -> Result<(), Error> {
        for image in &self.images {
            self.buffers.push(gpu.upload(image)?);
        }
        Ok(())
    }

    pub(crate) fn tensor(&self, place: &Place) -> Tensor<'_> {
        Tensor::matrix(
            &self.buffers[place.buffer],
            place.dtype,
            place.rows,
            place.cols,
        )
        .with_offset(place.offset)
        .with_row_stride(place.stride)
    }

    /// What the outputs hold now; an error where anything else has changed.
    pub(crate) fn read(&self, gpu: &Gpu, outputs: &[Place]) -> Result<Vec<Vec<f64>>, Error> {
        let mut after = Vec::new();
        for (buffer, image) in self.buffers.iter().zip(&self.images) {
            after.push(gpu.download(buffer, image.len() as u64)?);
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
        for (i, (before, after)) in before.iter().zip(&after).enumerate() {
            if let Some(at) = before.iter().zip(after).position(|(b, a)| b != a) {
                return Err(Error::new(
                    ErrorKind::Buffer,
                    format!("buffer {i}"),
                    "nothing written outside the outputs",
                    format!("byte {at} changed"),
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

/// The bits of a value, in as many of the first bytes as the element type has.
pub(crate) fn encode(dtype: DType, value: f64) -> [u8; 4] {
    let bits = match dtype {
        DType::F32 => (value as f32).to_bits(),
        DType::F16 => u32::from(f16::from_f64(value).to_bits()),
        DType::Bf16 => u32::from(bf16::from_f64(value).to_bits()),
        DType::U8 => u32::from(value as u8),
        DType::U32 => value as u32,
    };
    bits.to_le_bytes()
}

fn decode(dtype: DType, bytes: &[u8]) -> f64 {
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
pub(crate) fn rounded(dtype: DType, value: f64) -> f64 {
    decode(dtype, &encode(dtype, value)[..dtype.size() as usize])
}
