//! The line of footage and gaps on the page: a pure function of what is stored and what the camera reported.

use crate::page_parts::bands::{Away, Band, BandKind, Ended, Known, Opened, Stretch, bands};
use kasacam::domain::time::Utc;

/// Seconds after a fixed moment.
fn at(seconds: f64) -> Utc {
    Utc(1_795_000_000_000_000_000 + (seconds * 1e9) as i64)
}

/// Segments of one span, each as long as until the next.
fn span(name: &str, times: &[f64]) -> Vec<Stretch> {
    let stretch = |(n, pair): (usize, &[f64])| Stretch {
        span: name.into(),
        n: n as u64,
        start: at(pair[0]),
        end: at(pair[1]),
        plan: "plus".into(),
        audio: true,
    };
    times.windows(2).enumerate().map(stretch).collect()
}

fn ended(name: &str, seconds: f64, reason: &str) -> (String, Ended) {
    (name.into(), Ended { at: at(seconds), reason: reason.into(), key: String::new() })
}

fn opened(from: f64, until: Option<f64>, why: &str) -> Opened {
    Opened { from: at(from), until: until.map(at), why: why.into() }
}

/// Kind, reason, start and end of each band, in seconds.
fn told(bands: &[Band]) -> Vec<(BandKind, &str, f64, f64)> {
    let seconds = |time: Utc| ((time.0 - at(0.0).0) as f64 / 1e9 * 1000.0).round() / 1000.0;
    bands
        .iter()
        .map(|b| (b.kind, b.reason.as_deref().unwrap_or(""), seconds(b.from), seconds(b.to)))
        .collect()
}

#[test]
fn without_data_there_is_no_timeline() {
    assert!(bands(&Known::default(), at(10.0)).is_empty());
}

#[test]
fn segments_of_a_span_are_one_band_and_the_current_one_is_another() {
    let known = Known {
        stretches: span("a", &[0.2, 4.2, 8.2]),
        opened: vec![opened(0.0, None, "unknown")],
        ..Known::default()
    };
    let line = bands(&known, at(10.0));
    assert_eq!(told(&line), [(BandKind::Recorded, "", 0.2, 8.2), (BandKind::Recording, "", 8.2, 10.0)]);
}

#[test]
fn a_gap_has_the_reason_of_the_span_before_it_even_where_the_device_was_closed_a_little_later() {
    let mut stretches = span("a", &[0.0, 4.0, 6.5]);
    stretches.extend(span("b", &[20.3, 24.3]));
    let known = Known {
        stretches,
        ends: [ended("a", 6.5, "privacy")].into(),
        opened: vec![opened(0.0, Some(7.9), "privacy"), opened(20.0, None, "unknown")],
        away: Vec::new(),
    };
    let line = bands(&known, at(25.0));
    let expected = [
        (BandKind::Recorded, "", 0.0, 6.5),
        (BandKind::Gap, "privacy", 6.5, 20.3),
        (BandKind::Recorded, "", 20.3, 24.3),
        (BandKind::Recording, "", 24.3, 25.0),
    ];
    assert_eq!(told(&line), expected);
}

#[test]
fn the_reason_of_an_end_is_the_reason_of_its_gap_without_a_report_of_the_camera() {
    for reason in ["privacy", "entitlement", "storage", "source", "clock", "format", "shutdown", "power"] {
        let mut stretches = span("a", &[0.0, 4.0]);
        stretches.extend(span("b", &[30.0, 34.0]));
        let known = Known { stretches, ends: [ended("a", 4.0, reason)].into(), ..Known::default() };
        assert_eq!(told(&bands(&known, at(34.0)))[1], (BandKind::Gap, reason, 4.0, 30.0));
    }
}

#[test]
fn a_closed_camera_is_private_before_the_end_of_the_span_is_stored() {
    let known = Known {
        stretches: span("a", &[0.0, 4.0]),
        opened: vec![opened(0.0, Some(5.0), "privacy")],
        ..Known::default()
    };
    let line = bands(&known, at(9.0));
    assert_eq!(told(&line).last(), Some(&(BandKind::Gap, "privacy", 5.0, 9.0)));
}

#[test]
fn footage_that_is_not_stored_yet_is_waiting_and_not_a_gap() {
    let mut stretches = span("a", &[0.0, 4.0, 8.0, 12.0, 16.0]);
    stretches.drain(1..3);
    let known = Known { stretches, opened: vec![opened(0.0, None, "unknown")], ..Known::default() };
    let line = bands(&known, at(40.0));
    let expected = [
        (BandKind::Recorded, "", 0.0, 4.0),
        (BandKind::Waiting, "", 4.0, 12.0),
        (BandKind::Recorded, "", 12.0, 16.0),
        (BandKind::Waiting, "", 16.0, 32.0),
        (BandKind::Recording, "", 32.0, 40.0),
    ];
    assert_eq!(told(&line), expected);
}

#[test]
fn footage_of_a_time_without_a_session_is_unheard_until_it_is_stored() {
    let known = Known {
        stretches: span("a", &[0.0, 4.0]),
        opened: vec![opened(0.0, None, "unknown")],
        away: vec![Away { from: at(10.0), until: None }],
        ..Known::default()
    };
    let line = bands(&known, at(30.0));
    let expected = [
        (BandKind::Recorded, "", 0.0, 4.0),
        (BandKind::Waiting, "", 4.0, 10.0),
        (BandKind::Unheard, "", 10.0, 30.0),
    ];
    assert_eq!(told(&line), expected);
}

#[test]
fn a_change_of_plan_is_a_short_gap_and_nothing_is_waiting() {
    let mut stretches = span("a", &[0.0, 4.0]);
    stretches.extend(span("b", &[4.4, 8.4]));
    let known = Known {
        stretches,
        ends: [ended("a", 4.0, "entitlement")].into(),
        opened: vec![opened(0.0, None, "unknown")],
        away: Vec::new(),
    };
    assert_eq!(told(&bands(&known, at(8.4)))[1], (BandKind::Gap, "entitlement", 4.0, 4.4));
}

#[test]
fn bands_neither_overlap_nor_leave_anything_out() {
    let mut stretches = span("a", &[0.0, 4.0, 8.0]);
    // The next span began before this one had ended.
    stretches.extend(span("b", &[7.95, 12.0, 16.0]));
    stretches.extend(span("c", &[30.0, 34.0]));
    let known = Known {
        stretches,
        ends: [ended("a", 8.0, "entitlement"), ended("b", 16.0, "power")].into(),
        opened: vec![opened(-0.5, None, "unknown"), opened(29.0, Some(36.0), "storage")],
        away: vec![Away { from: at(15.0), until: Some(at(31.0)) }],
    };
    let line = bands(&known, at(50.0));
    assert!(line.len() >= 4 && line.iter().all(|band| band.from < band.to), "{line:?}");
    assert!(line.windows(2).all(|pair| pair[0].to == pair[1].from), "{:?}", told(&line));
    assert_eq!(line.last().unwrap().to, at(50.0));
}
