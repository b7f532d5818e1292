//! The claims of a compact JWS (RFC 7515), whoever signed it: the signature has rows of its own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The bytes of the claims; `None` where it is not a compact JWS.
pub(crate) fn unverified(jws: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(jws).ok()?;
    URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()
}

/// The claims as JSON; `None` where they are not.
pub(crate) fn unverified_json(jws: &[u8]) -> Option<Value> {
    serde_json::from_slice(&unverified(jws)?).ok()
}
