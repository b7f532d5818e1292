//! A key of the store: requests signed by Signature Version 4.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use kasacam::domain::grant::Want;
use kasacam::domain::time::Utc;
use kasacam::system::clock;
use std::path::Path;
use std::time::SystemTime;

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Never shown.
pub(super) struct Key {
    access: String,
    secret: String,
    token: Option<String>,
    region: String,
    /// Scheme, host, port and bucket.
    base: String,
}

/// A URL and the headers that go with it.
pub(super) type Request = (Uri, Vec<(String, String)>);

impl Key {
    /// Reads a file of the form of `upload.credentials`.
    ///
    /// # Errors
    /// That it cannot be used; nothing of it is quoted.
    pub(super) fn read(file: &Path, store: &str, bucket: &str, region: &str) -> Result<Key, String> {
        #[derive(serde::Deserialize)]
        struct File {
            access_key_id: String,
            secret_access_key: String,
            session_token: Option<String>,
        }
        let unreadable = || format!("{}: cannot be read as credentials", file.display());
        let text = std::fs::read_to_string(file).map_err(|_| unreadable())?;
        let File { access_key_id: access, secret_access_key: secret, session_token: token } =
            toml::from_str(&text).map_err(|_| unreadable())?;
        let base = format!("{}/{bucket}", store.trim_end_matches('/'));
        Ok(Key { access, secret, token, region: region.to_owned(), base })
    }

    /// The conditional PUT of an object.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub(super) fn put(&self, want: &Want) -> Result<Request, String> {
        let digits = want.sha256.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        let mut headers = vec![
            ("if-none-match".to_owned(), "*".to_owned()),
            ("content-type".to_owned(), want.content_type.clone()),
            ("x-amz-checksum-sha256".to_owned(), STANDARD.encode(bytes.unwrap_or_default())),
        ];
        headers
            .extend(want.metadata.iter().map(|(name, value)| (format!("x-amz-meta-{name}"), value.clone())));
        self.signed("PUT", &want.key, "", &want.sha256, headers)
    }

    /// HEAD, with the checksum.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub(super) fn head(&self, key: &str) -> Result<Request, String> {
        let mode = ("x-amz-checksum-mode".to_owned(), "ENABLED".to_owned());
        self.signed("HEAD", key, "", EMPTY, vec![mode])
    }

    /// GET of an object, with the checksum.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub(super) fn get(&self, key: &str) -> Result<Request, String> {
        let mode = ("x-amz-checksum-mode".to_owned(), "ENABLED".to_owned());
        self.signed("GET", key, "", EMPTY, vec![mode])
    }

    /// DELETE of an object.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub(super) fn delete(&self, key: &str) -> Result<Request, String> {
        self.signed("DELETE", key, "", EMPTY, Vec::new())
    }

    /// A page of the keys that begin so and come after `after`.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub(super) fn list(&self, prefix: &str, after: &str) -> Result<Request, String> {
        let (prefix, after) = (escape(prefix), escape(after));
        let query = format!("?list-type=2&max-keys=1000&prefix={prefix}&start-after={after}");
        self.signed("GET", "", &query, EMPTY, Vec::new())
    }

    fn signed(
        &self,
        method: &str,
        key: &str,
        query: &str,
        payload: &str,
        mut headers: Vec<(String, String)>,
    ) -> Result<Request, String> {
        let failed = || "a request cannot be signed".to_owned();
        let slash = if key.is_empty() { "" } else { "/" };
        let url = format!("{}{slash}{key}{query}", self.base);
        let identity =
            Credentials::new(&self.access, &self.secret, self.token.clone(), None, "conformance").into();
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
            .map_err(|_| failed())?
            .into();
        let listed = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Precomputed(payload.to_owned());
        let request = SignableRequest::new(method, url.as_str(), listed, body).map_err(|_| failed())?;
        let signed = sign(request, &params).map_err(|_| failed())?;
        headers.extend(signed.output().headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok((url.parse().map_err(|_| failed())?, headers))
    }
}

/// For a query.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
