//! What proves to the uploader that the store holds a segment.

use crate::support::store_server::{Act, Habits, Request, StoreServer, error_document, sha256_base64};
use crate::support::uploads::{
    Camera, END_KEY, FOOTAGE_KEY, ID, NEXT_KEY, TOKEN, hexadecimal, megabytes, retry, upload,
};
use crate::upload_outcomes::{footage, span_end, time};
use bytes::Bytes;
use kasacam::config;
use kasacam::domain::effect::Share;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::segment::{KeyClock, Segment};
use std::sync::Arc;

#[tokio::test]
async fn a_stored_segment_is_proved_by_the_answer_to_its_put() {
    let server = StoreServer::start();
    let body = megabytes(1);

    let outcome = Camera::of(&server).upload(&footage(), body.clone()).await;

    assert_eq!(outcome, Outcome::Stored);
    assert_eq!(server.methods(), ["PUT"]);
    assert!(server.objects()[FOOTAGE_KEY].body == body);
}

#[tokio::test]
async fn the_put_carries_what_the_contract_says() {
    let server = StoreServer::start();

    Camera::of(&server).upload(&footage(), "picture").await;

    let requests = server.requests();
    let put: &Request = &requests[0];
    assert_eq!((put.method.as_str(), put.target.as_str()), ("PUT", FOOTAGE_KEY));
    let sha256 = hexadecimal(b"picture");
    let expected = [
        ("content-length", "7"),
        ("content-type", "video/mp4; codecs=\"avc1.64001f,mp4a.40.2\""),
        ("if-none-match", "*"),
        ("x-amz-checksum-sha256", &sha256_base64(b"picture")),
        ("x-amz-content-sha256", &sha256),
        ("x-amz-tagging", "history-hours=720"),
        ("x-amz-meta-device-id", "cam-0001"),
        ("x-amz-meta-duration-ms", "30067"),
        ("x-amz-meta-span", "f7d0"),
        ("x-amz-meta-boot-id", "b00t"),
        ("x-amz-meta-plan", "plus-monthly"),
        ("x-amz-meta-history-hours", "720"),
        ("x-amz-meta-clock", "trusted"),
        ("x-amz-meta-sha256", &sha256),
        ("x-amz-security-token", TOKEN),
    ];
    let signed = put.signed();
    for (name, value) in expected {
        assert_eq!(put.header(name), Some(value), "{name}");
        // A proxy may rewrite the length, so AWS clients leave it out.
        assert!(signed.contains(&name) || name == "content-length", "{name} is not signed");
    }
    assert!(signed.contains(&"host"));
    let authorization = put.header("authorization").unwrap();
    assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={ID}/")), "{authorization}");
    assert!(authorization.contains("/us-east-1/s3/aws4_request"), "{authorization}");
    assert!(put.header("x-amz-checksum-mode").is_none());
}

