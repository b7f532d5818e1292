//! Long random walks of the machine with its model, and the laws at every step.
//!
//! `KASACAM_STEPS` walks further. A failure prints its seed: `KASACAM_SEED` repeats that walk, and a line in
//! `tests/seeds/machine_walk` keeps it permanently.

use crate::support::budget::Budget;
use crate::support::dice::{Dice, parameter};
use crate::support::figures::{at_least, figure};
use crate::support::rig::HOUR;
use crate::support::world::{Answer, Offer, Reading, Seen, Step, Stored, World, with_pending};
use kasacam::domain::entitlement::Status;
use kasacam::domain::input::FaultKind;
use kasacam::domain::policy::{PrivacyPending, WhenFull};
use std::time::{Duration, Instant};

const KEPT: &str = include_str!("../seeds/machine_walk");
/// A walk of this length takes a camera through dozens of restarts; a longer one finds nothing that two of
/// these do not.
const WALK: u64 = 5_000;

#[test]
fn every_step_of_a_random_walk_is_as_the_model_says() {
    let mut walks = Budget::scaled("KASACAM_STEPS", 200_000, (1, WALK));
    let first = parameter("KASACAM_SEED", 1);
    let began = Instant::now();
    let kept: Vec<u64> = KEPT.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    kept.iter().for_each(|seed| walk(*seed, WALK));
    while walks.again() {
        walk(first + walks.done - 1, WALK);
    }
    let steps = walks.done * WALK;
    let rate = steps as f64 / began.elapsed().as_secs_f64();
    at_least(10 * WALK, "steps of the machine", steps);
    figure(&format!(
        "{steps} random steps of the machine beside its model, seeds from {first}, {rate:.0} a second"
    ));
}

fn walk(seed: u64, steps: u64) {
    let mut dice = Dice::new(seed);
    let pending =
        [PrivacyPending::Upload, PrivacyPending::Upload, PrivacyPending::Hold, PrivacyPending::Purge];
    let mut settings = with_pending(pending[dice.roll(4) as usize]);
    if dice.once_in(4) {
        settings.rules.when_full = WhenFull::Stop;
    }
    let mut told = Told { seed, last: Vec::new() };
    let mut world = if dice.once_in(2) { World::lit(settings) } else { World::new(settings) };
    while world.steps < steps {
        // A light answers sooner than a disk, and nothing is open before it has answered.
        let answers = world.can(&Step::LightSet(true)) && dice.once_in(4);
        let step = if answers { Step::LightSet(!dice.once_in(5)) } else { draw(&mut dice) };
        if !world.can(&step) {
            continue;
        }
        told.note(&step);
        world.late = if dice.once_in(2) { Duration::ZERO } else { Duration::from_secs(dice.roll(5_000)) };
        world.step(step);
        if dice.once_in(8) && comes_twice(&step) {
            told.note(&step);
            let again = match step {
                Step::Choice { do_not_record, .. } => Step::Choice { by: 0, do_not_record },
                Step::Lease { offer, .. } => Step::Lease { by: 0, offer },
                other => other,
            };
            world.step(again);
            let added = world.seen.iter().find(|seen| !matches!(seen, Seen::Ack | Seen::Publish));
            assert_eq!(added, None, "the same again has another consequence");
        }
        if world.exited {
            world.step(Step::Restart { written: true, damaged: None });
        }
    }
}

/// Prints, when a walk fails, its seed and its last steps.
struct Told {
    seed: u64,
    last: Vec<Step>,
}

impl Told {
    fn note(&mut self, step: &Step) {
        if self.last.len() == 24 {
            self.last.remove(0);
        }
        self.last.push(*step);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("KASACAM_SEED={}; the last steps:", self.seed);
            self.last.iter().for_each(|step| eprintln!("  {step:?}"));
        }
    }
}

/// Steps that must change nothing the second time.
fn comes_twice(step: &Step) -> bool {
    matches!(
        step,
        Step::Choice { by: 1.., .. }
            | Step::Lease { by: 1.., .. }
            | Step::Latch(_)
            | Step::Connected
            | Step::Disconnected
            | Step::Shutdown
    )
}

fn draw(dice: &mut Dice) -> Step {
    match dice.roll(40) {
        0..=3 => Step::Choice { by: dice.roll(5) as i64 - 1, do_not_record: dice.once_in(3) },
        4..=6 => Step::Lease { by: dice.roll(5) as i64 - 1, offer: offer(dice) },
        7 => Step::Latch(dice.once_in(3)),
        8..=14 => Step::Written(!dice.once_in(4)),
        15..=17 => Step::Closed,
        18 => {
            let kinds =
                [FaultKind::DeviceMissing, FaultKind::Stalled, FaultKind::Pipeline, FaultKind::ExceedsPlan];
            Step::Fault(kinds[dice.roll(4) as usize])
        }
        19..=21 => Step::Captured,
        22..=24 => Step::Landed,
        25 | 26 => Step::Sealed,
        27..=29 => Step::Uploaded(match dice.roll(8) {
            0 => Answer::KeyTaken,
            1 => Answer::RefusedByStore,
            2 => Answer::Refused,
            _ => Answer::Stored,
        }),
        30 => Step::Connected,
        31 => Step::StoreAnswers(!dice.once_in(5)),
        32 => match dice.roll(2) {
            0 => Step::Disconnected,
            _ => Step::StorageFailed { full: dice.once_in(2) },
        },
        33 => Step::Probed(!dice.once_in(3)),
        34 => Step::Usage { full: dice.once_in(3) },
        35 => Step::Clock(match dice.roll(6) {
            0 => Reading::Unsynchronised,
            1 => Reading::Lost,
            2 => Reading::Back,
            _ => Reading::Known,
        }),
        36 | 37 => Step::Wake,
        38 => Step::Sleep(match dice.roll(3) {
            0 => Duration::from_secs(1 + dice.roll(120)),
            1 => Duration::from_secs(1 + dice.roll(7200)),
            _ => HOUR * (1 + dice.roll(100) as u32),
        }),
        _ => match dice.roll(8) {
            0 => Step::Shutdown,
            1 => Step::Restart {
                written: dice.once_in(2),
                damaged: [None, Some(Stored::Choice), Some(Stored::Lease), Some(Stored::Latch)]
                    [dice.roll(4) as usize],
            },
            2 | 3 => Step::Restart { written: dice.once_in(2), damaged: None },
            _ => Step::Wake,
        },
    }
}

fn offer(dice: &mut Dice) -> Offer {
    let status = |dice: &mut Dice| match dice.roll(8) {
        0 => Status::Suspended,
        1 => Status::Terminated,
        2 => Status::PastDue,
        _ => Status::Active,
    };
    Offer {
        status: status(dice),
        record: !dice.once_in(6),
        audio: !dice.once_in(3),
        hours: dice.roll(200) as u32,
        history_hours: dice.roll(60) as u32,
        next: dice.once_in(3).then(|| (dice.roll(60) as u32, status(dice))),
    }
}
