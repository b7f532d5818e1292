//! The machine and the spool together, over a disk that fails on chosen paths and fills up.

use crate::support::fault_fs::{Access, Coin, Cut, FaultFs};
use crate::support::joined::{Joined, StoreIs};
use crate::support::rig::{allowed, choice, noon};
use crate::support::spool_model::{Options, in_spool, spool_dir, state_dir};
use crate::support::tiny_mp4::labels;
use kasacam::disk::StoredFacts;
use kasacam::domain::effect::{Event, Fact};
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::privacy::{PrivacyChoice, Recalled};
use kasacam::domain::segment::Serial;
use kasacam::domain::settings::UploadOrder;
use kasacam::domain::storage::Budget;
use kasacam::domain::time::{Mono, Now};
use std::time::Duration;

/// A minute; in it a probe is due whatever its backoff.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn what_is_recorded_is_stored_and_leaves_the_disk() {
    let fs = FaultFs::healthy();
    let mut joined = Joined::start(&fs, Options::default());
    joined.record(6);
    assert!(joined.held().len() >= 2, "nothing was sealed: {:?}", joined.held());
    joined.store = StoreIs::Up;
    joined.pass(6 * MINUTE);
    joined.give(Input::Shutdown);
    assert!(joined.exited);
    assert_eq!(joined.held(), Vec::<String>::new());
    assert_eq!(joined.frames_committed, 24);
    assert_eq!(joined.gone.len(), joined.sealed.len(), "each segment and the end of the span has gone");
}

/// Bytes of everything in the spool directory.
fn spool_bytes(fs: &FaultFs) -> u64 {
    let names = fs.names(&spool_dir());
    names.iter().map(|name| fs.peek(&in_spool(name)).map_or(0, |bytes| bytes.len() as u64)).sum()
}

/// A camera whose store is down, with segments waiting, on a disk of which `left` bytes are free.
fn with_backlog(fs: &FaultFs, segments: u32, left: u64, min_free: u64) -> Joined {
    let mut start = allowed();
    start.settings.budget = Budget { max_bytes: 1 << 30, min_free, max_files: 1_000 };
    let now = Now { mono: Mono(1_000_000_000), system: noon(), synchronised: true };
    let mut joined = Joined::start_at(fs, "boot-1", Options::default(), now, start);
    joined.record(segments * 2);
    assert!(joined.held().len() + 1 >= segments as usize, "{:?}", joined.held());
    fs.set_capacity((1 << 30) - fs.room() + left);
    joined
}

#[test]
fn a_full_disk_that_another_lets_go_of_costs_what_was_needed_while_it_was_full() {
    let fs = FaultFs::healthy();
    let mut joined = with_backlog(&fs, 12, 100_000, 50_000);
    fs.set_others(fs.room());
    joined.record(1);
    assert!(joined.events.iter().any(|event| matches!(event, Event::StorageFailed { full: true, .. })));
    let evicted = joined.evicted();
    fs.set_others(0);
    joined.pass(2 * MINUTE);
    assert!(joined.is_recording());
    assert_eq!(joined.evicted(), evicted, "room came back, and was made all the same");
    assert!(evicted <= 2, "{evicted} were evicted for a moment without room");
    assert!(joined.held().len() >= 9, "{:?}", joined.held());
}

#[test]
fn where_another_takes_the_room_that_was_made_more_is_made_until_recording_goes_on() {
    let fs = FaultFs::healthy();
    let mut joined = with_backlog(&fs, 12, 100_000, 0);
    let fill = |fs: &FaultFs| {
        fs.set_others(0);
        fs.set_others(fs.room());
    };
    fill(&fs);
    joined.record(2);
    for _ in 0..3 {
        // Whatever was freed, the other writer uses before the next probe.
        fill(&fs);
        joined.pass(MINUTE / 10);
    }
    let before = joined.frames_committed;
    for _ in 0..5 {
        joined.record(1);
        joined.pass(MINUTE);
    }
    assert!(joined.is_recording(), "{} are left to evict: {:?}", joined.held().len(), joined.events);
    assert!(joined.frames_committed > before, "nothing is committed");
    assert!(joined.held().len() >= 3, "more was let go than was needed: {:?}", joined.held());
}

