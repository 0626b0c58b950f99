//! What is going on, for somebody who waits.

use indicatif::ProgressBar;
use std::time::{Duration, Instant};

/// What is going on, on stderr where that is a terminal. Drawn between measurements and seldom: a thread that draws
/// would be measured too.
pub struct Progress {
    bar: ProgressBar,
    drawn: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    pub fn new() -> Self {
        Progress {
            bar: ProgressBar::new_spinner(),
            drawn: std::cell::Cell::new(None),
        }
    }

    pub fn say(&self, what: &str) {
        let recent = |drawn: Instant| drawn.elapsed() < Duration::from_millis(100);
        if self.drawn.get().is_some_and(recent) {
            return;
        }
        self.drawn.set(Some(Instant::now()));
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
