//! The laws that must hold after every step.

use super::super::rig::HOUR;
use super::{Device, World};
use kasacam::domain::effect::{CaptureSettings, Fact, Rule, StopManner};
use kasacam::domain::entitlement::{Entitlement, Lease};
use kasacam::domain::input::FaultKind;
use kasacam::domain::policy::PrivacyPending;
use kasacam::domain::privacy::{Privacy, Recalled};
use kasacam::domain::segment::{RecordClock, Serial};
use kasacam::domain::time::Mono;
use std::time::Duration;

impl World {
    pub(super) fn check(&self) {
        let privacy = self.machine.privacy();
        assert_eq!(privacy, self.model.privacy(), "privacy is other than the model says");
        let entitlement = self.machine.entitlement(self.now);
        assert_eq!(entitlement, self.model.entitlement(), "the plan is other than the model says");
        let wanted = self.model.capture();
        match (self.device, wanted) {
            (Device::Open(_, settings), Some(wanted)) => assert_eq!(settings, wanted, "recorded otherwise"),
            (Device::Open(..), None) => panic!("open, though {privacy:?}, {entitlement:?}"),
            (Device::Closing(_, StopManner::Drain), _) if privacy != Privacy::Record => {
                panic!("private, yet what was captured is drained")
            }
            (Device::Closed, Some(wanted)) => assert!(self.is_excused(wanted), "closed without a cause"),
            (Device::Closing(..), _) | (Device::Closed, None) => {}
        }
        assert!(self.model.upload() || self.in_flight.is_empty(), "uploaded against the plan");
        assert!(self.in_flight.len() <= self.model.settings.concurrency);
        let rested = self.refused.is_none_or(|at| self.now.mono.since(at) > HOUR);
        let goes = self.spool.values().any(|segment| {
            let heard = self.heard || !self.unheard.contains(&segment.serial);
            segment.record.clock == RecordClock::Trusted && heard
        });
        if self.model.upload() && rested && goes {
            assert!(!self.in_flight.is_empty(), "nothing is sent, and nothing hinders it");
        }
        // What would be lost in a kill of the process is where its next start looks.
        let choice = self.model.choice.in_force.value().is_some_and(|choice| choice.do_not_record);
        let lies = |wanted: fn(&Fact) -> bool| self.tombstones.iter().any(wanted);
        let unkept = choice && !self.model.choice.durable;
        assert_eq!(lies(|fact| matches!(fact, Fact::Privacy { .. })), unkept, "{:?}", self.tombstones);
        let unkept = self.model.latch.in_force == Recalled::Is(true) && !self.model.latch.durable;
        assert_eq!(lies(|fact| matches!(fact, Fact::Latch(true))), unkept, "{:?}", self.tombstones);
        self.check_journal();
        self.check_light(wanted.is_some());
        if let Some((from, None)) = self.forbidden.last() {
            let late = self.spool.values().find(|segment| {
                segment.record.clock == RecordClock::Trusted && self.ended[&segment.serial] > *from
            });
            assert_eq!(late, None, "kept, though it was captured after {from}");
        }
        assert!(!self.model.purge() || self.spool.is_empty(), "what is to be purged is kept");
    }

    /// The journal is true at every moment.
    fn check_journal(&self) {
        let noted = self.journal.choice;
        let version = self.model.choice.in_force.value().map(|choice| choice.version);
        let latch = !matches!(self.model.latch.in_force, Recalled::Missing | Recalled::Is(false));
        let so = (version, self.model.privacy() != Privacy::Record, latch);
        assert_eq!(noted, Some(so), "the journal's last word of the choice");
        match self.device {
            Device::Closed => assert!(!self.journal.open, "the journal has an open camera"),
            // A retry after a fault is noted once it plays.
            Device::Open(..) | Device::Closing(..) => {
                assert!(self.journal.open || self.journal.retries, "the journal has a closed camera");
            }
        }
    }

    /// Nothing is open before the light is lit, and the light is out if nothing is open.
    fn check_light(&self, wanted: bool) {
        let Some(light) = &self.light else { return };
        assert!(light.lit || self.device == Device::Closed, "open in the dark");
        let told = light.told.back().map_or(light.lit, |(_, on)| *on);
        if self.device == Device::Closed && !wanted && !self.light_is_in_trouble() {
            assert!(!told, "lit for nothing");
        }
    }

    /// A light that failed is retried after at most half a minute, one that does not go out after at most
    /// five seconds.
    fn light_is_in_trouble(&self) -> bool {
        let lately = |at: Mono| self.now.mono.since(at) <= Duration::from_secs(35);
        self.light.as_ref().is_some_and(|light| light.trouble.is_some_and(lately))
    }

    /// Recording has been permitted for at least the length of a segment.
    #[must_use]
    pub fn has_recorded_a_segment(&self) -> bool {
        self.forbidden.last().is_none_or(|(_, until)| {
            until.is_some_and(|until| self.truth.since(until) >= super::super::rig::SEGMENT)
        })
    }

