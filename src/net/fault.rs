//! Why there is no connection, in words that are safe to log and that say what to do.

use super::dial::Names;
use rustls::{CertificateError, Error as RustlsError};
use std::error::Error;
use std::fmt;
use std::io;

/// A fault in words of our own, free of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Fault {}

/// A peer's certificate may carry long names.
const MAX_CHARACTERS: usize = 200;

/// A fault of a stream.
#[must_use]
pub fn of_io(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        Some(fault) => fault.0.clone(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => String::from("it closed the connection"),
        None => error.kind().to_string(),
    }
}

/// A fault of a stream that speaks TLS: with TLS 1.3 a client hears only after the handshake that it is refused.
#[must_use]
pub fn of_stream(error: &io::Error, names: Names) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) {
        Some(error) => of_tls(error, names),
        None => of_io(error),
    }
}

/// A fault of TLS, and whose certificate is to be looked at.
#[must_use]
pub fn of_tls(error: &RustlsError, names: Names) -> String {
    if let RustlsError::AlertReceived(alert) = error {
        return match names.cert {
            Some(cert) => {
                format!("it refuses us during TLS ({alert:?}): look at {cert}, its issuer and its validity")
            }
            None => format!("it refuses us during TLS ({alert:?})"),
        };
    }
    let RustlsError::InvalidCertificate(wrong) = error else {
        return printable(&format!("TLS: {error}"));
    };
    let (ca, url) = (names.ca, names.url);
    let wrong = if *wrong == CertificateError::UnknownIssuer {
        format!("is not issued by a root of {ca}")
    } else if let CertificateError::Expired | CertificateError::ExpiredContext { .. } = wrong {
        String::from("has expired, or our clock is wrong")
    } else if let CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } = wrong {
        String::from("is not valid yet, or our clock is wrong")
    } else if let CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } = wrong
    {
        format!("is for another host than that of {url}")
    } else if *wrong == CertificateError::BadSignature {
        format!(
            "names a root of {ca} as its issuer, and is not signed by it: {ca} holds another of that name"
        )
    } else {
        return printable(&format!("its certificate is not accepted: {wrong:?}"));
    };
    format!("its certificate {wrong}")
}

/// Without control characters, and short.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARACTERS).collect()
}
