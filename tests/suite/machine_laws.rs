//! Laws that need two machines: a fact that must not change something is omitted from one of them. And laws
//! that need the real spool, or the source text, besides the machine.

use crate::support::budget::Budget;
use crate::support::dice::{Dice, parameter};
use crate::support::fault_fs::FaultFs;
use crate::support::figures::{at_least, figure};
use crate::support::rig::{self, allowed, choice};
use crate::support::spool_model::{self, Options, held};
use crate::support::world::{ACTIVE, Answer, Device, Offer, Reading, Step, Stored, World, with_pending};
use kasacam::domain::effect::{Effect, Rule, StopManner};
use kasacam::domain::entitlement::{Entitlement, Status};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::{AckToken, FaultKind, Input};
use kasacam::domain::machine::{Machine, Start};
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::policy::PrivacyPending;
use kasacam::domain::privacy::Privacy;
use kasacam::domain::segment::Serial;
use kasacam::spool::Durability;
use std::collections::BTreeSet;
use std::time::Duration;

/// The seeds of the sequences with which a law is tried: one for each `steps` of `KASACAM_STEPS` (200,000),
/// or as many as fit `KASACAM_BUDGET`.
fn sequences(law: &'static str, steps: u64) -> impl Iterator<Item = u64> {
    let mut budget = Budget::scaled("KASACAM_STEPS", 200_000, (1, steps));
    let first = parameter("KASACAM_SEED", 0);
    std::iter::from_fn(move || match budget.again() {
        true => Some(first + budget.done - 1),
        false => {
            at_least(10, "sequences", budget.done);
            figure(&format!("{law}: {} random sequences, seeds from {first}", budget.done));
            None
        }
    })
}

const LENGTH: u64 = 150;

/// A step that every machine hears at the same time, whatever its state.
fn common(dice: &mut Dice) -> Step {
    let status = [Status::Active, Status::Active, Status::PastDue, Status::Suspended, Status::Terminated];
    match dice.roll(12) {
        0 | 1 => Step::Choice { by: 1, do_not_record: dice.once_in(3) },
        2 | 3 => {
            let status = status[dice.roll(5) as usize];
            let next = dice.once_in(3).then(|| (dice.roll(20) as u32, Status::Suspended));
            let record = !dice.once_in(5);
            Step::Lease {
                by: 1,
                offer: Offer { status, record, hours: dice.roll(90) as u32, next, ..ACTIVE },
            }
        }
        4 => Step::Latch(dice.once_in(3)),
        5 => Step::Fault(FaultKind::Pipeline),
        6 => Step::StorageFailed { full: false },
        7 => Step::Probed(true),
        8 => Step::Clock([Reading::Known, Reading::Back, Reading::Lost][dice.roll(3) as usize]),
        9 => Step::Sealed,
        _ => Step::Sleep(Duration::from_secs(1 + dice.roll(20_000))),
    }
}

/// Takes the step if possible, and lets the disk and the device answer.
fn take(world: &mut World, step: Step) {
    for step in [step, Step::Written(true), Step::Closed, Step::Written(true), Step::Written(true)] {
        if world.can(&step) {
            world.step(step);
        }
    }
}

fn connected(pending: PrivacyPending) -> World {
    let mut world = World::new(with_pending(pending));
    world.step(Step::Connected);
    world
}

#[test]
fn the_network_alters_nothing_of_capture() {
    for seed in sequences("the network alters nothing of capture", 1_000) {
        let mut dice = Dice::new(seed);
        let (mut quiet, mut noisy) = (connected(PrivacyPending::Upload), connected(PrivacyPending::Upload));
        for _ in 0..LENGTH {
            let step = common(&mut dice);
            take(&mut quiet, step);
            take(&mut noisy, step);
            let refused = [Answer::RefusedByStore, Answer::Refused, Answer::KeyTaken, Answer::Stored];
            for step in [Step::Disconnected, Step::Uploaded(refused[dice.roll(4) as usize]), Step::Connected]
            {
                if noisy.can(&step) {
                    noisy.step(step);
                }
            }
            assert_eq!(quiet.device, noisy.device, "seed {seed}, after {step:?}");
        }
    }
}

