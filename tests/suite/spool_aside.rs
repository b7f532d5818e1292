//! Files that cannot be sent as they are, and are not damaged: nothing removes them, and they are sent once
//! they can be.

use crate::support::fault_fs::{Access, Cut, FaultFs};
use crate::support::joined::{Joined, StoreIs};
use crate::support::rig::{Asked, allowed, noon};
use crate::support::spool_model::{KEY, Options, Rig, held, in_spool, read, spool_dir, state_dir};
use crate::support::tiny_mp4;
use kasacam::domain::aside::{Aside, AsideFigures};
use kasacam::domain::effect::{Event, Rule};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::{AsideFile, Input};
use kasacam::domain::segment::{Content, Segment, Serial, SpoolName};
use kasacam::domain::storage::Budget;
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::{self, Command, Encryption, LiveEpoch, Setup, Spool};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Every file of the spool, in quarantine or not.
fn files(fs: &FaultFs) -> BTreeMap<String, Vec<u8>> {
    let dirs = ["", "quarantine/", "ledger/"];
    let names = dirs.into_iter().flat_map(|dir| {
        fs.names(&in_spool(dir.trim_end_matches('/'))).into_iter().map(move |name| format!("{dir}{name}"))
    });
    names.filter_map(|name| fs.peek(&in_spool(&name)).map(|bytes| (name, bytes))).collect()
}

/// A start with other settings: what it found, and what it reported.
fn start(fs: &FaultFs, setup: Setup) -> (Spool, Vec<Segment>, Vec<Input>) {
    let clock = || (Now { mono: Mono(1), system: Utc(1), synchronised: false }, Clock::Unset);
    let (mut spool, found) = spool::open(fs.shared(), setup, LiveEpoch::new(), Box::new(clock)).unwrap();
    let reports = spool.take_reports();
    (spool, found, reports)
}

fn usage(reports: &[Input]) -> Usage {
    let usage = reports.iter().rev().find_map(|input| match input {
        Input::Usage(usage) => Some(*usage),
        _ => None,
    });
    usage.unwrap()
}

/// Two hundred segments and more, of a camera with a key.
fn many() -> (FaultFs, Rig) {
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", Options { encrypt: true, size: 40, ..Options::default() });
    for _ in 0..4 {
        rig.allow();
        rig.fragments(100);
        rig.end(SpanEnd::Source);
    }
    assert_eq!((rig.footage().len(), rig.ends().len()), (200, 4));
    // And one that was still growing.
    rig.allow();
    rig.fragments(1);
    (fs, rig)
}

#[test]
fn a_start_with_a_wrong_key_or_a_wrong_device_id_takes_nothing_away() {
    let (before, rig) = many();
    let right = rig.options.setup("boot-three");
    let wrong = |device: &str, encryption: &Encryption| Setup {
        device: device.to_owned(),
        encryption: encryption.clone(),
        ..rig.options.setup("boot-two")
    };
    for (setup, why) in [
        (wrong("cam-0001", &Encryption::with([7; 32])), Aside::Key),
        (wrong("cam-0001", &Encryption::reading([7; 32])), Aside::Key),
        (wrong("cam-0001", &Encryption::none()), Aside::Key),
        (wrong("cam-0002", &Encryption::with(KEY)), Aside::Device),
    ] {
        let fs = before.after(Cut::KeepsAll);
        let as_it_was = files(&fs);
        assert_eq!(as_it_was.len(), 205);

        for _ in 0..2 {
            let (mut spool, found, reports) = start(&fs, setup.clone());
            assert!(found.is_empty(), "{why:?}: {found:?}");
            assert_eq!(files(&fs), as_it_was, "{why:?}");
            let usage = usage(&reports);
            assert_eq!((usage.set_aside.files, usage.set_aside.of(why)), (205, 205));
            assert_eq!((usage.files, usage.quarantined), (205, 0));
            assert_eq!(usage.bytes, as_it_was.values().map(|bytes| bytes.len() as u64).sum::<u64>());
            let told: Vec<_> =
                reports.iter().filter(|input| matches!(input, Input::SetAside { .. })).collect();
            assert!(matches!(told[..], [Input::SetAside { files: 205, .. }]), "{told:?}");
            // Nor later, when the disk is checked again.
            spool.obey(Command::Probe);
            spool.shut_down();
            assert_eq!(files(&fs), as_it_was, "{why:?}");
        }

        let (_, found, reports) = start(&fs, right.clone());
        assert_eq!(found.iter().filter(|segment| !segment.is_end()).count(), 201, "{why:?}");
        assert_eq!(found.iter().filter(|segment| segment.is_end()).count(), 5, "{why:?}");
        assert_eq!(usage(&reports).set_aside, AsideFigures::default());
        let labels: BTreeSet<_> = held(&fs).into_values().flatten().collect();
        assert_eq!(labels, rig.ledger.committed, "{why:?}");
    }
}

