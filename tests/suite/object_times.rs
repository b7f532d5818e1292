//! The time in an object's key: the same at every attempt, whatever the clocks did meanwhile.

use crate::support::fault_fs::{Cut, FaultFs, Plan};
use crate::support::joined::{Joined, StoreIs};
use crate::support::rig::{Asked, HOUR, Rig, SEGMENT, allowed, noon, segment};
use crate::support::spool_model::Options;
use kasacam::domain::effect::Fact;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::offset::{MAX_BOOTS, Offsets};
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::recovery::end_of;
use kasacam::domain::segment::{Content, KeyClock, RecordClock, Segment, Serial};
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Mono, Now, Utc};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

type Times = BTreeMap<Serial, HashSet<(Utc, KeyClock)>>;

/// Ten segments of one span and its end, of a boot whose clock was at 1970.
fn unset(boot: &str, first: u64) -> Vec<Segment> {
    let mut span = Vec::new();
    for n in 0..10 {
        let mono = Mono(60_000_000_000 + (n + 1) * SEGMENT.as_nanos() as u64);
        let now = Now { mono, system: Utc(mono.0 as i64), synchronised: false };
        let mut of = segment(first + n, now);
        of.record.n = n;
        of.record.boot = String::from(boot);
        of.record.span = format!("span-{boot}");
        of.record.clock = RecordClock::Unset;
        span.push(of);
    }
    let last = span[9].clone();
    span.push(Segment {
        serial: Serial(first + 10),
        content: Content::End { reason: SpanEnd::Power },
        record: end_of(&last.record, SEGMENT.as_nanos() as u64),
        bytes: 100,
    });
    span
}

/// For this long, no answer of the store arrives.
fn answers_are_lost(rig: &mut Rig, times: &mut Times, time: Duration) {
    let end = rig.now.mono + time;
    while rig.now.mono < end {
        for (serial, sent) in std::mem::take(&mut rig.times) {
            times.entry(serial).or_default().extend(sent);
            let outcome =
                Outcome::Retry { scope: Scope::Segment, after: None, why: String::from("no answer") };
            rig.give(Input::UploadFinished { serial, outcome, took: Duration::ZERO });
        }
        rig.pass(Duration::from_secs(20));
    }
}

fn holding(held: Vec<Segment>) -> Start {
    let usage = Usage { free: Some(1_000_000), ..Usage::default() };
    Start { spool: Ok((held, usage)), ..allowed() }
}

#[test]
fn footage_of_a_boot_without_a_clock_has_one_time_at_every_attempt() {
    let mut times = Times::new();
    let held = unset("boot-0", 1);
    let mut rig = Rig::new(holding(held.clone()));
    answers_are_lost(&mut rig, &mut times, 3 * HOUR);
    assert_eq!(times.len(), 10, "each was tried: {times:?}");
    let sent: Vec<usize> = times.values().map(HashSet::len).collect();
    assert_eq!(sent, [1; 10], "times of each in three hours");
}

fn at(mono: u64, system: Utc, synchronised: bool) -> Now {
    Now { mono: Mono(mono * 1_000_000_000), system, synchronised }
}

/// The offsets that a rig last had written.
fn kept(rig: &Rig) -> Offsets {
    let written = rig.asked.iter().rev().find_map(|asked| match asked {
        Asked::Keep(Fact::Offsets(offsets)) => Some(offsets.clone()),
        _ => None,
    });
    written.unwrap_or_default()
}

fn the_only(times: &Times) -> Vec<(Utc, KeyClock)> {
    assert!(times.values().all(|of| of.len() == 1), "the time of a key moves: {times:?}");
    times.values().filter_map(|of| of.iter().next().copied()).collect()
}

#[test]
fn neither_a_start_nor_a_clock_moves_the_time_of_what_was_captured_without_one() {
    let mut times = Times::new();
    let mut held = unset("boot-0", 1);
    held.extend(unset("boot-00", 101));
    // Two boots without a clock; then one with a clock, which starts its process twice; then one without
    // again.
    let mut rig = Rig::new(holding(held.clone()));
    answers_are_lost(&mut rig, &mut times, HOUR);
    let offsets = kept(&rig);
    let floor = rig.machine.floor(rig.now);
    let mut rig = Rig::new(Start { offsets: offsets.clone(), floor, ..holding(held.clone()) });
    answers_are_lost(&mut rig, &mut times, HOUR);
    assert_eq!(kept(&rig), Offsets::default(), "it is decided, and written again");
    let start = Start { boot: String::from("boot-2"), floor, offsets, ..holding(held.clone()) };
    let mut rig = Rig::at(start, at(100, Utc(0), false));
    answers_are_lost(&mut rig, &mut times, HOUR);

    let of = the_only(&times);
    assert_eq!(of.len(), 20);
    assert!(
        of.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "in the order in which they were captured: {of:?}"
    );
    let (last, _) = of[19];
    assert_eq!(last, allowed().floor - SEGMENT, "it ended when time was last known to have passed");
    assert!(
        of.windows(2).filter(|pair| pair[1].0.since(pair[0].0) != SEGMENT).count() <= 1,
        "no gap in a span"
    );
    assert!(of.iter().all(|(_, clock)| *clock == KeyClock::Plausible));
}

