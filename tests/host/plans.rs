//! How many dispatches a call takes, of which kernels, how wide they are, and how much memory a call keeps for itself.

use crate::call::{Case, Form, Layout, Loss, Machine, USAGE, entries};
use wgloss::{Bce, DType, ErrorKind, Plan, Reduction, Tensor, Zlpr};

const MOST_GROUPS: u32 = 65_535;
/// Regions of scratch begin at multiples of this.
const REGION: u64 = 256;

/// Entry points in one pass and where rows are split, and the bytes of scratch for each row in either.
struct Row {
    with: &'static str,
    reduction: Reduction,
    /// What is left to do for an empty batch.
    empty: &'static str,
    one: &'static str,
    split: &'static str,
    /// Whether it has side tensors by label, which become tables.
    tables: bool,
    /// Whether a number for each row is summed at the end, in slices first where rows are many.
    folds: bool,
    one_row: u64,
    split_row: u64,
}

/// ZLPR with hard labels, every path of the plan.
const ROWS: &[Row] = &[
    Row {
        with: "loss",
        reduction: Reduction::Mean,
        empty: "finish",
        one: "rows finish",
        split: "partial combine finish",
        tables: false,
        folds: true,
        one_row: 4,
        split_row: 4,
    },
    Row {
        with: "loss mask grad_logits",
        reduction: Reduction::Sum,
        empty: "finish",
        one: "rows finish",
        split: "partial combine gradient finish",
        tables: false,
        folds: true,
        one_row: 4,
        split_row: 4 + 24,
    },
    Row {
        with: "loss in_place",
        reduction: Reduction::MeanOver(5.0),
        empty: "finish",
        one: "rows finish",
        split: "partial combine gradient finish",
        tables: false,
        folds: true,
        one_row: 4,
        split_row: 4 + 24,
    },
    Row {
        with: "same_grad",
        reduction: Reduction::Mean,
        empty: "",
        one: "rows",
        split: "partial combine gradient",
        tables: false,
        folds: false,
        one_row: 0,
        split_row: 24,
    },
    Row {
        with: "loss",
        reduction: Reduction::None,
        empty: "",
        one: "rows",
        split: "partial combine finish",
        tables: false,
        folds: false,
        one_row: 0,
        split_row: 4,
    },
    Row {
        with: "loss in_place grad_loss",
        reduction: Reduction::None,
        empty: "",
        one: "rows",
        split: "partial combine gradient finish",
        tables: false,
        folds: false,
        one_row: 0,
        split_row: 4 + 24,
    },
    Row {
        with: "loss batch_threshold",
        reduction: Reduction::Mean,
        empty: "finish",
        one: "rows finish",
        split: "partial combine finish",
        tables: false,
        folds: true,
        one_row: 4,
        split_row: 4,
    },
    Row {
        with: "loss in_place batch_threshold grad_threshold",
        reduction: Reduction::Mean,
        empty: "finish",
        one: "rows finish",
        split: "partial combine gradient finish",
        tables: false,
        folds: true,
        one_row: 8,
        split_row: 4 + 4 + 24,
    },
    Row {
        with: "loss batch_threshold grad_threshold",
        reduction: Reduction::None,
        empty: "finish",
        one: "rows finish",
        split: "partial combine finish",
        tables: false,
        folds: true,
        one_row: 8,
        split_row: 4 + 4,
    },
    Row {
        with: "grad_logits row_threshold grad_threshold",
        reduction: Reduction::Mean,
        empty: "",
        one: "rows finish",
        split: "partial combine gradient finish",
        tables: false,
        folds: false,
        one_row: 4,
        split_row: 4 + 24,
    },
    Row {
        with: "loss label_threshold",
        reduction: Reduction::Mean,
        empty: "finish",
        one: "rows finish",
        split: "partial combine finish",
        tables: true,
        folds: true,
        one_row: 4,
        split_row: 4,
    },
    Row {
        with: "loss same_grad label_threshold grad_threshold",
        reduction: Reduction::Mean,
        empty: "finish",
        one: "rows columns finish",
        split: "partial combine columns gradient finish",
        tables: true,
        folds: true,
        one_row: 28,
        split_row: 4 + 24,
    },
    // The sums over columns read the logits, so they come before what is written over them.
    Row {
        with: "loss in_place label_threshold grad_threshold",
        reduction: Reduction::None,
        empty: "finish",
        one: "rows columns gradient finish",
        split: "partial combine columns gradient finish",
        tables: true,
        folds: false,
        one_row: 28,
        split_row: 4 + 24,
    },
];

