//! Times, and the names that are made of them: files of the spool, keys of objects.

use super::{cases, utc};
use kasacam::domain::offset::{MAX_BOOTS, Offsets, Pinned, key_time};
use kasacam::domain::segment::{
    KeyClock, KeyForm, Record, RecordClock, Serial, SpoolKind, SpoolName, object_key,
};
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use proptest::prelude::*;

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
