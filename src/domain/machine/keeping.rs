//! What is made durable, in which order, and what happens to it if the disk fails.

use super::Machine;
use super::start::Tombstones as Found;
use crate::domain::effect::{Effect, Event, Fact};
use crate::domain::input::Ticket;
use crate::domain::privacy::Recalled;
use crate::domain::time::Now;

/// Prohibitions that are stored where the next start of the process looks, because they are not durable.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    choice: Option<u64>,
    latch: bool,
    /// One of them cannot be read.
    unreadable: bool,
}

impl Machine {
    /// What an earlier process could not write is in force from the start, and is written now. If nothing is
    /// known of a latch, nor of anything else on this camera, the latch is written as open: if it is missing
    /// later, it was lost.
    pub(super) fn take_up(&mut self, found: Found, now: Now) {
        self.tombstones.unreadable = found.unreadable;
        if let Some((choice, jws)) = found.choice {
            let newer = self.choice.live().value().is_none_or(|known| known.version <= choice.version);
            if newer && choice.do_not_record {
                self.seen.privacy = self.seen.privacy.max(choice.version);
                self.tombstones.choice = Some(choice.version);
                self.choice.accept(choice, jws, None, now.mono);
            }
        }
        if found.latch && *self.latch.live() != Recalled::Is(true) {
            self.tombstones.latch = true;
            self.latch.accept(true, String::from(latch_text(true)), None, now.mono);
        } else if *self.latch.live() == Recalled::Missing {
            self.latch.accept(false, String::from(latch_text(false)), None, now.mono);
        }
    }

    /// The JWS on which the owner's choice is based: of the one in force, and of the one that is not in force
    /// yet.
    pub fn choice_signed(&self) -> impl Iterator<Item = &str> {
        self.choice.texts()
    }

    /// The same as [`Machine::choice_signed`], for the lease.
    pub fn lease_signed(&self) -> impl Iterator<Item = &str> {
        self.lease.texts()
    }

    /// The keys under which facts were accepted are not trusted any more: these facts are unknown until they
    /// are heard again, under trusted keys.
    pub(super) fn disbelieve(&mut self, privacy: bool, entitlement: bool, now: Now) {
        let mut acks = Vec::new();
        if privacy {
            acks.extend(self.choice.disbelieve());
            self.session.forget_choice(now.mono);
        }
        if entitlement {
            acks.extend(self.lease.disbelieve());
            self.session.forget_lease();
        }
        self.effects.extend(acks.into_iter().map(Effect::Ack));
        if privacy || entitlement {
            self.effects.push_back(Effect::AskAgain);
        }
    }

    /// A latch that cannot be read is reported once, and nothing else follows: a shutter closes the camera by
    /// itself.
    pub(super) fn latch_device(&mut self, fault: Option<String>) {
        if let (None, Some(why)) = (&self.latch_fault, &fault) {
            self.tell(Event::LatchFailed { why: why.clone() });
        }
        self.latch_fault = fault;
    }

