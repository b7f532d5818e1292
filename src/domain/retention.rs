//! Which segments are removed, and by which rule.
//!
//! Rules that depend on time act only on trusted time: a synchronised clock, or the monotonic clock of the
//! boot in which a segment was captured. A clock that merely jumped must never empty the spool.

use super::effect::Rule;
use super::entitlement::Entitlement;
use super::policy::Pending;
use super::segment::{Content, RecordClock, Segment};
use super::time::{Clock, Mono, Now, Utc};
use std::time::Duration;

/// What the rules depend on; the same for every segment of one sweep.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// The clocks at the time of the sweep.
    pub now: Now,
    /// How far the system clock is believed: only a trusted one gives an age.
    pub clock: Clock,
    /// The id of this boot.
    pub boot: &'a str,
    /// What the policy says of segments that wait.
    pub pending: Pending,
    /// The state of the lease now.
    pub entitlement: Entitlement,
    /// Since when the camera has known that the service is stopped; `None` if that cannot be told.
    pub since: Option<Utc>,
    /// `spool.hold`.
    pub hold: Duration,
    /// The service cannot have been resumed while the camera was away: the broker's retained lease has been
    /// heard, or there is none.
    pub is_certain: bool,
}

/// "Do not record", and from when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prohibition {
    /// When it was chosen.
    pub from: Utc,
    /// What ended before this was captured before the choice was made, whatever the clock said; in this boot.
    pub known_to: Option<Mono>,
}

/// What a prohibition leaves of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// It is removed.
    Nothing,
    /// This much is kept, from its first frame on.
    Until(Duration),
    /// It stays as it is.
    All,
}

impl Prohibition {
    /// Nothing captured after the choice is kept. If the time of capture is uncertain, the footage is not
    /// kept.
    #[must_use]
    pub fn leaves(&self, segment: &Segment, now: Now, clock: Clock, boot: &str) -> Left {
        let duration = match segment.content {
            Content::Footage { duration, .. } => Duration::from_nanos(duration),
            Content::End { .. } => Duration::ZERO,
        };
        let here = segment.record.boot == boot;
        let start = match segment.record.clock {
            RecordClock::Trusted => Some(segment.record.start_utc),
            RecordClock::Plausible | RecordClock::Unset if here && clock == Clock::Trusted => {
                Some(now.utc_of(segment.start_mono()))
            }
            RecordClock::Plausible | RecordClock::Unset => None,
        };
        match start {
            Some(start) if start + duration <= self.from => Left::All,
            Some(start) if start >= self.from => Left::Nothing,
            Some(start) => Left::Until(self.from.since(start)),
            // Of an earlier boot, and a choice has been heard since: it is from before that choice.
            None if self.known_to.is_some_and(|to| !here || segment.start_mono() + duration <= to) => {
                Left::All
            }
            None => Left::Nothing,
        }
    }
}

/// The rule by which `segment` is removed now, if any. Eviction to make room is not decided here.
#[must_use]
pub fn due(segment: &Segment, sweep: &Sweep<'_>) -> Option<Rule> {
    let terminated = match sweep.entitlement {
        Entitlement::Terminated => true,
        Entitlement::Granted(_) | Entitlement::Suspended | Entitlement::Lapsed | Entitlement::Unknown => {
            false
        }
    };
    match sweep.pending {
        Pending::Purge if terminated => return Some(Rule::Terminated),
        Pending::Purge => return Some(Rule::PrivacyPurge),
        Pending::Hold => {
            if !sweep.is_certain {
                return None;
            }
            let held_since = sweep.since.filter(|_| sweep.clock == Clock::Trusted)?;
            return (sweep.now.system.since(held_since) >= sweep.hold).then_some(Rule::HoldExpired);
        }
        Pending::Keep | Pending::EvictOldest => {}
    }
    match sweep.entitlement {
        Entitlement::Granted(features) => {
            let history = Duration::from_secs(u64::from(features.history_hours) * 3600);
            (age(segment, sweep)? > history).then_some(Rule::HistoryExceeded)
        }
        Entitlement::Suspended | Entitlement::Terminated | Entitlement::Lapsed | Entitlement::Unknown => None,
    }
}

/// How long ago the segment ended, if that can be told.
fn age(segment: &Segment, sweep: &Sweep<'_>) -> Option<Duration> {
    let duration = match segment.content {
        Content::Footage { duration, .. } => Duration::from_nanos(duration),
        Content::End { .. } => Duration::ZERO,
    };
    if segment.record.boot == sweep.boot {
        return Some(sweep.now.mono.since(segment.start_mono() + duration));
    }
    match (segment.record.clock, sweep.clock) {
        (RecordClock::Trusted, Clock::Trusted) => {
            Some(sweep.now.system.since(segment.record.start_utc + duration))
        }
        // A plausible clock may have been restored from a time long past: its times give no age.
        (RecordClock::Plausible | RecordClock::Unset, _) | (_, Clock::Plausible | Clock::Unset) => None,
    }
}
