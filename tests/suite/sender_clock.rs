//! The time of capture by the clock of a network camera.

use kasacam::capture::sender_clock::{MAX_LAG, SenderClock};
use kasacam::domain::time::Utc;
use proptest::prelude::*;
use std::time::Duration;

const CAMERA: u32 = 0x1234_5678;
const NTP_TO_UNIX: u64 = 2_208_988_800;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A sender report without report blocks, at this time after 1900 in seconds and 2^-32 s.
fn report(source: u32, seconds: u32, fraction: u32, rtp: u32) -> Vec<u8> {
    words(&[0x80c8_0006, source, seconds, fraction, rtp, 10, 1000])
}

fn packet(source: u32, rtp: u32) -> Vec<u8> {
    words(&[0x8060_0001, rtp, source, 0])
}

fn unix(seconds: u64, nanos: u64) -> Utc {
    Utc(i64::try_from(seconds * 1_000_000_000 + nanos).unwrap())
}

/// 2026-11-26T12:00:00Z, and the same after 1900, within its era.
const NOON: u64 = 1_795_694_400;

fn since_1900(unix: u64) -> u32 {
    u32::try_from((unix + NTP_TO_UNIX) & 0xffff_ffff).unwrap()
}

fn knowing(report: &[u8]) -> SenderClock {
    let mut clock = SenderClock::default();
    clock.report(report);
    clock
}

#[test]
fn report_and_ticks_give_the_time_from_capture_to_arrival() {
    let clock = knowing(&report(CAMERA, since_1900(NOON), 1 << 31, 1000));
    // Half a second past noon, and two seconds of ticks later.
    let lag = clock.lag(&packet(CAMERA, 1000 + 180_000), unix(NOON + 2, 750_000_000)).unwrap();
    assert_eq!(lag.as_micros(), 250_000);
    let before = clock.lag(&packet(CAMERA, 1000_u32.wrapping_sub(90_000)), unix(NOON, 0)).unwrap();
    assert_eq!(before.as_millis(), 500, "the counter of the packets wraps");
}

#[test]
fn impossible_times_are_ignored() {
    let clock = knowing(&report(CAMERA, since_1900(NOON), 0, 1000));
    for (what, packet, arrived) in [
        ("captured after it came", packet(CAMERA, 1000), unix(NOON - 1, 0)),
        ("longer under way than anything is", packet(CAMERA, 1000), unix(NOON + 11, 0)),
        ("a clock of another year", packet(CAMERA, 1000), unix(NOON - 365 * 86_400, 0)),
        ("another sender", packet(CAMERA + 1, 1000), unix(NOON, 1)),
        ("the report is a minute old", packet(CAMERA, 1000 + 61 * 90_000), unix(NOON + 61, 0)),
        ("no packet", vec![0x80; 8], unix(NOON, 1)),
    ] {
        assert_eq!(clock.lag(&packet, arrived), None, "{what}");
    }
    assert_eq!(clock.lag(&packet(CAMERA, 1000), unix(NOON + 10, 0)), Some(MAX_LAG));
    assert_eq!(SenderClock::default().lag(&packet(CAMERA, 1000), unix(NOON, 0)), None);
}

#[test]
fn a_camera_whose_clock_does_not_run_gives_no_lag() {
    let mut clock = knowing(&report(CAMERA, since_1900(NOON), 0, 1000));
    clock.report(&report(CAMERA, 0, 0, 1000));
    assert_eq!(clock.lag(&packet(CAMERA, 1000), unix(NOON, 1)), None);
}

#[test]
fn a_report_is_found_after_other_packets_and_after_2036() {
    let later = NOON + 12 * 365 * 86_400;
    let others = words(&[0x80c9_0001, 7]);
    let clock = knowing(&[others, report(CAMERA, since_1900(later), 0, 0)].concat());
    assert_eq!(clock.lag(&packet(CAMERA, 0), unix(later, 0)), Some(Duration::ZERO));
}

proptest! {
    #[test]
    fn no_lag_is_out_of_bounds(
        reports in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
        packet in prop::collection::vec(any::<u8>(), 0..64),
        arrived in any::<i64>(),
    ) {
        let mut clock = SenderClock::default();
        reports.iter().for_each(|bytes| clock.report(bytes));
        prop_assert!(clock.lag(&packet, Utc(arrived)).is_none_or(|lag| lag <= MAX_LAG));
    }
}