#[test]
fn the_end_of_a_span_without_a_clock_has_one_time_too() {
    let mut times = Times::new();
    let held = unset("boot-0", 1).split_off(10);
    assert!(held.len() == 1 && held[0].is_end());
    let mut rig = Rig::new(holding(held.clone()));
    answers_are_lost(&mut rig, &mut times, HOUR);
    let (offsets, floor) = (kept(&rig), rig.machine.floor(rig.now));
    let mut rig = Rig::new(Start { offsets, floor, ..holding(held) });
    answers_are_lost(&mut rig, &mut times, HOUR);
    assert_eq!(the_only(&times), [(allowed().floor, KeyClock::Plausible)]);
}

/// Footage of this boot, recorded with a plausible clock that is a day slow.
fn plausible_segments(rig: &mut Rig, count: u64) {
    for n in 0..count {
        rig.pass(SEGMENT);
        let mut of = rig.segment();
        of.record.clock = RecordClock::Plausible;
        of.record.n = n;
        rig.give(Input::Sealed(of));
    }
}

#[test]
fn what_went_as_a_plausible_clock_told_it_goes_so_for_ever() {
    let mut times = Times::new();
    let slow = noon() - 12 * HOUR;
    let mut rig = Rig::at(allowed(), at(1_000, slow, false));
    plausible_segments(&mut rig, 3);
    answers_are_lost(&mut rig, &mut times, HOUR);
    let before = times.clone();
    assert_eq!(the_only(&before).len(), 3);
    // The clock is set, by twelve hours.
    (rig.now.system, rig.now.synchronised) = (rig.now.system + 12 * HOUR, true);
    answers_are_lost(&mut rig, &mut times, HOUR);
    assert_eq!(times, before);
    // A start of the process, and a boot of the camera.
    let held: Vec<Segment> = (101..104).map(|n| plausible(n, slow)).collect();
    for boot in ["boot-1", "boot-2"] {
        let start = Start { boot: String::from(boot), offsets: kept(&rig), ..holding(held.clone()) };
        let mut again = Rig::new(start);
        answers_are_lost(&mut again, &mut times, HOUR);
    }
    assert_eq!(times, before);
    assert_eq!(the_only(&times)[0], (slow, KeyClock::Plausible));
}

/// The same segment as [`plausible_segments`] makes.
fn plausible(serial: u64, began: Utc) -> Segment {
    let n = serial - 101;
    let ends = SEGMENT * u32::try_from(n + 1).unwrap();
    let now = at(1_000 + ends.as_secs(), began + ends, false);
    let mut of = segment(serial, now);
    (of.record.clock, of.record.n) = (RecordClock::Plausible, n);
    of
}

#[test]
fn a_clock_that_is_set_soon_after_the_network_came_corrects_the_whole_backlog_once() {
    let mut times = Times::new();
    let mut rig = Rig::offline(allowed(), at(1_000, noon() - 12 * HOUR, false));
    plausible_segments(&mut rig, 20);
    assert_eq!(rig.uploads(), 0, "unheard, it waits");
    rig.connect(allowed().privacy.value().cloned());
    rig.pass(Duration::from_secs(20));
    assert_eq!(rig.uploads(), 0, "the clock may come");
    (rig.now.system, rig.now.synchronised) = (rig.now.system + 12 * HOUR, true);
    rig.give(Input::Tick);
    for _ in 0..12 {
        // Two clocks are never read at one instant.
        rig.now.system = rig.now.system + Duration::from_micros(37);
        answers_are_lost(&mut rig, &mut times, HOUR / 4);
    }
    let held: Vec<Segment> = (101..121).map(|n| plausible(n, noon() - 12 * HOUR)).collect();
    let start = Start { boot: String::from("boot-2"), offsets: kept(&rig), ..holding(held) };
    let mut again = Rig::new(start);
    answers_are_lost(&mut again, &mut times, HOUR);
    let of = the_only(&times);
    assert_eq!(of.len(), 20);
    for (n, time) in of.iter().enumerate() {
        assert_eq!(*time, (noon() + SEGMENT * n as u32, KeyClock::Corrected));
    }
}

#[test]
fn nothing_goes_under_a_time_that_is_not_durable() {
    let mut rig = Rig::new(allowed());
    rig.disk_is_away = true;
    rig.give(Input::Found(unset("boot-0", 1)));
    for _ in 0..3 {
        rig.pass(Duration::from_secs(60));
        assert_eq!(rig.uploads(), 0, "not durable, and used");
        for ticket in std::mem::take(&mut rig.tickets) {
            rig.give(Input::Persisted { ticket, result: Err(String::from("EIO")) });
        }
    }
    rig.disk_is_away = false;
    rig.pass(Duration::from_secs(60));
    assert!(rig.uploads() > 0, "it is tried again");
    let offsets = kept(&rig);
    assert!(offsets.get("boot-0", RecordClock::Unset).is_some());
}

