//! The spool without faults: counting, withdrawing permission, removing, time, facts, the thread.

use crate::support::fault_fs::{Cut, FaultFs, Plan};
use crate::support::patience::patient;
use crate::support::spool_model::{
    OFFSET, Options, Rig, assert_spans_are_told, held, in_spool, read_sealed, restart_and_check, spool_dir,
    state_dir,
};
use crate::support::tiny_mp4::{self, CHUNK, Tiny};
use kasacam::disk::facts::{LastKnown, Name};
use kasacam::disk::{Fs, RealFs, StoredFacts};
use kasacam::domain::effect::Fact;
use kasacam::domain::fragment::{Captured, Epoch, SpanEnd};
use kasacam::domain::input::Input;
use kasacam::domain::offset::{Offsets, Pinned};
use kasacam::domain::privacy::Recalled;
use kasacam::domain::segment::{Content, RecordClock, SpoolKind, SpoolName};
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::{self, Command, Durability, Encryption, LiveEpoch};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::time::Duration;

fn rig(options: Options) -> (FaultFs, Rig) {
    let fs = FaultFs::healthy();
    let rig = Rig::open(&fs, "boot-one", options);
    (fs, rig)
}

#[test]
fn a_segment_says_all_that_the_cloud_needs_to_know() {
    let (_, mut rig) = rig(Options::default());
    rig.obey(Command::SetTerms { plan: "plus-monthly".to_owned(), history_hours: 720 });
    rig.allow();
    rig.fragments(5);
    rig.end(SpanEnd::Shutdown);

    let footage = rig.footage();
    assert_eq!(footage.len(), 3);
    let first = &footage[0];
    assert_eq!(first.record.device, "cam-0001");
    assert_eq!((first.record.plan.as_str(), first.record.history_hours), ("plus-monthly", 720));
    assert_eq!(first.record.start_utc, Utc(OFFSET + 8_000_000_000));
    assert_eq!(first.record.clock, RecordClock::Trusted);
    assert_eq!(footage.iter().map(|segment| segment.record.n).collect::<Vec<_>>(), [0, 1, 2]);
    let Content::Footage { duration, codecs } = &first.content else { unreachable!() };
    assert_eq!((*duration, codecs.as_str()), (4 * CHUNK, "avc1.42c00a"));
    let end = &rig.ends()[0];
    assert_eq!(end.content, Content::End { reason: SpanEnd::Shutdown });
    assert_eq!((end.record.n, end.record.start_mono), (3, 8_000_000_000 + 10 * CHUNK));
    assert_spans_are_told(&rig);
}

/// The next device may open at once: no span overlaps the one after it.
#[test]
fn a_last_frame_lasts_no_longer_than_its_device_is_open() {
    // Closed in the middle of the last frame; exactly at its end; long after; or, for a file, long before.
    let half = tiny_mp4::PICTURE / 2;
    for (closed, told) in [
        (10 * CHUNK - half, 10 * CHUNK - half),
        (10 * CHUNK, 10 * CHUNK),
        (20 * CHUNK, 10 * CHUNK),
        (CHUNK, 10 * CHUNK),
    ] {
        let (_, mut rig) = rig(Options::default());
        rig.allow();
        let began = rig.time;
        rig.fragments(5);
        rig.closed = Mono(began + closed);
        rig.end(SpanEnd::Entitlement);
        let end = rig.ends()[0].clone();
        assert_eq!(end.record.start_mono, began + told, "closed {closed}");
    }
}

