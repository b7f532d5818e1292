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
    pub issued_at: Utc,
    /// The lease itself ends here; `entitlement.offline_grace` comes on top.
    pub not_after: Utc,
    pub terms: Terms,
    /// What replaces `terms` at a time.
    pub next: Option<Next>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub plan: Plan,
    pub status: Status,
    pub features: Features,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Such as `plus-monthly`; at most 64 bytes of printable ASCII.
    pub id: String,
    /// Such as `plus`: reported, never branched on.
    pub tier: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    pub from: Utc,
    pub terms: Terms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    /// A declined card: records and uploads as `active` does.
    PastDue,
    Suspended,
    Terminated,
}

impl Status {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Features {
    pub record: bool,
    pub audio: bool,
    /// Lines of picture at most; 1 to 4320.
    pub max_height: u32,
    /// Hours that recordings reach back; 0 to 87,600.
    pub history_hours: u32,
}

impl Features {
    /// What both permit to record. The history stays: what is kept is not deleted by what may not come.
    #[must_use]
    pub fn least(self, other: Features) -> Features {
        Features {
            record: self.record && other.record,
            audio: self.audio && other.audio,
            max_height: self.max_height.min(other.max_height),
            history_hours: self.history_hours,
        }
    }
}

/// The fact that the policy sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entitlement {
    Granted(Features),
    Suspended,
    Terminated,
    Lapsed,
    Unknown,
}

impl Entitlement {
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

/// A lease seen at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    pub entitlement: Entitlement,
    /// The terms in force: the lease's own, or its due `next`.
    pub terms: &'a Terms,
    /// Since when it stands so, where a hold is counted from it.
    pub since: Utc,
    /// The next moment at which this may change by the passing of time alone.
    pub until: Option<Utc>,
}

impl Lease {
    /// How the lease stands at `at`, with `grace` beyond its end.
    #[must_use]
    pub fn standing(&self, at: Utc, grace: Duration) -> Standing<'_> {
        let ends = self.not_after + grace;
        let due = self.next.as_ref().filter(|next| next.from <= at);
        let (terms, since) = match due {
            Some(next) => (&next.terms, next.from),
            None => (&self.terms, self.issued_at),
        };
        let coming = match (&self.next, due) {
            (Some(next), None) => Some(next.from),
            (Some(_) | None, _) => None,
        };
        match terms.status {
            Status::Terminated => {
                Standing { entitlement: Entitlement::Terminated, terms, since, until: coming }
            }
            Status::Suspended => {
                Standing { entitlement: Entitlement::Suspended, terms, since, until: coming }
            }
            Status::Active | Status::PastDue if at >= ends => {
                Standing { entitlement: Entitlement::Lapsed, terms, since: ends.max(since), until: coming }
            }
            Status::Active | Status::PastDue => {
                let until = Some(coming.map_or(ends, |coming| coming.min(ends)));
                Standing { entitlement: Entitlement::Granted(terms.features), terms, since, until }
            }
        }
    }
}
