//! Spools with any content: nothing in them prevents a start, and what is whole is kept.

use crate::support::budget::Budget;
use crate::support::dice::parameter;
use crate::support::fault_fs::{Coin, Cut, FaultFs, Plan};
use crate::support::figures::{at_least, figure};
use crate::support::spool_model::{Options, Rig, held, in_spool, read, read_sealed, spool_dir, state_dir};
use crate::support::tiny_mp4;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::segment::{Content, Segment, Serial, SpoolKind, SpoolName};
use kasacam::spool::{Command, Durability, Encryption, ReadError};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Three spans: seven segments of two fragments, and three ends.
fn recorded() -> (FaultFs, Rig) {
    recorded_with(Options::default())
}

fn recorded_with(options: Options) -> (FaultFs, Rig) {
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", options);
    for (fragments, reason) in [(4, SpanEnd::Source), (4, SpanEnd::Format), (6, SpanEnd::Shutdown)] {
        rig.allow();
        rig.fragments(fragments);
        rig.end(reason);
    }
    assert_eq!((rig.footage().len(), rig.ends().len()), (7, 3));
    (fs, rig)
}

fn restart(fs: &FaultFs) -> Rig {
    Rig::open(fs, "boot-two", Options::default())
}

fn path_of(segment: &Segment) -> std::path::PathBuf {
    let kind = if segment.is_end() { SpoolKind::End } else { SpoolKind::Sealed };
    in_spool(&SpoolName { serial: segment.serial, kind }.to_string())
}

/// Damages one spool after the other; returns how many spools, and how many of their files in total.
fn damage_many(options: Options) -> (u64, u64) {
    let (fs, rig) = recorded_with(options);
    let mut rounds = Budget::new("KASACAM_DAMAGED", 300);
    let first = parameter("KASACAM_SEED", 0);
    let mut changed = 0;
    while rounds.again() {
        let seed = first + rounds.done - 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| damage_and_start(&fs, &rig, seed)));
        changed += outcome.unwrap_or_else(|_| panic!("with seed {seed}"));
    }
    at_least(100, "damaged spools", rounds.done);
    at_least(rounds.done / 2, "recorded files that were damaged", changed);
    (rounds.done, changed)
}

#[test]
fn no_damage_stops_a_start_nor_touches_what_is_whole() {
    let (rounds, changed) = damage_many(Options::default());
    figure(&format!(
        "{rounds} damaged spools, {changed} recorded files of them changed: none stops a start, nothing whole is lost"
    ));
}

#[test]
fn no_damage_to_an_encrypted_spool_stops_a_start_nor_touches_what_is_whole() {
    let (rounds, changed) = damage_many(Options { encrypt: true, ..Options::default() });
    figure(&format!(
        "{rounds} damaged encrypted spools, {changed} recorded files of them changed: none stops a start, nothing whole \
         is lost"
    ));
}

/// How many of the recorded files were damaged; some damage adds a file instead.
fn damage_and_start(fs: &FaultFs, rig: &Rig, seed: u64) -> u64 {
    let fs = fs.after(Cut::KeepsAll);
    let mut coin = Coin(seed);
    let mut untouched: Vec<Segment> = rig.ledger.sealed.values().cloned().collect();
    let recorded = untouched.len();
    for _ in 0..1 + coin.below(4) {
        if let Some(name) = damage(&fs, &mut coin) {
            untouched.retain(|segment| path_of(segment) != in_spool(&name));
        }
    }
    let changed = (recorded - untouched.len()) as u64;

    let options = rig.options;
    let restart = |fs: &FaultFs| Rig::open(fs, "boot-two", options);
    let mut second = restart(&fs);
    for segment in second.footage() {
        // A start reads both ends: damage in between is found when the file is to be sent.
        if read(&fs, segment.serial).is_err() {
            assert!(!untouched.contains(&segment), "{segment:?} was whole");
            // What is whole of it may be sealed again, with its own serial.
            second.ledger.serials.remove(&segment.serial);
            second.obey(Command::Damaged { serial: segment.serial });
        }
    }

    let held = held(&fs);
    for segment in &untouched {
        let found = second.ledger.sealed.get(&segment.serial);
        assert_eq!(found, Some(segment), "an untouched file is not returned as it was");
    }
    for segment in second.footage() {
        let before = rig.ledger.sealed.get(&segment.serial);
        assert!(before.is_some_and(|before| !before.is_end()), "{segment:?} was never footage");
        // Whole fragments are two chunks and four. But a bit of the prft marks the end of one, and damage may
        // set it.
        assert!((1..=4).contains(&held[&segment.serial].len()), "{segment:?}");
    }
    // An encrypted one that was cut back is still taken to have its earlier length.
    let found = |rig: &Rig| -> Vec<Segment> {
        let found = rig.ledger.sealed.values().cloned();
        let unmeasured = |segment: Segment| match segment.content {
            Content::Footage { codecs, .. } if options.encrypt => {
                Segment { content: Content::Footage { duration: 0, codecs }, ..segment }
            }
            Content::Footage { .. } | Content::End { .. } => segment,
        };
        found.map(unmeasured).collect()
    };
    assert_eq!(found(&restart(&fs)), found(&second), "a second start finds something else");

    second.fragment = 10_000;
    second.allow();
    second.fragments(2);
    second.shut_down();
    second.ledger.assert_balanced();
    assert_eq!(second.ledger.committed.len(), 4, "it does not record");
    changed
}

