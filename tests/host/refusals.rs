//! What `prepare` refuses of a row loss, the slices of the host and the reference refuse too, in the same words.

use crate::call::{Machine, USAGE};
use wgloss::host::{Dense, Engine, Rows, Values, Wanted};
use wgloss::losses::wdl::PairWeights;
use wgloss::reference;
use wgloss::{
    AnyLoss, CATALOG, DType, Order, RowInputs, RowOutputs, Rowwise, Scope, Seed, Targets, Tensor,
    Threshold, Wdl, Zlpr, wgpu,
};

const ROWS: usize = 2;
const COLS: usize = 3;
const ZEROS: [f32; 8] = [0.0; 8];
const WIDE: [f64; 8] = [0.0; 8];
const ORDER: [u32; 6] = [2, 0, 1, 0, 1, 2];

/// Something that a call may give, or how its targets are given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Given {
    Threshold,
    ThresholdOfRows,
    ThresholdOfLabels,
    Order,
    OrderOfRows,
    Seed,
    Theta,
    Theta0,
    Bits,
    Lists,
    Flags,
    Integers,
}

const ALL: [Given; 12] = [
    Given::Threshold,
    Given::ThresholdOfRows,
    Given::ThresholdOfLabels,
    Given::Order,
    Given::OrderOfRows,
    Given::Seed,
    Given::Theta,
    Given::Theta0,
    Given::Bits,
    Given::Lists,
    Given::Flags,
    Given::Integers,
];

fn theta_shape(loss: &AnyLoss) -> (usize, usize) {
    let shape = loss.takes().theta;
    shape.map_or((1, COLS), |shape| shape.of(COLS))
}

/// What `prepare` says.
fn on_device(
    machine: &Machine,
    buffers: &[wgpu::Buffer],
    loss: AnyLoss,
    given: &[Given],
) -> String {
    let matrix = |at: usize, dtype, rows, cols| Tensor::matrix(&buffers[at], dtype, rows, cols);
    let vector = |at, dtype, len| matrix(at, dtype, 1, len);
    let dense = |dtype| Targets::Dense(matrix(1, dtype, ROWS, COLS));
    let mut inputs = RowInputs::new(matrix(0, DType::F32, ROWS, COLS), dense(DType::F32));
    let (sets, len) = theta_shape(&loss);
    for what in given {
        match what {
            Given::Threshold => {
                inputs.threshold = Some(Threshold::Batch(vector(2, DType::F32, 1)));
            }
            Given::ThresholdOfRows => {
                inputs.threshold = Some(Threshold::Row(vector(2, DType::F32, ROWS)));
            }
            Given::ThresholdOfLabels => {
                inputs.threshold = Some(Threshold::Label(vector(2, DType::F32, COLS)));
            }
            Given::Order => inputs.permutation = Some(Order::Batch(vector(3, DType::U32, COLS))),
            Given::OrderOfRows => {
                inputs.permutation = Some(Order::PerRow(matrix(3, DType::U32, ROWS, COLS)));
            }
            Given::Seed => {
                inputs.permutation = Some(Order::Seeded {
                    seed: Seed::fixed(vector(3, DType::U32, 2)),
                    scope: Scope::Row,
                });
            }
            Given::Theta => inputs.theta = Some(matrix(4, DType::F32, sets, len)),
            Given::Theta0 => inputs.theta0 = Some(vector(5, DType::F32, 1)),
            Given::Bits => inputs.targets = Targets::Bits(matrix(1, DType::U32, ROWS, 1)),
            Given::Lists => {
                inputs.targets = Targets::Sparse {
                    offsets: vector(1, DType::U32, ROWS + 1),
                    indices: vector(6, DType::U32, 2),
                };
            }
            Given::Flags => inputs.targets = dense(DType::U8),
            Given::Integers => inputs.targets = dense(DType::U32),
        }
    }
    let outputs = RowOutputs {
        loss: Some(vector(7, DType::F32, 1)),
        ..RowOutputs::default()
    };
    let prepared = loss.prepare(&machine.cx, &inputs, &outputs);
    prepared.map_or_else(|error| error.to_string(), |_| "fine".into())
}

