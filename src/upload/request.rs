//! A signed request, whoever signed it: what goes to the store but for the bytes.

use crate::domain::grant::Proof;
use crate::domain::outcome::Scope;
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
    /// What of the answer to it proves that the store holds the object.
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
    /// In words that are safe to log.
    pub why: String,
    /// Whether others may have theirs.
    pub scope: Scope,
}

impl Unsigned {
    /// There is none for anything.
    pub(super) fn of_store(why: impl Into<String>) -> Unsigned {
        Unsigned { why: why.into(), scope: Scope::Store }
    }
}

/// Whoever may sign requests to the store: a key of ours, or the cloud by a grant.
#[async_trait::async_trait]
pub trait Signer: Send + Sync {
    /// The conditional PUT of this object.
    ///
    /// # Errors
    /// Why there is no signature now.
    async fn put(&self, object: &super::Object) -> Result<SignedRequest, Unsigned>;

    /// The HEAD that asks what the store holds under a key; where [`Signer::may_look`] says no, one that finds out
    /// whether the store answers at all.
    ///
    /// # Errors
    /// As [`Signer::put`].
    async fn head(&self, key: &str) -> Result<SignedRequest, Unsigned>;

    /// Whether a HEAD of this signer tells what the store holds.
    fn may_look(&self) -> bool {
        true
    }

    /// The store refused what was signed for `key`, with the S3 error code `code` where it has one. True where another
    /// signature may do better at once.
    async fn refused(&self, _key: &str, _code: Option<&str>) -> bool {
        false
    }

    /// The store refused a signature for its time: what its own clock says, in seconds since 1970.
    fn heard_time(&self, _seconds: i64) {}
}
