//! What is timed, and what many times come to.

use crate::error::{Error, ErrorKind};
use crate::host::Gpu;
use std::time::Duration;
use web_time::Instant;

/// Work that can be recorded over and over, each time on the memory of another of its rounds.
pub trait Timed {
    /// How many rounds there are, at least one.
    fn rounds(&self) -> usize;

    /// What has to be copied before a round, outside of the time: from, to.
    fn restored(&self, _round: usize) -> Option<[&wgpu::Buffer; 2]> {
        None
    }

    /// Records a round.
    fn record(&self, round: usize, pass: &mut wgpu::ComputePass<'_>);
}

/// What many measurements came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of them were faster.
    pub median: Duration,
    /// A fifth of them were faster.
    pub p20: Duration,
    /// A fifth of them were slower.
    pub p80: Duration,
    /// How many they were.
    pub samples: usize,
}

pub(super) fn encoder(gpu: &Gpu) -> wgpu::CommandEncoder {
    let device = gpu.context().device();
    device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

pub(super) fn restore(
    subject: &dyn Timed,
    round: usize,
    encoder: &mut wgpu::CommandEncoder,
) -> bool {
    let copy = subject.restored(round);
    if let Some([from, to]) = copy {
        encoder.copy_buffer_to_buffer(from, 0, to, 0, to.size());
    }
    copy.is_some()
}

/// Records a round in a pass of its own.
pub(super) fn record(
    subject: &dyn Timed,
    round: usize,
    encoder: &mut wgpu::CommandEncoder,
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: Some("wgloss bench"),
        timestamp_writes,
    });
    subject.record(round, &mut pass);
}

/// Wall time of `calls` rounds, in turn, recorded into one submission and waited for without blocking (as
/// [`Gpu::run_async`]), with the copies that restore what a round overwrites.
///
/// # Errors
/// Device errors.
pub async fn wall_async(gpu: &Gpu, subject: &dyn Timed, calls: usize) -> Result<Duration, Error> {
    let began = Instant::now();
    let mut encoder = encoder(gpu);
    for call in 0..calls {
        let round = call % subject.rounds().max(1);
        restore(subject, round, &mut encoder);
        record(subject, round, &mut encoder, None);
    }
    gpu.finish_async(encoder).await?;
    Ok(began.elapsed())
}

impl Quantiles {
    /// Those of some times. Of none, all zeros.
    pub fn of(mut times: Vec<Duration>) -> Quantiles {
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len().saturating_sub(1) * percent + 50) / 100;
            times.get(place).copied().unwrap_or_default()
        };
        Quantiles {
            median: at(50),
            p20: at(20),
            p80: at(80),
            samples: times.len(),
        }
    }

    /// Measures until `budget` has passed and there are `least` times.
    ///
    /// # Errors
    /// Those of the measurement, which is expected to bring times; without any there is no end.
    pub fn sample(
        budget: Duration,
        least: usize,
        mut measure: impl FnMut() -> Result<Vec<Duration>, Error>,
    ) -> Result<Quantiles, Error> {
        let began = Instant::now();
        let mut times = Vec::new();
        while times.len() < least || began.elapsed() < budget {
            let more = measure()?;
            if more.is_empty() {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "measurement",
                    "times",
                    "none",
                ));
            }
            times.extend(more);
        }
        Ok(Quantiles::of(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() -> Result<(), Error> {
        let ms = Duration::from_millis;
        let found = Quantiles::of([5, 1, 4, 2, 3, 6, 11, 9, 8, 10, 7].map(ms).to_vec());
        assert_eq!(
            (found.p20, found.median, found.p80, found.samples),
            (ms(3), ms(6), ms(9), 11)
        );
        assert_eq!(Quantiles::of(vec![ms(2)]).p80, ms(2));
        assert_eq!(Quantiles::of(vec![]).samples, 0);
        let mut calls = 0;
        let found = Quantiles::sample(Duration::ZERO, 5, || {
            calls += 1;
            Ok(vec![ms(calls), ms(calls)])
        })?;
        assert_eq!((found.samples, found.median), (6, ms(2)));
        assert!(Quantiles::sample(ms(1), 1, || Ok(vec![])).is_err());
        Ok(())
    }
}
