//! The state of the spool's flash.

use super::aside::AsideFigures;

/// What the spool holds and how much room its file system has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in the spool, including quarantine and what is set aside.
    pub bytes: u64,
    /// Files in the spool, including those set aside.
    pub files: u64,
    /// Bytes free to an unprivileged user (`statvfs.f_bavail`); `None` where the file system does not say.
    pub free: Option<u64>,
    /// Files in quarantine.
    pub quarantined: u64,
    /// What is set aside.
    pub set_aside: AsideFigures,
    /// Not all files of the spool are known yet: all of these figures may grow.
    pub is_scanning: bool,
}

/// The fact that the policy sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageState {
    /// Below nine tenths of every budget.
    Roomy,
    /// Nine tenths of a budget are used: worth a report, nothing else.
    Tight,
    /// A budget is used up.
    Full,
    /// Writing failed, and has not succeeded since.
    Broken,
}

impl StorageState {
    /// The stable text of the telemetry's `spool.state`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            StorageState::Roomy => "roomy",
            StorageState::Tight => "tight",
            StorageState::Full => "full",
            StorageState::Broken => "broken",
        }
    }
}

/// How much the spool may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Maximum number of bytes.
    pub max_bytes: u64,
    /// Bytes that must stay free for others.
    pub min_free: u64,
    /// Maximum number of files.
    pub max_files: u64,
}

impl Budget {
    /// Judges a spool that can be written.
    #[must_use]
    pub fn judge(&self, usage: Usage) -> StorageState {
        let nine_tenths = |of: u64| of - of / 10;
        // If the free space is unknown, nothing is removed because of it.
        let is_free_below = |least: u64| usage.free.is_some_and(|free| free <= least);
        if usage.bytes >= self.max_bytes || usage.files >= self.max_files || is_free_below(self.min_free) {
            StorageState::Full
        } else if usage.bytes >= nine_tenths(self.max_bytes)
            || usage.files >= nine_tenths(self.max_files)
            || is_free_below(self.min_free.saturating_add(self.min_free / 10))
        {
            StorageState::Tight
        } else {
            StorageState::Roomy
        }
    }
}
