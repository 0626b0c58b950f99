//! From burn's tensors to places in its buffers.

use burn::backend::wgpu::{AutoCompiler, CubeTensor, WgpuResource};
use burn::backend::{BoolStore, DType, Shape};
use burn_cubecl::cubecl::server::BufferBinding;
use burn_cubecl::cubecl::wgpu::WgpuServer;
use burn_cubecl::kernel::into_contiguous;
use wgloss::{Error, ErrorKind, wgpu};

/// A tensor of burn, and where it lies for as long as this is kept: what is bound is not freed, reused or moved.
pub(super) struct Held {
    place: WgpuResource,
    dtype: wgloss::DType,
    rows: usize,
    cols: usize,
    row_stride: usize,
    _bound: BufferBinding,
}

/// Where a tensor lies, and how: equal keys are the same numbers of the same buffer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    buffer: wgpu::Buffer,
    offset: u64,
    dtype: wgloss::DType,
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl Held {
    /// Finds where a tensor lies. Whatever burn has queued for it is submitted before this returns.
    pub(super) fn new(name: &str, tensor: &CubeTensor) -> Result<Held, Error> {
        let dtype = element_type(tensor.dtype).ok_or_else(|| {
            let found = format!("{:?}", tensor.dtype);
            Error::new(
                ErrorKind::DType,
                name,
                "f32, f16, bf16, i32, u32, u8 or bool",
                found,
            )
        })?;
        let handle = tensor.handle.clone();
        let bound = handle.clone().binding();
        let place = tensor
            .client
            .get_resource::<WgpuServer<AutoCompiler>>(handle);
        // The text of a failure names the kernel of burn's that failed before.
        let place = place.map_err(|e| Error::because(ErrorKind::Device, name, e))?;
        let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
        let (rows, cols, row_stride) = match shape.num_dims() {
            2 if shape[0] > 1 => (shape[0], shape[1], strides[0]),
            2 => (shape[0], shape[1], shape[1]),
            _ => (1, shape.num_elements(), shape.num_elements()),
        };
        Ok(Held {
            place: place.resource().clone(),
            dtype,
            rows,
            cols,
            row_stride,
            _bound: bound,
        })
    }

    /// The same tensor for wgloss.
    pub(super) fn view(&self) -> wgloss::Tensor<'_> {
        self.rows(0, self.rows)
    }

    /// Some of its rows.
    pub(super) fn rows(&self, first: usize, rows: usize) -> wgloss::Tensor<'_> {
        let offset = self.place.offset / self.dtype.size() + (first * self.row_stride) as u64;
        wgloss::Tensor::matrix(&self.place.buffer, self.dtype, rows, self.cols)
            .with_offset(offset)
            .with_row_stride(self.row_stride)
    }

    /// Words of bits, which burn has as one vector.
    pub(super) fn words(&self, rows: usize, cols: usize) -> wgloss::Tensor<'_> {
        wgloss::Tensor::matrix(&self.place.buffer, wgloss::DType::U32, rows, cols)
            .with_offset(self.place.offset / 4)
    }

    /// Bytes that are flags, of which burn has four in a word.
    pub(super) fn flags(&self, rows: usize, cols: usize) -> wgloss::Tensor<'_> {
        wgloss::Tensor::matrix(&self.place.buffer, wgloss::DType::U8, rows, cols)
            .with_offset(self.place.offset)
    }

    pub(super) fn key(&self) -> Key {
        Key {
            buffer: self.place.buffer.clone(),
            offset: self.place.offset,
            dtype: self.dtype,
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
        }
    }
}

/// The type that wgloss has for burn's.
fn element_type(dtype: DType) -> Option<wgloss::DType> {
    Some(match dtype {
        DType::F32 | DType::Flex32 => wgloss::DType::F32,
        DType::F16 => wgloss::DType::F16,
        DType::BF16 => wgloss::DType::Bf16,
        DType::U8 | DType::Bool(BoolStore::U8 | BoolStore::Native) => wgloss::DType::U8,
        DType::U32 | DType::I32 | DType::Bool(BoolStore::U32) => wgloss::DType::U32,
        _ => return None,
    })
}

/// The tensor itself where its rows are dense, any distance apart; else a copy that is contiguous.
pub(super) fn dense(tensor: CubeTensor) -> CubeTensor {
    let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
    let near = |d: usize| shape[d] <= 1 || strides[d] == 1;
    let as_it_is = !tensor.meta.is_tiled()
        && match shape.num_dims() {
            1 => near(0),
            2 => near(1) && (shape[0] <= 1 || strides[0] >= shape[1]),
            _ => false,
        };
    match as_it_is {
        true => tensor,
        false => into_contiguous(tensor),
    }
}

/// A tensor in burn's pool that nothing has been written to.
pub(super) fn empty(like: &CubeTensor, shape: &[usize], dtype: DType) -> CubeTensor {
    let shape = Shape::from(shape.to_vec());
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        shape,
        handle,
        dtype,
    )
}
