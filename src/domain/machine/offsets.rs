//! Decides the offsets of boots whose clock could not be trusted, and makes them durable before they are
//! used.

use super::Machine;
use super::hearing::ends;
use super::pending::Stage;
use crate::domain::effect::Fact;
use crate::domain::input::Ticket;
use crate::domain::offset::{self, Offsets, Pinned};
use crate::domain::policy::{Decision, Upload};
use crate::domain::segment::{KeyClock, RecordClock, Segment};
use crate::domain::time::{Clock, Mono, Now, Utc};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How long what a plausible clock recorded waits for the clock to be set, once it could be sent: the network
/// that reaches the store also brings the time.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long offsets that could not be written wait for a retry.
const WRITE_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Pins {
    /// All that is decided.
    decided: Offsets,
    /// The durable part of it: nothing else is used.
    kept: Offsets,
    writing: Option<(Ticket, Offsets)>,
    retry_at: Mono,
    /// The latest time that was known to have passed when this process began.
    floor: Utc,
    /// Footage from such a clock is waiting, and nothing is decided for it.
    lacking: Lacking,
    /// Since when the footage from a plausible clock could be sent.
    could_go: Option<Mono>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lacking {
    plausible_here: bool,
    unset_here: bool,
    unset_before: bool,
}

impl Pins {
    pub(super) fn new(kept: Offsets, floor: Utc, now: Now) -> Pins {
        Pins {
            decided: kept.clone(),
            kept,
            writing: None,
            retry_at: now.mono,
            floor,
            lacking: Lacking::default(),
            could_go: None,
        }
    }

    /// Notes a segment that waits; `boot` is this boot.
    pub(super) fn note(&mut self, segment: &Segment, boot: &str) {
        let record = &segment.record;
        if self.decided.get(&record.boot, record.clock).is_some() {
            return;
        }
        match (record.clock, record.boot == boot) {
            (RecordClock::Trusted, _) | (RecordClock::Plausible, false) => {}
            (RecordClock::Plausible, true) => self.lacking.plausible_here = true,
            (RecordClock::Unset, true) => self.lacking.unset_here = true,
            (RecordClock::Unset, false) => self.lacking.unset_before = true,
        }
    }

    /// When the passing of time decides something, or when what is decided is written again.
    pub(super) fn due(&self, now: Mono) -> Option<Mono> {
        let waits = self.writing.is_none() && self.decided != self.kept;
        let retry = waits.then_some(self.retry_at);
        let decides = self.could_go.map(|since| since + CLOCK_TIMEOUT);
        retry.into_iter().chain(decides).filter(|at| *at > now).min()
    }
}

impl Machine {
    /// The time under which a segment is sent, or `None` while none is durable.
    pub(super) fn key_time(&self, segment: &Segment) -> Option<(Utc, KeyClock)> {
        offset::key_time(&segment.record, &self.boot, &self.pins.kept)
    }

    /// Decides what can be decided, and has it written.
    pub(super) fn restore_offsets(&mut self, decision: &Decision, now: Now) {
        if self.clock(now) == Clock::Trusted {
            let Lacking { plausible_here, unset_here, .. } = self.pins.lacking;
            for (lacks, clock) in [(plausible_here, RecordClock::Plausible), (unset_here, RecordClock::Unset)]
            {
                if lacks {
                    self.pin_here(clock, Pinned::Corrected(now.offset()));
                }
            }
        }
        if self.pins.lacking.unset_before && !self.usage.is_scanning {
            self.pin_before();
        }
        self.pin_as_recorded(decision, now);
        if self.pins.decided != self.pins.kept
            && self.pins.writing.is_none()
            && self.pins.retry_at <= now.mono
        {
            let offsets = self.pins.decided.clone();
            let ticket = self.persist(Fact::Offsets(offsets.clone()), false);
            self.pins.writing = Some((ticket, offsets));
        }
    }

    pub(super) fn offsets_written(&mut self, ticket: Ticket, ok: bool, now: Now) {
        let Some((_, offsets)) = self.pins.writing.take_if(|(writing, _)| *writing == ticket) else {
            return;
        };
        if ok {
            self.pins.kept = offsets;
        } else {
            self.pins.retry_at = now.mono + WRITE_INTERVAL;
        }
    }

    fn pin_here(&mut self, clock: RecordClock, pinned: Pinned) {
        let mut done = self.pins.decided.pin(&self.boot, clock, pinned);
        if !done {
            self.let_boots_go();
            done = self.pins.decided.pin(&self.boot, clock, pinned);
        }
        match clock {
            RecordClock::Plausible => self.pins.lacking.plausible_here &= !done,
            RecordClock::Unset => self.pins.lacking.unset_here &= !done,
            RecordClock::Trusted => {}
        }
    }

    /// For boots that are over and never had a trusted clock: each is taken to have ended when the one after
    /// it began, and the last of them when this camera last knew that time had passed. So none is later than
    /// what was captured after it, and none is in the future.
    fn pin_before(&mut self) {
        self.let_boots_go();
        let mut place: HashMap<&str, usize> = HashMap::new();
        let mut boots: Vec<(String, Mono)> = Vec::new();
        for segment in self.queue.iter().rev().map(|entry| &entry.segment) {
            if segment.record.clock != RecordClock::Unset || segment.record.boot == self.boot {
                continue;
            }
            let boot = segment.record.boot.as_str();
            let at = *place.entry(boot).or_insert_with(|| {
                boots.push((boot.to_owned(), Mono(0)));
                boots.len() - 1
            });
            if let Some((_, end)) = boots.get_mut(at) {
                *end = (*end).max(ends(segment));
            }
        }
        let (mut latest, mut all) = (self.pins.floor, true);
        for (boot, end) in boots {
            let end = i64::try_from(end.0).unwrap_or(i64::MAX);
            let began = latest.0.saturating_sub(end);
            all &= self.pins.decided.pin(&boot, RecordClock::Unset, Pinned::Vague(began));
            if let Some(Pinned::Vague(began)) = self.pins.decided.get(&boot, RecordClock::Unset) {
                latest = latest.min(Utc(began));
            }
        }
        self.pins.lacking.unset_before = !all;
    }

    /// What a plausible clock recorded is sent as it is if the clock is not set before the timeout.
    fn pin_as_recorded(&mut self, decision: &Decision, now: Now) {
        let waits = self.pins.lacking.plausible_here;
        let goes = waits
            && match decision.upload {
                Upload::On => true,
                Upload::Heard => self.queue.iter().any(|entry| {
                    let record = &entry.segment.record;
                    let is_meant = record.clock == RecordClock::Plausible && record.boot == self.boot;
                    is_meant
                        && matches!(entry.stage, Stage::Waiting(_))
                        && !self.was_unheard(&entry.segment, now)
                }),
                Upload::Off(_) => false,
            };
        let since = self.pins.could_go.filter(|_| goes).or(goes.then_some(now.mono));
        self.pins.could_go = since;
        if since.is_some_and(|since| now.mono.since(since) >= CLOCK_TIMEOUT) {
            self.pin_here(RecordClock::Plausible, Pinned::AsRecorded);
            self.pins.could_go = None;
        }
    }

    /// Drops boots of which no footage is left.
    fn let_boots_go(&mut self) {
        if self.usage.is_scanning {
            return;
        }
        let held: HashSet<&str> = self.queue.iter().map(|entry| entry.segment.record.boot.as_str()).collect();
        self.pins.decided.retain(|boot| boot == self.boot || held.contains(boot));
    }
}
