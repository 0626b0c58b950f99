//! What the weighted difference takes beside the tensors of every row loss: refusals, steps, scratch.

use crate::call::{Machine, USAGE, entries, expect};
use wgloss::losses::wdl::{PairWeights, Phi};
use wgloss::{
    Bce, DType, Error, ErrorKind, Gradient, Order, PermutationInputs, PermutationOutputs,
    Permutations, Prepared, RowInputs, RowOutputs, Rowwise, Scope, Seed, Targets, Tensor, Wdl,
    wgpu,
};

const ROWS: usize = 6;
const COLS: usize = 40;

/// An order of the labels on the device.
type Labelled<'a> = Order<Tensor<'a>, Seed<Tensor<'a>>>;

/// Buffers large enough for every tensor of the calls below.
struct Memory {
    machine: Machine,
    buffers: Vec<wgpu::Buffer>,
}

impl Memory {
    fn new() -> Memory {
        let machine = Machine::plain();
        let buffers = (0..12).map(|_| machine.buffer(1 << 20, USAGE)).collect();
        Memory { machine, buffers }
    }

    fn matrix(&self, buffer: usize, dtype: DType, rows: usize, cols: usize) -> Tensor<'_> {
        Tensor::matrix(&self.buffers[buffer], dtype, rows, cols)
    }

    fn vector(&self, buffer: usize, dtype: DType, len: usize) -> Tensor<'_> {
        self.matrix(buffer, dtype, 1, len)
    }

    fn order(&self) -> Labelled<'_> {
        Order::Batch(self.vector(2, DType::U32, COLS))
    }

    fn seed(&self, scope: Scope) -> Labelled<'_> {
        let seed = self.vector(2, DType::U32, 2);
        // What is shared may stay, what is not moves on.
        let seed = match scope {
            Scope::Batch => Seed::fixed(seed),
            Scope::Row => Seed::advancing(seed),
        };
        Order::Seeded { seed, scope }
    }

    /// A good call of the adjacent form with all that it can have.
    fn call(&self) -> (RowInputs<'_>, RowOutputs<'_>) {
        let inputs = RowInputs {
            permutation: Some(self.order()),
            theta: Some(self.vector(3, DType::F32, COLS - 1)),
            theta0: Some(self.vector(4, DType::F32, 1)),
            ..RowInputs::new(
                self.matrix(0, DType::F32, ROWS, COLS),
                Targets::Dense(self.matrix(1, DType::F32, ROWS, COLS)),
            )
        };
        let outputs = RowOutputs {
            loss: Some(self.vector(5, DType::F32, 1)),
            grad_logits: Some(Gradient::To(self.matrix(6, DType::F32, ROWS, COLS))),
            grad_targets: Some(self.matrix(7, DType::F32, ROWS, COLS).into()),
            grad_theta: Some(self.vector(8, DType::F32, COLS - 1).into()),
            grad_theta0: Some(self.vector(9, DType::F32, 1).into()),
            ..RowOutputs::default()
        };
        (inputs, outputs)
    }

    fn prepare(
        &self,
        loss: &impl Rowwise,
        call: &(RowInputs<'_>, RowOutputs<'_>),
    ) -> Result<Prepared, Error> {
        loss.prepare(&self.machine.cx, &call.0, &call.1)
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    use ErrorKind::{Buffer, DType as Type, Shape, Value};
    let m = Memory::new();
    let refused =
        |kind, name: &str, text: &str, change: &dyn Fn(&mut RowInputs<'_>, &mut RowOutputs<'_>)| {
            let (mut inputs, mut outputs) = m.call();
            change(&mut inputs, &mut outputs);
            let result = m.prepare(&Wdl::adjacent(), &(inputs, outputs));
            expect(result, kind, name, text, text);
        };
    assert!(m.prepare(&Wdl::adjacent(), &m.call()).is_ok());
    let none = "this loss needs one, or a seed for it";
    refused(Value, "permutation", none, &|i, _| i.permutation = None);
    fn with<'a>(order: Labelled<'a>) -> impl Fn(&mut RowInputs<'a>, &mut RowOutputs<'a>) {
        move |inputs, _| inputs.permutation = Some(order)
    }
    let wrong: [(Labelled<'_>, ErrorKind, &str, &str); 6] = [
        (
            Order::Batch(m.vector(2, DType::U32, COLS - 1)),
            Shape,
            "permutation",
            "expected [40], found [39]",
        ),
        (
            Order::Batch(m.vector(2, DType::F32, COLS)),
            Type,
            "permutation",
            "expected u32, found f32",
        ),
        (
            Order::PerRow(m.matrix(2, DType::U32, ROWS, 39)),
            Shape,
            "permutation",
            "expected [6, 40], found [6, 39]",
        ),
        (
            Order::PerRow(m.vector(2, DType::U32, COLS)),
            Shape,
            "permutation",
            "expected [6, 40], found [1, 40]",
        ),
        (
            Order::Seeded {
                seed: Seed::fixed(m.vector(2, DType::U32, 1)),
                scope: Scope::Batch,
            },
            Shape,
            "seed",
            "expected [2], found [1]",
        ),
        (
            Order::Seeded {
                seed: Seed::advancing(m.vector(8, DType::U32, 2)),
                scope: Scope::Batch,
            },
            Buffer,
            "grad_theta",
            "memory apart from seed",
        ),
    ];
    for (order, kind, name, text) in wrong {
        let (mut inputs, mut outputs) = m.call();
        with(order)(&mut inputs, &mut outputs);
        expect(
            m.prepare(&Wdl::adjacent(), &(inputs, outputs)),
            kind,
            name,
            text,
            text,
        );
    }
    let tensor = |i, len| m.vector(i, DType::F32, len);
    let wrong: [(&str, ErrorKind, &str, RowInputs<'_>, RowOutputs<'_>); 8] = {
        let (i, o) = m.call();
        [
            (
                "theta",
                Shape,
                "expected [1, 39], found [1, 40]",
                RowInputs {
                    theta: Some(tensor(3, COLS)),
                    ..i
                },
                o,
            ),
            (
                "theta",
                Type,
                "expected f32, found f16",
                RowInputs {
                    theta: Some(m.vector(3, DType::F16, COLS - 1)),
                    ..i
                },
                o,
            ),
            (
                "theta0",
                Shape,
                "expected [1], found [2]",
                RowInputs {
                    theta0: Some(tensor(4, 2)),
                    ..i
                },
                o,
            ),
            (
                "grad_theta",
                Shape,
                "expected [1, 39], found [1, 38]",
                i,
                RowOutputs {
                    grad_theta: Some(tensor(8, 38).into()),
                    ..o
                },
            ),
            (
                "grad_theta",
                Value,
                "needs theta",
                RowInputs { theta: None, ..i },
                o,
            ),
            (
                "grad_theta0",
                Value,
                "needs theta0",
                RowInputs { theta0: None, ..i },
                o,
            ),
            (
                "grad_theta",
                Buffer,
                "memory apart from theta",
                i,
                RowOutputs {
                    grad_theta: i.theta.map(Gradient::To),
                    ..o
                },
            ),
            (
                "grad_theta0",
                Buffer,
                "memory apart from theta0",
                i,
                RowOutputs {
                    grad_theta0: i.theta0.map(Gradient::To),
                    ..o
                },
            ),
        ]
    };
    for (name, kind, text, inputs, outputs) in wrong {
        expect(
            m.prepare(&Wdl::adjacent(), &(inputs, outputs)),
            kind,
            name,
            text,
            text,
        );
    }
    // Other losses have no use for them.
    let (full, outputs) = m.call();
    let bare = RowInputs {
        permutation: None,
        theta: None,
        theta0: None,
        ..full
    };
    let outputs = RowOutputs {
        grad_theta: None,
        grad_theta0: None,
        ..outputs
    };
    for (name, inputs) in [
        (
            "permutation",
            RowInputs {
                permutation: full.permutation,
                ..bare
            },
        ),
        (
            "theta",
            RowInputs {
                theta: full.theta,
                ..bare
            },
        ),
        (
            "theta0",
            RowInputs {
                theta0: full.theta0,
                ..bare
            },
        ),
    ] {
        let result = m.prepare(&Bce::default(), &(inputs, outputs));
        expect(result, Value, name, "this loss takes none", name);
    }
}

