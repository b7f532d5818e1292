//! One object, and the store that it goes to.

use super::body::Body;
use crate::domain::effect::Share;
use crate::domain::outcome::Attempt;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Notify;

/// One object, ready to send.
#[derive(Clone)]
pub struct Object {
    /// The whole key in the bucket.
    pub key: String,
    /// Its bytes; empty for the end of a span.
    pub body: Arc<dyn Body>,
    /// Their number.
    pub size: u64,
    /// SHA-256 of the body; the store must confirm it.
    pub sha256: [u8; 32],
    /// `Content-Type`.
    pub content_type: String,
    /// User metadata, without the `x-amz-meta-` prefix.
    pub metadata: Vec<(&'static str, String)>,
    /// Object tags.
    pub tags: Vec<(&'static str, String)>,
    /// Its share of the rate, beside other uploads.
    pub share: Share,
    /// Notified, once, when more than half of the bytes have been passed to the connection.
    pub half_sent: Arc<Notify>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("key", &self.key).field("size", &self.size).finish_non_exhaustive()
    }
}

/// A store of objects. The PUT is conditional: an existing object is never replaced.
#[async_trait::async_trait]
pub trait ObjectStore: Send + Sync {
    /// Puts the object, and finds out what the store then holds under its key. Ends if no byte moves for the
    /// configured time, whatever the network does.
    async fn put(&self, object: &Object) -> Attempt;

    /// Puts an object that it has just stored a second time, with the same bytes, and returns whether the
    /// store refuses it. `None` if the answer does not show it.
    async fn refuses_again(&self, object: &Object) -> Option<bool>;

    /// Whether it answers, whatever the answer is. Ends within the same timeouts.
    async fn answers(&self) -> bool;
}
