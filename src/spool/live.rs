//! The live epochs: which permits are in force at this moment.

use crate::domain::fragment::Epoch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by the part that issues permits and the spool, which checks it immediately before it writes
/// captured data. A withdrawal takes effect at once, ahead of every queue: chunks that are still on their way
/// are refused.
///
/// A permit that follows another without a withdrawal in between does not end it: chunks of the earlier one
/// may still be on their way, and the owner wants them. The first and the last of these permits share one
/// word, 32 bits each, so that both change atomically; 0 is no permit ([`Epoch`] counts from 1).
#[derive(Clone, Debug, Default)]
pub struct LiveEpoch(Arc<AtomicU64>);

impl LiveEpoch {
    /// No permit is in force.
    #[must_use]
    pub fn new() -> LiveEpoch {
        LiveEpoch::default()
    }

    /// This permit is in force, and so remain those before it that were not withdrawn.
    pub fn allow(&self, epoch: Epoch) {
        let Ok(epoch) = u32::try_from(epoch.0) else { return self.revoke() };
        let extended = |word: u64| {
            let first = if word == 0 { u64::from(epoch) } else { word >> 32 };
            Some(first << 32 | u64::from(epoch))
        };
        let _always_changed = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, extended);
    }

    /// No permit is in force any longer.
    pub fn revoke(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// Whether chunks of this epoch may be written.
    #[must_use]
    pub fn is(&self, epoch: Epoch) -> bool {
        let word = self.0.load(Ordering::SeqCst);
        let (first, last) = (word >> 32, word & u64::from(u32::MAX));
        epoch.0 != 0 && (first..=last).contains(&epoch.0)
    }
}
