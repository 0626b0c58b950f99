//! Times of every loss, and ratios between ways to compute the same. What each answers: benches/README.md.
//!
//! A loss is a row of [`table`], a ratio a row of [`ratios`]. `WGLOSS_BENCH_RATIOS=1` measures the ratios instead of the
//! times; `WGLOSS_BENCH_SMOKE=1` runs both once on tiny data, to prove that they run.

use criterion::{Criterion, Throughput};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wgloss::check::{
    self, ContrastiveWorkload, HcalWorkload, McmWorkload, Mode, RowWorkload, SPARSE, Timer, Work,
    Workload,
};
use wgloss::host::Gpu;
use wgloss::losses::wdl::Phi;
use wgloss::{
    AnyLoss, Contrastive, DType, Error, ErrorKind, Half, Hcal, Mcm, Reduce, Rowwise, TargetKind,
    Targets, Threshold, Wdl, Zlpr, wgpu,
};

/// Rows and labels.
type Shape = (usize, usize);

/// Batches of data sets and models.
const SHAPES: &[Shape] = &[
    (64, 14),       // Yeast: microseconds, all of them overhead
    (256, 80),      // COCO
    (256, 983),     // delicious: rows that workgroups keep
    (64, 65_536),   // GlobalPointer, 256 x 256 spans: few rows, each split over workgroups
    (512, 131_072), // extreme classification: more than any cache
];
/// Batches of embeddings: a small head, the usual one, a large batch of a large model (GPUs alone).
const EMBEDDINGS: &[Shape] = &[(256, 128), (1024, 256), (16_384, 768)];
/// Most elements on a software driver, and for the reference.
const MOST_SOFTWARE: usize = 1 << 23;
const MOST_REFERENCE: usize = 1 << 18;
/// The smoke run's.
const TINY: Shape = (4, 50);

/// A loss with its gradient, and what it is measured for.
struct Bench {
    name: &'static str,
    why: &'static str,
    shapes: &'static [Shape],
    at: Box<dyn Fn(Shape) -> Box<dyn Workload>>,
}

impl Bench {
    fn new<W: Workload + 'static>(
        name: &'static str,
        why: &'static str,
        shapes: &'static [Shape],
        at: impl Fn(Shape) -> W + 'static,
    ) -> Self {
        let at = Box::new(move |shape| -> Box<dyn Workload> { Box::new(at(shape)) });
        Bench {
            name,
            why,
            shapes,
            at,
        }
    }
}

/// Every loss of the catalogue, and more.
fn table() -> Vec<Bench> {
    let mut all = Vec::new();
    for (name, loss) in check::catalog() {
        let at = move |(rows, cols)| RowWorkload {
            form: targets(&loss),
            ..RowWorkload::plain(loss, rows, cols)
        };
        all.push(Bench::new(
            name,
            "plain settings, as most have them",
            SHAPES,
            at,
        ));
    }
    let tlpr = |(rows, cols)| RowWorkload {
        threshold: Some(Threshold::Label(())),
        ..RowWorkload::plain(Zlpr::hard().into(), rows, cols)
    };
    let sweep = Wdl {
        phi: Phi::Abs,
        ..Wdl::default()
    };
    let sweep = move |(rows, cols)| RowWorkload {
        form: targets(&sweep.into()),
        ..RowWorkload::plain(sweep.into(), rows, cols)
    };
    all.extend([
        Bench::new("tlpr", "goes down the columns too", SHAPES, tlpr),
        Bench::new("wdl-sweep", "all pairs, one by one", &SHAPES[..3], sweep),
        Bench::new(
            "mcm",
            "gene functions (trees and DAGs), WordNet",
            &[(64, 499), (64, 4130), (4, 82_192)],
            mcm,
        ),
        Bench::new(
            "hcal",
            "samples and classes of the finest of three levels",
            &[(128, 216), (256, 10_000)],
            hcal,
        ),
        Bench::new(
            "contrastive-simdis",
            "pairs with weights of their own",
            EMBEDDINGS,
            |shape| contrastive(Contrastive::sim_dis(), shape),
        ),
        Bench::new(
            "contrastive-mulsupcon",
            "a term for each label",
            EMBEDDINGS,
            |shape| contrastive(Contrastive::mul_sup_con(), shape),
        ),
    ]);
    all
}