#[test]
fn a_disk_that_does_not_tell_what_is_free_costs_nothing() {
    let fs = FaultFs::healthy();
    let mut joined = with_backlog(&fs, 10, 1 << 20, 50_000);
    let held = joined.held().len();
    fs.fail_free(Some(libc::EIO));
    joined.record(8);
    joined.pass(2 * MINUTE);
    assert_eq!(joined.evicted(), 0);
    assert!(joined.held().len() > held);
}

#[test]
fn a_spool_within_its_budget_evicts_as_much_as_it_takes_in() {
    let fs = FaultFs::healthy();
    let mut start = allowed();
    start.settings.budget.max_bytes = 40_000;
    start.settings.budget.min_free = 0;
    let now = Now { mono: Mono(1_000_000_000), system: noon(), synchronised: true };
    let mut joined = Joined::start_at(&fs, "boot-1", Options::default(), now, start);
    for _ in 0..40 {
        joined.record(2);
        assert!(spool_bytes(&fs) < 40_000 + 8_000, "{} bytes", spool_bytes(&fs));
    }
    assert!(joined.evicted() > 10, "nothing was evicted: the budget was never reached");
    assert!(
        spool_bytes(&fs) > 40_000 - 16_000,
        "{} bytes: twice what was needed was evicted",
        spool_bytes(&fs)
    );
}

#[test]
fn a_file_that_cannot_be_removed_hinders_nothing_else() {
    let fs = FaultFs::healthy();
    let mut joined = Joined::start(&fs, Options::default());
    joined.record(4);
    let stuck = in_spool(&joined.held()[0]);
    fs.fail_always(&stuck, Access::Unlink, libc::EIO);
    joined.store = StoreIs::Up;
    joined.pass(10 * MINUTE);
    for _ in 0..5 {
        joined.record(4);
        joined.pass(MINUTE);
    }
    assert!(fs.failures() > 0, "nothing was removed");
    assert_eq!(joined.frames_dropped, 0);
    assert_eq!(joined.frames_committed, 24 * 4);
    assert!(joined.is_recording());
    // The newest segment of the span waits for what comes next.
    assert!(joined.held().len() <= 3, "what was stored is kept: {:?}", joined.held());
    fs.heal(&stuck);
    joined.pass(2 * MINUTE);
    joined.record(4);
    assert!(fs.peek(&stuck).is_none(), "it can be removed, and is not");
}

#[test]
fn an_open_file_that_cannot_be_written_hinders_nothing_else() {
    let fs = FaultFs::healthy();
    let mut before = Joined::start(&fs, Options::default());
    before.record(1);
    let name = fs.names(&spool_dir()).into_iter().find(|name| name.ends_with(".open")).unwrap();
    let fs = fs.after(Cut::LosesAll);
    fs.fail_always(&in_spool(&name), Access::Write, libc::EIO);
    let now = Now { mono: Mono(1_000_000_000), system: noon(), synchronised: true };
    let mut joined = Joined::start_at(&fs, "boot-2", Options::default(), now, allowed());
    joined.pass(10 * MINUTE);
    joined.record(6);
    assert!(joined.is_recording(), "{:?}", joined.events);
    assert_eq!((joined.frames_committed, joined.frames_dropped), (24, 0));
    assert!(fs.peek(&in_spool(&name)).is_some(), "what was committed in it is gone");
    fs.heal(&in_spool(&name));
    let mut after = Joined::start_at(&fs, "boot-3", Options::default(), now, allowed());
    after.store = StoreIs::Up;
    after.pass(10 * MINUTE);
    assert!(after.gone.contains(&Serial(1)), "what was committed in it is never sent: {:?}", after.gone);
}

#[test]
fn an_upload_that_does_not_end_is_not_evicted_before_what_waits() {
    let fs = FaultFs::healthy();
    let mut start = allowed();
    start.settings.order = UploadOrder::Oldest;
    start.settings.concurrency = 1;
    start.settings.budget = Budget { max_bytes: 40_000, min_free: 0, max_files: 1_000 };
    let now = Now { mono: Mono(1_000_000_000), system: noon(), synchronised: true };
    let mut joined = Joined::start_at(&fs, "boot-1", Options::default(), now, start);
    joined.store = StoreIs::Slow;
    joined.record(60);
    assert!(joined.evicted() > 10, "the budget was never reached");
    assert_eq!(joined.uploading, [Serial(1)]);
    assert!(!joined.forgotten.contains_key(&Serial(1)));
}

