//! Where fragments, segments and spans begin and end.

use kasacam::domain::fragment::{Epoch, SpanEnd};
use kasacam::domain::segmenter::{ChunkFacts, Limits, Segmenter, Step};
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use proptest::prelude::*;
use std::time::Duration;

const CHUNK: u64 = 500_000_000;

fn segmenter() -> Segmenter {
    Segmenter::new(Limits {
        segment: Duration::from_secs(4),
        segment_bytes: 10_000,
        part: Duration::from_secs(3),
        part_bytes: 4_000,
        max_bytes: 20_000,
    })
}

/// The chunk with this number: four per fragment, eight frames per chunk.
fn chunk(number: u64) -> ChunkFacts {
    ChunkFacts {
        epoch: Epoch(1),
        same_format: true,
        follows: true,
        starts_fragment: number % 4 == 0,
        ends_fragment: number % 4 == 3,
        start: Mono(1_000_000_000 + number * CHUNK),
        duration: CHUNK,
        frames: 8,
        bytes: 100,
    }
}

fn now(offset: i64) -> Now {
    Now { mono: Mono(0), system: Utc(offset), synchronised: true }
}

/// Feeds chunks and returns the steps except `Append`.
fn feed(segmenter: &mut Segmenter, numbers: std::ops::Range<u64>) -> Vec<Step> {
    numbers.flat_map(|number| told(segmenter, &chunk(number))).collect()
}

fn told(segmenter: &mut Segmenter, chunk: &ChunkFacts) -> Vec<Step> {
    let steps = segmenter.chunk(chunk, now(0), Clock::Trusted);
    steps.into_iter().filter(|step| !matches!(step, Step::Append)).collect()
}

fn opens(n: u64, steps: &[Step]) -> bool {
    matches!(steps, [Step::Open { n: opened, .. }] if *opened == n)
}

#[test]
fn a_segment_is_sealed_at_the_first_fragment_boundary_behind_its_length() {
    let mut segmenter = segmenter();
    let steps = feed(&mut segmenter, 0..8);
    assert!(opens(0, &steps[..1]), "{steps:?}");
    assert_eq!(steps[1..], [Step::Complete, Step::Complete, Step::Seal]);
    assert!(opens(1, &feed(&mut segmenter, 8..9)));
}

#[test]
fn rounding_does_not_make_a_segment_longer() {
    let mut segmenter = segmenter();
    let mut late = chunk(7);
    feed(&mut segmenter, 0..7);
    late.duration -= 20_000_000;
    assert_eq!(told(&mut segmenter, &late), [Step::Complete, Step::Seal]);
}

#[test]
fn a_segment_of_many_bytes_is_sealed_before_its_time() {
    let mut segmenter = segmenter();
    feed(&mut segmenter, 0..3);
    let large = ChunkFacts { bytes: 10_000, ..chunk(3) };
    // Larger than a fragment may be, so it is a whole fragment.
    let large = ChunkFacts { starts_fragment: true, ..large };
    assert_eq!(told(&mut segmenter, &large), [Step::Complete, Step::Complete, Step::Seal]);
}

