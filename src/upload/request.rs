//! A signed request, whoever signed it: what goes to the store but for the bytes.

use http::{HeaderMap, Method, Uri};
use std::fmt;

/// Method, URL and headers, ready to be sent as they are. The URL and the headers may authorise: neither is ever
/// shown.
pub struct SignedRequest {
    /// `PUT` or `HEAD`.
    pub method: Method,
    /// Scheme, host, path and, of a presigned one, query.
    pub url: Uri,
    /// Without `Host` and `Content-Length`, which follow from the URL and the body.
    pub headers: HeaderMap,
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Whoever may sign requests to the store: a key of ours, or the cloud by a grant.
#[async_trait::async_trait]
pub trait Signer: Send + Sync {
    /// The conditional PUT of this object.
    ///
    /// # Errors
    /// Why there is no signature now, in words that are safe to log.
    async fn put(&self, object: &super::Object) -> Result<SignedRequest, String>;

    /// The HEAD that asks what the store holds under a key.
    ///
    /// # Errors
    /// As [`Signer::put`]; also where this signer cannot sign a HEAD.
    async fn head(&self, key: &str) -> Result<SignedRequest, String>;

    /// The store refused a signature for its time: what its own clock says, in seconds since 1970.
    fn heard_time(&self, _seconds: i64) {}
}
