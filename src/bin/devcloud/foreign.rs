//! A store from elsewhere behind our door, to try the camera against one that is not ours: each request goes to it as it
//! came, signature and all, and what it takes is noted. At the end all of it is read back from that store and held
//! against what was noted.

use crate::events::Events;
use crate::objects::{Bucket, Facts};
use crate::store::{BUCKET, MAX_BYTES, ours_to_keep};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kasacam::domain::time::Utc;
use kasacam::system::clock;
use s3s::Body;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Within which it is to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store at `127.0.0.1:port`, which speaks HTTP without TLS.
#[derive(Clone)]
pub(crate) struct Foreign {
    pub port: u16,
    pub region: String,
    pub access: String,
    pub secret: String,
}

impl Foreign {
    /// Passes a request on and its answer back. An object that the store took is noted in `bucket`.
    ///
    /// # Errors
    /// Where the store does not answer.
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
        let (answered, answer) = self.send(passed).await?;
        if parts.method == Method::PUT && answered.status.is_success() {
            let key =
                parts.uri.path().strip_prefix(&format!("/{BUCKET}/")).ok_or("a PUT beside the bucket")?;
            note(bucket, events, key, &parts.headers, body).await?;
        }
        let mut response = Response::new(Body::from(answer));
        (*response.status_mut(), *response.headers_mut()) = (answered.status, answered.headers);
        Ok(response)
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(hyper::http::response::Parts, Bytes), String> {
        let sending = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|e| e.to_string())?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            let connection = tokio::spawn(connection);
            let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let (mut parts, body) = answer.into_parts();
            let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
            connection.abort();
            for name in ["connection", "transfer-encoding", "keep-alive"] {
                parts.headers.remove(name);
            }
            Ok((parts, body))
        };
        let sent = timeout(PATIENCE, sending)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
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
            let query = format!("?list-type=2&max-keys=1000&prefix=v1%2F&start-after={}", escape(&after));
            let list = String::from_utf8(self.get("", &query).await?.to_vec()).map_err(|e| e.to_string())?;
            let page: Vec<String> = list
                .split("<Key>")
                .skip(1)
                .filter_map(|rest| rest.split("</Key>").next())
                .map(str::to_owned)
                .collect();
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
            if self.get(&format!("/{key}"), "").await? != given {
                return Err(format!("{key}: the store gives other bytes than it was given"));
            }
        }
        Ok(held.len())
    }

    async fn get(&self, path: &str, query: &str) -> Result<Bytes, String> {
        let host = format!("127.0.0.1:{}", self.port);
        let target = format!("/{BUCKET}{path}{query}");
        let url = format!("http://{host}{target}");
        let identity = Credentials::new(&self.access, &self.secret, None, None, "storage.toml").into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::UNIX_EPOCH + clock::utc().since(Utc(0)))
            .settings(settings)
            .build()
            .map_err(|e| e.to_string())?
            .into();
        let signable =
            SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(b""));
        let signed = sign(signable.map_err(|e| e.to_string())?, &params).map_err(|e| e.to_string())?;
        let mut request = Request::builder().uri(target.as_str()).header("host", host);
        for (name, value) in signed.output().headers() {
            request = request.header(name, value);
        }
        let request = request.body(Full::default()).map_err(|e| e.to_string())?;
        match self.send(request).await? {
            (parts, body) if parts.status == StatusCode::OK => Ok(body),
            (parts, _) => Err(format!("the store answers GET {path} with {}", parts.status)),
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
    ours_to_keep(bucket.clone(), events, key.to_owned(), body, facts).await
}

/// For a query.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
