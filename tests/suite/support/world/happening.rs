//! What a step does to the world, and the machine's input from it.

use super::super::rig::{HOUR, choice, lease};
use super::{Answer, Device, Light, Offer, Reading, Step, Stored, World, Writing, boot};
use kasacam::domain::entitlement::{Lease, Next};
use kasacam::domain::fragment::Epoch;
use kasacam::domain::input::{AckToken, Fault, Input};
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::privacy::{Privacy, Recalled};
use kasacam::domain::segment::{RecordClock, Segment};
use kasacam::domain::time::{Clock, Mono, Utc};
use kasacam::spool::LiveEpoch;
use std::time::Duration;

impl World {
    /// The effect of the step on the world, and the machine's input from it.
    pub(super) fn happen(&mut self, step: Step) -> Option<Input> {
        let mono = self.now.mono;
        Some(match step {
            Step::Choice { by, do_not_record } => {
                let newest = self.model.choice.newest().cloned();
                let version = newest.as_ref().map_or(10, |newest| newest.version).saturating_add_signed(by);
                let mut offered = choice(version, do_not_record);
                offered.issued_at = self.truth - self.late;
                let mut again = false;
                if let Some(newest) = &newest {
                    again = (newest.version, newest.do_not_record) == (version, do_not_record);
                    offered.issued_at = if again { newest.issued_at } else { offered.issued_at };
                }
                // If two have one version, the stricter counts.
                let newer = newest.is_none_or(|newest| {
                    newest.version < version
                        || (newest.version == version && do_not_record && !newest.do_not_record)
                });
                if newer {
                    self.model.choice.coming = Some(offered.clone());
                }
                if newer || again {
                    self.heard = true;
                    self.unheard.clear();
                }
                let ack = self.owe(Writing::Choice(offered.clone()));
                Input::Privacy { jws: version.to_string(), choice: offered, retained: true, ack }
            }
            Step::Lease { by, offer } => {
                let newest = self.model.lease.newest().cloned();
                let version = newest.as_ref().map_or(10, |newest| newest.version).saturating_add_signed(by);
                let offered = match newest {
                    Some(newest) if by == 0 => newest,
                    _ => self.lease(version, offer),
                };
                if self.model.lease.newest().is_none_or(|newest| newest.version < version) {
                    self.model.lease.coming = Some(offered.clone());
                }
                let ack = self.owe(Writing::Lease(offered.clone()));
                Input::Entitlement { jws: version.to_string(), lease: offered, retained: false, ack }
            }
            Step::Latch(closed) => {
                if self.model.latch.newest() != Some(&closed) {
                    self.model.latch.coming = Some(closed);
                }
                Input::Latch { closed }
            }
            Step::Written(ok) => {
                let (ticket, writing) = self.writes.pop_front()?;
                if ok {
                    self.write(writing);
                }
                Input::Persisted { ticket, result: if ok { Ok(()) } else { Err(String::from("EIO")) } }
            }
            Step::Closed => {
                let Device::Closing(epoch, _) = self.device else { return None };
                self.device = Device::Closed;
                Input::CaptureClosed { epoch, at: mono, fault: None }
            }
            Step::Fault(kind) => {
                let Device::Open(epoch, settings) = self.device else { return None };
                self.device = Device::Closed;
                self.faulted = Some((mono, kind, settings));
                self.journal.retries = true;
                let fault = Some(Fault { kind, message: String::new() });
                Input::CaptureClosed { epoch, at: mono, fault }
            }
            Step::Captured => {
                let allowed = self.model.privacy() == Privacy::Record;
                self.channel.push_back((self.epoch, allowed));
                return None;
            }
            Step::Landed => {
                let (epoch, allowed) = self.channel.pop_front()?;
                if self.live.is(epoch) {
                    assert!(epoch > self.revoked, "a fragment of a revoked epoch reaches the disk");
                    assert!(allowed, "a fragment that the owner forbade reaches the disk");
                    self.journal.retries = false;
                    Input::Committed { frames: 30, bytes: 1_000 }
                } else {
                    Input::Dropped { epoch, frames: 30 }
                }
            }
            Step::Sealed => Input::Sealed(self.seal()),
            Step::Uploaded(answer) => {
                let serial = self.in_flight.pop_first()?;
                let retry = |scope| Outcome::Retry { scope, after: None, why: String::new() };
                let outcome = match answer {
                    Answer::Stored => Outcome::Stored,
                    Answer::KeyTaken => Outcome::KeyTaken,
                    Answer::RefusedByStore => retry(Scope::Store),
                    Answer::Refused => retry(Scope::Segment),
                };
                self.proved = (answer == Answer::Stored).then_some(serial);
                self.refused = if answer == Answer::Stored { self.refused } else { Some(mono) };
                Input::UploadFinished { serial, outcome, took: Duration::ZERO }
            }
            Step::Connected => {
                self.connected = true;
                Input::Connected
            }
            Step::StoreAnswers(answers) => {
                self.asking = false;
                self.answers_since = answers.then(|| self.answers_since.unwrap_or(mono));
                Input::StoreAnswered(answers)
            }
            Step::Disconnected => {
                if self.heard {
                    (self.lost_at, self.answers_since, self.asking) = (mono, None, false);
                }
                (self.connected, self.heard) = (false, false);
                Input::Disconnected { why: String::new() }
            }
            Step::LightSet(ok) => {
                let light = self.light.as_mut()?;
                let (ticket, on) = light.told.pop_front()?;
                light.lit = if ok { on } else { light.lit };
                light.trouble = if ok { light.trouble } else { Some(mono) };
                Input::LightSet { ticket, result: if ok { Ok(()) } else { Err(String::from("EIO")) } }
            }
            Step::StorageFailed { full } => {
                self.made_full |= full;
                Input::StorageFailed { full, why: String::new() }
            }
            Step::Probed(ok) => {
                self.probing = false;
                self.model.broken &= !ok;
                Input::StorageProbed { ok, full: false, away: false }
            }
            Step::Usage { full } => {
                self.made_full = full;
                self.usage.bytes = if full { 100_000 } else { 10_000 };
                self.model.full = full;
                Input::Usage(self.usage)
            }
            Step::Clock(reading) => {
                self.reading = reading;
                self.read_clock();
                Input::Tick
            }
            Step::Wake => {
                let (at, why) = self.machine.poll_timeout(self.now);
                assert!(at > mono, "the machine would wake for ever: {why:?}");
                self.pass(at.since(mono).min(2 * HOUR));
                Input::Tick
            }
            Step::Sleep(time) => {
                self.pass(time);
                Input::Tick
            }
            Step::Shutdown => {
                self.model.leaving = true;
                Input::Shutdown
            }
            Step::Restart { written, damaged } => {
                self.restart(written, damaged);
                return None;
            }
        })
    }