fn hard(rows: usize, cols: usize, row: &Row) -> Case {
    Case {
        rows,
        cols,
        logits: DType::F16,
        targets: Form::Dense(DType::U8),
        loss: Loss::Zlpr(Zlpr::hard()).with_reduction(row.reduction),
        with: row.with,
    }
}

impl Row {
    /// The steps of a call whose own are these.
    fn steps(&self, own: &str, rows: usize, cols: usize) -> String {
        let gathers = self.tables && rows > 0 && cols > 0;
        let own = match self.folds && rows > 16_384 {
            true => own.replace("finish", "fold finish"),
            false => own.to_owned(),
        };
        format!("{}{own}", if gathers { "gather " } else { "" })
    }

    /// The least and the most bytes of its tables: two, one or four times over.
    fn table_bytes(&self, cols: usize) -> (u64, u64) {
        match self.tables && cols > 0 {
            true => (2 * 4 * cols as u64, 2 * 4 * 4 * (cols as u64 + 16)),
            false => (0, 0),
        }
    }
}

/// The sum of a dimension over the steps of one entry point.
fn count(plan: &Plan, entry: &str, dimension: usize) -> u64 {
    let steps = plan.steps.iter();
    let steps = steps.filter(|step| step.kernel.entry == entry);
    steps.map(|step| u64::from(step.groups[dimension])).sum()
}

/// Prepares a case in one buffer, runs it through validation, and returns its plan and entry points.
fn plan(machine: &Machine, case: &Case, layout: Layout) -> (Plan, String) {
    let memory = case.memory(machine, layout);
    let prepared = match memory.call().prepare(&machine.cx) {
        Ok(prepared) => prepared,
        Err(error) => panic!("{case:?}: {error}"),
    };
    let plan = prepared.plan().clone();
    for step in &plan.steps {
        assert!(
            step.groups.iter().all(|n| *n <= MOST_GROUPS),
            "{case:?}: {step:?}"
        );
    }
    assert_eq!(
        machine.submit(|encoder| prepared.encode(encoder)),
        Ok(()),
        "{case:?}"
    );
    (plan, entries(&prepared))
}

#[test]
fn short_rows_take_one_pass_however_many() {
    let machine = Machine::plain();
    let sizes = [
        (0, 5),
        (1, 1),
        (3, 0),
        (10, 20),
        (1024, 8192),
        (65_535, 1),
        (65_536, 1),
        (70_000, 3),
        (1_000_000, 1),
        (1_000_003, 3),
    ];
    for row in ROWS {
        for (rows, cols) in sizes {
            let case = hard(rows, cols, row);
            let (plan, steps) = plan(&machine, &case, Layout::Together);
            let own = if rows == 0 { row.empty } else { row.one };
            let expected = row.steps(own, rows, cols);
            assert_eq!((steps, plan.windows), (expected, 1), "{case:?}");
            let columns = 4 * cols as u64 * count(&plan, "columns", 2);
            let (least, most) = row.table_bytes(cols);
            let folds = 4 * rows.div_ceil(16_384) as u64;
            let needed = row.one_row * rows as u64 + columns;
            assert!(
                (needed + least..=needed + most + folds + 6 * REGION).contains(&plan.scratch_bytes),
                "{case:?}: {} bytes of scratch, {needed} needed",
                plan.scratch_bytes
            );
        }
    }
}

#[test]
fn long_rows_are_split_where_they_are_few() {
    let machine = Machine::plain();
    let sizes = [
        (1, 32_769),
        (2, 40_000),
        (1, 70_001),
        (7, 70_001),
        (1, 4_000_000),
        (2, 4_000_000),
    ];
    for row in ROWS {
        for (rows, cols) in sizes {
            let case = hard(rows, cols, row);
            let (plan, steps) = plan(&machine, &case, Layout::Together);
            let expected = row.steps(row.split, rows, cols);
            assert_eq!((steps, plan.windows), (expected, 1), "{case:?}");
            let tables = row.table_bytes(cols);
            let (rows, cols) = (rows as u64, cols as u64);
            let columns = 4 * cols * count(&plan, "columns", 2);
            let least = row.split_row * rows + 20 * 2 * rows + columns + tables.0;
            let most = row.split_row * rows + 20 * cols.div_ceil(4096) * rows + columns + tables.1;
            assert!(
                (least..=most + 7 * REGION).contains(&plan.scratch_bytes),
                "{case:?}: {} bytes of scratch, {least} to {most} expected",
                plan.scratch_bytes
            );
        }
        // One label less, or one row more: one pass.
        for (rows, cols) in [(1, 32_768), (8, 40_000)] {
            let case = hard(rows, cols, row);
            let (_, steps) = plan(&machine, &case, Layout::Together);
            assert_eq!(steps, row.steps(row.one, rows, cols), "{case:?}");
        }
    }
}

