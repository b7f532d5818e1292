//! The private key, and the request for a certificate that is signed with it (PKCS#10, RFC 2986).

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};

/// A new ECDSA key on P-256, as PEM (PKCS#8).
///
/// # Errors
/// If there is no randomness.
pub(super) fn generate() -> Result<String, String> {
    let pair = KeyPair::generate().map_err(|e| format!("no private key can be made: {e}"))?;
    Ok(pair.serialize_pem())
}

/// SubjectPublicKeyInfo of the key (DER).
pub(super) fn public(pem: &str) -> Result<Vec<u8>, String> {
    Ok(pair(pem)?.subject_public_key_info())
}

/// A request for a certificate in the name of `device` (DER).
pub(super) fn request(pem: &str, device: &str) -> Result<Vec<u8>, String> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, device);
    params.distinguished_name = name;
    let request = params
        .serialize_request(&pair(pem)?)
        .map_err(|e| format!("no request for a certificate can be made: {e}"))?;
    Ok(request.der().to_vec())
}

fn pair(pem: &str) -> Result<KeyPair, String> {
    // The library's own text could quote the file.
    KeyPair::from_pem(pem).map_err(|_| String::from("the private key cannot be read"))
}
