//! A display without a terminal: a line for each pass over a set.

use burn_all::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn_all::train::metric::{MetricDefinition, MetricId};
use burn_all::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use std::collections::BTreeMap;

/// What is to be said at the end of a pass.
#[derive(Default)]
pub struct Plain {
    names: Vec<(MetricId, String)>,
    split: String,
    epoch: usize,
    epochs: usize,
    /// Of each metric the sum over the batches of this pass, and their number.
    sums: BTreeMap<String, (f64, usize)>,
}

impl Plain {
    fn add(&mut self, state: MetricState) {
        let MetricState::Numeric(entry, Some(value)) = state else {
            return;
        };
        if let Some((_, name)) = self.names.iter().find(|(id, _)| *id == entry.metric_id) {
            let sum = self.sums.entry(name.clone()).or_default();
            *sum = (sum.0 + value.current(), sum.1 + 1);
        }
    }
}

impl MetricsRendererTraining for Plain {
    fn update_train(&mut self, state: MetricState) {
        self.add(state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.add(state);
    }
}

impl TrainingProgressLogger for Plain {
    fn start(&mut self, epochs: usize, first: usize, _items: Option<usize>, _label: Option<&str>) {
        (self.epochs, self.epoch) = (epochs, first);
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch + 1;
    }

    fn start_split(&mut self, split: &str, _items: usize) {
        self.split = split.to_string();
        self.sums.clear();
    }

    fn update_split(&mut self, _items: usize) {}

    fn end_split(&mut self) {
        print!("epoch {} of {}, {:<6}", self.epoch, self.epochs, self.split);
        for (name, (sum, count)) in &self.sums {
            print!("  {name} {:.4}", sum / *count as f64);
        }
        println!();
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

// Nothing is evaluated by the learner here.
impl MetricsRendererEvaluation for Plain {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl EvaluationProgressLogger for Plain {
    fn start_global_progress(&mut self, _tests: usize) {}

    fn start_test(&mut self, _name: &str, _items: usize) {}

    fn update_test_progress(&mut self, _items: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRenderer for Plain {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, metric: MetricDefinition) {
        self.names.push((metric.metric_id, metric.name.to_string()));
    }
}