#[test]
fn k11_withdrawn_leave_drops_the_open_fragment_in_every_durability() {
    for durability in [Durability::Chunk, Durability::Fragment, Durability::Segment] {
        let (fs, mut rig) = rig(Options { durability, ..Options::default() });
        rig.allow();
        rig.fragments(3);
        rig.chunks(1);
        rig.revoke();

        assert_eq!(rig.ledger.withheld.iter().collect::<Vec<_>>(), [&(3, 0)]);
        assert_eq!(rig.ends()[0].content, Content::End { reason: SpanEnd::Privacy });
        let held: Vec<_> = held(&fs).into_values().flatten().collect();
        assert_eq!(held, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
        rig.ledger.assert_balanced();
    }
}

#[test]
fn k11_nothing_is_written_once_the_live_epoch_is_gone_though_no_command_came() {
    for durability in [Durability::Chunk, Durability::Fragment, Durability::Segment] {
        let (fs, mut rig) = rig(Options { durability, ..Options::default() });
        rig.allow();
        rig.fragments(1);
        rig.chunk(0);
        rig.live.revoke();
        // Completes a fragment whose first half was allowed.
        rig.chunk(1);
        rig.fragment += 1;
        rig.fragments(2);
        rig.end(SpanEnd::Privacy);

        let held: Vec<_> = held(&fs).into_values().flatten().collect();
        assert_eq!(held, [(0, 0), (0, 1)], "{durability:?}");
        rig.ledger.assert_balanced();
    }
}

#[test]
fn a_span_of_which_nothing_was_kept_leaves_nothing() {
    for durability in [Durability::Chunk, Durability::Fragment, Durability::Segment] {
        let (fs, mut rig) = rig(Options { durability, ..Options::default() });
        rig.allow();
        rig.chunks(1);
        rig.revoke();
        assert!(rig.ledger.sealed.is_empty());
        assert!(fs.names(&spool_dir()).is_empty(), "{:?}", fs.names(&spool_dir()));
        rig.ledger.assert_balanced();
    }
}

#[test]
fn a_late_chunk_of_an_ended_run_is_dropped() {
    let (_, mut rig) = rig(Options::default());
    rig.allow();
    rig.fragments(1);
    rig.end(SpanEnd::Source);
    rig.fragments(1);
    assert_eq!(rig.ledger.committed.len(), 2);
    rig.ledger.assert_balanced();
}

#[test]
fn the_newest_segment_of_a_span_is_forgotten_only_behind_its_successor() {
    let (fs, mut rig) = rig(Options::default());
    rig.allow();
    rig.fragments(2);
    let first = rig.footage()[0].serial;
    rig.forget(first);
    rig.chunk(0);
    assert!(rig.ledger.sealed.contains_key(&first), "nothing durable follows it yet");

    rig.chunk(1);
    assert!(!rig.ledger.sealed.contains_key(&first));
    let name = SpoolName { serial: first, kind: SpoolKind::Sealed }.to_string();
    assert!(!fs.after(Cut::LosesAll).names(&spool_dir()).contains(&name), "it is not gone for good");
}

#[test]
fn an_end_is_forgotten_only_behind_its_segments() {
    let (fs, mut rig) = rig(Options::default());
    rig.allow();
    rig.fragments(4);
    rig.end(SpanEnd::Source);
    let (footage, end) = (rig.footage(), rig.ends()[0].serial);
    rig.forget(end);
    rig.forget(footage[1].serial);
    assert_eq!(rig.ledger.sealed.keys().copied().collect::<Vec<_>>(), [footage[0].serial, end]);

    rig.forget(footage[0].serial);

    assert!(rig.ledger.sealed.is_empty());
    assert!(fs.names(&spool_dir()).is_empty());
}

#[test]
fn a_step_of_the_clock_begins_a_span_with_the_new_time() {
    let (_, mut rig) = rig(Options::default());
    rig.set_clock(0, Clock::Unset);
    rig.allow();
    rig.fragments(1);
    rig.set_clock(OFFSET, Clock::Trusted);
    rig.fragments(1);
    rig.end(SpanEnd::Shutdown);

    let footage = rig.footage();
    assert_eq!(footage[0].record.clock, RecordClock::Unset);
    assert_eq!(footage[1].record.clock, RecordClock::Trusted);
    assert_eq!(footage[1].record.start_utc, Utc(OFFSET + 8_000_000_000 + 2 * CHUNK as i64));
    let reasons: Vec<_> = rig.ends().into_iter().map(|end| end.content).collect();
    assert_eq!(
        reasons,
        [Content::End { reason: SpanEnd::Clock }, Content::End { reason: SpanEnd::Shutdown }]
    );
    assert_spans_are_told(&rig);
}

#[test]
fn another_picture_size_begins_a_span() {
    let (_, mut rig) = rig(Options::default());
    rig.allow();
    rig.fragments(1);
    rig.init = tiny_mp4::init(128);
    rig.fragments(1);
    rig.end(SpanEnd::Shutdown);
    assert_eq!(rig.ends()[0].content, Content::End { reason: SpanEnd::Format });
    assert_spans_are_told(&rig);
}

#[test]
fn a_full_disk_stops_nothing_for_good() {
    let (fs, mut rig) = rig(Options::default());
    rig.allow();
    rig.fragments(3);
    let now = fs.calls();
    fs.plan(Plan::Fail { from: now, until: u64::MAX, errno: libc::ENOSPC });
    rig.fragments(2);
    assert!(rig.ledger.failures > 0);
    fs.plan(Plan::Nothing);

    // There is no probe: the next fragment finds out by itself.
    rig.fragments(2);
    rig.end(SpanEnd::Shutdown);

    assert_eq!(rig.ledger.committed.len(), 10);
    assert_eq!(rig.ends()[0].content, Content::End { reason: SpanEnd::Storage });
    assert_spans_are_told(&rig);
    rig.ledger.assert_balanced();
    restart_and_check(&fs.after(Cut::LosesAll), "boot-two", &rig.ledger, Options::default());
}

#[test]
fn a_spool_that_cannot_be_opened_counts_what_it_drops_and_opens_at_a_probe() {
    let fs = FaultFs::new(
        Plan::Fail { from: 1, until: u64::MAX, errno: libc::EROFS },
        crate::support::fault_fs::Mutant::None,
    );
    let mut rig = Rig::open(&fs, "boot-one", Options::default());
    rig.allow();
    rig.fragments(1);
    rig.obey(Command::Probe);
    fs.plan(Plan::Nothing);
    rig.obey(Command::Probe);
    rig.fragments(1);
    rig.end(SpanEnd::Shutdown);
    assert_eq!(rig.ledger.probes, [false, true]);
    assert_eq!(rig.ledger.committed.len(), 2);
    rig.ledger.assert_balanced();
}

#[test]
fn serials_go_on_far_behind_where_their_fact_cannot_be_read() {
    let (fs, mut rig) = rig(Options::default());
    rig.allow();
    rig.fragments(2);
    rig.end(SpanEnd::Shutdown);
    let last = *rig.ledger.serials.last().unwrap();
    fs.put(&state_dir().join("state/serial"), b"kasacam-state 1 sha256=00\n5");

    let mut second = Rig::open(&fs, "boot-two", Options::default());
    second.allow();
    second.fragments(2);

    assert!(second.ledger.serials.last().unwrap().0 >= last.0 + 1_000_000);
}

#[test]
fn serials_do_not_repeat_where_the_spool_is_empty() {
    let (fs, mut rig) = rig(Options::default());
    rig.allow();
    rig.fragments(2);
    rig.end(SpanEnd::Shutdown);
    for serial in rig.ledger.serials.clone() {
        rig.obey(Command::Forget { serial });
    }
    let last = *rig.ledger.serials.last().unwrap();

    let mut second = Rig::open(&fs, "boot-two", Options::default());
    second.allow();
    second.fragments(2);

    assert!(*second.ledger.serials.first().unwrap() > last);
}

#[test]
fn a_new_permit_costs_nothing_of_what_was_captured_under_the_one_before_and_a_withdrawal_all_of_it() {
    for withdrawn in [false, true] {
        let fs = FaultFs::healthy();
        let mut rig = Rig::open(&fs, "boot-one", Options::default());
        rig.allow();
        rig.fragments(1);
        // The plan has changed: the next run is permitted while the rest of this one is still in the channel.
        if withdrawn {
            rig.live.revoke();
        }
        rig.live.allow(Epoch(2));
        rig.fragments(1);
        rig.end(SpanEnd::Entitlement);
        assert_eq!(rig.ledger.dropped_frames > 0, withdrawn, "{:?}", rig.ledger);
        rig.epoch = Epoch(2);
        rig.fragments(1);
        rig.shut_down();
        rig.ledger.assert_balanced();
        assert_eq!(held(&fs).values().flatten().count(), if withdrawn { 4 } else { 6 });
    }
}

#[test]
fn facts_come_back_as_they_were_kept() {
    let fs = FaultFs::healthy();
    let facts = StoredFacts::new(fs.shared(), &state_dir());
    let nothing = LastKnown {
        privacy: Recalled::Missing,
        privacy_seen: Recalled::Missing,
        entitlement: Recalled::Missing,
        entitlement_seen: Recalled::Missing,
        latch: Recalled::Missing,
        stopped: None,
        floor: Recalled::Missing,
        offsets: Recalled::Missing,
    };
    assert_eq!(facts.recall(), nothing);

    facts.keep(&Fact::Privacy { version: 7, jws: "a.b.c".to_owned() }).unwrap();
    facts.keep(&Fact::Entitlement { version: 9, jws: "d.e.f".to_owned() }).unwrap();
    facts.keep(&Fact::Latch(true)).unwrap();
    facts.keep(&Fact::Stopped(Some(Utc(1_795_435_200_000_000_001)))).unwrap();
    facts.keep(&Fact::Floor(Utc(1_795_435_200_123_456_789))).unwrap();
    let mut offsets = Offsets::default();
    assert!(offsets.pin("boot-one", RecordClock::Unset, Pinned::Vague(1_795_435_200_123_456_789)));
    facts.keep(&Fact::Offsets(offsets.clone())).unwrap();

    let found = StoredFacts::new(fs.after(Cut::LosesAll).shared(), &state_dir()).recall();
    let all = LastKnown {
        privacy: Recalled::Is("a.b.c".to_owned()),
        privacy_seen: Recalled::Is(7),
        entitlement: Recalled::Is("d.e.f".to_owned()),
        entitlement_seen: Recalled::Is(9),
        latch: Recalled::Is(true),
        stopped: Some(Utc(1_795_435_200_000_000_001)),
        floor: Recalled::Is(Utc(1_795_435_200_123_456_789)),
        offsets: Recalled::Is(offsets),
    };
    assert_eq!(found, all);
    facts.keep(&Fact::Stopped(None)).unwrap();
    assert_eq!(facts.recall().stopped, None);
}

#[test]
fn an_unreadable_fact_stays_unreadable_until_something_new_is_published() {
    let fs = FaultFs::healthy();
    let facts = StoredFacts::new(fs.shared(), &state_dir());
    facts.keep(&Fact::Latch(true)).unwrap();
    let path = state_dir().join("state/latch");
    let mut bytes = fs.peek(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs.put(&path, &bytes);

    for _ in 0..3 {
        assert_eq!(facts.recall().latch, Recalled::Unreadable);
    }
    facts.keep(&Fact::Latch(false)).unwrap();

    assert_eq!(facts.recall().latch, Recalled::Is(false));
    let kept = fs.names(&state_dir().join("state/quarantine"));
    assert_eq!(kept, ["0000000001-latch"]);
    assert_eq!(fs.peek(&state_dir().join("state/quarantine/0000000001-latch")).unwrap(), bytes);
}

#[test]
fn every_flipped_bit_of_a_fact_makes_it_unreadable() {
    let fs = FaultFs::healthy();
    let facts = StoredFacts::new(fs.shared(), &state_dir());
    facts.keep(&Fact::Privacy { version: 1, jws: "payload.of.jws".to_owned() }).unwrap();
    let path = state_dir().join("state/privacy");
    let whole = fs.peek(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs.put(&path, &bytes);
        assert_eq!(facts.load(Name::Privacy), Recalled::Unreadable, "bit {bit}");
    }
    for length in 0..whole.len() {
        fs.put(&path, &whole[..length]);
        assert_eq!(facts.load(Name::Privacy), Recalled::Unreadable, "length {length}");
    }
}

#[test]
fn a_fact_that_others_may_write_or_that_is_a_link_is_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let facts = StoredFacts::new(Arc::new(RealFs), dir.path());
    facts.keep(&Fact::Latch(false)).unwrap();
    let path = dir.path().join("state/latch");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o602)).unwrap();
    assert_eq!(facts.load(Name::Latch), Recalled::Unreadable);

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(facts.load(Name::Latch), Recalled::Is("open".to_owned()));
    let elsewhere = dir.path().join("elsewhere");
    std::fs::copy(&path, &elsewhere).unwrap();
    std::fs::remove_file(&path).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(facts.load(Name::Latch), Recalled::Unreadable);

    facts.keep(&Fact::Latch(true)).unwrap();
    assert_eq!(facts.load(Name::Latch), Recalled::Is("closed".to_owned()));
    assert!(std::fs::read_to_string(&elsewhere).unwrap().ends_with("open"), "the link was followed");
}

