//! PEM files (RFC 7468) of the configuration: certificates, roots of trust, private keys. All parts read them here, so all
//! accept and refuse the same files.

use super::file::read_bounded;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::Path;

/// Maximum bytes of a file. A complete public bundle of roots has about 250 KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// The content of a file. It may be a private key: debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Vec<u8>);

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

/// Why a file cannot be used. Its content is not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is missing, not a regular file, larger than 1 MiB, or cannot be read.
    Unreadable(String),
    /// It starts as PEM, but is damaged.
    NotPem,
    /// It contains no certificate.
    NoCertificate,
    /// One of its certificates, counted from 1, cannot be a root of trust.
    NoRoot(usize, String),
    /// It contains no private key.
    NoKey,
}

impl Unusable {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Unusable::Unreadable(_) => "check the path and its permissions",
            Unusable::NotPem => "was it cut off, or is it DER?",
            Unusable::NoCertificate => "it must be PEM: -----BEGIN CERTIFICATE-----",
            Unusable::NoRoot(..) => "it must be the certificate of an authority",
            Unusable::NoKey => "it must be PEM: -----BEGIN PRIVATE KEY-----",
        }
    }

    /// In one line, with the configuration's `key` and the file's `path`.
    #[must_use]
    pub fn of(&self, key: &str, path: &Path) -> String {
        format!("{key}: {}: {self} ({})", path.display(), self.hint())
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Unusable::NotPem => f.write_str("is not valid PEM"),
            Unusable::NoCertificate => f.write_str("contains no certificate"),
            Unusable::NoRoot(n, why) => write!(f, "certificate {n} cannot be a root: {why}"),
            Unusable::NoKey => f.write_str("contains no private key"),
        }
    }
}

impl std::error::Error for Unusable {}

impl Pem {
    /// Reads a file. May block.
    ///
    /// # Errors
    /// [`Unusable::Unreadable`].
    pub fn read(path: &Path) -> Result<Pem, Unusable> {
        read_bounded(path, MAX_BYTES).map(Pem).map_err(Unusable::Unreadable)
    }

    /// [`read`](Pem::read), with the error in one line for the configuration's `key`.
    ///
    /// # Errors
    /// Which file cannot be read, and why.
    pub fn of(key: &str, path: &Path) -> Result<Pem, String> {
        Pem::read(path).map_err(|why| why.of(key, path))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its certificates, in order: at least one.
    ///
    /// # Errors
    /// [`Unusable::NotPem`], [`Unusable::NoCertificate`].
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Unusable> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(&self.0)
            .collect::<Result<_, _>>()
            .map_err(|_| Unusable::NotPem)?;
        if found.is_empty() { Err(Unusable::NoCertificate) } else { Ok(found) }
    }

    /// Its certificates as roots of trust: at least one.
    ///
    /// # Errors
    /// As [`certificates`](Pem::certificates), and [`Unusable::NoRoot`].
    pub fn roots(&self) -> Result<RootCertStore, Unusable> {
        let mut roots = RootCertStore::empty();
        for (i, certificate) in self.certificates()?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| Unusable::NoRoot(i + 1, error.to_string()))?;
        }
        Ok(roots)
    }

    /// Its first private key.
    ///
    /// # Errors
    /// [`Unusable::NoKey`].
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, Unusable> {
        // The parser's message could quote the file.
        PrivateKeyDer::from_pem_slice(&self.0).map_err(|_| Unusable::NoKey)
    }
}
