//! The settings of the spool.

use super::crypt::Encryption;
use super::quarantine::QuarantineLimits;
use crate::domain::segmenter::Durability;
use crate::domain::time::{Clock, Now};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum size of a segment file, in bytes: a file that is repaired is read into memory.
pub(super) const MAX_FILE: u64 = 96 * 1024 * 1024;

/// The settings of a spool.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `device.state_dir`; the spool is `spool/` in it, its reserved serial a fact in `state/`.
    pub state_dir: PathBuf,
    /// `device.id`.
    pub device: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// `recording.segment`.
    pub segment: Duration,
    /// An open fragment that lasts longer is committed up to there: one and a half times
    /// `recording.fragment`.
    pub part: Duration,
    /// `recording.durability`.
    pub durability: Durability,
    /// With durability `chunk`: keep the whole chunks of a fragment that a power cut left unfinished. Only if
    /// the stored choice is to record: otherwise it is unknown whether they should have been dropped.
    pub keep_partial_gop: bool,
    /// Maximum size of the quarantine.
    pub quarantine: QuarantineLimits,
    /// `spool.encrypt` and `spool.key`.
    pub encryption: Encryption,
}

impl Setup {
    /// The spool directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        directory(&self.state_dir)
    }
}

/// The spool directory of a state directory.
#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("spool")
}

/// Returns the current time and how far the clock is believed.
pub type ClockReading = Box<dyn Fn() -> (Now, Clock) + Send>;
