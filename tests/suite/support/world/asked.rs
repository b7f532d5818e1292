//! What the machine requests, and what the world answers.

use super::{Device, Seen, World, Writing};
use kasacam::domain::effect::{Effect, Fact, Report, StopManner};
use kasacam::domain::input::Input;
use kasacam::domain::journal::What;
use kasacam::domain::offset::key_time;
use kasacam::domain::privacy::Privacy;
use kasacam::domain::segment::Content;
use std::time::Duration;

impl World {
    pub(super) fn perform(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            let seen = self.effect(effect);
            self.seen.push(seen);
        }
    }

    fn effect(&mut self, effect: Effect) -> Seen {
        match effect {
            Effect::StartCapture { permit, settings } => {
                assert_eq!(self.device, Device::Closed, "a device is opened twice");
                assert!(permit.epoch() > self.epoch, "an epoch comes again");
                assert_eq!(self.model.capture(), Some(settings), "opened other than the model says");
                assert!(self.light.as_ref().is_none_or(|light| light.lit), "opened in the dark");
                self.epoch = permit.epoch();
                self.device = Device::Open(self.epoch, settings);
                self.live.allow(self.epoch);
                Seen::Open
            }
            Effect::StopCapture { epoch, manner, .. } => {
                assert_eq!(epoch, self.epoch, "another run is stopped");
                if manner == StopManner::Drop {
                    self.live.revoke();
                    self.revoked = epoch;
                }
                self.device = Device::Closing(epoch, manner);
                Seen::Close(manner)
            }
            Effect::Light { ticket, on } => {
                let light = self.light.as_mut().expect("there is a light");
                light.told.push_back((ticket, on));
                Seen::Light(on)
            }
            Effect::Note { what, .. } => {
                self.note(what);
                Seen::Note
            }
            Effect::RaiseTombstone(fact) => {
                self.tombstones.push(fact);
                Seen::Other
            }
            Effect::LiftTombstone(fact) => {
                let kind = std::mem::discriminant(&fact);
                self.tombstones.retain(|known| std::mem::discriminant(known) != kind);
                Seen::Other
            }
            Effect::Persist { ticket, fact, forbids } => {
                assert_eq!(forbids, matches!(&fact, Fact::Latch(true)) || self.forbids(&fact));
                let writing = self.written(fact);
                self.writes.push_back((ticket, writing));
                Seen::Persist
            }
            Effect::Ack(ack) => {
                let what = self.owed.remove(&ack).expect("acknowledged once, and only what came");
                let durable = match &what {
                    Writing::Choice(c) => {
                        self.model.choice.coming.as_ref() != Some(c)
                            && self.disk.choice.value().is_none_or(|d| d.version >= c.version)
                    }
                    Writing::Lease(l) => {
                        self.model.lease.coming.as_ref() != Some(l)
                            && self.disk.lease.value().is_none_or(|d| d.version >= l.version)
                    }
                    Writing::Latch(_) | Writing::Stopped(_) | Writing::Floor(_) | Writing::Offsets(_) => true,
                };
                let newest = match &what {
                    Writing::Choice(c) => self.model.choice.newest() == Some(c),
                    Writing::Lease(l) => self.model.lease.newest() == Some(l),
                    Writing::Latch(_) | Writing::Stopped(_) | Writing::Floor(_) | Writing::Offsets(_) => {
                        false
                    }
                };
                assert!(durable || !newest, "acknowledged before it is durable: {what:?}");
                Seen::Ack
            }
            Effect::Publish(Report::Privacy(report)) => {
                let private = self.model.privacy() != Privacy::Record;
                assert_eq!(report.do_not_record, private, "what is reported of privacy is not so");
                assert_eq!(report.capture == "closed", self.device == Device::Closed, "nor of the device");
                Seen::Publish
            }
            Effect::Publish(_) => Seen::Publish,
            Effect::Upload { segment, time, clock, .. } => {
                assert!(self.model.upload(), "an upload begins against the plan");
                let known = self.heard || self.hold_is_over() || !self.unheard.contains(&segment.serial);
                assert!(known, "what was captured unheard is uploaded");
                assert!(self.spool.contains_key(&segment.serial), "what is gone is uploaded");
                assert!(self.in_flight.insert(segment.serial), "a segment is uploaded twice at once");
                let known = *self.keys.entry(segment.serial).or_insert((time, clock));
                assert_eq!(known, (time, clock), "the key of {} moves", segment.serial);
                // A start after a power cut would give the same.
                let next = key_time(&segment.record, "a boot to come", &self.disk.offsets);
                let next = next.map(|(time, clock)| (time.floor_micros(), clock));
                assert_eq!(next, Some(known), "sent under a time that is not durable");
                Seen::Upload
            }
            Effect::CancelUpload { serial } => {
                self.in_flight.remove(&serial);
                Seen::Cancel
            }
            Effect::Forget { serial, why } => {
                self.assert_lawful(serial, why);
                self.spool.remove(&serial);
                self.ended.remove(&serial);
                self.in_flight.remove(&serial);
                self.usage.bytes = self.usage.bytes.saturating_sub(1_000);
                self.model.full &= self.usage.bytes >= self.model.settings.budget.max_bytes;
                self.machine.handle(Input::Forgotten { serial }, self.now);
                Seen::Forget
            }
            Effect::CutBack { serial, keep } => {
                let segment = self.spool.get_mut(&serial).expect("what is cut back is there");
                let Content::Footage { duration, .. } = &mut segment.content else {
                    panic!("an end is cut back")
                };
                let cut = Duration::from_nanos(*duration).saturating_sub(keep);
                *duration -= u64::try_from(cut.as_nanos()).unwrap();
                let left = segment.clone();
                if left.start_mono() + keep <= self.lost_at {
                    self.unheard.remove(&serial);
                }
                if let Some(ended) = self.ended.get_mut(&serial) {
                    *ended = *ended - cut;
                }
                self.in_flight.remove(&serial);
                self.machine.handle(Input::Cut { serial, left: Some(left) }, self.now);
                Seen::Other
            }
            Effect::EvictAside => panic!("nothing is set aside here"),
            Effect::MoveEnd { .. } => panic!("there are no ends here"),
            Effect::AskStore => {
                self.asking = true;
                Seen::Ask
            }
            Effect::AskAgain => Seen::Other,
            Effect::Abort => panic!("no device is stuck here"),
            Effect::SetTerms { .. } => Seen::Other,
            Effect::FlushSpool => {
                self.machine.handle(Input::Flushed, self.now);
                Seen::Other
            }
            Effect::ProbeStorage => {
                assert!(self.model.broken, "a disk without faults is probed");
                self.probing = true;
                Seen::Other
            }
            Effect::Exit => {
                assert!(self.model.leaving, "it leaves unasked");
                self.exited = true;
                Seen::Other
            }
        }
    }

    /// A line of the privacy journal must be true.
    fn note(&mut self, what: What) {
        let first = !std::mem::replace(&mut self.journal.started, true);
        match what {
            What::CutOff => assert!(first, "cut off amid a life"),
            What::Started { .. } => self.journal.choice = None,
            What::Opened { audio, lines, choice, lease } => {
                match self.device {
                    Device::Open(_, settings) => {
                        assert_eq!((settings.audio, settings.max_height), (audio, lines))
                    }
                    // It played while it was already being closed.
                    Device::Closing(..) => {}
                    Device::Closed => panic!("noted as open"),
                }
                assert_eq!(choice, self.model.choice.in_force.value().map(|choice| choice.version));
                assert_eq!(lease, self.model.lease.in_force.value().map(|lease| lease.version));
                assert!(!std::mem::replace(&mut self.journal.open, true), "noted as opened twice");
            }
            What::Closed { .. } => {
                assert_eq!(self.device, Device::Closed, "noted as closed");
                assert!(std::mem::take(&mut self.journal.open), "noted as closed twice");
            }
            What::Choice { version, do_not_record, latch } => {
                let noted = Some((version, do_not_record, latch));
                assert_ne!(self.journal.choice, noted, "noted twice");
                self.journal.choice = noted;
            }
            What::Began | What::Continued { .. } | What::Lost { .. } => panic!("no decision of the machine"),
        }
    }

    fn forbids(&self, fact: &Fact) -> bool {
        matches!(fact, Fact::Privacy { .. })
            && self.model.choice.coming.as_ref().is_some_and(|choice| choice.do_not_record)
    }

    /// Only the newest of each kind is written.
    fn written(&self, fact: Fact) -> Writing {
        match fact {
            Fact::Privacy { jws: text, .. } => {
                let newest = self.model.choice.coming.clone().expect("a choice to write");
                assert_eq!(text, newest.version.to_string());
                Writing::Choice(newest)
            }
            Fact::Entitlement { jws: text, .. } => {
                let newest = self.model.lease.coming.clone().expect("a lease to write");
                assert_eq!(text, newest.version.to_string());
                Writing::Lease(newest)
            }
            Fact::Latch(closed) => {
                assert_eq!(self.model.latch.coming, Some(closed));
                Writing::Latch(closed)
            }
            Fact::Stopped(since) => Writing::Stopped(since),
            Fact::Floor(time) => Writing::Floor(time),
            Fact::Offsets(offsets) => Writing::Offsets(offsets),
        }
    }
}
