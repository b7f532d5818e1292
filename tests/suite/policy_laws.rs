//! Laws of the domain that hold for all facts: of the policy, the lease, privacy, time, names, keys,
//! outcomes, waits and budgets.

use crate::support::dice::parameter;
use kasacam::domain::backoff::{Backoff, Jitter};
use kasacam::domain::codec::Codec;
use kasacam::domain::entitlement::{Entitlement, Features, Lease, Next, Plan, Status, Terms};
use kasacam::domain::fragment::Epoch;
use kasacam::domain::offset::{MAX_BOOTS, Offsets, Pinned, key_time};
use kasacam::domain::outcome::{Attempt, Held, Outcome, Scope, classify};
use kasacam::domain::policy::{
    Capture, Hearing, Pending, PolicyFacts, PrivacyPending, Reason, Rules, TrustedClock, Upload, WhenFull,
    decide, permit,
};
use kasacam::domain::privacy::{Privacy, PrivacyChoice, Recalled, strictest};
use kasacam::domain::segment::{
    KeyClock, KeyForm, Record, RecordClock, Serial, SpoolKind, SpoolName, object_key,
};
use kasacam::domain::storage::Usage;
use kasacam::domain::storage::{Budget, StorageState};
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use proptest::prelude::*;
use std::time::Duration;

fn privacy() -> impl Strategy<Value = Privacy> {
    prop_oneof![Just(Privacy::Record), Just(Privacy::DoNotRecord), Just(Privacy::Unknown)]
}

fn features() -> impl Strategy<Value = Features> {
    (any::<bool>(), any::<bool>(), 1u32..4320, 0u32..87_600, any::<bool>()).prop_map(
        |(record, audio, max_height, history_hours, h265)| Features {
            record,
            audio,
            max_height,
            history_hours,
            h265,
        },
    )
}

fn entitlement() -> impl Strategy<Value = Entitlement> {
    prop_oneof![
        3 => features().prop_map(Entitlement::Granted),
        1 => Just(Entitlement::Suspended),
        1 => Just(Entitlement::Terminated),
        1 => Just(Entitlement::Lapsed),
        1 => Just(Entitlement::Unknown),
    ]
}

fn storage() -> impl Strategy<Value = StorageState> {
    prop_oneof![
        Just(StorageState::Roomy),
        Just(StorageState::Tight),
        Just(StorageState::Full),
        Just(StorageState::Broken)
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let full = prop_oneof![Just(WhenFull::Evict), Just(WhenFull::Stop)];
    let pending =
        prop_oneof![Just(PrivacyPending::Upload), Just(PrivacyPending::Hold), Just(PrivacyPending::Purge)];
    let codec = prop_oneof![Just(Codec::H264), Just(Codec::H265)];
    (any::<bool>(), full, pending, codec).prop_map(|(audio, when_full, pending, codec)| Rules {
        audio,
        when_full,
        pending,
        codec,
    })
}

fn facts() -> impl Strategy<Value = PolicyFacts> {
    let clock = prop_oneof![Just(TrustedClock::Trusted), Just(TrustedClock::Untrusted)];
    let hearing = prop_oneof![Just(Hearing::Heard), Just(Hearing::Unheard)];
    (privacy(), entitlement(), clock, storage(), hearing, rules()).prop_map(
        |(privacy, entitlement, clock, storage, hearing, rules)| PolicyFacts {
            privacy,
            entitlement,
            clock,
            storage,
            hearing,
            rules,
        },
    )
}

/// `PROPTEST_CASES` for each law, by default 2,000; drawn again in each run.
fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(u32::try_from(parameter("PROPTEST_CASES", 2_000)).unwrap_or(u32::MAX))
}

