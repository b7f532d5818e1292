//! Upload: one segment at a time to object storage over TLS.
//!
//! [`worker`] names the object and moves its key where another segment has it; [`store`] sends it
//! and finds out what the store then holds; what that means is decided by
//! [`crate::domain::outcome::classify`], and nowhere else. Nothing here tries again by itself, and
//! nothing here deletes: both are the machine's to order.
//!
//! The way of one request: [`store`] has `object_store` name and sign it, [`connector`] sends it and
//! reads the answer, [`rate`] holds the body back to `upload.max_rate`, [`dial`] opens the connection
//! and ends it when no byte moves. [`answer`] is what is kept of an answer, [`fault`] what is said
//! where there is none; neither has room for a URL, a header that authorises, or a credential.

pub mod answer;
mod connector;
pub mod credentials;
mod dial;
mod fault;
pub mod rate;
pub mod store;
pub mod tls;
pub mod worker;

pub use store::{S3Store, Timeouts};
pub use worker::{Uploader, object_for};

use crate::domain::effect::Share;
use crate::domain::outcome::Attempt;
use bytes::Bytes;

/// One object, ready to go.
#[derive(Clone, Debug)]
pub struct Object {
    /// The whole key within the bucket.
    pub key: String,
    /// Empty for the end of a span.
    pub body: Bytes,
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
}

/// A place that keeps objects. The PUT is conditional: an object that is there is never replaced.
#[async_trait::async_trait]
pub trait ObjectStore: Send + Sync {
    /// Puts the object, and finds out what the store then holds under its key. Ends within the
    /// deadlines of the configuration, whatever the network does.
    async fn put(&self, object: &Object) -> Attempt;

    /// Whether it answers at all, whatever it says. Ends within the same deadlines.
    async fn answers(&self) -> bool;
}