#[test]
fn a_gap_behind_chunks_that_the_disk_held_up_is_named_after_it() {
    let end = |lateness: u64, gap: u64| {
        let mut segmenter = segmenter();
        let at = |chunk: &ChunkFacts, late: u64| {
            let mono = chunk.start.0 + CHUNK + late;
            Now { mono: Mono(mono), system: Utc(i64::try_from(mono).unwrap()), synchronised: true }
        };
        for number in 0..4 {
            segmenter.chunk(&chunk(number), at(&chunk(number), lateness), Clock::Trusted);
        }
        // What was captured once the disk worked again.
        let fresh = ChunkFacts { starts_fragment: true, ..chunk(4 + gap) };
        let steps = segmenter.chunk(&fresh, at(&fresh, 0), Clock::Trusted);
        let reason = steps.iter().find_map(|step| match step {
            Step::End { reason } => Some(*reason),
            _ => None,
        });
        if gap == 0 {
            return reason;
        }
        // A later gap is the source's own again.
        let later = ChunkFacts { starts_fragment: true, ..chunk(5 + gap + 20) };
        let steps = segmenter.chunk(&later, at(&later, 0), Clock::Trusted);
        assert!(steps.contains(&Step::End { reason: SpanEnd::Source }), "{steps:?}");
        reason
    };
    let second = 1_000_000_000;
    assert_eq!(end(20 * second, 80), Some(SpanEnd::Storage));
    assert_eq!(end(5 * second, 80), Some(SpanEnd::Storage));
    assert_eq!(end(4 * second, 80), Some(SpanEnd::Source), "no more than a camera that is slow");
    assert_eq!(end(20 * second, 0), None, "all of it was held");
}

/// The chunk of this number of a fragment that never ends.
fn endless(number: u64) -> ChunkFacts {
    ChunkFacts { starts_fragment: number == 0, ends_fragment: false, ..chunk(number) }
}

#[test]
fn a_long_fragment_is_committed_in_parts() {
    let mut segmenter = segmenter();
    let steps: Vec<Step> = (0..18).flat_map(|number| told(&mut segmenter, &endless(number))).collect();
    assert!(opens(0, &steps[..1]), "{steps:?}");
    assert_eq!(steps[1..], [Step::Complete; 3], "each three seconds; a segment ends at an IDR alone");
    let idr = ChunkFacts { starts_fragment: true, ..endless(18) };
    let steps = told(&mut segmenter, &idr);
    assert_eq!(steps[0], Step::Seal);
    assert!(opens(1, &steps[1..]));
}

#[test]
fn a_large_fragment_is_committed_in_parts() {
    let mut segmenter = segmenter();
    let large = |number| ChunkFacts { bytes: 2_000, ..endless(number) };
    let steps: Vec<Step> = (0..4).flat_map(|number| told(&mut segmenter, &large(number))).collect();
    assert_eq!(steps[1..], [Step::Complete; 2]);
}

#[test]
fn the_owners_choice_drops_the_open_part_alone() {
    let mut segmenter = segmenter();
    (0..8).for_each(|number| drop(told(&mut segmenter, &endless(number))));
    let end = Step::End { reason: SpanEnd::Privacy };
    assert_eq!(segmenter.revoke(Epoch(1), SpanEnd::Privacy), [Step::Discard, Step::Seal, end]);
}

#[test]
fn a_fragment_without_end_ends_the_span_and_all_of_it_is_kept() {
    let mut segmenter = segmenter();
    let large = |number| ChunkFacts { bytes: 3_000, ..endless(number) };
    (0..6).for_each(|number| drop(told(&mut segmenter, &large(number))));
    // 18 000 bytes are in the segment, and everything except the last part is committed.
    let steps = told(&mut segmenter, &large(6));
    assert_eq!(steps, [Step::Seal, Step::End { reason: SpanEnd::Source }, Step::Refuse]);
    assert_eq!(told(&mut segmenter, &large(7)), [Step::Refuse], "nothing can be decoded before the next IDR");
}

#[test]
fn nothing_is_kept_before_the_first_idr() {
    let mut segmenter = segmenter();
    assert_eq!(feed(&mut segmenter, 1..3), [Step::Refuse, Step::Refuse]);
    assert!(opens(0, &feed(&mut segmenter, 4..5)));
}

#[test]
fn the_end_of_a_run_keeps_what_came_of_the_last_fragment() {
    let mut segmenter = segmenter();
    feed(&mut segmenter, 0..5);
    let steps = segmenter.end(Epoch(1), SpanEnd::Entitlement);
    assert_eq!(steps, [Step::Complete, Step::Seal, Step::End { reason: SpanEnd::Entitlement }]);
    assert_eq!(segmenter.end(Epoch(1), SpanEnd::Entitlement), []);
}

