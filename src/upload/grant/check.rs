//! Whether a grant matches the request, and leads to the configured store.

use crate::config;
use crate::domain::grant::{Grant, Proof, Want};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::fmt;

/// Headers that frame or route the message, or identify the camera: the camera sets them, and no grant may.
const RESERVED_HEADERS: [&str; 15] = [
    "authorization",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Where footage may be sent: the configured endpoint, and its bucket there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    scheme: String,
    host: String,
    port: u16,
    bucket: String,
}

impl Allowed {
    /// `endpoint` is `https://host[:port]`, or `http://` on loopback; `bucket` is in the path or before the
    /// host.
    #[must_use]
    pub fn new(endpoint: &str, bucket: &str) -> Allowed {
        let uri = endpoint.parse::<Uri>().unwrap_or_default();
        Allowed {
            scheme: uri.scheme_str().unwrap_or_default().to_ascii_lowercase(),
            host: uri.host().unwrap_or_default().to_ascii_lowercase(),
            port: port(&uri),
            bucket: bucket.to_owned(),
        }
    }

    /// The store of a configuration.
    #[must_use]
    pub fn of(config: &config::Upload) -> Allowed {
        Allowed::new(&config.endpoint, &config.bucket)
    }

    /// The path that the object must have there, percent-decoded; `None` for another host.
    fn path(&self, url: &Uri, key: &str) -> Option<String> {
        let authority = url.authority()?;
        if url.scheme_str() != Some(self.scheme.as_str())
            || port(url) != self.port
            || authority.as_str().contains('@')
        {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        if host == self.host {
            Some(format!("/{}/{key}", self.bucket))
        } else if host == format!("{}.{}", self.bucket.to_ascii_lowercase(), self.host) {
            Some(format!("/{key}"))
        } else {
            None
        }
    }
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 })
}

/// A grant that was found to match the request. Shown without what authorises.
#[derive(Clone, PartialEq)]
pub struct Granted {
    /// The URL of the PUT.
    pub url: Uri,
    /// Its headers, without `Content-Length`.
    pub headers: HeaderMap,
    /// The header that proves afterwards that the store holds the object.
    pub proof: Proof,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("proof", &self.proof).finish_non_exhaustive()
    }
}

/// Checks a grant for the key of `want` against the rest of `want`, and against where footage may be sent.
///
/// # Errors
/// What it is not bound to, or bound to wrongly.
pub fn check(grant: &Grant, want: &Want, allowed: &Allowed) -> Result<Granted, &'static str> {
    if grant.key != want.key {
        return Err("it is for another key");
    }
    let url = grant.url.parse::<Uri>().map_err(|_| "its URL is none")?;
    let path = allowed.path(&url, &want.key).ok_or("it leads to another host than upload.endpoint")?;
    if decoded(url.path()).as_deref() != Some(path.as_bytes()) {
        return Err("its URL is for another bucket or key");
    }
    let header = |name: &str| grant.headers.get(name).map(String::as_str);
    match header(CONTENT_LENGTH.as_str()).map(str::parse::<u64>) {
        Some(Ok(size)) if want.size == size => {}
        Some(_) => return Err("it is for another size"),
        None => return Err("it names no size: headers must have content-length"),
    }
    checksum(grant, want)?;
    if header(IF_NONE_MATCH.as_str()) != Some("*") && header("x-goog-if-generation-match") != Some("0") {
        return Err(
            "it would replace an object: headers must have if-none-match: * or x-goog-if-generation-match: 0",
        );
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &grant.headers {
        if RESERVED_HEADERS.contains(&name.as_str()) {
            return Err("it sets a header that is not for a grant to set");
        }
        if name == CONTENT_LENGTH.as_str() {
            continue;
        }
        let name = name.parse::<HeaderName>().map_err(|_| "the name of one of its headers is invalid")?;
        let mut value =
            HeaderValue::from_str(value).map_err(|_| "the value of one of its headers is invalid")?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(Granted { url, headers, proof: grant.proof })
}

/// Every SHA-256 that it names must be that of the object, and it must name one.
fn checksum(grant: &Grant, want: &Want) -> Result<(), &'static str> {
    let mut named = false;
    for (name, value) in &grant.headers {
        let same = match name.as_str() {
            "x-amz-checksum-sha256" => in_base64(&want.sha256).as_deref() == Some(value),
            name if name.ends_with("-meta-sha256") => *value == want.sha256,
            _ => continue,
        };
        if !same {
            return Err("it is for another checksum");
        }
        named = true;
    }
    match (named, grant.proof) {
        (false, _) => Err("it names no checksum: headers must have x-amz-checksum-sha256 or metadata sha256"),
        // A store that was not asked to check it does not answer with it.
        (true, Proof::AmzSha256) if !grant.headers.contains_key(Proof::AmzSha256.header()) => {
            Err("its proof is x-amz-checksum-sha256, which its headers do not have")
        }
        (true, Proof::AmzSha256 | Proof::GoogHash | Proof::ContentMd5) => Ok(()),
    }
}

fn in_base64(hexadecimal: &str) -> Option<String> {
    let digits: Option<Vec<u8>> = hexadecimal
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    digits.map(|bytes| STANDARD.encode(bytes))
}

/// Percent-decoded (RFC 3986, 2.1); `None` for an invalid escape.
fn decoded(path: &str) -> Option<Vec<u8>> {
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    Some(out)
}
