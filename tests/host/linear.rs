//! The fused last layer on a device that computes nothing: what is refused, and what memory it takes.

use crate::bytes::noop;
use wgloss::host::Gpu;
use wgloss::losses::zlpr::Half;
use wgloss::{
    AnyLoss, Bce, DType, Error, Gradient, Linear, LinearInputs, LinearOutputs, Prepared, Targets,
    Tensor, Update, Wdl, Zlpr, wgpu,
};

/// One buffer for everything that a call has.
struct Small {
    gpu: Gpu,
    buffer: wgpu::Buffer,
}

const ROWS: usize = 4;
const COLS: usize = 40;
const DIMS: usize = 6;

impl Small {
    fn new() -> Result<Small, Error> {
        let gpu = noop()?;
        let buffer = gpu.zeros(1 << 16)?;
        Ok(Small { gpu, buffer })
    }

    fn at(&self, offset: u64, dtype: DType, rows: usize, cols: usize) -> Tensor<'_> {
        Tensor::matrix(&self.buffer, dtype, rows, cols).with_offset(offset)
    }

    fn reals(&self, offset: u64, rows: usize, cols: usize) -> Tensor<'_> {
        self.at(offset, DType::F32, rows, cols)
    }

    fn inputs(&self) -> LinearInputs<'_> {
        LinearInputs {
            bias: Some(self.reals(1024, 1, COLS)),
            targets: Some(Targets::Bits(self.at(1100, DType::U32, ROWS, 2))),
            ..LinearInputs::new(self.reals(0, ROWS, DIMS), self.reals(64, COLS, DIMS))
        }
    }

    fn outputs(&self) -> LinearOutputs<'_> {
        LinearOutputs {
            loss: Some(self.reals(2000, 1, 1)),
            grad_hidden: Some(self.reals(2048, ROWS, DIMS).into()),
            grad_weights: Some(self.reals(2100, COLS, DIMS).into()),
            grad_bias: Some(self.reals(2400, 1, COLS).into()),
            top_labels: Some(self.at(3000, DType::U32, ROWS, 5)),
            top_scores: Some(self.reals(3100, ROWS, 5)),
        }
    }

    fn prepare(
        &self,
        layer: Linear<AnyLoss>,
        inputs: &LinearInputs<'_>,
        outputs: &LinearOutputs<'_>,
    ) -> Result<Prepared, Error> {
        layer.prepare(self.gpu.context(), inputs, outputs)
    }
}

#[test]
fn what_does_not_belong_is_refused_by_name() -> Result<(), Error> {
    let small = Small::new()?;
    let layer = Linear::new(AnyLoss::from(Zlpr::hard()));
    let (inputs, outputs) = (small.inputs(), small.outputs());
    small.prepare(layer, &inputs, &outputs)?;
    let adagrad = layer.with_update(Update::adagrad(0.1), 0);
    let stepped = LinearOutputs {
        grad_weights: None,
        ..outputs
    };
    let with_state = LinearInputs {
        state: Some(small.reals(4000, 1, COLS)),
        ..inputs
    };
    small.prepare(adagrad, &with_state, &stepped)?;
    let (r, u) = (
        |offset, rows, cols| Some(small.reals(offset, rows, cols)),
        |offset, rows, cols| Some(small.at(offset, DType::U32, rows, cols)),
    );
    let none = LinearOutputs::default();
    #[rustfmt::skip]
    let cases: Vec<(&str, Linear<AnyLoss>, LinearInputs<'_>, LinearOutputs<'_>)> = vec![
        ("outputs", layer, inputs, none),
        ("weights", layer, LinearInputs { weights: small.reals(64, COLS, DIMS + 1), ..inputs }, outputs),
        ("weights", layer, LinearInputs { weights: small.at(64, DType::U8, COLS, DIMS), ..inputs }, outputs),
        ("hidden", layer, LinearInputs { hidden: small.reals(0, ROWS, 0), weights: small.reals(64, COLS, 0), ..inputs }, outputs),
        ("bias", layer, LinearInputs { bias: r(1024, 1, COLS - 1), ..inputs }, outputs),
        ("grad_bias", layer, LinearInputs { bias: None, ..inputs }, outputs),
        ("targets", layer, LinearInputs { targets: None, ..inputs }, outputs),
        ("targets", layer, LinearInputs { targets: Some(Targets::Dense(small.at(5000, DType::U8, ROWS, COLS))), ..inputs }, outputs),
        ("target_bits", layer, LinearInputs { targets: Some(Targets::Bits(small.at(1100, DType::U32, ROWS, 1))), ..inputs }, outputs),
        ("class_mask", layer, LinearInputs { class_mask: r(1024, 1, COLS), ..inputs }, outputs),
        ("sample_weight", layer, LinearInputs { sample_weight: r(1024, 1, COLS), ..inputs }, outputs),
        ("grad_loss", layer, LinearInputs { grad_loss: r(1024, 1, ROWS), ..inputs }, outputs),
        ("state", layer, with_state, outputs),
        ("state", adagrad, inputs, stepped),
        ("grad_weights", adagrad, with_state, outputs),
        ("grad_weights", layer, inputs, LinearOutputs { grad_weights: Some(small.reals(64, COLS, DIMS).into()), ..outputs }),
        ("grad_hidden", layer, inputs, LinearOutputs { grad_hidden: Some(Gradient::InPlace), ..outputs }),
        ("grad_hidden", layer, inputs, LinearOutputs { grad_hidden: Some(small.at(2048, DType::F16, ROWS, DIMS).into()), ..outputs }),
        ("top_scores", layer, inputs, LinearOutputs { top_scores: None, ..outputs }),
        ("top_labels", layer, inputs, LinearOutputs { top_labels: None, ..outputs }),
        ("top_labels", layer, inputs, LinearOutputs { top_labels: u(3000, ROWS, COLS + 1), top_scores: r(3300, ROWS, COLS + 1), ..outputs }),
        ("top_labels", layer, inputs, LinearOutputs { top_labels: u(3000, ROWS, 0), top_scores: r(3100, ROWS, 0), ..outputs }),
        ("rate", layer.with_update(Update::sgd(f32::NAN), 0), inputs, stepped),
        ("rate", layer.with_update(Update::sgd(-1.0), 0), inputs, stepped),
        ("epsilon", layer.with_update(Update::Adagrad { rate: 1.0, epsilon: 0.0 }, 0), with_state, stepped),
        ("loss", Linear::new(Wdl::default().into()), inputs, outputs),
        ("loss", Linear::new(Zlpr::kl_symmetric(1.0).into()), inputs, outputs),
        ("loss", Linear::new(Zlpr::two_way(4.0, 1.0).with_half(Half::Both).into()), inputs, outputs),
    ];
    for (i, (name, layer, inputs, outputs)) in cases.into_iter().enumerate() {
        let error = small.prepare(layer, &inputs, &outputs).unwrap_err();
        assert_eq!(error.subject(), name, "case {i}: {error}");
    }
    // Predictions want no targets.
    let predictions = LinearOutputs {
        top_labels: outputs.top_labels,
        top_scores: outputs.top_scores,
        ..none
    };
    let plain = LinearInputs {
        targets: None,
        ..inputs
    };
    small.prepare(layer, &plain, &predictions)?;
    Ok(())
}

