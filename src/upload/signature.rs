//! Signature Version 4 of AWS for one request to S3, in its headers.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use std::time::SystemTime;
use tracing::subscriber::NoSubscriber;

/// SHA-256 of an empty body, in hexadecimal.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Names and values of headers.
pub type Headers = Vec<(String, String)>;

/// What a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Covered<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The whole URL; its path and query are percent-encoded already.
    pub url: &'a str,
    /// SHA-256 of the body, in hexadecimal.
    pub payload: &'a str,
    /// The headers that are sent, without `Host`.
    pub headers: &'a [(String, String)],
}

impl Covered<'_> {
    /// The headers to send in addition: `Authorization`, `x-amz-date`, `x-amz-content-sha256` and, with
    /// temporary credentials, `x-amz-security-token`.
    ///
    /// # Errors
    /// The part of the request that cannot be signed; nothing of its content.
    pub fn sign(&self, keys: &Credentials, region: &str, time: SystemTime) -> Result<Headers, String> {
        let fault = |what: &str| format!("the request cannot be signed: {what}");
        let identity = keys.clone().into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("s3")
            .time(time)
            .settings(settings)
            .build()
            .map_err(|_| fault("its parameters"))?
            .into();
        let listed = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Precomputed(self.payload.to_owned());
        let request =
            SignableRequest::new(self.method, self.url, listed, body).map_err(|_| fault("its form"))?;
        // The library logs what it signs, including a session token, and its error could quote a header.
        let signed = tracing::subscriber::with_default(NoSubscriber::default(), || sign(request, &params));
        let (instructions, _) = signed.map_err(|_| fault("its headers"))?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Percent-encodes a key for the path of a URL; slashes stay.
#[must_use]
pub fn escape_path(text: &str) -> String {
    escape(text, b"-._~/")
}

/// Percent-encodes a value for the query of a URL.
#[must_use]
pub fn escape_query(text: &str) -> String {
    escape(text, b"-._~")
}

fn escape(text: &str, plain: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}
