//! The privacy journal: a power cut loses nothing in it, and every change is detected.

use crate::support::fault_fs::{Coin, Cut, FaultFs, Mutant, Plan};
use kasacam::disk::Fs;
use kasacam::disk::journal::{Journal, whole};
use kasacam::domain::journal::{Head, Missing, What, verify};
use kasacam::domain::segment::RecordClock;
use kasacam::domain::time::Utc;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

const STATE: &str = "/var/lib/kasacam";
/// Room for three or four lines, so that a few lines cause every change of files.
const ROOM: u64 = 1_000;

fn state() -> &'static Path {
    Path::new(STATE)
}

fn file(name: &str) -> std::path::PathBuf {
    state().join("journal").join(name)
}

fn open(fs: &FaultFs) -> std::io::Result<Journal> {
    Journal::with_room(fs.shared(), state(), ROOM)
}

fn note(journal: &mut Journal, what: What) -> std::io::Result<()> {
    journal.append(Utc(1_795_435_200_000_000_000), RecordClock::Trusted, what)
}

fn opened(choice: u64) -> What {
    What::Opened { audio: true, lines: 1080, choice: Some(choice), lease: Some(1) }
}

fn closed() -> What {
    What::Closed { reason: String::from("privacy") }
}

/// A camera that opens and closes; returns the head of the last line that was acknowledged as written.
fn life(fs: &FaultFs, lines: u64) -> Head {
    let Ok(mut journal) = open(fs) else { return Head::default() };
    let mut known = journal.head();
    for n in 1..=lines {
        let what = if n % 2 == 1 { opened(n) } else { closed() };
        if note(&mut journal, what).is_ok() {
            known = journal.head();
        }
    }
    known
}

