//! The commands of `--flip`: the owner's choice, plans, and commands that the camera must refuse.

use super::super::client::Client;
use super::super::judgement::camera::seen::{Attempt, CameraSeen};
use super::super::judgement::camera::told::{Told, told};
use super::arguments::Watch;
use super::listening::listen;
use crate::{jws, lease};
use kasacam::mqtt::payloads::{ENTITLEMENT_TYP, PRIVACY_TYP};
use kasacam::system::clock;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Never shown.
pub(super) struct Signer {
    key: Ed25519KeyPair,
    kid: String,
}

impl Signer {
    /// Reads a private key, in PEM or DER.
    ///
    /// # Errors
    /// The file cannot be used; nothing of it is quoted.
    pub(super) fn read(file: &Path, kid: Option<&str>) -> Result<Signer, String> {
        let none = || format!("{}: holds no Ed25519 private key (PKCS#8)", file.display());
        let bytes = std::fs::read(file).map_err(|e| format!("{}: {}", file.display(), e.kind()))?;
        let der = match PrivatePkcs8KeyDer::from_pem_slice(&bytes) {
            Ok(der) => der.secret_pkcs8_der().to_vec(),
            Err(_) => bytes,
        };
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| none())?;
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        let kid = kid.or(stem).ok_or_else(none)?.to_owned();
        Ok(Signer { key, kid })
    }

    /// Another key with the same name.
    fn impostor(&self) -> Result<Signer, String> {
        let made =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| "no key could be made")?;
        let key = Ed25519KeyPair::from_pkcs8(made.as_ref()).map_err(|_| "no key could be made")?;
        Ok(Signer { key, kid: self.kid.clone() })
    }

    fn sign(&self, typ: &str, claims: &Value) -> Vec<u8> {
        jws::sign(&self.key, &self.kid, typ, claims).into_bytes()
    }
}

/// Goes through every state; at the end, everything is as before.
///
/// # Errors
/// The camera may not record at the start, or the broker does not accept a command.
pub(super) async fn flip(
    watch: &Watch,
    signer: &Signer,
    client: &mut Client,
    seen: &mut CameraSeen,
) -> Result<(), String> {
    let last = |seen: &CameraSeen, topic: &str| told(seen, topic).pop();
    let choice = last(seen, "privacy/desired").ok_or("--flip: no choice is retained")?;
    let lease = last(seen, "entitlement/desired").ok_or("--flip: no lease is retained")?;
    if choice.forbids() || !lease.records() {
        return Err("--flip needs a camera that may record: the choice or the lease forbids it".into());
    }
    let hold = Duration::from_secs(watch.seconds);
    let mut flips = Flips { watch, signer, client, choice, lease };
    let first = flips.choice.version;
    seen.attempts = Ok(Vec::new());
    listen(watch, flips.client, hold, seen).await?;
    flips.choose(true).await?;
    listen(watch, flips.client, hold / 2, seen).await?;
    // While recording is forbidden: a camera that follows one of these would open.
    flips.forge(seen).await?;
    flips.go_back(first, seen).await?;
    listen(watch, flips.client, hold / 2, seen).await?;
    flips.choose(false).await?;
    listen(watch, flips.client, hold, seen).await?;
    let before = flips.lease.claims.clone();
    for change in [json!({"audio": false}), json!({"record": false})] {
        let mut claims = before.clone();
        if let (Some(features), Some(change)) =
            (claims.get_mut("features").and_then(Value::as_object_mut), change.as_object())
        {
            features.extend(change.clone());
        }
        flips.grant(claims).await?;
        listen(watch, flips.client, hold, seen).await?;
    }
    flips.grant(before).await?;
    listen(watch, flips.client, hold, seen).await
}

struct Flips<'a> {
    watch: &'a Watch,
    signer: &'a Signer,
    client: &'a mut Client,
    choice: Told,
    lease: Told,
}

impl Flips<'_> {
    fn claims(&self, version: u64, do_not_record: bool) -> Value {
        lease::privacy(&self.watch.device, version, clock::utc(), do_not_record)
    }

    async fn say(&mut self, kind: &str, payload: &[u8], retain: bool) -> Result<(), String> {
        let topic = format!("kasacam/v1/{}/{kind}/desired", self.watch.device);
        match self.client.publish(&topic, payload, retain).await? {
            code if code < 0x80 => Ok(()),
            code => Err(format!("--flip: {kind}/desired: PUBACK 0x{code:02x}")),
        }
    }

    async fn choose(&mut self, do_not_record: bool) -> Result<(), String> {
        self.choice.version += 1;
        let claims = self.claims(self.choice.version, do_not_record);
        self.say("privacy", &self.signer.sign(PRIVACY_TYP, &claims), true).await
    }

    async fn grant(&mut self, mut claims: Value) -> Result<(), String> {
        self.lease.version += 1;
        if let Some(claims) = claims.as_object_mut() {
            claims.insert("version".into(), json!(self.lease.version));
            claims.insert("issued_at".into(), json!(clock::utc()));
        }
        self.say("entitlement", &self.signer.sign(ENTITLEMENT_TYP, &claims), true).await
    }

    /// A permission with the signature of another key; not retained.
    async fn forge(&mut self, seen: &mut CameraSeen) -> Result<(), String> {
        let version = self.choice.version + 1_000_000;
        let payload = self.signer.impostor()?.sign(PRIVACY_TYP, &self.claims(version, false));
        self.attempt("bad_signature", payload, version, seen).await
    }

    /// A permission with an old version; not retained.
    async fn go_back(&mut self, version: u64, seen: &mut CameraSeen) -> Result<(), String> {
        let payload = self.signer.sign(PRIVACY_TYP, &self.claims(version, false));
        self.attempt("stale_version", payload, version, seen).await
    }

    async fn attempt(
        &mut self,
        reason: &'static str,
        payload: Vec<u8>,
        version: u64,
        seen: &mut CameraSeen,
    ) -> Result<(), String> {
        let attempt = Attempt { reason, at: clock::utc(), payload: payload.clone(), version };
        if let Ok(attempts) = &mut seen.attempts {
            attempts.push(attempt);
        }
        self.say("privacy", &payload, false).await
    }
}
