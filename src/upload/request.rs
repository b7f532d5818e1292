//! A signed request, whoever signed it: what is sent to the store, except the bytes.

use super::object::Object;
use crate::domain::grant::Proof;
use crate::domain::outcome::Scope;
use http::{HeaderMap, Method, Uri};
use std::fmt;

/// Method, URL and headers, ready to be sent unchanged. The URL and the headers may authorise: neither is
/// ever shown.
pub struct SignedRequest {
    /// `PUT` or `HEAD`.
    pub method: Method,
    /// Scheme, host, path and, of a presigned one, query.
    pub url: Uri,
    /// Without `Host` and `Content-Length`, which result from the URL and the body.
    pub headers: HeaderMap,
    /// The header of the answer that proves that the store holds the object.
    pub proof: Proof,
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Why there is no signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The reason, in text that is safe to log.
    pub why: String,
    /// Whether it concerns other requests too.
    pub scope: Scope,
}

impl Unsigned {
    /// There is no signature for any request.
    pub(super) fn of_store(why: impl Into<String>) -> Unsigned {
        Unsigned { why: why.into(), scope: Scope::Store }
    }
}

/// Signs requests to the store: with a key of the camera, or with a grant of the cloud.
#[async_trait::async_trait]
pub trait Signer: Send + Sync {
    /// The conditional PUT of this object.
    ///
    /// # Errors
    /// Why there is no signature now.
    async fn put(&self, object: &Object) -> Result<SignedRequest, Unsigned>;

    /// The HEAD that asks what the store holds under a key; if [`Signer::may_look`] is false, one that only
    /// finds out whether the store answers.
    ///
    /// # Errors
    /// As [`Signer::put`].
    async fn head(&self, key: &str) -> Result<SignedRequest, Unsigned>;

    /// Whether a HEAD of this signer shows what the store holds.
    fn may_look(&self) -> bool {
        true
    }

    /// The store refused what was signed for `key`, with the S3 error code `code` if there is one. True if
    /// another signature may succeed at once.
    async fn refused(&self, _key: &str, _code: Option<&str>) -> bool {
        false
    }

    /// The store refused a signature because of its time: the time of the store's clock, in seconds since
    /// 1970.
    fn heard_time(&self, _seconds: i64) {}
}