#[test]
fn the_owners_choice_drops_the_open_fragment() {
    for steps in [
        {
            let mut segmenter = segmenter();
            feed(&mut segmenter, 0..5);
            segmenter.end(Epoch(1), SpanEnd::Privacy)
        },
        {
            let mut segmenter = segmenter();
            feed(&mut segmenter, 0..5);
            segmenter.revoke(Epoch(1), SpanEnd::Privacy)
        },
    ] {
        assert_eq!(steps, [Step::Discard, Step::Seal, Step::End { reason: SpanEnd::Privacy }]);
    }
}

#[test]
fn the_end_of_another_run_changes_nothing() {
    let mut segmenter = segmenter();
    feed(&mut segmenter, 0..5);
    assert_eq!(segmenter.end(Epoch(2), SpanEnd::Source), []);
    assert_eq!(segmenter.revoke(Epoch(0), SpanEnd::Privacy), []);
    assert_eq!(segmenter.epoch(), Some(Epoch(1)));
}

#[test]
fn a_new_run_without_the_end_of_the_last_ends_the_span() {
    let mut segmenter = segmenter();
    feed(&mut segmenter, 0..4);
    let steps = told(&mut segmenter, &ChunkFacts { epoch: Epoch(2), ..chunk(4) });
    assert_eq!(steps[..2], [Step::Seal, Step::End { reason: SpanEnd::Source }]);
    assert!(opens(0, &steps[2..]), "{steps:?}");
}

#[test]
fn another_moov_ends_the_span() {
    let mut segmenter = segmenter();
    feed(&mut segmenter, 0..4);
    let steps = told(&mut segmenter, &ChunkFacts { same_format: false, ..chunk(4) });
    assert_eq!(steps[..2], [Step::Seal, Step::End { reason: SpanEnd::Format }]);
}

#[test]
fn a_chunk_that_a_reader_would_not_take_as_the_next_ends_the_span() {
    let mut segmenter = segmenter();
    feed(&mut segmenter, 0..4);
    let steps = told(&mut segmenter, &ChunkFacts { follows: false, ..chunk(4) });
    assert_eq!(steps[..2], [Step::Seal, Step::End { reason: SpanEnd::Source }]);
    assert!(opens(0, &steps[2..]), "{steps:?}");
}

#[test]
fn a_step_of_the_clock_ends_the_span_at_the_next_idr() {
    for (step, ends) in
        [(99_000_000, false), (-99_000_000, false), (101_000_000, true), (-3_600_000_000_000, true)]
    {
        let mut segmenter = segmenter();
        feed(&mut segmenter, 0..2);
        // In the middle of a fragment, where frames would be lost, the span continues.
        assert_eq!(segmenter.chunk(&chunk(2), now(step), Clock::Trusted), [Step::Append]);
        segmenter.chunk(&chunk(3), now(step), Clock::Trusted);
        let steps = segmenter.chunk(&chunk(4), now(step), Clock::Trusted);
        assert_eq!(steps.contains(&Step::End { reason: SpanEnd::Clock }), ends, "{step}: {steps:?}");
    }
}

#[test]
fn a_clock_that_comes_to_be_known_ends_the_span() {
    let mut segmenter = segmenter();
    for number in 0..4 {
        segmenter.chunk(&chunk(number), now(0), Clock::Unset);
    }
    let steps = segmenter.chunk(&chunk(4), now(0), Clock::Plausible);
    assert!(steps.contains(&Step::End { reason: SpanEnd::Clock }), "{steps:?}");
    for number in 5..8 {
        segmenter.chunk(&chunk(number), now(0), Clock::Plausible);
    }
    // Trusted without a step: the same time, with more trust.
    assert_eq!(segmenter.chunk(&chunk(8), now(0), Clock::Trusted), [Step::Append]);
}

