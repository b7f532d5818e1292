//! Signature Version 4 of AWS, as S3 requires it, with the keys of `upload.credentials`.

use super::answer;
use super::credentials::Source;
use super::object::Object;
use super::request::{SignedRequest, Signer, Unsigned};
use super::signature::{Covered, EMPTY_SHA256, escape_path};
use crate::config;
use crate::domain::grant::Proof;
use crate::system::clock;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// Stores accept a signature whose time is 15 minutes wrong. Below this difference, the camera's clock counts
/// as good as theirs.
const MIN_SKEW: i64 = 60;

/// Signs with keys of the camera.
#[derive(Debug)]
pub(super) struct SigV4 {
    /// Scheme, host and, if objects are addressed by path, the bucket; without a slash at its end.
    base: String,
    region: String,
    tags: bool,
    checksums: bool,
    credentials: Arc<Source>,
    /// The store's clock minus the camera's, in seconds; 0 if the camera's is good enough.
    skew: AtomicI64,
}

impl SigV4 {
    #[must_use]
    pub(super) fn new(config: &config::Upload, credentials: Arc<Source>) -> SigV4 {
        let base = match (config.addressing, config.endpoint.split_once("://")) {
            (config::Addressing::Virtual, Some((scheme, authority))) => {
                format!("{scheme}://{}.{authority}", config.bucket)
            }
            (config::Addressing::Path | config::Addressing::Virtual, _) => {
                format!("{}/{}", config.endpoint.trim_end_matches('/'), config.bucket)
            }
        };
        let (region, tags, checksums) = (config.region.clone(), config.tags, config.checksums);
        SigV4 { base, region, tags, checksums, credentials, skew: AtomicI64::new(0) }
    }

    async fn signed(
        &self,
        method: Method,
        key: &str,
        payload: &str,
        headers: Vec<(String, String)>,
    ) -> Result<SignedRequest, String> {
        let fault = |what: &str| format!("the request cannot be signed: {what}");
        let url = format!("{}/{}", self.base, escape_path(key));
        let keys = self.credentials.current().await?;
        let covered = Covered { method: method.as_str(), url: &url, payload, headers: &headers };
        let signature = covered.sign(&keys, &self.region, self.now())?;
        let mut all = HeaderMap::new();
        for (name, value) in headers.iter().chain(&signature) {
            let name = name.parse::<HeaderName>().map_err(|_| fault("the name of a header"))?;
            all.insert(name, HeaderValue::from_str(value).map_err(|_| fault("the value of a header"))?);
        }
        let url = url.parse::<Uri>().map_err(|_| fault("its URL"))?;
        Ok(SignedRequest { method, url, headers: all, proof: Proof::AmzSha256 })
    }

    fn now(&self) -> SystemTime {
        let skew = self.skew.load(Ordering::Relaxed);
        let seconds = clock::utc().0.div_euclid(1_000_000_000).saturating_add(skew);
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

#[async_trait::async_trait]
impl Signer for SigV4 {
    async fn put(&self, object: &Object) -> Result<SignedRequest, Unsigned> {
        let mut headers = vec![
            (IF_NONE_MATCH.to_string(), String::from("*")),
            (CONTENT_TYPE.to_string(), object.content_type.clone()),
        ];
        if self.checksums {
            headers.push((String::from("x-amz-checksum-sha256"), STANDARD.encode(object.sha256)));
        }
        for (name, value) in &object.metadata {
            headers.push((format!("x-amz-meta-{name}"), value.clone()));
        }
        if self.tags && !object.tags.is_empty() {
            let tags: Vec<String> = object
                .tags
                .iter()
                .map(|(name, value)| format!("{}={}", escape_path(name), escape_path(value)))
                .collect();
            headers.push((String::from("x-amz-tagging"), tags.join("&")));
        }
        let payload = answer::to_hex(&object.sha256);
        self.signed(Method::PUT, &object.key, &payload, headers).await.map_err(Unsigned::of_store)
    }

    async fn head(&self, key: &str) -> Result<SignedRequest, Unsigned> {
        let mode = (String::from("x-amz-checksum-mode"), String::from("ENABLED"));
        let headers = if self.checksums { vec![mode] } else { Vec::new() };
        self.signed(Method::HEAD, key, EMPTY_SHA256, headers).await.map_err(Unsigned::of_store)
    }

    async fn refused(&self, _key: &str, code: Option<&str>) -> bool {
        self.credentials.refused(code)
    }

    fn heard_time(&self, seconds: i64) {
        let ours = clock::utc().0.div_euclid(1_000_000_000);
        let skew = seconds.saturating_sub(ours);
        let skew = if skew.abs() < MIN_SKEW { 0 } else { skew };
        if self.skew.swap(skew, Ordering::Relaxed) == 0 && skew != 0 {
            tracing::warn!("our clock and the store's are {skew} s apart: requests are signed with its time");
        }
    }
}
