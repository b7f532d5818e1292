//! The server for enrolment: EST (RFC 7030) over TLS, `simpleenroll` and `simplereenroll`.
//!
//! It issues a first certificate for a password, which is valid for one key, or to a camera with the claim certificate; and a
//! renewal to a camera whose certificate has the same name.

use crate::certificates::{CLAIM, Pki, write_new};
use crate::events::Events;
use crate::https::{self, ClientCertificates};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use kasacam::system::clock;
use rcgen::{
    CertificateSigningRequestParams, CertifiedIssuer, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateSigningRequestDer;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The user that goes with the one-time password.
const USER: &str = "kasacam";
/// A request is about 400 bytes.
const MAX_REQUEST: usize = 16 * 1024;

/// How the server treats requests from now on.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub(crate) struct EstManner {
    /// How many seconds a certificate is valid after it is issued.
    #[arg(long, default_value_t = 90 * 86_400)]
    #[serde(default)]
    pub life: u32,
    /// How many seconds a certificate was already valid when it is issued.
    #[arg(long, default_value_t = 60)]
    #[serde(default)]
    pub age: u32,
    /// Answer with this status instead.
    #[arg(long)]
    #[serde(default)]
    pub status: Option<u16>,
}

impl Default for EstManner {
    fn default() -> EstManner {
        EstManner { life: 90 * 86_400, age: 60, status: None }
    }
}

/// The server. It serves until the program ends.
pub(crate) struct Est {
    pub port: u16,
    /// The file with `user:password`.
    pub password: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    ca: CertifiedIssuer<'static, KeyPair>,
    password: String,
    /// The public key that the password was used for.
    used: Mutex<Option<Vec<u8>>>,
    manner: Mutex<EstManner>,
    events: Events,
}

impl Est {
    /// Serves on `127.0.0.1:port`, or on a free port if that one is taken.
    ///
    /// # Errors
    /// Its files cannot be written or read, or no port is free.
    pub(crate) async fn start(
        dir: &Path,
        pki: &Pki,
        ca: CertifiedIssuer<'static, KeyPair>,
        port: u16,
        events: Events,
    ) -> Result<Est, String> {
        let (file, password) = password(dir)?;
        let (listener, port) = https::listen("the EST server", port).await?;
        let shared = Shared { ca, password, used: Mutex::default(), manner: Mutex::default(), events };
        let shared = Arc::new(shared);
        let answering = Arc::clone(&shared);
        https::serve(listener, https::acceptor(pki, ClientCertificates::Optional)?, move |request, shown| {
            let shared = Arc::clone(&answering);
            async move { shared.answer(request, shown.as_deref()).await }
        });
        Ok(Est { port, password: file, shared })
    }

    pub(crate) fn behave(&self, manner: EstManner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }
}

