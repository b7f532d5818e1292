//! Temporary keys of the store from the AWS IoT credentials provider: the camera authenticates with the
//! device's certificate, and gets keys of the role behind the role alias.
//!
//! [`renewal`] decides when they are requested, without a clock of its own; the request is here. Nothing of
//! an answer is ever quoted.

pub mod renewal;

use super::keys;
use crate::config::KeyProvider;
use crate::config::pem::Pem;
use crate::domain::time::{Mono, Utc};
use crate::net::{Dialer, Limits, Names, Target, suites};
use crate::system::clock::{self, CertificateTime};
use aws_credential_types::Credentials as Keys;
use bytes::Bytes;
use http::header::{DATE, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use renewal::{Renewal, Step};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ClientConfig;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum size of an answer, which has about 2 KiB.
const MAX_ANSWER: usize = 64 * 1024;
/// Timeout for a whole request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const LIMITS: Limits = Limits { step: Duration::from_secs(10), inactivity: Duration::from_secs(30) };
const NAMES: Names = Names { url: "upload.credentials", ca: "mqtt.ca", cert: Some("mqtt.cert") };

/// The keys of one provider; requested when the first request to the store must be signed.
pub struct Provider {
    from: KeyProvider,
    state: Mutex<KeyState>,
    /// One request at a time.
    asking: tokio::sync::Mutex<()>,
}

struct KeyState {
    renewal: Renewal,
    keys: Option<Arc<Keys>>,
    why: String,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("host", &self.from.host).finish_non_exhaustive()
    }
}