#[test]
fn the_steps_are_those_of_the_form() {
    let m = Memory::new();
    let sweep = Wdl {
        phi: Phi::Abs,
        ..Wdl::default()
    };
    let rank = Wdl::pairs(PairWeights::Rank(2));
    let (inputs, outputs) = m.call();
    let pairs = RowInputs {
        permutation: None,
        theta: Some(m.vector(3, DType::F32, COLS)),
        ..inputs
    };
    let to_pairs = RowOutputs {
        grad_theta: Some(m.vector(8, DType::F32, COLS).into()),
        ..outputs
    };
    let loss = RowOutputs {
        loss: outputs.loss,
        ..RowOutputs::default()
    };
    let seeded = |scope| RowInputs {
        permutation: Some(m.seed(scope)),
        ..inputs
    };
    let two = RowInputs {
        theta: Some(m.matrix(3, DType::F32, 2, COLS)),
        ..pairs
    };
    let to_two = RowOutputs {
        grad_theta: Some(m.matrix(8, DType::F32, 2, COLS).into()),
        ..outputs
    };
    let bare = RowInputs {
        theta: None,
        theta0: None,
        ..inputs
    };
    for (config, inputs, outputs, expected) in [
        (
            Wdl::adjacent(),
            inputs,
            outputs,
            "weights rows find columns rows finish theta",
        ),
        (Wdl::adjacent(), bare, loss, "rows find rows finish"),
        (
            Wdl::adjacent(),
            seeded(Scope::Batch),
            loss,
            "weights rows permutation find rows finish",
        ),
        (
            Wdl::adjacent(),
            seeded(Scope::Row),
            loss,
            "weights rows permutation find rows finish advance",
        ),
        (
            Wdl::default(),
            pairs,
            to_pairs,
            "weights rows find columns rows finish theta",
        ),
        (
            rank,
            two,
            to_two,
            "weights rows find columns rows finish theta",
        ),
        (
            sweep,
            pairs,
            to_pairs,
            "weights rows sweep find columns rows finish theta",
        ),
        (
            sweep,
            RowInputs {
                theta: None,
                ..pairs
            },
            loss,
            "rows sweep find rows finish",
        ),
    ] {
        let prepared = m.prepare(&config, &(inputs, outputs)).expect(expected);
        assert_eq!(entries(&prepared), expected);
        let submitted = m.machine.submit(|encoder| prepared.encode(encoder));
        assert_eq!(submitted, Ok(()), "{expected}");
    }
}

