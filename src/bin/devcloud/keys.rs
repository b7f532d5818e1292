//! Temporary keys of the store, as the AWS IoT credentials provider issues them: over TLS, to a client whose certificate has
//! the name of the thing in the request.

use crate::certificates::Pki;
use crate::events::Events;
use crate::https::{self, ClientCertificates};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use kasacam::domain::time::Utc;
use kasacam::system::clock;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) const PATH: &str = "/role-aliases/kasacam/credentials";
/// The largest number of valid keys; the one that ends first is replaced.
const MAX_KEYS: usize = 64;

/// How the provider answers from now on.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub(crate) struct KeysManner {
    /// How many seconds keys are valid, as the answer says.
    #[arg(long, default_value_t = 3600)]
    #[serde(default)]
    pub life: u32,
    /// How many seconds the store accepts them [default: as the answer says].
    #[arg(long)]
    #[serde(default)]
    pub real_life: Option<u32>,
    /// Answer with this status instead.
    #[arg(long)]
    #[serde(default)]
    pub status: Option<u16>,
}

impl Default for KeysManner {
    fn default() -> KeysManner {
        KeysManner { life: 3600, real_life: None, status: None }
    }
}

#[derive(Clone)]
pub(crate) struct Temporary {
    pub secret: String,
    pub token: String,
    pub until: Utc,
}

/// The keys that were issued; the store accepts them.
#[derive(Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<HashMap<String, Temporary>>>);

impl Keys {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Temporary>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, access: &str) -> Option<Temporary> {
        self.all().get(access).cloned()
    }

    fn add(&self, access: String, key: Temporary) {
        let mut all = self.all();
        if all.len() >= MAX_KEYS {
            let first = all.iter().min_by_key(|(_, key)| key.until).map(|(access, _)| access.clone());
            first.and_then(|access| all.remove(&access));
        }
        all.insert(access, key);
    }
}

/// The provider. It serves until the program ends.
pub(crate) struct Provider {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    keys: Keys,
    manner: Mutex<KeysManner>,
    events: Events,
}

impl Provider {
    /// Serves on `127.0.0.1:port`, or on a free port if that one is taken.
    ///
    /// # Errors
    /// The certificates cannot be read, or no port is free.
    pub(crate) async fn start(pki: &Pki, port: u16, keys: Keys, events: Events) -> Result<Provider, String> {
        let (listener, port) = https::listen("the credentials provider", port).await?;
        let shared = Arc::new(Shared { keys, manner: Mutex::default(), events });
        let answering = Arc::clone(&shared);
        https::serve(listener, https::acceptor(pki, ClientCertificates::Optional)?, move |request, shown| {
            std::future::ready(answering.answer(&request, shown.as_deref()))
        });
        Ok(Provider { port, shared })
    }

    pub(crate) fn behave(&self, manner: KeysManner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }
}

impl Shared {
    fn answer(&self, request: &Request<Incoming>, shown: Option<&str>) -> Response<Full<Bytes>> {
        let manner = self.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(status) = manner.status {
            return plain(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST));
        }
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND);
        }
        let thing = request.headers().get("x-amzn-iot-thingname").and_then(|name| name.to_str().ok());
        let (Some(thing), true) = (thing, thing == shown) else { return plain(StatusCode::FORBIDDEN) };
        let Some((id, secret, token)) = word().zip(word()).zip(word()).map(|((a, b), c)| (a, b, c)) else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let access = format!("ASIA{}", id.replace(['-', '_'], "0").to_uppercase());
        let ends = |life: u32| Utc(clock::utc().0 + i64::from(life) * 1_000_000_000);
        let until = ends(manner.real_life.unwrap_or(manner.life));
        self.events.append("keys_issued", json!({"device": thing, "life": manner.life}));
        let body = json!({"credentials": {
            "accessKeyId": access,
            "secretAccessKey": secret,
            "sessionToken": token,
            "expiration": ends(manner.life),
        }});
        self.keys.add(access, Temporary { secret, token, until });
        Response::new(Full::new(body.to_string().into()))
    }
}

fn word() -> Option<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}
