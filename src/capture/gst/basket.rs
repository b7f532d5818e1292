//! Samples on their way from the thread that reads a file to the one that takes them: many at a time, so that the two wake
//! each other once for all of them and not for each.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Frames, or pieces of audio, that are put in before it counts as full.
const DEPTH: usize = 16;

/// Whoever fills it waits where it is full, until it has been emptied.
#[derive(Default)]
pub(super) struct Basket {
    state: Mutex<BasketState>,
    moved: Condvar,
}

#[derive(Default)]
struct BasketState {
    samples: VecDeque<gst::Sample>,
    /// Nothing more is put in, or nothing more is taken out.
    over: bool,
}

impl Basket {
    fn state(&self) -> MutexGuard<'_, BasketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one in; `false` where none is wanted any more.
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

    /// Nothing more is put in, or nothing more is taken out.
    pub(super) fn end(&self) {
        self.state().over = true;
        self.moved.notify_all();
    }

    /// All that are there; waits for the first of them, for so long at most. The second says that none will follow.
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
