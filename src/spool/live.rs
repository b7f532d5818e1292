//! The live epochs: which permits, if any, are in force at this moment.

use crate::domain::fragment::Epoch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by whoever gives permits and the spool, which looks at it immediately before anything
/// captured is written. Withdrawing takes effect at once, ahead of every queue: whatever is still
/// under way is refused.
///
/// A permit that follows another without a withdrawal in between does not end it: what was captured under
/// the one before may still be on its way, and is the owner's. The first and the last of them share a word, 32
/// bits each, so that both change at one stroke; 0 is no permit ([`Epoch`] counts from 1).
#[derive(Clone, Debug, Default)]
pub struct LiveEpoch(Arc<AtomicU64>);

impl LiveEpoch {
    /// No permit is in force.
    #[must_use]
    pub fn new() -> LiveEpoch {
        LiveEpoch::default()
    }

    /// This permit is in force, beside those before it that were not withdrawn.
    pub fn allow(&self, epoch: Epoch) {
        let Ok(epoch) = u32::try_from(epoch.0) else { return self.revoke() };
        let extended = |word: u64| {
            let first = if word == 0 { u64::from(epoch) } else { word >> 32 };
            Some(first << 32 | u64::from(epoch))
        };
        let _always_changed = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, extended);
    }

    /// No permit is in force any more.
    pub fn revoke(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// Whether what this epoch captured may be written.
    #[must_use]
    pub fn is(&self, epoch: Epoch) -> bool {
        let word = self.0.load(Ordering::SeqCst);
        let (first, last) = (word >> 32, word & u64::from(u32::MAX));
        epoch.0 != 0 && (first..=last).contains(&epoch.0)
    }
}
