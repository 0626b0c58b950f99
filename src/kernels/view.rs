//! How kernels see one of the caller's tensors: where it lies in its binding, and what its elements are.

use crate::device::module::uniform;
use crate::device::plan::{Bind, Target};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::storage::real_kind;

uniform! {
    /// A tensor in its binding; all zeros where there is none.
    pub(crate) struct View {
        /// Its first element in the binding.
        offset: u32,
        /// Elements from the beginning of a row to that of the next.
        stride: u32,
        /// What its elements are, one of `REAL_KINDS` unless the parameters of the kernel say more.
        kind: u32,
        /// 1 where there is a tensor.
        present: u32,
    }
}

/// A binding, and where in it the tensor lies.
pub(crate) type Viewed<'a> = (Bind<'a>, View);

impl View {
    /// A tensor of f32 that begins where its binding begins.
    pub(crate) fn whole(stride: usize) -> View {
        View {
            stride: stride as u32,
            present: 1,
            ..View::default()
        }
    }

    fn of(tensor: &Tensor<'_>, offset: u32) -> View {
        View {
            offset,
            stride: tensor.row_stride() as u32,
            kind: real_kind(tensor.dtype()),
            present: 1,
        }
    }
}

impl Target<'_> {
    /// The binding that reaches rows of a tensor, and the view of them.
    pub(crate) fn view_rows<'a>(
        &self,
        tensor: impl Into<Option<Tensor<'a>>>,
        first: usize,
        rows: usize,
    ) -> Viewed<'a> {
        let Some(tensor) = tensor.into() else {
            return Viewed::default();
        };
        let (bind, offset) = self.bind_rows(&tensor, first, rows);
        (bind, View::of(&tensor, offset))
    }

    /// The binding that reaches all of a tensor, and its view.
    pub(crate) fn view_all<'a>(
        &self,
        name: &str,
        tensor: impl Into<Option<Tensor<'a>>>,
    ) -> Result<Viewed<'a>, Error> {
        let Some(tensor) = tensor.into() else {
            return Ok(Viewed::default());
        };
        let (bind, offset) = self.bind_all(name, &tensor)?;
        Ok((bind, View::of(&tensor, offset)))
    }
}
