//! The uploader against a store on loopback, or a network, that misbehaves in all known ways.

use crate::support::patience::patient;
use crate::support::store_server::{Act, StoreServer, error_document};
use crate::support::uploads::{
    Camera, FOOTAGE_KEY, SHORT, assert_waits, megabytes, retry, until, upload, upload_once,
};
use crate::upload_outcomes::{footage, time};
use bytes::Bytes;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::upload::Timeouts;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn refusals_are_told_by_status_and_code() {
    let server = StoreServer::start();
    let camera = Camera::of(&server);
    let refusals = [
        (403, "AccessDenied", Scope::Store),
        (403, "RequestTimeTooSkewed", Scope::Store),
        (404, "NoSuchBucket", Scope::Store),
        (500, "InternalError", Scope::Store),
        (400, "BadDigest", Scope::Segment),
    ];
    for (status, code, expected) in refusals {
        server.will([Act::status(status, code)]);
        let (scope, after, why) = retry(camera.upload(&footage(), "picture").await);
        assert_eq!((scope, after, why), (expected, None, format!("HTTP {status} {code}")));
    }
    assert_eq!(server.methods(), ["PUT"; 5], "one request each");
}

#[tokio::test]
async fn a_store_may_say_how_long_to_wait() {
    let server = StoreServer::start();
    let camera = Camera::of(&server);
    let date = || ("date", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
    let answers = [
        (429, vec![("retry-after", "7".to_owned())], Some(7)),
        (503, vec![("retry-after", "120".to_owned())], Some(120)),
        (503, vec![date(), ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT".to_owned())], Some(30)),
        (503, vec![("retry-after", "999999999".to_owned())], Some(3600)),
        (503, vec![("retry-after", "soon".to_owned())], None),
    ];
    for (status, headers, seconds) in answers {
        server.will([Act::Answer { status, headers, body: error_document("SlowDown") }]);
        let (scope, after, _) = retry(camera.upload(&footage(), "picture").await);
        assert_eq!((scope, after), (Scope::Store, seconds.map(Duration::from_secs)));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = StoreServer::start();
    let elsewhere = StoreServer::start();
    let to = format!("{}{FOOTAGE_KEY}", elsewhere.url());
    server.will([Act::Answer { status: 307, headers: vec![("location", to)], body: String::new() }]);

    assert_waits(Camera::of(&server).upload(&footage(), "picture").await, "HTTP 307");

    assert_eq!(server.methods(), ["PUT"]);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let server = StoreServer::start();
    let body = "x".repeat(200_000);
    server.will([Act::Answer { status: 500, headers: Vec::new(), body }]);
    assert_waits(Camera::of(&server).upload(&footage(), "picture").await, "larger than 64 KiB");

    let headers = vec![("x-long", "x".repeat(200_000))];
    server.will([Act::Answer { status: 500, headers, body: String::new() }]);
    assert_waits(Camera::of(&server).upload(&footage(), "picture").await, "not HTTP");
}

#[tokio::test]
async fn a_refused_connection_is_reported() {
    let server = StoreServer::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let camera = Camera::with(&format!("https://{free}"), &server.ca);
    assert_waits(
        camera.upload(&footage(), "picture").await,
        &format!("cannot connect: {free}: 127.0.0.1: connection refused"),
    );
}

#[tokio::test]
async fn a_reset_is_reported_wherever_it_comes() {
    let server = StoreServer::start();
    for act in [Act::ResetOnAccept, Act::ResetInBody(0), Act::ResetInBody(300_000), Act::ResetAfterBody] {
        server.will([act.clone()]);
        let outcome = Camera::of(&server).upload(&footage(), megabytes(4)).await;
        let (scope, _, why) = retry(outcome);
        assert_eq!(scope, Scope::Store, "{act:?}");
        assert!(why.contains("reset") || why.contains("closed") || why.contains("pipe"), "{act:?}: {why}");
    }
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn a_stall_ends_the_upload_wherever_it_comes() {
    let server = StoreServer::start();
    // In the body with the buffers between them full and not full, and after the body.
    for (act, size) in [(Act::StallInBody(1000), 8 << 20), (Act::StallInBody(1000), 2000), (Act::Mute, 7)] {
        server.will([act]);
        let begun = Instant::now();
        assert_waits(Camera::of(&server).upload(&footage(), vec![1; size]).await, "no byte moved for");
        assert!(begun.elapsed() >= SHORT.inactivity);
        assert!(begun.elapsed() < patient(SHORT.answer), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_peer_that_never_speaks_tls_is_given_up() {
    let server = StoreServer::start();
    let mut camera = Camera::of(&server);
    camera.timeouts =
        Timeouts { connect: Duration::from_secs(1), inactivity: Duration::from_secs(9), ..SHORT };
    server.will([Act::MuteOnAccept]);
    assert_waits(camera.upload(&footage(), "picture").await, "no answer to TLS within 1s");
}

#[tokio::test]
async fn a_store_over_which_next_to_nothing_moves_is_given_up() {
    let server = StoreServer::start();
    let mut camera = Camera::of(&server);
    camera.timeouts =
        Timeouts { inactivity: Duration::from_secs(9), answer: Duration::from_secs(2), ..SHORT };
    server.will([Act::ReadSlowly]);
    assert_waits(camera.upload(&footage(), megabytes(8)).await, "less than 64 KiB went within 2s");
    // A kilobyte a second is slow, but it moves.
    camera.timeouts = SHORT;
    server.will([Act::ReadSlowly]);
    assert_eq!(camera.upload(&footage(), vec![7; 1500]).await, Outcome::Stored);
}

#[tokio::test]
async fn a_dropped_upload_closes_its_connection_and_stores_nothing() {
    let server = StoreServer::start();
    let mut camera = Camera::of(&server);
    // A minute for the body: it is certainly being sent when it is dropped.
    camera.config.max_rate = Some(8 * 16 * 1024);
    let uploader = Arc::new(camera.uploader());
    let task = {
        let uploader = Arc::clone(&uploader);
        tokio::spawn(
            async move { upload_once(&uploader, &footage(), time(), Bytes::from(megabytes(1))).await },
        )
    };
    until("the request comes", || server.begun() == 1).await;
    assert_eq!(server.open(), 1);

    task.abort();

    assert!(task.await.unwrap_err().is_cancelled());
    until("the connection closes", || server.open() == 0).await;
    assert!(server.objects().is_empty());
    assert_eq!(upload(&uploader, &footage(), "picture").await, Outcome::Stored);
}

#[tokio::test]
async fn a_store_may_be_named_by_a_host_name() {
    // If `localhost` is ::1 first, nothing listens there, and the next address is tried.
    let server = StoreServer::start();
    let camera = Camera::with(&format!("https://localhost:{}", server.address.port()), &server.ca);
    assert_eq!(camera.upload(&footage(), "picture").await, Outcome::Stored);
}
