//! All states that the machine can reach in a given number of steps of a small alphabet, and every step from
//! each: the laws and the model hold in all of them.
//!
//! Breadth first, so that a failure is reported with a shortest path. States that look alike from outside,
//! without times and numbers, count as one. The machine is run again to each state: it holds permits, which
//! cannot be copied. `KASACAM_DEPTH` goes further.

use crate::support::dice::parameter;
use crate::support::figures::{at_least, figure};
use crate::support::rig::HOUR;
use crate::support::world::{ACTIVE, Answer, Offer, Reading, Step, Stored, World, with_pending};
use kasacam::domain::entitlement::Status;
use kasacam::domain::input::FaultKind;
use kasacam::domain::policy::PrivacyPending;
use std::collections::HashSet;
use std::time::{Duration, Instant};

const ALPHABET: [Step; 38] = [
    Step::Choice { by: 1, do_not_record: false },
    Step::Choice { by: 1, do_not_record: true },
    Step::Choice { by: 0, do_not_record: false },
    Step::Choice { by: -1, do_not_record: false },
    Step::Lease { by: 1, offer: ACTIVE },
    Step::Lease { by: 0, offer: ACTIVE },
    Step::Lease { by: -1, offer: ACTIVE },
    Step::Lease { by: 1, offer: Offer { record: false, ..ACTIVE } },
    Step::Lease { by: 1, offer: Offer { status: Status::PastDue, audio: false, ..ACTIVE } },
    Step::Lease {
        by: 1,
        offer: Offer { status: Status::Suspended, next: Some((1, Status::Active)), ..ACTIVE },
    },
    Step::Lease { by: 1, offer: Offer { hours: 1, next: Some((1, Status::Terminated)), ..ACTIVE } },
    Step::Lease { by: 1, offer: Offer { hours: 1, ..ACTIVE } },
    Step::Lease { by: 1, offer: Offer { status: Status::Terminated, ..ACTIVE } },
    Step::Latch(true),
    Step::Latch(false),
    Step::Written(true),
    Step::Written(false),
    Step::Closed,
    Step::Fault(FaultKind::DeviceMissing),
    Step::Fault(FaultKind::EndOfStream),
    Step::Captured,
    Step::Landed,
    Step::Sealed,
    Step::Uploaded(Answer::Stored),
    Step::Uploaded(Answer::RefusedByStore),
    Step::Connected,
    Step::Disconnected,
    Step::StorageFailed { full: false },
    Step::Probed(true),
    Step::Usage { full: true },
    Step::Usage { full: false },
    Step::Clock(Reading::Lost),
    Step::Clock(Reading::Back),
    Step::Clock(Reading::Known),
    Step::Sleep(Duration::from_secs(3601)),
    Step::Sleep(Duration::from_secs(74 * 3600)),
    Step::Shutdown,
    Step::Restart { written: false, damaged: None },
];

#[derive(Default)]
struct Count {
    states: usize,
    transitions: u64,
    steps: u64,
}

/// Where a breadth-first walk begins.
struct From {
    name: &'static str,
    pending: PrivacyPending,
    path: &'static [Step],
}

const NOTHING_KNOWN: &[Step] = &[Step::Connected];
const RECORDING: &[Step] = &[
    Step::Connected,
    Step::Choice { by: 1, do_not_record: false },
    Step::Lease { by: 1, offer: ACTIVE },
    Step::Written(true),
    Step::Written(true),
    Step::Written(true),
];
const DAMAGED: &[Step] = &[
    Step::Connected,
    Step::Choice { by: 1, do_not_record: false },
    Step::Lease { by: 1, offer: ACTIVE },
    Step::Restart { written: true, damaged: Some(Stored::Choice) },
    Step::Connected,
];

#[test]
fn every_state_within_reach_keeps_the_laws() {
    let depth = parameter("KASACAM_DEPTH", 3) as usize;
    let began = Instant::now();
    let mut all = Count::default();
    for from in [
        From { name: "nothing known", pending: PrivacyPending::Upload, path: NOTHING_KNOWN },
        From { name: "recording", pending: PrivacyPending::Upload, path: RECORDING },
        From { name: "recording, purged for privacy", pending: PrivacyPending::Purge, path: RECORDING },
        From { name: "a damaged choice", pending: PrivacyPending::Hold, path: DAMAGED },
    ] {
        let count = explore(&from, depth);
        println!(
            "{}: {} states, {} transitions to depth {depth}",
            from.name, count.states, count.transitions
        );
        all.states += count.states;
        all.transitions += count.transitions;
        all.steps += count.steps;
    }
    let rate = all.steps as f64 / began.elapsed().as_secs_f64();
    figure(&format!(
        "every state of the machine within {depth} steps: {} states, {} transitions, the laws hold in each; {rate:.0} steps a second",
        all.states, all.transitions
    ));
    at_least(1_000, "states", all.states as u64);
}

fn explore(from: &From, depth: usize) -> Count {
    let mut count = Count::default();
    let mut known = HashSet::new();
    let mut frontier: Vec<Vec<u8>> = vec![Vec::new()];
    known.insert(arrive(from, &[]).abstraction());
    for _ in 0..depth {
        let mut next = Vec::new();
        for path in &frontier {
            let mut world = Some(arrive(from, path));
            for (letter, step) in ALPHABET.iter().enumerate() {
                let mut here = world.take().unwrap_or_else(|| arrive(from, path));
                if !here.can(step) {
                    world = Some(here);
                    continue;
                }
                let told = Told { from, path, step };
                here.step(*step);
                std::mem::forget(told);
                count.transitions += 1;
                count.steps += here.steps;
                if known.insert(here.abstraction()) {
                    let mut path = path.clone();
                    path.push(letter as u8);
                    next.push(path);
                }
            }
        }
        frontier = next;
    }
    count.states = known.len();
    count
}

fn arrive(from: &From, path: &[u8]) -> World {
    let mut world = World::new(with_pending(from.pending));
    for step in from.path {
        if world.can(step) {
            world.step(*step);
        }
    }
    path.iter().for_each(|letter| world.step(ALPHABET[usize::from(*letter)]));
    world
}

/// Prints, when a step fails, the path to it.
struct Told<'a> {
    from: &'a From,
    path: &'a [u8],
    step: &'a Step,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let path: Vec<Step> = self.path.iter().map(|letter| ALPHABET[usize::from(*letter)]).collect();
        eprintln!("from {:?}, by {path:?}, then {:?}", self.from.name, self.step);
    }
}

#[test]
fn a_lease_that_lapses_and_a_hold_that_expires_are_within_reach() {
    // The alphabet would be worth little if its time steps reached nothing.
    let mut world = World::new(with_pending(PrivacyPending::Upload));
    for step in RECORDING {
        world.step(*step);
    }
    world.step(Step::Lease { by: 1, offer: Offer { hours: 1, ..ACTIVE } });
    world.step(Step::Written(true));
    world.step(Step::Sealed);
    world.step(Step::Sleep(74 * HOUR));
    assert_eq!(world.machine.entitlement(world.now).text(), "lapsed");
    world.step(Step::Sleep(74 * HOUR));
    assert!(world.spool.is_empty(), "the hold is over");
}
