//! Why there is no connection, in text that is safe to log and that says what to do.

use rustls::{AlertDescription, CertificateError, Error as RustlsError};
use rustls_pki_types::UnixTime;
use std::error::Error;
use std::fmt;
use std::io;

/// The names of the configuration keys that may need correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// The key of the peer's address, such as `mqtt.url`.
    pub url: &'static str,
    /// The key of the roots, such as `mqtt.ca`.
    pub ca: &'static str,
    /// The key of our own certificate, if there is one.
    pub cert: Option<&'static str>,
}

/// A fault in our own words, free of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Fault {}

/// Maximum length of a message: a peer's certificate may contain long names.
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

/// A fault of a stream that uses TLS: with TLS 1.3, a client learns only after the handshake that it is
/// refused.
#[must_use]
pub fn of_stream(error: &io::Error, names: Names) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) {
        Some(error) => of_tls(error, names),
        None => of_io(error),
    }
}

/// A fault of TLS: whose certificate to check, and what to reissue.
#[must_use]
pub fn of_tls(error: &RustlsError, names: Names) -> String {
    if let RustlsError::AlertReceived(alert) = error {
        return of_alert(*alert, names);
    }
    let RustlsError::InvalidCertificate(wrong) = error else {
        return printable(&format!("TLS: {error}"));
    };
    format!("its certificate {}", of_certificate(wrong, names))
}

fn of_alert(alert: AlertDescription, names: Names) -> String {
    if alert == AlertDescription::HandshakeFailure || alert == AlertDescription::InsufficientSecurity {
        // Also the alert that OpenSSL sends when it does not accept our certificate.
        let ours = names.cert.map(|cert| format!(", or look at {cert}")).unwrap_or_default();
        return format!(
            "it has no cipher or signature in common with us ({alert:?}): if its key is of a kind such as P-521, reissue its \
             certificate with {KEYS}{ours}"
        );
    }
    match names.cert {
        Some(cert) => {
            format!("it refuses us during TLS ({alert:?}): look at {cert}, its issuer and its validity")
        }
        None => format!("it refuses us during TLS ({alert:?})"),
    }
}

/// Keys whose signatures are accepted.
const KEYS: &str = "an ECDSA key on P-256 or P-384, an Ed25519 key, or RSA from 2048 bits on";

fn of_certificate(wrong: &CertificateError, names: Names) -> String {
    let (ca, url) = (names.ca, names.url);
    // An error that webpki finds and rustls has no name for is recognised only by its text.
    let told = format!("{wrong:?}");
    if *wrong == CertificateError::UnknownIssuer {
        format!(
            "is not issued by a root of {ca}: put the root that it comes from there, or have the peer send its whole chain, \
             with the intermediate certificates"
        )
    } else if let CertificateError::Expired | CertificateError::ExpiredContext { .. } = wrong {
        format!("has expired, or our clock is wrong{}: reissue it", at(wrong))
    } else if let CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } = wrong {
        format!("is not valid yet, or our clock is wrong{}", at(wrong))
    } else if let CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } = wrong
    {
        format!("is for another host than that of {url}{}", hosts(wrong))
    } else if *wrong == CertificateError::BadSignature {
        format!(
            "names a root of {ca} as its issuer, and is not signed by it: {ca} holds another of that name, or a key in its \
             chain is too short: reissue it with {KEYS}"
        )
    } else if told.contains("UnsupportedSignatureAlgorithm") {
        format!(
            "is signed in a way that we do not verify: reissue it, and what issues it, with {KEYS}, and SHA-256 or SHA-384"
        )
    } else if told.contains("UnsupportedCertVersion") {
        String::from("is of X.509 version 1: reissue it as version 3, with subjectAltName")
    } else if told.contains("CaUsedAsEndEntity") {
        String::from("is that of an authority (CA:TRUE): reissue it as a server's, CA:FALSE")
    } else if told.contains("InvalidPurpose") {
        String::from(
            "is not meant for a server: reissue it with extendedKeyUsage serverAuth, or without that extension",
        )
    } else {
        printable(&format!("is not accepted: {wrong:?}"))
    }
}

/// The limit with which the clock was compared.
fn at(wrong: &CertificateError) -> String {
    let days = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs()) / 86_400;
    if let CertificateError::ExpiredContext { time, not_after } = wrong {
        return format!(" ({} days ago by our clock)", days(*not_after, *time));
    }
    if let CertificateError::NotValidYetContext { time, not_before } = wrong {
        return format!(" (in {} days by our clock)", days(*time, *not_before));
    }
    String::new()
}

/// The hosts for which the certificate is valid, and the host for which it must be.
fn hosts(wrong: &CertificateError) -> String {
    let CertificateError::NotValidForNameContext { expected, presented } = wrong else {
        return String::new();
    };
    let named = match presented.is_empty() {
        true => String::from("no host in subjectAltName (a common name does not count)"),
        false => printable(&presented.join(", ")),
    };
    let expected = printable(&expected.to_str());
    format!(": it names {named}; reissue it with {expected} in subjectAltName")
}

/// Without control characters, and cut short.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARACTERS).collect()
}
