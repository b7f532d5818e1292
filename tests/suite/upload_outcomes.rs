//! What an answer of the store means, and which object a segment becomes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
// Helpers of tests are tests too: a panic in one shows where it is.

use crate::support::uploads::upload_once;
use bytes::Bytes;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::outcome::{Attempt, Held, MAX_RETRY_AFTER, Outcome, Scope, classify};
use kasacam::domain::segment::{Content, KeyClock, KeyForm, Record, RecordClock, Segment, Serial};
use kasacam::domain::time::Utc;
use kasacam::upload::rate::Bucket;
use kasacam::upload::{Object, ObjectStore, Uploader, object_for};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const EVERY_HELD: [Held; 5] = [Held::Same, Held::Different, Held::Nothing, Held::Secret, Held::Untold];

fn answered(status: u16, held: Held, code: Option<&str>) -> Outcome {
    classify(Attempt::Answered { status, held, retry_after: None, code: code.map(str::to_owned) })
}

fn scope(outcome: &Outcome) -> Option<Scope> {
    match outcome {
        Outcome::Retry { scope, .. } => Some(*scope),
        Outcome::Stored | Outcome::KeyTaken => None,
    }
}

#[test]
fn nothing_counts_as_stored_without_the_stores_word_for_these_bytes() {
    for status in 100..=599 {
        for held in EVERY_HELD {
            let stored = answered(status, held, None) == Outcome::Stored;
            let proved =
                held == Held::Same && (matches!(status, 200..=299) || status == 409 || status == 412);
            assert_eq!(stored, proved, "{status} {held:?}");
        }
    }
    let ungranted = classify(Attempt::Ungranted { why: "over_quota".into() });
    assert_eq!(ungranted, Outcome::Retry { scope: Scope::Segment, after: None, why: "over_quota".into() });
    let silent = classify(Attempt::Unanswered { why: "reset".into() });
    assert_eq!(silent, Outcome::Retry { scope: Scope::Store, after: None, why: "reset".into() });
}

#[test]
fn a_key_is_given_up_only_where_the_store_holds_other_bytes_under_it() {
    for status in 100..=599 {
        for held in EVERY_HELD {
            let taken = answered(status, held, None) == Outcome::KeyTaken;
            let proved = (held == Held::Different && (status == 409 || status == 412))
                || (held == Held::Secret && status == 412);
            assert_eq!(taken, proved, "{status} {held:?}");
        }
    }
}

#[test]
fn a_conflict_with_nothing_stored_is_tried_again() {
    for held in [Held::Nothing, Held::Untold] {
        for status in [409, 412] {
            let outcome = answered(status, held, Some("ConditionalRequestConflict"));
            assert_eq!(scope(&outcome), Some(Scope::Segment), "{status} {held:?}");
        }
    }
}

#[test]
fn a_refusal_of_the_object_holds_back_that_segment_alone() {
    for status in [400, 411, 413, 414, 415, 422] {
        assert_eq!(scope(&answered(status, Held::Untold, None)), Some(Scope::Segment), "{status}");
    }
    for code in ["BadDigest", "EntityTooLarge", "InvalidArgument", "MetadataTooLarge", "InvalidTag"] {
        assert_eq!(scope(&answered(400, Held::Untold, Some(code))), Some(Scope::Segment), "{code}");
    }
}

#[test]
fn a_refusal_of_us_holds_back_every_upload() {
    for status in [301, 307, 401, 403, 404, 408, 429, 500, 501, 502, 503, 504] {
        assert_eq!(scope(&answered(status, Held::Untold, None)), Some(Scope::Store), "{status}");
    }
    let codes = [
        "RequestTimeTooSkewed",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "InvalidAccessKeyId",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidBucketName",
        "RequestTimeout",
    ];
    for code in codes {
        assert_eq!(scope(&answered(400, Held::Untold, Some(code))), Some(Scope::Store), "{code}");
    }
}

#[test]
fn the_store_cannot_keep_us_waiting_for_more_than_an_hour() {
    let wait = |retry_after| {
        let outcome =
            classify(Attempt::Answered { status: 503, held: Held::Untold, retry_after, code: None });
        match outcome {
            Outcome::Retry { after, .. } => after,
            Outcome::Stored | Outcome::KeyTaken => panic!("{outcome:?}"),
        }
    };
    assert_eq!(wait(None), None);
    assert_eq!(wait(Some(Duration::from_secs(120))), Some(Duration::from_secs(120)));
    assert_eq!(wait(Some(Duration::MAX)), Some(MAX_RETRY_AFTER));
    assert_eq!(MAX_RETRY_AFTER, Duration::from_secs(3600));
}

