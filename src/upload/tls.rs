//! TLS to the store: ring, TLS 1.2 and 1.3, and only the roots of `upload.ca`.

use crate::config::pem::Pem;
use crate::system::clock::CertificateTime;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use std::path::Path;
use std::sync::Arc;

/// The client configuration for the roots in the PEM file `ca`.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn client_config(ca: &Path) -> Result<ClientConfig, String> {
    let roots = Pem::of("upload.ca", ca)?.roots().map_err(|why| why.of("upload.ca", ca))?;
    let mut provider = rustls::crypto::ring::default_provider();
    order_suites(&mut provider, has_aes());
    ClientConfig::builder_with_details(Arc::new(provider), Arc::new(CertificateTime))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("TLS 1.2 and 1.3 are not available: {error}"))
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
}

/// ChaCha20-Poly1305 first if the CPU has no instructions for AES: on such a core it takes about a third of
/// the time, and does not leak its key through the cache. The order within each kind does not change.
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
        // preconditions, and returns 0 for unknown types.
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
