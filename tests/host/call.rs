//! A call in all its parts, memory for it, and a device that only validates.

use std::future::Future;
use std::pin::pin;
use std::task;
use wgloss::{
    CATALOG, Context, DType, Error, ErrorKind, Gradient, Prepared, Reduction, RowInputs,
    RowOutputs, Rowwise, TargetKind, Targets, Tensor, Threshold, Zlpr, wgpu,
};

pub const USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

/// A noop device and a context on it.
pub struct Machine {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub cx: Context,
}

impl Machine {
    pub fn new(features: wgpu::Features, limits: wgpu::Limits) -> Self {
        let (device, queue) = noop(features, limits);
        let cx = Context::new(&device).expect("the device is good for the kernels");
        Machine { device, queue, cx }
    }

    /// A device that promises no more than WebGPU does.
    pub fn plain() -> Self {
        Machine::new(wgpu::Features::empty(), wgpu::Limits::default())
    }

    /// A device with every feature the kernels can use, and room for the largest workgroups.
    pub fn rich() -> Self {
        let limits = wgpu::Limits {
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroup_size_x: 1024,
            max_compute_workgroup_storage_size: 1 << 16,
            ..Default::default()
        };
        Machine::new(
            wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP,
            limits,
        )
    }

    /// A device whose storage bindings reach no more than `bytes`.
    pub fn narrow(bytes: u64) -> Self {
        let limits = wgpu::Limits {
            max_storage_buffer_binding_size: bytes,
            ..Default::default()
        };
        Machine::new(wgpu::Features::empty(), limits)
    }

    pub fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Runs `work` and tells what the device has against it.
    pub fn validate(&self, work: impl FnOnce()) -> Result<(), String> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        work();
        now(scope.pop()).map_or(Ok(()), |error| Err(error.to_string()))
    }

    /// Records and submits, and tells what the device has against it.
    pub fn submit(&self, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<(), String> {
        self.validate(|| {
            let mut encoder = self
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            record(&mut encoder);
            self.queue.submit([encoder.finish()]);
        })
    }

    pub fn read(&self, buffer: &wgpu::Buffer) -> Vec<u8> {
        let copy = self.buffer(
            buffer.size(),
            wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        );
        self.submit(|encoder| encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, buffer.size()))
            .expect("a plain copy");
        copy.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("mapped"));
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .expect("polled");
        copy.get_mapped_range(..).expect("mapped").to_vec()
    }
}

pub fn noop(features: wgpu::Features, limits: wgpu::Limits) -> (wgpu::Device, wgpu::Queue) {
    wgpu::Device::noop(&wgpu::DeviceDescriptor {
        required_features: features,
        required_limits: limits,
        ..Default::default()
    })
}

/// The value of a future that is ready, as those of the noop device are.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut task::Context::from_waker(task::Waker::noop())) {
        task::Poll::Ready(value) => value,
        task::Poll::Pending => panic!("a future of the noop device is not ready"),
    }
}

pub use wgloss::AnyLoss as Loss;

/// The losses that the rows' driver alone computes: those of the catalogue but for WDL, which has stages of its own, each
/// kernel once.
pub fn driver_losses() -> Vec<Loss> {
    let mut all: Vec<Loss> = vec![Zlpr::kl_excess().into()];
    for entry in CATALOG {
        // LSEP has the kernel of the two-way loss.
        let again = all.contains(&entry.loss()) || entry.name == "lsep";
        if entry.loss().takes().theta.is_none() && !again {
            all.push(entry.loss());
        }
    }
    all
}

/// Whether the targets of a loss are other logits.
pub fn compares_logits(loss: &Loss) -> bool {
    loss.takes().targets == TargetKind::Logits
}

/// How targets are given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Dense(DType),
    Bits,
    Sparse,
}

impl Form {
    pub const ALL: [Form; 6] = [
        Form::Dense(DType::U8),
        Form::Dense(DType::F32),
        Form::Dense(DType::F16),
        Form::Dense(DType::Bf16),
        Form::Bits,
        Form::Sparse,
    ];
}

/// A call by its sizes and types. `with` names the optional tensors, separated by spaces: those of `RowInputs` and
/// `RowOutputs`, but `same_grad` for a gradient in the logits' type and `in_place` for one over the logits, and
/// `batch_threshold`, `row_threshold` or `label_threshold`.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub rows: usize,
    pub cols: usize,
    pub logits: DType,
    pub targets: Form,
    pub loss: Loss,
    pub with: &'static str,
}

