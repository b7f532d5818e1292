//! The signing key of the cloud, and the kinds of command that it signs.

use crate::certificates::write_new;
use crate::jws;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kasacam::mqtt::payloads::{ENTITLEMENT_TYP, GRANT_TYP, PRIVACY_TYP};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The name of the key: the stem of its file on the camera.
pub(crate) const KID: &str = "entitlement-dev-1";

/// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410, 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The kinds of command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandKind {
    Privacy,
    Entitlement,
    Grant,
}

impl CommandKind {
    /// The name in the topic.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CommandKind::Privacy => "privacy",
            CommandKind::Entitlement => "entitlement",
            CommandKind::Grant => "grant",
        }
    }

    /// Reads [`CommandKind::name`].
    pub(crate) fn parse(name: &str) -> Option<CommandKind> {
        [CommandKind::Privacy, CommandKind::Entitlement, CommandKind::Grant]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    fn typ(self) -> &'static str {
        match self {
            CommandKind::Privacy => PRIVACY_TYP,
            CommandKind::Entitlement => ENTITLEMENT_TYP,
            CommandKind::Grant => GRANT_TYP,
        }
    }
}

pub(crate) struct Signer {
    key: Ed25519KeyPair,
    /// The public key as PEM, for the camera.
    pub public: PathBuf,
}

impl Signer {
    /// Reads the key of `dir`, or makes it.
    ///
    /// # Errors
    /// It cannot be made, read or written.
    pub(crate) fn ensure(dir: &Path) -> Result<Signer, String> {
        let private = dir.join("pki").join(format!("{KID}.pk8"));
        if !private.exists() {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
            let made = made.map_err(|_| "no signing key could be made".to_owned())?;
            write_new(&private, made.as_ref(), 0o600)?;
        }
        let pkcs8 = std::fs::read(&private).map_err(|e| format!("{}: {e}", private.display()))?;
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8)
            .map_err(|e| format!("{}: is not an Ed25519 key: {e}", private.display()))?;
        let public = dir.join(format!("{KID}.pem"));
        let spki = [SPKI.as_slice(), key.public_key().as_ref()].concat();
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki));
        write_new(&public, pem.as_bytes(), 0o644)?;
        Ok(Signer { key, public })
    }

    /// The claims as a compact JWS.
    pub(crate) fn sign(&self, kind: CommandKind, claims: &Value) -> String {
        jws::sign(&self.key, KID, kind.typ(), claims)
    }
}