/// What the engine says that computes on the reference.
fn on_host(loss: AnyLoss, given: &[Given]) -> String {
    let values = Values::F32(&ZEROS[..ROWS * COLS]);
    let mut rows = Rows::new(ROWS, COLS, values, Targets::Dense(Dense::Values(values)));
    let (sets, len) = theta_shape(&loss);
    for what in given {
        match what {
            Given::Threshold => rows.threshold = Some(Threshold::Batch(&ZEROS[..1])),
            Given::ThresholdOfRows => rows.threshold = Some(Threshold::Row(&ZEROS[..ROWS])),
            Given::ThresholdOfLabels => rows.threshold = Some(Threshold::Label(&ZEROS[..COLS])),
            Given::Order => rows.permutation = Some(Order::Batch(&ORDER[..COLS])),
            Given::OrderOfRows => rows.permutation = Some(Order::PerRow(&ORDER)),
            Given::Seed => {
                rows.permutation = Some(Order::Seeded {
                    seed: 1,
                    scope: Scope::Row,
                });
            }
            Given::Theta => rows.theta = Some(&ZEROS[..sets * len]),
            Given::Theta0 => rows.theta0 = Some(0.0),
            Given::Bits => rows.targets = Targets::Bits(&[1, 2]),
            Given::Lists => {
                rows.targets = Targets::Sparse {
                    offsets: &[0, 1, 2],
                    indices: &[0, 1],
                };
            }
            Given::Flags => rows.targets = Targets::Dense(Dense::Flags(&[0; ROWS * COLS])),
            Given::Integers => {
                rows.targets = Targets::Dense(Dense::Integers(&[0; ROWS * COLS]));
            }
        }
    }
    let result = Engine::reference().rows(&loss, &rows, Wanted::Loss);
    result.map_or_else(|error| error.to_string(), |_| "fine".into())
}

/// What the reference says, which has no other form of targets.
fn on_reference(loss: AnyLoss, given: &[Given]) -> Option<String> {
    let mut inputs = reference::RowInputs::<f64> {
        rows: ROWS,
        cols: COLS,
        logits: &WIDE[..ROWS * COLS],
        targets: &WIDE[..ROWS * COLS],
        ..reference::RowInputs::default()
    };
    let (sets, len) = theta_shape(&loss);
    for what in given {
        match what {
            Given::Threshold => inputs.threshold = Some(Threshold::Batch(&WIDE[..1])),
            Given::ThresholdOfRows => inputs.threshold = Some(Threshold::Row(&WIDE[..ROWS])),
            Given::ThresholdOfLabels => inputs.threshold = Some(Threshold::Label(&WIDE[..COLS])),
            Given::Order => inputs.permutation = Some(Order::Batch(&ORDER[..COLS])),
            Given::OrderOfRows => inputs.permutation = Some(Order::PerRow(&ORDER)),
            Given::Seed => {
                inputs.permutation = Some(Order::Seeded {
                    seed: 1,
                    scope: Scope::Row,
                });
            }
            Given::Theta => inputs.theta = Some(&WIDE[..sets * len]),
            Given::Theta0 => inputs.theta0 = Some(0.0),
            Given::Bits | Given::Lists | Given::Flags | Given::Integers => return None,
        }
    }
    let result = loss.reference(&inputs);
    Some(result.map_or_else(|error| error.to_string(), |_| "fine".into()))
}

#[test]
fn device_host_and_reference_refuse_the_same() {
    let machine = Machine::plain();
    let buffers: Vec<wgpu::Buffer> = (0..8).map(|_| machine.buffer(256, USAGE)).collect();
    let mut losses: Vec<AnyLoss> = CATALOG.iter().map(|entry| entry.loss()).collect();
    losses.extend::<[AnyLoss; 3]>([
        Zlpr::kl_excess().into(),
        Wdl::adjacent().into(),
        Wdl::pairs(PairWeights::Rank(2)).into(),
    ]);
    let (mut fine, mut refused) = (0, 0);
    for loss in losses {
        let takes = loss.takes();
        let mut calls: Vec<Vec<Given>> = vec![vec![]];
        for (i, one) in ALL.into_iter().enumerate() {
            calls.push(vec![one]);
            calls.extend(ALL[..i].iter().map(|other| vec![*other, one]));
        }
        for given in calls {
            let device = on_device(&machine, &buffers, loss, &given);
            let what = format!("{loss:?} with {given:?}");
            assert_eq!(device, on_host(loss, &given), "{what}");
            if let Some(reference) = on_reference(loss, &given) {
                assert_eq!(device, reference, "{what}");
            }
            let expected = match given[..] {
                [Given::Threshold | Given::ThresholdOfRows | Given::ThresholdOfLabels]
                    if !takes.threshold =>
                {
                    "threshold: this loss takes none"
                }
                [Given::Order | Given::OrderOfRows | Given::Seed] if !takes.permutation => {
                    "permutation: this loss takes none"
                }
                [Given::Theta] if takes.theta.is_none() => "theta: this loss takes none",
                [Given::Theta0] if takes.theta.is_none() => "theta0: this loss takes none",
                [] if takes.permutation => "permutation: this loss needs one, or a seed for it",
                [] => "fine",
                _ => &device,
            };
            assert_eq!(device, expected, "{what}");
            match device.as_str() {
                "fine" => fine += 1,
                _ => refused += 1,
            }
        }
    }
    assert!(
        fine > 100 && refused > 100,
        "{fine} accepted, {refused} refused"
    );
}
