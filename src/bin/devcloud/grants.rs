//! Upload grants: presigned PUTs for each camera that asks, in an answer that is signed with the cloud's key.

use crate::events::Events;
use crate::signer::{CommandKind, Signer};
use crate::store_key::{BUCKET, StoreKey};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::ValueEnum;
use kasacam::domain::time::Utc;
use kasacam::system::clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the answer contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answering {
    /// The grants that were requested.
    #[default]
    Right,
    /// No answer.
    Silent,
    /// A refusal for every object.
    Refuse,
    /// An answer for another camera.
    OtherDevice,
    /// Grants for another key.
    OtherKey,
    /// Grants for another host.
    OtherHost,
    /// Grants for another size.
    OtherSize,
    /// Grants that have expired.
    Expired,
}

/// How requests for grants are answered from now on.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub(crate) struct GrantsManner {
    /// What the answer contains.
    #[arg(long, value_enum, default_value = "right")]
    #[serde(default)]
    pub answer: Answering,
    /// How many seconds a grant is valid, as the answer says.
    #[arg(long, default_value_t = LIFE)]
    #[serde(default = "life")]
    pub life: u32,
    /// How many seconds the store accepts it [default: as the answer says].
    #[arg(long)]
    #[serde(default)]
    pub real_life: Option<u32>,
}

/// In seconds.
const LIFE: u32 = 900;
/// The largest object in bytes. A segment is far smaller.
const MAX_SIZE: u64 = 256 << 20;

fn life() -> u32 {
    LIFE
}

impl Default for GrantsManner {
    fn default() -> GrantsManner {
        GrantsManner { answer: Answering::Right, life: LIFE, real_life: None }
    }
}

/// A request as it came from the broker.
pub(crate) struct Request {
    pub device: String,
    pub payload: Bytes,
    pub correlation: Option<Bytes>,
}

pub(crate) struct Issuer {
    signer: Arc<Signer>,
    key: StoreKey,
    manner: Mutex<GrantsManner>,
    version: AtomicU64,
    events: Events,
}

#[derive(Deserialize)]
struct Asked {
    id: String,
    want: Vec<Want>,
}

#[derive(Deserialize)]
struct Want {
    key: String,
    size: u64,
    sha256: String,
    content_type: String,
    metadata: BTreeMap<String, String>,
}

impl Issuer {
    pub(crate) fn new(signer: Arc<Signer>, key: StoreKey, events: Events) -> Issuer {
        Issuer { signer, key, manner: Mutex::default(), version: AtomicU64::new(0), events }
    }

    pub(crate) fn behave(&self, manner: GrantsManner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// The signed answer; `None` if there is to be none.
    pub(crate) fn answer(&self, request: &Request) -> Option<String> {
        let manner = self.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked: Asked = serde_json::from_slice(&request.payload).ok()?;
        if manner.answer == Answering::Silent || asked.want.len() > kasacam::domain::grant::MAX_GRANTS {
            return None;
        }
        let (mut grants, mut refused) = (Vec::new(), Vec::new());
        for want in &asked.want {
            // A camera stores only below its own id.
            let is_its_own = want.key.starts_with(&format!("v1/{}/", request.device));
            let is_too_large = want.size > MAX_SIZE;
            let reason = match (is_its_own, manner.answer) {
                (false, _) => Some("another_device"),
                (true, _) if is_too_large => Some("too_large"),
                (true, Answering::Refuse) => Some("as_told"),
                (true, _) => None,
            };
            match reason.map_or_else(|| self.grant(want, &manner), |reason| Err(reason.to_owned())) {
                Ok(grant) => grants.push(grant),
                Err(reason) => refused.push(json!({"key": want.key, "reason": reason})),
            }
        }
        let is = |answer| manner.answer == answer;
        let device = if is(Answering::OtherDevice) { "another-camera" } else { &request.device };
        self.events.append(
            "grants",
            json!({"device": device, "id": asked.id, "granted": grants.len(), "refused": refused.len()}),
        );
        let claims = json!({
            "device_id": device,
            "version": self.version.fetch_add(1, Ordering::Relaxed) + 1,
            "issued_at": clock::utc(),
            "id": asked.id,
            "grants": grants,
            "refused": refused,
        });
        Some(self.signer.sign(CommandKind::Grant, &claims))
    }

    fn grant(&self, want: &Want, manner: &GrantsManner) -> Result<Value, String> {
        let is = |answer| manner.answer == answer;
        let key = if is(Answering::OtherKey) { format!("{}.other", want.key) } else { want.key.clone() };
        let size = want.size + u64::from(is(Answering::OtherSize));
        let elsewhere = "https://elsewhere.example";
        let endpoint = if is(Answering::OtherHost) { elsewhere } else { &self.key.endpoint };
        let life = if is(Answering::Expired) { 0 } else { manner.life };
        let mut headers = BTreeMap::from([
            (String::from("content-length"), size.to_string()),
            (String::from("content-type"), want.content_type.clone()),
            (String::from("if-none-match"), String::from("*")),
            (String::from("x-amz-checksum-sha256"), base64_of(&want.sha256).ok_or("bad_checksum")?),
        ]);
        for (name, value) in &want.metadata {
            headers.insert(format!("x-amz-meta-{name}"), value.clone());
        }
        if let Some(hours) = want.metadata.get("history-hours") {
            headers.insert(String::from("x-amz-tagging"), format!("history-hours={hours}"));
        }
        let real = manner.real_life.unwrap_or(life).max(1);
        let url = self.presigned(&format!("{endpoint}/{BUCKET}/{key}"), &headers, real)?;
        let expires_at = Utc(clock::utc().0 + i64::from(life) * 1_000_000_000);
        Ok(json!({
            "key": key,
            "method": "PUT",
            "url": url,
            "headers": headers,
            "expires_at": expires_at,
            "proof": "x-amz-checksum-sha256",
        }))
    }

    fn presigned(&self, url: &str, headers: &BTreeMap<String, String>, life: u32) -> Result<String, String> {
        let failed = || String::from("cannot_sign");
        let identity = self.key.keys.clone().into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(u64::from(life)));
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.key.region)
            .name("s3")
            .time(StoreKey::now())
            .settings(settings)
            .build()
            .map_err(|_| failed())?
            .into();
        let listed = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new("PUT", url, listed, SignableBody::UnsignedPayload);
        let (instructions, _) =
            sign(request.map_err(|_| failed())?, &params).map_err(|_| failed())?.into_parts();
        let mut signed = http::Request::new(());
        *signed.uri_mut() = url.parse().map_err(|_| failed())?;
        instructions.apply_to_request_http1x(&mut signed);
        Ok(signed.uri().to_string())
    }
}

fn base64_of(hexadecimal: &str) -> Option<String> {
    let bytes = crate::hex::decode(hexadecimal);
    bytes.filter(|bytes| bytes.len() == 32).map(|bytes| STANDARD.encode(bytes))
}