/// The usual form of a loss's targets: bytes, real numbers where they are no flags.
fn targets(loss: &AnyLoss) -> check::TargetForm {
    let soft = AnyLoss::from(Zlpr::soft());
    match loss.target_kind() {
        TargetKind::Logits | TargetKind::Proportions => Targets::Dense(DType::F32),
        _ if *loss == soft => Targets::Dense(DType::F32),
        _ => Targets::Dense(DType::U8),
    }
}

/// A contrastive loss of f32 embeddings with 80 labels; its shapes are embeddings and dimensions.
fn contrastive(loss: Contrastive, (rows, dims): Shape) -> ContrastiveWorkload {
    ContrastiveWorkload {
        loss,
        dtype: DType::F32,
        gradient: true,
        rows,
        dims,
        labels: 80,
    }
}

fn mcm((rows, cols): Shape) -> McmWorkload {
    McmWorkload {
        config: Mcm::default(),
        dtype: DType::F32,
        gradient: true,
        rows,
        cols,
    }
}

/// Of 128 components.
fn hcal((rows, cols): Shape) -> HcalWorkload {
    HcalWorkload {
        config: Hcal::default(),
        dtype: DType::F32,
        gradient: true,
        rows,
        cols,
        dim: 128,
    }
}

/// Two ways to the same: calls that are made one after the other, each on a device set to a kernel variant.
struct Ratio {
    name: &'static str,
    first: Vec<(Gpu, RowWorkload)>,
    second: Vec<(Gpu, RowWorkload)>,
}

/// Every ratio at a shape. Those of variants that the device does not have are left out.
fn ratios(gpu: &Gpu, (rows, cols): Shape) -> Vec<Ratio> {
    let plain = RowWorkload::plain(AnyLoss::Zlpr(Zlpr::hard()), rows, cols);
    let with = |mode| RowWorkload { mode, ..plain };
    let with_form = |form| RowWorkload { form, ..plain };
    let half = RowWorkload {
        dtype: DType::F16,
        ..with(Mode::BothSame)
    };
    let here = |bench| vec![(gpu.clone(), bench)];
    let mut all = vec![
        Ratio {
            name: "zlpr, loss and gradient in one call / in two",
            first: here(plain),
            second: [here(with(Mode::Loss)), here(with(Mode::Gradient))].concat(),
        },
        Ratio {
            name: "zlpr, gradient over the logits / beside them",
            first: here(with(Mode::InPlace)),
            second: here(plain),
        },
        Ratio {
            name: "zlpr, targets bits / u8",
            first: here(with_form(Targets::Bits(()))),
            second: here(plain),
        },
        Ratio {
            name: "zlpr, targets sparse / u8",
            first: here(with_form(SPARSE)),
            second: here(plain),
        },
        Ratio {
            name: "zlpr, f16 / f32",
            first: here(half),
            second: here(plain),
        },
    ];
    let variant = gpu.context().variant();
    let set = |reduce, half| {
        gpu.with_variant(wgloss::Variant {
            reduce,
            half,
            ..variant
        })
    };
    if let (Ok(subgroup), Ok(tree)) = (
        set(Reduce::Subgroup, variant.half),
        set(Reduce::Tree, variant.half),
    ) {
        all.push(Ratio {
            name: "zlpr, variant subgroup / tree",
            first: vec![(subgroup, plain)],
            second: vec![(tree, plain)],
        });
    }
    if let (Ok(native), Ok(packed)) = (
        set(variant.reduce, Half::Native),
        set(variant.reduce, Half::Packed),
    ) {
        all.push(Ratio {
            name: "zlpr in f16, variant native / packed",
            first: vec![(native, half)],
            second: vec![(packed, half)],
        });
    }
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    Gpu,
    Wall,
}

/// How long so many calls take.
fn total(timer: &Timer<'_>, clock: Clock, calls: u64) -> Result<Duration, Error> {
    let mut sum = Duration::ZERO;
    let mut left = calls;
    while left > 0 {
        let times = match clock {
            Clock::Gpu => timer.gpu(left)?,
            Clock::Wall => vec![timer.wall()?],
        };
        left = left.saturating_sub(times.len().max(1) as u64);
        sum += times.iter().sum::<Duration>();
    }
    Ok(sum)
}