fn lines_of(fs: &FaultFs) -> Vec<Vec<u8>> {
    let bytes = whole(&*fs.shared(), state()).unwrap();
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn a_journal_tells_when_the_camera_was_open_and_why() {
    let fs = FaultFs::healthy();
    let mut journal = open(&fs).unwrap();
    note(&mut journal, What::Started { version: String::from("0.1.0") }).unwrap();
    note(&mut journal, opened(3)).unwrap();
    assert!(open(&fs).unwrap().ends_open());
    note(&mut journal, What::Choice { version: Some(4), do_not_record: true, latch: false }).unwrap();
    assert!(open(&fs).unwrap().ends_open());
    note(&mut journal, closed()).unwrap();
    assert!(!open(&fs).unwrap().ends_open());

    let found = verify(&whole(&*fs.shared(), state()).unwrap());

    assert_eq!(found.broken, None);
    assert_eq!(found.head, journal.head());
    assert_eq!(found.entries.iter().map(|entry| entry.n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(found.entries[1].what, opened(3));
}

#[test]
fn a_power_cut_at_any_call_loses_no_line_that_was_written() {
    let fs = FaultFs::healthy();
    life(&fs, 12);
    let calls = fs.calls();
    assert!(calls > 30 && fs.peek(&file("privacy.log.1")).is_some(), "{calls} calls, or no change of files");
    for at in 1..=calls + 1 {
        for cut in
            [Cut::LosesAll, Cut::KeepsAll, Cut::Torn(at), Cut::Torn(at + 7_000), Cut::Torn(at + 77_000)]
        {
            let fs = FaultFs::new(Plan::Crash { at }, Mutant::None);
            let known = life(&fs, 12);
            let after = fs.after(cut);

            let mut journal = open(&after).unwrap();

            let n = journal.head().n;
            // The line being written and, if the file was full, the one with which the next begins.
            assert!((known.n..=known.n + 2).contains(&n), "{n} lines of {known:?}: call {at}, {cut:?}");
            assert!(
                n != known.n || journal.head() == known || n == 0,
                "another line {n}: call {at}, {cut:?}"
            );
            let is_open = journal.ends_open();
            note(&mut journal, What::CutOff).unwrap();
            let found = verify(&whole(&*after.shared(), state()).unwrap());
            assert!(found.is_whole(), "{found:?}: call {at}, {cut:?}");
            assert!((n + 1..=n + 2).contains(&found.head.n), "call {at}, {cut:?}");
            let before = found.entries.iter().rev().skip(1).find_map(|entry| entry.what.opens());
            assert_eq!(is_open, before.unwrap_or(false), "call {at}, {cut:?}");
        }
    }
}

#[test]
fn the_test_notices_a_sync_that_does_nothing() {
    let fs = FaultFs::new(Plan::Nothing, Mutant::SyncDoesNothing);
    let known = life(&fs, 12);
    let after = fs.after(Cut::LosesAll);
    assert_ne!(open(&after).map(|journal| journal.head().n).unwrap_or(0), known.n);
}

#[test]
fn a_disk_that_fails_at_any_call_leaves_a_chain_that_holds() {
    let fs = FaultFs::healthy();
    life(&fs, 12);
    for at in 1..=fs.calls() {
        for errno in [libc::EIO, libc::ENOSPC, libc::EROFS] {
            let fs = FaultFs::new(Plan::Fail { from: at, until: at + 2, errno }, Mutant::None);
            life(&fs, 12);
            fs.plan(Plan::Nothing);
            let mut journal = open(&fs).unwrap();
            note(&mut journal, closed()).unwrap();
            let found = verify(&whole(&*fs.shared(), state()).unwrap());
            assert!(found.is_whole(), "{found:?}: call {at}, errno {errno}");
        }
    }
}

#[test]
fn a_bit_that_is_flipped_anywhere_is_found() {
    let fs = FaultFs::healthy();
    let known = life(&fs, 5);
    let bytes = whole(&*fs.shared(), state()).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let found = verify(&changed);
        assert!(!found.is_whole() || found.head != known, "byte {at} of {}", bytes.len());
    }
}

#[test]
fn a_line_that_is_removed_moved_or_repeated_is_found() {
    let fs = FaultFs::healthy();
    let known = life(&fs, 6);
    let lines = lines_of(&fs);
    assert!(lines.len() > 4);
    let mut coin = Coin(7);
    for _ in 0..500 {
        let mut changed = lines.clone();
        let at = coin.below(changed.len());
        match coin.below(3) {
            0 => drop(changed.remove(at)),
            1 => changed.insert(at, lines[coin.below(lines.len())].clone()),
            _ => changed.swap(at, (at + 1) % lines.len()),
        }
        let found = verify(&changed.concat());
        assert!(!found.is_whole() || found.head != known, "{changed:?}");
    }
}

#[test]
fn a_journal_that_is_cut_from_the_front_names_the_lines_that_are_missing() {
    // Of one file, of two, and of two after older ones were removed.
    for life_of in [3, 6, 40] {
        let fs = FaultFs::healthy();
        life(&fs, life_of);
        let lines = lines_of(&fs);
        let whole = verify(&lines.concat());
        assert!(whole.is_whole(), "{whole:?}");
        let first = whole.entries[0].n;
        for gone in 1..lines.len() {
            let found = verify(&lines[gone..].concat());
            let last = first + gone as u64 - 1;
            // Detected by the line that says where the journal begins, as long as it is there; otherwise by
            // the number of the first.
            let told = found.missing[..] == [Missing::Front { first, last }]
                || found.missing[..] == [Missing::Front { first: 1, last }];
            assert!(told, "{gone} of {} lines: {:?}", lines.len(), found.missing);
        }
    }
}

#[test]
fn a_file_that_is_removed_or_emptied_is_found_also_by_the_next_start() {
    type Damage = fn(&FaultFs);
    let damage: [(&str, Damage); 4] = [
        ("the older file is gone", |fs| fs.shared().unlink(&file("privacy.log.1")).unwrap()),
        ("the newer file is gone", |fs| fs.shared().unlink(&file("privacy.log")).unwrap()),
        ("the newer file is empty", |fs| fs.put(&file("privacy.log"), b"")),
        ("both are gone", |fs| {
            fs.shared().unlink(&file("privacy.log")).unwrap();
            fs.shared().unlink(&file("privacy.log.1")).unwrap();
        }),
    ];
    for (what, damage) in damage {
        let fs = FaultFs::healthy();
        life(&fs, 8);
        // As on a camera that has a journal.
        fs.shared().mkdir(&state().join("state")).unwrap();
        fs.put(&state().join("state/latch"), b"open");
        damage(&fs);
        let mut journal = open(&fs).unwrap();
        note(&mut journal, closed()).unwrap();
        let found = verify(&whole(&*fs.shared(), state()).unwrap());
        assert!(!found.is_whole(), "{what}: {found:?}");
    }
    assert_eq!(verify(b"").missing, [Missing::All]);
}

#[test]
fn lines_that_were_lost_are_said_to_be() {
    let fs = FaultFs::healthy();
    let mut journal = open(&fs).unwrap();
    note(&mut journal, opened(1)).unwrap();
    note(&mut journal, What::Lost { lines: 3 }).unwrap();
    let found = verify(&whole(&*fs.shared(), state()).unwrap());
    assert_eq!((found.broken, &found.missing[..]), (None, &[Missing::Lost { before: 2, lines: 3 }][..]));
    assert!(!found.is_whole());
}

#[test]
fn a_camera_that_stays_open_over_a_change_of_files_is_known_to_be_open() {
    let fs = FaultFs::healthy();
    let mut journal = open(&fs).unwrap();
    note(&mut journal, opened(1)).unwrap();
    while fs.peek(&file("privacy.log.1")).is_none() {
        note(&mut journal, What::Choice { version: Some(1), do_not_record: false, latch: false }).unwrap();
    }
    assert!(open(&fs).unwrap().ends_open());
}

#[test]
fn a_journal_takes_a_bounded_place() {
    let fs = FaultFs::healthy();
    life(&fs, 2_000);
    let sizes = ["privacy.log", "privacy.log.1"].map(|name| fs.peek(&file(name)).unwrap().len() as u64);
    assert!(sizes.iter().all(|size| *size <= ROOM), "{sizes:?}");
    assert_eq!(fs.names(&state().join("journal")).len(), 2);
    let found = verify(&whole(&*fs.shared(), state()).unwrap());
    assert!(found.is_whole() && found.head.n > 2_000, "{:?}", found.missing);
}

#[test]
fn a_journal_that_cannot_be_continued_is_laid_aside_and_said_to_be() {
    for garbage in [&b"not\na journal\n"[..], &[0; 5_000], &b"\n\n\n"[..]] {
        let fs = FaultFs::healthy();
        life(&fs, 3);
        fs.put(&file("privacy.log"), garbage);
        let started = catch_unwind(AssertUnwindSafe(|| {
            let mut journal = open(&fs).unwrap();
            note(&mut journal, closed()).unwrap();
        }));
        assert!(started.is_ok(), "{garbage:?}");
        let found = verify(&whole(&*fs.shared(), state()).unwrap());
        assert!(found.broken.is_some(), "{found:?}");
        assert!(fs.peek(&file("privacy.log.broken")).is_some());
    }
}

#[test]
fn a_journal_is_the_same_over_a_real_disk() {
    let dir = tempfile::TempDir::new().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(kasacam::disk::RealFs);
    for n in 1..=6 {
        let mut journal = Journal::with_room(Arc::clone(&fs), dir.path(), ROOM).unwrap();
        note(&mut journal, opened(n)).unwrap();
    }
    let found = verify(&whole(&*fs, dir.path()).unwrap());
    assert!(found.is_whole() && found.head.n >= 6, "{found:?}");
}
