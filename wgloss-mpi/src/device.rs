//! A rank's GPU, and the way of its buffers to the host and back.
//!
//! wgpu has no way from one device's memory to another's, nor to a network card's: what is sent is copied on the device into a
//! buffer that the host can read (memory that the driver has pinned), and MPI sends it from there. What has come goes through
//! wgpu's own staging to the device.

use crate::error::Error;
use crate::ffi::Words;
use crate::world::World;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use wgloss::host::{Gpu, adapters};
use wgloss::wgpu;
use wgloss::{Error as LossError, ErrorKind};

impl World {
    /// Opens this rank's GPU: of the machine's adapters of the best kind, real GPUs before software, the one whose number is
    /// the rank's on this machine, round again where there are more ranks than adapters. Called by all ranks.
    ///
    /// # Errors
    /// Where a rank has none, or only one that fails the self-test.
    pub fn gpu(&self) -> Result<Gpu, Error> {
        let mine = open(self.local_rank());
        let said = match &mine {
            Ok(_) => Ok((Vec::new(), Vec::new())),
            Err(error) => Err(error.clone()),
        };
        self.agree("the opening of devices", said)?;
        mine.or_else(|error| self.here(error))
    }
}

fn open(local_rank: usize) -> Result<Gpu, LossError> {
    let mut all = adapters();
    // The best come first.
    let best = all.first().map(|adapter| adapter.get_info().device_type);
    all.retain(|adapter| Some(adapter.get_info().device_type) == best);
    let none = || LossError::because(ErrorKind::Unsupported, "adapter", "none found");
    let adapter = all.get(local_rank % all.len().max(1)).ok_or_else(none)?;
    let (gpu, _) = Gpu::from_adapter(adapter)?.qualified()?;
    Ok(gpu)
}

/// Host memory that the device writes to, and MPI sends from.
pub(crate) struct Staging {
    buffer: Option<wgpu::Buffer>,
    mapped: Cell<bool>,
}

/// Whether it can be read.
pub(crate) type Mapped = Arc<Mutex<Option<Result<(), wgpu::BufferAsyncError>>>>;

impl Staging {
    pub(crate) fn new(gpu: &Gpu, bytes: u64) -> Result<Staging, LossError> {
        let most = gpu.context().caps().max_buffer;
        if bytes > most {
            return Err(LossError::new(
                ErrorKind::Unsupported,
                "staging",
                format!("at most {most} bytes on this device"),
                bytes,
            ));
        }
        let make = || {
            gpu.context()
                .device()
                .create_buffer(&wgpu::BufferDescriptor {
                    label: Some("wgloss-mpi staging"),
                    size: bytes,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
        };
        let buffer = (bytes > 0).then(make);
        Ok(Staging {
            buffer,
            mapped: Cell::new(false),
        })
    }

    /// Records a copy of some bytes of a buffer, from one place to another here.
    pub(crate) fn copy(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        (from, first): (&wgpu::Buffer, u64),
        (at, bytes): (u64, u64),
    ) {
        if let Some(buffer) = &self.buffer
            && bytes > 0
        {
            encoder.copy_buffer_to_buffer(from, first, buffer, at, bytes);
        }
    }

    /// Begins to make it readable, behind what has been submitted.
    pub(crate) fn map(&self) -> Mapped {
        let mapped: Mapped = Arc::new(Mutex::new(None));
        let set = |to: &Mapped, result| {
            *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        };
        match &self.buffer {
            None => set(&mapped, Ok(())),
            Some(buffer) => {
                self.mapped.set(true);
                let to = Arc::clone(&mapped);
                let slice = buffer.slice(..);
                slice.map_async(wgpu::MapMode::Read, move |result| set(&to, result));
            }
        }
        mapped
    }

    /// What it holds, once it is mapped.
    pub(crate) fn words(&self) -> Result<Words, LossError> {
        let Some(buffer) = &self.buffer else {
            return Ok(Words::Owned(Vec::new()));
        };
        let view = buffer.slice(..).get_mapped_range();
        view.map(Words::Mapped)
            .map_err(|error| LossError::new(ErrorKind::Device, "staging", "mapped memory", error))
    }

    /// Gives it back to the device. Whatever was sent from it has been sent.
    pub(crate) fn unmap(&self) {
        if let Some(buffer) = &self.buffer
            && self.mapped.replace(false)
        {
            buffer.unmap();
        }
    }
}

/// Waits until it is mapped, and lets `meanwhile` go on with other things.
pub(crate) fn wait(
    world: &World,
    gpu: &Gpu,
    mapped: &Mapped,
    mut meanwhile: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    /// How long a device may take, as of [`Gpu`].
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(300);
    let began = std::time::Instant::now();
    loop {
        let _ = gpu.context().device().poll(wgpu::PollType::Poll);
        let state = mapped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match state {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => {
                let reason = gpu.finish(encoder(gpu)).err();
                let unmapped =
                    || LossError::new(ErrorKind::Device, "staging", "mapped memory", error);
                return world.here(reason.unwrap_or_else(unmapped));
            }
            None if began.elapsed() > LIMIT => {
                let reason = format!("no answer within {} s", LIMIT.as_secs());
                return world.here(LossError::because(ErrorKind::Device, "device", reason));
            }
            None => {}
        }
        meanwhile()?;
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}

/// Submits what was recorded, waits, and gives what each staging holds then.
pub(crate) fn read(
    world: &World,
    gpu: &Gpu,
    encoder: wgpu::CommandEncoder,
    stagings: &[&Staging],
) -> Result<Vec<Words>, Error> {
    if let Err(error) = gpu.finish(encoder) {
        return world.here(error);
    }
    let mut all = Vec::new();
    for staging in stagings {
        wait(world, gpu, &staging.map(), || Ok(()))?;
        match staging.words() {
            Ok(words) => all.push(words),
            Err(error) => return world.here(error),
        }
    }
    Ok(all)
}

/// The same of a single staging.
pub(crate) fn read_one(
    world: &World,
    gpu: &Gpu,
    encoder: wgpu::CommandEncoder,
    staging: &Staging,
) -> Result<Words, Error> {
    let mut all = read(world, gpu, encoder, &[staging])?;
    Ok(all.pop().unwrap_or(Words::Owned(Vec::new())))
}

/// An encoder of a device.
pub(crate) fn encoder(gpu: &Gpu) -> wgpu::CommandEncoder {
    let device = gpu.context().device();
    device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

/// Refuses a buffer of the caller that cannot be copied to or from, or that is too short.
pub(crate) fn check(name: &str, buffer: &wgpu::Buffer, bytes: u64) -> Result<(), LossError> {
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let usage = usage | wgpu::BufferUsages::STORAGE;
    if !buffer.usage().contains(usage) {
        let found = format!("{:?}", buffer.usage());
        let expected = "a buffer with usage STORAGE, COPY_SRC and COPY_DST";
        return Err(LossError::new(ErrorKind::Buffer, name, expected, found));
    }
    if buffer.size() < bytes {
        let expected = format!("a buffer of at least {bytes} bytes");
        let found = format!("{} bytes", buffer.size());
        return Err(LossError::new(ErrorKind::Buffer, name, expected, found));
    }
    Ok(())
}
