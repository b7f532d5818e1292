//! What is left of the facts when the disk fails, and how missing facts are treated: never as a permission
//! that the owner has withdrawn.

use crate::support::fault_fs::{Cut, FaultFs, Mutant, Plan};
use crate::support::spool_model::state_dir;
use kasacam::disk::StoredFacts;
use kasacam::disk::facts::Name;
use kasacam::domain::effect::Fact;
use kasacam::domain::offset::Offsets;
use kasacam::domain::privacy::Recalled;
use kasacam::domain::time::Utc;
use std::path::Path;

const RECORD: &str = "record";
const FORBID: &str = "forbid";

fn choice(version: u64, jws: &str) -> Fact {
    Fact::Privacy { version, jws: jws.to_owned() }
}

fn facts(fs: &FaultFs) -> StoredFacts {
    StoredFacts::new(fs.shared(), &state_dir())
}

/// A camera that may record, and knows it.
fn allowed(fs: &FaultFs) -> StoredFacts {
    let facts = facts(fs);
    facts.keep(&Fact::Latch(false)).unwrap();
    facts.keep(&choice(1, RECORD)).unwrap();
    facts
}

#[test]
fn a_prohibition_that_cannot_be_written_leaves_no_permission_in_its_place() {
    let fs = FaultFs::healthy();
    let kept = allowed(&fs);
    let before = fs.calls();
    kept.forbid(&choice(2, FORBID)).unwrap();
    kept.forbid(&Fact::Latch(true)).unwrap();
    let calls = fs.calls() - before;
    assert!(calls > 20, "{calls} calls");
    let mut failed = 0;
    for at in 1..=calls {
        for errno in [libc::ENOSPC, libc::EIO, libc::EROFS] {
            for power in [Cut::LosesAll, Cut::KeepsAll] {
                let fs = FaultFs::new(Plan::Nothing, Mutant::None);
                let kept = allowed(&fs);
                fs.plan(Plan::Fail { from: fs.calls() + at, until: fs.calls() + at + 1, errno });
                let (choice, latch) = (kept.forbid(&choice(2, FORBID)), kept.forbid(&Fact::Latch(true)));
                fs.plan(Plan::Nothing);
                failed += u32::from(choice.is_err()) + u32::from(latch.is_err());

                let found = facts(&fs.after(power)).recall();

                let what = format!("call {at}, errno {errno}, {power:?}: {choice:?}, {latch:?}");
                assert_ne!(found.privacy, Recalled::Is(RECORD.to_owned()), "{what}");
                assert!(
                    !matches!(found.latch, Recalled::Is(false) | Recalled::Missing),
                    "{what}: {:?}",
                    found.latch
                );
            }
        }
    }
    assert!(failed > 60, "{failed} failures are too few to judge by");
}

#[test]
fn a_prohibition_that_can_never_be_written_takes_the_permission_with_it() {
    // No space at all: files can be removed, and none can be created.
    let fs = FaultFs::new(Plan::Nothing, Mutant::None);
    let kept = allowed(&fs);
    for _ in 0..5 {
        let creating = fs.calls() + 3;
        fs.plan(Plan::Fail { from: creating, until: creating + 1, errno: libc::ENOSPC });
        let _may_fail_at_another_call = kept.forbid(&choice(2, FORBID));
    }
    fs.plan(Plan::Nothing);
    assert_ne!(facts(&fs.after(Cut::LosesAll)).recall().privacy, Recalled::Is(RECORD.to_owned()));
}

#[test]
fn a_permission_that_cannot_be_written_leaves_the_prohibition_where_it_is() {
    let fs = FaultFs::new(Plan::Nothing, Mutant::None);
    let kept = facts(&fs);
    kept.keep(&choice(1, FORBID)).unwrap();
    for at in 1..=20 {
        fs.plan(Plan::Fail { from: fs.calls() + at, until: fs.calls() + at + 1, errno: libc::ENOSPC });
        let result = kept.keep(&choice(2, RECORD));
        fs.plan(Plan::Nothing);
        let found = facts(&fs.after(Cut::LosesAll)).recall();
        if result.is_err() {
            assert_eq!(found.privacy, Recalled::Is(FORBID.to_owned()), "call {at}");
            return;
        }
        kept.keep(&choice(1, FORBID)).unwrap();
    }
    panic!("nothing failed");
}

