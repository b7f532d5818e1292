//! How the body of an object is sent: in pieces, with `Expect`, over kept connections, at a limited rate.

use crate::support::patience::patient;
use crate::support::store_server::{Act, Habits, StoreServer, error_document};
use crate::support::uploads::{
    Camera, FOOTAGE_KEY, SHORT, assert_waits, megabytes, retry, upload, upload_body, upload_once, within,
};
use crate::upload_outcomes::{footage, time};
use bytes::Bytes;
use kasacam::domain::effect::Share;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::segment::KeyClock;
use kasacam::upload::Timeouts;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Pieces of 64 KiB; counts them, and the threads on which they are read.
#[derive(Default)]
struct Counted {
    pieces: usize,
    alive: Arc<AtomicUsize>,
    most_alive: Arc<AtomicUsize>,
    threads: Arc<Mutex<Vec<std::thread::ThreadId>>>,
}

struct Piece(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

impl kasacam::upload::Body for Counted {
    fn read(&self, take: &mut dyn FnMut(Bytes) -> bool) -> Result<(), String> {
        self.threads.lock().unwrap().push(std::thread::current().id());
        for n in 0..self.pieces {
            let alive = self.alive.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_alive.fetch_max(alive, Ordering::SeqCst);
            if !take(Bytes::from_owner(Piece(vec![(n % 251) as u8; 64 * 1024], Arc::clone(&self.alive)))) {
                break;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_to_its_end_says_nothing_of_the_store() {
    struct Spoilt(std::sync::atomic::AtomicU32);
    impl kasacam::upload::Body for Spoilt {
        fn read(&self, take: &mut dyn FnMut(Bytes) -> bool) -> Result<(), String> {
            take(Bytes::from(vec![1; 4096]));
            let before = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if before == 0 { Ok(()) } else { Err("the disk does not give it".into()) }
        }
    }
    let server = StoreServer::start();
    // The first pass, for its checksum, succeeds; the second one sends.
    struct Shrinks(std::sync::atomic::AtomicU32);
    impl kasacam::upload::Body for Shrinks {
        fn read(&self, take: &mut dyn FnMut(Bytes) -> bool) -> Result<(), String> {
            let before = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            take(Bytes::from(vec![1; if before == 0 { 4096 } else { 1024 }]));
            Ok(())
        }
    }
    let camera = Camera::of(&server);
    let uploader = camera.uploader();
    let (scope, _, why) =
        retry(within(20, upload_body(&uploader, &footage(), time(), Arc::new(Shrinks(0.into())))).await);
    assert_eq!(scope, Scope::Segment, "{why}");
    assert!(why.contains("shorter"), "{why}");
    let outcome = within(20, upload_body(&uploader, &footage(), time(), Arc::new(Spoilt(1.into())))).await;
    let (scope, _, why) = retry(outcome);
    assert_eq!(scope, Scope::Segment, "{why}");
    assert!(why.contains("does not give it"), "{why}");
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn a_large_body_is_never_held_whole_and_is_read_off_the_thread_of_the_network() {
    let server = StoreServer::start();
    let body = Counted { pieces: 256, ..Counted::default() };
    let (alive, most, threads) =
        (Arc::clone(&body.alive), Arc::clone(&body.most_alive), Arc::clone(&body.threads));
    let camera = Camera::of(&server);
    let uploader = camera.uploader();
    let outcome = within(60, upload_body(&uploader, &footage(), time(), Arc::new(body))).await;
    assert_eq!(outcome, Outcome::Stored);
    assert_eq!(server.objects()[FOOTAGE_KEY].body.len(), 256 * 64 * 1024);
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 8, "{most} of 256 pieces were held at once");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    // Once for the checksum, once for sending.
    let threads = threads.lock().unwrap();
    assert_eq!(threads.len(), 2);
    assert!(!threads.contains(&std::thread::current().id()), "it is read on the network's thread");
}

#[tokio::test]
async fn it_is_told_once_when_more_than_half_of_a_body_is_sent() {
    // Bytes in the buffers in between count as sent; a quarter of this size is far more than they hold.
    const SIZE: usize = 32 << 20;
    for (read, is_past) in [(SIZE / 4, false), (SIZE * 3 / 4, true)] {
        let server = StoreServer::start();
        server.will([Act::StallInBody(read)]);
        let camera = Camera::of(&server);
        let uploader = camera.uploader();
        let half_sent = Arc::new(tokio::sync::Notify::new());
        let share = (Share::Full, Arc::clone(&half_sent));
        let body = Arc::new(Bytes::from(vec![7; SIZE]));
        let segment = footage();
        let upload = uploader.upload(share, &segment, time(), KeyClock::Trusted, body);
        assert_waits(within(20, upload).await, "no byte moved");
        let told = || tokio::time::timeout(Duration::ZERO, half_sent.notified());
        assert_eq!(told().await.is_ok(), is_past, "{read} of {SIZE} bytes were read");
        assert!(told().await.is_err(), "it is told twice");
    }
}

#[tokio::test]
async fn a_store_that_refuses_at_once_is_not_sent_the_body() {
    let server = StoreServer::start();
    let headers = vec![("retry-after", "7".to_owned())];
    server.will([Act::RefuseHead { status: 503, headers, body: error_document("SlowDown") }]);
    let (scope, after, why) = retry(Camera::of(&server).upload(&footage(), megabytes(8)).await);
    assert_eq!((scope, after), (Scope::Store, Some(Duration::from_secs(7))), "{why}");
    assert!(why.contains("SlowDown"), "{why}");
    assert_eq!(server.requests()[0].header("expect"), Some("100-continue"));
    assert!(server.requests()[0].body.is_empty());
}

/// Until the store has no connection left.
async fn all_closed(server: &StoreServer) {
    let closed = async {
        while server.open() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(10, closed).await;
}

/// A server may answer, keep the connection, and expect the body all the same (RFC 9110, 10.1.1).
#[tokio::test]
async fn a_body_that_was_refused_is_not_sent_behind_the_answer() {
    let server = StoreServer::start();
    let camera = Camera::of(&server);
    let uploader = camera.uploader();
    for _ in 0..2 {
        server.will([Act::RefuseAndRead { status: 503, code: "SlowDown" }]);
        let (scope, _, why) = retry(upload(&uploader, &footage(), megabytes(8)).await);
        assert_eq!(scope, Scope::Store, "{why}");
        assert!(why.contains("SlowDown"), "{why}");
        // Longer than `100 Continue` is waited for: by then the connection is closed.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        all_closed(&server).await;
        assert_eq!(server.in_vain(), 0);
    }
    assert_eq!(upload(&uploader, &footage(), megabytes(1)).await, Outcome::Stored);
    let asked: Vec<bool> = server.requests().iter().map(|r| r.header("expect").is_some()).collect();
    assert_eq!(asked, [true; 3], "the store was waited for, but had answered");
}

#[tokio::test]
async fn a_connection_that_opens_slowly_is_not_taken_for_a_store_that_does_not_know_expect() {
    let server = StoreServer::start();
    let mut camera = Camera::of(&server);
    camera.timeouts = Timeouts { inactivity: Duration::from_secs(5), ..SHORT };
    let uploader = camera.uploader();
    server.will([
        Act::LateOnAccept(Duration::from_millis(1500)),
        Act::RefuseHead { status: 503, headers: Vec::new(), body: error_document("SlowDown") },
    ]);
    retry(upload(&uploader, &footage(), megabytes(8)).await);
    assert_eq!(upload(&uploader, &footage(), megabytes(8)).await, Outcome::Stored);
    let asked: Vec<bool> = server.requests().iter().map(|r| r.header("expect").is_some()).collect();
    assert_eq!(asked, [true, true]);
}

#[tokio::test]
async fn the_rest_of_a_body_that_was_refused_on_the_way_is_not_sent() {
    const SIZE: usize = 64 << 20;
    let server = StoreServer::with(Habits { continues: false, ..Habits::default() });
    let camera = Camera::of(&server);
    let uploader = camera.uploader();
    // From here on it is not asked for `100 Continue`.
    assert_eq!(upload(&uploader, &footage(), megabytes(1)).await, Outcome::Stored);
    server.will([Act::RefuseAndRead { status: 503, code: "SlowDown" }]);
    let (scope, _, why) = retry(upload(&uploader, &footage(), vec![7; SIZE]).await);
    assert_eq!(scope, Scope::Store, "{why}");
    all_closed(&server).await;
    assert!(server.requests()[1].header("expect").is_none());
    // Buffers of the kernel and of TLS hold some of it.
    let read = server.in_vain();
    assert!((1..SIZE / 2).contains(&read), "{read} bytes of {SIZE} came behind the refusal");
}

#[tokio::test]
async fn a_refusal_before_the_body_is_read_is_heard_without_expect_too() {
    let server = StoreServer::with(Habits { continues: false, ..Habits::default() });
    let mut camera = Camera::of(&server);
    // Longer than a server is waited for.
    camera.timeouts = Timeouts { inactivity: Duration::from_secs(5), ..SHORT };
    let uploader = camera.uploader();
    // From here on it is not asked for `100 Continue`.
    assert_eq!(upload(&uploader, &footage(), megabytes(1)).await, Outcome::Stored);
    for size in [7, 100_000, 300_000, 1 << 20, 8 << 20] {
        for _ in 0..8 {
            let headers = vec![("retry-after", "7".to_owned())];
            server.will([Act::RefuseHead { status: 503, headers, body: error_document("SlowDown") }]);
            let (scope, after, why) = retry(upload(&uploader, &footage(), vec![7; size]).await);
            assert_eq!((scope, after), (Scope::Store, Some(Duration::from_secs(7))), "{size}: {why}");
            assert!(why.starts_with("HTTP 503"), "{size}: {why}");
        }
    }
}

#[tokio::test]
async fn a_store_that_does_not_know_expect_is_asked_without_it_at_once() {
    let server = StoreServer::start();
    server.will([Act::RefuseHead { status: 417, headers: Vec::new(), body: String::new() }]);
    let camera = Camera::of(&server);
    let uploader = camera.uploader();
    assert_eq!(upload(&uploader, &footage(), megabytes(1)).await, Outcome::Stored);
    let mut other = footage();
    other.record.n = 9;
    assert_eq!(upload(&uploader, &other, megabytes(1)).await, Outcome::Stored);
    let asked: Vec<bool> = server.requests().iter().map(|r| r.header("expect").is_some()).collect();
    assert_eq!(asked, [true, false, false]);
}

#[tokio::test]
async fn a_kept_connection_may_be_reset_at_any_step_and_the_upload_goes_on_at_once() {
    for act in [
        Act::ResetBeforeHead,
        Act::ResetInBody(0),
        Act::ResetInBody(300_000),
        Act::ResetAfterBody,
        Act::StoreAndReset,
    ] {
        for size in [100, 100_000, 4 << 20] {
            let server = StoreServer::start();
            let camera = Camera::of(&server);
            let uploader = camera.uploader();
            assert_eq!(upload(&uploader, &footage(), "picture").await, Outcome::Stored);
            server.will([act.clone()]);
            let mut other = footage();
            other.record.n = 9;
            let outcome = upload(&uploader, &other, vec![7; size]).await;
            assert_eq!(outcome, Outcome::Stored, "{act:?} with {size} bytes");
            assert_eq!(server.objects().len(), 2, "{act:?} with {size} bytes");
        }
    }
}

#[tokio::test]
async fn a_store_that_never_says_continue_is_waited_for_once() {
    let server = StoreServer::with(Habits { continues: false, ..Habits::default() });
    let mut camera = Camera::of(&server);
    // Longer than a server is waited for.
    camera.timeouts = Timeouts { inactivity: Duration::from_secs(5), ..SHORT };
    let uploader = camera.uploader();
    assert_eq!(upload(&uploader, &footage(), megabytes(1)).await, Outcome::Stored);
    assert_eq!(upload(&uploader, &footage(), megabytes(2)).await, Outcome::Stored);
    let asked: Vec<bool> = server.requests().iter().map(|r| r.header("expect").is_some()).collect();
    assert_eq!(asked.first(), Some(&true));
    assert!(asked.iter().skip(1).all(|asked| !asked), "{asked:?}");
}

#[tokio::test]
async fn a_kept_connection_that_is_dead_costs_nothing() {
    let server = StoreServer::start();
    let camera = Camera::of(&server);
    let uploader = camera.uploader();
    assert_eq!(upload(&uploader, &footage(), "picture").await, Outcome::Stored);
    server.will([Act::ResetBeforeHead]);
    let mut other = footage();
    other.record.n = 9;
    assert_eq!(upload(&uploader, &other, "another").await, Outcome::Stored);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn max_rate_holds_and_can_be_changed_while_an_upload_runs() {
    let server = StoreServer::start();
    let mut camera = Camera::of(&server);
    camera.config.max_rate = Some(8 * 512 * 1024);
    let uploader = Arc::new(camera.uploader());

    let begun = Instant::now();
    assert_eq!(upload(&uploader, &footage(), megabytes(1)).await, Outcome::Stored);
    let held = begun.elapsed();
    // Two seconds at the rate, minus the burst of a tenth of a second.
    assert!(held >= Duration::from_millis(1850), "{held:?}");
    assert!(held <= patient(Duration::from_secs(5)), "{held:?}");

    uploader.set_max_rate(Some(8 * 16 * 1024));
    let task = {
        let uploader = Arc::clone(&uploader);
        tokio::spawn(async move {
            let later = time() + Duration::from_secs(1);
            upload_once(&uploader, &footage(), later, Bytes::from(megabytes(1))).await
        })
    };
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!task.is_finished(), "64 s at 16 KiB/s");
    uploader.set_max_rate(None);
    assert_eq!(within(20, task).await.unwrap(), Outcome::Stored);
    assert!(begun.elapsed() < patient(Duration::from_secs(10)), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn max_rate_is_kept_and_live_footage_has_most_of_it() {
    let server = StoreServer::start();
    let mut camera = Camera::of(&server);
    camera.config.max_rate = Some(8 * 1024 * 1024);
    let uploader = Arc::new(camera.uploader());
    let begun = Instant::now();
    let start = |share, megabyte: usize, later: u64| {
        let uploader = Arc::clone(&uploader);
        tokio::spawn(async move {
            let time = time() + Duration::from_secs(later);
            let body = Arc::new(Bytes::from(megabytes(megabyte)));
            let outcome =
                uploader.upload((share, Arc::default()), &footage(), time, KeyClock::Trusted, body).await;
            (outcome, begun.elapsed())
        })
    };

    let (backlog, live) = (start(Share::Rest, 7, 0), start(Share::Full, 3, 1));

    let (outcome, live) = within(60, live).await.unwrap();
    assert_eq!(outcome, Outcome::Stored);
    let (outcome, backlog) = within(60, backlog).await.unwrap();
    assert_eq!(outcome, Outcome::Stored);
    // 10 MiB at 1 MiB/s; 3 MiB of them at eight ninths of it. A slow machine makes both longer, and neither shorter.
    assert!(backlog >= Duration::from_millis(9_500), "{backlog:?}");
    assert!(live * 2 < backlog, "live footage took {live:?} of {backlog:?}");
}
