//! The object store: S3 over TLS, from the port to the answer. [`s3`] has the operations.

mod s3;

use crate::certificates::{Pki, write_new};
use crate::events::Events;
use crate::foreign::Foreign;
use crate::https::{self, ClientCertificates};
use crate::keys::Keys;
use crate::objects::Bucket;
use crate::peers::Peers;
use crate::store_key::{BUCKET, StoreKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::{SecureRandom, SystemRandom};
use s3s::Body;
use s3s::service::{S3ServiceBuilder, SharedS3Service};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// For the TLS handshake of a client.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How the store treats its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    Up,
    /// Connections are closed, also new ones.
    Down,
    /// Every request gets this status as its answer.
    Error(u16),
}

/// The store. It serves until it is dropped.
pub(crate) struct Store {
    pub port: u16,
    pub credentials: PathBuf,
    pub bucket: Bucket,
    /// The key that signs for cameras.
    pub key: StoreKey,
    conduct: watch::Sender<Conduct>,
    foreign: Option<Foreign>,
    requests: Arc<AtomicU64>,
}

/// Where objects are kept.
#[derive(Clone)]
enum Keeper {
    Ours(SharedS3Service),
    Foreign(Foreign, Bucket, Events),
}

impl Store {
    /// Serves on `127.0.0.1:port`, or on a free port if that one is taken.
    ///
    /// # Errors
    /// Its files cannot be written or read, or no port is free.
    pub(crate) async fn start(
        dir: &Path,
        pki: &Pki,
        port: u16,
        events: Events,
        peers: &Peers,
        keys: Keys,
    ) -> Result<Store, String> {
        let credentials = credentials(dir)?;
        let bucket = Bucket::open(dir.join("bucket"))?;
        let (listener, port) = https::listen("the store", port).await?;
        let key_for = |endpoint: String| StoreKey::read(&credentials, &endpoint, BUCKET, &peers.store_region);
        let key = key_for(format!("https://localhost:{port}"))?;
        let foreign = match peers.store_port {
            Some(port) => Some(Foreign { port, key: key_for(format!("http://127.0.0.1:{port}"))? }),
            None => None,
        };
        let keeper = match &foreign {
            Some(foreign) => Keeper::Foreign(foreign.clone(), bucket.clone(), events),
            None => {
                let any_put = peers.any_put;
                let operations =
                    s3::Operations { bucket: bucket.clone(), events, keys: keys.clone(), any_put };
                let mut builder = S3ServiceBuilder::new(operations);
                let (access, secret) =
                    (key.keys.access_key_id().to_owned(), key.keys.secret_access_key().into());
                builder.set_auth(s3::Keyring { access, secret, keys });
                Keeper::Ours(builder.build().into_shared())
            }
        };
        let (conduct, watching) = watch::channel(Conduct::Up);
        let requests = Arc::<AtomicU64>::default();
        tokio::spawn(accept(
            listener,
            https::acceptor(pki, ClientCertificates::NotRequested)?,
            keeper,
            watching,
            Arc::clone(&requests),
        ));
        Ok(Store { port, credentials, bucket, key, conduct, foreign, requests })
    }

    /// With a foreign store: how many objects it returns exactly as they were sent.
    ///
    /// # Errors
    /// The first object that it does not return as it was sent.
    pub(crate) async fn compare(&self) -> Result<Option<usize>, String> {
        match &self.foreign {
            Some(foreign) => foreign.compare(&self.bucket).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn behave(&self, conduct: Conduct) {
        self.conduct.send_replace(conduct);
    }

    pub(crate) fn conduct(&self) -> Conduct {
        *self.conduct.borrow()
    }

    /// All requests since the start, whatever the answer.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The file that the camera reads, made once.
fn credentials(dir: &Path) -> Result<PathBuf, String> {
    let path = dir.join("storage.toml");
    if !path.exists() {
        let mut secret = [0; 30];
        SystemRandom::new().fill(&mut secret).map_err(|_| "no randomness for a secret".to_owned())?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let text = format!("access_key_id = \"kasacam-dev\"\nsecret_access_key = \"{secret}\"\n");
        write_new(&path, text.as_bytes(), 0o600)?;
    }
    Ok(path)
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    keeper: Keeper,
    conduct: watch::Receiver<Conduct>,
    requests: Arc<AtomicU64>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Probably no file descriptor is free: wait until others are closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if *conduct.borrow() == Conduct::Down {
            continue;
        }
        let mut until_down = conduct.clone();
        let served = serve(stream, tls.clone(), keeper.clone(), conduct.clone(), Arc::clone(&requests));
        tokio::spawn(async move {
            tokio::select! {
                () = served => {}
                _ = until_down.wait_for(|conduct| *conduct == Conduct::Down) => {}
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    tls: TlsAcceptor,
    keeper: Keeper,
    conduct: watch::Receiver<Conduct>,
    requests: Arc<AtomicU64>,
) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await else {
        return;
    };
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (keeper, conduct) = (keeper.clone(), *conduct.borrow());
        requests.fetch_add(1, Ordering::Relaxed);
        async move {
            match conduct {
                Conduct::Error(status) => {
                    hyper::Response::builder().status(status).body(Body::empty()).map_err(|e| e.to_string())
                }
                Conduct::Up | Conduct::Down => match keeper {
                    Keeper::Ours(service) => {
                        service.as_ref().call(request.map(Body::from)).await.map_err(|e| e.to_string())
                    }
                    Keeper::Foreign(store, bucket, events) => store.answer(request, &bucket, &events).await,
                },
            }
        }
    });
    // A client may end the connection at any time.
    let _ended =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}
