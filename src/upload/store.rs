//! An S3 store: the conditional PUT, and the store's statement of what it holds afterwards.
//!
//! 1. PUT with `If-None-Match: *` and the SHA-256 that the store must check.
//! 2. A 2xx that repeats the checksum is the proof. A 2xx without one, a 409 and a 412 say nothing of the
//!    bytes that are held: S3 also answers 409 if a concurrent write failed and nothing is stored. Then
//! 3. HEAD, whose checksum and size are compared with those of the object. If it has no size, the store's own
//!    checksum is enough, and metadata is not.
//!
//! The HEAD asks for the checksum (`x-amz-checksum-mode: ENABLED`, which S3 requires to be signed). If a
//! store keeps none, the metadata `sha256` that was sent with the object is compared instead: it can only be
//! there if the store accepted a request whose signature covers the SHA-256 of the body.

use super::answer::Answer;
use super::body;
use super::client::{Ask, Client, Exchanged, Failed, NoAnswer, Timeouts};
use super::credentials::{Credentials, Source};
use super::grant::{Granting, Grants};
use super::iot::Provider;
use super::object::{Object, ObjectStore};
use super::rate::Rate;
use super::request::Signer;
use super::roots::Roots;
use super::sigv4::SigV4;
use crate::config::{self, StoreCredentials};
use crate::domain::grant::Proof;
use crate::domain::outcome::{Attempt, Held};
use crate::net::suites;
use http::{StatusCode, Uri};
use std::net::IpAddr;
use std::sync::Arc;

/// One bucket of an S3 store.
pub struct S3Store {
    client: Client,
    signer: Arc<dyn Signer>,
    source: Option<Arc<Source>>,
    grants: Option<Arc<Grants>>,
}

impl std::fmt::Debug for S3Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Store").field("client", &self.client).finish_non_exhaustive()
    }
}

impl S3Store {
    /// No connection is made, and the credentials are not read, until the first PUT.
    ///
    /// # Errors
    /// What in the configuration is impossible, or what is wrong with the file of roots.
    pub fn new(config: &config::Upload, rate: Arc<Rate>, timeouts: Timeouts) -> Result<S3Store, String> {
        let plaintext = check_endpoint(&config.endpoint, config.allow_plaintext)?;
        // Both become part of a URL or a header, where no other characters are allowed.
        check_word("upload.region", &config.region)?;
        check_word("upload.url", &config.bucket)?;
        let tls = (!plaintext).then(|| Roots::read(&config.ca).map(Arc::new)).transpose()?;
        if tls.is_some() {
            tracing::info!("{}", suites::in_words(suites::has_aes()));
        }
        let client = Client::new(tls, rate, timeouts);
        let source = match &config.credentials {
            StoreCredentials::File(path) => Source::File(Credentials::new(path)),
            StoreCredentials::Iot(from) => Source::Iot(Arc::new(Provider::new(from))),
            StoreCredentials::Grant => {
                let grants = Arc::new(Grants::new(config));
                let signer = Arc::new(Granting(Arc::clone(&grants)));
                return Ok(S3Store { client, signer, source: None, grants: Some(grants) });
            }
        };
        let source = Arc::new(source);
        let signer = Arc::new(SigV4::new(config, Arc::clone(&source)));
        Ok(S3Store { client, signer, source: Some(source), grants: None })
    }

    /// The grants to wait for, if the cloud signs each PUT.
    #[must_use]
    pub fn grants(&self) -> Option<Arc<Grants>> {
        self.grants.clone()
    }

    /// Whether the credentials can be read, for `kasacamd check`.
    ///
    /// # Errors
    /// What is wrong with their file; never its content.
    pub fn check_credentials(&self) -> Result<(), String> {
        match self.source.as_deref() {
            Some(Source::File(file)) => file.current().map(drop),
            // Nothing is known before the provider is asked.
            Some(Source::Iot(_)) | None => Ok(()),
        }
    }

    async fn look(&self, key: &str) -> Result<Answer, String> {
        let looked = self.client.exchange(&*self.signer, Ask::Head(key)).await;
        looked.map(|exchanged| exchanged.answer).map_err(|fault| fault.why)
    }

