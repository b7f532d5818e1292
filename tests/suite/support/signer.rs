//! Signatures of the cloud, right and wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kasacam::config::VerifyingKey;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

pub const KID: &str = "entitlement-2026-1";
pub const PRIVACY: &str = "kasacam-privacy+jws";
pub const ENTITLEMENT: &str = "kasacam-entitlement+jws";
pub const GRANT: &str = "kasacam-grant+jws";

pub struct Signer {
    pair: Ed25519KeyPair,
    pub kid: String,
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn new(kid: &str, seed: u8) -> Signer {
        Signer { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), kid: kid.to_owned() }
    }

    /// The cloud.
    pub fn ours() -> Signer {
        Signer::new(KID, 7)
    }

    pub fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().unwrap()
    }

    pub fn key(&self) -> VerifyingKey {
        VerifyingKey { kid: self.kid.clone(), key: self.public() }
    }

    /// A JWS of a header and a payload that need not be JSON.
    pub fn sign_raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub fn sign(&self, typ: &str, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": self.kid, "typ": typ }).to_string();
        self.sign_raw(header, claims.to_string())
    }

    pub fn privacy(&self, device: &str, version: u64, do_not_record: bool) -> String {
        self.sign(PRIVACY, &privacy_claims(device, version, do_not_record))
    }

    pub fn entitlement(&self, device: &str, version: u64) -> String {
        self.sign(ENTITLEMENT, &entitlement_claims(device, version))
    }
}

pub fn privacy_claims(device: &str, version: u64, do_not_record: bool) -> Value {
    json!({
        "device_id": device, "version": version, "issued_at": "2026-11-23T12:00:00Z",
        "do_not_record": do_not_record,
    })
}

pub fn entitlement_claims(device: &str, version: u64) -> Value {
    json!({
        "device_id": device, "version": version, "issued_at": "2026-11-23T12:00:00Z",
        "not_after": "2026-12-23T12:00:00Z",
        "plan": { "id": "plus-monthly", "tier": "plus" }, "status": "active",
        "features": { "record": true, "audio": true, "max_height": 1080, "history_hours": 720 },
    })
}
