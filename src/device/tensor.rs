//! Typed views of the caller's buffers.

use crate::error::{Error, ErrorKind};
use std::fmt;

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// A byte; as a flag, 0 is false and anything else true.
    U8,
    /// 32-bit unsigned integer; as a flag, 0 is false and anything else true, so that the words of an i32 may be given as
    /// they are.
    U32,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> u64 {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 | DType::Bf16 => 2,
            DType::U8 => 1,
        }
    }

    /// Whether it holds real values.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::Bf16)
    }
}

/// The element types that hold real values.
pub(crate) const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::Bf16];

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::U8 => "u8",
            DType::U32 => "u32",
        })
    }
}

/// A matrix (or vector) in one of the caller's buffers: where it begins, its shape, its row stride, its element type.
///
/// Any number of tensors may share a buffer. Offsets and strides are in elements, and need no alignment
/// beyond the element's own; in browsers, tensors of one buffer must begin at multiples of 256 bytes,
/// since WebGPU refuses overlapping bindings that can be written.
///
/// The buffer has to be of the context's device. Of another device of the same `wgpu::Instance`, `prepare` gives an error;
/// of another instance wgpu 30 takes it for whichever of its own buffers has the same number, which nobody else can see.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    memory: Memory<'a>,
    dtype: DType,
    offset: u64,
    rows: usize,
    cols: usize,
    row_stride: usize,
}

/// What a tensor lies in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Memory<'a> {
    /// The caller's.
    Buffer(&'a wgpu::Buffer),
    /// The call's own.
    Scratch,
}

impl<'a> Tensor<'a> {
    /// A dense matrix of `rows` x `cols` elements at the beginning of `buffer`.
    pub fn matrix(buffer: &'a wgpu::Buffer, dtype: DType, rows: usize, cols: usize) -> Self {
        Tensor {
            memory: Memory::Buffer(buffer),
            dtype,
            offset: 0,
            rows,
            cols,
            row_stride: cols,
        }
    }

    /// A vector of `len` elements at the beginning of `buffer`.
    pub fn vector(buffer: &'a wgpu::Buffer, dtype: DType, len: usize) -> Self {
        Tensor::matrix(buffer, dtype, 1, len)
    }

    /// The same tensor beginning `elements` elements into the buffer.
    pub fn with_offset(mut self, elements: u64) -> Self {
        self.offset = elements;
        self
    }

    /// The same tensor with `elements` elements from the beginning of a row to that of the next.
    pub fn with_row_stride(mut self, elements: usize) -> Self {
        self.row_stride = elements;
        self
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns (of a vector: its length).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Elements of the buffer before the tensor's first.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Elements from the beginning of a row to that of the next.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Bytes from the beginning of a row to that of the next; of a single row, at most as many as can be counted.
    pub(crate) fn stride_bytes(&self) -> u64 {
        (self.row_stride as u64).saturating_mul(self.dtype.size())
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.saturating_mul(self.cols)
    }

    /// The bytes of the buffer between the first element of `rows` rows and the last, as (first, end).
    pub(crate) fn bytes(&self, first_row: usize, rows: usize) -> (u64, u64) {
        // An empty tensor may have any offset and stride, and reaches nothing.
        if rows == 0 || self.len() == 0 {
            return (0, 0);
        }
        let size = self.dtype.size();
        let stride = self.row_stride as u64;
        let first = (self.offset + first_row as u64 * stride) * size;
        (
            first,
            first + ((rows as u64 - 1) * stride + self.cols as u64) * size,
        )
    }

    /// Checks the view by itself: element type, usage, stride, place in the buffer.
    pub(crate) fn check(&self, name: &str, dtypes: &[DType]) -> Result<(), Error> {
        if !dtypes.contains(&self.dtype) {
            let expected: Vec<String> = dtypes.iter().map(DType::to_string).collect();
            return Err(Error::new(
                ErrorKind::DType,
                name,
                expected.join(" or "),
                self.dtype,
            ));
        }
        let Memory::Buffer(buffer) = self.memory else {
            return Ok(());
        };
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(Error::new(
                ErrorKind::Buffer,
                name,
                "a buffer with usage STORAGE",
                format!("{:?}", buffer.usage()),
            ));
        }
        if self.rows > 1 && self.row_stride < self.cols {
            return Err(Error::shape(
                name,
                format!("a row stride of at least {} elements", self.cols),
                self.row_stride,
            ));
        }
        // In 128 bits: no offset or stride can overflow on the way to the comparison.
        let last = self.rows.saturating_sub(1) as u128 * self.row_stride as u128;
        let end = if self.len() == 0 {
            0
        } else {
            (u128::from(self.offset) + last + self.cols as u128)
                .saturating_mul(u128::from(self.dtype.size()))
        };
        // The shader reads whole words.
        let needed = end.div_ceil(4).saturating_mul(4);
        if needed > u128::from(buffer.size()) {
            return Err(Error::new(
                ErrorKind::Buffer,
                name,
                format!("a buffer of at least {needed} bytes (whole words)"),
                format!("{} bytes", buffer.size()),
            ));
        }
        Ok(())
    }