#[tokio::test]
async fn an_answer_without_a_checksum_is_followed_by_a_head_that_asks_for_it() {
    let server =
        StoreServer::with(Habits { checksum_in_put: false, metadata_in_head: false, ..Habits::default() });

    let outcome = Camera::of(&server).upload(&footage(), "picture").await;

    assert_eq!(outcome, Outcome::Stored);
    assert_eq!(server.methods(), ["PUT", "HEAD"]);
    let head = &server.requests()[1];
    assert_eq!(head.target, FOOTAGE_KEY);
    assert_eq!(head.header("x-amz-checksum-mode"), Some("ENABLED"));
    assert!(head.signed().contains(&"x-amz-checksum-mode"));
    assert_eq!(server.connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn a_store_without_checksums_proves_by_size_and_metadata() {
    let server =
        StoreServer::with(Habits { checksum_in_put: false, checksum_in_head: false, ..Habits::default() });
    assert_eq!(Camera::of(&server).upload(&footage(), "picture").await, Outcome::Stored);
    assert_eq!(server.methods(), ["PUT", "HEAD"]);
}

#[tokio::test]
async fn a_store_that_proves_nothing_has_stored_nothing() {
    let server = StoreServer::with(Habits {
        checksum_in_put: false,
        checksum_in_head: false,
        metadata_in_head: false,
        ..Habits::default()
    });
    let (scope, _, why) = retry(Camera::of(&server).upload(&footage(), "picture").await);
    assert_eq!(scope, Scope::Segment);
    assert!(why.contains("without proof"), "{why}");
}

#[tokio::test]
async fn a_wrong_checksum_is_no_proof() {
    let server = StoreServer::start();
    let headers =
        || vec![("etag", "\"x\"".to_owned()), ("x-amz-checksum-sha256", sha256_base64(b"other bytes"))];
    server.will([Act::StoreAndAnswer { status: 200, headers: headers(), body: String::new() }]);

    let (scope, _, why) = retry(Camera::of(&server).upload(&footage(), "picture").await);

    assert_eq!(scope, Scope::Segment);
    assert!(why.contains("without proof"), "{why}");
}

#[tokio::test]
async fn an_error_under_a_200_is_no_proof() {
    let server = StoreServer::start();
    let headers = vec![("etag", "\"x\"".to_owned()), ("x-amz-checksum-sha256", sha256_base64(b"picture"))];
    server.will([Act::Answer { status: 200, headers, body: error_document("InternalError") }]);

    let (scope, ..) = retry(Camera::of(&server).upload(&footage(), "picture").await);

    assert_eq!(scope, Scope::Segment);
    assert_eq!(server.methods(), ["PUT", "HEAD"]);
}

#[tokio::test]
async fn a_head_of_another_size_is_no_proof() {
    let server = StoreServer::start();
    let sum = ("x-amz-checksum-sha256", sha256_base64(b"picture"));
    let bare = |headers| Act::Answer { status: 200, headers, body: String::new() };
    server.will([bare(vec![]), bare(vec![sum, ("content-length", "6".into())])]);
    let (scope, ..) = retry(Camera::of(&server).upload(&footage(), "picture").await);
    assert_eq!(scope, Scope::Segment);
}

#[tokio::test]
async fn the_end_of_a_span_is_stored_empty_with_the_same_proof() {
    for habits in [Habits::default(), Habits { checksum_in_put: false, ..Habits::default() }] {
        let server = StoreServer::with(habits);

        let outcome = Camera::of(&server).upload(&span_end(), "never sent").await;

        assert_eq!(outcome, Outcome::Stored);
        let put = &server.requests()[0];
        assert_eq!(put.target, END_KEY);
        assert_eq!(put.body, b"");
        assert_eq!(put.header("content-length"), Some("0"));
        assert_eq!(put.header("content-type"), Some("application/octet-stream"));
        assert_eq!(put.header("x-amz-checksum-sha256"), Some(sha256_base64(b"").as_str()));
        assert_eq!(put.header("x-amz-meta-reason"), Some("privacy"));
        assert_eq!(server.objects()[END_KEY].body, b"");
    }
}

#[tokio::test]
async fn a_409_with_nothing_stored_is_not_stored() {
    let server = StoreServer::start();
    server.will([Act::status(409, "ConditionalRequestConflict")]);
    let camera = Camera::of(&server);

    let (scope, _, why) = retry(camera.upload(&footage(), "picture").await);

    assert_eq!((scope, why.as_str()), (Scope::Segment, "HTTP 409 ConditionalRequestConflict"));
    assert!(server.objects().is_empty());
    assert_eq!(camera.upload(&footage(), "picture").await, Outcome::Stored);
}

#[tokio::test]
async fn a_conflict_about_the_same_bytes_is_stored() {
    for status in [409, 412] {
        let server = StoreServer::start();
        server.put(FOOTAGE_KEY, b"picture");
        server.will([Act::status(status, "Conflict")]);
        assert_eq!(Camera::of(&server).upload(&footage(), "picture").await, Outcome::Stored);
        assert_eq!(server.methods(), ["PUT", "HEAD"]);
    }
}

#[tokio::test]
async fn a_key_that_other_bytes_have_moves_by_a_microsecond() {
    let server = StoreServer::start();
    server.put(FOOTAGE_KEY, b"PICTURE");

    let outcome = Camera::of(&server).upload(&footage(), "picture").await;

    assert_eq!(outcome, Outcome::Stored);
    let objects = server.objects();
    assert_eq!(objects[FOOTAGE_KEY].body, b"PICTURE", "what is there is never replaced");
    assert_eq!(objects[NEXT_KEY].body, b"picture");
}

#[tokio::test]
async fn a_conflict_that_cannot_be_looked_into_is_tried_again() {
    let server = StoreServer::start();
    server.put(FOOTAGE_KEY, b"picture");
    for look in [Act::status(500, "InternalError"), Act::status(429, "SlowDown")] {
        server.will([Act::status(412, "PreconditionFailed"), look]);
        let (scope, ..) = retry(Camera::of(&server).upload(&footage(), "picture").await);
        assert_eq!(scope, Scope::Segment);
    }
}

#[tokio::test]
async fn a_head_without_an_answer_says_that_the_store_is_away_and_nothing_of_the_segment() {
    for status in [200, 409, 412] {
        let server = StoreServer::start();
        let put = Act::StoreAndAnswer { status, headers: Vec::new(), body: String::new() };
        // On the kept connection, and on the one that is opened instead.
        server.will([put, Act::ResetBeforeHead, Act::ResetBeforeHead, Act::ResetBeforeHead]);
        let (scope, _, why) = retry(Camera::of(&server).upload(&footage(), "picture").await);
        assert_eq!(scope, Scope::Store, "after {status}: {why}");
        assert!(why.contains("closed") || why.contains("reset"), "after {status}: {why}");
    }
}

#[tokio::test]
async fn a_head_without_a_size_proves_by_the_stores_own_checksum_alone() {
    let sum = || ("x-amz-checksum-sha256", sha256_base64(b"picture"));
    let meant = || ("x-amz-meta-sha256", hexadecimal(b"picture"));
    let wrong = ("x-amz-checksum-sha256", sha256_base64(b"PICTURE"));
    for (headers, stored) in
        [(vec![sum()], true), (vec![meant()], false), (vec![wrong, meant()], false), (vec![], false)]
    {
        let server = StoreServer::start();
        let bare = Act::StoreAndAnswer { status: 200, headers: Vec::new(), body: String::new() };
        server.will([bare, Act::AnswerWithoutLength { headers: headers.clone() }]);
        let outcome = Camera::of(&server).upload(&footage(), "picture").await;
        assert_eq!(outcome == Outcome::Stored, stored, "{headers:?}: {outcome:?}");
        assert_eq!(server.methods(), ["PUT", "HEAD"]);
    }
}

#[tokio::test]
async fn a_store_without_proof_says_what_is_missing() {
    let server = StoreServer::with(Habits { checksum_in_put: false, ..Habits::default() });
    for (head, words) in [
        (Act::status(403, "AccessDenied"), "may not ask with a HEAD"),
        (Act::status(404, "NoSuchKey"), "finds nothing"),
        (Act::status(500, "InternalError"), "neither the answer nor a HEAD"),
    ] {
        server.will([Act::Behave, head]);
        let (scope, _, why) = retry(Camera::of(&server).upload(&footage(), "picture").await);
        assert_eq!(scope, Scope::Segment);
        assert!(why.contains("without proof") && why.contains(words), "{why}");
        server.forget(FOOTAGE_KEY);
    }
}

#[tokio::test]
async fn a_key_that_may_only_put_proves_by_the_put_alone() {
    let server = StoreServer::start();
    server.put(FOOTAGE_KEY, b"picture");
    server.will([Act::status(412, "PreconditionFailed"), Act::status(403, "AccessDenied")]);
    assert_eq!(Camera::of(&server).upload(&footage(), "picture").await, Outcome::Stored);
    assert_eq!(server.methods(), ["PUT", "HEAD", "PUT"]);
    assert_eq!(server.objects()[NEXT_KEY].body, b"picture");
}

#[tokio::test]
async fn a_store_that_ignores_if_none_match_is_found_out_by_one_object_put_again() {
    for replaces in [false, true] {
        let server = StoreServer::with(Habits { replaces, ..Habits::default() });
        let camera = Camera::of(&server);
        let uploader = camera.uploader().with_probe();
        // A large one is not sent twice.
        assert_eq!(upload(&uploader, &footage(), megabytes(5)).await, Outcome::Stored);
        assert_eq!(server.methods(), ["PUT"]);
        // No answer shows it: the probe is repeated with the next object.
        server.will([Act::Behave, Act::status(500, "InternalError")]);
        for n in 4..7 {
            let mut segment = footage();
            segment.record.n = n;
            assert_eq!(upload(&uploader, &segment, megabytes(1)).await, Outcome::Stored);
        }
        assert_eq!(server.methods(), ["PUT"; 6], "two probes, and no more once it is known");
        let sizes: Vec<usize> = server.requests().iter().map(|request| request.body.len()).collect();
        assert_eq!(sizes[5], 1 << 20, "{sizes:?}");
        assert_eq!(server.objects().len(), 4, "the probe leaves nothing behind");
        assert_eq!(uploader.found_replacing(), replaces);
        assert!(!uploader.found_replacing(), "it is told once");
    }
}

#[tokio::test]
async fn while_others_wait_only_the_end_of_a_span_is_put_again() {
    for share in [Share::Full, Share::Rest] {
        let server = StoreServer::start();
        let camera = Camera::of(&server);
        let uploader = camera.uploader().with_probe();
        let upload = async |segment: &Segment| {
            let body = Arc::new(Bytes::from(megabytes(1)));
            uploader.upload((share, Arc::default()), segment, time(), KeyClock::Trusted, body).await
        };
        assert_eq!(upload(&footage()).await, Outcome::Stored);
        assert_eq!(server.methods(), ["PUT"]);
        assert_eq!(upload(&span_end()).await, Outcome::Stored);
        assert_eq!(server.methods(), ["PUT"; 3]);
        let sizes: Vec<usize> = server.requests().iter().map(|request| request.body.len()).collect();
        assert_eq!(sizes, [1 << 20, 0, 0]);
        let mut next = footage();
        next.record.n = 9;
        assert_eq!(upload(&next).await, Outcome::Stored);
        assert_eq!(server.methods().len(), 4, "no more once it is known");
    }
}

#[tokio::test]
async fn a_probe_is_not_tried_for_ever() {
    let server = StoreServer::start();
    let camera = Camera::of(&server);
    let uploader = camera.uploader().with_probe();
    for n in 0..5 {
        server.will([Act::Behave]);
        if n < 3 {
            server.will([Act::status(500, "InternalError")]);
        }
        let mut segment = footage();
        segment.record.n = n;
        assert_eq!(upload(&uploader, &segment, "picture").await, Outcome::Stored);
    }
    assert_eq!(server.methods().len(), 5 + 3);
}

#[tokio::test]
async fn tags_can_be_left_out_for_stores_that_refuse_them() {
    let server = StoreServer::start();
    let mut camera = Camera::of(&server);
    camera.config.tags = false;
    assert_eq!(camera.upload(&footage(), "picture").await, Outcome::Stored);
    let put = &server.requests()[0];
    assert_eq!(put.header("x-amz-tagging"), None);
    assert_eq!(put.header("x-amz-meta-history-hours"), Some("720"));
}

#[tokio::test]
async fn checksums_can_be_left_out_for_stores_that_refuse_them() {
    let server = StoreServer::with(Habits { takes_checksums: false, ..Habits::default() });
    let mut camera = Camera::of(&server);
    let (scope, _, why) = retry(camera.upload(&footage(), "picture").await);
    assert_eq!((scope, why.as_str()), (Scope::Segment, "HTTP 400 InvalidArgument"));
    camera.config.checksums = false;
    assert_eq!(camera.upload(&footage(), "picture").await, Outcome::Stored);
    assert_eq!(server.methods(), ["PUT", "PUT", "HEAD"]);
    let requests = server.requests();
    let sha256 = hexadecimal(b"picture");
    assert_eq!(requests[1].header("x-amz-content-sha256"), Some(sha256.as_str()), "the body is signed still");
    // Another body under the key is also detected by the metadata alone.
    server.forget(FOOTAGE_KEY);
    server.put(FOOTAGE_KEY, b"PICTURE");
    let (scope, ..) = retry(camera.upload(&footage(), "picture").await);
    assert_eq!(scope, Scope::Segment, "an object without the metadata proves nothing");
}

#[tokio::test]
async fn a_bucket_may_stand_in_the_hosts_name() {
    let server = StoreServer::with(Habits { tls: false, ..Habits::default() });
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let mut camera = Camera::with(&format!("http://localhost:{port}"), &server.ca);
    camera.config.allow_plaintext = true;
    camera.config.addressing = config::Addressing::Virtual;
    // `*.localhost` is this machine (RFC 6761, 6.3); if the resolver does not know this, the test cannot run.
    let found = std::net::ToSocketAddrs::to_socket_addrs(&("kasa-care.localhost", 80));
    if found.is_err() {
        let (_, _, why) = retry(camera.upload(&footage(), "picture").await);
        assert!(why.contains("kasa-care.localhost"), "{why}");
        return;
    }
    assert_eq!(camera.upload(&footage(), "picture").await, Outcome::Stored);
    let put = &server.requests()[0];
    assert_eq!(put.target, FOOTAGE_KEY.replacen("/kasa-care", "", 1));
    assert_eq!(put.header("host"), Some(format!("kasa-care.localhost:{port}").as_str()));
}

#[tokio::test]
async fn a_lost_answer_does_not_store_a_segment_twice() {
    for act in [Act::StoreAndReset, Act::StoreAndCutHead, Act::StoreAndCutBody] {
        let server = StoreServer::start();
        let camera = Camera::of(&server);
        server.will([act.clone()]);

        let (scope, _, why) = retry(camera.upload(&footage(), "picture").await);
        assert_eq!(scope, Scope::Store, "{act:?}: {why}");
        let second = camera.upload(&footage(), "picture").await;

        assert_eq!(second, Outcome::Stored, "{act:?}");
        assert_eq!(server.objects().len(), 1, "{act:?}");
        assert_eq!(server.methods(), ["PUT", "PUT", "HEAD"], "{act:?}");
    }
}