/// Does one kind of damage, and returns which file of ours was affected.
fn damage(fs: &FaultFs, coin: &mut Coin) -> Option<String> {
    let names: Vec<String> =
        fs.names(&spool_dir()).into_iter().filter(|name| SpoolName::parse(name).is_some()).collect();
    let name = names[coin.below(names.len())].clone();
    let path = in_spool(&name);
    let mut bytes = fs.peek(&path).unwrap_or_default();
    let len = bytes.len();
    match coin.below(12) {
        0..=2 if len > 0 => {
            // Anywhere except in the frames, where a flipped bit is only an error in the image.
            let at = coin.below(len);
            bytes[at] ^= 1 << coin.below(8);
        }
        3 | 4 => bytes.truncate(coin.below(len)),
        5 => bytes.extend((0..coin.below(3_000)).map(|_| coin.draw() as u8)),
        6 if len > 0 => {
            let at = coin.below(len);
            let to = (at + 512).min(len);
            bytes[at..to].fill(0);
        }
        7 => bytes.iter_mut().for_each(|byte| *byte = coin.draw() as u8),
        8 => {
            // The same serial with another kind of name.
            let SpoolName { serial, .. } = SpoolName::parse(&name)?;
            let kind = [SpoolKind::Open, SpoolKind::Sealed, SpoolKind::End][coin.below(3)];
            let twin = SpoolName { serial, kind }.to_string();
            if twin == name || names.contains(&twin) {
                return None;
            }
            fs.put(&in_spool(&twin), &bytes[..coin.below(len)]);
            return None;
        }
        9 => {
            let odd =
                ["42.mp4", "core", "..mp4", "0000000001.mp4.tmp", "A\nB", "99999999999999999999.mp4", "-"];
            fs.put(&in_spool(odd[coin.below(odd.len())]), &bytes);
            return None;
        }
        10 => {
            fs.put_link(&in_spool(&format!("{:010}.mp4", 500 + coin.below(100))));
            fs.put_dir(&in_spool(&format!("{:010}.open", 700 + coin.below(100))));
            fs.put_dir(&in_spool("directory"));
            return None;
        }
        _ => {
            fs.put(&state_dir().join("state/serial"), &bytes[..coin.below(len.min(200))]);
            return None;
        }
    }
    fs.put(&path, &bytes);
    Some(name)
}

#[test]
fn a_sealed_segment_without_its_last_box_loses_nothing() {
    let (fs, rig) = recorded();
    let segment = rig.footage()[1].clone();
    let before = fs.peek(&path_of(&segment)).unwrap();
    fs.put(&path_of(&segment), &before[..before.len() - 9]);

    let second = restart(&fs);

    assert_eq!(second.ledger.sealed, rig.ledger.sealed);
    assert_eq!(fs.peek(&path_of(&segment)).unwrap(), before);
}

#[test]
fn a_sealed_segment_damaged_in_the_middle_keeps_its_whole_fragments() {
    let (fs, rig) = recorded();
    let segment = rig.footage()[1].clone();
    let mut bytes = fs.peek(&path_of(&segment)).unwrap();
    let last = tiny_mp4::label(3, 1);
    let at = bytes.windows(last.len()).position(|part| part == last.as_bytes()).unwrap();
    // The header of its mdat.
    bytes[at - 9..at - 5].fill(0xff);
    fs.put(&path_of(&segment), &bytes);

    let mut second = restart(&fs);
    assert!(matches!(read(&fs, segment.serial), Err(ReadError::Damaged(_))), "it is sent as it is");
    second.ledger.serials.remove(&segment.serial);
    second.obey(Command::Damaged { serial: segment.serial });

    assert_eq!(held(&fs)[&segment.serial], [(2, 0), (2, 1)]);
    let salvaged = &second.ledger.sealed[&segment.serial];
    assert_eq!(salvaged.record, segment.record);
    let expected = 2 * tiny_mp4::CHUNK;
    assert!(
        matches!(salvaged.content, Content::Footage { duration, .. } if duration == expected),
        "{salvaged:?}"
    );
}

#[test]
fn the_quarantine_is_bounded_and_throws_the_oldest_away() {
    let (fs, _) = recorded();
    for number in 0..100 {
        fs.put(&in_spool(&format!("{:010}.mp4", 500 + number)), b"?");
    }

    let rig = restart(&fs);

    let names = fs.names(&in_spool("quarantine"));
    assert_eq!(names.len(), 32, "{names:?}");
    assert_eq!(rig.ledger.usage.unwrap().quarantined, 32);
}

