//! The object store: S3 over TLS, from the port to the answer. [`s3`] has the operations.

use crate::certificates::{Pki, write_new};
use crate::events::Events;
use crate::foreign::Foreign;
use crate::https::{self, ClientCertificates};
use crate::keys::Keys;
use crate::objects::{Bucket, Facts, Refusal};
use crate::serve::Peers;
use crate::store_key::StoreKey;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kasacam::system::clock;
use ring::rand::{SecureRandom, SystemRandom};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    GetObjectInput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput,
    StreamingBlob, Tag, Timestamp,
};
use s3s::service::{S3ServiceBuilder, SharedS3Service};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub(crate) const BUCKET: &str = "kasa-care";
/// The largest object in bytes. A segment is far smaller.
pub(crate) const MAX_BYTES: usize = 256 << 20;
/// For the TLS handshake of a client.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How the store treats its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    Up,
    /// Connections are closed, also new ones.
    Down,
    /// Every request gets this status as its answer.
    Error(u16),
}

/// The store. It serves until it is dropped.
pub(crate) struct Store {
    pub port: u16,
    pub credentials: PathBuf,
    pub bucket: Bucket,
    /// The key that signs for cameras.
    pub key: StoreKey,
    conduct: watch::Sender<Conduct>,
    foreign: Option<Foreign>,
    requests: Arc<AtomicU64>,
}

/// Where objects are kept.
#[derive(Clone)]
enum Keeper {
    Ours(SharedS3Service),
    Foreign(Foreign, Bucket, Events),
}

impl Store {
    /// Serves on `127.0.0.1:port`, or on a free port if that one is taken.
    ///
    /// # Errors
    /// Its files cannot be written or read, or no port is free.
    pub(crate) async fn start(
        dir: &Path,
        pki: &Pki,
        port: u16,
        events: Events,
        peers: &Peers,
        keys: Keys,
    ) -> Result<Store, String> {
        let credentials = credentials(dir)?;
        let bucket = Bucket::open(dir.join("bucket"))?;
        let (listener, port) = https::listen("the store", port).await?;
        let key_for = |endpoint: String| StoreKey::read(&credentials, &endpoint, BUCKET, &peers.store_region);
        let key = key_for(format!("https://localhost:{port}"))?;
        let foreign = match peers.store_port {
            Some(port) => Some(Foreign { port, key: key_for(format!("http://127.0.0.1:{port}"))? }),
            None => None,
        };
        let keeper = match &foreign {
            Some(foreign) => Keeper::Foreign(foreign.clone(), bucket.clone(), events),
            None => {
                let any_put = peers.any_put;
                let door = Door { bucket: bucket.clone(), events, keys: keys.clone(), any_put };
                let mut builder = S3ServiceBuilder::new(door);
                let (access, secret) =
                    (key.keys.access_key_id().to_owned(), key.keys.secret_access_key().into());
                builder.set_auth(Known { access, secret, keys });
                Keeper::Ours(builder.build().into_shared())
            }
        };
        let (conduct, watching) = watch::channel(Conduct::Up);
        let requests = Arc::<AtomicU64>::default();
        tokio::spawn(accept(
            listener,
            https::acceptor(pki, ClientCertificates::NotRequested)?,
            keeper,
            watching,
            Arc::clone(&requests),
        ));
        Ok(Store { port, credentials, bucket, key, conduct, foreign, requests })
    }

