//! The answer of an EST server: a certs-only CMS message (RFC 5652, 5; RFC 8951), read and judged. Pure.

use crate::domain::time::Utc;
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Class, FromBer, Oid, Tag, oid};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Maximum number of certificates. A leaf and the chain to a root have far fewer.
const MAX_CERTIFICATES: usize = 8;

/// A certificate that was issued to the camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The leaf first, each one followed by its issuer, as TLS requires (RFC 8446, 4.4.2).
    pub chain: Vec<CertificateDer<'static>>,
    /// Start of its validity.
    pub from: Utc,
    /// End of its validity.
    pub until: Utc,
}

/// The certificate in `answer` (DER) for the public key `spki` (DER), with the chain towards its root.
///
/// # Errors
/// Why it is not a certificate for `device` that is valid at `now`, and what to reissue.
pub fn read_answer(answer: &[u8], spki: &[u8], device: &str, now: Utc) -> Result<Issued, String> {
    let all = certificates(answer)?;
    let mut rest: Vec<(&[u8], X509Certificate<'_>)> = Vec::new();
    for der in &all {
        let (_, parsed) = X509Certificate::from_der(der)
            .map_err(|_| String::from("the server issued a certificate that cannot be read as X.509"))?;
        rest.push((der, parsed));
    }
    let Some(at) = rest.iter().position(|(_, it)| it.public_key().raw == spki) else {
        return Err(String::from("the server issued no certificate for the key that was asked for"));
    };
    let (der, leaf) = rest.swap_remove(at);
    let names: Vec<&str> =
        leaf.subject().iter_common_name().map(|name| name.as_str().unwrap_or_default()).collect();
    if names != [device] {
        let names = names.join("\", \"");
        return Err(format!(
            "the server issued a certificate for \"{names}\", where the device is \"{device}\": issue it with the \
             common name that the request has"
        ));
    }
    let validity = leaf.validity();
    let from = Utc::from_secs(validity.not_before.timestamp());
    let until = Utc::from_secs(validity.not_after.timestamp());
    if now < from || now >= until {
        return Err(format!(
            "the certificate that the server issued is good from {from} to {until}, and it is {now} here: is one \
             of the two clocks wrong?"
        ));
    }
    let mut chain = vec![CertificateDer::from(der.to_vec())];
    let mut issuer = leaf.issuer().as_raw().to_vec();
    while let Some(at) = rest.iter().position(|(_, it)| it.subject().as_raw() == issuer) {
        let (der, next) = rest.swap_remove(at);
        issuer = next.issuer().as_raw().to_vec();
        // The peer already trusts the root.
        if next.subject().as_raw() != issuer {
            chain.push(CertificateDer::from(der.to_vec()));
        }
    }
    Ok(Issued { chain, from, until })
}

/// `ContentInfo { signedData { …, certificates [0] } }`; everything else is skipped: EST messages carry no
/// signature, and are trusted because of the TLS connection over which they came (RFC 7030, 4.2.3).
fn certificates(answer: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let bad = || String::from("the server's answer is no certs-only CMS message (application/pkcs7-mime)");
    let signed_data = oid!(1.2.840.113549.1.7.2);
    let (_, info) = Any::from_ber(answer).map_err(|_| bad())?;
    info.tag().assert_eq(Tag::Sequence).map_err(|_| bad())?;
    let (rest, kind) = Oid::from_der(info.data).map_err(|_| bad())?;
    if kind != signed_data {
        return Err(bad());
    }
    let (_, content) = Any::from_ber(rest).map_err(|_| bad())?;
    let (_, signed) = Any::from_ber(content.data).map_err(|_| bad())?;
    let mut fields = signed.data;
    let set = loop {
        let (rest, field) = Any::from_ber(fields).map_err(|_| bad())?;
        if field.class() == Class::ContextSpecific && field.tag() == Tag(0) {
            break field.data;
        }
        fields = rest;
    };
    let (mut found, mut left) = (Vec::new(), set);
    while !left.is_empty() && found.len() < MAX_CERTIFICATES {
        let (rest, _) = Any::from_ber(left).map_err(|_| bad())?;
        let der = left.get(..left.len() - rest.len()).unwrap_or_default();
        // The end of a set of indefinite length.
        if der != [0, 0] {
            found.push(der.to_vec());
        }
        left = rest;
    }
    if !left.is_empty() {
        return Err(format!("the server's answer holds more than {MAX_CERTIFICATES} certificates"));
    }
    Ok(found)
}
