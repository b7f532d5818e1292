//! A queue of samples between the thread that reads a file and the one that takes them. It passes many at a time, so the
//! threads wake each other less often.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Number of samples at which it is full.
const DEPTH: usize = 16;

/// If it is full, the producer waits until it is empty.
#[derive(Default)]
pub(super) struct Basket {
    state: Mutex<BasketState>,
    moved: Condvar,
}

#[derive(Default)]
struct BasketState {
    samples: VecDeque<gst::Sample>,
    /// One of the two sides has ended.
    over: bool,
}

impl Basket {
    fn state(&self) -> MutexGuard<'_, BasketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sample; `false` if no more are wanted.
    pub(super) fn put(&self, sample: gst::Sample) -> bool {
        let mut state = self.state();
        state.samples.push_back(sample);
        if state.samples.len() == 1 {
            self.moved.notify_all();
        }
        if state.samples.len() >= DEPTH {
            while !state.samples.is_empty() && !state.over {
                state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        !state.over
    }

    /// Ends one of the two sides.
    pub(super) fn end(&self) {
        self.state().over = true;
        self.moved.notify_all();
    }

    /// All samples; waits for the first one up to `timeout`. The flag states that none will follow.
    pub(super) fn take(&self, timeout: Duration) -> (VecDeque<gst::Sample>, bool) {
        let mut state = self.state();
        if state.samples.is_empty() && !state.over {
            state = self.moved.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
        let samples = std::mem::take(&mut state.samples);
        if samples.len() >= DEPTH {
            self.moved.notify_all();
        }
        (samples, state.over)
    }
}