fn timers<'a>(
    side: &'a [(Gpu, RowWorkload)],
    works: &'a [Work],
    warm_up: Duration,
) -> Result<Vec<Timer<'a>>, Error> {
    let all = side.iter().zip(works);
    all.map(|((gpu, _), work)| Timer::new(gpu, work, warm_up))
        .collect()
}

/// Runs both ways in turn, so that a machine that becomes slower does so for both. Returns a line with median, p20 and
/// p80 of the rounds' ratios.
fn measure_ratio(ratio: &Ratio, (rows, cols): Shape, budget: Duration) -> Result<String, Error> {
    let works = |side: &[(Gpu, RowWorkload)]| -> Result<Vec<Work>, Error> {
        side.iter().map(|(gpu, bench)| bench.on_gpu(gpu)).collect()
    };
    let (first, second) = (works(&ratio.first)?, works(&ratio.second)?);
    let warm_up = budget / 10;
    let first = timers(&ratio.first, &first, warm_up)?;
    let second = timers(&ratio.second, &second, warm_up)?;
    let clock = match first.iter().chain(&second).all(Timer::has_timestamps) {
        true => Clock::Gpu,
        false => Clock::Wall,
    };
    let calls = |side: &[Timer<'_>]| -> Result<f64, Error> {
        let mut sum = Duration::ZERO;
        for timer in side {
            sum += total(timer, clock, 1)?;
        }
        Ok(sum.as_secs_f64())
    };
    let began = Instant::now();
    let mut found = Vec::new();
    while found.is_empty() || began.elapsed() < budget {
        // Neither has the advantage of being first.
        found.push(match found.len() % 2 {
            0 => calls(&first)? / calls(&second)?,
            _ => 1.0 / (calls(&second)? / calls(&first)?),
        });
    }
    found.sort_by(f64::total_cmp);
    let at = |percent: usize| found[(found.len() - 1) * percent / 100];
    Ok(format!(
        "{:<46} {:>11}  {:.3} [{:.3}, {:.3}] of {} rounds, {}",
        ratio.name,
        format!("{rows}x{cols}"),
        at(50),
        at(20),
        at(80),
        found.len(),
        clock.name(),
    ))
}

impl Clock {
    fn name(self) -> &'static str {
        match self {
            Clock::Gpu => "gpu",
            Clock::Wall => "wall",
        }
    }
}

fn set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "1")
}

/// Whether criterion may want this benchmark. It alone knows what its arguments mean; only the plainest case is decided
/// here, to save the making of data that nobody asked for.
fn wanted(id: &str) -> bool {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-/".contains(c);
    match &args[..] {
        [filter] if !filter.starts_with('-') && filter.chars().all(plain) => id.contains(filter),
        _ => true,
    }
}

/// Whether the device can do this at all; what it cannot is said and left out.
fn possible<T>(what: &str, made: Result<T, Error>) -> Result<Option<T>, Error> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(error) => match error.kind() {
            ErrorKind::Unsupported | ErrorKind::OutOfMemory => {
                eprintln!("{what} left out: {error}");
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

/// The shapes that are not too much for the device.
fn shapes<'a>(gpu: &Gpu, all: &'a [Shape]) -> impl Iterator<Item = Shape> + 'a {
    let software = gpu.info().device_type == wgpu::DeviceType::Cpu;
    let most = if software { MOST_SOFTWARE } else { usize::MAX };
    all.iter()
        .copied()
        .filter(move |(rows, cols)| rows * cols <= most)
}

/// A time that criterion cannot take as an error.
fn must<T>(measured: Result<T, Error>) -> T {
    measured.unwrap_or_else(|error| panic!("{error}"))
}

fn bench_device(criterion: &mut Criterion, gpu: &Gpu, bench: &Bench) -> Result<(), Error> {
    for (rows, cols) in shapes(gpu, bench.shapes) {
        let shape = format!("{rows}x{cols}");
        let ids = [Clock::Gpu, Clock::Wall]
            .map(|clock| (clock, format!("{}/{}/{shape}", bench.name, clock.name())));
        if !ids.iter().any(|(_, id)| wanted(id)) {
            continue;
        }
        let Some(work) = possible(&ids[0].1, (bench.at)((rows, cols)).on_gpu(gpu))? else {
            continue;
        };
        let timer = Timer::new(gpu, &work, Duration::ZERO)?;
        for (clock, _) in ids {
            if clock == Clock::Gpu && !timer.has_timestamps() {
                continue;
            }
            let mut group = criterion.benchmark_group(format!("{}/{}", bench.name, clock.name()));
            group.throughput(Throughput::ElementsAndBytes {
                elements: rows as u64,
                bytes: work.bytes(),
            });
            group.bench_function(&shape, |bencher| {
                bencher.iter_custom(|calls| must(total(&timer, clock, calls)));
            });
        }
    }
    Ok(())
}