#[test]
fn an_endless_fact_and_a_pipe_are_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let facts = StoredFacts::new(Arc::new(RealFs), dir.path());
    facts.keep(&Fact::Latch(false)).unwrap();
    let (floor, latch) = (dir.path().join("state/floor"), dir.path().join("state/latch"));
    std::fs::File::create(&floor).unwrap().set_len(1 << 40).unwrap();
    std::fs::set_permissions(&floor, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::remove_file(&latch).unwrap();
    nix::unistd::mkfifo(&latch, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(facts.recall().floor, Recalled::Unreadable);
    assert_eq!(facts.recall().latch, Recalled::Unreadable);
    assert!(RealFs.open_read(&latch).is_err(), "nobody waits for a pipe's writer");
}

/// More parts than one call of the kernel takes, some of them empty.
#[test]
fn parts_are_written_one_behind_the_other_from_an_offset_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("parts");
    let parts: Vec<Vec<u8>> = (0..200_usize).map(|n| vec![u8::try_from(n).unwrap(); n % 7]).collect();
    let borrowed: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let file = RealFs.create_new(&path).unwrap();
    RealFs.write_at(&file, 0, b"front").unwrap();

    RealFs.write_parts(&file, 5, &borrowed).unwrap();

    assert_eq!(std::fs::read(&path).unwrap(), [b"front".to_vec(), parts.concat()].concat());
}