pub fn footage() -> Segment {
    Segment {
        serial: Serial(42),
        content: Content::Footage { duration: 30_066_600_000, codecs: "avc1.64001f,mp4a.40.2".into() },
        record: Record {
            device: "cam-0001".into(),
            span: "f7d0".into(),
            n: 3,
            boot: "b00t".into(),
            start_mono: 5,
            start_utc: time(),
            clock: RecordClock::Trusted,
            plan: "plus-monthly".into(),
            history_hours: 720,
            late_sync: false,
            timing: kasacam::domain::fragment::Timing::Device,
        },
        bytes: 5,
    }
}

pub fn span_end() -> Segment {
    let mut segment = footage();
    segment.content = Content::End { reason: SpanEnd::Privacy };
    segment.record.n = 4;
    segment
}

pub fn time() -> Utc {
    Utc::parse("2026-11-23T12:34:56.789012Z").unwrap()
}

fn form() -> KeyForm {
    KeyForm { prefix: "v1/".into(), device: "cam-0001".into(), postfix: String::new() }
}

fn made(segment: &Segment, clock: KeyClock) -> Object {
    let digest = kasacam::upload::body::Digest { size: 5, sha256: [0xab; 32] };
    object_for(&form(), segment, time(), clock, Arc::new(Bytes::from_static(b"bytes")), digest)
}