#[test]
fn a_latch_that_is_missing_beside_any_other_fact_was_lost() {
    let others = [
        choice(1, RECORD),
        Fact::Entitlement { version: 1, jws: String::from("lease") },
        Fact::Stopped(Some(Utc(1_795_435_200_123_456_789))),
        Fact::Floor(Utc(1_795_435_200_123_456_789)),
        Fact::Offsets(Offsets::default()),
    ];
    for other in others {
        let fs = FaultFs::healthy();
        let kept = facts(&fs);
        assert_eq!(kept.recall().latch, Recalled::Missing, "a camera out of the box has none");
        kept.keep(&Fact::Latch(true)).unwrap();
        kept.keep(&other).unwrap();
        kept.withdraw(&Fact::Latch(false)).unwrap();
        assert_eq!(kept.recall().latch, Recalled::Unreadable, "{other:?}");
    }
    let fs = FaultFs::healthy();
    facts(&fs).store(Name::Serial, "65").unwrap();
    assert_eq!(facts(&fs).recall().latch, Recalled::Unreadable, "serials were given out");
}

#[test]
fn no_fact_is_written_where_a_card_was() {
    let fs = FaultFs::healthy();
    fs.put_dir(&state_dir());
    fs.mount(&state_dir());
    facts(&fs).keep(&Fact::Latch(true)).unwrap();
    let kept = facts(&fs);

    fs.pull();
    assert!(kept.keep(&Fact::Latch(false)).is_err());
    assert!(kept.keep(&Fact::Floor(Utc(1))).is_err());
    assert_eq!(fs.made_beneath(), Vec::<std::path::PathBuf>::new());

    fs.put_back(2);
    assert_eq!(kept.recall().latch, Recalled::Is(true));
    kept.keep(&Fact::Latch(false)).unwrap();
    assert_eq!(kept.recall().latch, Recalled::Is(false));
}

#[test]
fn the_highest_version_is_durable_before_its_message_whatever_the_power_does() {
    let fs = FaultFs::healthy();
    let kept = allowed(&fs);
    let before = fs.calls();
    kept.keep(&choice(2, FORBID)).unwrap();
    let calls = fs.calls() - before;
    for at in 1..=calls {
        for power in [Cut::LosesAll, Cut::KeepsAll, Cut::Torn(at)] {
            let fs = FaultFs::healthy();
            let kept = allowed(&fs);
            fs.plan(Plan::Crash { at: fs.calls() + at });
            let told = kept.keep(&choice(2, FORBID));
            let found = facts(&fs.after(power)).recall();
            let (jws, seen) = (found.privacy, found.privacy_seen);
            let is_new = jws == Recalled::Is(FORBID.to_owned());
            assert!(is_new || jws == Recalled::Is(RECORD.to_owned()), "call {at}, {power:?}: {jws:?}");
            assert!(matches!(seen, Recalled::Is(1 | 2)), "call {at}, {power:?}: {seen:?}");
            assert!(
                !is_new || seen == Recalled::Is(2),
                "call {at}, {power:?}: the message before its version"
            );
            assert!(told.is_err() || is_new, "call {at}, {power:?}: told as durable");
        }
    }
}

#[test]
fn the_highest_version_never_sinks_and_outlives_a_message_that_cannot_be_read() {
    let fs = FaultFs::healthy();
    let kept = facts(&fs);
    kept.keep(&choice(9, FORBID)).unwrap();
    kept.keep(&choice(4, RECORD)).unwrap();
    assert_eq!(kept.recall().privacy_seen, Recalled::Is(9));
    fs.put(&state_dir().join("state/privacy"), b"garbage");
    let found = kept.recall();
    assert_eq!((found.privacy, found.privacy_seen), (Recalled::Unreadable, Recalled::Is(9)));
}

#[test]
fn a_tombstone_is_found_by_the_next_start_and_gone_once_it_is_lifted() {
    let fs = FaultFs::healthy();
    let run = Path::new("/run/kasacam");
    let tombs = || StoredFacts::tombstones(fs.shared(), run);
    assert_eq!(tombs().load(Name::Privacy), Recalled::Missing);
    tombs().raise(&choice(2, FORBID)).unwrap();
    tombs().raise(&Fact::Latch(true)).unwrap();
    assert_eq!(tombs().load(Name::Privacy), Recalled::Is(FORBID.to_owned()));
    assert_eq!(tombs().latch(), Recalled::Is(true));
    tombs().withdraw(&choice(2, FORBID)).unwrap();
    tombs().withdraw(&Fact::Latch(true)).unwrap();
    assert_eq!((tombs().load(Name::Privacy), tombs().latch()), (Recalled::Missing, Recalled::Missing));
}