#[test]
fn scratch_is_what_was_worked_out_by_hand() {
    let machine = Machine::plain();
    assert_eq!(machine.cx.variant().to_string(), "tree-64-packed");
    let zlpr = Loss::Zlpr(Zlpr::hard());
    let excess = Loss::Zlpr(Zlpr::kl_excess());
    let bce = Loss::Bce(Bce::default());
    let f32s = Form::Dense(DType::F32);
    let grads = "loss grad_logits";
    let cases = [
        // The rows' losses.
        (zlpr, 10, 20, "loss", 256),
        // Of 62 slices too.
        (zlpr, 1_000_000, 3, "loss", 4_000_000 + 256),
        (zlpr, 10, 20, "grad_logits", 0),
        // Losses; 10 rows of coefficients; 20 labels of column sums; tables of weights and of thresholds.
        (zlpr, 10, 20, "loss label_threshold grad_threshold", 5 * 256),
        // 2 rows of 4 chunks: losses; coefficients; 8 accumulators.
        (zlpr, 2, 40_000, "loss", 2 * 256),
        (zlpr, 2, 40_000, grads, 3 * 256),
        // 8 chunks of 4,000,000 labels, 20, 24 and 12 bytes each; losses and coefficients.
        (zlpr, 1, 4_000_000, grads, 3 * 256),
        (excess, 1, 4_000_000, grads, 3 * 256),
        (bce, 1, 4_000_000, grads, 3 * 256),
        // Not split: the losses.
        (zlpr, 1000, 8192, grads, 4096),
    ];
    for (loss, rows, cols, with, expected) in cases {
        let targets = if loss == excess {
            f32s
        } else {
            Form::Dense(DType::U8)
        };
        let case = Case {
            rows,
            cols,
            logits: DType::F32,
            targets,
            loss,
            with,
        };
        let (plan, _) = plan(&machine, &case, Layout::Apart);
        assert_eq!(plan.scratch_bytes, expected, "{case:?}");
    }
}

#[test]
fn side_tensors_of_several_buffers_are_gathered() {
    let machine = Machine::plain();
    let all = "loss class_mask class_weight sample_weight label_threshold grad_loss";
    // Whether tensors are copied: where each has a buffer of its own, and where all are in one. Those by row are bound
    // where they lie if one binding reaches them, those by label become tables, a mask is no side tensor.
    let by_row = "loss grad_loss sample_weight batch_threshold";
    let cases = [
        (5, 300, "loss", false, false),
        (5, 300, "loss class_weight", true, true),
        (5, 300, "loss mask grad_loss", false, false),
        (5, 300, "loss class_weight sample_weight", true, true),
        (
            5,
            300,
            "loss grad_loss class_mask batch_threshold",
            true,
            true,
        ),
        (5, 300, by_row, true, false),
        (5, 300, all, true, true),
        (2, 40_000, all, true, true),
        (70_000, 3, all, true, true),
        (70_000, 3, by_row, true, false),
        (0, 300, all, false, false),
        (5, 0, all, true, true),
    ];
    for (rows, cols, with, apart, together) in cases {
        let case = Case {
            with,
            ..hard(rows, cols, &ROWS[0])
        };
        let rest = match (rows, cols) {
            (0, _) => "finish",
            (_, 40_000) => "partial combine finish",
            (70_000, _) => "rows fold finish",
            _ => "rows finish",
        };
        for (layout, copied) in [(Layout::Apart, apart), (Layout::Together, together)] {
            let (_, steps) = plan(&machine, &case, layout);
            let gather = if copied { "gather " } else { "" };
            assert_eq!(steps, format!("{gather}{rest}"), "{case:?}, {layout:?}");
        }
    }
    // Losses, 300 class weights, 5 sample weights.
    let case = Case {
        with: "loss class_weight sample_weight",
        ..hard(5, 300, &ROWS[0])
    };
    let (plan, _) = plan(&machine, &case, Layout::Apart);
    assert_eq!(plan.scratch_bytes, 256 + 1280 + 256);
}

