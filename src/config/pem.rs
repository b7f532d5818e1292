//! Files in PEM (RFC 7468) that the configuration names: certificates, the roots of trust, private keys. They are read
//! here and nowhere else, so that every part takes and refuses the same.

use super::file::read_bounded;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::Path;

/// A whole public bundle of roots is about 250 KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// What a file holds. It may be a private key: it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Vec<u8>);

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

/// Why a file cannot be used. Nothing of it is quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not there, no regular file, larger than 1 MiB, or the disk says why.
    Unreadable(String),
    /// It begins as PEM and does not go on so.
    NotPem,
    /// There is no certificate in it.
    NoCertificate,
    /// One of its certificates, counted from 1, cannot vouch for others.
    NoRoot(usize, String),
    /// There is no private key in it.
    NoKey,
}

impl Unusable {
    /// What could be done about it.
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
            Unusable::NoCertificate => f.write_str("holds no certificate"),
            Unusable::NoRoot(n, why) => write!(f, "certificate {n} cannot be a root: {why}"),
            Unusable::NoKey => f.write_str("holds no private key"),
        }
    }
}

impl std::error::Error for Unusable {}

impl Pem {
    /// Reads a file, which may wait for a disk.
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

    /// Its certificates in their order: at least one.
    ///
    /// # Errors
    /// [`Unusable::NotPem`], [`Unusable::NoCertificate`].
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Unusable> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(&self.0)
            .collect::<Result<_, _>>()
            .map_err(|_| Unusable::NotPem)?;
        if found.is_empty() { Err(Unusable::NoCertificate) } else { Ok(found) }
    }

    /// Its certificates as roots of trust: at least one, and each of them is one.
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
        // The parser's own words could quote the file.
        PrivateKeyDer::from_pem_slice(&self.0).map_err(|_| Unusable::NoKey)
    }
}