/// The thread over a real directory.
#[test]
fn the_thread_takes_commands_first_and_leaves_order_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Options::default().setup("boot-one");
    setup.state_dir = dir.path().to_path_buf();
    let live = LiveEpoch::new();
    let clock = || -> spool::ClockReading {
        Box::new(|| (Now { mono: Mono(0), system: Utc(OFFSET), synchronised: true }, Clock::Trusted))
    };
    let (spool, segments) = spool::open(Arc::new(RealFs), setup.clone(), live.clone(), clock()).unwrap();
    assert!(segments.is_empty());
    let (captured, source) = crossbeam_channel::bounded(64);
    let (commands, orders) = crossbeam_channel::bounded(64);
    let (told, heard) = crossbeam_channel::unbounded();
    let thread = std::thread::spawn(move || {
        spool.run(source, orders, Box::new(move |input| told.send(input).unwrap()));
    });
    let wait = patient(Duration::from_secs(20));
    let init = tiny_mp4::init(64);
    let chunk = |epoch, fragment, chunk| {
        let start = u64::from(fragment * 2 + chunk) * CHUNK + 1_000_000_000;
        let sequence = fragment * 2 + chunk + 1;
        let tiny = Tiny {
            epoch,
            init: Arc::clone(&init),
            fragment,
            chunk,
            of: 2,
            sequence,
            start,
            size: 700,
            zeros: 0,
        };
        Captured::Chunk(tiny.build())
    };

    live.allow(Epoch(1));
    for fragment in 0..3 {
        captured.send(chunk(Epoch(1), fragment, 0)).unwrap();
        captured.send(chunk(Epoch(1), fragment, 1)).unwrap();
    }
    let (done, drained) = crossbeam_channel::bounded(1);
    commands.send(Command::Drain { done }).unwrap();
    drained.recv_timeout(wait).unwrap();
    captured.send(chunk(Epoch(1), 3, 0)).unwrap();
    let (done, ended) = crossbeam_channel::bounded(1);
    commands.send(Command::Shutdown { done }).unwrap();
    ended.recv_timeout(wait).unwrap();
    thread.join().unwrap();

    let inputs: Vec<Input> = heard.try_iter().collect();
    let sum = |count: fn(&Input) -> u32| inputs.iter().map(count).sum::<u32>();
    let arrived = sum(|input| if let Input::Arrived { frames } = input { *frames } else { 0 });
    let committed = sum(|input| if let Input::Committed { frames, .. } = input { *frames } else { 0 });
    assert_eq!((arrived, committed), (14, 14));
    let (_, segments) = spool::open(Arc::new(RealFs), setup.clone(), live, clock()).unwrap();
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[2].content, Content::End { reason: SpanEnd::Shutdown });
    let name = SpoolName { serial: segments[0].serial, kind: SpoolKind::Sealed }.to_string();
    let meta = std::fs::metadata(setup.dir().join(name)).unwrap();
    assert_eq!((meta.permissions().mode() & 0o777, meta.len()), (0o600, segments[0].bytes));
    let bytes =
        read_sealed(&Encryption::none(), Arc::new(RealFs), &setup.dir(), segments[0].serial, 1_000_000)
            .unwrap();
    assert_eq!(tiny_mp4::labels(&bytes), [(0, 0), (0, 1), (1, 0), (1, 1)]);
}

#[test]
fn a_process_that_dies_leaves_a_span_that_ends_by_power() {
    let (fs, mut rig) = rig(Options::default());
    rig.allow();
    rig.fragments(3);
    rig.chunk(0);

    let second = restart_and_check(&fs.after(Cut::KeepsAll), "boot-two", &rig.ledger, Options::default());

    assert_eq!(second.footage().len(), 2);
    assert_eq!(second.ends()[0].content, Content::End { reason: SpanEnd::Power });
    assert!(fs.peek(&in_spool("0000000003.open")).is_none());
}

#[test]
fn without_a_durable_serial_nothing_is_recorded() {
    let fs = FaultFs::healthy();
    // The directory of the facts cannot be created.
    fs.put(&state_dir().join("state"), b"");
    let mut rig = Rig::open(&fs, "boot-one", Options::default());
    rig.allow();
    rig.fragments(2);

    assert!(rig.ledger.committed.is_empty());
    assert!(rig.ledger.failures > 0);
    assert!(fs.names(&spool_dir()).is_empty());
    rig.ledger.assert_balanced();
}
