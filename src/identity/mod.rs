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

mod est;
mod issued;
mod keys;
mod renewal;
mod store;

pub use issued::{Issued, read_answer};
pub use renewal::{renew_at, start};
pub use store::{FILE, Identity, PENDING};

use crate::config::Enrolment;
use crate::disk::Fs;
use crate::domain::time::Utc;
use std::path::Path;
use std::time::Duration;

/// What entitles the camera to a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// A claim certificate or a one-time password: the first certificate.
    Claim,
    /// The identity that is to be replaced.
    Identity,
}

/// Why there is no certificate yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server wants somebody to approve the request, and to be asked again (RFC 7030, 4.2.3).
    Later(Option<Duration>),
    /// The server refused, or did not answer; with what to do.
    Refused(String),
    /// The disk failed, or its content is wrong.
    Disk(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Later(Some(wait)) => {
                write!(
                    f,
                    "the server has not approved it yet, and wants to be asked again in {} s",
                    wait.as_secs()
                )
            }
            Failure::Later(None) => f.write_str("the server has not approved it yet: ask again later"),
            Failure::Refused(why) | Failure::Disk(why) => f.write_str(why),
        }
    }
}

/// Sends a request to the server: over the network, or in a test.
pub trait Server {
    /// Sends a PKCS#10 request (DER), and returns the body of the answer, a certs-only CMS message (DER).
    ///
    /// # Errors
    /// See [`Failure`].
    fn ask(
        &self,
        right: Right,
        request: Vec<u8>,
    ) -> impl std::future::Future<Output = Result<Vec<u8>, Failure>> + Send;
}

pub use est::Est;

/// Gets a certificate for `device` and makes it durable in `dir`, in the steps of [`self`].
///
/// # Errors
/// See [`Failure`]; the previous identity is then unchanged. Safe to call again.
pub async fn enroll(
    fs: &dyn Fs,
    dir: &Path,
    device: &str,
    right: Right,
    server: &impl Server,
    now: Utc,
) -> Result<Issued, Failure> {
    let current = store::load(fs, dir).map_err(Failure::Disk)?;
    let key = store::pending(fs, dir, current.as_ref())?;
    let request = keys::request(&key, device).map_err(Failure::Refused)?;
    let answer = server.ask(right, request).await?;
    let spki = keys::public(&key).map_err(Failure::Disk)?;
    let issued = read_answer(&answer, &spki, device, now).map_err(Failure::Refused)?;
    store::publish(fs, dir, &key, &issued.chain).map_err(Failure::Disk)?;
    Ok(issued)
}

/// A description of the configured enrolment, for messages.
#[must_use]
pub fn place(enrolment: &Enrolment) -> String {
    format!("the EST server at {}:{}", enrolment.host, enrolment.port)
}