    /// The PUT; once more if another signature may be accepted at once.
    async fn send(&self, object: &Object) -> Result<Exchanged, NoAnswer> {
        let send = || self.client.exchange(&*self.signer, Ask::Put(object));
        let sent = send().await?;
        let Answer { status, code, date, .. } = &sent.answer;
        if let (Some("RequestTimeTooSkewed"), Some(date)) = (code.as_deref(), date) {
            self.signer.heard_time(*date);
            return send().await;
        }
        if matches!(*status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && self.signer.refused(&object.key, code.as_deref()).await
        {
            return send().await;
        }
        Ok(sent)
    }
}

#[async_trait::async_trait]
impl ObjectStore for S3Store {
    async fn put(&self, object: &Object) -> Attempt {
        let (answer, proof) = match self.send(object).await {
            Ok(Exchanged { answer, proof }) => (answer, proof),
            Err(NoAnswer { why, by: Failed::Body }) => return Attempt::Unreadable { why },
            Err(NoAnswer { why, by: Failed::Signature }) => return Attempt::Ungranted { why },
            Err(NoAnswer { why, by: Failed::Store }) => return Attempt::Unanswered { why },
        };
        let mut retry_after = answer.retry_after;
        let same = match (proof, answer.md5) {
            (Proof::AmzSha256, _) => answer.checksum.map(|sum| sum == object.sha256),
            (Proof::GoogHash | Proof::ContentMd5, Some(sum)) if answer.status.is_success() => {
                match body::md5(Arc::clone(&object.body)).await {
                    Ok(ours) => Some(sum == ours),
                    Err(why) => return Attempt::Unreadable { why },
                }
            }
            (Proof::GoogHash | Proof::ContentMd5, _) => None,
        };
        let held = match held_by_put(&answer, same) {
            Verdict::Told(held) => held,
            Verdict::AskHead if !self.signer.may_look() => Held::Secret,
            Verdict::AskHead => match self.look(&object.key).await {
                Ok(head) => {
                    retry_after = retry_after.or(head.retry_after);
                    held_by_head(&head, object)
                }
                // Whatever the PUT was answered: the state of this object is unknown, and the store is
                // unreachable.
                Err(why) => return Attempt::Unanswered { why },
            },
        };
        Attempt::Answered { status: answer.status.as_u16(), held, retry_after, code: answer.code }
    }

    async fn refuses_again(&self, object: &Object) -> Option<bool> {
        let untold = |why: &str| {
            tracing::debug!("whether the store honours If-None-Match is not known yet: {why}");
            None
        };
        match self.client.exchange(&*self.signer, Ask::Put(object)).await {
            Ok(Exchanged { answer, .. }) => match answer.status {
                StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Some(true),
                status if status.is_success() && answer.code.is_none() => Some(false),
                status => untold(&format!("HTTP {}", status.as_u16())),
            },
            Err(fault) => untold(&fault.why),
        }
    }

    /// Asks for an object that nobody writes: that it does not exist, or may not be seen, is an answer too.
    async fn answers(&self) -> bool {
        self.look("answers").await.is_ok()
    }
}

enum Verdict {
    Told(Held),
    AskHead,
}

/// `same`: whether the checksum of the answer equals that of the object, if the answer has one that is proof.
fn held_by_put(answer: &Answer, same: Option<bool>) -> Verdict {
    let success = answer.status.is_success();
    match same {
        // An error document under a 2xx cancels the 2xx.
        Some(same) if success && answer.code.is_none() => {
            Verdict::Told(if same { Held::Same } else { Held::Different })
        }
        _ if success => Verdict::AskHead,
        _ if matches!(answer.status, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED) => {
            Verdict::AskHead
        }
        _ => Verdict::Told(Held::Untold),
    }
}

fn held_by_head(answer: &Answer, object: &Object) -> Held {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Held::Nothing,
        // A key that may only put, as a camera's should: the store will not tell, now or later.
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => return Held::Secret,
        _ => return Held::Untold,
    }
    let same_size = answer.size.map(|held| held == object.size);
    // The store's own checksum takes precedence over metadata, which only says what was intended.
    let same_sum = answer.checksum.or(answer.metadata).map(|sum| sum == object.sha256);
    match (same_size, same_sum) {
        (Some(true), Some(true)) => Held::Same,
        // The store's own checksum covers everything that it holds, whatever the length.
        (None, Some(true)) if answer.checksum.is_some() => Held::Same,
        (Some(false), _) | (_, Some(false)) => Held::Different,
        (None, _) | (_, None) => Held::Untold,
    }
}

/// `https`, or `http` to this machine if that is allowed. Returns whether it is the latter.
fn check_endpoint(endpoint: &str, allow_plaintext: bool) -> Result<bool, String> {
    let refuse = |why: &str| Err(format!("upload.endpoint: {why}"));
    // Nothing of the endpoint is quoted: it may contain a password.
    let Ok(uri) = endpoint.parse::<Uri>() else {
        return refuse("is not a URL of the form https://host[:port]");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse("is not a URL of the form https://host[:port]");
    };
    if authority.as_str().contains('@') {
        return refuse("has a user or password in it: they belong into the file of upload.credentials");
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || endpoint.contains('#') {
        return refuse("has more than https://host[:port]: bucket and prefix belong into upload.url");
    }
    match scheme {
        "https" => Ok(false),
        "http" if !allow_plaintext => {
            refuse("is not encrypted: use https (http is for development: upload.allow_plaintext)")
        }
        "http" if is_loopback(authority.host()) => Ok(true),
        "http" => refuse("http is allowed to a loopback address alone"),
        _ => refuse("must begin with https://"),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_word(what: &str, word: &str) -> Result<(), String> {
    let good = (1..=255).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    good.then_some(()).ok_or_else(|| format!("{what}: must be 1 to 255 letters, digits, or - . _"))
}