    /// With a foreign store: how many objects it returns exactly as they were sent.
    ///
    /// # Errors
    /// The first object that it does not return as it was sent.
    pub(crate) async fn compare(&self) -> Result<Option<usize>, String> {
        match &self.foreign {
            Some(foreign) => foreign.compare(&self.bucket).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn behave(&self, conduct: Conduct) {
        self.conduct.send_replace(conduct);
    }

    pub(crate) fn conduct(&self) -> Conduct {
        *self.conduct.borrow()
    }

    /// All requests since the start, whatever the answer.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The file that the camera reads, made once.
fn credentials(dir: &Path) -> Result<PathBuf, String> {
    let path = dir.join("storage.toml");
    if !path.exists() {
        let mut secret = [0; 30];
        SystemRandom::new().fill(&mut secret).map_err(|_| "no randomness for a secret".to_owned())?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let text = format!("access_key_id = \"kasacam-dev\"\nsecret_access_key = \"{secret}\"\n");
        write_new(&path, text.as_bytes(), 0o600)?;
    }
    Ok(path)
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    keeper: Keeper,
    conduct: watch::Receiver<Conduct>,
    requests: Arc<AtomicU64>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Probably no file descriptor is free: wait until others are closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if *conduct.borrow() == Conduct::Down {
            continue;
        }
        let mut until_down = conduct.clone();
        let served = serve(stream, tls.clone(), keeper.clone(), conduct.clone(), Arc::clone(&requests));
        tokio::spawn(async move {
            tokio::select! {
                () = served => {}
                _ = until_down.wait_for(|conduct| *conduct == Conduct::Down) => {}
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    tls: TlsAcceptor,
    keeper: Keeper,
    conduct: watch::Receiver<Conduct>,
    requests: Arc<AtomicU64>,
) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await else {
        return;
    };
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (keeper, conduct) = (keeper.clone(), *conduct.borrow());
        requests.fetch_add(1, Ordering::Relaxed);
        async move {
            match conduct {
                Conduct::Error(status) => {
                    hyper::Response::builder().status(status).body(Body::empty()).map_err(|e| e.to_string())
                }
                Conduct::Up | Conduct::Down => match keeper {
                    Keeper::Ours(service) => {
                        service.as_ref().call(request.map(Body::from)).await.map_err(|e| e.to_string())
                    }
                    Keeper::Foreign(store, bucket, events) => store.answer(request, &bucket, &events).await,
                },
            }
        }
    });
    // A client may end the connection at any time.
    let _ended =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// The keys that requests may be signed with: the one of `storage.toml`, and those of the provider.
struct Known {
    access: String,
    secret: SecretKey,
    keys: Keys,
}

#[async_trait::async_trait]
impl S3Auth for Known {
    async fn get_secret_key(&self, access: &str) -> S3Result<SecretKey> {
        if access == self.access {
            return Ok(self.secret.clone());
        }
        match self.keys.find(access) {
            Some(key) if key.until > clock::utc() => Ok(key.secret.into()),
            Some(_) => Err(s3_error!(ExpiredToken, "the keys have ended")),
            None => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

/// The operations of S3 that this store knows; `s3s` answers all others with 501.
struct Door {
    bucket: Bucket,
    events: Events,
    keys: Keys,
    /// Objects without a checksum are taken too.
    any_put: bool,
}

#[async_trait::async_trait]
impl S3 for Door {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        // Temporary keys are good with their token only.
        if let Some(key) = request.credentials.as_ref().and_then(|it| self.keys.find(&it.access_key)) {
            let token = request.headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
            if token != Some(key.token.as_str()) {
                return Err(s3_error!(InvalidToken));
            }
        }
        let input = request.input;
        ours(&input.bucket)?;
        let only_new = match input.if_none_match.as_deref() {
            None => false,
            Some("*") => true,
            Some(_) => return Err(s3_error!(NotImplemented, "If-None-Match takes * only")),
        };
        let told = input.checksum_sha256;
        if told.is_none() && !self.any_put {
            return Err(s3_error!(InvalidRequest, "x-amz-checksum-sha256 is required"));
        }
        // Before the body comes, as other stores refuse; that nothing came meanwhile is seen again below.
        if only_new && self.find(&input.bucket, &input.key).is_ok() {
            return Err(s3_error!(PreconditionFailed, "{}", Refusal::Exists));
        }
        let body = input.body.map_or_else(Body::empty, Body::from);
        let body = Limited::new(body, MAX_BYTES).collect().await;
        let body = body.map_err(|_| s3_error!(IncompleteBody))?.to_bytes();
        let tags = tags(input.tagging.as_deref().unwrap_or_default())?;
        let metadata: BTreeMap<String, String> =
            input.metadata.unwrap_or_default().into_iter().map(|(k, v)| (k.to_lowercase(), v)).collect();
        let content_type = input.content_type.map(|kind| kind.to_string());

        let (bucket, key) = (self.bucket.clone(), input.key);
        let stored = tokio::task::spawn_blocking(move || {
            let sha256 = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &body));
            if told.is_some_and(|told| told != sha256) {
                return Err(s3_error!(BadDigest, "the SHA-256 of the body is another"));
            }
            let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
            let facts = Facts { bytes, sha256, content_type, metadata, tags, stored_at: clock::utc() };
            match bucket.put(&key, &body, &facts, only_new) {
                Ok(()) => Ok((key, facts)),
                Err(refusal @ Refusal::Exists) => Err(s3_error!(PreconditionFailed, "{refusal}")),
                Err(refusal @ Refusal::BadKey) => Err(s3_error!(InvalidArgument, "{refusal}")),
                Err(refusal @ Refusal::Disk(_)) => Err(s3_error!(InternalError, "{refusal}")),
            }
        });
        let (key, facts) = stored.await.map_err(|e| s3_error!(e, InternalError))??;
        let event = json!({"key": key, "bytes": facts.bytes, "metadata": facts.metadata});
        self.events.append_at(facts.stored_at, "object_stored", event);
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(etag(&facts)),
            checksum_sha256: Some(facts.sha256),
            ..PutObjectOutput::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let facts = self.find(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(facts.bytes).ok(),
            content_type: facts.content_type.as_deref().and_then(|kind| kind.parse().ok()),
            e_tag: Some(etag(&facts)),
            last_modified: Some(timestamp(&facts)),
            checksum_sha256: Some(facts.sha256),
            metadata: Some(facts.metadata.into_iter().collect()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let facts = self.find(&request.input.bucket, &request.input.key)?;
        let (bucket, key) = (self.bucket.clone(), request.input.key);
        let read = tokio::task::spawn_blocking(move || bucket.body(&key)).await;
        let body = read.map_err(|e| s3_error!(e, InternalError))?.map_err(|e| s3_error!(e, NoSuchKey))?;
        let body = match request.input.range {
            None => body,
            Some(range) => {
                let range = range.check(facts.bytes)?;
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                body.get(place(range.start)..place(range.end)).unwrap_or_default().to_vec()
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(body.len()).ok(),
            content_type: facts.content_type.as_deref().and_then(|kind| kind.parse().ok()),
            e_tag: Some(etag(&facts)),
            last_modified: Some(timestamp(&facts)),
            body: Some(StreamingBlob::from(Body::from(bytes::Bytes::from(body)))),
            checksum_sha256: Some(facts.sha256),
            metadata: Some(facts.metadata.into_iter().collect()),
            ..GetObjectOutput::default()
        }))
    }

    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let facts = self.find(&request.input.bucket, &request.input.key)?;
        let tag = |(key, value)| Tag { key: Some(key), value: Some(value) };
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: facts.tags.into_iter().map(tag).collect(),
            ..GetObjectTaggingOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        ours(&input.bucket)?;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "the keys are listed without a delimiter"));
        }
        let prefix = input.prefix.unwrap_or_default();
        let most = input.max_keys.and_then(|most| usize::try_from(most).ok()).unwrap_or(1000).min(1000);
        let mut keys = self.bucket.keys(&prefix).map_err(|e| s3_error!(e, InternalError))?;
        // The token is the last key of the page before.
        if let Some(after) = input.continuation_token.clone().or(input.start_after) {
            keys.retain(|key| *key > after);
        }
        let truncated = keys.len() > most;
        keys.truncate(most);
        let next = keys.last().cloned().filter(|_| truncated);
        let mut contents = Vec::new();
        for key in keys {
            // Gone since the keys were read, or never whole: not there.
            let Some(facts) = self.bucket.facts(&key).map_err(|e| s3_error!(e, InternalError))? else {
                continue;
            };
            contents.push(Object {
                key: Some(key),
                size: i64::try_from(facts.bytes).ok(),
                e_tag: Some(etag(&facts)),
                last_modified: Some(timestamp(&facts)),
                ..Object::default()
            });
        }
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(prefix),
            key_count: i32::try_from(contents.len()).ok(),
            max_keys: i32::try_from(most).ok(),
            is_truncated: Some(truncated),
            continuation_token: input.continuation_token,
            next_continuation_token: next,
            contents: Some(contents),
            ..ListObjectsV2Output::default()
        }))
    }
}