#[test]
fn a_camera_goes_on_recording_beside_what_is_set_aside_and_delivers_all_of_it_later() {
    let (fs, rig) = many();
    let mut setup = rig.options.setup("boot-two");
    setup.encryption = Encryption::with([7; 32]);
    let (spool, _, _) = start(&fs, setup);
    drop(spool);

    // With another key, like a camera that was set up again.
    let mut other = Rig::open(&fs, "boot-two", Options { encrypt: false, ..rig.options });
    other.fragment = 10_000;
    other.allow();
    other.fragments(6);
    other.end(SpanEnd::Shutdown);
    other.ledger.assert_balanced();
    assert_eq!((other.footage().len(), other.ends().len()), (3, 1));
    assert!(other.footage()[0].serial > rig.footage()[199].serial, "a number was given out twice");

    let last = Rig::open(&fs, "boot-three", rig.options);
    let labels: BTreeSet<_> = held(&fs).into_values().flatten().collect();
    let all: BTreeSet<_> = rig.ledger.committed.union(&other.ledger.committed).copied().collect();
    assert_eq!(labels, all);
    assert_eq!((last.footage().len(), last.ends().len()), (204, 6));
}

/// The files of a fixture, on a disk.
fn fixture(name: &str) -> FaultFs {
    let fs = FaultFs::healthy();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let mut count = 0;
    for (part, to) in
        [("spool", spool_dir()), ("spool/ledger", in_spool("ledger")), ("state", state_dir().join("state"))]
    {
        for entry in std::fs::read_dir(root.join(part)).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_file() {
                fs.put(&to.join(entry.file_name()), &std::fs::read(entry.path()).unwrap());
                count += 1;
            }
        }
    }
    assert!(count > 5, "{} holds {count} files", root.display());
    fs
}

#[test]
fn the_spool_of_the_last_release_is_delivered() {
    let fs = fixture("spool-0.1.0-encrypted");
    let mut setup = Options::default().setup("boot-two");
    setup.encryption = Encryption::with(KEY);
    let (_, found, reports) = start(&fs, setup);
    let usage = usage(&reports);
    assert_eq!((usage.set_aside.files, usage.quarantined), (0, 0), "{reports:?}");
    let footage: Vec<&Segment> = found.iter().filter(|segment| !segment.is_end()).collect();
    assert_eq!((footage.len(), found.len() - footage.len()), (12, 7));
    let mut chunks = 0;
    for segment in footage {
        chunks += tiny_mp4::labels(&read(&fs, segment.serial).unwrap()).len();
        assert_eq!((segment.record.device.as_str(), segment.record.history_hours), ("cam-0001", 720));
    }
    assert_eq!(chunks, (3 * 6 + 5) * 2);
}

/// How this release treats the made-up later one: see `README.md` beside the files.
const LEFT_ALONE: [&str; 8] = [
    "0000000004.mp4",
    "0000000005.mp4",
    "0000000006.end",
    "0000000007.end",
    "0000000008.idx",
    "0000000009.mp4",
    "0000000010.open",
    "ledger/head",
];

