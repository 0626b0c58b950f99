//! Where gradients go: to a tensor, onto what is in one, and in place of the logits of row losses alone.

use crate::call::{Machine, USAGE, entries, expect};
use std::cell::Cell;
use wgloss::losses::wdl::PairWeights;
use wgloss::{
    Balance, BalanceInputs, BalanceOutputs, BalanceState, Contrastive, ContrastiveInputs,
    ContrastiveOutputs, DType, Denominator, Error, ErrorKind, Gradient, Hcal, HcalInputs,
    HcalOutputs, Hierarchy, Keys, Levels, Mcm, McmInputs, McmOutputs, Prepared, RowInputs,
    RowOutputs, Targets, Tensor, Threshold, Wdl, Zlpr, wgpu,
};

pub const ROWS: usize = 6;
pub const COLS: usize = 5;
const PLACE: u64 = 4096;

/// A buffer for everything, with a place for each tensor.
pub struct Memory {
    pub machine: Machine,
    buffer: wgpu::Buffer,
    /// The tensor of this place is another view than it should be.
    pub odd: Cell<Option<(u64, View)>>,
}

/// What of a view is another than it should be.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    pub rows: Option<usize>,
    pub cols: Option<usize>,
    pub stride: Option<usize>,
    pub offset: Option<u64>,
}

impl Memory {
    pub fn new() -> Self {
        let machine = Machine::plain();
        let buffer = machine.buffer(32 * PLACE, USAGE);
        Memory {
            machine,
            buffer,
            odd: Cell::default(),
        }
    }

    pub fn matrix(&self, at: u64, dtype: DType, rows: usize, cols: usize) -> Tensor<'_> {
        let own = at * PLACE / dtype.size();
        let odd = self.odd.get().filter(|(place, _)| *place == at);
        let view = odd.map(|(_, view)| view).unwrap_or_default();
        let cols = view.cols.unwrap_or(cols);
        Tensor::matrix(&self.buffer, dtype, view.rows.unwrap_or(rows), cols)
            .with_row_stride(view.stride.unwrap_or(cols))
            .with_offset(view.offset.unwrap_or(own))
    }

    pub fn reals(&self, at: u64, rows: usize, cols: usize) -> Tensor<'_> {
        self.matrix(at, DType::F32, rows, cols)
    }
}

