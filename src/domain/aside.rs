//! Files of the spool that are set aside: they seem whole, but cannot be sent as they are.
//!
//! Such a file stays where it is, is counted and shown, and is removed only to make room
//! ([`super::effect::Rule::Evicted`]). Once the cause is removed, the next start takes it up like any other
//! file. Only a file that is proved to be damaged goes into the quarantine.

use serde::{Deserialize, Serialize};

/// Why a file is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aside {
    /// Its record names another device: the card belongs to another camera, or `device.id` was changed.
    Device,
    /// It is encrypted, and `spool.key` is not its key, or there is none.
    Key,
    /// A later release wrote it, in a form that this release does not know.
    Format,
    /// Its name is not a name of the spool, or another file has its number.
    Name,
}

impl Aside {
    /// All reasons.
    pub const ALL: [Aside; 4] = [Aside::Device, Aside::Key, Aside::Format, Aside::Name];

    /// The stable text for events and figures.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Aside::Device => "device",
            Aside::Key => "key",
            Aside::Format => "format",
            Aside::Name => "name",
        }
    }

    /// For people: what it is, and how to mend it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Aside::Device => "captured by another device: device.id or the card was changed",
            Aside::Key => "encrypted, and spool.key is not its key, or none is set",
            Aside::Format => "written by a later release",
            Aside::Name => "not a name of the spool, or another file has its number",
        }
    }
}

/// How many files are set aside, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AsideFigures {
    /// All files that are set aside.
    pub files: u64,
    /// Their size in bytes; it is part of what the spool holds.
    pub bytes: u64,
    /// Files of another device.
    pub device: u64,
    /// Files without their key.
    pub key: u64,
    /// Files of a later release.
    pub format: u64,
    /// Files with names that are not names of the spool.
    pub name: u64,
}

impl AsideFigures {
    /// How many for this reason.
    #[must_use]
    pub fn of(&self, why: Aside) -> u64 {
        match why {
            Aside::Device => self.device,
            Aside::Key => self.key,
            Aside::Format => self.format,
            Aside::Name => self.name,
        }
    }

    /// Counts one more file, of `bytes` bytes.
    pub fn add(&mut self, why: Aside, bytes: u64) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        let count = self.slot(why);
        *count = count.saturating_add(1);
    }

    /// One file fewer.
    pub fn remove(&mut self, why: Aside, bytes: u64) {
        self.files = self.files.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        let count = self.slot(why);
        *count = count.saturating_sub(1);
    }

    fn slot(&mut self, why: Aside) -> &mut u64 {
        match why {
            Aside::Device => &mut self.device,
            Aside::Key => &mut self.key,
            Aside::Format => &mut self.format,
            Aside::Name => &mut self.name,
        }
    }
}