#[test]
fn what_a_later_release_left_is_delivered_where_it_can_be_read_and_else_left_alone() {
    let fs = fixture("spool-of-a-later-release");
    let as_it_was = files(&fs);
    let options = Options { encrypt: true, ..Options::default() };

    let mut rig = Rig::open(&fs, "boot-two", options);
    let found: BTreeSet<u64> = rig.ledger.sealed.keys().map(|serial| serial.0).collect();
    assert_eq!(found, BTreeSet::from([1, 2, 3]));
    assert_eq!(rig.ledger.quarantined, Vec::<String>::new());
    let figures = rig.ledger.usage.unwrap().set_aside;
    assert_eq!((figures.files, figures.format, figures.name), (8, 7, 1));
    assert_eq!(files(&fs), as_it_was, "a start changed something");
    for serial in [1, 2] {
        assert_eq!(read(&fs, Serial(serial)).unwrap(), as_it_was[&format!("{:010}.mp4", serial)]);
    }
    rig.fragment = 1_000;
    rig.allow();
    rig.fragments(4);
    rig.shut_down();
    assert!(rig.footage().iter().all(|segment| segment.serial.0 <= 2 || segment.serial.0 > 10));

    let now = Now { mono: Mono(1_000_000_000), system: noon(), synchronised: true };
    let mut joined = Joined::start_at(&fs, "boot-three", options, now, allowed());
    joined.store = StoreIs::Up;
    joined.pass(Duration::from_secs(600));
    assert!([1, 2, 3].into_iter().all(|serial| joined.gone.contains(&Serial(serial))), "{:?}", joined.gone);
    let left = files(&fs);
    for name in LEFT_ALONE {
        assert_eq!(left.get(name), as_it_was.get(name), "{name}");
    }
}

#[test]
fn members_of_a_later_release_stay_in_the_end_of_a_span_that_is_moved() {
    let fs = fixture("spool-of-a-later-release");
    let mut rig = Rig::open(&fs, "boot-two", Options::default());
    let Segment { serial, record, content, .. } = rig.ends()[0].clone();
    let Content::End { reason } = content else { unreachable!() };
    let moved = kasacam::domain::segment::Record { n: 1, ..record };

    rig.spool.obey(Command::MoveEnd { serial, record: Box::new(moved), reason });

    let text = String::from_utf8(fs.peek(&in_spool("0000000003.end")).unwrap()).unwrap();
    let json: serde_json::Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    assert_eq!(json["record"]["n"], 1);
    assert_eq!((&json["clips"], &json["record"]["zone"]), (&3.into(), &"porch".into()), "{json}");
    let (_, found, _) = start(&fs, Options::default().setup("boot-three"));
    assert_eq!(found.iter().find(|segment| segment.serial == serial).unwrap().record.n, 1);
}

#[test]
fn members_of_a_later_release_stay_in_an_end_that_is_written_for_its_segments() {
    let fs = fixture("spool-of-a-later-release");
    // The power cut removed the end of the span, and whatever came after its two segments.
    for name in fs.names(&spool_dir()) {
        if !["0000000001.mp4", "0000000002.mp4", "ledger"].contains(&name.as_str()) {
            fs.shared().unlink(&in_spool(&name)).unwrap();
        }
    }
    let rig = Rig::open(&fs, "boot-two", Options::default());
    let Segment { serial, record, content, .. } = rig.ends()[0].clone();
    assert!(matches!(content, Content::End { reason: SpanEnd::Power }), "{content:?}");
    let name = format!("{serial}.end");
    let text = String::from_utf8(fs.peek(&in_spool(&name)).unwrap()).unwrap();
    let json: serde_json::Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    assert_eq!(json["record"]["zone"], "porch", "{json}");
    assert_eq!(
        (&json["record"]["n"], &json["record"]["check"]),
        (&2.into(), &serde_json::Value::Null),
        "{json}"
    );
    let (_, found, _) = start(&fs, Options::default().setup("boot-three"));
    assert_eq!(found.iter().find(|segment| segment.serial == serial).unwrap().record, record);
}

#[test]
fn what_has_no_name_of_ours_is_left_alone() {
    let (fs, rig) = many();
    fs.put_link(&in_spool("link"));
    for name in
        ["core", "0000000001.mp4~", "notes.tmp", "18446744073709551615.mp4", "99999999999.end", "A\nB"]
    {
        fs.put(&in_spool(name), b"?");
    }
    let as_it_was = files(&fs);
    let rig = Rig::open(&fs, "boot-two", rig.options);
    assert_eq!(rig.ledger.usage.unwrap().set_aside.name, 7);
    for (name, bytes) in as_it_was.iter().filter(|(name, _)| SpoolName::parse(name).is_none()) {
        assert_eq!(fs.peek(&in_spool(name)).as_ref(), Some(bytes), "{name}");
    }
}