#[test]
fn one_binding_reaches_side_tensors_that_lie_close() {
    let machine = Machine::narrow(1 << 16);
    let buffer = machine.buffer(1 << 18, USAGE);
    let case = Case {
        with: "loss grad_loss sample_weight",
        ..hard(5, 300, &ROWS[0])
    };
    let memory = case.memory(&machine, Layout::Apart);
    for (at, steps) in [
        (300, "rows finish"),
        (16_000, "rows finish"),
        (17_000, "gather rows finish"),
    ] {
        let mut call = memory.call();
        *call.tensor("grad_loss") = Tensor::vector(&buffer, DType::F32, 1);
        *call.tensor("sample_weight") = Tensor::vector(&buffer, DType::F32, 5).with_offset(at);
        let prepared = call.prepare(&machine.cx).expect("a good call");
        assert_eq!(entries(&prepared), steps, "sample weights at {at}");
        assert_eq!(
            machine.submit(|encoder| prepared.encode(encoder)),
            Ok(()),
            "at {at}"
        );
    }
}

#[test]
fn windows_cover_what_one_binding_cannot() {
    let machine = Machine::narrow(1 << 16);
    let zlpr = Loss::Zlpr(Zlpr::hard());
    let soft = Loss::Zlpr(Zlpr::soft());
    let (f16s, f32s) = (DType::F16, DType::F32);
    let [u8s, half, wide] = [DType::U8, f16s, f32s].map(Form::Dense);
    let (bits, sparse) = (Form::Bits, Form::Sparse);
    let sparse_rows = "clear mark rows";
    let threshold = "loss same_grad label_threshold grad_threshold";
    // Of 65,536 bytes a tensor gets 65,264: it begins up to 256 before itself and ends with a whole vector.
    let cases = [
        // Rows of 400 bytes: 163 a window. The widest tensor decides, whichever it is.
        (1000, 100, f32s, u8s, zlpr, "loss", 7, "rows"),
        (1000, 100, f16s, u8s, zlpr, "loss", 4, "rows"),
        (1000, 100, f16s, u8s, zlpr, "mask same_grad loss", 4, "rows"),
        (1000, 100, f16s, u8s, zlpr, "grad_logits loss", 7, "rows"),
        (1000, 100, f16s, wide, zlpr, "sample_weight loss", 7, "rows"),
        (
            1000,
            100,
            f16s,
            half,
            soft,
            "in_place grad_targets loss",
            7,
            "rows",
        ),
        (1000, 100, f32s, u8s, zlpr, threshold, 7, "rows columns"),
        (163, 100, f32s, u8s, zlpr, "loss", 1, "rows"),
        (164, 100, f32s, u8s, zlpr, "loss", 2, "rows"),
        // The rows' losses, 4 bytes each, fill seven eighths of a binding.
        (40_000, 1, f16s, u8s, zlpr, "loss", 3, "rows"),
        (40_000, 1, f16s, bits, zlpr, "loss", 3, "rows"),
        (
            28_673,
            1,
            f16s,
            sparse,
            zlpr,
            "in_place loss",
            3,
            sparse_rows,
        ),
        (
            28_672,
            1,
            f16s,
            sparse,
            zlpr,
            "in_place loss",
            2,
            sparse_rows,
        ),
        // Long rows: 1 and 3 a window.
        (5, 9000, f32s, sparse, zlpr, "in_place loss", 5, sparse_rows),
        (5, 8192, f16s, bits, zlpr, "same_grad loss", 2, "rows"),
        (0, 100, f32s, u8s, zlpr, "in_place loss", 1, ""),
    ];
    for (rows, cols, logits, targets, loss, with, windows, each) in cases {
        let case = Case {
            rows,
            cols,
            logits,
            targets,
            loss,
            with,
        };
        let each = match rows > 16_384 || windows > 1 {
            true => format!("{each} fold"),
            false => each.to_owned(),
        };
        let mut expected = vec![each.as_str(); windows];
        if with == threshold {
            expected.insert(0, "gather");
        }
        expected.push("finish");
        expected.retain(|entry| !entry.is_empty());
        for layout in [Layout::Apart, Layout::Together] {
            let (plan, steps) = plan(&machine, &case, layout);
            assert_eq!(plan.windows, windows, "{case:?}");
            assert_eq!(steps, expected.join(" "), "{case:?}, {layout:?}");
        }
    }
    // Of a window the losses, of all windows a sum each.
    let case = Case {
        with: "same_grad loss",
        ..hard(500, 8192, &ROWS[0])
    };
    let (whole, _) = plan(&machine, &case, Layout::Apart);
    assert_eq!((whole.windows, whole.scratch_bytes), (167, 768 + 256));
    // Windows take turns: a loss, a row of coefficients, one of 5 chunks; 5 sums.
    let machine = Machine::narrow(1 << 17);
    let case = Case {
        with: "same_grad loss",
        ..hard(5, 40_000, &ROWS[0])
    };
    let (cut, steps) = plan(&machine, &case, Layout::Apart);
    assert_eq!((cut.windows, cut.scratch_bytes), (5, 4 * 256));
    let each = ["partial combine gradient fold"; 5];
    assert_eq!(steps, format!("{} finish", each.join(" ")));
}

