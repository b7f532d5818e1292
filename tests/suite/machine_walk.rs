//! A long random walk of the machine, held against what anyone may expect of it at every step.
//!
//! The seed is printed when it fails; `KASACAM_SEED` walks that one again, `KASACAM_STEPS` walks
//! further.

use crate::support::rig::{Asked, HOUR, Rig, blank, lease};
use kasacam::domain::effect::Rule;
use kasacam::domain::entitlement::{Next, Status};
use kasacam::domain::input::{FaultKind, Input, Usage};
use kasacam::domain::machine::Start;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::privacy::{Known, Privacy};
use kasacam::domain::segment::Serial;
use std::collections::BTreeSet;
use std::time::Duration;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What the walk itself knows, apart from the machine.
#[derive(Default)]
struct Expected {
    /// Highest privacy version given, and what it said.
    privacy: Option<(u64, bool)>,
    latch: bool,
    proved: BTreeSet<Serial>,
}

fn parameter(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn every_step_of_a_random_walk_keeps_the_promises() {
    let steps = parameter("KASACAM_STEPS", 200_000);
    let seed = parameter("KASACAM_SEED", 0);
    let walks: Vec<u64> = if seed == 0 { (1..=20).collect() } else { vec![seed] };
    let each = steps / walks.len() as u64;
    for seed in &walks {
        walk(*seed, each);
    }
    println!("{steps} random steps of the machine, {} seeds", walks.len());
}

fn walk(seed: u64, steps: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut rig = Rig::new(Start { latch: Known::Missing, ..blank() });
    let mut expected = Expected::default();
    let mut uploading: Vec<Serial> = Vec::new();
    let mut lease_version = 0;
    for step in 0..steps {
        let at = format!("seed {seed}, step {step}");
        match dice.roll(14) {
            0 | 1 => {
                let newest = expected.privacy.map_or(0, |(version, _)| version);
                let version = (newest + dice.roll(4)).saturating_sub(1);
                let do_not_record = dice.roll(2) == 0;
                rig.privacy(version, do_not_record);
                if expected.privacy.is_none() || version > newest {
                    expected.privacy = Some((version, do_not_record));
                }
            }
            2 => {
                lease_version += dice.roll(3);
                let mut offered = lease(lease_version);
                offered.issued_at = rig.now.system;
                offered.not_after = rig.now.system + HOUR * (dice.roll(200) as u32);
                offered.terms.features.record = dice.roll(5) != 0;
                offered.terms.features.audio = dice.roll(2) == 0;
                offered.terms.features.history_hours = dice.roll(48) as u32;
                offered.terms.status = match dice.roll(6) {
                    0 => Status::Suspended,
                    1 => Status::PastDue,
                    2 if dice.roll(3) == 0 => Status::Terminated,
                    _ => Status::Active,
                };
                if dice.roll(3) == 0 {
                    let from = rig.now.system + HOUR * (dice.roll(50) as u32);
                    offered.next = Some(Next { from, terms: lease(0).terms });
                }
                rig.lease(offered);
            }
            3 => {
                let closed = dice.roll(2) == 0;
                rig.give(Input::Latch { closed });
                expected.latch = closed;
            }
            4 => rig.give(Input::Connected),
            5 => rig.give(Input::Disconnected { why: String::from("the walk") }),
            6 | 7 => drop(rig.seal()),
            8 | 9 if !uploading.is_empty() => {
                let serial = uploading.swap_remove(dice.roll(uploading.len() as u64) as usize);
                let outcome = match dice.roll(3) {
                    0 => Outcome::Retry { scope: Scope::Store, after: None, why: String::from("503") },
                    1 => Outcome::Retry { scope: Scope::Segment, after: None, why: String::from("400") },
                    _ => {
                        expected.proved.insert(serial);
                        Outcome::Stored
                    }
                };
                rig.give(Input::UploadFinished { serial, outcome, took: Duration::ZERO });
            }
            10 if rig.open.is_some() => {
                let kinds = [FaultKind::DeviceMissing, FaultKind::Stalled, FaultKind::Pipeline];
                rig.fault(kinds[dice.roll(3) as usize]);
            }
            11 => {
                let usage = Usage {
                    bytes: dice.roll(120_000),
                    files: dice.roll(900),
                    free: dice.roll(100_000),
                    quarantined: 0,
                };
                rig.give(Input::Usage(usage));
            }
            12 => match dice.roll(3) {
                0 => rig.give(Input::StorageFailed { full: dice.roll(2) == 0, why: String::from("EIO") }),
                _ => rig.give(Input::StorageProbed { ok: dice.roll(2) == 0 }),
            },
            _ => rig.pass(Duration::from_secs(1 + dice.roll(7200))),
        }
        let (privacy, entitlement) = (rig.machine.privacy(), rig.machine.entitlement(rig.now));
        for asked in rig.take() {
            match asked {
                Asked::Upload(serial) => uploading.push(serial),
                Asked::Cancel(serial) => uploading.retain(|other| *other != serial),
                Asked::Forget(serial, Rule::Stored) => {
                    assert!(expected.proved.remove(&serial), "{at}: {serial} is forgotten without proof");
                }
                Asked::Forget(serial, _) => uploading.retain(|other| *other != serial),
                _ => {}
            }
        }
        let owner_allows = expected.privacy.is_some_and(|(_, private)| !private) && !expected.latch;
        assert_eq!(
            privacy == Privacy::Record,
            owner_allows,
            "{at}: the machine's privacy is not the owner's"
        );
        if rig.open.is_some() {
            assert!(owner_allows, "{at}: open against the owner's choice");
            let granted =
                matches!(entitlement, kasacam::domain::entitlement::Entitlement::Granted(f) if f.record);
            assert!(granted, "{at}: open without a plan");
        }
        assert!(uploading.len() <= 2, "{at}: {} uploads at once", uploading.len());
    }
}
