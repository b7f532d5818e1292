//! A store that is not ours, behind our TLS, to try the camera with it: each request is passed on unchanged, signature
//! included, and every object that it accepts is noted. At the end, all objects are read back from that store and
//! compared with what was noted.

use crate::events::Events;
use crate::http::{HttpAnswer, MAX_BYTES, ask};
use crate::objects::{Bucket, Facts};
use crate::store_key::{BUCKET, SignedUrl, StoreKey, listed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use kasacam::system::clock;
use s3s::Body;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For one answer, with its body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The store at `127.0.0.1:port`, which speaks HTTP without TLS.
#[derive(Clone)]
pub(crate) struct Foreign {
    pub port: u16,
    /// Its key, for what we read ourselves.
    pub key: StoreKey,
}

impl Foreign {
    /// Passes a request on and its answer back. An object that the store took is noted in `bucket`.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        bucket: &Bucket,
        events: &Events,
    ) -> Result<Response<Body>, String> {
        let (parts, body) = request.into_parts();
        let body =
            Limited::new(body, MAX_BYTES).collect().await.map_err(|e| format!("the body: {e}"))?.to_bytes();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let mut passed = Request::new(Full::new(body.clone()));
        (*passed.method_mut(), *passed.headers_mut()) = (parts.method.clone(), parts.headers.clone());
        // It was answered here, when the body was asked for.
        passed.headers_mut().remove("expect");
        *passed.uri_mut() = target.parse().map_err(|e| format!("{target}: {e}"))?;
        let answer = self.send(passed).await?;
        if parts.method == Method::PUT && answer.is_success() {
            let key =
                parts.uri.path().strip_prefix(&format!("/{BUCKET}/")).ok_or("a PUT beside the bucket")?;
            note(bucket, events, key, &parts.headers, body).await?;
        }
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|e| e.to_string())?;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<HttpAnswer, String> {
        let sending = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|e| e.to_string())?;
            let mut answer = ask(stream, request).await?;
            for name in ["connection", "transfer-encoding", "keep-alive"] {
                answer.headers.remove(name);
            }
            Ok(answer)
        };
        let sent = timeout(ANSWER_TIMEOUT, sending)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {ANSWER_TIMEOUT:?}")));
        sent.map_err(|why: String| format!("the store on port {}: {why}", self.port))
    }

    /// Reads all that the store holds, and holds it against what was noted: the same keys, and the same bytes.
    ///
    /// # Errors
    /// What differs.
    pub(crate) async fn compare(&self, bucket: &Bucket) -> Result<usize, String> {
        let noted = bucket.keys("").map_err(|e| format!("what was noted: {e}"))?;
        let mut held = Vec::new();
        let mut after = String::new();
        loop {
            let list = self.get(self.key.list("v1/", &after)?).await?;
            let page = listed(&String::from_utf8_lossy(&list));
            let Some(last) = page.last().cloned() else { break };
            after = last;
            held.extend(page);
        }
        held.sort();
        if held != noted {
            let (here, there) = (noted.len(), held.len());
            return Err(format!("the store holds {there} objects, and was given {here}, or others"));
        }
        for key in &held {
            let given = bucket.body(key).map_err(|e| format!("{key}: {e}"))?;
            if self.get(self.key.get(key)?).await? != given {
                return Err(format!("{key}: the store gives other bytes than it was given"));
            }
        }
        Ok(held.len())
    }

    async fn get(&self, (url, headers): SignedUrl) -> Result<Bytes, String> {
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let host = format!("127.0.0.1:{}", self.port);
        let mut request = Request::builder().uri(target).header("host", host);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = self.send(request.body(Full::default()).map_err(|e| e.to_string())?).await?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("the store answers GET {} with {status}", url.path())),
        }
    }
}

async fn note(
    bucket: &Bucket,
    events: &Events,
    key: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(), String> {
    let text = |value: &hyper::header::HeaderValue| value.to_str().map(str::to_owned).ok();
    let metadata: BTreeMap<String, String> = headers
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().strip_prefix("x-amz-meta-")?.to_owned(), text(value)?))
        })
        .collect();
    let facts = Facts {
        bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
        sha256: STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &body)),
        content_type: headers.get("content-type").and_then(text),
        metadata,
        tags: BTreeMap::new(),
        stored_at: clock::utc(),
    };
    keep(bucket.clone(), events, key.to_owned(), body, facts).await
}

/// Keeps a copy of an object that the foreign store accepted, and reports it.
///
/// # Errors
/// It cannot be written.
async fn keep(
    bucket: Bucket,
    events: &Events,
    key: String,
    body: bytes::Bytes,
    facts: Facts,
) -> Result<(), String> {
    let event = json!({"key": key, "bytes": facts.bytes, "metadata": facts.metadata});
    let at = facts.stored_at;
    // A store that does not support `If-None-Match` may accept the same bytes again.
    let is_new = bucket.facts(&key).map_err(|e| e.to_string())?.is_none_or(|old| old.sha256 != facts.sha256);
    let kept = tokio::task::spawn_blocking(move || bucket.put(&key, &body, &facts, false)).await;
    kept.map_err(|e| e.to_string())?.map_err(|refusal| refusal.to_string())?;
    if is_new {
        events.append_at(at, "object_stored", event);
    }
    Ok(())
}