fn captures(facts: &PolicyFacts) -> bool {
    matches!(decide(facts).capture(), Capture::On { .. })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn nothing_but_consent_a_grant_and_sound_storage_turns_capture_on(facts in facts()) {
        let may = facts.privacy == Privacy::Record
            && matches!(facts.entitlement, Entitlement::Granted(features)
                if features.record && (features.h265 || facts.rules.codec == Codec::H264))
            && match facts.storage {
                StorageState::Roomy | StorageState::Tight => true,
                StorageState::Full => facts.rules.when_full == WhenFull::Evict,
                StorageState::Broken => false,
            };
        prop_assert_eq!(captures(&facts), may);
    }

    #[test]
    fn unknown_privacy_is_private_but_purges_nothing(facts in facts()) {
        let unknown = PolicyFacts { privacy: Privacy::Unknown, ..facts };
        prop_assert!(!captures(&unknown));
        let record = PolicyFacts { privacy: Privacy::Record, ..facts };
        prop_assert_eq!(decide(&unknown).pending, decide(&record).pending);
        prop_assert_eq!(decide(&unknown).upload, decide(&record).upload);
    }

    #[test]
    fn the_clock_alters_nothing(facts in facts()) {
        let trusted = decide(&PolicyFacts { clock: TrustedClock::Trusted, ..facts });
        let untrusted = decide(&PolicyFacts { clock: TrustedClock::Untrusted, ..facts });
        prop_assert_eq!(trusted, untrusted);
    }

    #[test]
    fn what_was_not_heard_keeps_footage_back_and_alters_nothing_else(facts in facts()) {
        let heard = decide(&PolicyFacts { hearing: Hearing::Heard, ..facts });
        let unheard = decide(&PolicyFacts { hearing: Hearing::Unheard, ..facts });
        prop_assert_eq!(heard.capture(), unheard.capture());
        prop_assert_eq!(heard.pending, unheard.pending);
        prop_assert!(heard.upload != Upload::Heard && unheard.upload != Upload::On);
        prop_assert_eq!(heard.upload == Upload::On, unheard.upload == Upload::Heard);
    }

    #[test]
    fn privacy_never_changes_upload_where_pending_goes_up(facts in facts()) {
        let rules = Rules { pending: PrivacyPending::Upload, ..facts.rules };
        let on = decide(&PolicyFacts { privacy: Privacy::Record, rules, ..facts });
        let off = decide(&PolicyFacts { privacy: Privacy::DoNotRecord, rules, ..facts });
        prop_assert_eq!(on.upload, off.upload);
        prop_assert_eq!(on.pending, off.pending);
    }

    #[test]
    fn held_or_purged_footage_is_not_uploaded(facts in facts()) {
        let decision = decide(&facts);
        if matches!(decision.pending, Pending::Hold | Pending::Purge) {
            prop_assert!(matches!(decision.upload, Upload::Off(_)));
        }
    }

    #[test]
    fn a_permit_exists_exactly_where_capture_is_on(facts in facts(), epoch in any::<u64>()) {
        let decision = decide(&facts);
        let permit = permit(&decision, Epoch(epoch));
        prop_assert_eq!(permit.is_some(), captures(&facts));
        prop_assert_eq!(permit.map(|permit| permit.epoch()), captures(&facts).then_some(Epoch(epoch)));
    }

    #[test]
    fn sound_needs_both_the_plan_and_the_configuration(facts in facts()) {
        if let Capture::On { audio, max_height } = decide(&facts).capture() {
            let Entitlement::Granted(features) = facts.entitlement else {
                panic!("capture without a grant");
            };
            prop_assert_eq!(audio, features.audio && facts.rules.audio);
            prop_assert_eq!(max_height, features.max_height);
        }
    }

    #[test]
    fn the_owners_wish_is_the_reason_that_is_told(facts in facts()) {
        let private = PolicyFacts { privacy: Privacy::DoNotRecord, ..facts };
        prop_assert_eq!(decide(&private).capture(), Capture::Off(Reason::DoNotRecord));
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn utc(text: &str) -> Utc {
    Utc::parse(text).unwrap()
}

fn terms(status: Status, record: bool) -> Terms {
    Terms {
        plan: Plan { id: "plus-monthly".into(), tier: "plus".into() },
        status,
        features: Features { record, audio: true, max_height: 1080, history_hours: 720, h265: true },
    }
}

fn lease(status: Status) -> Lease {
    Lease {
        version: 1,
        issued_at: utc("2026-11-01T00:00:00Z"),
        not_after: utc("2026-12-01T00:00:00Z"),
        terms: terms(status, true),
        next: None,
    }
}

#[test]
fn past_due_stands_exactly_as_active_does() {
    let (active, past_due) = (lease(Status::Active), lease(Status::PastDue));
    for day in 0..90 {
        let at = active.issued_at + HOUR * 24 * day;
        let (a, b) = (active.standing(at, 72 * HOUR), past_due.standing(at, 72 * HOUR));
        assert_eq!((a.entitlement, a.until), (b.entitlement, b.until));
    }
}

#[test]
fn a_lease_lapses_when_its_grace_is_over_and_not_before() {
    let lease = lease(Status::Active);
    let ends = utc("2026-12-04T00:00:00Z");
    let nanosecond = Duration::from_nanos(1);
    let last = lease.standing(ends - nanosecond, 72 * HOUR);
    assert!(matches!(last.entitlement, Entitlement::Granted(_)));
    assert_eq!(last.until, Some(ends));
    let over = lease.standing(ends, 72 * HOUR);
    assert_eq!(over.entitlement, Entitlement::Lapsed);
    assert_eq!(over.until, None);
}

#[test]
fn suspension_and_termination_do_not_lapse() {
    for (status, entitlement) in
        [(Status::Suspended, Entitlement::Suspended), (Status::Terminated, Entitlement::Terminated)]
    {
        let lease = lease(status);
        for at in [lease.issued_at, lease.not_after, lease.not_after + 1000 * HOUR] {
            let standing = lease.standing(at, Duration::ZERO);
            assert_eq!(standing.entitlement, entitlement);
        }
    }
}

#[test]
fn what_comes_next_replaces_the_plan_at_its_time() {
    let from = utc("2026-11-20T00:00:00Z");
    let next = Next { from, not_after: None, terms: terms(Status::Suspended, false) };
    let lease = Lease { next: Some(next), ..lease(Status::Active) };
    let before = lease.standing(from - Duration::from_nanos(1), HOUR);
    assert!(matches!(before.entitlement, Entitlement::Granted(features) if features.record));
    assert_eq!(before.until, Some(from));
    let after = lease.standing(from, HOUR);
    assert_eq!((after.entitlement, after.until), (Entitlement::Suspended, None));
}

#[test]
fn what_comes_next_ends_at_its_own_time_where_it_has_one() {
    let base = lease(Status::Active);
    let from = base.not_after - HOUR;
    let not_after = Some(base.not_after + 300 * HOUR);
    let with = |not_after| {
        let next = Some(Next { from, not_after, terms: terms(Status::Active, false) });
        Lease { next, ..base.clone() }
    };
    let later = base.not_after + 299 * HOUR;
    assert_eq!(with(None).standing(later, 72 * HOUR).entitlement, Entitlement::Lapsed);
    let standing = with(not_after);
    let standing = standing.standing(later, 72 * HOUR);
    assert!(matches!(standing.entitlement, Entitlement::Granted(_)));
    assert_eq!(standing.until, not_after.map(|end| end + 72 * HOUR));
}

#[test]
fn a_plan_that_comes_after_the_end_ends_a_lapse() {
    let from = utc("2027-01-01T00:00:00Z");
    let lease = Lease {
        next: Some(Next { from, not_after: None, terms: terms(Status::Terminated, false) }),
        ..lease(Status::Active)
    };
    let between = lease.standing(utc("2026-12-15T00:00:00Z"), HOUR);
    assert_eq!((between.entitlement, between.until), (Entitlement::Lapsed, Some(from)));
    assert_eq!(lease.standing(from, HOUR).entitlement, Entitlement::Terminated);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_lease_changes_only_when_it_says(next in proptest::option::of(0u64..2000), ends in proptest::option::of(0u64..2000), at in 0u64..3000, step in 1u64..1000) {
        let base = lease(Status::Active);
        let next = next.map(|hours| {
            let from = base.issued_at + Duration::from_secs(hours * 3600);
            let not_after = ends.map(|hours| from + Duration::from_secs(hours * 3600));
            Next { from, not_after, terms: terms(Status::PastDue, false) }
        });
        let lease = Lease { next, ..base };
        let at = lease.issued_at + Duration::from_secs(at * 3600);
        let standing = lease.standing(at, 72 * HOUR);
        let later = at + Duration::from_secs(step * 3600);
        if standing.until.is_none_or(|until| later < until) {
            prop_assert_eq!(lease.standing(later, 72 * HOUR).entitlement, standing.entitlement);
        }
        prop_assert!(standing.until.is_none_or(|until| until > at));
    }
}

#[test]
fn privacy_is_the_strictest_of_all_that_is_known() {
    let choice = |do_not_record| {
        Recalled::Is(PrivacyChoice { version: 1, issued_at: utc("2026-11-23T12:00:00Z"), do_not_record })
    };
    let latches = [Recalled::Is(true), Recalled::Is(false), Recalled::Missing, Recalled::Unreadable];
    let expected = [
        (choice(false), [Privacy::DoNotRecord, Privacy::Record, Privacy::Record, Privacy::Unknown]),
        (choice(true), [Privacy::DoNotRecord; 4]),
        (Recalled::Missing, [Privacy::DoNotRecord, Privacy::Unknown, Privacy::Unknown, Privacy::Unknown]),
        (Recalled::Unreadable, [Privacy::DoNotRecord, Privacy::Unknown, Privacy::Unknown, Privacy::Unknown]),
    ];
    for (choice, results) in expected {
        for (latch, result) in latches.iter().zip(results) {
            assert_eq!(strictest(&choice, latch), result, "{choice:?} {latch:?}");
        }
    }
}

#[test]
fn civil_dates_are_those_of_the_calendar() {
    for (secs, text) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (951_782_400, "2000-02-29T00:00:00.000000Z"),
        (951_868_799, "2000-02-29T23:59:59.000000Z"),
        (951_868_800, "2000-03-01T00:00:00.000000Z"),
        (1_078_012_800, "2004-02-29T00:00:00.000000Z"),
        (1_798_761_599, "2026-12-31T23:59:59.000000Z"),
        (2_147_483_647, "2038-01-19T03:14:07.000000Z"),
        (2_147_483_648, "2038-01-19T03:14:08.000000Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        (4_294_967_295, "2106-02-07T06:28:15.000000Z"),
        (4_294_967_296, "2106-02-07T06:28:16.000000Z"),
        (-1, "1969-12-31T23:59:59.000000Z"),
    ] {
        assert_eq!(Utc::from_secs(secs).to_string(), text);
    }
    assert_eq!(Utc(1_999).floor_micros(), Utc(1_000));
    assert_eq!(Utc(-1).floor_micros(), Utc(-1_000));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn times_round_trip_to_the_microsecond(nanos in 0i64..i64::MAX) {
        let time = Utc(nanos).floor_micros();
        prop_assert_eq!(Utc::parse(&time.to_string()), Some(time));
    }

    #[test]
    fn later_times_have_later_texts(a in 0i64..i64::MAX, b in 0i64..i64::MAX) {
        let (a, b) = (Utc(a).floor_micros(), Utc(b).floor_micros());
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn spool_names_round_trip_and_sort_by_age(a in 0u64..10_000_000_000, b in 0u64..10_000_000_000) {
        for kind in [SpoolKind::Open, SpoolKind::Sealed, SpoolKind::End] {
            let name = SpoolName { serial: Serial(a), kind };
            prop_assert_eq!(SpoolName::parse(&name.to_string()), Some(name));
            let other = SpoolName { serial: Serial(b), kind };
            prop_assert_eq!(a.cmp(&b), name.to_string().cmp(&other.to_string()));
        }
    }

    #[test]
    fn no_two_texts_name_one_spool_file(text in "[0-9]{0,12}(\\.[a-z0-9]{0,5})?") {
        if let Some(name) = SpoolName::parse(&text) {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}

#[test]
fn only_the_times_of_the_contract_are_read() {
    for bad in [
        "",
        "now",
        "2026-11-23",
        "2026-11-23T12:00:00",
        "2026-11-23T12:00:00+01:00",
        "2026-11-23 12:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T12:60:00Z",
        "2026-11-23T12:00:00.Z",
        "2026-11-23T12:00:00.1+Z",
        "2026-11-23T12:00Z",
        "2026-11-23T12:00:00:00Z",
        "+026-11-23T12:00:00Z",
        "1969-12-31T23:59:59Z",
        "2300-01-01T00:00:00Z",
        "２026-11-23T12:00:00Z",
    ] {
        assert_eq!(Utc::parse(bad), None, "{bad}");
    }
}

#[test]
fn times_are_read_as_the_calendar_has_them() {
    for (text, nanos) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T12:00:00.5Z", 951_825_600_500_000_000),
        ("2026-11-23T12:00:00.123456789Z", 1_795_435_200_123_456_789),
        ("2026-11-23T12:00:00.1234567899Z", 1_795_435_200_123_456_789),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000_000_000),
        ("2038-01-19T03:14:08Z", 2_147_483_648_000_000_000),
        ("2099-12-31T23:59:59Z", 4_102_444_799_000_000_000),
    ] {
        assert_eq!(Utc::parse(text), Some(Utc(nanos)), "{text}");
    }
}

#[test]
fn foreign_names_are_not_of_the_spool() {
    for bad in [
        "",
        "42.mp4",
        "00000000042.mp4",
        "0000000042",
        "0000000042.tmp",
        "0000000042.mp4~",
        "-000000042.mp4",
        "../0000000042.mp4",
    ] {
        assert_eq!(SpoolName::parse(bad), None, "{bad}");
    }
}

#[test]
fn object_keys_are_of_the_onvif_form() {
    let time = utc("2026-02-03T04:05:06.000789Z");
    assert_eq!(
        object_key("v1/", "cam-0001", time, 0, false),
        "v1/cam-0001/2026-02-03/04/05-06.000789Z.0.mp4"
    );
    assert_eq!(object_key("", "c", time, 12, true), "c/2026-02-03/04/05-06.000789Z.12.mp4_end");
    let form = KeyForm { prefix: "site-2/".into(), device: "c".into(), postfix: "hall/camera-5".into() };
    assert_eq!(form.key(time, 85, true), "site-2/c/2026-02-03/hall/camera-5/04/05-06.000789Z.85.mp4_end");
}

fn record(boot: &str, clock: RecordClock) -> Record {
    Record {
        device: "cam-0001".into(),
        span: "s".into(),
        n: 0,
        boot: boot.into(),
        start_mono: 5_000_000_000,
        start_utc: utc("2026-11-23T12:00:00Z"),
        clock,
        plan: "plus".into(),
        history_hours: 720,
        late_sync: false,
        timing: kasacam::domain::fragment::Timing::Device,
    }
}

#[test]
fn a_key_has_an_honest_time_or_none() {
    let told = utc("2026-11-23T12:00:00Z");
    let nothing = Offsets::default();
    let at = |boot, clock, offsets: &Offsets| key_time(&record(boot, clock), "this", offsets);
    for boot in ["this", "earlier"] {
        assert_eq!(at(boot, RecordClock::Trusted, &nothing), Some((told, KeyClock::Trusted)));
        assert_eq!(at(boot, RecordClock::Unset, &nothing), None);
    }
    assert_eq!(at("earlier", RecordClock::Plausible, &nothing), Some((told, KeyClock::Plausible)));
    assert_eq!(at("this", RecordClock::Plausible, &nothing), None, "it may yet be corrected");

    for boot in ["this", "earlier"] {
        for clock in [RecordClock::Plausible, RecordClock::Unset] {
            let pinned = |how| {
                let mut offsets = Offsets::default();
                assert!(offsets.pin(boot, clock, how));
                at(boot, clock, &offsets)
            };
            let moved = Utc(5_000_000_007);
            assert_eq!(pinned(Pinned::AsRecorded), Some((told, KeyClock::Plausible)));
            assert_eq!(pinned(Pinned::Corrected(7)), Some((moved, KeyClock::Corrected)));
            assert_eq!(pinned(Pinned::Vague(7)), Some((moved, KeyClock::Plausible)));
        }
    }
}

#[test]
fn what_is_decided_of_a_boot_stays_and_comes_back_as_it_was_kept() {
    let mut offsets = Offsets::default();
    assert!(offsets.pin("one", RecordClock::Unset, Pinned::Vague(-1)));
    assert!(offsets.pin("one", RecordClock::Unset, Pinned::Corrected(5)), "no second time");
    assert!(offsets.pin("two", RecordClock::Unset, Pinned::Corrected(5)));
    assert!(offsets.pin("two", RecordClock::Plausible, Pinned::Corrected(6)), "a boot has one correction");
    assert!(offsets.pin("six", RecordClock::Plausible, Pinned::AsRecorded));
    let text =
        "one unset vague -1\nsix plausible recorded 0\ntwo plausible corrected 5\ntwo unset corrected 5\n";
    assert_eq!(offsets.text(), text);
    assert_eq!(Offsets::parse(text), Some(offsets.clone()));
    for wrong in ["one unset vague", "one unset vague 1 2", "one set vague 1", "one unset so 1", "\n", "a"] {
        assert_eq!(Offsets::parse(wrong), None, "{wrong:?}");
    }
    for number in 0..300 {
        let done = offsets.pin(&format!("boot-{number}"), RecordClock::Unset, Pinned::Vague(i64::MIN));
        assert_eq!(done, number < MAX_BOOTS - 3);
    }
    assert!(offsets.pin("six", RecordClock::Unset, Pinned::Vague(1)), "a boot that is known has room");
    assert_eq!(Offsets::parse(&offsets.text()), Some(offsets.clone()));
    offsets.retain(|boot| boot == "six");
    assert_eq!(offsets.text(), "six plausible recorded 0\nsix unset vague 1\n");
}

#[test]
fn the_clock_is_judged_by_the_kernel_and_the_floor() {
    let now =
        |synchronised, millis: i64| Now { mono: Mono(0), system: Utc(millis * 1_000_000), synchronised };
    let floor = Utc::from_secs(10);
    assert_eq!(Clock::judge(now(true, 8_000), floor), Clock::Trusted);
    assert_eq!(Clock::judge(now(true, 7_999), floor), Clock::Unset, "set to a time that has passed");
    assert_eq!(Clock::judge(now(false, 10_000), floor), Clock::Plausible);
    // Two clocks are never read at one instant: two seconds are tolerated.
    assert_eq!(Clock::judge(now(false, 8_000), floor), Clock::Plausible);
    assert_eq!(Clock::judge(now(false, 7_999), floor), Clock::Unset);
}

#[test]
fn only_proof_forgets_a_segment() {
    let mut stored = 0;
    for status in 100..=599 {
        for held in [Held::Same, Held::Different, Held::Nothing, Held::Untold] {
            for code in [None, Some("RequestTimeTooSkewed".to_owned()), Some("SlowDown".to_owned())] {
                let outcome = classify(Attempt::Answered { status, held, retry_after: None, code });
                if outcome == Outcome::Stored {
                    stored += 1;
                    assert_eq!(held, Held::Same, "{status}");
                    assert!(matches!(status, 200..=299 | 409 | 412), "{status}");
                }
                if outcome == Outcome::KeyTaken {
                    assert!(matches!(status, 409 | 412) && held == Held::Different, "{status}");
                }
            }
        }
    }
    assert_eq!(stored, 102 * 3);
    let outcome = classify(Attempt::Unanswered { why: "reset".into() });
    assert_eq!(outcome, Outcome::Retry { scope: Scope::Store, after: None, why: "reset".into() });
}

#[test]
fn a_refusal_waits_for_the_store_or_for_the_segment() {
    let scope = |status, code: Option<&str>| {
        let attempt = Attempt::Answered {
            status,
            held: Held::Untold,
            retry_after: Some(Duration::from_secs(7)),
            code: code.map(str::to_owned),
        };
        match classify(attempt) {
            Outcome::Retry { scope, after, .. } => {
                assert_eq!(after, Some(Duration::from_secs(7)));
                scope
            }
            other => panic!("{status}: {other:?}"),
        }
    };
    for status in [301, 307, 401, 403, 404, 408, 429, 500, 502, 503, 504] {
        assert_eq!(scope(status, None), Scope::Store, "{status}");
    }
    for status in [200, 204, 400, 409, 411, 412, 413, 422] {
        assert_eq!(scope(status, None), Scope::Segment, "{status}");
    }
    assert_eq!(scope(400, Some("RequestTimeTooSkewed")), Scope::Store);
    assert_eq!(scope(400, Some("ExpiredToken")), Scope::Store);
    assert_eq!(scope(400, Some("BadDigest")), Scope::Segment);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn waits_stay_within_their_bounds(seed in any::<u64>(), least in 0u64..1000, first in 1u64..5000, most in 1u64..600_000, tries in 1usize..64) {
        let (least, first, most) =
            (Duration::from_millis(least), Duration::from_millis(first), Duration::from_millis(most));
        let mut backoff = Backoff::new(least, first, most);
        let mut jitter = Jitter::new(seed);
        for _ in 0..tries {
            let ceiling = first.saturating_mul(1 << backoff.failures().min(20)).min(most);
            let wait = backoff.next(&mut jitter);
            prop_assert!(wait <= ceiling && wait >= least.min(ceiling), "{wait:?}");
        }
        backoff.reset();
        prop_assert_eq!(backoff.failures(), 0);
    }

    #[test]
    fn a_spool_grows_worse_as_it_fills(max in 1u64..1 << 40, used in 0u64..1 << 41, more in 0u64..1 << 40, free in 0u64..1 << 40) {
        let budget = Budget { max_bytes: max, min_free: 1 << 20, max_files: 1000 };
        let rank = |bytes| match budget.judge(Usage { bytes, files: 1, free: Some(free), ..Usage::default() }) {
            StorageState::Roomy => 0,
            StorageState::Tight => 1,
            StorageState::Full => 2,
            StorageState::Broken => 3,
        };
        prop_assert!(rank(used) <= rank(used.saturating_add(more)));
        prop_assert_eq!(rank(max), 2);
        prop_assert!(rank(used) < 3);
    }
}

#[test]
fn waits_spread_over_their_whole_width() {
    let mut jitter = Jitter::new(1);
    let width = Duration::from_secs(1);
    let draws: Vec<Duration> = (0..1000).map(|_| jitter.between(Duration::ZERO, width)).collect();
    let low = draws.iter().filter(|d| **d < width / 4).count();
    let high = draws.iter().filter(|d| **d > width * 3 / 4).count();
    assert!((150..350).contains(&low) && (150..350).contains(&high), "{low} {high}");
}

#[test]
fn each_budget_alone_makes_a_spool_full() {
    let budget = Budget { max_bytes: 1000, min_free: 100, max_files: 10 };
    let judge =
        |bytes, files, free| budget.judge(Usage { bytes, files, free: Some(free), ..Usage::default() });
    assert_eq!(judge(0, 0, 1000), StorageState::Roomy);
    assert_eq!(judge(899, 8, 111), StorageState::Roomy);
    assert_eq!(judge(900, 0, 1000), StorageState::Tight);
    assert_eq!(judge(0, 9, 1000), StorageState::Tight);
    assert_eq!(judge(0, 0, 110), StorageState::Tight);
    assert_eq!(judge(1000, 0, 1000), StorageState::Full);
    assert_eq!(judge(0, 10, 1000), StorageState::Full);
    assert_eq!(judge(0, 0, 100), StorageState::Full);
}
