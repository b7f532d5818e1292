//! Whether the camera knows what its owner wants now: a session with the broker is up, and the choice that
//! the broker retains has been heard on it. Footage captured while this was not so waits.

use super::Machine;
use crate::domain::effect::{Effect, Event};
use crate::domain::policy::{Decision, Hearing, Upload};
use crate::domain::segment::{Content, Segment};
use crate::domain::time::{Mono, Now};
use std::time::Duration;

/// A newer choice that was not retained may be one of several that the broker had queued: the next one
/// follows within this time.
const QUEUED_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the store is asked whether it answers, while footage waits unheard.
const ASK_STORE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a connection may have been dead before this is noticed (two keep-alives of 30 s and an answer).
const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(90);
/// A lease that the broker retains arrives within this time after a session begins, or there is none.
const LEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// The session with the broker, and what was heard on it.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Since when all commands are subscribed to.
    up: Option<Mono>,
    /// From when on the choice counts as heard on this session.
    choice: Option<Mono>,
    lease: bool,
    /// What was captured before this time was captured before the camera last knew the choice. `None`: it has
    /// not known it since this process began.
    known_to: Option<Mono>,
    /// The latest time at which the session before this one was heard of; what ended before it does not wait.
    heard_to: Option<Mono>,
    store: Store,
    /// The waiting footage was reported.
    told: bool,
}

/// Whether the store answers while the broker does not.
#[derive(Debug, Default)]
struct Store {
    answers_since: Option<Mono>,
    asked: bool,
    ask_at: Mono,
}

impl Session {
    pub(super) fn connected(&mut self, now: Mono) {
        self.up = Some(now);
    }

    pub(super) fn lost(&mut self, now: Mono) {
        if self.is_heard(now) {
            self.heard_to = Some(now);
            self.know_to(now, self.choice);
            // An attempt that fails does not restart the wait.
            self.store = Store::default();
        }
        (self.up, self.choice, self.lease) = (None, None, false);
    }

    /// A choice came that is as new as any known choice, or newer.
    pub(super) fn heard_choice(&mut self, retained: bool, now: Mono) {
        if retained || self.up.is_some() {
            let from = if retained { now } else { now + QUEUED_TIMEOUT };
            self.choice = Some(self.choice.map_or(from, |known| known.min(from)));
        }
    }

    /// What was heard is not believed any more: as if the session had only now begun.
    pub(super) fn forget_choice(&mut self, now: Mono) {
        if self.is_heard(now) {
            self.heard_to = Some(now);
            self.know_to(now, self.choice);
            self.store = Store::default();
        }
        self.choice = None;
    }

    pub(super) fn forget_lease(&mut self) {
        self.lease = false;
    }

    pub(super) fn heard_lease(&mut self) {
        self.lease = true;
    }

    pub(super) fn is_heard(&self, now: Mono) -> bool {
        self.up.is_some() && self.choice.is_some_and(|from| from <= now)
    }

    /// Whether the lease that the broker retains is known, or there is none.
    pub(super) fn lease_is_heard(&self, now: Mono) -> bool {
        self.up.is_some_and(|up| self.lease || now.since(up) >= LEASE_TIMEOUT)
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// A new choice comes: until now the one before it was known to be the newest.
    pub(super) fn another_choice(&mut self, now: Mono) {
        if self.is_heard(now) {
            self.know_to(now, self.choice);
        }
    }

    /// What ended before this time was captured before the newest choice was made.
    pub(super) fn known_to(&self) -> Option<Mono> {
        self.known_to
    }

    /// While a session seemed to be up, it may have been dead for a while; but not before the choice was
    /// heard on it.
    fn know_to(&mut self, now: Mono, heard: Option<Mono>) {
        let doubtful =
            Mono(now.0.saturating_sub(u64::try_from(HALF_OPEN_TIMEOUT.as_nanos()).unwrap_or(u64::MAX)));
        let known = heard.map_or(doubtful, |heard| heard.max(doubtful));
        self.known_to = Some(self.known_to.map_or(known, |before| before.max(known)));
    }

    fn held_long_enough(&self, hold: Option<Duration>, now: Mono) -> bool {
        match hold {
            Some(Duration::ZERO) => true,
            Some(hold) => self.store.answers_since.is_some_and(|since| now.since(since) >= hold),
            None => false,
        }
    }
}

impl Machine {
    /// The fact for the policy.
    #[must_use]
    pub fn hearing(&self, now: Now) -> Hearing {
        let goes = self.session.is_heard(now.mono)
            || self.session.held_long_enough(self.settings.unheard_hold, now.mono);
        if goes { Hearing::Heard } else { Hearing::Unheard }
    }

