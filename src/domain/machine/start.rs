//! What the machine is told at its start.

use crate::domain::entitlement::Lease;
use crate::domain::offset::Offsets;
use crate::domain::privacy::{PrivacyChoice, Recalled, Shutter};
use crate::domain::segment::Segment;
use crate::domain::settings::Settings;
use crate::domain::storage::Usage;
use crate::domain::time::Utc;

/// What is known when the agent starts.
#[derive(Debug)]
pub struct Start {
    /// The configuration as it was read at the start.
    pub settings: Settings,
    /// The device id, which is part of the topics.
    pub device: String,
    /// The id of this boot.
    pub boot: String,
    /// The app's last choice, as stored on flash.
    pub privacy: Recalled<PrivacyChoice>,
    /// The last lease, as stored on flash.
    pub entitlement: Recalled<Lease>,
    /// The JWS that prove the choice and the lease, where they are known.
    pub signed: Signed,
    /// The local latch, as stored on flash; `true` means set. [`Recalled::Missing`] if nothing is stored at all:
    /// it is then written as open.
    pub latch: Recalled<bool>,
    /// The highest versions ever seen, even if the facts themselves were lost.
    pub seen: Seen,
    /// Prohibitions that an earlier process received and could not write.
    pub tombstones: Tombstones,
    /// [`Shutter::Unknown`] if the camera has one: it is read after the start.
    pub shutter: Shutter,
    /// Since when the service is stopped, if an earlier process saw that.
    pub stopped: Option<Utc>,
    /// The latest time known to have passed: the last persisted time or the build time.
    pub floor: Utc,
    /// The offsets of boots whose clock could not be trusted, as far as they were decided.
    pub offsets: Offsets,
    /// What the spool holds, or why it cannot be used.
    pub spool: Result<(Vec<Segment>, Usage), String>,
    /// The camera has a light (`privacy.indicator`): no device is opened before it is lit.
    pub light: bool,
    /// The privacy journal ends with the camera open: the previous process was killed, or power was lost.
    pub cut_off: bool,
    /// Any number that differs between cameras.
    pub seed: u64,
}

/// The highest version of each kind that was ever seen; 0 where there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of the owner's choice.
    pub privacy: u64,
    /// Of the lease.
    pub entitlement: u64,
}

/// The JWS that prove two facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// Of the owner's choice.
    pub privacy: Option<String>,
    /// Of the lease.
    pub entitlement: Option<String>,
}

/// What a process could not write down and left for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    /// "Do not record", and the JWS that proves it.
    pub choice: Option<(PrivacyChoice, String)>,
    /// The latch is closed.
    pub latch: bool,
    /// There is one that cannot be read: what it concerns is unreadable until a new value of it is durable.
    pub unreadable: bool,
}