#[test]
fn footage_of_a_camera_elsewhere_says_how_its_time_was_come_by() {
    use kasacam::domain::fragment::Timing;
    let said = |timing, mut segment: Segment| {
        segment.record.timing = timing;
        let named = |name: &str| name == "time-source" || name == "lag-ms";
        let metadata = made(&segment, KeyClock::Trusted).metadata.into_iter();
        metadata.filter(|(name, _)| named(name)).map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(said(Timing::Device, footage()), Vec::<String>::new());
    assert_eq!(said(Timing::Arrival, footage()), ["arrival"]);
    assert_eq!(said(Timing::Camera { lag_us: 212_499 }, footage()), ["camera", "212"]);
    assert_eq!(said(Timing::Arrival, span_end()), Vec::<String>::new());
}

#[test]
fn footage_becomes_the_object_of_the_contract() {
    let object = made(&footage(), KeyClock::Corrected);
    assert_eq!(object.key, "v1/cam-0001/2026-11-23/12/34-56.789012Z.3.mp4");
    assert_eq!(object.content_type, "video/mp4; codecs=\"avc1.64001f,mp4a.40.2\"");
    assert_eq!(object.size, 5);
    assert_eq!(object.tags, [("history-hours", "720".to_owned())]);
    let expected = [
        ("device-id", "cam-0001"),
        ("duration-ms", "30067"),
        ("span", "f7d0"),
        ("boot-id", "b00t"),
        ("plan", "plus-monthly"),
        ("history-hours", "720"),
        ("clock", "corrected"),
        ("sha256", &"ab".repeat(32)),
    ];
    assert_eq!(object.metadata, expected.map(|(key, value)| (key, value.to_owned())));
}

#[test]
fn the_end_of_a_span_says_why_and_is_no_video() {
    let object = made(&span_end(), KeyClock::Trusted);
    assert_eq!(object.key, "v1/cam-0001/2026-11-23/12/34-56.789012Z.4.mp4_end");
    assert_eq!(object.content_type, "application/octet-stream");
    let metadata: BTreeMap<_, _> = object.metadata.into_iter().collect();
    assert_eq!(metadata["reason"], "privacy");
    assert_eq!(metadata["duration-ms"], "0");
    assert_eq!(metadata["clock"], "trusted");
}

/// In the order of keys a span's end comes before a span that begins in the very microsecond in which it
/// ends.
#[tokio::test]
async fn the_end_of_a_span_sorts_before_what_begins_then() {
    let mut first = footage();
    first.record.n = 0;
    let mut keys = Vec::new();
    for segment in [first, span_end()] {
        keys.extend(upload_to(vec![answer(200, Held::Same)], &segment).await.1);
    }
    keys.sort();
    assert_eq!(keys.len(), 2);
    assert!(keys[0].ends_with(".4.mp4_end") && keys[1].ends_with(".0.mp4"), "{keys:?}");
}

#[test]
fn what_a_header_cannot_carry_does_not_reach_one() {
    let mut segment = footage();
    segment.record.plan = "été\r\nx-amz-acl: public-read".into();
    segment.record.span = "s".repeat(5000);
    segment.content = Content::Footage { duration: 1, codecs: "avc1\"\r\nx: y é".into() };
    let object = made(&segment, KeyClock::Plausible);
    assert_eq!(object.content_type, "video/mp4; codecs=\"avc1xy\"");
    let metadata: BTreeMap<_, _> = object.metadata.into_iter().collect();
    assert_eq!(metadata["plan"], "_t___x-amz-acl:_public-read");
    assert_eq!(metadata["span"].len(), 200);
    assert_eq!(metadata["clock"], "plausible");
}

/// A store that gives scripted answers, and notes the requested keys.
#[derive(Default)]
struct Scripted {
    answers: Mutex<Vec<Attempt>>,
    keys: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl ObjectStore for Scripted {
    async fn put(&self, object: &Object) -> Attempt {
        self.keys.lock().unwrap().push(object.key.clone());
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    }

    async fn refuses_again(&self, _: &Object) -> Option<bool> {
        None
    }

    async fn answers(&self) -> bool {
        matches!(self.answers.lock().unwrap()[0], Attempt::Answered { .. })
    }
}

fn answer(status: u16, held: Held) -> Attempt {
    Attempt::Answered { status, held, retry_after: None, code: None }
}

async fn upload_to(answers: Vec<Attempt>, segment: &Segment) -> (Outcome, Vec<String>) {
    let store = Arc::new(Scripted { answers: Mutex::new(answers), keys: Mutex::default() });
    let uploader = Uploader::over(store.clone(), "v1/", "cam-0001");
    let outcome = upload_once(&uploader, segment, time(), Bytes::from_static(b"bytes")).await;
    let keys = store.keys.lock().unwrap().clone();
    (outcome, keys)
}

#[tokio::test]
async fn a_taken_key_moves_by_a_microsecond_at_a_time() {
    let taken = answer(412, Held::Different);
    let (outcome, keys) = upload_to(vec![taken.clone(), taken, answer(200, Held::Same)], &footage()).await;
    assert_eq!(outcome, Outcome::Stored);
    let tails: Vec<&str> = keys.iter().map(|key| &key["v1/cam-0001/2026-11-23/12/".len()..]).collect();
    assert_eq!(tails, ["34-56.789012Z.3.mp4", "34-56.789013Z.3.mp4", "34-56.789014Z.3.mp4"]);
}

#[tokio::test]
async fn the_search_for_a_free_key_ends() {
    let (outcome, keys) = upload_to(vec![answer(409, Held::Different)], &footage()).await;
    assert_eq!(scope(&outcome), Some(Scope::Segment));
    assert_eq!(keys.len(), 16);
}

#[tokio::test]
async fn the_uploader_never_tries_again_by_itself() {
    for attempt in [answer(503, Held::Untold), answer(200, Held::Untold), answer(409, Held::Nothing)] {
        let (outcome, keys) = upload_to(vec![attempt, answer(200, Held::Same)], &footage()).await;
        assert!(scope(&outcome).is_some());
        assert_eq!(keys.len(), 1);
    }
}

#[tokio::test]
async fn footage_of_another_device_is_never_sent() {
    let mut segment = footage();
    segment.record.device = "cam-0002".into();
    let (outcome, keys) = upload_to(vec![answer(200, Held::Same)], &segment).await;
    assert_eq!(scope(&outcome), Some(Scope::Segment));
    assert!(keys.is_empty());
}

/// Sends pieces through the bucket as fast as it allows, for `seconds`; returns how many bytes were sent.
fn sent(bucket: &mut Bucket, start: Duration, seconds: u64, piece: u64) -> u64 {
    let (mut now, mut bytes) = (start, 0);
    let end = start + Duration::from_secs(seconds);
    loop {
        now += bucket.take(piece, now);
        if now >= end {
            return bytes;
        }
        bytes += piece;
    }
}

#[test]
fn the_rate_holds_within_five_percent_over_ten_seconds() {
    for rate in [1_000, 125_000, 1_000_000] {
        let mut bucket = Bucket::default();
        bucket.set(Some(rate), Duration::ZERO);
        // Also after a pause, which must not be compensated.
        for start in [0, 3600] {
            let bytes = sent(&mut bucket, Duration::from_secs(start), 10, rate / 20);
            assert!(bytes.abs_diff(10 * rate) <= rate / 2, "{bytes} at {rate} from {start}");
        }
    }
}

#[test]
fn a_new_rate_counts_from_now() {
    let mut bucket = Bucket::default();
    bucket.set(Some(1_000), Duration::ZERO);
    bucket.take(60_000, Duration::ZERO);
    assert_eq!(bucket.take(1, Duration::from_secs(1)), Duration::from_secs(59));
    bucket.set(Some(1_000_000), Duration::from_secs(2));
    assert_eq!(bucket.take(1, Duration::from_secs(2)), Duration::ZERO);
    bucket.set(None, Duration::from_secs(3));
    assert_eq!(bucket.take(u64::MAX, Duration::from_secs(3)), Duration::ZERO);
    assert_eq!(bucket.take(u64::MAX, Duration::from_secs(3)), Duration::ZERO);
}

#[test]
fn a_rate_of_nothing_is_not_a_stall() {
    let mut bucket = Bucket::default();
    bucket.set(Some(0), Duration::ZERO);
    bucket.take(1_000, Duration::ZERO);
    assert!(bucket.take(1, Duration::ZERO) <= Duration::from_secs(1));
}
