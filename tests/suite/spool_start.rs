//! A start does not wait for the files of the spool: they are read in the background, the newest first.

use crate::support::dice::parameter;
use crate::support::fault_fs::{Access, Coin, Cut, FaultFs, Plan};
use crate::support::figures::{at_least, figure};
use crate::support::rig::{Asked, allowed, choice, segment};
use crate::support::spool_model::{Options, Rig, held, in_spool, restart_and_check, spool_dir};
use kasacam::domain::effect::Rule;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::Input;
use kasacam::domain::segment::{Segment, Serial};
use kasacam::domain::settings::UploadOrder;
use kasacam::domain::storage::Usage;
use kasacam::spool::Command;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Spans of an earlier process, and one that was cut off.
fn recorded(options: Options, spans: u32) -> (FaultFs, Rig) {
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", options);
    for _ in 0..spans {
        rig.allow();
        rig.fragments(6);
        rig.end(SpanEnd::Source);
    }
    rig.allow();
    rig.fragments(3);
    (fs, rig)
}

/// The files found, in order, and the last measured usage.
fn found(rig: &mut Rig) -> (Vec<Segment>, Option<Usage>) {
    let mut found = Vec::new();
    let mut usage = None;
    for input in rig.spool.take_reports() {
        match input {
            Input::Found(segments) => found.extend(segments),
            Input::Usage(measured) => usage = Some(measured),
            other => panic!("{other:?}"),
        }
    }
    (found, usage)
}

#[test]
fn a_start_looks_at_no_file_and_then_at_the_newest_first() {
    for encrypt in [false, true] {
        let options = Options { encrypt, ..Options::default() };
        let (before, known) = recorded(options, 100);
        let few = {
            let (fs, _) = recorded(options, 1);
            let fs = fs.after(Cut::LosesAll);
            let _ = Rig::begin(&fs, "boot-two", options);
            fs.calls()
        };
        let fs = before.after(Cut::LosesAll);
        let mut rig = Rig::begin(&fs, "boot-two", options);
        assert_eq!(fs.calls(), few, "a start takes the longer the more there is");
        assert!(rig.ledger.sealed.is_empty() && rig.ledger.usage.unwrap().is_scanning);

        let mut order = Vec::new();
        let mut last = rig.ledger.usage.unwrap();
        while rig.spool.is_scanning() {
            assert!(last.is_scanning);
            rig.spool.scan(8).unwrap();
            let (segments, usage) = found(&mut rig);
            order.extend(segments);
            last = usage.unwrap_or(last);
        }
        assert!(!last.is_scanning && last.quarantined == 0 && last.set_aside.files == 0, "{last:?}");
        let numbers: Vec<u64> = order.iter().map(|s| s.serial.0).filter(|n| *n <= 401 + 1).collect();
        assert!(numbers.is_sorted_by(|a, b| a > b), "{numbers:?}");
        // Everything that a start that scans at once finds, including the end of the span that was cut off.
        let again = Rig::open(&fs, "boot-two", options);
        let all: BTreeSet<Serial> = order.iter().map(|segment| segment.serial).collect();
        assert_eq!(all, again.ledger.sealed.keys().copied().collect());
        for segment in &order {
            assert_eq!(again.ledger.sealed.get(&segment.serial), Some(segment));
            if let Some(before) = known.ledger.sealed.get(&segment.serial) {
                assert_eq!(before, segment, "it is not known as it was sealed");
            }
        }
    }
}

#[test]
fn a_sealed_segment_is_known_by_two_reads() {
    for (encrypt, most) in [(false, 2), (true, 1)] {
        let options = Options { encrypt, ..Options::default() };
        let (before, known) = recorded(options, 100);
        let files = known.ledger.sealed.len() as u64;
        let fs = before.after(Cut::LosesAll);
        let mut rig = Rig::begin(&fs, "boot-two", options);
        while rig.spool.is_scanning() {
            rig.spool.scan(8).unwrap();
        }
        // The growing file is read completely, and the newest of the last span once more.
        let reads = fs.reads() - 100;
        assert!(reads <= files * most, "{reads} reads of {files} files, encrypted {encrypt}");
    }
}

