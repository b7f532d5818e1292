//! The server that issues certificates, as the camera sees it.

use crate::config::Enrolment;
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

/// A description of the configured enrolment, for messages.
#[must_use]
pub fn place(enrolment: &Enrolment) -> String {
    format!("the EST server at {}:{}", enrolment.host, enrolment.port)
}
