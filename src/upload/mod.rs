//! Upload: one segment at a time to object storage over TLS.
//!
//! [`worker`] names the object and changes its key if another segment has it; [`store`] sends it and finds
//! out what the store then holds; only [`crate::domain::outcome::classify`] decides what that means. Nothing
//! here retries by itself, and nothing here deletes: the machine orders both.
//!
//! One request: a [`Signer`] makes a [`SignedRequest`] of an [`Object`] ([`signature`] with keys of the camera), [`client`] sends it and reads the
//! answer, [`body`] streams the bytes from their place, [`rate`] limits them to `upload.max_rate`, and
//! [`crate::net`] opens the connection and ends it when no byte moves. [`answer`] is what is kept of an
//! answer, [`fault`] the text if there is none; neither has a field for a URL, a header that authorises, or a
//! credential.

pub mod answer;
pub mod body;
mod client;
pub mod credentials;
mod fault;
pub mod grant;
pub mod iot;
mod keys;
mod object;
mod onvif;
pub mod rate;
mod request;
mod roots;
pub mod signature;
mod sigv4;
mod stamp;
pub mod store;
pub mod tls;
pub mod worker;

pub use body::Body;
pub use client::Timeouts;
pub use object::{Object, ObjectStore};
pub use request::{SignedRequest, Signer, Unsigned};
pub use store::S3Store;
pub use worker::{Uploader, object_for};
