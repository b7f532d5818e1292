//! A segment is cut back to what was captured before the owner forbade it: to whole fragments, even if the
//! disk fails.

use crate::support::fault_fs::{Cut, FaultFs, Mutant, Plan};
use crate::support::spool_model::{Options, Rig, held, spool_dir};
use crate::support::tiny_mp4::{CHUNK, labels};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::Input;
use kasacam::domain::recovery::end_of;
use kasacam::domain::segment::{Content, Segment, Serial};
use kasacam::spool::{Command, Durability};
use std::time::Duration;

const FRAGMENTS: u32 = 4;
const CHUNKS: u32 = 2;

fn options(encrypt: bool, durability: Durability) -> Options {
    Options { durability, chunks: CHUNKS, segment: 100 * CHUNK, encrypt, ..Options::default() }
}

/// A spool with one segment of four fragments and its end.
fn recorded(fs: &FaultFs, options: Options) -> (Rig, Serial, Segment) {
    let mut rig = Rig::open(fs, "boot-one", options);
    rig.allow();
    rig.fragments(FRAGMENTS);
    rig.end(SpanEnd::Privacy);
    let (footage, ends) = (rig.footage(), rig.ends());
    assert_eq!((footage.len(), ends.len()), (1, 1));
    (rig, footage[0].serial, ends[0].clone())
}

fn cut(rig: &mut Rig, serial: Serial, keep: u64) -> Option<Option<Segment>> {
    rig.spool.obey(Command::CutBack { serial, keep: Duration::from_nanos(keep) });
    let reports = rig.spool.take_reports();
    reports.into_iter().find_map(|input| match input {
        Input::Cut { serial: cut, left } if cut == serial => Some(left),
        _ => None,
    })
}

fn chunks_within(keep: u64) -> usize {
    ((keep / (u64::from(CHUNKS) * CHUNK)).min(u64::from(FRAGMENTS)) * u64::from(CHUNKS)) as usize
}