#[test]
fn a_file_that_stands_where_the_quarantine_belongs_is_moved_aside() {
    let fs = FaultFs::healthy();
    fs.shared().mkdir(&spool_dir()).unwrap();
    fs.put_link(&in_spool("quarantine"));
    fs.put(&in_spool("garbage"), b"?");

    let rig = restart(&fs);

    assert_eq!(rig.ledger.failures, 0);
    assert_eq!(fs.names(&spool_dir()), ["garbage", "quarantine.foreign"]);
    assert_eq!(rig.ledger.usage.unwrap().set_aside.name, 2);
}

#[test]
fn a_segment_that_the_disk_refuses_to_read_stays_where_it_is() {
    let (fs, rig) = recorded();
    let healthy = fs.after(Cut::KeepsAll);
    let opened = {
        let _ = restart(&healthy);
        healthy.calls()
    };
    for from in 1..=opened {
        let fs = fs.after(Cut::KeepsAll);
        fs.plan(Plan::Fail { from, until: from + 1, errno: libc::EIO });
        let _ = restart(&fs);
        fs.plan(Plan::Nothing);
        let third = restart(&fs);
        assert_eq!(third.ledger.sealed, rig.ledger.sealed, "an error at call {from} moved something");
    }
}

#[test]
fn a_segment_found_damaged_when_it_is_to_be_sent_is_salvaged() {
    let (fs, mut rig) = recorded();
    let segment = rig.footage()[0].clone();
    let mut bytes = fs.peek(&path_of(&segment)).unwrap();
    let len = bytes.len();
    bytes[len - 20] ^= 0x10;
    fs.put(&path_of(&segment), &bytes);

    let read = read_sealed(&Encryption::none(), fs.shared(), &spool_dir(), segment.serial, 0);
    assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
    rig.ledger.serials.remove(&segment.serial);
    rig.obey(Command::Damaged { serial: segment.serial });

    assert_eq!(rig.ledger.sealed.get(&segment.serial), Some(&segment));
    assert!(read_sealed(&Encryption::none(), fs.shared(), &spool_dir(), segment.serial, 0).is_ok());
}

#[test]
fn a_segment_that_was_forgotten_is_gone_when_it_is_to_be_sent() {
    let (fs, _) = recorded();
    let read = read_sealed(&Encryption::none(), fs.shared(), &spool_dir(), Serial(999), 0);
    assert!(matches!(read, Err(ReadError::Gone)), "{read:?}");
}

/// Zeros of a sector that was never written, and zeros that an encoder writes, look alike.
#[test]
fn an_encoder_that_leaves_zeros_loses_nothing_that_was_synced() {
    for durability in [Durability::Fragment, Durability::Chunk] {
        for (zeros, encrypt) in [(1, false), (90, false), (700, false), (700, true)] {
            let fs = FaultFs::healthy();
            let options =
                Options { durability, zeros, encrypt, segment: 60_000_000_000, ..Options::default() };
            let mut rig = Rig::open(&fs, "boot-one", options);
            rig.allow();
            rig.fragments(20);
            // The last fragment is under way when the power is cut.
            rig.chunk(0);
            let committed = rig.ledger.committed.len();
            assert!(committed >= 40, "{committed}");
            let after = fs.after(Cut::LosesAll);
            let second = Rig::open(&after, "boot-two", options);
            let labels: usize = held(&after).values().map(Vec::len).sum();
            // Only for the last fragment this cannot be told, if more than the rest of a sector is zero.
            let last = if zeros >= 90 && !encrypt { options.chunks as usize } else { 0 };
            assert!(labels >= 40 - last, "{durability:?}, {zeros} zeros: {labels} of {committed} are left");
            assert_eq!(second.ends().len(), 1);
        }
    }
}

#[test]
fn a_file_of_which_nothing_was_synced_is_doubted_from_its_front_whatever_the_setting_is_now() {
    let fs = FaultFs::healthy();
    let options = Options { durability: Durability::Segment, segment: 60_000_000_000, ..Options::default() };
    let mut rig = Rig::open(&fs, "boot-one", options);
    rig.allow();
    rig.fragments(6);
    let name = fs.names(&spool_dir()).pop().unwrap();
    assert!(name.ends_with(".open"), "{name}");
    let mut bytes = fs.peek(&in_spool(&name)).unwrap();
    let third = tiny_mp4::label(2, 0);
    let at = bytes.windows(third.len()).position(|part| part == third.as_bytes()).unwrap();
    let sector = (at / 512 + 1) * 512;
    bytes[sector..sector + 512].fill(0);
    fs.put(&in_spool(&name), &bytes);

    let second = Rig::open(&fs, "boot-two", Options { durability: Durability::Fragment, ..options });

    let labels: Vec<_> = held(&fs).into_values().flatten().collect();
    assert_eq!(labels, [(0, 0), (0, 1), (1, 0), (1, 1)], "{:?}", second.ledger.quarantined);
}
