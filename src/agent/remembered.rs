//! What the camera knew before this start: read from flash, and verified again.

use crate::config::Config;
use crate::disk::StoredFacts;
use crate::disk::facts::Name;
use crate::domain::entitlement::Lease;
use crate::domain::machine::{Seen, Signed, Tombstones};
use crate::domain::offset::Offsets;
use crate::domain::privacy::{PrivacyChoice, Recalled};
use crate::domain::time::Utc;
use crate::mqtt;
use crate::system::boot;

/// What is known from before this start.
pub(super) struct Remembered {
    pub(super) privacy: Recalled<PrivacyChoice>,
    pub(super) entitlement: Recalled<Lease>,
    pub(super) signed: Signed,
    pub(super) latch: Recalled<bool>,
    pub(super) seen: Seen,
    pub(super) tombstones: Tombstones,
    pub(super) stopped: Option<Utc>,
    /// The latest time known to have passed: the stored one, or the build time.
    pub(super) floor: Utc,
    pub(super) offsets: Offsets,
}

impl Remembered {
    /// Reads the facts. The two commands are stored as they were signed, and are verified again.
    pub(super) fn recall(facts: &StoredFacts, tombs: &StoredFacts, config: &Config) -> Remembered {
        let (keys, device) = (mqtt::Keys::of(config), &config.device.id);
        let kept = facts.recall();
        let signed =
            Signed { privacy: kept.privacy.value().cloned(), entitlement: kept.entitlement.value().cloned() };
        let mut privacy = verified(kept.privacy, |jws| mqtt::stored_privacy(&keys.privacy, device, jws));
        let entitlement =
            verified(kept.entitlement, |jws| mqtt::stored_entitlement(&keys.entitlement, device, jws));
        let mut latch = kept.latch;
        let seen = Seen {
            privacy: highest(&kept.privacy_seen, privacy.value().map(|choice| choice.version)),
            entitlement: highest(&kept.entitlement_seen, entitlement.value().map(|lease| lease.version)),
        };
        // A newer choice was seen and is lost: it may have forbidden what this one permits.
        if privacy.value().is_some_and(|choice| !choice.do_not_record && choice.version < seen.privacy) {
            privacy = Recalled::Unreadable;
        }
        let mut tombstones = Tombstones::default();
        match tombs.load(Name::Privacy) {
            Recalled::Missing => {}
            Recalled::Is(jws) => match mqtt::stored_privacy(&keys.privacy, device, &jws) {
                Recalled::Is(choice) => tombstones.choice = Some((choice, jws)),
                Recalled::Missing | Recalled::Unreadable => {
                    (privacy, tombstones.unreadable) = (Recalled::Unreadable, true)
                }
            },
            Recalled::Unreadable => (privacy, tombstones.unreadable) = (Recalled::Unreadable, true),
        }
        match tombs.latch() {
            Recalled::Missing | Recalled::Is(false) => {}
            Recalled::Is(true) => tombstones.latch = true,
            Recalled::Unreadable => (latch, tombstones.unreadable) = (Recalled::Unreadable, true),
        }
        for (name, unreadable) in [
            ("privacy choice", privacy == Recalled::Unreadable),
            ("entitlement", entitlement == Recalled::Unreadable),
            ("local latch", latch == Recalled::Unreadable),
        ] {
            if unreadable {
                tracing::error!(
                    "the stored {name} cannot be read: nothing is recorded until it is known again"
                );
            }
        }
        let floor = kept.floor.value().copied().unwrap_or_default().max(boot::build_time());
        if kept.offsets == Recalled::Unreadable {
            tracing::error!("the clock offsets of earlier boots cannot be read: they are decided again");
        }
        let offsets = kept.offsets.value().cloned().unwrap_or_default();
        let stopped = kept.stopped;
        Remembered { privacy, entitlement, signed, latch, seen, tombstones, stopped, floor, offsets }
    }
}

/// The highest version that was seen: the stored one, or that of the fact if the stored one is lost.
fn highest(seen: &Recalled<u64>, of_fact: Option<u64>) -> u64 {
    seen.value().copied().unwrap_or(0).max(of_fact.unwrap_or(0))
}

fn verified<T>(kept: Recalled<String>, verify: impl Fn(&str) -> Recalled<T>) -> Recalled<T> {
    match kept {
        Recalled::Is(jws) => verify(&jws),
        Recalled::Missing => Recalled::Missing,
        Recalled::Unreadable => Recalled::Unreadable,
    }
}
