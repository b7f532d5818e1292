//! Upload grants: what the camera asks of the cloud, and what the cloud answers. A grant is a request to the
//! store that the cloud has already signed, so that the camera needs no key of the store.

use super::time::Utc;
use std::collections::BTreeMap;
use std::fmt;

/// Maximum number of objects in one request, and of grants in one answer.
pub const MAX_GRANTS: usize = 16;

/// An object that is to be stored, as described to the cloud: a member of `want` of `R/grant/request`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Want {
    /// The whole key in the bucket.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in hexadecimal, lower case.
    pub sha256: String,
    /// `Content-Type` that the object is to have.
    pub content_type: String,
    /// User metadata that the object is to have, without the store's own prefix.
    pub metadata: BTreeMap<String, String>,
}

/// A request for grants: the payload of `R/grant/request`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GrantRequest {
    /// Random, 32 hexadecimal digits; the answer repeats it. It is also the correlation data of the message.
    pub id: String,
    /// 1 to 16 objects.
    pub want: Vec<Want>,
}

/// The header of the store's answer that proves what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// `x-amz-checksum-sha256`: the SHA-256, in base64.
    AmzSha256,
    /// `x-goog-hash`, of which the part `md5=` counts, in base64.
    GoogHash,
    /// `content-md5` (RFC 1864), in base64.
    ContentMd5,
}

impl Proof {
    /// The name of the header, as in a grant.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Proof::AmzSha256 => "x-amz-checksum-sha256",
            Proof::GoogHash => "x-goog-hash",
            Proof::ContentMd5 => "content-md5",
        }
    }

    /// The proof with this header's name.
    #[must_use]
    pub fn of_header(name: &str) -> Option<Proof> {
        [Proof::AmzSha256, Proof::GoogHash, Proof::ContentMd5].into_iter().find(|p| p.header() == name)
    }
}

/// One presigned PUT, as received from the cloud; not yet checked against the request.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The object's key.
    pub key: String,
    /// The URL of the PUT. It authorises, so it is never shown.
    pub url: String,
    /// The headers that the PUT must have, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// How long the store accepts it.
    pub expires_at: Utc,
    /// The header with which the store will prove that it holds the object.
    pub proof: Proof,
}

/// Without the URL and the headers, because they authorise.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("key", &self.key)
            .field("expires_at", &self.expires_at)
            .field("proof", &self.proof)
            .finish_non_exhaustive()
    }
}

/// An object for which the cloud gives no grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The object's key.
    pub key: String,
    /// Why: 1 to 64 of `a-z 0-9 _`.
    pub reason: String,
}

/// The claims of a `kasacam-grant+jws`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantAnswer {
    /// The id of the request.
    pub id: String,
    /// When the cloud signed it, by the cloud's own clock. Only the time from here to a grant's `expires_at`
    /// is used.
    pub issued_at: Utc,
    /// At most [`MAX_GRANTS`].
    pub grants: Vec<Grant>,
    /// At most [`MAX_GRANTS`].
    pub refused: Vec<Refused>,
}