#[test]
fn privacy_alters_neither_the_plan_nor_the_uploads_and_the_plan_not_the_privacy() {
    for seed in sequences("privacy and plan do not alter each other", 1_000) {
        let mut dice = Dice::new(seed);
        let [mut both, mut no_owner, mut no_cloud] =
            std::array::from_fn(|_| connected(PrivacyPending::Upload));
        for world in [&mut both, &mut no_owner, &mut no_cloud] {
            take(world, Step::Choice { by: 1, do_not_record: false });
        }
        for _ in 0..LENGTH {
            let step = common(&mut dice);
            let of_owner = matches!(step, Step::Choice { .. } | Step::Latch(_));
            // The device fails only where it is open, and so not in both; a closed one has nothing to seal;
            // and footage with an uncertain time is not kept.
            let private = both.machine.privacy() != Privacy::Record;
            let nothing_to_seal = private || !both.has_recorded_a_segment();
            if matches!(step, Step::Fault(_) | Step::Clock(_)) || (nothing_to_seal && step == Step::Sealed) {
                continue;
            }
            take(&mut both, step);
            if !of_owner {
                take(&mut no_owner, step);
            }
            if !matches!(step, Step::Lease { .. }) {
                take(&mut no_cloud, step);
            }
            let plan = |world: &World| world.machine.entitlement(world.now);
            assert_eq!(plan(&both), plan(&no_owner), "seed {seed}, after {step:?}");
            assert_eq!(both.in_flight, no_owner.in_flight, "seed {seed}, after {step:?}");
            assert_eq!(both.spool, no_owner.spool, "seed {seed}, after {step:?}");
            assert_eq!(both.machine.privacy(), no_cloud.machine.privacy(), "seed {seed}, after {step:?}");
        }
    }
}

#[test]
fn what_is_unknown_behaves_as_private_whatever_else_happens() {
    for seed in sequences("what is unknown is private", 1_000) {
        let mut dice = Dice::new(seed);
        let mut world = connected(PrivacyPending::Purge);
        take(&mut world, Step::Choice { by: 1, do_not_record: false });
        take(&mut world, Step::Lease { by: 1, offer: ACTIVE });
        assert!(matches!(world.device, Device::Open(..)));
        let damaged = if dice.once_in(2) { Stored::Choice } else { Stored::Latch };
        world.step(Step::Restart { written: true, damaged: Some(damaged) });
        world.step(Step::Connected);
        for _ in 0..LENGTH {
            let step = common(&mut dice);
            // Only a choice of the owner ends it.
            if matches!(step, Step::Choice { .. } | Step::Latch(_)) {
                continue;
            }
            take(&mut world, step);
            assert_eq!(world.device, Device::Closed, "seed {seed}, after {step:?}");
            assert_eq!(world.machine.privacy(), Privacy::Unknown);
        }
    }
}

#[test]
fn permission_waits_for_the_disk_and_prohibition_does_not() {
    for seed in sequences("permission waits for the disk, prohibition does not", 1_000) {
        let mut dice = Dice::new(seed);
        let mut world = connected(PrivacyPending::Upload);
        for _ in 0..LENGTH {
            let step = common(&mut dice);
            // The disk never answers.
            if world.can(&step) && !matches!(step, Step::Restart { .. }) {
                world.step(step);
            }
            assert_eq!(
                world.device,
                Device::Closed,
                "seed {seed}: {step:?} is acted on, and nothing is kept"
            );
            assert!(world.in_flight.is_empty(), "seed {seed}: {step:?}");
        }
        for step in [Step::Written(true); 400] {
            if world.can(&step) {
                world.step(step);
            }
        }
        take(&mut world, Step::Latch(false));
        take(&mut world, Step::Choice { by: 1, do_not_record: false });
        take(&mut world, Step::Clock(Reading::Known));
        take(&mut world, Step::Lease { by: 1, offer: ACTIVE });
        take(&mut world, Step::Probed(true));
        take(&mut world, Step::Sleep(Duration::from_secs(120)));
        take(&mut world, Step::Probed(true));
        assert!(matches!(world.device, Device::Open(..)), "seed {seed}: now it is kept");
        let prohibitions = [
            Step::Choice { by: 1, do_not_record: true },
            Step::Latch(true),
            Step::Lease { by: 1, offer: Offer { status: Status::Suspended, ..ACTIVE } },
            Step::Lease { by: 1, offer: Offer { status: Status::Terminated, ..ACTIVE } },
            Step::Lease { by: 1, offer: Offer { record: false, ..ACTIVE } },
        ];
        let step = prohibitions[dice.roll(5) as usize];
        world.step(step);
        assert!(matches!(world.device, Device::Closing(..)), "seed {seed}: {step:?} waits for the disk");
    }
}