#[test]
fn no_name_uses_up_the_numbers_nor_takes_the_place_of_a_segment() {
    for name in ["18446744073709551615.mp4", "9999999999.mp4", "9999999999.open", "9999999998.idx"] {
        let (fs, rig) = many();
        let footage = rig.footage();
        fs.put(&in_spool(name), b"?");
        let as_it_was = held(&before(&fs));

        // Twice: the second start continues with what the first one reserves.
        for boot in ["boot-two", "boot-three"] {
            let mut rig = Rig::open(&fs, boot, rig.options);
            rig.fragment = 10_000 + fs.names(&spool_dir()).len() as u32;
            rig.allow();
            rig.fragments(6);
            rig.end(SpanEnd::Source);
            let new: Vec<Serial> = rig.footage().iter().map(|s| s.serial).filter(|s| s.0 > 1_000).collect();
            assert_eq!(rig.ledger.committed.len(), 12, "{name}");
            assert!(new.len() >= 3 && new.iter().all(|serial| serial.0 < 1_000_000_000), "{name}: {new:?}");
        }
        for segment in &footage {
            let labels = tiny_mp4::labels(&read(&fs, segment.serial).unwrap());
            assert_eq!(labels, as_it_was[&segment.serial], "{name}");
        }
    }
}

/// The same disk, in order.
fn before(fs: &FaultFs) -> FaultFs {
    let fs = fs.after(Cut::KeepsAll);
    let _ = Rig::open(&fs, "boot-order", Options { encrypt: true, ..Options::default() });
    let strange: Vec<_> =
        fs.names(&spool_dir()).into_iter().filter(|name| SpoolName::parse(name).is_none()).collect();
    strange.into_iter().for_each(|name| fs.shared().unlink(&in_spool(&name)).unwrap());
    fs
}

#[test]
fn two_segments_with_one_number_are_both_delivered() {
    let (fs, rig) = many();
    let [one, other] = [rig.footage()[0].clone(), rig.footage()[60].clone()];
    let bytes = fs.peek(&in_spool(&format!("{}.mp4", other.serial))).unwrap();
    let twin = in_spool(&format!("{}.open", one.serial));
    fs.put(&twin, &bytes);
    fs.shared().unlink(&in_spool(&format!("{}.mp4", other.serial))).unwrap();

    let second = Rig::open(&fs, "boot-two", rig.options);

    let labels: BTreeSet<_> = held(&fs).into_values().flatten().collect();
    assert_eq!(labels, rig.ledger.committed);
    assert_eq!(second.ledger.usage.unwrap().quarantined, 0);
    assert!(fs.peek(&twin).is_none());
}

#[test]
fn a_segment_is_never_sealed_over_another() {
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", Options::default());
    rig.allow();
    rig.fragments(1);
    let name = fs.names(&spool_dir()).into_iter().find(|name| name.ends_with(".open")).unwrap();
    // Something else created it while the segment grew.
    let stranger = in_spool(&name.replace(".open", ".mp4"));
    fs.put(&stranger, b"a stranger");
    rig.fragments(1);
    rig.end(SpanEnd::Source);
    assert_eq!(fs.peek(&stranger).unwrap(), b"a stranger", "it was replaced");
    rig.obey(Command::Probe);
    let second = Rig::open(&fs, "boot-two", Options::default());
    let labels: BTreeSet<_> = held(&fs).into_values().flatten().collect();
    assert_eq!(labels, rig.ledger.committed, "{:?}", second.ledger.quarantined);
}

/// A growing file was cut off, and a segment that the disk cannot read at the moment has its number.
#[test]
fn what_grew_is_not_sealed_over_a_segment_that_cannot_be_read() {
    let (fs, rig) = many();
    let [one, other] = [rig.footage()[0].clone(), rig.footage()[60].clone()];
    let (sealed, grew) = (format!("{}.mp4", one.serial), format!("{}.open", one.serial));
    let bytes = fs.peek(&in_spool(&format!("{}.mp4", other.serial))).unwrap();
    fs.put(&in_spool(&grew), &bytes);
    fs.shared().unlink(&in_spool(&format!("{}.mp4", other.serial))).unwrap();
    let as_it_was = fs.peek(&in_spool(&sealed)).unwrap();
    fs.fail_always(&in_spool(&sealed), Access::Read, libc::EIO);

    drop(Rig::open(&fs, "boot-two", rig.options));

    assert_eq!(fs.peek(&in_spool(&sealed)).unwrap(), as_it_was, "it was replaced");
    fs.heal(&in_spool(&sealed));
    drop(Rig::open(&fs, "boot-three", rig.options));
    let labels: BTreeSet<_> = held(&fs).into_values().flatten().collect();
    assert_eq!(labels, rig.ledger.committed);
}