#[test]
fn a_missing_picture_ends_the_span_and_jitter_does_not() {
    let picture = CHUNK / 8;
    for (gap, ends) in [(picture, false), (picture * 8 / 5, true)] {
        for number in [2, 4] {
            let mut segmenter = segmenter();
            feed(&mut segmenter, 0..number);
            let mut late = chunk(number);
            late.start = Mono(late.start.0 + gap);
            let steps = told(&mut segmenter, &late);
            assert_eq!(steps.contains(&Step::End { reason: SpanEnd::Source }), ends, "{gap}: {steps:?}");
        }
    }
}

#[test]
fn pictures_behind_a_gap_wait_for_the_next_idr() {
    let mut segmenter = segmenter();
    feed(&mut segmenter, 0..2);
    // Chunk 2 is missing: what came before it is kept, chunk 3 cannot be decoded.
    let steps = feed(&mut segmenter, 3..4);
    assert_eq!(steps, [Step::Complete, Step::Seal, Step::End { reason: SpanEnd::Source }, Step::Refuse]);
    assert!(opens(0, &feed(&mut segmenter, 4..5)));
}

#[test]
fn a_shut_down_keeps_everything() {
    let mut segmenter = segmenter();
    feed(&mut segmenter, 0..6);
    let steps = segmenter.shut_down();
    assert_eq!(steps, [Step::Complete, Step::Seal, Step::End { reason: SpanEnd::Shutdown }]);
    assert_eq!(segmenter.shut_down(), []);
}

proptest! {
    /// For all inputs the steps are consistent: a file is opened before anything is written, fragments begin
    /// with an IDR, counters grow by one, and the length of segments is right to within a fragment.
    #[test]
    fn steps_are_always_in_order(events in proptest::collection::vec((0_u8..20, any::<bool>(), any::<bool>()), 1..200)) {
        let mut segmenter = segmenter();
        let (mut open, mut fragment, mut next, mut in_span) = (false, false, 0_u64, false);
        let mut goes_on = false;
        let (mut time, mut epoch) = (1_000_000_000_u64, 1_u64);
        let mut length = 0_u64;
        for (event, starts, ends) in events {
            let mut idr = false;
            let steps = match event {
                0 => segmenter.end(Epoch(epoch), SpanEnd::Source),
                1 => segmenter.revoke(Epoch(epoch), SpanEnd::Privacy),
                2 => { epoch += 1; vec![] }
                3 => { time += CHUNK; vec![] }
                _ => {
                    idr = starts;
                    let chunk = ChunkFacts {
                        epoch: Epoch(epoch), same_format: event != 4,
                        follows: event != 5, starts_fragment: starts, ends_fragment: ends,
                        start: Mono(time), duration: CHUNK, frames: 8, bytes: 100,
                    };
                    time += CHUNK;
                    segmenter.chunk(&chunk, now(0), Clock::Trusted)
                }
            };
            for step in steps {
                match step {
                    Step::Open { n, .. } => {
                        prop_assert!(!open);
                        prop_assert_eq!(n, if in_span { next } else { 0 });
                        (open, in_span, next, length) = (true, true, n, 0);
                    }
                    Step::Append => {
                        prop_assert!(open && (goes_on || idr));
                        (fragment, goes_on, length) = (true, true, length + CHUNK);
                    }
                    Step::Complete => {
                        prop_assert!(open && fragment);
                        fragment = false;
                    }
                    Step::Discard => {
                        prop_assert!(open && fragment);
                        fragment = false;
                    }
                    Step::Seal => {
                        prop_assert!(open && !fragment);
                        (open, goes_on, next) = (false, false, next + 1);
                    }
                    Step::End { .. } => {
                        prop_assert!(in_span && !open);
                        in_span = false;
                    }
                    Step::Refuse => prop_assert!(!idr && !in_span),
                }
            }
            // Only a chunk ends a fragment.
            goes_on &= !(event > 3 && ends);
            let due = open && !goes_on && length >= 4_000_000_000;
            prop_assert!(!due, "a segment of {length} ns is still open");
        }
    }
}
