//! MQTT 5: what the cloud says comes in as an [`Input`](crate::domain::input::Input), what the camera reports
//! goes out.
//!
//! - [`jws`]: signatures. [`claims`]: contents. [`payloads`]: both together, bytes to `Input`.
//! - [`topics`]: the topic and kind of each report.
//! - [`outbox`]: what is still to be sent; independent of connections.
//! - [`packet`]: the packets of MQTT 5, as bytes.
//! - [`session`]: connections, one after the other, as long as the agent runs.
//!
//! Nothing that came from the broker is ever quoted in a log, an error or a `Debug` text.

pub mod claims;
mod connection;
mod deliveries;
mod exchange;
mod json;
pub mod jws;
mod link;
mod login;
pub mod outbox;
pub mod packet;
pub mod payloads;
mod reason;
pub mod session;
mod shared;
mod timers;
mod tls;
pub mod topics;
mod waits;

pub use link::OnGrants;
pub use payloads::{Keys, stored_entitlement, stored_privacy};
pub use session::{Requester, Session, open, open_with, start};
