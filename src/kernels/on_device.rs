//! A hierarchy and the tensor that holds its words, so that a call cannot have the one without the other.

use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::losses::hierarchy::{Hierarchy, Levels};

/// Something that was validated on the host, with its words on the device: what
/// [`Hierarchy::on_device`](crate::Hierarchy::on_device) and [`Levels::on_device`](crate::Levels::on_device) give.
#[derive(Debug)]
pub struct OnDevice<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) words: Tensor<'a>,
}

// By hand: what is only borrowed need not be copied itself.
impl<H> Clone for OnDevice<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for OnDevice<'_, H> {}

impl Hierarchy {
    /// This hierarchy with its words, for calls: `words` is u32 `[words_len]` and holds what [`Hierarchy::words`] gave.
    ///
    /// # Errors
    /// Another element type or length. That the tensor holds these words is not checked.
    pub fn on_device<'a>(&'a self, words: Tensor<'a>) -> Result<OnDevice<'a, Hierarchy>, Error> {
        words.check("hierarchy", &[DType::U32])?;
        words.check_len("hierarchy", self.words_len())?;
        Ok(OnDevice { host: self, words })
    }
}

impl Levels {
    /// These levels with their words, for calls: `words` is u32 `[words_len]` and holds what [`Levels::words`] gave.
    ///
    /// # Errors
    /// Another element type or length. That the tensor holds these words is not checked.
    pub fn on_device<'a>(&'a self, words: Tensor<'a>) -> Result<OnDevice<'a, Levels>, Error> {
        words.check("levels", &[DType::U32])?;
        words.check_len("levels", self.words_len())?;
        Ok(OnDevice { host: self, words })
    }
}