    /// Checks that the tensor has `rows` x `cols` elements.
    pub(crate) fn check_shape(&self, name: &str, rows: usize, cols: usize) -> Result<(), Error> {
        if (self.rows, self.cols) == (rows, cols) {
            return Ok(());
        }
        Err(Error::shape(
            name,
            format!("[{rows}, {cols}]"),
            format!("[{}, {}]", self.rows, self.cols),
        ))
    }

    /// Checks that the tensor is a vector of `len` elements.
    pub(crate) fn check_len(&self, name: &str, len: usize) -> Result<(), Error> {
        if self.rows == 1 && self.cols == len {
            return Ok(());
        }
        Err(Error::shape(
            name,
            format!("[{len}]"),
            if self.rows == 1 {
                format!("[{}]", self.cols)
            } else {
                format!("[{}, {}]", self.rows, self.cols)
            },
        ))
    }

    /// Some of its rows. Of more than it has, calls say so where they reach beyond the buffer.
    pub fn of_rows(self, first: usize, rows: usize) -> Self {
        Tensor {
            offset: (first as u64)
                .saturating_mul(self.row_stride as u64)
                .saturating_add(self.offset),
            rows,
            ..self
        }
    }

    /// Some of its columns, of more than it has as [`of_rows`](Tensor::of_rows).
    pub fn of_cols(self, first: usize, cols: usize) -> Self {
        Tensor {
            offset: self.offset.saturating_add(first as u64),
            cols,
            ..self
        }
    }

    /// A matrix of a call's own in its scratch, from the word `first` on.
    pub(crate) fn scratch(first: u64, dtype: DType, rows: usize, cols: usize) -> Self {
        Tensor {
            memory: Memory::Scratch,
            dtype,
            offset: 4 * first / dtype.size(),
            rows,
            cols,
            row_stride: cols,
        }
    }

    /// Where it lies.
    pub(crate) fn memory(&self) -> Memory<'a> {
        self.memory
    }

    /// Whether writing one of the two could change the other.
    pub(crate) fn overlaps(&self, other: &Tensor<'_>) -> bool {
        if self.memory != other.memory || self.len() == 0 || other.len() == 0 {
            return false;
        }
        let (a, a_end) = self.bytes(0, self.rows);
        let (b, b_end) = other.bytes(0, other.rows);
        if a_end <= b || b_end <= a {
            return false;
        }
        // Column blocks of one wider matrix interleave without touching.
        let stride = self.stride_bytes();
        if self.rows > 1 && other.rows > 1 && stride == other.stride_bytes() {
            let (at, width) = (a % stride, self.cols as u64 * self.dtype.size());
            let (other_at, other_width) = (b % stride, other.cols as u64 * other.dtype.size());
            let apart = |from: u64, len: u64, at: u64| (at + stride - from) % stride >= len;
            return !(apart(at, width, other_at) && apart(other_at, other_width, at));
        }
        true
    }
}
