//! Upload: one segment at a time to object storage over TLS.

use crate::domain::outcome::Attempt;
use bytes::Bytes;

/// One object, ready to go.
#[derive(Clone, Debug)]
pub struct Object {
    /// The whole key within the bucket.
    pub key: String,
    /// Empty for the end of a span.
    pub body: Bytes,
    pub sha256: [u8; 32],
    /// `Content-Type`.
    pub content_type: String,
    /// User metadata, without the `x-amz-meta-` prefix.
    pub metadata: Vec<(&'static str, String)>,
    /// Object tags.
    pub tags: Vec<(&'static str, String)>,
}

/// A place that keeps objects. The PUT is conditional: an object that is there is never replaced.
#[async_trait::async_trait]
pub trait ObjectStore: Send + Sync {
    /// Puts the object, and finds out what the store then holds under its key. Ends within the
    /// deadlines of the configuration, whatever the network does.
    async fn put(&self, object: &Object) -> Attempt;
}
