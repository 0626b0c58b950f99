//! Sizes that no machine has: an error, and no arithmetic that wraps on the way to it.

use crate::bytes::noop;
use wgloss::host::{Dense, Embeddings, Engine, KeyEmbeddings, LabelSets, Rows, Values, Wanted};
use wgloss::reference::{check_sparse, dense_from_bits, dense_from_sparse};
use wgloss::{
    CATALOG, Context, Contrastive, ContrastiveReduction, DType, Error, ErrorKind, Hierarchy, Mcm,
    Reduction, RowInputs, RowOutputs, Rowwise, Targets, Tensor,
};

const SIZES: [usize; 6] = [
    usize::MAX,
    usize::MAX - 1,
    usize::MAX / 2,
    usize::MAX / 4 + 1,
    1 << 62,
    (1 << 32) + 1,
];

#[test]
fn buffers_of_any_size_are_made_or_refused() -> Result<(), Error> {
    let gpu = noop()?;
    for bytes in SIZES {
        let bytes = bytes as u64;
        assert_eq!(
            gpu.zeros(bytes).unwrap_err().kind(),
            ErrorKind::Unsupported,
            "{bytes}"
        );
        let buffer = gpu.zeros(5)?;
        assert_eq!(buffer.size(), 8);
        let error = gpu.download(&buffer, bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Buffer, "{bytes}");
    }
    assert_eq!(gpu.zeros(0)?.size(), 4);
    assert_eq!(gpu.upload(&[])?.size(), 4);
    Ok(())
}

#[test]
fn batches_without_elements_have_any_shape() -> Result<(), Error> {
    let nothing = Values::F32(&[]);
    for engine in [Engine::reference(), Engine::on(noop()?)] {
        for size in SIZES {
            for entry in CATALOG {
                let targets = match entry.name {
                    "zlpr-kl" => Dense::Values(nothing),
                    _ => Dense::Flags(&[]),
                };
                for (rows, cols) in [(size, 0), (0, size), (size, size)] {
                    for reduction in [Reduction::Mean, Reduction::None] {
                        let batch = Rows::new(rows, cols, nothing, Targets::Dense(targets));
                        let loss = entry.loss().with_reduction(reduction);
                        let error = engine.rows(&loss, &batch, Wanted::Gradients).unwrap_err();
                        assert_eq!(error.subject(), "logits", "{} {rows} {cols}", entry.name);
                    }
                }
            }
            let sets = |rows, labels| {
                let sets = LabelSets::Dense(&[]);
                (
                    Embeddings::new(rows, 0, labels, nothing, sets),
                    KeyEmbeddings {
                        rows,
                        embeddings: nothing,
                        labels: sets,
                    },
                )
            };
            let loss = Contrastive::sim_dis().with_reduction(ContrastiveReduction::None);
            let (many, keys) = sets(size, 0);
            let with_keys = Embeddings {
                keys: Some(keys),
                ..sets(1, 0).0
            };
            for batch in [many, with_keys] {
                engine
                    .contrastive(&loss, &batch, Wanted::Gradients)
                    .unwrap_err();
                engine.relations(&batch).unwrap_err();
            }
            // Labels and dimensions that nothing has.
            let empty = Embeddings {
                dims: size,
                ..sets(0, size).0
            };
            assert_eq!(
                engine.contrastive(&loss, &empty, Wanted::Gradients)?.loss,
                Vec::<f32>::new()
            );
            assert_eq!(engine.relations(&empty)?, Vec::<u32>::new());
        }
        let none = Rows::new(
            0,
            u32::MAX as usize,
            nothing,
            Targets::Dense(Dense::Flags(&[])),
        );
        for entry in CATALOG.iter().filter(|entry| entry.name != "zlpr-kl") {
            let result = engine.rows(&entry.loss(), &none, Wanted::Gradients)?;
            assert_eq!(result.loss, [0.0], "{}", entry.name);
        }
    }
    Ok(())
}

#[test]
fn views_of_any_size_are_refused() -> Result<(), Error> {
    let gpu = noop()?;
    let cx: &Context = gpu.context();
    let (input, output) = (gpu.zeros(64)?, gpu.zeros(64)?);
    let sizes = [&SIZES[..], &[0, 1, 3]].concat();
    for entry in CATALOG {
        let kl = entry.name == "zlpr-kl";
        for (&rows, &cols) in sizes
            .iter()
            .flat_map(|rows| sizes.iter().map(move |cols| (rows, cols)))
        {
            for (offset, stride) in [(0, cols), (u64::MAX, usize::MAX), (1 << 62, 1 << 62)] {
                let view = |buffer| {
                    Tensor::matrix(buffer, DType::F32, rows, cols)
                        .with_offset(offset)
                        .with_row_stride(stride)
                };
                let loss = Tensor::vector(&output, DType::F32, 1);
                let inputs = RowInputs::new(view(&input), Targets::Dense(view(&input)));
                let outputs = RowOutputs {
                    loss: Some(loss),
                    ..RowOutputs::default()
                };
                // Refused or planned: what matters is that nothing panics.
                let made = entry.loss().prepare(cx, &inputs, &outputs);
                let fits = rows.checked_mul(cols).is_some_and(|all| all <= 16);
                assert!(made.is_err() || fits, "{} {rows} {cols} {kl}", entry.name);
            }
        }
    }
    Ok(())
}

#[test]
fn the_reference_counts_no_further_than_it_can() {
    for rows in SIZES {
        for cols in [0, 1, 33, usize::MAX] {
            assert!(dense_from_bits(rows, cols, &[]).is_err());
            assert!(dense_from_sparse(rows, cols, &[0], &[]).is_err());
            assert!(check_sparse(rows, cols, &[0], &[]).is_err());
        }
        assert!(Hierarchy::from_edges(rows, &[]).is_err());
    }
    let hierarchy = Hierarchy::from_edges(3, &[[1, 0]]).unwrap();
    let none = Targets::Dense(Dense::Flags(&[]));
    let rows = wgloss::host::McmRows::new(usize::MAX, Values::F32(&[]), none);
    let engine = Engine::reference();
    assert!(
        engine
            .mcm(&Mcm::default(), &hierarchy, &rows, Wanted::Loss)
            .is_err()
    );
}
