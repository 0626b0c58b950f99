//! From a checked contrastive loss to its dispatches.

use super::contrastive::{Contrastive, ContrastiveInputs, ContrastiveOutputs, RelationInputs};
use crate::{Context, Error, Prepared, Tensor};

pub(super) fn build(
    _: &Context,
    _: &Contrastive,
    _: &ContrastiveInputs<'_>,
    _: &ContrastiveOutputs<'_>,
) -> Result<Prepared, Error> {
    Err(Error::value("todo", "", ""))
}

pub(super) fn build_relations(
    _: &Context,
    _: &RelationInputs<'_>,
    _: &Tensor<'_>,
) -> Result<Prepared, Error> {
    Err(Error::value("todo", "", ""))
}
