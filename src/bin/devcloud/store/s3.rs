//! The operations of S3. `s3s` speaks the protocol and checks the signatures; what is kept, and on which conditions, is
//! decided here.

use crate::events::Events;
use crate::http::MAX_BYTES;
use crate::keys::Keys;
use crate::objects::{Bucket, Facts, Refusal};
use crate::store_key::BUCKET;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Limited};
use kasacam::system::clock;
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    GetObjectInput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput,
    StreamingBlob, Tag, Timestamp,
};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// The keys that may sign requests: the one of `storage.toml`, and those of the provider.
pub(super) struct Keyring {
    pub(super) access: String,
    pub(super) secret: SecretKey,
    pub(super) keys: Keys,
}

#[async_trait::async_trait]
impl S3Auth for Keyring {
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
pub(super) struct Operations {
    pub(super) bucket: Bucket,
    pub(super) events: Events,
    pub(super) keys: Keys,
    /// Accept objects without a checksum, too.
    pub(super) any_put: bool,
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        // Temporary keys are valid only with their token.
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
        let checksum = input.checksum_sha256;
        if checksum.is_none() && !self.any_put {
            return Err(s3_error!(InvalidRequest, "x-amz-checksum-sha256 is required"));
        }
        // Before the body is read, as other stores do. `put` checks it again.
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
            if checksum.is_some_and(|checksum| checksum != sha256) {
                return Err(s3_error!(BadDigest, "the body has another SHA-256"));
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
            // Deleted since the keys were read, or incomplete.
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

impl Operations {
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
            return Err(s3_error!(InvalidTag, "this store allows only letters, digits and - _ . in tags"));
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
