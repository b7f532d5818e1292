//! How runs are stopped.

use crate::support::*;
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::{Captured, SpanEnd};
use kasacam::domain::input::Input;
use kasacam::system::clock::mono;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_drop_closes_at_once_and_nothing_follows_the_end() {
    let mut camera = Camera::new(test_board());
    for epoch in 1..=5 {
        camera.start(epoch, WITH_AUDIO);
        camera.fragments(1);

        let asked = mono();
        camera.stop(epoch, StopManner::Drop, SpanEnd::Privacy);
        let returned = mono();
        let take = camera.rest();
        let told = mono().since(asked);

        assert!(told < patient(Duration::from_secs(2)), "told after {told:?}");
        assert!(returned.since(asked) < patient(Duration::from_millis(500)), "the caller does not wait");
        let took = take.closed_at.since(asked);
        assert!(took < patient(Duration::from_secs(1)), "closed after {took:?}");
        assert_eq!((take.end, take.fault), (SpanEnd::Privacy, None));
    }
    camera.is_silent_for(Duration::from_millis(700));
}

#[test]
fn a_drop_delivers_nothing_of_the_open_gop() {
    let mut camera = Camera::new(test_board());
    for epoch in 1..=3 {
        camera.start(epoch, WITH_AUDIO);
        camera.fragments(1);
        // The next one is due in a fifth of a second.
        camera.chunk();

        camera.stop(epoch, StopManner::Drop, SpanEnd::Privacy);

        let rest = camera.rest().chunks;
        assert!(rest.is_empty(), "{} frames", frames(&rest));
    }
}

#[test]
fn a_drop_is_never_reported_as_the_end_of_the_source() {
    // The thread that stops loses the core to the one that it wakes.
    let busy = Arc::new(());
    let cores = std::thread::available_parallelism().unwrap().get();
    let burden: Vec<_> = (0..cores)
        .map(|_| Arc::downgrade(&busy))
        .map(|busy| std::thread::spawn(move || while busy.strong_count() > 0 {}))
        .collect();
    let mut camera = Camera::new(test_board());
    for epoch in 1..=15 {
        camera.start(epoch, SILENT);
        camera.started();

        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: a plain system call that affects only this thread.
                unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
                camera.stop(epoch, StopManner::Drop, SpanEnd::Privacy);
            });
        });

        let take = camera.rest();
        assert_eq!((take.end, take.fault), (SpanEnd::Privacy, None), "run {epoch}");
    }
    drop(busy);
    burden.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_drop_cancels_the_chunk_that_waits_for_room() {
    let mut camera = Camera::with_room(test_board(), 1);
    for epoch in 1..=4 {
        camera.start(epoch, SILENT);
        wait_until(|| camera.captured.is_full());
        std::thread::sleep(Duration::from_millis(600));

        camera.stop(epoch, StopManner::Drop, SpanEnd::Privacy);

        assert_eq!(camera.rest().chunks.len(), 1, "what was in the channel, and nothing behind it");
    }
}

#[test]
fn a_drop_does_not_wait_for_a_blocked_spool() {
    let mut camera = Camera::with_room(test_board(), 1);
    camera.start(1, WITH_AUDIO);
    camera.started();
    // The channel holds one chunk, and the next one waits for room.
    wait_until(|| camera.captured.is_full());
    std::thread::sleep(Duration::from_millis(600));

    let asked = mono();
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    // Reported although there is no room for the end yet.
    let mut inputs = std::iter::from_fn(|| Some(camera.inputs.recv_timeout(deadline()).unwrap()));
    let closed = inputs.find_map(|input| match input {
        Input::CaptureClosed { at, fault, .. } => Some((at, fault)),
        _ => None,
    });
    let (at, fault) = closed.unwrap();
    assert!(at.since(asked) < patient(Duration::from_secs(1)), "closed after {:?}", at.since(asked));
    assert_eq!(fault, None);
    assert!(matches!(camera.captured.recv_timeout(deadline()), Ok(Captured::Chunk(_))));
    assert!(matches!(
        camera.captured.recv_timeout(deadline()),
        Ok(Captured::End { reason: SpanEnd::Privacy, .. })
    ));
}

#[test]
fn a_drop_before_anything_was_opened_opens_nothing() {
    let mut camera = Camera::new(test_board());

    camera.start(1, WITH_AUDIO);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    let take = camera.rest();

    assert_eq!((take.end, take.fault), (SpanEnd::Privacy, None));
    assert!(take.chunks.is_empty());
    camera.is_silent_for(Duration::from_millis(300));
}

#[test]
fn a_drain_delivers_the_open_gop_as_a_whole_fragment() {
    let folder = folder();
    let mut camera = Camera::new(test_board());
    camera.start(1, WITH_AUDIO);
    let mut chunks = camera.fragments(2);
    chunks.push(camera.chunk());
    let asked = mono();

    camera.stop(1, StopManner::Drain, SpanEnd::Shutdown);
    let take = camera.rest();

    chunks.extend(take.chunks);
    assert_eq!((take.end, take.fault), (SpanEnd::Shutdown, None));
    is_a_valid_stream(&chunks);
    let last = chunks.last().unwrap();
    assert!(last.ends_fragment);
    let until = last.start + Duration::from_nanos(last.duration);
    assert!(
        asked.since(until) < patient(Duration::from_millis(150)),
        "all up to the stop is there: {:?}",
        asked.since(until)
    );
    let frames = gops(&chunks).iter().sum::<u32>();
    assert_eq!(decoded(&write(folder.path(), &chunks)), frames as usize);
    assert!(take.closed_at.since(asked) < patient(Duration::from_secs(2)));
}

#[test]
fn a_drop_overtakes_a_drain() {
    let mut camera = Camera::with_room(test_board(), 1);
    camera.start(1, SILENT);
    wait_until(|| camera.captured.is_full());

    camera.stop(1, StopManner::Drain, SpanEnd::Shutdown);
    let asked = mono();
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    let take = camera.rest();

    assert_eq!(take.fault, None);
    assert!(take.closed_at.since(asked) < patient(Duration::from_secs(1)));
}

#[test]
fn a_stop_of_another_epoch_changes_nothing() {
    let mut camera = Camera::new(test_board());
    camera.start(7, SILENT);
    camera.fragments(1);

    camera.stop(6, StopManner::Drop, SpanEnd::Privacy);

    camera.fragments(2);
    camera.stop(7, StopManner::Drop, SpanEnd::Privacy);
    assert_eq!(camera.rest().end, SpanEnd::Privacy);
    // Of a run that is over, too.
    camera.stop(7, StopManner::Drop, SpanEnd::Privacy);
    camera.is_silent_for(Duration::from_millis(200));
}

fn wait_until(state: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !state() {
        assert!(started.elapsed() < deadline());
        std::thread::sleep(Duration::from_millis(5));
    }
}
