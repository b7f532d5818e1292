//! Uploads by grants, against a store that misbehaves. The test plays the cloud.

use crate::support::patience::patient;
use crate::support::store_server::{Act, Request, StoreServer, sha256_base64};
use crate::support::uploads::{FOOTAGE_KEY, Log, config_for, upload_once, within};
use crate::upload_outcomes::{footage, time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kasacam::config::{self, StoreCredentials};
use kasacam::domain::grant::{Grant, GrantAnswer, GrantRequest, Proof, Refused, Want};
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::time::Utc;
use kasacam::upload::{Timeouts, Uploader};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const SIGNATURE: &str = "X-Amz-Signature=00112233445566778899";
const ISSUED: Utc = Utc(1_796_000_000_000_000_000);

/// The cloud's answer for one object.
type Says = Arc<dyn Fn(usize, &Want) -> Result<Grant, &'static str> + Send + Sync>;

struct Camera {
    uploader: Arc<Uploader>,
    asked: Arc<Mutex<Vec<GrantRequest>>>,
    _files: TempDir,
}

impl Camera {
    fn start(server: &StoreServer, says: Says) -> Camera {
        let files = tempfile::tempdir().unwrap();
        let config = config::Upload {
            credentials: StoreCredentials::Grant,
            ..config_for(files.path(), &server.url(), &server.ca)
        };
        let timeouts = Timeouts { connect: Duration::from_secs(5), ..Timeouts::default() };
        let uploader = Arc::new(Uploader::with_timeouts(&config, "cam-0001", timeouts).unwrap());
        let asked: Arc<Mutex<Vec<GrantRequest>>> = Arc::default();
        let (grants, noted) = (uploader.grants().unwrap(), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let request = grants.next_request().await.unwrap();
                let number = noted.lock().unwrap().len();
                noted.lock().unwrap().push(request.clone());
                let mut answer = GrantAnswer {
                    id: request.id,
                    issued_at: ISSUED,
                    grants: Vec::new(),
                    refused: Vec::new(),
                };
                for want in &request.want {
                    match says(number, want) {
                        Ok(grant) => answer.grants.push(grant),
                        Err(reason) => {
                            answer.refused.push(Refused { key: want.key.clone(), reason: reason.into() });
                        }
                    }
                }
                grants.answered(&answer);
            }
        });
        Camera { uploader, asked, _files: files }
    }

    async fn upload(&self, body: &'static str) -> Outcome {
        let bytes = Bytes::from_static(body.as_bytes());
        within(40, upload_once(&self.uploader, &footage(), time(), bytes)).await
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// The right grant, valid for this many seconds.
fn grant(url: &str, want: &Want, seconds: u64) -> Grant {
    let sha256: Vec<u8> =
        (0..32).map(|i| u8::from_str_radix(&want.sha256[2 * i..2 * i + 2], 16).unwrap()).collect();
    Grant {
        key: want.key.clone(),
        url: format!("{url}/kasa-care/{}?{SIGNATURE}", want.key),
        headers: BTreeMap::from([
            ("content-length".into(), want.size.to_string()),
            ("content-type".into(), want.content_type.clone()),
            ("if-none-match".into(), "*".into()),
            ("x-amz-checksum-sha256".into(), STANDARD.encode(sha256)),
        ]),
        expires_at: ISSUED + Duration::from_secs(seconds),
        proof: Proof::AmzSha256,
    }
}

fn right(server: &StoreServer) -> Says {
    let url = server.url();
    Arc::new(move |_, want| Ok(grant(&url, want, 900)))
}

fn retry(outcome: Outcome) -> (Scope, String) {
    match outcome {
        Outcome::Retry { scope, why, .. } => (scope, why),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_put_is_what_the_cloud_signed_and_its_answer_is_the_proof() {
    let server = StoreServer::start();
    let camera = Camera::start(&server, right(&server));
    assert_eq!(camera.upload("picture").await, Outcome::Stored);
    let requests = server.requests();
    assert_eq!(server.methods(), ["PUT"]);
    let put: &Request = &requests[0];
    assert_eq!(put.target, format!("{FOOTAGE_KEY}?{SIGNATURE}"));
    assert_eq!((put.header("content-length"), put.header("if-none-match")), (Some("7"), Some("*")));
    assert!(put.header("authorization").is_none() && put.header("x-amz-meta-span").is_none());
    let asked = camera.asked.lock().unwrap()[0].clone();
    assert_eq!((asked.want.len(), asked.want[0].size), (1, 7));
    assert_eq!(asked.want[0].metadata["device-id"], "cam-0001");
    assert_eq!(asked.id.len(), 32);
}

#[tokio::test]
async fn a_key_that_is_taken_moves_and_the_next_one_has_a_grant_of_its_own() {
    let server = StoreServer::start();
    server.put(FOOTAGE_KEY, b"another camera's");
    let camera = Camera::start(&server, right(&server));
    assert_eq!(camera.upload("picture").await, Outcome::Stored);
    // It may not ask what is stored, and so sends no HEAD.
    assert_eq!(server.methods(), ["PUT", "PUT"]);
    let keys: Vec<String> = camera.asked.lock().unwrap().iter().map(|it| it.want[0].key.clone()).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
}

#[tokio::test]
async fn another_kind_of_store_proves_by_md5() {
    let server = StoreServer::start();
    let url = server.url();
    let says: Says = Arc::new(move |number, want| {
        let mut grant = grant(&url, want, 900);
        grant.headers.insert("x-ms-meta-sha256".into(), want.sha256.clone());
        grant.headers.remove("x-amz-checksum-sha256");
        grant.proof = if number == 0 { Proof::ContentMd5 } else { Proof::GoogHash };
        Ok(grant)
    });
    // md5sum of "picture".
    let md5 = STANDARD.encode(hex("5456fc54c74a297ce994998c2873b370"));
    let answer =
        |name, value: String| Act::Answer { status: 201, headers: vec![(name, value)], body: String::new() };
    for (act, is_proof) in [
        (answer("content-md5", md5.clone()), true),
        (answer("content-md5", STANDARD.encode([0; 16])), false),
        (answer("x-goog-hash", format!("crc32c=AAAAAA==,md5={md5}")), true),
        (answer("x-goog-hash", String::from("crc32c=AAAAAA==")), false),
        // The header of another kind of store is not the proof that the grant named.
        (answer("x-amz-checksum-sha256", sha256_base64(b"picture")), false),
    ] {
        server.will([act]);
        let camera = Camera::start(&server, Arc::clone(&says));
        let outcome = camera.upload("picture").await;
        assert_eq!(outcome == Outcome::Stored, is_proof, "{outcome:?}");
    }
    assert!(!server.methods().contains(&String::from("HEAD")));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn a_grant_that_ends_on_the_way_costs_one_retry_and_no_footage() {
    let server = StoreServer::start();
    let url = server.url();
    // The first grant is still valid when the upload begins, and has expired when the store answers.
    let says: Says = Arc::new(move |number, want| Ok(grant(&url, want, if number == 0 { 7 } else { 900 })));
    let camera = Camera::start(&server, says);
    server.will([Act::AnswerLate {
        wait: patient(Duration::from_secs(8)),
        status: 403,
        code: "AccessDenied",
    }]);
    assert_eq!(camera.upload("picture").await, Outcome::Stored);
    assert_eq!((camera.asked(), server.methods().len()), (2, 2));
    assert_eq!(server.objects().len(), 1);
}

#[tokio::test]
async fn a_good_grant_that_the_store_refuses_is_asked_for_again_at_the_next_attempt() {
    let server = StoreServer::start();
    let camera = Camera::start(&server, right(&server));
    server.will([Act::status(403, "SignatureDoesNotMatch")]);
    let (scope, why) = retry(camera.upload("picture").await);
    assert_eq!((scope, why.as_str()), (Scope::Store, "HTTP 403 SignatureDoesNotMatch"));
    assert_eq!(camera.asked(), 1);
    assert_eq!(camera.upload("picture").await, Outcome::Stored);
    assert_eq!(camera.asked(), 2);
    // A grant that was not used because the store was away is used again.
    let camera = Camera::start(&server, right(&server));
    server.forget(FOOTAGE_KEY);
    server.will([Act::status(503, "SlowDown")]);
    retry(camera.upload("picture").await);
    assert_eq!(camera.upload("picture").await, Outcome::Stored);
    assert_eq!(camera.asked(), 1);
}

#[tokio::test]
async fn what_is_not_granted_is_sent_nowhere_and_waits_alone() {
    let server = StoreServer::start();
    let elsewhere = StoreServer::start();
    let url = elsewhere.url();
    let (here, there) = (server.url(), url.clone());
    let refuses: Says = Arc::new(|_, _| Err("over_quota"));
    let leads_elsewhere: Says = Arc::new(move |_, want| Ok(grant(&there, want, 900)));
    let another_size: Says =
        Arc::new(move |_, want| Ok(grant(&here, &Want { size: want.size + 1, ..want.clone() }, 900)));
    for (says, word) in
        [(refuses, "over_quota"), (leads_elsewhere, "another host"), (another_size, "another size")]
    {
        let camera = Camera::start(&server, says);
        let (scope, why) = retry(camera.upload("picture").await);
        assert_eq!(scope, Scope::Segment, "{why}");
        assert!(why.contains(word) && !why.contains(&url), "{why}");
    }
    assert_eq!((server.connections(), elsewhere.connections()), (0, 0));
}

#[tokio::test]
async fn whether_the_store_answers_is_found_out_without_a_grant() {
    let server = StoreServer::start();
    let camera = Camera::start(&server, right(&server));
    assert!(camera.uploader.store_answers().await);
    assert_eq!((camera.asked(), server.methods().as_slice()), (0, &[String::from("HEAD")][..]));
    server.will([Act::ResetBeforeHead, Act::ResetOnAccept]);
    assert!(!camera.uploader.store_answers().await);
}

#[tokio::test]
async fn no_log_error_or_debug_text_holds_a_presigned_url() {
    let log = Log::default();
    let guard = log.listens();
    let server = StoreServer::start();
    let camera = Camera::start(&server, right(&server));
    let mut said = String::new();
    server.will([
        Act::status(403, "SignatureDoesNotMatch"),
        Act::Answer { status: 307, headers: vec![("location", server.url())], body: String::new() },
        Act::ResetInBody(3),
        Act::ResetAfterBody,
        Act::StoreAndCutBody,
    ]);
    for _ in 0..6 {
        said += &format!("{:?}\n", camera.upload("picture").await);
    }
    said += &format!("{:?} {:?}", camera.uploader, camera.uploader.grants());
    drop(guard);
    let logged = log.text();
    assert!(logged.len() > 100, "the log is kept: {logged}");
    for hidden in ["X-Amz-Signature", "00112233", FOOTAGE_KEY] {
        assert!(!said.contains(hidden), "{hidden} in {said}");
    }
    for hidden in ["X-Amz-Signature", "00112233"] {
        assert!(!logged.contains(hidden), "{hidden} in {logged}");
    }
}