/// The planes of a window stay below 64 MiB, whatever the number of rows.
#[test]
fn scratch_does_not_grow_with_the_rows() {
    let machine = Machine::plain();
    let (rows, cols) = (400_000, 60);
    let logits = machine.buffer(96_000_000, USAGE);
    let targets = machine.buffer(24_000_000, USAGE);
    let grad = machine.buffer(96_000_000, USAGE);
    let loss = machine.buffer(4, USAGE);
    let inputs = RowInputs::new(
        Tensor::matrix(&logits, DType::F32, rows, cols),
        Targets::Dense(Tensor::matrix(&targets, DType::U8, rows, cols)),
    );
    let outputs = RowOutputs {
        loss: Some(Tensor::vector(&loss, DType::F32, 1)),
        grad_logits: Some(Gradient::To(Tensor::matrix(&grad, DType::F32, rows, cols))),
        ..RowOutputs::default()
    };
    let prepared = Wdl {
        phi: Phi::Abs,
        ..Wdl::default()
    }
    .prepare(&machine.cx, &inputs, &outputs)
    .expect("large calls are done in windows");
    let plan = prepared.plan();
    assert_eq!(plan.windows, 5, "{plan:?}");
    assert!(
        plan.scratch_bytes < 72 << 20,
        "{} bytes",
        plan.scratch_bytes
    );
    let submitted = machine.submit(|encoder| prepared.encode(encoder));
    assert_eq!(submitted, Ok(()));
}

/// No rows, of more labels than can be counted: refused as of every row loss.
#[test]
fn more_labels_than_can_be_counted_are_refused() {
    let m = Memory::new();
    let empty = |buffer, dtype| m.matrix(buffer, dtype, 0, usize::MAX);
    let inputs = RowInputs {
        permutation: Some(m.seed(Scope::Row)),
        ..RowInputs::new(empty(0, DType::F32), Targets::Dense(empty(1, DType::F32)))
    };
    let outputs = RowOutputs {
        loss: Some(m.vector(6, DType::F32, 1)),
        grad_logits: Some(Gradient::To(empty(5, DType::F32))),
        ..RowOutputs::default()
    };
    expect(
        m.prepare(&Wdl::adjacent(), &(inputs, outputs)),
        ErrorKind::Unsupported,
        "logits",
        "fewer than 2^32 elements",
        "labels that cannot be counted",
    );
}

#[test]
fn permutations_are_checked_too() {
    let m = Memory::new();
    let cx = &m.machine.cx;
    let (seed, images) = (m.vector(0, DType::U32, 2), m.matrix(1, DType::U32, 3, 50));
    let prepare = |seed, permutation| {
        Permutations.prepare(
            cx,
            &PermutationInputs { seed },
            &PermutationOutputs { permutation },
        )
    };
    let call = prepare(Seed::advancing(seed), images).expect("a good call");
    assert_eq!(entries(&call), "permutation advance");
    let empty = prepare(Seed::fixed(seed), m.matrix(1, DType::U32, 3, 0)).expect("no labels");
    assert_eq!(entries(&empty), "");
    for (seed, images, kind, name, text) in [
        (
            m.vector(0, DType::F32, 2),
            images,
            ErrorKind::DType,
            "seed",
            "expected u32, found f32",
        ),
        (
            m.vector(0, DType::U32, 3),
            images,
            ErrorKind::Shape,
            "seed",
            "expected [2], found [3]",
        ),
        (
            seed,
            m.vector(1, DType::F32, 50),
            ErrorKind::DType,
            "permutation",
            "expected u32, found f32",
        ),
        (
            seed,
            m.vector(0, DType::U32, 50),
            ErrorKind::Buffer,
            "permutation",
            "memory apart from seed",
        ),
    ] {
        expect(
            prepare(Seed::advancing(seed), images),
            kind,
            name,
            text,
            text,
        );
    }
}
