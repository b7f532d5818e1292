//! The lease: what the camera's Kasa Care plan allows, and until when.
//!
//! Plans are data: nothing here or anywhere else branches on a plan's id or tier.

use super::time::Utc;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The claims of a `kasacam-entitlement+jws`, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Only grows.
    pub version: u64,
    /// When the cloud signed it.
    pub issued_at: Utc,
    /// The lease ends here; `entitlement.offline_grace` follows.
    pub not_after: Utc,
    /// In force until `next` is due.
    pub terms: Terms,
    /// What replaces `terms` at a given time.
    pub next: Option<Next>,
}

/// What a plan permits, as the claims of the lease say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The plan that the features come from; for reports.
    pub plan: Plan,
    /// The state of the account.
    pub status: Status,
    /// What may be recorded, and how far back it is kept.
    pub features: Features,
}

/// Names a Kasa Care plan. Data only: no decision depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Such as `plus-monthly`; at most 64 bytes of printable ASCII.
    pub id: String,
    /// Such as `plus`: reported, never branched on.
    pub tier: String,
}

/// A change of plan that is known in advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// From then on `terms` are in force.
    pub from: Utc,
    /// When these terms end, without the grace period that follows; `None`: when the lease ends.
    pub not_after: Option<Utc>,
    /// The terms that replace the lease's own.
    pub terms: Terms,
}

/// The state of the account with Kasa Care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Paid: the features are in force.
    Active,
    /// A declined card: the camera records and uploads as with `active`.
    PastDue,
    /// No capture and no upload; pending footage is held for `spool.hold`.
    Suspended,
    /// The contract is over: pending footage is purged.
    Terminated,
}

impl Status {
    /// The text of the claim `status`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::PastDue => "past_due",
            Status::Suspended => "suspended",
            Status::Terminated => "terminated",
        }
    }
}

/// The claim `features`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Features {
    /// The camera may record at all.
    pub record: bool,
    /// It may record audio as well.
    pub audio: bool,
    /// Maximum height of a frame in lines; 1 to 4320.
    pub max_height: u32,
    /// How many hours back recordings are kept; 0 to 87,600.
    pub history_hours: u32,
    /// It may record H.265. A lease that does not speak of it permits it.
    #[serde(default = "permitted")]
    pub h265: bool,
}

fn permitted() -> bool {
    true
}

impl Features {
    /// What both permit to record. The history is that of `self`: a future plan must not delete what is kept.
    #[must_use]
    pub fn least(self, other: Features) -> Features {
        Features {
            record: self.record && other.record,
            audio: self.audio && other.audio,
            max_height: self.max_height.min(other.max_height),
            history_hours: self.history_hours,
            h265: self.h265 && other.h265,
        }
    }
}

/// The fact that the policy sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entitlement {
    /// The lease is in force, with these features.
    Granted(Features),
    /// The lease says `suspended`.
    Suspended,
    /// The lease says `terminated`.
    Terminated,
    /// The lease ended, and so did `entitlement.offline_grace`.
    Lapsed,
    /// No lease is known, or it cannot be read. Nothing is captured.
    Unknown,
}

impl Entitlement {
    /// The stable text of the entitlement report's `state`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Entitlement::Granted(_) => "granted",
            Entitlement::Suspended => "suspended",
            Entitlement::Terminated => "terminated",
            Entitlement::Lapsed => "lapsed",
            Entitlement::Unknown => "unknown",
        }
    }
}

/// The state of a lease at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The fact that the policy sees.
    pub entitlement: Entitlement,
    /// The terms in force: the lease's own, or its due `next`.
    pub terms: &'a Terms,
    /// The next time at which this may change only because time passes.
    pub until: Option<Utc>,
}

impl Lease {
    /// The state of the lease at `at`, with a grace period of `grace` after its end.
    #[must_use]
    pub fn standing(&self, at: Utc, grace: Duration) -> Standing<'_> {
        let due = self.next.as_ref().filter(|next| next.from <= at);
        let terms = due.map_or(&self.terms, |next| &next.terms);
        let ends = due.and_then(|next| next.not_after).unwrap_or(self.not_after) + grace;
        let coming = match (&self.next, due) {
            (Some(next), None) => Some(next.from),
            (Some(_) | None, _) => None,
        };
        match terms.status {
            Status::Terminated => Standing { entitlement: Entitlement::Terminated, terms, until: coming },
            Status::Suspended => Standing { entitlement: Entitlement::Suspended, terms, until: coming },
            Status::Active | Status::PastDue if at >= ends => {
                Standing { entitlement: Entitlement::Lapsed, terms, until: coming }
            }
            Status::Active | Status::PastDue => {
                let until = Some(coming.map_or(ends, |coming| coming.min(ends)));
                Standing { entitlement: Entitlement::Granted(terms.features), terms, until }
            }
        }
    }
}
