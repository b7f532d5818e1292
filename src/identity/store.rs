//! The identity's files.

use super::keys;
use super::server::Failure;
use crate::disk::{self, Fs};
use crate::domain::time::Utc;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::io;
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The private key and the chain, PEM.
pub const FILE: &str = crate::config::IDENTITY_FILE;
/// A private key for which a certificate is being requested.
pub const PENDING: &str = "identity-pending.key";
/// Maximum size of the file in bytes. A key and a chain of a few certificates are far smaller.
const MAX_FILE: u64 = 256 * 1024;

/// The content of [`FILE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Start of the certificate's validity.
    pub from: Utc,
    /// End of its validity.
    pub until: Utc,
    /// SubjectPublicKeyInfo of the certificate.
    spki: Vec<u8>,
}

/// The identity in `dir`, if there is one that can be read. One that cannot be read counts as none: a new one
/// is requested.
///
/// # Errors
/// If the disk fails.
pub(super) fn load(fs: &dyn Fs, dir: &Path) -> Result<Option<Identity>, String> {
    let path = dir.join(FILE);
    match disk::read(fs, &path, MAX_FILE) {
        Ok(pem) => Ok(parse(&pem)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// The first certificate of a PEM file.
pub(super) fn parse(pem: &[u8]) -> Option<Identity> {
    let first = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (_, parsed) = X509Certificate::from_der(&first).ok()?;
    let validity = parsed.validity();
    Some(Identity {
        from: Utc::from_secs(validity.not_before.timestamp()),
        until: Utc::from_secs(validity.not_after.timestamp()),
        spki: parsed.public_key().raw.to_vec(),
    })
}

/// The key that waits for its certificate; a new, durable one if none waits.
pub(super) fn pending(fs: &dyn Fs, dir: &Path, current: Option<&Identity>) -> Result<String, Failure> {
    disk::make_dir(fs, dir).map_err(|e| Failure::Disk(format!("{}: {e}", dir.display())))?;
    let waiting =
        disk::read(fs, &dir.join(PENDING), MAX_FILE).ok().and_then(|pem| String::from_utf8(pem).ok());
    if let Some(pem) = waiting {
        let usable = keys::public(&pem).is_ok_and(|spki| current.is_none_or(|current| current.spki != spki));
        if usable {
            return Ok(pem);
        }
    }
    let pem = keys::generate().map_err(Failure::Disk)?;
    disk::publish(fs, dir, PENDING, pem.as_bytes()).map_err(|e| Failure::Disk(e.to_string()))?;
    Ok(pem)
}

/// Replaces the identity atomically and durably.
pub(super) fn publish(
    fs: &dyn Fs,
    dir: &Path,
    key: &str,
    chain: &[CertificateDer<'static>],
) -> Result<(), String> {
    let mut pem = key.trim_end().to_owned();
    pem.push('\n');
    for certificate in chain {
        pem += &as_pem(certificate);
    }
    disk::publish(fs, dir, FILE, pem.as_bytes()).map_err(|e| e.to_string())?;
    // The identity is in place. If the pending key remains, the next start recognises it as used.
    let _stays = fs.unlink(&dir.join(PENDING)).and_then(|()| fs.sync_dir(dir));
    Ok(())
}

/// RFC 7468, 5.
fn as_pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (i, letter) in text.chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem += "\n-----END CERTIFICATE-----\n";
    pem
}