#[test]
fn boots_of_which_nothing_is_left_make_room_for_others() {
    let mut rig = Rig::new(allowed());
    for number in 0..400 {
        let boot = format!("earlier-{number}");
        rig.give(Input::Found(unset(&boot, 1_000 + number * 20)));
        for serial in 0..11 {
            rig.give(Input::UploadFinished {
                serial: Serial(1_000 + number * 20 + serial),
                outcome: Outcome::Stored,
                took: Duration::ZERO,
            });
        }
        assert!(!rig.times.is_empty(), "{boot} has no time");
        rig.times.clear();
    }
    let lines = kept(&rig).text().lines().count();
    assert!(lines <= MAX_BOOTS, "{lines}");
}

/// A camera without a clock, whose power is cut; then one with a clock, whose power is cut at every call to
/// the disk in its first minutes; then another.
#[test]
fn a_cut_at_any_moment_moves_no_key_under_which_something_was_sent() {
    let (mut sent, mut moved) = (0, Vec::new());
    let mut at_call = 1;
    loop {
        let fs = FaultFs::healthy();
        let mut first = Joined::start_at(&fs, "boot-1", Options::default(), at(1, Utc(0), false), allowed());
        first.record(9);
        let fs = first.fs.after(Cut::LosesAll);
        let crash_at = fs.calls() + at_call;
        fs.plan(Plan::Crash { at: crash_at });
        let mut second = Joined::start_at(&fs, "boot-2", Options::default(), at(1, noon(), true), allowed());
        second.store = StoreIs::Refusing;
        for _ in 0..10 {
            second.record(1);
            second.pass(MINUTE / 2);
        }
        let over = fs.calls() < crash_at;
        let cut = if at_call % 2 == 0 { Cut::LosesAll } else { Cut::KeepsAll };
        let fs = second.fs.after(cut);
        let start = Start { floor: noon() + HOUR, ..allowed() };
        let now = at(1, noon() + HOUR, true);
        let mut third = Joined::start_at(&fs, "boot-3", Options::default(), now, start);
        third.store = StoreIs::Refusing;
        third.pass(5 * MINUTE);
        for (serial, times) in &second.sent {
            // Only those of the boot without a clock; the others are certain.
            sent += times.iter().filter(|time| **time < noon()).count();
            let all: BTreeSet<&Utc> =
                times.iter().chain(third.sent.get(serial).into_iter().flatten()).collect();
            if all.len() != 1 {
                moved.push((at_call, *serial, all.len()));
            }
        }
        assert!(third.sent.len() >= 3, "nothing is sent after a cut at call {at_call}");
        if over {
            break;
        }
        at_call += 1;
    }
    println!("{at_call} cuts, {sent} attempts before them");
    assert!(at_call > 100 && sent > 500, "{at_call} cuts, {sent} attempts before them");
    assert!(moved.is_empty(), "{moved:?}");
}

#[test]
fn how_long_the_oldest_footage_waits_is_told_without_a_clock_too() {
    let mut rig = Rig::at(allowed(), at(1_000, Utc(0), false));
    let mut of = rig.segment();
    (of.record.clock, of.record.start_utc) = (RecordClock::Unset, Utc(0));
    rig.give(Input::Sealed(of));
    rig.pass(HOUR);
    let waits = rig.machine.telemetry(rig.now).upload.oldest_pending_s;
    assert_eq!(waits, Some((HOUR + SEGMENT).as_secs()));
    // In the next boot: when that boot ended is unknown; the last known time counts.
    let held = unset("boot-0", 1);
    let rig = Rig::new(holding(held));
    let waits = rig.machine.telemetry(rig.now).upload.oldest_pending_s;
    assert_eq!(waits, Some((24 * HOUR + SEGMENT * 10).as_secs()));
}

#[test]
fn a_boot_is_given_its_time_once_all_of_it_is_known() {
    let mut rig = Rig::new(allowed());
    let usage = |is_scanning| Usage { free: Some(1_000_000), is_scanning, ..Usage::default() };
    let span = unset("boot-0", 1);
    rig.give(Input::Usage(usage(true)));
    rig.give(Input::Found(span[..3].to_vec()));
    rig.pass(MINUTE);
    assert_eq!(rig.uploads(), 0, "there may be more of it");
    rig.give(Input::Found(span[3..].to_vec()));
    rig.give(Input::Usage(usage(false)));
    rig.pass(MINUTE);
    let (last, _) = rig.times[&Serial(10)][0];
    assert_eq!(last + SEGMENT, allowed().floor);
}
