//! Word of a callback to who awaits it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
struct State {
    given: bool,
    waker: Option<Waker>,
}

/// What a callback owns. Dropping it is the word, so that one that is dropped uncalled leaves nobody waiting.
#[derive(Debug)]
pub(super) struct Giver(Arc<Mutex<State>>);

/// Ready once the giver is gone.
#[derive(Debug)]
pub(super) struct Signal(Arc<Mutex<State>>);

/// Both ends.
pub(super) fn signal() -> (Giver, Signal) {
    let state = Arc::default();
    (Giver(Arc::clone(&state)), Signal(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Giver {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.given = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Signal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.given {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::signal;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_signal_comes_when_the_giver_goes_and_wakes_who_asked_last() {
        let (giver, signal) = signal();
        let mut signal = pin!(signal);
        let counts = [Arc::<Count>::default(), Arc::default()];
        for count in &counts {
            let waker = Waker::from(Arc::clone(count));
            let polled = signal.as_mut().poll(&mut Context::from_waker(&waker));
            assert_eq!(polled, Poll::Pending);
        }
        drop(giver);
        let woken = counts.map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(woken, [0, 1]);
        let polled = signal.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(()));
    }
}
