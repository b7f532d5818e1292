//! The device's certificate and private key: obtained by EST (RFC 7030), kept in one file, renewed in time.
//!
//! Key and chain are in one PEM file, [`FILE`] in the state directory, mode 600. So one rename replaces both:
//! a power cut leaves the old identity or the new one, never a key that does not match its certificate.
//!
//! [`enroll`] in steps:
//! 1. A new private key is made on the camera, and published as [`PENDING`]. One that a power cut left behind
//!    is used again: the server may have issued a certificate for it already, and a one-time password may
//!    have been used for it.
//! 2. The request is sent (`simpleenroll` with a claim, `simplereenroll` with the identity that is to be
//!    replaced).
//! 3. The answer is checked: a certificate for this key, in the name of this device, valid now.
//! 4. Key and chain are published as [`FILE`].
//! 5. [`PENDING`] is removed. If a power cut leaves it beside an identity with the same key, it is not used
//!    again.

mod enrolment;
mod est;
mod issued;
mod keys;
mod renewal;
mod server;
mod store;

pub use enrolment::enroll;
pub use est::Est;
pub use issued::{Issued, read_answer};
pub use renewal::{renew_at, start};
pub use server::{Failure, Right, Server, place};
pub use store::{FILE, Identity, PENDING};