    fn restart(&mut self, written: bool, damaged: Option<Stored>) {
        for (_, writing) in std::mem::take(&mut self.writes) {
            if written {
                self.write(writing);
            }
        }
        match damaged {
            Some(Stored::Choice) => self.disk.choice = Recalled::Unreadable,
            Some(Stored::Lease) => self.disk.lease = Recalled::Unreadable,
            Some(Stored::Latch) => self.disk.latch = Recalled::Unreadable,
            None => {}
        }
        self.boot += 1;
        self.now.mono = Mono(1_000_000_000_000);
        self.read_clock();
        (self.device, self.live) = (Device::Closed, LiveEpoch::new());
        (self.epoch, self.revoked) = (Epoch(0), Epoch(0));
        (self.faulted, self.refused, self.probing) = (None, None, false);
        (self.connected, self.exited, self.made_full) = (false, false, false);
        (self.heard, self.asking, self.answers_since) = (false, false, None);
        self.unheard = self.spool.keys().copied().collect();
        self.forbidden.clear();
        self.tombstones.clear();
        self.lost_at = Mono(0);
        self.channel.clear();
        self.in_flight.clear();
        self.owed.clear();
        self.usage.bytes = 1_000 * self.spool.len() as u64;
        let held = (self.spool.values().cloned().collect(), self.usage);
        let settings = self.model.settings.clone();
        let cut_off = std::mem::take(&mut self.journal.open);
        (self.journal.started, self.journal.retries) = (false, false);
        if let Some(light) = &mut self.light {
            // Whatever starts the process puts out a light that was left lit.
            *light = Light::default();
        }
        let light = self.light.is_some();
        (self.machine, self.model) = boot(&settings, &self.disk, self.now, self.boot, held, (light, cut_off));
        self.stopped = self.disk.stopped;
        self.note_prohibition();
        self.note_stopped();
        self.perform();
    }

