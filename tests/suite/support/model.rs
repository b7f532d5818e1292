//! What must be true of the camera, computed only from what it was told. It is a second opinion beside the
//! machine: a page that can be read at once, while the machine has a thousand lines.

use kasacam::domain::effect::CaptureSettings;
use kasacam::domain::entitlement::{Entitlement, Features, Lease, Status};
use kasacam::domain::policy::{PrivacyPending, WhenFull};
use kasacam::domain::privacy::{Privacy, PrivacyChoice, Recalled};
use kasacam::domain::settings::Settings;
use kasacam::domain::time::{Now, Utc};

/// One of the three stored facts: the owner's choice, the latch, the lease.
pub struct Kept<T> {
    pub in_force: Recalled<T>,
    /// It would still be in force after a power cut.
    pub durable: bool,
    /// The newest value that was accepted; `None` once it is durable.
    pub coming: Option<T>,
}

impl<T: Clone + PartialEq> Kept<T> {
    pub fn from_disk(stored: Recalled<T>) -> Kept<T> {
        Kept { in_force: stored, durable: true, coming: None }
    }
    pub fn newest(&self) -> Option<&T> {
        self.coming.as_ref().or(self.in_force.value())
    }
    /// What forbids is in force at once, what permits once it is durable.
    pub fn forbid(&mut self, forbids: impl Fn(&T) -> bool) {
        if let Some(value) = self.coming.as_ref().filter(|value| forbids(value)) {
            self.durable &= self.in_force.value() == Some(value);
            self.in_force = Recalled::Is(value.clone());
        }
    }
    /// This value is on the disk. Only the newest counts.
    pub fn stored(&mut self, value: &T) {
        if self.coming.as_ref() == Some(value) {
            *self = Kept::from_disk(Recalled::Is(value.clone()));
        }
    }
}

pub struct Model {
    pub settings: Settings,
    pub choice: Kept<PrivacyChoice>,
    pub latch: Kept<bool>,
    pub lease: Kept<Lease>,
    /// The latest time that has certainly passed.
    pub passed: Utc,
    pub now: Now,
    pub broken: bool,
    pub full: bool,
    pub leaving: bool,
}

impl Model {
    /// Time passes; the clock shows `now`.
    pub fn tick(&mut self, now: Now) {
        self.passed = self.passed + now.mono.since(self.now.mono);
        self.passed = if now.synchronised { self.passed.max(now.system) } else { self.passed };
        self.now = now;
        let (at, grace) = (self.lease_time(), self.settings.grace);
        self.choice.forbid(|choice| choice.do_not_record);
        self.latch.forbid(|closed| *closed);
        self.lease.forbid(|lease| !matches!(stands(lease, at, grace), Entitlement::Granted(_)));
    }
    /// A synchronised clock is trusted, any other only if it is not behind the time that has passed.
    pub fn lease_time(&self) -> Utc {
        if self.now.synchronised { self.now.system } else { self.now.system.max(self.passed) }
    }
    pub fn privacy(&self) -> Privacy {
        match (&self.choice.in_force, &self.latch.in_force) {
            (_, Recalled::Is(true)) => Privacy::DoNotRecord,
            (Recalled::Is(choice), _) if choice.do_not_record => Privacy::DoNotRecord,
            (Recalled::Is(_), Recalled::Is(false) | Recalled::Missing) => Privacy::Record,
            (_, _) => Privacy::Unknown,
        }
    }
    pub fn entitlement(&self) -> Entitlement {
        let stands = |lease: &Lease| stands(lease, self.lease_time(), self.settings.grace);
        let Recalled::Is(lease) = &self.lease.in_force else { return Entitlement::Unknown };
        match (stands(lease), self.lease.coming.as_ref().map(stands)) {
            // A permission that a power cut would remove does not count yet.
            (Entitlement::Granted(_), _) if !self.lease.durable => Entitlement::Unknown,
            // Recording is forbidden at once, and permitted once that is durable.
            (Entitlement::Granted(has), Some(Entitlement::Granted(coming))) => {
                Entitlement::Granted(Features {
                    record: has.record && coming.record,
                    audio: has.audio && coming.audio,
                    max_height: has.max_height.min(coming.max_height),
                    h265: has.h265 && coming.h265,
                    ..has
                })
            }
            (other, _) => other,
        }
    }
    /// How capture must be; `None`: closed.
    pub fn capture(&self) -> Option<CaptureSettings> {
        let Entitlement::Granted(plan) = self.entitlement() else { return None };
        let stopped_by_full = self.full && self.settings.rules.when_full == WhenFull::Stop;
        let may = self.privacy() == Privacy::Record && plan.record;
        (may && !self.broken && !stopped_by_full && !self.leaving).then_some(CaptureSettings {
            audio: plan.audio && self.settings.rules.audio,
            max_height: plan.max_height,
        })
    }
    pub fn upload(&self) -> bool {
        let kept_back =
            self.privacy() == Privacy::DoNotRecord && self.settings.rules.pending != PrivacyPending::Upload;
        matches!(self.entitlement(), Entitlement::Granted(_)) && !kept_back
    }
    /// Nothing may be left in the spool.
    pub fn purge(&self) -> bool {
        let privately =
            self.privacy() == Privacy::DoNotRecord && self.settings.rules.pending == PrivacyPending::Purge;
        self.entitlement() == Entitlement::Terminated || privately
    }
}

fn stands(lease: &Lease, at: Utc, grace: std::time::Duration) -> Entitlement {
    let due = lease.next.as_ref().filter(|next| next.from <= at);
    let terms = due.map_or(&lease.terms, |next| &next.terms);
    match terms.status {
        Status::Terminated => Entitlement::Terminated,
        Status::Suspended => Entitlement::Suspended,
        Status::Active | Status::PastDue if at >= lease.not_after + grace => Entitlement::Lapsed,
        Status::Active | Status::PastDue => Entitlement::Granted(terms.features),
    }
}