/// Where the tensors of a call lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    /// Each at the beginning of a buffer of its own, which is no larger.
    Apart,
    /// All in one buffer, each at an odd number of its elements.
    Together,
}

struct Place {
    name: &'static str,
    dtype: DType,
    rows: usize,
    cols: usize,
    buffer: usize,
    offset: u64,
}

/// The buffers of a case.
pub struct Memory {
    case: Case,
    places: Vec<Place>,
    pub buffers: Vec<wgpu::Buffer>,
}

impl Case {
    /// Name, element type and shape of every tensor.
    fn tensors(&self) -> Vec<(&'static str, DType, usize, usize)> {
        let (rows, cols) = (self.rows, self.cols);
        let none = self.loss.reduction() == Reduction::None;
        let result = if none { rows } else { 1 };
        let mut all = vec![("logits", self.logits, rows, cols)];
        match self.targets {
            Form::Dense(dtype) if compares_logits(&self.loss) => {
                all.push(("other", dtype, rows, cols));
            }
            Form::Dense(dtype) => all.push(("targets", dtype, rows, cols)),
            Form::Bits => all.push(("target_bits", DType::U32, rows, cols.div_ceil(32))),
            Form::Sparse => {
                all.push(("target_offsets", DType::U32, 1, rows.saturating_add(1)));
                all.push(("target_indices", DType::U32, 1, 7));
            }
        }
        let threshold = if self.with.contains("row_threshold") {
            rows
        } else if self.with.contains("label_threshold") {
            cols
        } else {
            1
        };
        for word in self.with.split_whitespace() {
            all.push(match word {
                "class_mask" => ("class_mask", DType::U8, 1, cols),
                "mask" => ("mask", DType::U8, rows, cols),
                "sample_weight" => ("sample_weight", DType::F32, 1, rows),
                "class_weight" => ("class_weight", DType::F32, 1, cols),
                "weight" => ("weight", DType::F32, rows, cols),
                "same_weight" => ("weight", self.logits, rows, cols),
                "batch_threshold" | "row_threshold" | "label_threshold" => {
                    ("threshold", DType::F32, 1, threshold)
                }
                "grad_loss" => ("grad_loss", DType::F32, 1, result),
                "loss" => ("loss", DType::F32, 1, result),
                "grad_logits" => ("grad_logits", DType::F32, rows, cols),
                "same_grad" => ("grad_logits", self.logits, rows, cols),
                "grad_targets" => ("grad_targets", DType::F32, rows, cols),
                "grad_threshold" => ("grad_threshold", DType::F32, 1, threshold),
                "in_place" => continue,
                _ => panic!("no tensor is called {word}"),
            });
        }
        all
    }

    pub fn memory(&self, machine: &Machine, layout: Layout) -> Memory {
        let mut places = Vec::new();
        let mut buffers = Vec::new();
        let mut end = 0_u64;
        for (i, (name, dtype, rows, cols)) in self.tensors().into_iter().enumerate() {
            let size = dtype.size();
            let bytes = rows.saturating_mul(cols) as u64 * size;
            let (buffer, offset) = match layout {
                Layout::Apart => {
                    buffers.push(machine.buffer(bytes.next_multiple_of(4).max(4), USAGE));
                    (i, 0)
                }
                Layout::Together => (0, end.div_ceil(size) | 1),
            };
            end = offset * size + bytes;
            places.push(Place {
                name,
                dtype,
                rows,
                cols,
                buffer,
                offset,
            });
        }
        if layout == Layout::Together {
            buffers.push(machine.buffer(end.next_multiple_of(4), USAGE));
        }
        Memory {
            case: *self,
            places,
            buffers,
        }
    }
}

