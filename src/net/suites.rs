//! Which cipher suites TLS offers, and in which order: everything that dials takes its provider from here.
//!
//! A client offers its suites in the order that it prefers (RFC 8446, section 4.1.2). Which is taken is for the server to say, and
//! many go by an order of their own. One that leaves it to the client, or that takes ChaCha20 where the client puts it first,
//! spares a CPU without instructions for AES half of the work.

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// The suites with ChaCha20-Poly1305 (RFC 7905, RFC 8446).
const CHACHA20: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The provider of ring, with the order for the CPU that this runs on.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ordered(has_aes()))
}

/// The provider of ring, with ChaCha20-Poly1305 first where AES is without instructions of the CPU: it takes more than twice
/// as many others there (`docs/performance.md`). The order within each kind does not change.
#[must_use]
pub fn ordered(has_aes: bool) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if !has_aes {
        provider.cipher_suites.sort_by_key(|suite| !CHACHA20.contains(&suite.suite()));
    }
    provider
}

/// What is offered first, and why, in words for the log.
#[must_use]
pub fn in_words(has_aes: bool) -> String {
    let provider = ordered(has_aes);
    let first = provider.cipher_suites.first().and_then(|suite| suite.suite().as_str()).unwrap_or("nothing");
    format!("TLS offers {first} first: with{} instructions for AES", if has_aes { "" } else { "out" })
}

/// Whether AES-GCM runs on instructions of this CPU: those for AES and those for its product, as ring asks for both. On
/// 32-bit ARM ring 0.17 has no code with them, whatever the CPU has.
#[must_use]
pub fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
    }
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}