impl Provider {
    /// Requests nothing yet.
    #[must_use]
    pub fn new(from: &KeyProvider) -> Provider {
        let mut seed = [0; 8];
        // Without randomness the waits of cameras are not spread; nothing else depends on it.
        let _same_as_others = SystemRandom::new().fill(&mut seed);
        let renewal = Renewal::new(u64::from_ne_bytes(seed));
        let state = KeyState { renewal, keys: None, why: String::new() };
        Provider { from: from.clone(), state: Mutex::new(state), asking: tokio::sync::Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, KeyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that are valid now. Those that end soon are renewed in the background; if that fails, they are
    /// used until they end.
    ///
    /// # Errors
    /// Why there are none, in text that is safe to log.
    pub async fn current(self: &Arc<Provider>) -> Result<Arc<Keys>, String> {
        match self.look(clock::mono())? {
            (Some(keys), Step::Use) => return Ok(keys),
            (Some(keys), _) => {
                let renewing = Arc::clone(self);
                tokio::spawn(async move {
                    // Another upload is already renewing them.
                    let Ok(_one) = renewing.asking.try_lock() else { return };
                    if renewing.state().renewal.step(clock::mono()) == Step::Renew {
                        renewing.renew().await;
                    }
                });
                return Ok(keys);
            }
            (None, _) => {}
        }
        let _one = self.asking.lock().await;
        if let (Some(keys), _) = self.look(clock::mono())? {
            return Ok(keys);
        }
        self.renew().await;
        let state = self.state();
        state.keys.clone().ok_or_else(|| state.why.clone())
    }

    /// The store says that the keys have expired. True if new ones may be requested at once.
    pub fn refused(&self) -> bool {
        let mut state = self.state();
        let dropped = state.renewal.refused(clock::mono());
        if dropped {
            state.keys = None;
        }
        dropped
    }

    /// The current keys, and what to do. `Err` while a provider that failed is not asked again yet.
    fn look(&self, now: Mono) -> Result<(Option<Arc<Keys>>, Step), String> {
        let mut state = self.state();
        let step = state.renewal.step(now);
        match step {
            Step::Use | Step::Renew => Ok((state.keys.clone(), step)),
            Step::Ask => {
                state.keys = None;
                Ok((None, step))
            }
            Step::Wait => {
                state.keys = None;
                Err(state.why.clone())
            }
        }
    }

    async fn renew(&self) {
        let asked = clock::mono();
        let got = match tokio::time::timeout(REQUEST_TIMEOUT, self.ask()).await {
            Ok(got) => got,
            Err(_) => Err(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())),
        };
        let mut state = self.state();
        match got {
            Ok((keys, life)) => {
                state.renewal.got(life, asked);
                state.keys = Some(Arc::new(keys));
            }
            Err(why) => {
                let at = format!("upload.credentials: {}:{}", self.from.host, self.from.port);
                if state.renewal.failed(clock::mono()) {
                    tracing::warn!("{at}: {why}; the current keys are used until they end");
                }
                state.why = format!("{at}: {why}");
            }
        }
    }

    /// New keys, and how long they are valid.
    async fn ask(&self) -> Result<(Keys, Duration), String> {
        let KeyProvider { host, port, path, thing, .. } = &self.from;
        let from = self.from.clone();
        let tls = tokio::task::spawn_blocking(move || client_config(&from)).await;
        let tls = tls.unwrap_or_else(|_| Err(String::from("reading the certificate failed")))?;
        let target = Target { host, port: *port, names: NAMES };
        let stream = Dialer::new(LIMITS).open(target, Some(&Arc::new(tls))).await.map_err(|why| why.0)?;
        let broke = |_: hyper::Error| String::from("the connection was interrupted");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = path.parse().map_err(|_| String::from("its path is none"))?;
        let headers = request.headers_mut();
        let value =
            |text: &str| HeaderValue::from_str(text).map_err(|_| String::from("no header can hold it"));
        headers.insert(HOST, value(&format!("{host}:{port}"))?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kasacam/", env!("CARGO_PKG_VERSION"))));
        headers.insert("x-amzn-iot-thingname", value(thing)?);
        let answering = async {
            let (parts, body) = sender.send_request(request).await.map_err(broke)?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body =
                body.map_err(|_| String::from("its answer was interrupted or is over 64 KiB"))?.to_bytes();
            // The lifetime of the keys is given by the provider's own clock.
            let date = parts.headers.get(DATE).and_then(|date| super::answer::http_date(date.to_str().ok()?));
            read(parts.status, &body, date.map_or_else(clock::utc, Utc::from_secs))
        };
        tokio::pin!(answering);
        tokio::select! {
            answer = &mut answering => answer,
            // What the connection has read before its end can still be used.
            _ended = connection => answering.await,
        }
    }
}

#[derive(serde::Deserialize)]
struct Answer {
    credentials: Inner,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inner {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

/// Reads an answer; `date` is when the provider gave it.
///
/// # Errors
/// What is wrong; nothing of the answer is quoted.
pub fn read(status: StatusCode, body: &[u8], date: Utc) -> Result<(Keys, Duration), String> {
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(format!(
                "it gives no keys for this certificate (HTTP {}): its policy must allow \
                 iot:AssumeRoleWithCertificate on the role alias, and the thing must bear the certificate",
                status.as_u16()
            ));
        }
        StatusCode::NOT_FOUND => return Err(String::from("it knows no such role alias (HTTP 404)")),
        other => return Err(format!("HTTP {}", other.as_u16())),
    }
    let Answer { credentials } = serde_json::from_slice(body)
        .map_err(|_| String::from("its answer is not that of a credentials provider"))?;
    let until = Utc::parse(&credentials.expiration).ok_or("its answer has no time at which the keys end")?;
    let Inner { access_key_id, secret_access_key, session_token, .. } = credentials;
    let keys = keys::keys(access_key_id, secret_access_key, Some(session_token))
        .map_err(|problem| format!("its answer: {problem}"))?;
    Ok((keys, until.since(date)))
}

fn client_config(from: &KeyProvider) -> Result<ClientConfig, String> {
    let roots = Pem::of("mqtt.ca", &from.ca)?.roots().map_err(|why| why.of("mqtt.ca", &from.ca))?;
    let chain = Pem::of("mqtt.cert", &from.cert)?.certificates();
    let chain = chain.map_err(|why| why.of("mqtt.cert", &from.cert))?;
    let key = Pem::of("mqtt.key", &from.key)?.private_key().map_err(|why| why.of("mqtt.key", &from.key))?;
    ClientConfig::builder_with_details(suites::provider(), Arc::new(CertificateTime))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("TLS 1.2 and 1.3 are not available: {error}"))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("mqtt.cert: {}: does not go with mqtt.key: {error}", from.cert.display()))
}