fn bench_reference(criterion: &mut Criterion, bench: &Bench) -> Result<(), Error> {
    let mut group = criterion.benchmark_group(format!("{}/reference", bench.name));
    for (rows, cols) in bench.shapes {
        let id = format!("{}/reference/{rows}x{cols}", bench.name);
        if rows * cols > MOST_REFERENCE || !wanted(&id) {
            continue;
        }
        let reference = (bench.at)((*rows, *cols)).on_host()?;
        group.throughput(Throughput::Elements(*rows as u64));
        group.bench_function(format!("{rows}x{cols}"), |bencher| {
            bencher.iter(|| must(reference()));
        });
    }
    Ok(())
}

/// Everything once, on tiny data, and whether the device has computed the loss of the data it was meant to.
fn smoke(gpu: Option<&Gpu>) -> Result<(), Error> {
    for bench in table() {
        let workload = (bench.at)(TINY);
        if let Some(gpu) = gpu {
            smoke_work(bench.name, gpu, &*workload)?;
        } else {
            workload.on_host()?()?;
        }
        println!("{} ({}): runs", bench.name, bench.why);
    }
    for ratio in gpu.map_or_else(Vec::new, |gpu| ratios(gpu, TINY)) {
        for (gpu, bench) in ratio.first.iter().chain(&ratio.second) {
            smoke_work(ratio.name, gpu, bench)?;
        }
        measure_ratio(&ratio, TINY, Duration::ZERO)?;
        println!("{}: runs", ratio.name);
    }
    Ok(())
}

fn smoke_work(name: &str, gpu: &Gpu, workload: &dyn Workload) -> Result<(), Error> {
    let expected = workload.on_host()?()?;
    let work = workload.on_gpu(gpu)?;
    let timer = Timer::new(gpu, &work, Duration::ZERO)?;
    for clock in [Clock::Gpu, Clock::Wall] {
        total(&timer, clock, 1)?;
        let Some(found) = work.loss(gpu)? else {
            continue;
        };
        let off = (f64::from(found) - expected).abs();
        if off.is_nan() || off > 1e-4 * expected.abs() {
            return Err(Error::value(name, format!("the loss {expected}"), found));
        }
    }
    Ok(())
}

fn run() -> Result<(), Error> {
    let gpu = match Gpu::open(None) {
        Ok(gpu) => {
            let info = gpu.info();
            eprintln!(
                "adapter: {} ({} {}), variant {}",
                info.name,
                info.driver,
                info.driver_info,
                gpu.context().variant()
            );
            if info.device_type == wgpu::DeviceType::Cpu {
                eprintln!(
                    "a software driver: shapes of more than {MOST_SOFTWARE} elements are left out"
                );
            }
            Some(gpu)
        }
        Err(error) if set("WGLOSS_REQUIRE_GPU") || set("WGLOSS_BENCH_RATIOS") => return Err(error),
        Err(error) => {
            eprintln!("no adapter, the reference alone: {error}");
            None
        }
    };
    if set("WGLOSS_BENCH_SMOKE") {
        return smoke(gpu.as_ref());
    }
    if let (Some(gpu), true) = (&gpu, set("WGLOSS_BENCH_RATIOS")) {
        for shape in shapes(gpu, SHAPES) {
            for ratio in ratios(gpu, shape) {
                let measured = measure_ratio(&ratio, shape, Duration::from_secs(2));
                if let Some(line) = possible(ratio.name, measured)? {
                    println!("{line}");
                }
            }
        }
        return Ok(());
    }
    // Ten samples of a second show what a kernel's change does; the arguments can ask for more.
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .nresamples(10_000)
        .configure_from_args();
    for bench in table() {
        if let Some(gpu) = &gpu {
            bench_device(&mut criterion, gpu, &bench)?;
        }
        bench_reference(&mut criterion, &bench)?;
    }
    criterion.final_summary();
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error}");
            ExitCode::FAILURE
        }
    }
}
