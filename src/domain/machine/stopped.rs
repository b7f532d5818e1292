//! Since when the service has been stopped (suspended, or lapsed), as far as this camera knows. `spool.hold`
//! counts from then: a suspension that is issued again does not restart it, and one that is heard late purges
//! nothing at once.

use super::Machine;
use crate::domain::effect::Fact;
use crate::domain::entitlement::Entitlement;
use crate::domain::input::Ticket;
use crate::domain::time::{Clock, Mono, Now, Utc};
use std::time::Duration;

/// How long a fact that could not be written waits for a retry.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);
/// For this long after a start, a suspension from before the start removes nothing unless the lease has been
/// heard: the suspension may have ended while the camera was off.
const HEAR_LEASE_TIMEOUT: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Stopped {
    /// When it was first seen; `None` while the service goes on.
    seen: Option<Seen>,
    /// The value on flash.
    kept: Option<Utc>,
    writing: Option<(Ticket, Option<Utc>)>,
    retry_at: Mono,
    started: Mono,
}

/// If the clock was not synchronised, the time is computed from the monotonic clock as soon as that is
/// possible.
#[derive(Clone, Copy, Debug)]
enum Seen {
    At(Utc),
    AtMono(Mono),
}

impl Stopped {
    pub(super) fn new(kept: Option<Utc>, now: Now) -> Stopped {
        Stopped { seen: kept.map(Seen::At), kept, writing: None, retry_at: now.mono, started: now.mono }
    }

    /// Since when, if that can be told.
    pub(super) fn since(&self) -> Option<Utc> {
        match self.seen {
            Some(Seen::At(since)) => Some(since),
            Some(Seen::AtMono(_)) | None => None,
        }
    }
}

impl Machine {
    /// Notes when the service was stopped, and when it goes on.
    pub(super) fn restore_stopped(&mut self, now: Now) {
        let trusted = self.clock(now) == Clock::Trusted;
        self.stopped.seen = match (self.entitlement(now), self.stopped.seen) {
            (Entitlement::Granted(_), _) => None,
            (Entitlement::Suspended | Entitlement::Lapsed, None) if trusted => Some(Seen::At(now.system)),
            (Entitlement::Suspended | Entitlement::Lapsed, None) => Some(Seen::AtMono(now.mono)),
            (_, Some(Seen::AtMono(since))) if trusted => Some(Seen::At(now.utc_of(since))),
            // Neither means that the service goes on.
            (
                Entitlement::Suspended | Entitlement::Lapsed | Entitlement::Terminated | Entitlement::Unknown,
                seen,
            ) => seen,
        };
        let since = self.stopped.since();
        let is_known = self.stopped.seen.is_none() || since.is_some();
        if is_known
            && since != self.stopped.kept
            && self.stopped.writing.is_none()
            && self.stopped.retry_at <= now.mono
        {
            let ticket = self.persist(Fact::Stopped(since), false);
            self.stopped.writing = Some((ticket, since));
        }
    }

    pub(super) fn stopped_written(&mut self, ticket: Ticket, ok: bool, now: Now) {
        let Some((_, since)) = self.stopped.writing.take_if(|(writing, _)| *writing == ticket) else {
            return;
        };
        if ok {
            self.stopped.kept = since;
        } else {
            self.stopped.retry_at = now.mono + WRITE_INTERVAL;
        }
    }

    /// Whether it is certain, as far as waiting can make it so, that no renewal exists of which this camera
    /// has not heard.
    pub(super) fn stands_still_for_certain(&self, now: Now) -> bool {
        let heard = self.session.lease_is_heard(now.mono);
        match self.entitlement(now) {
            Entitlement::Suspended => heard || now.mono.since(self.stopped.started) >= HEAR_LEASE_TIMEOUT,
            Entitlement::Lapsed
            | Entitlement::Granted(_)
            | Entitlement::Terminated
            | Entitlement::Unknown => heard,
        }
    }
}