#[test]
fn k11_a_choice_that_the_power_took_is_heard_again_and_what_was_captured_meanwhile_goes() {
    let (mut opened, mut kept) = (0, 0);
    for seed in 0..60 {
        let mut coin = Coin(seed * 2 + 1);
        let fs = FaultFs::healthy();
        let permission = choice(1, false);
        let facts = StoredFacts::new(fs.shared(), &state_dir());
        facts.keep(&Fact::Privacy { version: 1, jws: String::from("privacy-1") }).unwrap();
        let mut before = Joined::start(&fs, Options::default());
        before.record(2 + u32::try_from(coin.below(6)).unwrap());
        let forbidden = PrivacyChoice { issued_at: before.now.system, ..choice(2, true) };
        // Either it reaches the camera before the power is lost, or the power is lost first.
        let heard = coin.toss();
        if heard {
            before.hear_choice(forbidden.clone());
        }
        let after = before.fs.after(if coin.toss() { Cut::LosesAll } else { Cut::KeepsAll });

        let privacy = match StoredFacts::new(after.shared(), &state_dir()).recall().privacy {
            Recalled::Is(jws) if jws == "privacy-2" => Recalled::Is(forbidden.clone()),
            Recalled::Is(_) => Recalled::Is(permission),
            Recalled::Missing | Recalled::Unreadable => Recalled::Unreadable,
        };
        let system = before.now.system + Duration::from_secs(20);
        let now = Now { mono: Mono(1_000_000_000), system, synchronised: true };
        let start = Start { privacy, ..allowed() };
        let mut joined = Joined::offline_at(&after, "boot-2", Options::default(), now, start);
        joined.fragment = before.fragment + 1;
        assert_eq!(joined.is_recording(), !heard, "seed {seed}: what the disk holds decides");
        joined.record(1 + u32::try_from(coin.below(6)).unwrap());
        opened += u64::from(joined.is_recording());
        joined.store = StoreIs::Up;
        joined.pass(MINUTE);
        assert_eq!(joined.sent.len(), 0, "seed {seed}: unheard, it waits");
        joined.store = StoreIs::Down;

        joined.give(Input::Connected);
        joined.hear_choice(forbidden.clone());
        joined.pass(MINUTE);

        assert!(!joined.is_recording());
        for name in after.names(&spool_dir()) {
            for label in labels(&after.peek(&in_spool(&name)).unwrap_or_default()) {
                let taken = before.taken.get(&label).or_else(|| joined.taken.get(&label)).unwrap();
                let late = taken.since(forbidden.issued_at);
                assert_eq!(late, Duration::ZERO, "seed {seed}: {name} has {label:?} of after the choice");
                kept += 1;
            }
        }
    }
    assert!(opened > 10 && kept > 100, "{opened} opened by the choice before, {kept} chunks kept");
}

/// A microSD card at the spool's directory is removed, and put back after a while.
#[test]
fn a_card_that_is_pulled_and_put_back_loses_nothing_and_is_recorded_to_within_five_seconds() {
    // The slot gives it the number that it had, or another one.
    for device in [2, 3] {
        let fs = FaultFs::healthy();
        fs.put_dir(&spool_dir());
        fs.mount(&spool_dir());
        let mut joined = Joined::start(&fs, Options::default());
        joined.record(9);
        let held = joined.held();
        let committed = joined.frames_committed;
        assert!(held.len() >= 3, "{held:?}");

        fs.pull();
        joined.record(1);
        for _ in 0..10 {
            joined.pass(MINUTE / 6);
            joined.record(1);
        }
        assert!(!joined.is_recording());
        let why = joined.machine.telemetry(joined.now).spool.fault.unwrap();
        assert!(why.contains("away"), "{why}");
        joined.pass(10 * MINUTE);
        assert_eq!(
            fs.made_beneath(),
            Vec::<std::path::PathBuf>::new(),
            "it wrote into the empty mount point"
        );
        assert_eq!(
            (joined.gone.len(), joined.forgotten.len()),
            (0, 0),
            "a pulled card is taken for lost footage"
        );

        fs.put_back(device);
        joined.pass(Duration::from_secs(5));
        assert!(joined.is_recording(), "number {device}");
        joined.record(4);
        joined.store = StoreIs::Up;
        joined.pass(10 * MINUTE);
        assert!(joined.frames_committed >= committed + 12);
        joined.give(Input::Shutdown);
        joined.pass(Duration::from_secs(5));
        // All was stored, nothing was removed by another rule.
        assert!(joined.forgotten.values().all(|rule| *rule == kasacam::domain::effect::Rule::Stored));
        assert!(joined.sent.len() > held.len() + 1, "{:?}", joined.sent.keys());
        assert_eq!(joined.held(), Vec::<String>::new());
    }
}

