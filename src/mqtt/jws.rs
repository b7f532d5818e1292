//! Compact JWS (RFC 7515) with Ed25519 (RFC 8037), and nothing else of it.
//!
//! The key is one of the camera's keys, found only by `kid`: other key members of the header (`jwk`, `jku`,
//! `x5c`, …) are ignored. Members that change how a JWS is read (`crit`, `b64`) are refused.

use super::json::{self, Json};
use crate::config::VerifyingKey;
use crate::domain::input::Rejection;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};
use std::collections::BTreeMap;

/// Maximum length of a JWS, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;
/// Maximum length of a JWS with grants: 16 presigned URLs with the session token of their signer; also the
/// maximum that the brokers of clouds accept.
pub const MAX_GRANT_BYTES: usize = 128 * 1024;

/// Maximum length of the encoded header. A header of the contract has about 90 bytes.
const MAX_HEADER: usize = 1024;

/// The payload of `compact`, if one of `keys` signed it with this `typ`.
///
/// # Errors
/// Why it is not accepted. Nothing of the payload is read before the signature is verified.
pub fn verify(keys: &[VerifyingKey], typ: &str, compact: &[u8]) -> Result<Vec<u8>, Rejection> {
    verify_within(MAX_BYTES, keys, typ, compact)
}

/// [`verify`] of a JWS of at most `max` bytes.
///
/// # Errors
/// As [`verify`].
pub fn verify_within(
    max: usize,
    keys: &[VerifyingKey],
    typ: &str,
    compact: &[u8],
) -> Result<Vec<u8>, Rejection> {
    if compact.len() > max {
        return Err(Rejection::TooLarge);
    }
    let compact = std::str::from_utf8(compact).map_err(|_| Rejection::Malformed)?;
    let (signed, signature) = compact.rsplit_once('.').ok_or(Rejection::Malformed)?;
    // A third dot would be in the payload, and base64url has none.
    let (header, payload) = signed.split_once('.').ok_or(Rejection::Malformed)?;
    if header.len() > MAX_HEADER {
        return Err(Rejection::Malformed);
    }
    let header = json::object(&decode(header)?).ok_or(Rejection::Malformed)?;
    let kid = check_header(&header, typ)?;
    let signature = decode(signature)?;
    let payload = decode(payload)?;
    let mut named = keys.iter().filter(|key| key.kid == kid).peekable();
    if named.peek().is_none() {
        return Err(Rejection::UnknownKey);
    }
    let is_good = |key: &VerifyingKey| {
        UnparsedPublicKey::new(&ED25519, &key.key).verify(signed.as_bytes(), &signature).is_ok()
    };
    if named.any(is_good) { Ok(payload) } else { Err(Rejection::BadSignature) }
}

/// The header's `kid`, if the header is valid for `typ`.
fn check_header<'a>(header: &'a BTreeMap<String, Json>, typ: &str) -> Result<&'a str, Rejection> {
    if text(header, "alg")? != "EdDSA" {
        return Err(Rejection::WrongAlgorithm);
    }
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Rejection::Malformed);
    }
    if text(header, "typ")? != typ {
        return Err(Rejection::WrongType);
    }
    text(header, "kid")
}

fn text<'a>(header: &'a BTreeMap<String, Json>, name: &str) -> Result<&'a str, Rejection> {
    match header.get(name) {
        Some(Json::Text(text)) => Ok(text),
        Some(
            Json::Null
            | Json::Bool(_)
            | Json::Unsigned(_)
            | Json::OtherNumber
            | Json::List(_)
            | Json::Object(_),
        )
        | None => Err(Rejection::Malformed),
    }
}

/// base64url without padding, without spaces, and with no stray bits in its last letter.
fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    if part.is_empty() {
        return Err(Rejection::Malformed);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::Malformed)
}