    /// Whether a segment was captured, at least in part, while nobody could tell the camera of a choice.
    pub(super) fn was_unheard(&self, segment: &Segment, now: Now) -> bool {
        if self.session.is_heard(now.mono) {
            return false;
        }
        match self.session.heard_to {
            None => true,
            Some(to) => segment.record.boot == self.boot && ends(segment) > to,
        }
    }

    /// Segments that wait because they were captured unheard.
    #[must_use]
    pub fn unheard(&self, decision: &Decision, now: Now) -> u64 {
        match decision.upload {
            Upload::Heard => {
                let waits = self.queue.iter().filter(|entry| self.was_unheard(&entry.segment, now));
                waits.count() as u64
            }
            Upload::On | Upload::Off(_) => 0,
        }
    }

    pub(super) fn store_answered(&mut self, answers: bool, now: Now) {
        let store = &mut self.session.store;
        store.asked = false;
        store.answers_since = match store.answers_since {
            Some(since) if answers => Some(since),
            None if answers => Some(now.mono),
            Some(_) | None => None,
        };
    }

    /// Reports when footage waits and when it no longer does; asks whether the store would accept it.
    pub(super) fn restore_hearing(&mut self, decision: &Decision, now: Now) {
        let waits = self.unheard(decision, now) > 0;
        if waits != self.session.told {
            self.session.told = waits;
            let by = if self.session.is_heard(now.mono) { "choice" } else { "hold" };
            match (waits, decision.upload) {
                (true, _) => self.tell(Event::Unheard),
                (false, Upload::On | Upload::Heard) => self.tell(Event::UnheardOver { by }),
                (false, Upload::Off(_)) => {}
            }
        }
        if self.store_matters(decision, now) && self.session.store.ask_at <= now.mono {
            self.session.store.ask_at = now.mono + self.ask_every();
            if !self.session.store.asked {
                self.session.store.asked = true;
                self.effects.push_back(Effect::AskStore);
            }
        }
    }

    /// When the passing of time may change the hearing.
    pub(super) fn hearing_changes_at(&self, decision: &Decision, now: Now) -> Option<Mono> {
        let session = &self.session;
        let over = session.store.answers_since.zip(self.settings.unheard_hold).map(|(at, hold)| at + hold);
        let lease = session.up.map(|up| up + LEASE_TIMEOUT);
        let ask = self.store_matters(decision, now).then_some(session.store.ask_at);
        [session.choice, over, lease, ask].into_iter().flatten().filter(|at| *at > now.mono).min()
    }

    /// Whether the store's answer could release anything, or prevent its release.
    fn store_matters(&self, decision: &Decision, now: Now) -> bool {
        let counts = match self.settings.unheard_hold {
            Some(hold) => hold > Duration::ZERO,
            None => false,
        };
        let permitted = match decision.upload {
            Upload::On | Upload::Heard => true,
            Upload::Off(_) => false,
        };
        counts
            && permitted
            && !self.session.is_heard(now.mono)
            && self.queue.iter().any(|entry| self.was_unheard(&entry.segment, now))
    }

    fn ask_every(&self) -> Duration {
        self.settings
            .unheard_hold
            .map_or(ASK_STORE_INTERVAL, |hold| (hold / 4).clamp(Duration::from_secs(1), ASK_STORE_INTERVAL))
    }
}

/// When the last sample of a segment ended.
pub(super) fn ends(segment: &Segment) -> Mono {
    match segment.content {
        Content::Footage { duration, .. } => segment.start_mono() + Duration::from_nanos(duration),
        Content::End { .. } => segment.start_mono(),
    }
}
