//! A key of an S3 store, and the requests that it signs.

use aws_credential_types::Credentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use kasacam::domain::grant::Want;
use kasacam::domain::time::Utc;
use kasacam::system::clock;
use kasacam::upload::signature::{Covered, EMPTY_SHA256, Headers, escape_query};
use std::path::Path;
use std::time::SystemTime;

/// The bucket of this cloud.
pub(crate) const BUCKET: &str = "kasa-care";

/// A key, and the bucket that it is for. It is never shown.
#[derive(Clone)]
pub(crate) struct StoreKey {
    pub(crate) keys: Credentials,
    pub(crate) region: String,
    /// Scheme, host and port of the store.
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
}

/// A URL, and the headers that go with it.
pub(crate) type SignedUrl = (Uri, Headers);

impl StoreKey {
    /// Reads a file in the form of `upload.credentials`.
    ///
    /// # Errors
    /// The file cannot be used; nothing of it is quoted.
    pub(crate) fn read(file: &Path, endpoint: &str, bucket: &str, region: &str) -> Result<StoreKey, String> {
        #[derive(serde::Deserialize)]
        struct Contents {
            access_key_id: String,
            secret_access_key: String,
            session_token: Option<String>,
        }
        let unreadable = || format!("{}: cannot be read as credentials", file.display());
        let text = std::fs::read_to_string(file).map_err(|_| unreadable())?;
        let it: Contents = toml::from_str(&text).map_err(|_| unreadable())?;
        Ok(StoreKey {
            keys: Credentials::new(it.access_key_id, it.secret_access_key, it.session_token, None, "file"),
            region: region.to_owned(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            bucket: bucket.to_owned(),
        })
    }

    /// The time for a signature.
    pub(crate) fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + clock::utc().since(Utc(0))
    }

    /// The conditional PUT of an object.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(crate) fn put(&self, want: &Want) -> Result<SignedUrl, String> {
        let sha256 = crate::hex::decode(&want.sha256).ok_or("the SHA-256 is not hexadecimal")?;
        let mut headers = vec![
            ("if-none-match".to_owned(), "*".to_owned()),
            ("content-type".to_owned(), want.content_type.clone()),
            ("x-amz-checksum-sha256".to_owned(), STANDARD.encode(sha256)),
        ];
        headers
            .extend(want.metadata.iter().map(|(name, value)| (format!("x-amz-meta-{name}"), value.clone())));
        self.sign("PUT", &format!("/{}", want.key), &want.sha256, headers)
    }

    /// HEAD, with the checksum.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(crate) fn head(&self, key: &str) -> Result<SignedUrl, String> {
        self.sign("HEAD", &format!("/{key}"), EMPTY_SHA256, with_checksum())
    }

    /// GET of an object, with the checksum.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(crate) fn get(&self, key: &str) -> Result<SignedUrl, String> {
        self.sign("GET", &format!("/{key}"), EMPTY_SHA256, with_checksum())
    }

    /// DELETE of an object.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(crate) fn delete(&self, key: &str) -> Result<SignedUrl, String> {
        self.sign("DELETE", &format!("/{key}"), EMPTY_SHA256, Headers::new())
    }

    /// A page of at most 1000 keys that begin with `prefix` and come after `after`.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(crate) fn list(&self, prefix: &str, after: &str) -> Result<SignedUrl, String> {
        let (prefix, after) = (escape_query(prefix), escape_query(after));
        let query = format!("?list-type=2&max-keys=1000&prefix={prefix}&start-after={after}");
        self.sign("GET", &query, EMPTY_SHA256, Headers::new())
    }

    fn sign(
        &self,
        method: &str,
        target: &str,
        payload: &str,
        mut headers: Headers,
    ) -> Result<SignedUrl, String> {
        let url = format!("{}/{}{target}", self.endpoint, self.bucket);
        let covered = Covered { method, url: &url, payload, headers: &headers };
        let signature = covered.sign(&self.keys, &self.region, StoreKey::now())?;
        headers.extend(signature);
        Ok((url.parse().map_err(|_| "the request cannot be signed: its URL")?, headers))
    }
}

fn with_checksum() -> Headers {
    vec![("x-amz-checksum-mode".to_owned(), "ENABLED".to_owned())]
}

/// The keys in the answer to [`StoreKey::list`], in its order.
pub(crate) fn listed(answer: &str) -> Vec<String> {
    let keys = answer.split("<Key>").skip(1);
    keys.filter_map(|rest| rest.split("</Key>").next()).map(str::to_owned).collect()
}