    /// Closed for a while after a fault, or because there is no room and nothing to evict.
    fn is_excused(&self, wanted: CaptureSettings) -> bool {
        let waits = self.faulted.is_some_and(|(at, kind, under)| match kind {
            FaultKind::EndOfStream => true,
            // Another plan ends the wait at once.
            FaultKind::ExceedsPlan => under == wanted && self.now.mono.since(at) < Duration::from_secs(3600),
            _ => self.now.mono.since(at) < Duration::from_secs(5),
        });
        let in_the_dark = self.light.as_ref().is_some_and(|light| !light.told.is_empty());
        waits || self.model.full || in_the_dark || self.light_is_in_trouble()
    }

    /// What can be seen of this state from outside, without times and numbers: two states that look alike
    /// count as one.
    #[must_use]
    pub fn abstraction(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        let status = |lease: &Lease| {
            let due = lease.next.as_ref().map(|next| (next.from <= self.truth, next.terms.status.text()));
            (lease.terms.status.text(), lease.terms.features, due, lease.not_after <= self.truth)
        };
        let device = match self.device {
            Device::Closed => (0, None),
            Device::Open(_, settings) => (1, Some((settings, None))),
            Device::Closing(_, manner) => {
                (2, Some((CaptureSettings { audio: false, max_height: 0 }, Some(manner))))
            }
        };
        (device, self.machine.facts(self.now), self.machine.clock(self.now)).hash(&mut hasher);
        (self.model.lease.durable, self.model.lease.newest().map(status)).hash(&mut hasher);
        (self.model.lease.coming.is_some(), self.disk.lease.value().map(status)).hash(&mut hasher);
        (self.disk.choice.value().map(|c| c.do_not_record), self.model.choice.coming.is_some())
            .hash(&mut hasher);
        self.model.choice.newest().map(|c| c.do_not_record).hash(&mut hasher);
        (self.disk.latch.value(), self.model.latch.newest()).hash(&mut hasher);
        (self.disk.latch == Recalled::Unreadable, self.disk.choice == Recalled::Unreadable).hash(&mut hasher);
        for (_, writing) in &self.writes {
            std::mem::discriminant(writing).hash(&mut hasher);
        }
        for (epoch, allowed) in &self.channel {
            (self.live.is(*epoch), allowed).hash(&mut hasher);
        }
        for segment in self.spool.values() {
            (segment.record.clock as u8, self.in_flight.contains(&segment.serial)).hash(&mut hasher);
        }
        let rested = self.refused.is_some_and(|at| self.now.mono.since(at) < HOUR);
        let faulted =
            self.faulted.map(|(at, kind, _)| (kind, self.now.mono.since(at) < Duration::from_secs(5)));
        (self.reading, self.probing, self.made_full, rested, faulted).hash(&mut hasher);
        (self.connected, self.model.leaving, self.exited).hash(&mut hasher);
        (self.heard, self.asking, self.answers_since.is_some(), self.hold_is_over()).hash(&mut hasher);
        self.unheard.len().hash(&mut hasher);
        self.forbidden.last().map(|(_, until)| until.is_some()).hash(&mut hasher);
        hasher.finish()
    }

    /// Every deletion has a proof, or a rule whose condition is true by the true time.
    pub(super) fn assert_lawful(&self, serial: Serial, rule: Rule) {
        assert!(self.spool.contains_key(&serial), "what is gone is forgotten");
        let entitlement = self.model.entitlement();
        let age = self.truth.since(self.ended[&serial]);
        let lawful = match rule {
            Rule::Stored => self.proved == Some(serial),
            Rule::Terminated => entitlement == Entitlement::Terminated,
            Rule::PrivacyPurge => {
                self.model.settings.rules.pending == PrivacyPending::Purge
                    && self.model.privacy() == Privacy::DoNotRecord
            }
            Rule::AfterChoice => {
                let segment = &self.spool[&serial];
                let doubtful = segment.record.clock != RecordClock::Trusted;
                let began = self.ended[&serial] - super::super::rig::SEGMENT;
                self.forbidden.iter().any(|(from, until)| {
                    let later = until.is_some_and(|until| began >= until);
                    (doubtful || self.ended[&serial] > *from) && !later
                })
            }
            Rule::HistoryExceeded => match entitlement {
                Entitlement::Granted(plan) => age + Duration::from_secs(2) > HOUR * plan.history_hours,
                _ => false,
            },
            Rule::HoldExpired => {
                let stopped = matches!(entitlement, Entitlement::Suspended | Entitlement::Lapsed);
                stopped && self.stopped_for() >= self.model.settings.hold
            }
            Rule::Evicted => {
                let waits = |other: &&Serial| !self.in_flight.contains(*other);
                let oldest = self.spool.keys().find(waits).or(self.spool.keys().next());
                self.made_full && oldest == Some(&serial)
            }
        };
        assert!(lawful, "{serial} is forgotten as {rule:?} though that does not hold");
    }

    /// For how long the camera has seen that the service is stopped, by the true time.
    fn stopped_for(&self) -> Duration {
        self.stopped.map_or(Duration::ZERO, |since| self.truth.since(since))
    }
}