    pub(super) fn set_latch(&mut self, closed: bool, now: Now) {
        if self.latch.newest() != Some(&closed) {
            self.latch.accept(closed, String::from(latch_text(closed)), None, now.mono);
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(super) fn persist(&mut self, fact: Fact, forbids: bool) -> Ticket {
        let ticket = self.ticket();
        self.effects.push_back(Effect::Persist { ticket, fact, forbids });
        ticket
    }

    pub(super) fn write_what_is_due(&mut self, now: Now) {
        self.raise_tombstones();
        let ticket = self.ticket();
        if self.choice_may_be_written() {
            let coming = self.choice.coming().map(|choice| (choice.version, choice.do_not_record));
            if let (Some((version, forbids)), Some(text)) = (coming, self.choice.poll_write(now.mono, ticket))
            {
                let fact = Fact::Privacy { version, jws: text.to_owned() };
                self.effects.push_back(Effect::Persist { ticket, fact, forbids });
            }
        }
        let ticket = self.ticket();
        if let Some(text) = self.latch.poll_write(now.mono, ticket) {
            let closed = text == latch_text(true);
            self.effects.push_back(Effect::Persist { ticket, fact: Fact::Latch(closed), forbids: closed });
        }
        let ticket = self.ticket();
        let version = self.lease.coming().map(|lease| lease.version);
        if let (Some(version), Some(text)) = (version, self.lease.poll_write(now.mono, ticket)) {
            let fact = Fact::Entitlement { version, jws: text.to_owned() };
            self.effects.push_back(Effect::Persist { ticket, fact, forbids: false });
        }
    }

    /// A choice that would replace a prohibition is written only when nothing is left that the prohibition
    /// forbids. Otherwise a power cut in between would leave forbidden footage, and the prohibition would be
    /// forgotten.
    pub(super) fn choice_may_be_written(&self) -> bool {
        let Some(coming) = self.choice.coming() else { return true };
        let forbids_on_flash =
            self.choice.is_kept() && self.choice.live().value().is_some_and(|choice| choice.do_not_record);
        (coming.do_not_record && !forbids_on_flash) || !(self.is_purging() || self.may_find_forbidden())
    }

    /// Whether a prohibition is in force that would be lost in a power cut.
    #[must_use]
    pub fn forbids_without_trace(&self) -> bool {
        self.choice.unkept().is_some_and(|choice| choice.do_not_record) || self.latch.unkept() == Some(&true)
    }

    /// A prohibition that is not durable is stored where the next start of the process finds it, whatever the
    /// disk does.
    fn raise_tombstones(&mut self) {
        let unkept = self.choice.unkept().filter(|choice| choice.do_not_record).map(|choice| choice.version);
        if unkept != self.tombstones.choice {
            let coming = self.choice.coming().map(|choice| choice.version);
            match (unkept, self.choice.coming_text()) {
                (Some(version), Some(text)) if coming == unkept => {
                    let fact = Fact::Privacy { version, jws: text.to_owned() };
                    self.effects.push_back(Effect::RaiseTombstone(fact));
                    self.tombstones.choice = unkept;
                }
                // The new choice replaces it: until that is durable, the existing tombstone is right.
                (Some(_), _) => {}
                // Nothing durable has replaced it: the next start must be private.
                (None, _) if *self.choice.live() == Recalled::Unreadable => {}
                (None, _) => {
                    let version = self.tombstones.choice.take().unwrap_or_default();
                    self.effects
                        .push_back(Effect::LiftTombstone(Fact::Privacy { version, jws: String::new() }));
                }
            }
        }
        let unkept = self.latch.unkept() == Some(&true);
        if unkept != self.tombstones.latch {
            self.tombstones.latch = unkept;
            let fact = Fact::Latch(true);
            self.effects.push_back(if unkept {
                Effect::RaiseTombstone(fact)
            } else {
                Effect::LiftTombstone(fact)
            });
        }
    }

    pub(super) fn persisted(&mut self, ticket: Ticket, result: Result<(), String>, now: Now) {
        let ok = result.is_ok();
        self.stopped_written(ticket, ok, now);
        self.offsets_written(ticket, ok, now);
        let choice = self.choice.settle(ticket, ok, now.mono, &mut self.jitter);
        let latch = self.latch.settle(ticket, ok, now.mono, &mut self.jitter);
        let lease = self.lease.settle(ticket, ok, now.mono, &mut self.jitter);
        if self.tombstones.unreadable {
            // A new value of it is durable.
            if choice.is_some() {
                self.tombstones.choice.get_or_insert(0);
            }
            if latch.is_some() {
                self.tombstones.latch = true;
            }
        }
        for acks in [choice, latch, lease].into_iter().flatten() {
            self.effects.extend(acks.into_iter().map(Effect::Ack));
        }
        if let Err(why) = result {
            self.tell(Event::PersistFailed { why });
        }
    }
}

fn latch_text(closed: bool) -> &'static str {
    if closed { "closed" } else { "open" }
}