const NOW: Now = Now { mono: Mono(1_000_000_000), system: Utc(0), synchronised: true };

#[test]
fn what_cannot_be_sent_makes_room_first_by_a_rule_with_a_name() {
    let (fs, rig) = many();
    for name in ["0000000900.mp4", "0000000901.mp4"] {
        fs.put(&in_spool(name), &[b'?'; 3_000]);
    }
    let room: u64 = files(&fs).values().map(|bytes| bytes.len() as u64).sum();
    let mut start = allowed();
    start.settings.budget = Budget { max_bytes: room + 4_000, min_free: 0, max_files: 1_000 };
    let now = Now { system: noon(), ..NOW };
    // Without its key.
    let mut joined =
        Joined::start_at(&fs, "boot-two", Options { size: 700, ..Options::default() }, now, start);
    let told =
        |joined: &Joined| joined.events.iter().filter(|e| matches!(e, Event::AsidePurged { .. })).count();
    assert_eq!(told(&joined), 0);
    joined.record(6);
    let purged: Vec<(String, &str, Rule)> = joined
        .events
        .iter()
        .filter_map(|event| match event {
            Event::AsidePurged { name, why, rule, .. } => Some((name.clone(), *why, *rule)),
            _ => None,
        })
        .collect();
    assert!(purged.len() > 4, "{purged:?}");
    for (name, why, rule) in &purged[..2] {
        assert!(name.starts_with("000000090") && (*why, *rule) == ("damaged", Rule::Evicted), "{purged:?}");
    }
    assert_eq!(purged[2], ("0000000001.mp4".to_owned(), "key", Rule::Evicted));
    let set_aside = purged.len() - 2;
    assert_eq!(joined.evicted(), 0, "footage that can be sent went before what cannot");
    let left = files(&fs).keys().filter(|name| name.as_str() < "0000000900").count();
    assert_eq!(left, 205 - set_aside);
    let bytes: u64 = files(&fs).values().map(|bytes| bytes.len() as u64).sum();
    assert!(bytes > room, "more went than was needed: {bytes} are left of {room}");
    assert!(joined.is_recording());
    drop(joined);
    let last = Rig::open(&fs, "boot-three", rig.options);
    assert!(last.footage().len() > 201 - set_aside, "what was left is not delivered");
}

#[test]
fn where_what_cannot_be_sent_cannot_go_either_footage_makes_room() {
    let mut rig = crate::support::rig::Rig::new(allowed());
    let set_aside = AsideFigures { files: 1, bytes: 50_000, key: 1, ..AsideFigures::default() };
    let full = Usage { bytes: 100_500, files: 5, free: Some(1_000_000), set_aside, ..Usage::default() };
    for serial in 1..=4 {
        let segment = crate::support::rig::segment(serial, rig.now);
        rig.give(Input::Sealed(segment));
    }
    rig.take();
    rig.give(Input::Usage(full));
    let asked = rig.take();
    assert!(asked.contains(&Asked::EvictAside), "{asked:?}");
    assert!(!asked.iter().any(|asked| matches!(asked, Asked::Forget(..))), "{asked:?}");
    rig.give(Input::AsideEvicted(None));
    let asked = rig.take();
    assert!(asked.iter().any(|asked| matches!(asked, Asked::Forget(_, Rule::Evicted))), "{asked:?}");
    assert!(!asked.contains(&Asked::EvictAside), "it is asked for ever: {asked:?}");
}

#[test]
fn an_event_tells_of_what_is_set_aside_once_for_each_reason() {
    let mut rig = crate::support::rig::Rig::new(allowed());
    rig.give(Input::SetAside { why: Aside::Key, files: 12, name: "0000000001.mp4".to_owned() });
    let told = Event::SetAside { why: "key", files: 12, name: "0000000001.mp4".to_owned() };
    assert!(rig.events.contains(&told));
    let file = AsideFile { name: "0000000001.mp4".to_owned(), why: None, bytes: 7 };
    rig.give(Input::AsideEvicted(Some(file)));
    assert!(rig.events.iter().any(|event| matches!(event, Event::AsidePurged { why: "damaged", .. })));
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"event": "set_aside", "why": "key", "files": 12, "name": "0000000001.mp4"})
    );
}
