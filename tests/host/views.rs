//! No view of a tensor, however wrong, makes `prepare` panic, whatever the family; `edges.rs` has the losses of rows, with
//! more of everything.

use crate::gradients::{COLS, FAMILIES, Memory, Output, Prepare, ROWS, View, tensors};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgloss::{
    DType, Error, Gradient, Metrics, MetricsInputs, MetricsOutputs, Prepared, Targets, Tensor,
};

/// Places of the inputs, the most that a family has, and of the outputs.
const PLACES: [u64; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];

fn metrics(m: &Memory, _to: &[Gradient<'_>]) -> Result<Prepared, Error> {
    let inputs = MetricsInputs {
        class_mask: Some(m.matrix(2, DType::U8, 1, COLS)),
        mask: Some(m.matrix(3, DType::U8, ROWS, COLS)),
        ..MetricsInputs::new(
            m.reals(0, ROWS, COLS),
            Targets::Dense(m.matrix(1, DType::U8, ROWS, COLS)),
        )
    };
    let config = Metrics::default();
    let outputs = MetricsOutputs {
        words: m.matrix(10, DType::U32, 1, config.words_len(COLS)),
    };
    config.prepare(&m.machine.cx, &inputs, &outputs)
}

#[test]
fn no_view_whatever_makes_any_family_panic() {
    let memory = Memory::new();
    let none: &[Output] = &[];
    let families = FAMILIES.map(|(family, outputs, _, prepare)| (family, outputs, prepare));
    let own = [("metrics", none, metrics as Prepare)];
    for (family, outputs, prepare) in families.into_iter().chain(own) {
        let (mut refused, mut accepted) = (0, 0);
        for place in PLACES {
            for rows in [None, Some(0), Some(1), Some(usize::MAX)] {
                for cols in [None, Some(0), Some(1), Some(usize::MAX)] {
                    for stride in [None, Some(0), Some(41), Some(usize::MAX)] {
                        for offset in [None, Some(7), Some(u64::MAX / 4), Some(u64::MAX)] {
                            let view = View {
                                rows,
                                cols,
                                stride,
                                offset,
                            };
                            memory.odd.set(Some((place, view)));
                            let work = || {
                                let tensors: Vec<Tensor<'_>> = tensors(&memory, outputs);
                                let to: Vec<_> = tensors.into_iter().map(Gradient::To).collect();
                                prepare(&memory, &to)
                            };
                            match catch_unwind(AssertUnwindSafe(work)) {
                                Ok(Ok(prepared)) => {
                                    accepted += 1;
                                    let recorded =
                                        (memory.machine).submit(|encoder| prepared.encode(encoder));
                                    assert_eq!(recorded, Ok(()), "{family}: {place} as {view:?}");
                                }
                                Ok(Err(_)) => refused += 1,
                                Err(_) => panic!("{family}: {place} as {view:?} (message above)"),
                            }
                        }
                    }
                }
            }
        }
        // What a family has no tensor for is as it should be, and so is an odd offset or stride now and then.
        assert!(
            accepted > 100 && refused > 400,
            "{family}: {accepted} accepted, {refused} refused"
        );
    }
}