/// The file with the password, which is made once, and its content.
fn password(dir: &Path) -> Result<(PathBuf, String), String> {
    let file = dir.join("enrolment.password");
    if !file.exists() {
        let mut secret = [0; 18];
        SystemRandom::new().fill(&mut secret).map_err(|_| "no randomness for a password".to_owned())?;
        write_new(&file, format!("{USER}:{}\n", STANDARD.encode(secret)).as_bytes(), 0o600)?;
    }
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok((file, text.trim_end().to_owned()))
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>, shown: Option<&str>) -> Response<Full<Bytes>> {
        let manner = self.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(status) = manner.status {
            return plain(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), "as configured");
        }
        let renewal = match request.uri().path() {
            "/.well-known/est/simpleenroll" => false,
            "/.well-known/est/simplereenroll" => true,
            _ => return plain(StatusCode::NOT_FOUND, "no such operation"),
        };
        let password = request
            .headers()
            .get(hyper::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Basic ").map(str::to_owned));
        let Ok(body) = Limited::new(request.into_body(), MAX_REQUEST).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
        };
        let text: Vec<u8> =
            body.to_bytes().iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let request = STANDARD.decode(text).ok().map(CertificateSigningRequestDer::from);
        let parsed = request.and_then(|der| CertificateSigningRequestParams::from_der(&der).ok());
        let Some(parsed) = parsed else {
            return plain(StatusCode::BAD_REQUEST, "this is not a signed PKCS#10 request in base64");
        };
        let device = match parsed.params.distinguished_name.get(&DnType::CommonName) {
            Some(DnValue::Utf8String(name)) => name.clone(),
            Some(DnValue::PrintableString(name)) => name.as_str().to_owned(),
            Some(_) | None => return plain(StatusCode::BAD_REQUEST, "the request has no common name"),
        };
        let allowed = if renewal {
            shown == Some(device.as_str())
        } else {
            shown == Some(CLAIM)
                || self.takes(password.as_deref(), &parsed.public_key.subject_public_key_info())
        };
        if !allowed {
            self.events.append("certificate_refused", json!({"device": device, "renewal": renewal}));
            return plain(
                StatusCode::UNAUTHORIZED,
                "a claim, or a certificate with the same name, is needed",
            );
        }
        match self.issue(parsed, &device, &manner) {
            Ok(der) => {
                self.events.append("certificate_issued", json!({"device": device, "renewal": renewal}));
                Response::builder()
                    .header(hyper::header::CONTENT_TYPE, "application/pkcs7-mime; smime-type=certs-only")
                    .body(Full::new(STANDARD.encode(certs_only(&der)).into()))
                    .unwrap_or_default()
            }
            Err(why) => plain(StatusCode::INTERNAL_SERVER_ERROR, &why),
        }
    }

    /// The password is valid for one key: a camera that lost the answer may ask again with the same key.
    fn takes(&self, password: Option<&str>, key: &[u8]) -> bool {
        if password.and_then(|text| STANDARD.decode(text).ok()).as_deref() != Some(self.password.as_bytes()) {
            return false;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get_or_insert_with(|| key.to_vec()) == key
    }

    fn issue(
        &self,
        mut request: CertificateSigningRequestParams,
        device: &str,
        manner: &EstManner,
    ) -> Result<Vec<u8>, String> {
        let now = clock::utc().0 / 1_000_000_000;
        let at = |offset: i64| {
            time::OffsetDateTime::from_unix_timestamp(now + offset).map_err(|e| format!("the time: {e}"))
        };
        let params = &mut request.params;
        params.not_before = at(-i64::from(manner.age))?;
        params.not_after = at(i64::from(manner.life))?;
        let mut name = rcgen::DistinguishedName::new();
        name.push(DnType::CommonName, device);
        params.distinguished_name = name;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issued = request.signed_by(&self.ca).map_err(|e| format!("the certificate of {device}: {e}"))?;
        Ok(issued.der().to_vec())
    }
}

fn plain(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
    *answer.status_mut() = status;
    answer
}

/// A CMS message that holds certificates and nothing else (RFC 5652, 5.1; RFC 7030, 4.1.3).
fn certs_only(certificate: &[u8]) -> Vec<u8> {
    use yasna::Tag;
    use yasna::models::ObjectIdentifier;
    let data = |last: u64| ObjectIdentifier::from_slice(&[1, 2, 840, 113_549, 1, 7, last]);
    yasna::construct_der(|writer| {
        writer.write_sequence(|info| {
            info.next().write_oid(&data(2));
            info.next().write_tagged(Tag::context(0), |content| {
                content.write_sequence(|signed| {
                    signed.next().write_u8(1);
                    signed.next().write_set(|_digests| {});
                    signed.next().write_sequence(|inner| inner.next().write_oid(&data(1)));
                    signed.next().write_tagged_implicit(Tag::context(0), |certificates| {
                        certificates.write_sequence(|all| all.next().write_der(certificate));
                    });
                    signed.next().write_set(|_signers| {});
                });
            });
        });
    })
}
