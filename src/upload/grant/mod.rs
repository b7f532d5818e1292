//! Uploads by grants: the cloud signs each PUT, and the camera holds no key of the store.
//!
//! [`desk`] decides what is requested, when, and which upload gets which answer; [`check`] compares a grant
//! with the request and with the configured store. Both are functions of values: time is an argument.
//!
//! A grant names the key, the size and the checksum of one object, and leads only to the configured endpoint
//! and bucket. Whoever controls only the broker has no key that signs grants; whoever has that key still
//! cannot send footage anywhere else than configured.

pub mod check;
pub mod desk;
mod grants;

pub use check::{Allowed, Granted};
pub use desk::{Desk, Refusal, Ticket};
pub(super) use grants::Granting;
pub use grants::Grants;
