//! Uploads by grants: the cloud signs each PUT, and the camera holds no key of the store.
//!
//! [`desk`] decides what is asked for, when, and what an answer gives to whom; [`check`] holds a grant against what was
//! asked for and against the configured store. Both are functions of values: time is an argument.
//!
//! A grant names the key, the size and the checksum of one object, and leads to the configured endpoint and bucket and
//! nowhere else. Whoever holds the broker alone has no key that signs grants; whoever holds that key still cannot send
//! footage elsewhere than the configuration says.

pub mod check;
pub mod desk;
mod grants;

pub use check::{Allowed, Granted};
pub use desk::{Desk, Refusal, Ticket};
pub(super) use grants::Granting;
pub use grants::Grants;
