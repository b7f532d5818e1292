//! The live epoch: which permit, if any, is in force at this moment.

use crate::domain::fragment::Epoch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by whoever gives permits and the spool, which looks at it immediately before anything
/// captured is written. Withdrawing it takes effect at once, ahead of every queue: whatever of
/// the epoch is still under way is refused.
///
/// 0 is no permit ([`Epoch`] counts from 1).
#[derive(Clone, Debug, Default)]
pub struct LiveEpoch(Arc<AtomicU64>);

impl LiveEpoch {
    /// No permit is in force.
    #[must_use]
    pub fn new() -> LiveEpoch {
        LiveEpoch::default()
    }

    /// This permit is in force, and no other.
    pub fn allow(&self, epoch: Epoch) {
        self.0.store(epoch.0, Ordering::SeqCst);
    }

    /// No permit is in force any more.
    pub fn revoke(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// Whether what this epoch captured may be written.
    #[must_use]
    pub fn is(&self, epoch: Epoch) -> bool {
        epoch.0 != 0 && self.0.load(Ordering::SeqCst) == epoch.0
    }
}