/// Keeps beside an object what another store has taken, and tells of it.
///
/// # Errors
/// If it cannot be kept here.
pub(crate) async fn ours_to_keep(
    bucket: Bucket,
    events: &Events,
    key: String,
    body: bytes::Bytes,
    facts: Facts,
) -> Result<(), String> {
    let event = json!({"key": key, "bytes": facts.bytes, "metadata": facts.metadata});
    let at = facts.stored_at;
    // A store that honours `If-None-Match` takes a key once; one that does not was given the same bytes again.
    let is_new = bucket.facts(&key).map_err(|e| e.to_string())?.is_none_or(|old| old.sha256 != facts.sha256);
    let kept = tokio::task::spawn_blocking(move || bucket.put(&key, &body, &facts, false)).await;
    kept.map_err(|e| e.to_string())?.map_err(|refusal| refusal.to_string())?;
    if is_new {
        events.append_at(at, "object_stored", event);
    }
    Ok(())
}

impl Door {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Facts> {
        ours(bucket)?;
        let facts = self.bucket.facts(key).map_err(|e| s3_error!(e, InternalError))?;
        facts.ok_or_else(|| s3_error!(NoSuchKey))
    }
}

fn ours(bucket: &str) -> S3Result<()> {
    if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
}

/// `x-amz-tagging`: a query string.
fn tags(header: &str) -> S3Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for pair in header.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !plain(key) || !plain(value) {
            return Err(s3_error!(InvalidTag, "a tag is of letters, digits and - _ . here"));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    Ok(tags)
}

fn etag(facts: &Facts) -> String {
    format!("\"{}\"", facts.sha256.trim_end_matches('='))
}

fn timestamp(facts: &Facts) -> Timestamp {
    let nanos = u64::try_from(facts.stored_at.0).unwrap_or(0);
    Timestamp::from(UNIX_EPOCH + Duration::from_nanos(nanos))
}
