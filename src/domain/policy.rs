//! What the camera may do, as one function of the facts.
//!
//! The whole table of [`decide`] is a golden file and is printed in `docs/policy.md`.

use super::codec::Codec;
use super::entitlement::{Entitlement, Features};
use super::fragment::{Epoch, SpanEnd};
use super::privacy::Privacy;
use super::storage::StorageState;

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyFacts {
    /// The owner's choice, combined with the latch and the shutter.
    pub privacy: Privacy,
    /// The state of the lease now.
    pub entitlement: Entitlement,
    /// How far the clock is believed.
    pub clock: TrustedClock,
    /// How much room the spool has.
    pub storage: StorageState,
    /// Whether the owner's current choice is known.
    pub hearing: Hearing,
    /// What the configuration adds.
    pub rules: Rules,
}

/// Whether the camera knows what its owner wants now. This decides what is sent, never whether to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hearing {
    /// A session with the broker is up, and the choice that the broker retains has been heard; or the store
    /// has answered for `privacy.unheard_hold` while the broker has not.
    Heard,
    /// Neither.
    Unheard,
}

/// Whether the clock is trusted. This decides how objects are marked, never whether to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrustedClock {
    /// Synchronised, or `clock.trust` says to treat it as synchronised.
    Trusted,
    /// Everything else: the times in names are plausible at best.
    Untrusted,
}

/// What the configuration has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// `recording.audio`.
    pub audio: bool,
    /// What happens when the budget is used up.
    pub when_full: WhenFull,
    /// What happens to footage from before a "do not record".
    pub pending: PrivacyPending,
    /// What the board records.
    pub codec: Codec,
}

/// `spool.when_full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// The oldest segments are removed to make room: the default.
    Evict,
    /// Capture stops until there is room.
    Stop,
}

/// `privacy.pending`: what happens to footage from before the owner's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrivacyPending {
    /// It was allowed when it was captured: it is sent to the cloud. The default.
    Upload,
    /// It stays on flash until the owner allows recording again.
    Hold,
    /// It is removed at once.
    Purge,
}

/// What follows from the facts. Only [`decide`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    capture: Capture,
    /// Whether segments go to the store, or why not.
    pub upload: Upload,
    /// What happens to the segments that wait.
    pub pending: Pending,
}

/// On, and how; or off, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capture {
    /// The devices may be open.
    On {
        /// With audio.
        audio: bool,
        /// The largest frame height, in lines.
        max_height: u32,
    },
    /// No device may be open.
    Off(Reason),
}

/// Whether segments may go to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upload {
    /// Pending segments are sent.
    On,
    /// Only what was captured while the owner's choice was known is sent; the rest waits until it is known
    /// again.
    Heard,
    /// None is sent, and running uploads are cancelled.
    Off(Reason),
}

/// What happens to segments that the cloud does not hold yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pending {
    /// Kept within the plan's history and the budget.
    Keep,
    /// Kept for `spool.hold`, then purged.
    Hold,
    /// Purged at once.
    Purge,
    /// The oldest are evicted until there is room.
    EvictOldest,
}

impl Pending {
    /// The stable text for status and logs.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Pending::Keep => "keep",
            Pending::Hold => "hold",
            Pending::Purge => "purge",
            Pending::EvictOldest => "evict_oldest",
        }
    }
}

/// Why something is as it is. The text is stable: the cloud and scripts read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing forbids it.
    Allowed,
    /// The owner's choice, the latch or the shutter forbids it.
    DoNotRecord,
    /// No choice is known, or it cannot be read: treated as a prohibition.
    PrivacyUnknown,
    /// The owner chose "do not record", and `privacy.pending` holds footage back.
    PrivacyHold,
    /// No lease is known, or it cannot be read.
    EntitlementUnknown,
    /// The lease and its grace period have ended.
    Lapsed,
    /// The lease says `suspended`.
    Suspended,
    /// The lease says `terminated`.
    Terminated,
    /// The lease's `features.record` is false.
    PlanWithoutRecording,
    /// The lease's `features.h265` is false, and the board records H.265.
    PlanWithoutH265,
    /// The budget is used up, and `spool.when_full` is `stop`.
    StorageFull,
    /// The spool cannot be written.
    StorageBroken,
}