    fn pass(&mut self, time: Duration) {
        if let Some(light) = &mut self.light {
            if !light.told.is_empty() {
                light.trouble = Some(self.now.mono + time);
            }
        }
        self.now.mono = self.now.mono + time;
        self.now.system = self.now.system + time;
        self.truth = self.truth + time;
    }

    fn read_clock(&mut self) {
        self.now.synchronised = self.reading == Reading::Known;
        self.now.system = match self.reading {
            Reading::Known | Reading::Unsynchronised => self.truth,
            Reading::Lost => Utc(i64::try_from(self.now.mono.0).unwrap_or(i64::MAX)),
            Reading::Back => self.truth - 40 * 24 * HOUR,
        };
    }

    fn owe(&mut self, what: Writing) -> AckToken {
        self.delivery += 1;
        let ack = AckToken { connection: 1, delivery: self.delivery };
        self.owed.insert(ack, what);
        ack
    }

    fn lease(&self, version: u64, offer: Offer) -> Lease {
        let mut lease = lease(version);
        lease.issued_at = self.truth;
        lease.not_after = self.truth + HOUR * offer.hours;
        lease.terms.status = offer.status;
        lease.terms.features.record = offer.record;
        lease.terms.features.audio = offer.audio;
        lease.terms.features.history_hours = offer.history_hours;
        lease.next = offer.next.map(|(hours, status)| {
            let mut terms = lease.terms.clone();
            terms.status = status;
            Next { from: self.truth + HOUR * hours, not_after: None, terms }
        });
        lease
    }

    fn write(&mut self, writing: Writing) {
        match writing {
            Writing::Choice(choice) => {
                self.model.choice.stored(&choice);
                self.disk.choice = Recalled::Is(choice);
            }
            Writing::Lease(lease) => {
                self.model.lease.stored(&lease);
                self.disk.lease = Recalled::Is(lease);
            }
            Writing::Latch(closed) => {
                // If another write is under way, this one has no effect.
                if !self.writes.iter().any(|(_, later)| matches!(later, Writing::Latch(_))) {
                    self.model.latch.stored(&closed);
                }
                self.disk.latch = Recalled::Is(closed);
            }
            Writing::Stopped(since) => {
                let seen = since.is_none_or(|since| self.stops.contains(&since));
                assert!(seen, "another time than it was seen: {since:?}");
                self.disk.stopped = since;
            }
            Writing::Floor(time) => {
                assert!(time >= self.disk.floor, "the floor sinks");
                self.disk.floor = time;
            }
            Writing::Offsets(offsets) => self.disk.offsets = offsets,
        }
    }

    fn seal(&mut self) -> Segment {
        self.serial += 1;
        let mut segment = super::super::rig::segment(self.serial, self.now);
        segment.record.boot = format!("boot-{}", self.boot);
        segment.record.clock = RecordClock::from(Clock::judge(self.now, self.model.passed));
        self.ended.insert(segment.serial, self.truth);
        self.spool.insert(segment.serial, segment.clone());
        if !self.heard && self.now.mono > self.lost_at {
            self.unheard.insert(segment.serial);
        }
        segment
    }
}