/// An output: its name, its shape.
pub type Output = (&'static str, usize, usize);
/// Makes a call whose gradients go where it is told.
pub type Prepare = fn(&Memory, &[Gradient<'_>]) -> Result<Prepared, Error>;

/// The families with their gradients. Those that a kernel adds, which makes them, come first; then so many more.
pub const FAMILIES: [(&str, &[Output], usize, Prepare); 6] = [
    (
        "thresholds",
        &[("grad_logits", ROWS, COLS), ("grad_threshold", 1, ROWS)],
        1,
        thresholds,
    ),
    (
        "wdl",
        &[
            ("grad_targets", ROWS, COLS),
            ("grad_theta", 1, COLS),
            ("grad_theta0", 1, 1),
        ],
        2,
        wdl,
    ),
    (
        "contrastive",
        &[
            ("grad_embeddings", ROWS, COLS),
            ("grad_keys", 3, COLS),
            ("grad_temperature", 1, 1),
            ("grad_bias", 1, 1),
        ],
        2,
        contrastive,
    ),
    (
        "hcal",
        &[
            ("grad_features", ROWS, COLS),
            ("grad_prototypes_1", 3, COLS),
            ("grad_prototypes_2", 2, COLS),
            ("grad_log_variances", 1, 2),
        ],
        4,
        hcal,
    ),
    ("mcm", &[("grad_logits", ROWS, COLS)], 0, mcm),
    (
        "balance",
        &[("grad_losses", 1, COLS), ("grad_log_variances", 1, COLS)],
        2,
        balance,
    ),
];

fn thresholds(m: &Memory, to: &[Gradient<'_>]) -> Result<Prepared, Error> {
    let inputs = RowInputs {
        threshold: Some(Threshold::Row(m.reals(2, 1, ROWS))),
        ..RowInputs::new(
            m.reals(0, ROWS, COLS),
            Targets::Dense(m.matrix(1, DType::U8, ROWS, COLS)),
        )
    };
    let outputs = RowOutputs {
        grad_logits: Some(to[0]),
        grad_threshold: Some(to[1]),
        ..RowOutputs::default()
    };
    Zlpr::hard().prepare(&m.machine.cx, &inputs, &outputs)
}

fn wdl(m: &Memory, to: &[Gradient<'_>]) -> Result<Prepared, Error> {
    let inputs = RowInputs {
        theta: Some(m.reals(2, 1, COLS)),
        theta0: Some(m.reals(3, 1, 1)),
        ..RowInputs::new(
            m.reals(0, ROWS, COLS),
            Targets::Dense(m.reals(1, ROWS, COLS)),
        )
    };
    let outputs = RowOutputs {
        grad_logits: Some(m.reals(4, ROWS, COLS).into()),
        grad_targets: Some(to[0]),
        grad_theta: Some(to[1]),
        grad_theta0: Some(to[2]),
        ..RowOutputs::default()
    };
    Wdl::pairs(PairWeights::RankOne).prepare(&m.machine.cx, &inputs, &outputs)
}

fn contrastive(m: &Memory, to: &[Gradient<'_>]) -> Result<Prepared, Error> {
    let labels = |at, rows| Targets::Dense(m.matrix(at, DType::U8, rows, 9));
    let inputs = ContrastiveInputs {
        keys: Some(Keys {
            embeddings: m.reals(2, 3, COLS),
            labels: labels(3, 3),
        }),
        ..ContrastiveInputs::new(m.reals(0, ROWS, COLS), 9, labels(1, ROWS))
    };
    let outputs = ContrastiveOutputs {
        grad_embeddings: Some(to[0]),
        grad_keys: Some(to[1]),
        grad_temperature: Some(to[2]),
        grad_bias: Some(to[3]),
        ..ContrastiveOutputs::default()
    };
    let loss = Contrastive::sup_con_any().with_denominator(Denominator::Sigmoid);
    loss.prepare(&m.machine.cx, &inputs, &outputs)
}

fn hcal(m: &Memory, to: &[Gradient<'_>]) -> Result<Prepared, Error> {
    let levels = Levels::new(&[3, 2], &[&[0, 0, 1]])?;
    let words = m.matrix(4, DType::U32, 1, levels.words_len());
    let inputs = HcalInputs {
        features: m.reals(0, ROWS, COLS),
        prototypes: &[m.reals(1, 3, COLS), m.reals(2, 2, COLS)],
        labels: Some(m.matrix(3, DType::U32, 2, ROWS)),
        levels: levels.on_device(words)?,
        noise: None,
        balance: Some(BalanceState::LogVariances(m.reals(5, 1, 2))),
        grad_loss: None,
        settings: &[],
    };
    let outputs = HcalOutputs {
        grad_features: Some(to[0]),
        grad_prototypes: Some(&to[1..3]),
        grad_log_variances: Some(to[3]),
        ..HcalOutputs::default()
    };
    let config = Hcal::default().with_balance(Balance::Uncertainty);
    config.prepare(&m.machine.cx, &inputs, &outputs)
}

fn mcm(m: &Memory, to: &[Gradient<'_>]) -> Result<Prepared, Error> {
    let hierarchy = Hierarchy::from_edges(COLS, &[[1, 0], [2, 0]])?;
    let words = m.matrix(2, DType::U32, 1, hierarchy.words_len());
    let inputs = McmInputs {
        targets: Some(Targets::Dense(m.matrix(1, DType::U8, ROWS, COLS))),
        ..McmInputs::new(m.reals(0, ROWS, COLS), hierarchy.on_device(words)?)
    };
    let outputs = McmOutputs {
        grad_logits: Some(to[0]),
        ..McmOutputs::default()
    };
    Mcm::default().prepare(&m.machine.cx, &inputs, &outputs)
}

fn balance(m: &Memory, to: &[Gradient<'_>]) -> Result<Prepared, Error> {
    let inputs = BalanceInputs {
        losses: m.reals(0, 1, COLS),
        state: Some(BalanceState::LogVariances(m.reals(1, 1, COLS))),
        grad_loss: None,
        settings: &[],
    };
    let outputs = BalanceOutputs {
        grad_losses: Some(to[0]),
        grad_log_variances: Some(to[1]),
        ..BalanceOutputs::default()
    };
    Balance::Uncertainty.prepare(&m.machine.cx, &inputs, &outputs)
}

/// The tensors of a family's outputs, apart from all others.
pub fn tensors<'m>(memory: &'m Memory, outputs: &[Output]) -> Vec<Tensor<'m>> {
    let tensor = |(i, (_, rows, cols)): (usize, &Output)| memory.reals(10 + i as u64, *rows, *cols);
    outputs.iter().enumerate().map(tensor).collect()
}

#[test]
fn in_place_is_for_the_logits_of_row_losses_alone() {
    let memory = Memory::new();
    for (family, outputs, _, prepare) in FAMILIES {
        let tensors = tensors(&memory, outputs);
        for (i, (name, ..)) in outputs.iter().enumerate() {
            let mut to: Vec<Gradient<'_>> = tensors.iter().map(|t| Gradient::To(*t)).collect();
            to[i] = Gradient::InPlace;
            let result = prepare(&memory, &to);
            if (family, *name) == ("thresholds", "grad_logits") {
                assert!(result.is_ok());
                continue;
            }
            let text = "needs a tensor: in place is for the logits of row losses alone";
            expect(result, ErrorKind::Value, name, text, family);
        }
    }
}

#[test]
fn what_is_added_to_is_apart_from_all_else() {
    let memory = Memory::new();
    for (family, outputs, _, prepare) in FAMILIES {
        let tensors = tensors(&memory, outputs);
        for (i, (name, rows, cols)) in outputs.iter().enumerate() {
            let mut to: Vec<Gradient<'_>> = tensors.iter().map(|t| Gradient::AddTo(*t)).collect();
            let input = memory.reals(0, *rows, *cols);
            to[i] = Gradient::AddTo(input);
            let text = "expected memory apart from ";
            expect(prepare(&memory, &to), ErrorKind::Buffer, name, text, family);
            to[i] = Gradient::AddTo(memory.reals(9, *rows, cols + 1));
            expect(prepare(&memory, &to), ErrorKind::Shape, name, "", family);
        }
    }
}

/// One step for each gradient that the kernel which makes it cannot add, behind all others; the bytes are those that are
/// read too. A call that adds nothing has neither steps nor scratch for it.
#[test]
fn what_is_added_costs_what_it_is() {
    let memory = Memory::new();
    for (family, outputs, apart, prepare) in FAMILIES {
        let tensors = tensors(&memory, outputs);
        let made = |to: Vec<Gradient<'_>>| {
            let prepared = prepare(&memory, &to).unwrap_or_else(|e| panic!("{family}: {e}"));
            let submitted = memory.machine.submit(|encoder| prepared.encode(encoder));
            assert_eq!(submitted, Ok(()), "{family}");
            (prepared.plan().clone(), entries(&prepared))
        };
        let (plain, steps) = made(tensors.iter().map(|t| Gradient::To(*t)).collect());
        let (added, more) = made(tensors.iter().map(|t| Gradient::AddTo(*t)).collect());
        assert!(!steps.split(' ').any(|entry| entry == "add"), "{family}");
        assert_eq!(more, steps + &" add".repeat(apart), "{family}");
        // Regions of 256 bytes.
        let region = |(_, rows, cols): &Output| (4 * rows * cols).next_multiple_of(256) as u64;
        let taken: u64 = outputs[outputs.len() - apart..].iter().map(region).sum();
        assert_eq!(added.scratch_bytes, plain.scratch_bytes + taken, "{family}");
        let bytes = |(_, rows, cols): &Output| 4 * (rows * cols) as u64;
        // What row losses keep by label or row is left out.
        let counted = match family {
            "thresholds" | "wdl" => &outputs[..1],
            _ => outputs,
        };
        let again: u64 = counted.iter().map(bytes).sum();
        assert_eq!(added.bytes, plain.bytes + again, "{family}");
    }
}
