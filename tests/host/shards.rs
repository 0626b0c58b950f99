//! The two halves of a call whose labels are on several devices, on one that computes nothing: what is refused, and what a call
//! consists of.

use crate::bytes::noop;
use wgloss::host::Gpu;
use wgloss::losses::zlpr::Half;
use wgloss::{
    AnyLoss, Bce, CATALOG, DType, Error, Linear, LinearInputs, LinearOutputs, Mergeable, Reduction,
    RowInputs, RowOutputs, Targets, Tensor, Wdl, Zlpr, wgpu,
};

const ROWS: usize = 4;
const COLS: usize = 40;

/// One buffer for everything that a call has.
struct Small {
    gpu: Gpu,
    buffer: wgpu::Buffer,
}

impl Small {
    fn new() -> Result<Small, Error> {
        let gpu = noop()?;
        let buffer = gpu.zeros(1 << 16)?;
        Ok(Small { gpu, buffer })
    }

    fn at(&self, offset: u64, rows: usize, cols: usize) -> Tensor<'_> {
        Tensor::matrix(&self.buffer, DType::F32, rows, cols).with_offset(offset)
    }

    fn inputs(&self) -> RowInputs<'_> {
        let bits = Tensor::matrix(&self.buffer, DType::U32, ROWS, 2).with_offset(1000);
        RowInputs::new(self.at(0, ROWS, COLS), Targets::Bits(bits))
    }

    fn outputs(&self) -> RowOutputs<'_> {
        RowOutputs {
            loss: Some(self.at(2000, 1, 1)),
            grad_logits: Some(self.at(2064, ROWS, COLS).into()),
            ..RowOutputs::default()
        }
    }
}

