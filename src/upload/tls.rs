//! TLS towards the store: ring, TLS 1.2 and 1.3, and no roots but those of `upload.ca`.

use crate::system::clock::CertificateTime;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A whole public bundle is about 250 KiB.
const MOST_BYTES: u64 = 1024 * 1024;

/// The client configuration for the roots in the PEM file `ca`.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn client_config(ca: &Path) -> Result<ClientConfig, String> {
    let mut provider = rustls::crypto::ring::default_provider();
    order_suites(&mut provider, has_aes());
    ClientConfig::builder_with_details(Arc::new(provider), Arc::new(CertificateTime))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("TLS 1.2 and 1.3 are not available: {error}"))
        .map(|builder| (builder, roots(ca)))
        .and_then(|(builder, roots)| Ok(builder.with_root_certificates(roots?).with_no_client_auth()))
}

fn roots(ca: &Path) -> Result<RootCertStore, String> {
    let at = ca.display();
    let mut pem = Vec::new();
    File::open(ca)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| format!("upload.ca: {at}: cannot be read: {error}"))?;
    if u64::try_from(pem.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(format!("upload.ca: {at}: larger than 1 MiB: give a PEM bundle of the store's roots"));
    }
    let mut roots = RootCertStore::empty();
    for (i, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let n = i + 1;
        let certificate =
            certificate.map_err(|error| format!("upload.ca: {at}: certificate {n} is not PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("upload.ca: {at}: certificate {n} cannot be a root: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!(
            "upload.ca: {at}: holds no certificate: give the store's root in PEM (-----BEGIN CERTIFICATE-----)"
        ));
    }
    Ok(roots)
}

/// ChaCha20-Poly1305 first where AES has no instructions of its own: on such a core it takes about a
/// third of the time, and does not leak its key through the cache. The order within each kind stays.
pub fn order_suites(provider: &mut CryptoProvider, has_aes: bool) {
    if !has_aes {
        provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("CHACHA20"));
    }
}

/// Whether this CPU has instructions for AES.
#[must_use]
pub fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        std::arch::is_x86_feature_detected!("aes")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("aes")
    }
    #[cfg(target_arch = "arm")]
    {
        /// `HWCAP2_AES` of the kernel's `arch/arm/include/uapi/asm/hwcap.h`.
        const HWCAP2_AES: libc::c_ulong = 1;
        // SAFETY: getauxval only reads the vector that the kernel gave to this process; it has no
        // preconditions, and answers 0 for what it does not know.
        unsafe { libc::getauxval(libc::AT_HWCAP2) & HWCAP2_AES != 0 }
    }
    #[cfg(not(any(
        target_arch = "x86",
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "arm"
    )))]
    {
        false
    }
}