#[test]
fn batches_of_nothing_are_calls() -> Result<(), Error> {
    let small = Small::new()?;
    for (rows, cols) in [(0, COLS), (ROWS, 0), (0, 0)] {
        for tile in [0, 32 << 20] {
            let inputs = LinearInputs {
                targets: Some(Targets::Bits(small.at(
                    1100,
                    DType::U32,
                    rows,
                    cols.div_ceil(32),
                ))),
                ..LinearInputs::new(small.reals(0, rows, DIMS), small.reals(64, cols, DIMS))
            };
            let outputs = LinearOutputs {
                loss: Some(small.reals(2000, 1, 1)),
                grad_hidden: Some(small.reals(2048, rows, DIMS).into()),
                grad_weights: Some(small.reals(2100, cols, DIMS).into()),
                ..LinearOutputs::default()
            };
            for loss in [AnyLoss::from(Zlpr::hard()), Bce::default().into()] {
                let layer = Linear::new(loss).with_tile_bytes(tile);
                small.prepare(layer, &inputs, &outputs)?;
            }
        }
    }
    Ok(())
}

/// Scratch of a call at 2,812,281 labels (AmazonTitles-3M), 512 samples. The device that computes nothing has memory for what
/// it is asked for, so the components are few here; the planner's own test has 768.
#[test]
fn millions_of_labels_take_a_tile() -> Result<(), Error> {
    const ROWS: usize = 512;
    const COLS: usize = 2_812_281;
    const DIMS: usize = 16;
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 1 << 27,
        ..wgpu::Limits::default()
    };
    let gpu =
        Gpu::noop(wgpu::Features::empty(), limits)?.with_variant("tree-256-packed".parse()?)?;
    let weights = gpu.zeros((COLS * DIMS * 2) as u64)?;
    let rest = gpu.zeros(1 << 20)?;
    let inputs = LinearInputs {
        targets: Some(Targets::Sparse {
            offsets: Tensor::vector(&rest, DType::U32, ROWS + 1),
            indices: Tensor::vector(&rest, DType::U32, 5 * ROWS).with_offset(1024),
        }),
        ..LinearInputs::new(
            Tensor::matrix(&rest, DType::F32, ROWS, DIMS).with_offset(1 << 14),
            Tensor::matrix(&weights, DType::Bf16, COLS, DIMS),
        )
    };
    let outputs = LinearOutputs {
        loss: Some(Tensor::vector(&rest, DType::F32, 1).with_offset(1 << 15)),
        grad_hidden: Some(
            Tensor::matrix(&rest, DType::F32, ROWS, DIMS)
                .with_offset(1 << 16)
                .into(),
        ),
        ..LinearOutputs::default()
    };
    for loss in [AnyLoss::from(Zlpr::hard()), Bce::default().into()] {
        let layer = Linear::new(loss).with_update(Update::sgd(0.1), 0);
        let call = layer.prepare(gpu.context(), &inputs, &outputs)?;
        let scratch = call.plan().scratch_bytes;
        // A tile, that turned, gradients of a strip, and little beside.
        let tile = (256 << 20) / 5;
        assert!(
            scratch > tile && scratch < 3 * tile + (4 << 20),
            "{scratch} bytes"
        );
        // Logits would take 5.8 GB.
        assert!(scratch < (ROWS * COLS * 4) as u64 / 50);
        for step in &call.plan().steps {
            assert!(
                step.groups.iter().all(|groups| *groups <= 65_535),
                "{step:?}"
            );
        }
    }
    Ok(())
}