#[test]
fn a_camera_records_and_lets_go_while_its_spool_comes_to_be_known() {
    let (before, known) = recorded(Options::default(), 30);
    let fs = before.after(Cut::LosesAll);
    let mut rig = Rig::begin(&fs, "boot-two", Options::default());
    rig.fragment = 10_000;
    rig.allow();
    rig.fragments(5);
    assert!(rig.ledger.committed.len() >= 8, "nothing is recorded before all is known");
    rig.scan(8);
    rig.fragments(4);
    // The end of a span stays while there may be more of the span.
    let end = rig.ends().into_iter().find(|end| end.record.boot == "boot-one").unwrap();
    let newest = rig.footage().into_iter().rev().find(|s| s.record.span == end.record.span).unwrap();
    rig.forget(newest.serial);
    rig.forget(end.serial);
    rig.end(SpanEnd::Source);
    while rig.spool.is_scanning() {
        rig.scan(8);
    }
    rig.ledger.assert_balanced();
    assert!(rig.ledger.sealed.contains_key(&end.serial), "the end has gone before what it ends");
    let mut all = known.ledger.clone();
    all.committed.extend(&rig.ledger.committed);
    all.forgotten.extend(&rig.ledger.forgotten);
    let last = restart_and_check(&fs, "boot-three", &all, Options::default());
    let spans: BTreeSet<String> = last.ends().into_iter().map(|end| end.record.span).collect();
    assert_eq!(spans.len(), 32);
}

/// Power cuts at random while a spool is being read and the camera records; then the same for the next start.
#[test]
fn a_power_cut_while_the_spool_comes_to_be_known_loses_nothing() {
    let first = parameter("KASACAM_SEED", 0);
    let (mut cuts, mut committed) = (0, 0);
    for seed in first..first + parameter("KASACAM_CUTS", 60) {
        let outcome = catch_unwind(AssertUnwindSafe(|| cut_while_scanning(seed)));
        committed += outcome.unwrap_or_else(|_| panic!("with seed {seed}"));
        cuts += 2;
    }
    at_least(60, "power cuts", cuts);
    figure(&format!(
        "{cuts} power cuts while a spool comes to be known: of {committed} chunks none was lost"
    ));
}

fn cut_while_scanning(seed: u64) -> u64 {
    let mut coin = Coin(seed);
    let options = Options { encrypt: coin.toss(), ..Options::default() };
    let (mut fs, mut rig) = recorded(options, 3);
    let mut ledger = rig.ledger.clone();
    for boot in ["boot-two", "boot-three"] {
        fs = fs.after([Cut::LosesAll, Cut::KeepsAll, Cut::Torn(coin.draw())][coin.below(3)]);
        fs.plan(Plan::Crash { at: 10 + coin.below(150) as u64 });
        rig = Rig::begin(&fs, boot, options);
        rig.fragment = if boot == "boot-two" { 10_000 } else { 20_000 };
        rig.allow();
        for _ in 0..40 {
            match coin.below(3) {
                0 => rig.scan(1 + coin.below(3)),
                1 => rig.fragments(1),
                _ => {
                    let footage = rig.footage();
                    if let (true, Some(oldest)) = (coin.toss(), footage.first()) {
                        rig.forget(oldest.serial);
                    }
                }
            }
            if fs.failures() > 0 {
                break;
            }
        }
        ledger.committed.extend(&rig.ledger.committed);
        ledger.forgotten.extend(&rig.ledger.forgotten);
        ledger.cut_short.extend(&rig.ledger.cut_short);
        fs.plan(Plan::Nothing);
    }
    let after = fs.after(Cut::LosesAll);
    restart_and_check(&after, "boot-four", &ledger, options);
    ledger.committed.len() as u64
}

#[test]
fn one_file_that_cannot_be_read_keeps_no_other_from_being_known() {
    let (before, _) = recorded(Options::default(), 10);
    let fs = before.after(Cut::LosesAll);
    let bad = in_spool(&fs.names(&spool_dir())[4]);
    fs.fail_always(&bad, Access::Read, libc::EIO);
    let mut rig = Rig::begin(&fs, "boot-two", Options::default());
    while rig.spool.is_scanning() {
        rig.scan(3);
    }
    assert_eq!(rig.ledger.failures, 0);
    assert_eq!(rig.ledger.sealed.len(), 10 * 4 + 3 - 1);
    fs.heal(&bad);
    rig.fragment = 10_000;
    rig.allow();
    rig.fragments(3);
    rig.end(SpanEnd::Source);
    assert_eq!(held(&fs).len(), 30 + 2 + 2);
}

/// Ten power cuts beside a file that cannot be read: each span still has its end.
#[test]
fn one_file_that_cannot_be_read_keeps_no_span_from_its_end() {
    let mut fs = FaultFs::healthy();
    let mut first = Rig::open(&fs, "boot-00", Options::default());
    first.allow();
    first.fragments(2);
    first.end(SpanEnd::Source);
    let bad = in_spool(&format!("{}.mp4", first.footage()[0].serial));
    for boot in 1..=10 {
        fs = fs.after(Cut::LosesAll);
        fs.fail_always(&bad, Access::Read, libc::EIO);
        let mut rig = Rig::open(&fs, &format!("boot-{boot:02}"), Options::default());
        rig.fragment = boot * 100;
        rig.allow();
        rig.fragments(3);
    }
    fs = fs.after(Cut::LosesAll);
    fs.fail_always(&bad, Access::Read, libc::EIO);
    let mut rig = Rig::open(&fs, "boot-11", Options::default());
    assert_eq!((rig.footage().len(), rig.ends().len()), (20, 11), "a span has no end");
    for segment in rig.footage().into_iter().chain(rig.ends()) {
        rig.obey(Command::Forget { serial: segment.serial });
    }
    assert_eq!(fs.names(&spool_dir()).len(), 1, "{:?}", fs.names(&spool_dir()));
}