#[test]
fn what_is_left_is_the_whole_fragments_that_end_in_time_and_nothing_else_is_on_the_disk() {
    for (encrypt, durability) in [
        (false, Durability::Fragment),
        (false, Durability::Chunk),
        (true, Durability::Segment),
        (true, Durability::Chunk),
    ] {
        for half in 0..=2 * FRAGMENTS * CHUNKS + 1 {
            let keep = u64::from(half) * CHUNK / 2;
            let fs = FaultFs::healthy();
            let (mut rig, serial, _) = recorded(&fs, options(encrypt, durability));
            let all = held(&fs)[&serial].clone();

            let left = cut(&mut rig, serial, keep).expect("it answers");

            let within = chunks_within(keep);
            let what = format!("{half} half chunks, encrypted {encrypt}, {durability:?}");
            match &left {
                None => assert_eq!(within, 0, "{what}"),
                Some(segment) => {
                    assert_eq!(held(&fs)[&serial], all[..within], "{what}");
                    let Content::Footage { duration, .. } = segment.content else { panic!("{what}") };
                    assert_eq!(duration, within as u64 * CHUNK, "{what}");
                    let path = spool_dir().join(format!("{serial}.mp4"));
                    let bytes = fs.peek(&path).unwrap();
                    assert_eq!(segment.bytes, bytes.len() as u64, "{what}");
                    if !encrypt {
                        assert_eq!(
                            labels(&bytes),
                            all[..within],
                            "{what}: bytes of the rest are in the file"
                        );
                    }
                    let after = Rig::open(&fs, "boot-two", options(encrypt, durability));
                    let found = after.footage();
                    let [found] = &found[..] else { panic!("{what}: {found:?}") };
                    if !encrypt {
                        assert_eq!(found, segment, "{what}: a start finds something else");
                    }
                    // The front of an encrypted one does not show its length.
                    let told = (found.serial, &found.record, found.bytes);
                    assert_eq!(told, (segment.serial, &segment.record, segment.bytes), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_call_leaves_the_segment_as_it_was_or_as_it_is_to_be() {
    let keep = 5 * CHUNK;
    for encrypt in [false, true] {
        let options = options(encrypt, Durability::Fragment);
        let fs = FaultFs::healthy();
        let (mut rig, serial, _) = recorded(&fs, options);
        let all = held(&fs)[&serial].clone();
        let before = fs.calls();
        cut(&mut rig, serial, keep).expect("it answers");
        let calls = fs.calls() - before;
        assert!(calls >= 6, "{calls} calls");
        for at in 1..=calls {
            for power in [Cut::LosesAll, Cut::KeepsAll, Cut::Torn(at)] {
                let fs = FaultFs::healthy();
                let (mut rig, serial, _) = recorded(&fs, options);
                fs.plan(Plan::Crash { at: fs.calls() + at });
                let answer = cut(&mut rig, serial, keep);
                let after = fs.after(power);
                let mut next = Rig::open(&after, "boot-two", options);
                let found = held(&after)[&serial].clone();
                let done = found == all[..4];
                assert!(done || found == all, "call {at}, {power:?}: {found:?}");
                assert!(done || answer.is_none(), "call {at}, {power:?}: told as cut, and it is not");
                // And it can be cut again.
                cut(&mut next, serial, keep).expect("it answers");
                assert_eq!(held(&after)[&serial], all[..4], "call {at}, {power:?}");
            }
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_call_is_tried_again_after_a_probe() {
    let options = options(false, Durability::Fragment);
    for at in 1..=8 {
        for errno in [libc::EIO, libc::ENOSPC] {
            let fs = FaultFs::new(Plan::Nothing, Mutant::None);
            let (mut rig, serial, _) = recorded(&fs, options);
            let all = held(&fs)[&serial].clone();
            fs.plan(Plan::Fail { from: fs.calls() + at, until: fs.calls() + at + 1, errno });
            let first = cut(&mut rig, serial, 5 * CHUNK);
            fs.plan(Plan::Nothing);
            if first.is_none() {
                rig.spool.obey(Command::Probe);
                rig.spool.take_reports();
            }
            assert_ne!(cut(&mut rig, serial, 5 * CHUNK), None, "call {at}, errno {errno}");
            assert_eq!(held(&fs)[&serial], all[..4], "call {at}, errno {errno}");
        }
    }
}

#[test]
fn of_a_file_that_cannot_be_understood_nothing_is_left() {
    let fs = FaultFs::healthy();
    let (mut rig, serial, _) = recorded(&fs, options(false, Durability::Fragment));
    let path = spool_dir().join(format!("{serial}.mp4"));
    let bytes = fs.peek(&path).unwrap();
    fs.put(&path, &bytes[..bytes.len() - 9]);
    assert_eq!(cut(&mut rig, serial, 7 * CHUNK), Some(None), "nobody can tell what of it is forbidden");
    assert_eq!(cut(&mut rig, Serial(9_999), CHUNK), Some(None), "nor is there anything of what is gone");
}

#[test]
fn the_end_of_a_span_is_moved_to_where_its_footage_ends() {
    for encrypt in [false, true] {
        let options = options(encrypt, Durability::Fragment);
        let fs = FaultFs::healthy();
        let (mut rig, serial, end) = recorded(&fs, options);
        let left = cut(&mut rig, serial, 5 * CHUNK).flatten().expect("two fragments are left");
        let record = end_of(&left.record, 4 * CHUNK);
        assert_ne!(record, end.record);
        rig.spool.obey(Command::MoveEnd {
            serial: end.serial,
            record: Box::new(record.clone()),
            reason: SpanEnd::Privacy,
        });
        let moved = rig.spool.take_reports().into_iter().find_map(|input| match input {
            Input::Cut { serial, left } if serial == end.serial => left,
            _ => None,
        });
        assert_eq!(moved.expect("it answers").record, record);
        let after = Rig::open(&fs, "boot-two", options);
        assert_eq!(after.ends()[0].record, record);
        crate::support::spool_model::assert_spans_are_told(&after);
    }
}