fn refused(call: Result<impl Sized, Error>) -> String {
    call.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn what_has_to_agree_is_told() -> Result<(), Error> {
    let zlpr = Zlpr::hard().accumulator()?;
    assert_eq!((zlpr.loss, zlpr.version, zlpr.words), ("zlpr_hard", 1, 5));
    assert_eq!(Bce::default().accumulator()?.words, 3);
    // A mean over what counts has one word more.
    let elements = Bce::default().with_reduction(Reduction::MeanElements);
    assert_eq!(elements.accumulator()?.words, 4);
    assert_eq!(Linear::new(Zlpr::hard()).accumulator()?, zlpr);
    for entry in CATALOG {
        let words = entry.loss().accumulator().map(|all| all.words);
        assert_eq!(
            words.is_err(),
            entry.name == "wdl",
            "{}: {words:?}",
            entry.name
        );
    }
    Ok(())
}

#[test]
fn what_does_not_belong_is_refused_by_name() -> Result<(), Error> {
    let small = Small::new()?;
    let cx = small.gpu.context();
    let (inputs, outputs) = (small.inputs(), small.outputs());
    let loss = Zlpr::hard();
    let good = small.at(4096, ROWS, 5);
    let met = small.at(4096, 3, 5 * ROWS);
    loss.prepare_partial(cx, &inputs, good)?;
    loss.prepare_merged(cx, &inputs, met, &outputs)?;
    loss.prepare_folded(cx, met, small.at(8192, ROWS, 5))?;

    let both = Zlpr::two_way(1.0, 1.0).with_half(Half::Both);
    for other in [AnyLoss::from(Wdl::adjacent()), both.into()] {
        let told = refused(other.prepare_partial(cx, &inputs, good));
        assert!(
            told.contains("loss") && told.contains("merge from parts"),
            "{told}"
        );
    }
    let short = refused(loss.prepare_partial(cx, &inputs, small.at(4096, ROWS, 4)));
    assert!(
        short.contains("accumulators") && short.contains("[4, 5]"),
        "{short}"
    );
    let over = refused(loss.prepare_partial(cx, &inputs, small.at(0, ROWS, 5)));
    assert!(
        over.contains("accumulators") && over.contains("logits"),
        "{over}"
    );
    let none = refused(loss.prepare_merged(cx, &inputs, small.at(4096, 0, 5 * ROWS), &outputs));
    assert!(
        none.contains("accumulators") && none.contains("a row for each shard"),
        "{none}"
    );
    let odd = refused(loss.prepare_merged(cx, &inputs, small.at(4096, 3, 7), &outputs));
    assert!(
        odd.contains("accumulators") && odd.contains("[3, 20]"),
        "{odd}"
    );
    let wanted = refused(loss.prepare_merged(cx, &inputs, met, &RowOutputs::default()));
    assert!(wanted.contains("outputs"), "{wanted}");
    let folded = refused(loss.prepare_folded(cx, met, small.at(4100, ROWS, 5)));
    assert!(
        folded.contains("folded") && folded.contains("accumulators"),
        "{folded}"
    );

    let layer = Linear::new(loss);
    let inputs = LinearInputs::new(small.at(0, ROWS, 8), small.at(64, COLS, 8));
    let told = refused(layer.prepare_partial(cx, &inputs, good));
    assert!(told.contains("targets"), "{told}");
    let outputs = LinearOutputs {
        loss: Some(small.at(2000, 1, 1)),
        ..LinearOutputs::default()
    };
    let told = refused(layer.prepare_merged(cx, &inputs, met, &outputs));
    assert!(told.contains("targets"), "{told}");
    Ok(())
}

/// Devices and rows that are none, and many of either: what does not fit one binding comes in windows.
#[test]
fn any_number_of_rows_and_shards() -> Result<(), Error> {
    let gpu = noop()?;
    let cx = gpu.context();
    let loss = Zlpr::lsep().with_reduction(Reduction::MeanActive);
    let words = loss.accumulator()?.words;
    let sizes: [(usize, usize, usize, bool); 5] = [
        (0, 7, 2, false),
        (3, 0, 2, false),
        (20_000, 0, 3, false),
        (70_000, 2, 20, false),
        (1_000_000, 1, 8, true),
    ];
    for (rows, cols, shards, windows) in sizes {
        let buffer = |words: usize| gpu.zeros(4 * words.max(1) as u64);
        let (logits, bits, grad) = (buffer(rows * cols)?, buffer(rows)?, buffer(rows * cols)?);
        let (own, all, one) = (
            buffer(rows * words)?,
            buffer(shards * rows * words)?,
            buffer(1)?,
        );
        let inputs = RowInputs::new(
            Tensor::matrix(&logits, DType::F32, rows, cols),
            Targets::Bits(Tensor::matrix(&bits, DType::U32, rows, cols.div_ceil(32))),
        );
        loss.prepare_partial(cx, &inputs, Tensor::matrix(&own, DType::F32, rows, words))?;
        let outputs = RowOutputs {
            loss: Some(Tensor::vector(&one, DType::F32, 1)),
            grad_logits: Some(Tensor::matrix(&grad, DType::F32, rows, cols).into()),
            ..RowOutputs::default()
        };
        let met = Tensor::matrix(&all, DType::F32, shards, rows * words);
        let call = loss.prepare_merged(cx, &inputs, met, &outputs)?;
        let steps = &call.plan().steps;
        let combined = steps.iter().filter(|step| step.kernel.entry == "combine");
        // The rows' losses and what counts, each window of them: even of rows that have no labels here.
        let least = if rows == 0 { 0 } else { 2 };
        assert!(
            combined.clone().count() >= least,
            "{rows} rows of {cols} labels"
        );
        assert_eq!(
            combined.count() > 2,
            windows,
            "{rows} rows of {cols} labels"
        );
    }
    Ok(())
}

/// Accumulators of no rows take no memory, whatever number of shards they say they are of.
#[test]
fn no_number_of_shards_makes_a_call_panic() -> Result<(), Error> {
    let small = Small::new()?;
    let cx = small.gpu.context();
    let empty = Tensor::matrix(&small.buffer, DType::U32, 0, 2);
    let inputs = RowInputs::new(small.at(0, 0, COLS), Targets::Bits(empty));
    let outputs = RowOutputs {
        loss: Some(small.at(2000, 1, 1)),
        ..RowOutputs::default()
    };
    let loss = Zlpr::hard();
    for shards in [1 << 31, u32::MAX as usize] {
        let met = small.at(4096, shards, 0);
        loss.prepare_merged(cx, &inputs, met, &outputs)?;
        let told = refused(loss.prepare_folded(cx, met, small.at(8192, 0, 4)));
        assert!(told.contains("folded"), "{told}");
        loss.prepare_folded(cx, met, small.at(8192, 0, 5))?;
    }
    Ok(())
}