impl Memory {
    pub fn names(&self) -> Vec<&'static str> {
        self.places.iter().map(|place| place.name).collect()
    }

    fn get(&self, name: &str) -> Option<Tensor<'_>> {
        let p = self.places.iter().find(|place| place.name == name)?;
        Some(Tensor::matrix(&self.buffers[p.buffer], p.dtype, p.rows, p.cols).with_offset(p.offset))
    }

    pub fn call(&self) -> Call<'_> {
        let get = |name| self.get(name).expect("every call has it");
        let targets = match self.case.targets {
            Form::Dense(_) if compares_logits(&self.case.loss) => Targets::Dense(get("other")),
            Form::Dense(_) => Targets::Dense(get("targets")),
            Form::Bits => Targets::Bits(get("target_bits")),
            Form::Sparse => Targets::Sparse {
                offsets: get("target_offsets"),
                indices: get("target_indices"),
            },
        };
        let with = self.case.with;
        let mut inputs = RowInputs::new(get("logits"), targets);
        inputs.class_mask = self.get("class_mask");
        inputs.mask = self.get("mask");
        inputs.sample_weight = self.get("sample_weight");
        inputs.class_weight = self.get("class_weight");
        inputs.weight = self.get("weight");
        inputs.grad_loss = self.get("grad_loss");
        inputs.threshold = self.get("threshold").map(|t| {
            if with.contains("row_threshold") {
                Threshold::Row(t)
            } else if with.contains("label_threshold") {
                Threshold::Label(t)
            } else {
                Threshold::Batch(t)
            }
        });
        let in_place = with.contains("in_place").then_some(Gradient::InPlace);
        Call {
            loss: self.case.loss,
            inputs,
            outputs: RowOutputs {
                loss: self.get("loss"),
                grad_logits: self.get("grad_logits").map(Gradient::To).or(in_place),
                grad_targets: self.get("grad_targets").map(Gradient::To),
                grad_threshold: self.get("grad_threshold").map(Gradient::To),
                ..RowOutputs::default()
            },
        }
    }
}

/// The arguments of `prepare`; a test changes what it is about.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub loss: Loss,
    pub inputs: RowInputs<'a>,
    pub outputs: RowOutputs<'a>,
}

impl<'a> Call<'a> {
    pub fn prepare(&self, cx: &Context) -> Result<Prepared, Error> {
        self.loss.prepare(cx, &self.inputs, &self.outputs)
    }

    /// The tensor that errors call `name`.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor<'a> {
        let (inputs, outputs) = (&mut self.inputs, &mut self.outputs);
        let found = match (name, &mut inputs.targets) {
            ("logits", _) => Some(&mut inputs.logits),
            ("targets" | "other", Targets::Dense(t)) | ("target_bits", Targets::Bits(t)) => Some(t),
            ("target_offsets", Targets::Sparse { offsets, .. }) => Some(offsets),
            ("target_indices", Targets::Sparse { indices, .. }) => Some(indices),
            ("class_mask", _) => inputs.class_mask.as_mut(),
            ("mask", _) => inputs.mask.as_mut(),
            ("sample_weight", _) => inputs.sample_weight.as_mut(),
            ("class_weight", _) => inputs.class_weight.as_mut(),
            ("weight", _) => inputs.weight.as_mut(),
            ("threshold", _) => inputs.threshold.as_mut().map(|threshold| match threshold {
                Threshold::Batch(t) | Threshold::Row(t) | Threshold::Label(t) => t,
            }),
            ("grad_loss", _) => inputs.grad_loss.as_mut(),
            ("loss", _) => outputs.loss.as_mut(),
            ("grad_logits", _) => grad(&mut outputs.grad_logits),
            ("grad_targets", _) => grad(&mut outputs.grad_targets),
            ("grad_threshold", _) => grad(&mut outputs.grad_threshold),
            _ => None,
        };
        found.unwrap_or_else(|| panic!("the call has no {name}"))
    }
}

/// The tensor of a gradient that has one.
fn grad<'c, 'a>(gradient: &'c mut Option<Gradient<'a>>) -> Option<&'c mut Tensor<'a>> {
    match gradient {
        Some(Gradient::To(t) | Gradient::AddTo(t)) => Some(t),
        _ => None,
    }
}

/// The entry points of a plan in order, as one line.
pub fn entries(prepared: &Prepared) -> String {
    let steps = &prepared.plan().steps;
    let names: Vec<&str> = steps.iter().map(|step| step.kernel.entry).collect();
    names.join(" ")
}

/// Demands an error of `kind` about `subject` whose message has `text` in it.
#[track_caller]
pub fn expect<T>(
    result: Result<T, Error>,
    kind: ErrorKind,
    subject: &str,
    text: &str,
    label: &str,
) {
    let Err(error) = result else {
        panic!("{label}: accepted");
    };
    assert_eq!(
        (error.kind(), error.subject()),
        (kind, subject),
        "{label}: {error}"
    );
    assert_eq!(
        error.is_unsupported(),
        kind == ErrorKind::Unsupported,
        "{label}"
    );
    let message = error.to_string();
    assert!(
        message.contains(text) && message.starts_with(subject),
        "{label}: {text:?} is not in {message:?}"
    );
}