#[test]
fn a_lease_that_comes_to_permit_or_forbid_while_it_is_written_is_taken_at_its_word() {
    let mut world = connected(PrivacyPending::Upload);
    take(&mut world, Step::Choice { by: 1, do_not_record: false });
    take(&mut world, Step::Lease { by: 1, offer: ACTIVE });
    let until_then = Offer { next: Some((1, Status::Terminated)), ..ACTIVE };
    world.step(Step::Lease { by: 1, offer: until_then });
    assert!(matches!(world.device, Device::Open(..)), "the one before is durable, and goes on");
    world.step(Step::Sleep(Duration::from_secs(3600)));
    assert!(matches!(world.device, Device::Closing(..)), "terminated, durable or not");

    let mut world = connected(PrivacyPending::Upload);
    take(&mut world, Step::Choice { by: 1, do_not_record: false });
    take(&mut world, Step::Lease { by: 1, offer: ACTIVE });
    let from_then = Offer { status: Status::Suspended, next: Some((1, Status::Active)), ..ACTIVE };
    world.step(Step::Lease { by: 1, offer: from_then });
    world.step(Step::Closed);
    world.step(Step::Sleep(Duration::from_secs(3600)));
    assert_eq!(world.machine.entitlement(world.now), Entitlement::Unknown);
    assert_eq!(world.device, Device::Closed, "active again, but a cut of the power would undo it");
    world.step(Step::Written(true));
    assert!(matches!(world.device, Device::Open(..)));
}

#[test]
fn every_deletion_has_a_proof_or_a_named_rule_and_each_rule_is_met() {
    let mut met = BTreeSet::new();
    for seed in sequences("every deletion has its proof or rule", 1_000) {
        let mut dice = Dice::new(seed);
        let pending = if dice.once_in(2) { PrivacyPending::Purge } else { PrivacyPending::Upload };
        let mut rig = rig::Rig::new(allowed());
        rig.machine.handle(Input::Reload(Box::new(with_pending(pending))), rig.now);
        let (mut version, mut proved) = (1, BTreeSet::new());
        for _ in 0..LENGTH {
            version += 1;
            match dice.roll(10) {
                0 => {
                    rig.privacy(version, dice.once_in(2));
                }
                1 => {
                    let mut lease = rig::lease(version);
                    (lease.issued_at, lease.not_after) = (rig.now.system, rig.now.system + 900 * rig::HOUR);
                    lease.terms.features.history_hours = dice.roll(5) as u32;
                    let status = [Status::Active, Status::Active, Status::Suspended, Status::Terminated];
                    lease.terms.status = status[dice.roll(4) as usize];
                    rig.lease(lease);
                }
                2 => rig.give(Input::StorageFailed { full: true, why: String::new() }),
                3 => rig.give(Input::StorageProbed { ok: true, full: false, away: false }),
                4 => {
                    let slept = Duration::from_secs(dice.roll(90) * 3600 + 1);
                    (rig.now.mono, rig.now.system) = (rig.now.mono + slept, rig.now.system + slept);
                    rig.give(Input::Tick);
                }
                _ => {
                    rig.seal();
                }
            }
            let asked = rig.take();
            let forgotten: Vec<(Serial, Rule)> = asked
                .iter()
                .filter_map(|asked| match asked {
                    rig::Asked::Forget(serial, rule) => Some((*serial, *rule)),
                    _ => None,
                })
                .collect();
            for (serial, rule) in forgotten {
                met.insert(rule.text());
                assert!(
                    rule != Rule::Stored || proved.remove(&serial),
                    "seed {seed}: {serial} without proof"
                );
            }
            for asked in asked {
                if let (rig::Asked::Upload(serial), true) = (asked, dice.once_in(3)) {
                    let stored = dice.once_in(2);
                    let after = Some(Duration::from_secs(1));
                    let retry = Outcome::Retry { scope: Scope::Segment, after, why: String::new() };
                    proved.extend(stored.then_some(serial));
                    let outcome = if stored { Outcome::Stored } else { retry };
                    rig.give(Input::UploadFinished { serial, outcome, took: Duration::ZERO });
                }
            }
        }
    }
    let all = [
        "after_choice",
        "evicted",
        "history_exceeded",
        "hold_expired",
        "privacy_purge",
        "stored",
        "terminated",
    ];
    assert_eq!(met.into_iter().collect::<Vec<_>>(), all, "a rule that is never met is not tested");
}

