//! Decode times that are computed from presentation times only.

use kasacam::capture::timing::{DecodeTimes, Pace};
use proptest::prelude::*;

const FRAME: i64 = 40_000_000;

/// Decode times of frames that are presented in this order, in frames.
fn decoded(shown: &[i64], depth: Option<u32>) -> Vec<i64> {
    let shown: Vec<i64> = shown.iter().map(|place| place * FRAME).collect();
    let mut times = DecodeTimes::new(&shown, depth, FRAME);
    let mut last = None;
    shown
        .iter()
        .map(|shown| {
            let found = times.next(*shown, last);
            last = Some(found);
            found
        })
        .collect()
}

fn places(times: &[i64]) -> Vec<i64> {
    times.iter().map(|time| time.div_euclid(FRAME)).collect()
}

#[test]
fn frames_in_order_are_decoded_when_they_are_shown() {
    assert_eq!(places(&decoded(&[0, 1, 2, 3], Some(0))), [0, 1, 2, 3]);
    assert_eq!(places(&decoded(&[0, 1, 2, 3], None)), [0, 1, 2, 3]);
}

#[test]
fn one_frame_of_delay_is_enough_for_b_frames_that_nothing_refers_to() {
    let shown = [0, 3, 1, 2, 6, 4, 5];
    assert_eq!(places(&decoded(&shown, None)), [-1, 0, 1, 2, 3, 4, 5]);
    assert_eq!(decoded(&shown, None), decoded(&shown, Some(1)));
}

#[test]
fn a_pyramid_takes_two() {
    assert_eq!(places(&decoded(&[0, 4, 2, 1, 3, 8, 6, 5, 7], None)), [-2, -1, 0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn more_reordering_than_was_told_never_sets_decoding_back() {
    let times = decoded(&[0, 1, 2, 6, 4, 3, 5, 10, 8, 7, 9], Some(0));
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{times:?}");
}

#[test]
fn the_pace_is_that_of_the_last_frames() {
    let mut pace = Pace::new(FRAME);
    assert_eq!((pace.frame(), pace.longest(), pace.is_known()), (FRAME, FRAME, false));
    for step in [10, 10, 10, 30, 10] {
        pace.note(step);
    }
    assert_eq!((pace.frame(), pace.longest(), pace.is_known()), (10, 30, true));
    (0..16).for_each(|_| pace.note(20));
    assert_eq!((pace.frame(), pace.longest()), (20, 20));
}

proptest! {
    /// Frames of GOPs with any order inside a few places.
    #[test]
    fn no_frame_is_shown_before_it_is_decoded(
        steps in prop::collection::vec(1_000_000..400_000_000i64, 24),
        mut order in Just((0..24usize).collect::<Vec<usize>>()),
        swaps in prop::collection::vec((1..24usize, 1..4usize), 0..12),
    ) {
        for (at, far) in swaps {
            let to = (at + far).min(23);
            order.swap(at, to);
        }
        let mut at = 0;
        let presented: Vec<i64> = steps.iter().map(|step| { at += step; at }).collect();
        let shown: Vec<i64> = order.iter().map(|place| presented[*place]).collect();
        let mut times = DecodeTimes::new(&shown, None, FRAME);
        let mut last = None;
        for shown in shown {
            let found = times.next(shown, last);
            prop_assert!(found <= shown, "decoded at {found}, shown at {shown}");
            prop_assert!(last.is_none_or(|last| found > last));
            last = Some(found);
        }
    }
}

#[test]
fn a_pace_is_steady_once_most_distances_are_alike() {
    let mut pace = Pace::new(FRAME);
    (0..7).for_each(|_| pace.note(40));
    assert!(!pace.is_steady(), "too few are known");
    pace.note(40);
    assert!(pace.is_steady());
    pace.note(200);
    assert!(pace.is_steady(), "one hole");
    (0..3).for_each(|_| pace.note(200));
    assert!(!pace.is_steady(), "another pace");
}
