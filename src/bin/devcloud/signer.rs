//! The signing key of the cloud, and the kinds of command it signs: compact JWS (RFC 7515) with
//! EdDSA (RFC 8037) over Ed25519.

use crate::certificates::write_new;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The name of the key: the stem of the file that the camera knows it by.
pub(crate) const KID: &str = "entitlement-dev-1";

/// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410, 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What a command is about; gives its `typ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Privacy,
    Entitlement,
    Grant,
}

impl Kind {
    /// As it stands in a topic.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Privacy => "privacy",
            Kind::Entitlement => "entitlement",
            Kind::Grant => "grant",
        }
    }

    /// Reads [`Kind::name`].
    pub(crate) fn parse(name: &str) -> Option<Kind> {
        [Kind::Privacy, Kind::Entitlement, Kind::Grant].into_iter().find(|kind| kind.name() == name)
    }

    fn typ(self) -> &'static str {
        match self {
            Kind::Privacy => "kasacam-privacy+jws",
            Kind::Entitlement => "kasacam-entitlement+jws",
            Kind::Grant => "kasacam-grant+jws",
        }
    }
}

pub(crate) struct Signer {
    key: Ed25519KeyPair,
    /// The public key as PEM, as the camera takes it.
    pub public: PathBuf,
}

impl Signer {
    /// The key of `dir`, made where it is not yet there.
    ///
    /// # Errors
    /// Where it cannot be made, read or written.
    pub(crate) fn ensure(dir: &Path) -> Result<Signer, String> {
        let private = dir.join("pki").join(format!("{KID}.pk8"));
        if !private.exists() {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
            let made = made.map_err(|_| "no signing key could be made".to_owned())?;
            write_new(&private, made.as_ref(), 0o600)?;
        }
        let pkcs8 = std::fs::read(&private).map_err(|e| format!("{}: {e}", private.display()))?;
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8)
            .map_err(|e| format!("{}: is no Ed25519 key: {e}", private.display()))?;
        let public = dir.join(format!("{KID}.pem"));
        let spki = [SPKI.as_slice(), key.public_key().as_ref()].concat();
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki));
        write_new(&public, pem.as_bytes(), 0o644)?;
        Ok(Signer { key, public })
    }

    /// The claims as a compact JWS.
    pub(crate) fn sign(&self, kind: Kind, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": KID, "typ": kind.typ()});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}