/// The machine's permits with the real spool: the channel between them delays messages at random.
#[test]
fn no_fragment_captured_after_the_choice_reaches_the_flash() {
    for seed in sequences("no fragment captured after the choice reaches the flash", 4_000) {
        let mut dice = Dice::new(seed);
        let durability = [Durability::Chunk, Durability::Fragment, Durability::Segment];
        let options = Options { durability: durability[dice.roll(3) as usize], ..Options::default() };
        let fs = FaultFs::healthy();
        let mut spool = spool_model::Rig::open(&fs, "boot-one", options);
        let now = rig::Rig::new(allowed()).now;
        let mut machine = Machine::new(Start { ..allowed() }, now);
        // Labels of fragments that were incomplete, or in the channel, when permission was withdrawn.
        let (mut private, mut version, mut forbidden) = (false, 1, BTreeSet::new());
        for _ in 0..40 {
            while let Some(effect) = machine.poll_effect() {
                match effect {
                    Effect::StartCapture { .. } => spool.allow(),
                    Effect::StopCapture { epoch, manner, .. } => {
                        assert_eq!(manner, StopManner::Drop);
                        spool.live.revoke();
                        // What the device had handed over and the spool had not taken yet.
                        let late = dice.roll(3) as u32;
                        forbidden.extend(spool.fragment..spool.fragment + late);
                        spool.fragments(late);
                        spool.revoke();
                        spool.end(SpanEnd::Privacy);
                        machine.handle(Input::CaptureClosed { epoch, at: now.mono, fault: None }, now);
                    }
                    Effect::Persist { ticket, .. } => {
                        machine.handle(Input::Persisted { ticket, result: Ok(()) }, now);
                    }
                    Effect::FlushSpool => machine.handle(Input::Flushed, now),
                    _ => {}
                }
            }
            if private {
                forbidden.insert(spool.fragment);
                spool.fragments(1);
            } else {
                spool.fragments(1 + dice.roll(3) as u32);
                if dice.once_in(2) {
                    forbidden.insert(spool.fragment);
                    spool.chunks(1);
                }
            }
            private = !private;
            version += 1;
            let ack = AckToken { connection: 1, delivery: version };
            machine.handle(
                Input::Privacy { choice: choice(version, private), jws: String::new(), retained: false, ack },
                now,
            );
        }
        spool.shut_down();
        for (fragment, _) in held(&fs).into_values().flatten() {
            assert!(!forbidden.contains(&fragment), "seed {seed}: fragment {fragment} is on the flash");
        }
        assert!(spool.ledger.committed.len() > 20, "what was allowed is kept");
    }
}

#[test]
fn nothing_but_the_policy_makes_a_permit() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut makers = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let asks = text.contains("Permit {") || text.contains("policy::permit(");
                makers.extend(asks.then(|| path.strip_prefix(&root).unwrap().to_owned()));
            }
        }
    }
    makers.sort();
    let expected = ["domain/machine/capture.rs", "domain/policy.rs"];
    assert_eq!(makers, expected.map(std::path::PathBuf::from));
    let policy = std::fs::read_to_string(root.join("domain/policy.rs")).unwrap();
    let (_, permit) = policy.split_once("/// Permission to capture, once.").unwrap();
    let (attributes, _) = permit.split_once("impl Permit").unwrap();
    assert!(!attributes.contains("Clone") && !attributes.contains("Copy"), "a permit is for once");
    assert!(!attributes.contains("pub epoch"), "a permit's number cannot be set from outside");
}