#[test]
fn what_is_to_go_from_a_card_that_is_away_goes_once_it_is_back() {
    let fs = FaultFs::healthy();
    fs.put_dir(&spool_dir());
    fs.mount(&spool_dir());
    let mut joined = Joined::start(&fs, Options::default());
    joined.record(9);
    let held = joined.held();
    assert!(held.len() >= 3, "{held:?}");
    fs.pull();
    joined.record(1);
    // The answer of the store arrives.
    joined.store = StoreIs::Up;
    joined.pass(6 * MINUTE);
    assert!(!joined.forgotten.is_empty(), "nothing was stored");
    assert_eq!(joined.gone, [], "told as removed, and it is on the card");
    fs.put_back(2);
    joined.pass(MINUTE);
    joined.give(Input::Shutdown);
    joined.pass(Duration::from_secs(5));
    assert_eq!(joined.held(), Vec::<String>::new());
}

/// A segment is removed by something other than the agent.
#[test]
fn a_segment_that_is_gone_is_asked_for_once_and_counted_no_more() {
    let fs = FaultFs::healthy();
    let mut joined = Joined::start(&fs, Options::default());
    joined.record(9);
    let name = joined.held()[0].clone();
    let serial = kasacam::domain::segment::SpoolName::parse(&name).unwrap().serial;
    let pending = joined.machine.telemetry(joined.now).spool.pending;
    fs.shared().unlink(&in_spool(&name)).unwrap();
    // As the agent does if a file does not exist.
    joined.tell(kasacam::spool::Command::Damaged { serial });
    assert_eq!(joined.machine.telemetry(joined.now).spool.pending, pending - 1);
    assert!(joined.gone.contains(&serial));
    let is_told = |event: &Event| matches!(event, Event::Quarantined { why, .. } if why.contains("gone"));
    assert!(joined.events.iter().any(is_told), "{:?}", joined.events);
    joined.store = StoreIs::Up;
    joined.pass(10 * MINUTE);
    assert!(joined.sent.get(&serial).is_none_or(|times| times.len() <= 2), "it is sent for ever");
    assert!(joined.is_recording());
    // A second time, for a segment that is no longer known.
    joined.tell(kasacam::spool::Command::Damaged { serial });
    assert!(joined.is_recording());
}

/// Four hours of a store that accepts slightly less than is captured, the oldest first.
#[test]
fn a_store_that_is_a_little_too_slow_gets_what_it_can_take() {
    let fs = FaultFs::healthy();
    let mut start = allowed();
    start.settings.order = UploadOrder::Oldest;
    start.settings.concurrency = 1;
    start.settings.budget = Budget { max_bytes: 40_000, min_free: 0, max_files: 1_000 };
    let now = Now { mono: Mono(1_000_000_000), system: noon(), synchronised: true };
    let mut joined = Joined::start_at(&fs, "boot-1", Options::default(), now, start);
    joined.store = StoreIs::Slow;
    let (mut under_way, mut sent, mut stored, mut cancelled) = (None, 0.0, 0, 0);
    let segments = 480;
    for _ in 0..segments {
        joined.record(2);
        let now = joined.uploading.first().copied();
        if under_way.is_some() && now != under_way {
            cancelled += 1;
            sent = 0.0;
        }
        under_way = now;
        let Some(serial) = now else { continue };
        sent += 0.92;
        if sent >= 0.5 {
            joined.give(Input::UploadPastHalf { serial });
        }
        if sent >= 1.0 {
            sent -= 1.0;
            stored += 1;
            joined.uploading.clear();
            let outcome = kasacam::domain::outcome::Outcome::Stored;
            joined.give(Input::UploadFinished { serial, outcome, took: Duration::from_secs(30) });
            under_way = joined.uploading.first().copied();
        }
    }
    assert!(joined.evicted() > 10, "the budget was never reached: {}", joined.evicted());
    assert_eq!(cancelled, 0, "uploads were given up");
    assert!(stored * 100 >= segments * 85, "{stored} of {segments} were stored");
}
