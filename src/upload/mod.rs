//! Upload: one segment at a time to object storage over TLS.
//!
//! [`worker`] names the object and moves its key where another segment has it; [`store`] sends it
//! and finds out what the store then holds; what that means is decided by
//! [`crate::domain::outcome::classify`], and nowhere else. Nothing here tries again by itself, and
//! nothing here deletes: both are the machine's to order.
//!
//! The way of one request: a [`Signer`] makes a [`SignedRequest`] of an [`Object`], [`client`] sends it and reads the
//! answer, [`body`] streams the bytes from where they lie, [`rate`] holds them back to `upload.max_rate`, and
//! [`crate::net`] opens the connection and ends it when no byte moves. [`answer`] is what is kept of an answer,
//! [`fault`] what is said where there is none; neither has room for a URL, a header that authorises, or a credential.

pub mod answer;
pub mod body;
mod client;
pub mod credentials;
mod fault;
pub mod grant;
pub mod iot;
mod onvif;
pub mod rate;
mod request;
mod roots;
mod sigv4;
mod stamp;
pub mod store;
pub mod tls;
pub mod worker;

pub use body::Body;
pub use client::Timeouts;
pub use request::{SignedRequest, Signer, Unsigned};
pub use store::S3Store;
pub use worker::{Uploader, object_for};

use crate::domain::effect::Share;
use crate::domain::outcome::Attempt;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Notify;

/// One object, ready to go.
#[derive(Clone)]
pub struct Object {
    /// The whole key within the bucket.
    pub key: String,
    /// Its bytes; none for the end of a span.
    pub body: Arc<dyn Body>,
    /// How many they are.
    pub size: u64,
    /// Of the body; the store has to confirm it.
    pub sha256: [u8; 32],
    /// `Content-Type`.
    pub content_type: String,
    /// User metadata, without the `x-amz-meta-` prefix.
    pub metadata: Vec<(&'static str, String)>,
    /// Object tags.
    pub tags: Vec<(&'static str, String)>,
    /// Of the rate, beside other uploads.
    pub share: Share,
    /// Notified, once, when more than half of the bytes have gone to the connection.
    pub half_sent: Arc<Notify>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("key", &self.key).field("size", &self.size).finish_non_exhaustive()
    }
}

/// A place that keeps objects. The PUT is conditional: an object that is there is never replaced.
#[async_trait::async_trait]
pub trait ObjectStore: Send + Sync {
    /// Puts the object, and finds out what the store then holds under its key. Ends where nothing moves for the time
    /// of the configuration, whatever the network does.
    async fn put(&self, object: &Object) -> Attempt;

    /// Puts an object again that it has just stored, with the same bytes: whether it refuses to. `None` where it does
    /// not say.
    async fn refuses_again(&self, object: &Object) -> Option<bool>;

    /// Whether it answers at all, whatever it says. Ends within the same deadlines.
    async fn answers(&self) -> bool;
}