/// The newest segment of a span was removed behind a growing file, and that file was lost.
#[test]
fn a_span_whose_last_file_is_lost_hinders_no_probe() {
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", Options::default());
    rig.allow();
    rig.fragments(3);
    let [only] = &rig.footage()[..] else { panic!("{:?}", rig.footage()) };
    rig.forget(only.serial);
    let growing = fs.names(&spool_dir()).into_iter().find(|name| name.ends_with(".open")).unwrap();
    assert_eq!(fs.names(&spool_dir()), std::slice::from_ref(&growing), "it was not forgotten");
    fs.plan(Plan::Fail { from: fs.calls() + 1, until: fs.calls() + 4, errno: libc::EIO });
    rig.fragments(1);
    fs.plan(Plan::Nothing);
    fs.shared().unlink(&in_spool(&growing)).unwrap();
    for _ in 0..2 {
        rig.obey(Command::Probe);
        assert_eq!(rig.ledger.probes.last(), Some(&true));
    }
    rig.allow();
    rig.fragments(4);
    rig.end(SpanEnd::Source);
    assert_eq!((rig.footage().len(), rig.ends().len()), (2, 1));
}

fn scanning(bytes: u64) -> Usage {
    Usage { bytes, files: 5, free: Some(1_000_000), is_scanning: true, ..Usage::default() }
}

#[test]
fn nothing_is_evicted_and_no_end_is_sent_before_all_is_known() {
    let mut rig = crate::support::rig::Rig::new(allowed());
    rig.give(Input::Usage(scanning(100_500)));
    let now = rig.now;
    let mut end = segment(9, now);
    end.content = kasacam::domain::segment::Content::End { reason: SpanEnd::Source };
    rig.give(Input::Found(vec![end]));
    rig.give(Input::StorageFailed { full: true, why: "no room".to_owned() });
    let asked = rig.take();
    assert!(!asked.iter().any(|asked| matches!(asked, Asked::Forget(..) | Asked::Upload(_))), "{asked:?}");
    rig.give(Input::StorageProbed { ok: true, full: false, away: false });
    rig.give(Input::Found((3..=6).map(|serial| segment(serial, now)).collect()));
    let asked = rig.take();
    assert!(asked.contains(&Asked::Upload(Serial(6))), "what is known is not sent: {asked:?}");
    assert!(!asked.iter().any(|asked| matches!(asked, Asked::Forget(..))), "{asked:?}");
    rig.give(Input::Usage(Usage { is_scanning: false, ..scanning(100_500) }));
    let asked = rig.take();
    assert!(asked.contains(&Asked::Forget(Serial(3), Rule::Evicted)), "{asked:?}");
}

#[test]
fn what_is_oldest_is_sent_first_once_all_is_known() {
    let mut start = allowed();
    start.settings.order = UploadOrder::Oldest;
    let mut rig = crate::support::rig::Rig::new(start);
    let now = rig.now;
    rig.give(Input::Usage(scanning(1_000)));
    rig.give(Input::Found((5..=6).map(|serial| segment(serial, now)).collect()));
    assert_eq!(rig.uploads(), 0);
    rig.give(Input::Found((3..=4).map(|serial| segment(serial, now)).collect()));
    rig.give(Input::Usage(Usage { is_scanning: false, ..scanning(1_000) }));
    let asked = rig.take();
    assert!(asked.contains(&Asked::Upload(Serial(3))), "{asked:?}");
}

/// A power cut would leave forbidden footage, and the prohibition would be forgotten.
#[test]
fn a_permission_replaces_a_prohibition_only_once_all_is_known() {
    let kept = |asked: &[Asked]| {
        asked.iter().any(|asked| matches!(asked, Asked::Keep(kasacam::domain::effect::Fact::Privacy { .. })))
    };
    let mut start = allowed();
    start.privacy = kasacam::domain::privacy::Recalled::Is(choice(1, true));
    start.spool = Ok((Vec::new(), scanning(1_000)));
    let mut rig = crate::support::rig::Rig::new(start);
    rig.take();
    rig.privacy(2, false);
    assert!(!kept(&rig.take()), "a permission is written while forbidden footage may still be found");
    let now = rig.now;
    rig.give(Input::Found(vec![segment(3, now)]));
    rig.give(Input::Usage(Usage { is_scanning: false, ..scanning(1_000) }));
    assert!(kept(&rig.take()));
}
