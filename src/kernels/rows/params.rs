//! The parameters of the row kernels, in parts. What each field means stands in shaders/shared/params.wgsl.

use crate::device::module::{Mirror, Uniform, uniform};
use crate::device::plan::Grid;

/// Words that a loss's own settings may take.
const OWN_WORDS: usize = 20;

/// The loss's own settings, as its WGSL declares them: the first words of this.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Settings([u32; OWN_WORDS]);

impl Uniform for Settings {
    const NAME: &'static str = "Settings";
    const ALIGN: usize = 16;
}

impl Settings {
    /// For the WGSL of a loss whose settings these are.
    pub(crate) fn of<S: bytemuck::Pod>(settings: S) -> Settings {
        let mut own = Settings::default();
        let bytes = bytemuck::bytes_of(&settings);
        bytemuck::bytes_of_mut(&mut own)[..bytes.len()].copy_from_slice(bytes);
        own
    }
}

uniform! {
    /// Which rows.
    pub(crate) struct RowWindow {
        rows: u32,
        cols: u32,
        first_row: u32,
        pad: u32,
    }
}

uniform! {
    /// How rows are laid over lanes and workgroups.
    pub(crate) struct RowGrid {
        width: u32,
        shift: u32,
        groups: u32,
        groups_x: u32,
        chunks: u32,
        steps: u32,
        block: u32,
        column_rows: u32,
        columns: u32,
        apart: u32,
        pad0: u32,
        pad1: u32,
    }
}

uniform! {
    /// Where the tensors with rows begin.
    pub(crate) struct RowViews {
        logits_offset: u32,
        logits_stride: u32,
        targets_offset: u32,
        targets_stride: u32,
        mask_offset: u32,
        mask_stride: u32,
        grad_offset: u32,
        grad_stride: u32,
        grad2_offset: u32,
        grad2_stride: u32,
        pad0: u32,
        pad1: u32,
    }
}

uniform! {
    /// The side tensors, each an offset into their binding.
    pub(crate) struct RowSides {
        sample_weight: u32,
        grad_loss: u32,
        grad_loss_row: u32,
        threshold: u32,
        threshold_row: u32,
        labels: u32,
        thresholds: u32,
        labels_stride: u32,
    }
}

uniform! {
    /// Places in scratch, and what is wanted.
    pub(crate) struct RowPlaces {
        loss_at: u32,
        threshold_at: u32,
        coef_at: u32,
        chunk_at: u32,
        column_at: u32,
        want_grad: u32,
        pad0: u32,
        pad1: u32,
    }
}

uniform! {
    /// What settings the losses share.
    pub(crate) struct RowGeneral {
        scale: f32,
        smoothing: f32,
        row_mean: u32,
        nan: u32,
        infinity: u32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

uniform! {
    /// Everything that a row kernel is told.
    pub(crate) struct RowParams {
        window: RowWindow,
        grid: RowGrid,
        views: RowViews,
        sides: RowSides,
        places: RowPlaces,
        general: RowGeneral,
        own: Settings,
    }
}

/// What every row kernel and its host share.
pub(crate) const ROW_MIRRORS: &[Mirror] = &[
    RowWindow::MIRROR,
    RowGrid::MIRROR,
    RowViews::MIRROR,
    RowSides::MIRROR,
    RowPlaces::MIRROR,
    RowGeneral::MIRROR,
    RowParams::MIRROR,
];

impl RowParams {
    /// On a grid of workgroups.
    pub(crate) fn on(mut self, grid: Grid) -> Self {
        self.grid.groups = grid.groups;
        self.grid.groups_x = grid.groups_x;
        self
    }
}

uniform! {
    /// One sum or copy of `finish`.
    pub(crate) struct FinishJob as Job {
        source: u32,
        stride: u32,
        count: u32,
        len: u32,
        destination: u32,
        scale: f32,
        groups: u32,
        slice: u32,
    }
}

uniform! {
    /// One copy of `gather`.
    pub(crate) struct GatherPiece as Piece {
        at: u32,
        mask_at: u32,
        len: u32,
        destination: u32,
        groups: u32,
        kind: u32,
        phases: u32,
        stride: u32,
    }
}

/// Most jobs of `finish`.
pub(crate) const JOBS: usize = 2;
/// Most pieces of `gather`: as many as there are side tensors.
pub(crate) const PIECES: usize = 4;

/// What `finish` is told.
pub(crate) const FINISH_PARAMS: Mirror = Mirror {
    name: "FinishParams",
    fields: &[("jobs", "Job")],
    size: size_of::<[FinishJob; JOBS]>(),
};
/// What `gather` is told.
pub(crate) const GATHER_PARAMS: Mirror = Mirror {
    name: "GatherParams",
    fields: &[("pieces", "Piece")],
    size: size_of::<[GatherPiece; PIECES]>(),
};
