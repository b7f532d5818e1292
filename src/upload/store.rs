//! An S3 store: the conditional PUT, and the store's word on what it holds afterwards.
//!
//! 1. PUT with `If-None-Match: *` and the SHA-256 that the store must check.
//! 2. A 2xx that repeats the checksum is the proof. A 2xx without one, a 409 and a 412 say nothing of
//!    the bytes that are held: S3 answers 409 also where a concurrent write failed and nothing is
//!    stored. Then
//! 3. HEAD, whose size and checksum are compared with those of the object.
//!
//! The HEAD asks for the checksum (`x-amz-checksum-mode: ENABLED`, which S3 wants signed). Where a
//! store keeps none, the metadata `sha256` that was sent with the object is compared instead: it can
//! be there only if the store took a request whose signature covers the SHA-256 of the body.

use super::answer::Answer;
use super::connector::{Connector, Slot};
use super::credentials::Credentials;
use super::rate::Rate;
use super::{Object, tls};
use crate::config;
use crate::domain::outcome::{Attempt, Held};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredentialProvider, Checksum, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientOptions, GetOptions, ObjectStore as _, PutMode, PutOptions, PutPayload,
    RetryConfig, TagSet,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name, TCP and TLS together: 10 s.
    pub connect: Duration,
    /// With no byte sent or received for so long the connection ends: 30 s.
    pub inactivity: Duration,
    /// The least that a whole request is given: 60 s.
    pub least: Duration,
    /// The slowest rate, in bytes a second, at which a larger body may go: 16 KiB/s.
    pub slowest: u64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            inactivity: Duration::from_secs(30),
            least: Duration::from_secs(60),
            slowest: 16 * 1024,
        }
    }
}

impl Timeouts {
    /// For a whole request with a body of `size` bytes. A rate that we keep to ourselves (`limit`, in
    /// bytes a second) lengthens it: two uploads share it, and the network may take half of what is left.
    #[must_use]
    pub fn deadline(&self, size: u64, limit: Option<u64>) -> Duration {
        let slowest = limit.map_or(self.slowest, |limit| self.slowest.min(limit / 4)).max(1);
        self.least.max(Duration::from_secs(size / slowest))
    }
}

/// One bucket of an S3 store.
#[derive(Debug)]
pub struct S3Store {
    /// Two clients on one pool of connections: the second asks for checksums, by a header that a PUT
    /// does not have.
    put: AmazonS3,
    head: AmazonS3,
    credentials: Arc<Credentials>,
}

impl S3Store {
    /// No connection is made, and the credentials are not read, until the first PUT.
    ///
    /// # Errors
    /// What in the configuration cannot be, or what is wrong with the file of roots.
    pub fn new(config: &config::Upload, rate: Arc<Rate>, timeouts: Timeouts) -> Result<S3Store, String> {
        let plaintext = check_endpoint(&config.endpoint, config.allow_plaintext)?;
        // Both end up in a URL or a header, where nothing else may be.
        check_word("upload.region", &config.region)?;
        check_word("the bucket of upload.url", &config.bucket)?;
        let connector = Connector::new(tls::client_config(&config.ca)?, plaintext, rate, timeouts);
        let credentials = Arc::new(Credentials::new(&config.credentials));
        let build = |headers: HeaderMap| {
            let options = ClientOptions::new().with_allow_http(plaintext).with_default_headers(headers);
            AmazonS3Builder::new()
                .with_bucket_name(&config.bucket)
                .with_region(&config.region)
                .with_endpoint(&config.endpoint)
                .with_virtual_hosted_style_request(false)
                .with_credentials(Arc::clone(&credentials) as AwsCredentialProvider)
                .with_checksum_algorithm(Checksum::SHA256)
                .with_conditional_put(S3ConditionalPut::ETagMatch)
                // The machine tries again, with a back-off that it can report.
                .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
                .with_client_options(options)
                .with_http_connector(connector.clone())
                .build()
                .map_err(|error| format!("upload: the store cannot be set up: {error}"))
        };
        let put = build(HeaderMap::new())?;
        let head =
            build(HeaderMap::from_iter([(CHECKSUM_MODE.clone(), HeaderValue::from_static("ENABLED"))]))?;
        Ok(S3Store { put, head, credentials })
    }