impl Reason {
    /// The stable text that reports, status and metrics carry.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Reason::Allowed => "allowed",
            Reason::DoNotRecord => "do_not_record",
            Reason::PrivacyUnknown => "privacy_unknown",
            Reason::PrivacyHold => "privacy_hold",
            Reason::EntitlementUnknown => "entitlement_unknown",
            Reason::Lapsed => "lapsed",
            Reason::Suspended => "suspended",
            Reason::Terminated => "terminated",
            Reason::PlanWithoutRecording => "plan_without_recording",
            Reason::PlanWithoutH265 => "plan_without_h265",
            Reason::StorageFull => "storage_full",
            Reason::StorageBroken => "storage_broken",
        }
    }

    /// The reason that the end of a span carries if it stops for this reason.
    #[must_use]
    pub fn span_end(self) -> SpanEnd {
        match self {
            Reason::DoNotRecord | Reason::PrivacyUnknown | Reason::PrivacyHold => SpanEnd::Privacy,
            Reason::Allowed
            | Reason::EntitlementUnknown
            | Reason::Lapsed
            | Reason::Suspended
            | Reason::Terminated
            | Reason::PlanWithoutRecording
            | Reason::PlanWithoutH265 => SpanEnd::Entitlement,
            Reason::StorageFull | Reason::StorageBroken => SpanEnd::Storage,
        }
    }
}

impl Decision {
    /// Whether the devices may be open. Read-only: only [`decide`] makes a decision to capture.
    #[must_use]
    pub fn capture(&self) -> Capture {
        self.capture
    }
}

/// Decides. Privacy comes first: if several facts forbid capture, the reported reason is the owner's wish.
#[must_use]
pub fn decide(facts: &PolicyFacts) -> Decision {
    let granted = granted(facts.entitlement);
    let capture = match (facts.privacy, granted, facts.storage) {
        (Privacy::DoNotRecord, _, _) => Capture::Off(Reason::DoNotRecord),
        (Privacy::Unknown, _, _) => Capture::Off(Reason::PrivacyUnknown),
        (Privacy::Record, Err(reason), _) => Capture::Off(reason),
        (Privacy::Record, Ok(features), _) if !features.record => Capture::Off(Reason::PlanWithoutRecording),
        (Privacy::Record, Ok(features), _) if facts.rules.codec == Codec::H265 && !features.h265 => {
            Capture::Off(Reason::PlanWithoutH265)
        }
        (Privacy::Record, Ok(_), StorageState::Broken) => Capture::Off(Reason::StorageBroken),
        (Privacy::Record, Ok(_), StorageState::Full) if facts.rules.when_full == WhenFull::Stop => {
            Capture::Off(Reason::StorageFull)
        }
        (Privacy::Record, Ok(features), StorageState::Roomy | StorageState::Tight | StorageState::Full) => {
            Capture::On { audio: features.audio && facts.rules.audio, max_height: features.max_height }
        }
    };

    // An unknown choice is private, but it is not a choice of the owner that allows a purge.
    let kept_back = facts.privacy == Privacy::DoNotRecord && facts.rules.pending != PrivacyPending::Upload;
    let upload = match granted {
        Err(reason) => Upload::Off(reason),
        Ok(_) if kept_back => Upload::Off(Reason::PrivacyHold),
        Ok(_) => match facts.hearing {
            Hearing::Heard => Upload::On,
            Hearing::Unheard => Upload::Heard,
        },
    };

    let pending = match facts.entitlement {
        Entitlement::Terminated => Pending::Purge,
        _ if facts.privacy == Privacy::DoNotRecord && facts.rules.pending == PrivacyPending::Purge => {
            Pending::Purge
        }
        Entitlement::Suspended | Entitlement::Lapsed => Pending::Hold,
        Entitlement::Granted(_) | Entitlement::Unknown => match (facts.storage, facts.rules.when_full) {
            (StorageState::Full, WhenFull::Evict) => Pending::EvictOldest,
            (StorageState::Full, WhenFull::Stop)
            | (StorageState::Roomy | StorageState::Tight | StorageState::Broken, _) => Pending::Keep,
        },
    };
    Decision { capture, upload, pending }
}

fn granted(entitlement: Entitlement) -> Result<Features, Reason> {
    match entitlement {
        Entitlement::Granted(features) => Ok(features),
        Entitlement::Suspended => Err(Reason::Suspended),
        Entitlement::Terminated => Err(Reason::Terminated),
        Entitlement::Lapsed => Err(Reason::Lapsed),
        Entitlement::Unknown => Err(Reason::EntitlementUnknown),
    }
}

/// Permission to capture, once. It cannot be copied, and only [`permit`] makes one.
#[derive(Debug)]
pub struct Permit {
    epoch: Epoch,
}

impl Permit {
    /// The epoch that all footage captured under it carries.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// A permit with this number, if the decision is to capture.
#[must_use]
pub fn permit(decision: &Decision, epoch: Epoch) -> Option<Permit> {
    match decision.capture {
        Capture::On { .. } => Some(Permit { epoch }),
        Capture::Off(_) => None,
    }
}