#[test]
fn windows_go_by_the_stride() {
    let machine = Machine::narrow(1 << 16);
    let buffer = machine.buffer(1 << 20, USAGE);
    let case = Case {
        with: "loss mask",
        ..hard(1000, 100, &ROWS[0])
    };
    let memory = case.memory(&machine, Layout::Apart);
    // f16 rows at every 800 bytes: 82 a window; bytes at every 1,000: 66; a row at every 65,537.
    let cases = [
        ("logits", DType::F16, 400, 1000, 13),
        ("mask", DType::U8, 1000, 1000, 16),
        ("targets", DType::U8, 65_537, 10, 10),
    ];
    for (name, dtype, stride, rows, windows) in cases {
        let case = Case { rows, ..case };
        let smaller = case.memory(&machine, Layout::Apart);
        let mut call = if rows == 1000 {
            memory.call()
        } else {
            smaller.call()
        };
        *call.tensor(name) = Tensor::matrix(&buffer, dtype, rows, 100)
            .with_row_stride(stride)
            .with_offset(77);
        let prepared = call.prepare(&machine.cx).expect("a good call");
        assert_eq!(prepared.plan().windows, windows, "{name} at every {stride}");
        assert_eq!(
            machine.submit(|encoder| prepared.encode(encoder)),
            Ok(()),
            "{name}"
        );
    }
}

#[test]
fn the_longest_row_fills_a_binding() {
    let machine = Machine::narrow(1 << 16);
    let longest = 16_316;
    for cols in [longest, longest + 1] {
        let case = Case {
            logits: DType::F32,
            with: "loss in_place",
            ..hard(2, cols, &ROWS[0])
        };
        let memory = case.memory(&machine, Layout::Apart);
        // As far behind the last place where a binding may begin as can be.
        let buffer = machine.buffer(1 << 18, USAGE);
        let mut call = memory.call();
        call.inputs.logits = Tensor::matrix(&buffer, DType::F32, 2, cols).with_offset(63);
        match call.prepare(&machine.cx) {
            Ok(prepared) => {
                assert_eq!((cols, prepared.plan().windows), (longest, 2));
                assert_eq!(machine.submit(|encoder| prepared.encode(encoder)), Ok(()));
            }
            Err(error) => {
                assert_eq!(
                    (error.kind(), cols),
                    (ErrorKind::Unsupported, longest + 1),
                    "{error}"
                );
                assert!(
                    error
                        .to_string()
                        .contains("one storage binding of this device"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn every_variant_has_the_same_steps() {
    let machine = Machine::rich();
    let mut variants = machine.cx.caps().variants();
    variants.push("tree-32-packed".parse().expect("a variant"));
    variants.push("subgroup-32-native".parse().expect("a variant"));
    assert_eq!(variants.len(), 2 * 2 * 5 + 2);
    for variant in variants {
        let cx = machine.cx.with_variant(variant).expect("the device has it");
        for row in ROWS {
            for (rows, cols, expected) in [(70_000, 3, row.one), (3, 70_001, row.split)] {
                let case = hard(rows, cols, row);
                let memory = case.memory(&machine, Layout::Together);
                let prepared = match memory.call().prepare(&cx) {
                    Ok(prepared) => prepared,
                    Err(error) => panic!("{variant}, {case:?}: {error}"),
                };
                let expected = row.steps(expected, rows, cols);
                assert_eq!(entries(&prepared), expected, "{variant}, {case:?}");
                let submitted = machine.submit(|encoder| prepared.encode(encoder));
                assert_eq!(submitted, Ok(()), "{variant}, {case:?}");
            }
        }
    }
}
