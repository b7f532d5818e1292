//! The alphabet: what can happen in the world.

use kasacam::domain::entitlement::Status;
use kasacam::domain::input::FaultKind;
use std::time::Duration;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A choice `by` above (or below) the newest version seen.
    Choice {
        by: i64,
        do_not_record: bool,
    },
    Lease {
        by: i64,
        offer: Offer,
    },
    Latch(bool),
    /// The oldest outstanding write ends.
    Written(bool),
    /// The device that was told to close has closed.
    Closed,
    Fault(FaultKind),
    /// A fragment leaves the device for the spool's channel.
    Captured,
    /// The spool takes the oldest fragment from the channel.
    Landed,
    Sealed,
    Uploaded(Answer),
    Connected,
    Disconnected,
    /// The store was asked whether it answers.
    StoreAnswers(bool),
    /// The light executes its first pending command, or fails to.
    LightSet(bool),
    StorageFailed {
        full: bool,
    },
    Probed(bool),
    Usage {
        full: bool,
    },
    Clock(Reading),
    /// Time passes until the machine asks to be woken.
    Wake,
    /// Time passes, and the machine is not woken.
    Sleep(Duration),
    Shutdown,
    /// The power is cut; the outstanding writes reach the disk or not; a file may be damaged.
    Restart {
        written: bool,
        damaged: Option<Stored>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Stored,
    KeyTaken,
    RefusedByStore,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// Synchronised, and right.
    Known,
    /// Right, but not synchronised.
    Unsynchronised,
    /// 1970.
    Lost,
    /// Set back by forty days by hand.
    Back,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stored {
    Choice,
    Lease,
    Latch,
}

/// A lease, described by what matters of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Offer {
    pub status: Status,
    pub record: bool,
    pub audio: bool,
    /// Hours from now to its end.
    pub hours: u32,
    pub history_hours: u32,
    /// In this many hours it has this status.
    pub next: Option<(u32, Status)>,
}

pub const ACTIVE: Offer =
    Offer { status: Status::Active, record: true, audio: true, hours: 720, history_hours: 720, next: None };