    /// Whether the credentials can be read, for `kasacamd check`.
    ///
    /// # Errors
    /// What is wrong with their file; never what is in it.
    pub fn check_credentials(&self) -> Result<(), String> {
        self.credentials.current().map(drop)
    }

    async fn send(&self, path: &Path, object: &Object) -> Option<Result<Answer, String>> {
        let slot = Slot::default();
        let mut options =
            PutOptions { mode: PutMode::Create, tags: TagSet::default(), ..PutOptions::default() };
        options.attributes = attributes(object);
        for (key, value) in &object.tags {
            options.tags.push(key, value);
        }
        options.extensions.insert(slot.clone());
        options.extensions.insert(object.share);
        // The result adds nothing to what the connector saw, and its errors lack most of it.
        let _ = self.put.put_opts(path, PutPayload::from_bytes(object.body.clone()), options).await;
        slot.take().map(|learnt| learnt.map_err(|fault| fault.to_string()))
    }

    async fn look(&self, path: &Path) -> Option<Answer> {
        let slot = Slot::default();
        let mut options = GetOptions::new().with_head(true);
        options.extensions.insert(slot.clone());
        let _ = self.head.get_opts(path, options).await;
        slot.take()?.ok()
    }
}

static CHECKSUM_MODE: http::HeaderName = http::HeaderName::from_static("x-amz-checksum-mode");

#[async_trait::async_trait]
impl super::ObjectStore for S3Store {
    async fn put(&self, object: &Object) -> Attempt {
        if let Err(why) = self.credentials.current() {
            return Attempt::Unanswered { why };
        }
        let Ok(path) = Path::parse(&object.key) else {
            return Attempt::Unanswered {
                why: "the key has characters that object keys may not have".into(),
            };
        };
        let answer = match self.send(&path, object).await {
            Some(Ok(answer)) => answer,
            Some(Err(why)) => return Attempt::Unanswered { why },
            None => return Attempt::Unanswered { why: "the request could not be made".into() },
        };
        let mut retry_after = answer.retry_after;
        let held = match held_by_put(&answer, &object.sha256) {
            Verdict::Told(held) => held,
            Verdict::AskHead => match self.look(&path).await {
                Some(head) => {
                    retry_after = retry_after.or(head.retry_after);
                    held_by_head(&head, object)
                }
                None => Held::Untold,
            },
        };
        Attempt::Answered { status: answer.status.as_u16(), held, retry_after, code: answer.code }
    }

    /// Looks for an object that nobody writes: that it is not there, or may not be seen, is an answer too.
    async fn answers(&self) -> bool {
        self.look(&Path::from("answers")).await.is_some()
    }
}

enum Verdict {
    Told(Held),
    AskHead,
}

fn held_by_put(answer: &Answer, sha256: &[u8; 32]) -> Verdict {
    let success = answer.status.is_success();
    match answer.checksum {
        // An error document under a 2xx takes the 2xx back.
        Some(sum) if success && answer.code.is_none() => {
            Verdict::Told(if sum == *sha256 { Held::Same } else { Held::Different })
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
        _ => return Held::Untold,
    }
    let size = u64::try_from(object.body.len()).unwrap_or(u64::MAX);
    let same_size = answer.size.map(|held| held == size);
    // The store's own checksum counts for more than metadata, which only says what was meant.
    let same_sum = answer.checksum.or(answer.metadata).map(|sum| sum == object.sha256);
    match (same_size, same_sum) {
        (Some(true), Some(true)) => Held::Same,
        (Some(false), _) | (_, Some(false)) => Held::Different,
        (None, _) | (_, None) => Held::Untold,
    }
}

fn attributes(object: &Object) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, object.content_type.clone().into());
    for (key, value) in &object.metadata {
        attributes.insert(Attribute::Metadata((*key).into()), value.clone().into());
    }
    attributes
}

/// `https`, or `http` to this very machine where that is allowed. Says whether it is the latter.
fn check_endpoint(endpoint: &str, allow_plaintext: bool) -> Result<bool, String> {
    let refuse = |why: &str| Err(format!("upload.endpoint: {why}"));
    // Nothing of the endpoint is quoted: a password may stand in it.
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
