//! The whole of the cloud: what it is made of, and how it does what it is told.

use crate::broker::Broker;
use crate::camera::{self, Camera, Ends};
use crate::certificates::{self, Pki};
use crate::cloud::Cloud;
use crate::control::{self, BrokerState, Command, Plan, StoreState, Switch};
use crate::est::Est;
use crate::events::Events;
use crate::grants::{Issuer, Request};
use crate::keys::{Keys, Provider};
use crate::lease;
use crate::page::seen::Seen;
use crate::signer::{Kind, Signer};
use crate::store::{Conduct, Store};
use bytes::Bytes;
use kasacam::disk::{self, RealFs};
use kasacam::system::clock;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// Within which our own client is to be connected.
const CONNECT: Duration = Duration::from_secs(15);
/// A message of a test may be too large for a camera, but not for the broker.
const MOST_RAW: u64 = 1 << 20;

/// Servers from elsewhere, which run already on this machine.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Peers {
    /// The port of an MQTT 5 broker with TLS instead of mosquitto, with the certificates of `DIR/pki`.
    #[arg(long)]
    pub broker_port: Option<u16>,
    /// The port of an S3 store without TLS behind ours, with a bucket `kasa-care` and the key of `DIR/storage.toml`.
    #[arg(long)]
    pub store_port: Option<u16>,
    /// The region that this store wants in a signature.
    #[arg(long, default_value = "us-east-1")]
    pub store_region: String,
    /// Our own store takes objects without a checksum too, as other programs send them: for measurements beside them.
    #[arg(long)]
    pub any_put: bool,
}

/// Requests for grants that wait to be answered.
const MAX_REQUESTS: usize = 64;

/// What outlives the process: versions only grow, and a camera keeps its addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    privacy_version: u64,
    entitlement_version: u64,
    mqtt_port: u16,
    s3_port: u16,
    est_port: u16,
    keys_port: u16,
}

pub(crate) struct Devcloud {
    dir: PathBuf,
    pub device: String,
    pub agent_toml: PathBuf,
    pub events: Events,
    pub store: Store,
    est: Est,
    pub seen: Seen,
    signer: Arc<Signer>,
    issuer: Arc<Issuer>,
    keys: Provider,
    cloud: Arc<Cloud>,
    broker: Mutex<Broker>,
    kept: Mutex<Kept>,
    mqtt_port: u16,
    /// Held for as long as we run: a directory has one cloud.
    _lock: Flock<File>,
}

impl Devcloud {
    /// Makes what is missing in `dir`, and starts everything.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub(crate) async fn start(dir: &Path, camera: &Camera, peers: &Peers) -> Result<Devcloud, String> {
        certificates::private_dir(dir)?;
        let dir = dir.canonicalize().map_err(|e| format!("{}: {e}", dir.display()))?;
        let lock = lock(&dir)?;
        let pki: Pki = certificates::ensure(&dir, &camera.device)?;
        let signer = Arc::new(Signer::ensure(&dir)?);
        let events = Events::open(&dir)?;
        let mut kept = read_kept(&dir)?;
        let broker = match peers.broker_port {
            Some(port) => Broker::foreign(port).await?,
            None => Broker::start(&dir, &pki, kept.mqtt_port).await?,
        };
        let given = Keys::default();
        let store = Store::start(&dir, &pki, kept.s3_port, events.clone(), peers, given.clone()).await?;
        let keys = Provider::start(&pki, kept.keys_port, given, events.clone()).await?;
        let authority = certificates::authority(&dir)?;
        let est = Est::start(&dir, &pki, authority, kept.est_port, events.clone()).await?;
        (kept.mqtt_port, kept.s3_port, kept.est_port) = (broker.port, store.port, est.port);
        kept.keys_port = keys.port;
        keep(&dir, &kept)?;
        let ends = ends(&kept, &store, &est, &signer);
        let agent_toml = camera::write(&dir, &pki, &ends, camera)?;
        // Before our client hears what the broker has retained.
        let seen = Seen::follow(&events, store.bucket.clone(), camera.device.clone());
        let (requests_tx, requests) = mpsc::channel(MAX_REQUESTS);
        let cloud = Arc::new(Cloud::start(&pki, broker.port, events.clone(), requests_tx)?);
        cloud.ready(CONNECT).await?;
        let issuer = Arc::new(Issuer::new(Arc::clone(&signer), store.key.clone(), events.clone()));
        tokio::spawn(issue(requests, Arc::clone(&issuer), Arc::clone(&cloud)));
        Ok(Devcloud {
            device: camera.device.clone(),
            agent_toml,
            events,
            store,
            est,
            seen,
            signer,
            issuer,
            keys,
            cloud,
            mqtt_port: broker.port,
            broker: Mutex::new(broker),
            kept: Mutex::new(kept),
            dir,
            _lock: lock,
        })
    }

    /// Makes the certificate and the files of one more camera; returns the path of its `agent.toml`.
    ///
    /// # Errors
    /// Where its name is none for a camera, or a file cannot be written.
    pub(crate) async fn another(&self, camera: &Camera) -> Result<PathBuf, String> {
        let pki = certificates::ensure(&self.dir, &camera.device)?;
        let kept = self.kept.lock().await.clone();
        camera::write(&self.dir, &pki, &ends(&kept, &self.store, &self.est, &self.signer), camera)
    }

    /// Gives a camera that is new a plan, and its owner's permission.
    ///
    /// # Errors
    /// Where the broker does not take them.
    pub(crate) async fn welcome(&self, device: &str) -> Result<(), String> {
        let now = clock::utc();
        let lease = lease::entitlement(device, 1, now, &Plan::named("plus"))?;
        self.command_to(device, Kind::Entitlement, &lease).await?;
        self.command_to(device, Kind::Privacy, &lease::privacy(device, 1, now, false)).await
    }

    /// Listens at `cloud.sock`.
    ///
    /// # Errors
    /// Where the socket cannot be made, such as for a path of more than 107 bytes.
    pub(crate) fn listen(self: &Arc<Devcloud>) -> Result<JoinHandle<()>, String> {
        let path = self.dir.join("cloud.sock");
        // Left by one that was killed; the lock says that nobody listens there.
        let _not_there = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(tokio::spawn(control::answer(listener, Arc::clone(self))))
    }

    /// The line that says that all is up.
    pub(crate) fn ready(&self, page: &str) -> Value {
        json!({
            "ready": true,
            "page": page,
            "mqtt_port": self.mqtt_port,
            "s3_port": self.store.port,
            "est_port": self.est.port,
            "agent_toml": self.agent_toml,
            "dir": self.dir,
        })
    }

    /// Ends everything that was started.
    ///
    /// # Errors
    /// Where the broker had to be killed.
    pub(crate) async fn stop(&self) -> Result<(), String> {
        let _not_there = std::fs::remove_file(self.dir.join("cloud.sock"));
        self.broker.lock().await.down().await
    }

    /// Does what it is told.
    ///
    /// # Errors
    /// What could not be done, and why.
    pub(crate) async fn execute(&self, command: Command) -> Result<Value, String> {
        match command {
            Command::Privacy { switch } => self.privacy(switch == Switch::On).await,
            Command::Plan(plan) => self.plan(&plan).await,
            Command::Store { state, status } => self.set_store(state, status),
            Command::Broker { state } => self.set_broker(state).await,
            Command::Sign { kind, claims } => {
                let kind = Kind::parse(&kind).ok_or("it is privacy, entitlement or grant that is signed")?;
                let claims = serde_json::from_str(&claims).map_err(|e| format!("the claims: {e}"))?;
                Ok(json!({"jws": self.signer.sign(kind, &claims)}))
            }
            Command::PublishRaw { topic, file, passing } => {
                let payload = read_bounded(&file)?;
                self.cloud.publish(&topic, payload, !passing).await?;
                Ok(json!({}))
            }
            Command::Est(manner) => {
                self.est.behave(manner);
                Ok(json!({}))
            }
            Command::Grants(manner) => {
                self.issuer.behave(manner);
                Ok(json!({}))
            }
            Command::Keys(manner) => {
                self.keys.behave(manner);
                Ok(json!({}))
            }
            Command::Status => self.status().await,
            Command::Objects => self.objects(),
        }
    }

    /// Publishes the owner's choice; returns when the broker has it. The answer says between which two
    /// moments the choice left the broker, in nanoseconds of `CLOCK_MONOTONIC`: right before it was handed
    /// to our client, and when the broker's acknowledgement came, which it sends after the message itself.
    ///
    /// # Errors
    /// Where its version cannot be kept, or the broker does not take it.
    pub(crate) async fn privacy(&self, do_not_record: bool) -> Result<Value, String> {
        let mut kept = self.kept.lock().await;
        kept.privacy_version += 1;
        keep(&self.dir, &kept)?;
        let version = kept.privacy_version;
        let claims = lease::privacy(&self.device, version, clock::utc(), do_not_record);
        let sending = clock::mono().0;
        self.command(Kind::Privacy, &claims).await?;
        Ok(json!({"version": version, "sending": sending, "acknowledged": clock::mono().0}))
    }

    /// Publishes a lease; returns when the broker has it.
    ///
    /// # Errors
    /// Where it makes no sense, its version cannot be kept, or the broker does not take it.
    pub(crate) async fn plan(&self, plan: &Plan) -> Result<Value, String> {
        let mut kept = self.kept.lock().await;
        let version = kept.entitlement_version + 1;
        let claims = lease::entitlement(&self.device, version, clock::utc(), plan)?;
        kept.entitlement_version = version;
        keep(&self.dir, &kept)?;
        self.command(Kind::Entitlement, &claims).await?;
        Ok(json!({"version": version}))
    }

    async fn command(&self, kind: Kind, claims: &Value) -> Result<(), String> {
        self.command_to(&self.device, kind, claims).await
    }

    async fn command_to(&self, device: &str, kind: Kind, claims: &Value) -> Result<(), String> {
        let topic = format!("kasacam/v1/{device}/{}/desired", kind.name());
        self.cloud.publish(&topic, Bytes::from(self.signer.sign(kind, claims)), true).await
    }

    fn set_store(&self, state: StoreState, status: Option<u16>) -> Result<Value, String> {
        let conduct = match (state, status) {
            (StoreState::Up, None) => Conduct::Up,
            (StoreState::Down, None) => Conduct::Down,
            (StoreState::Error, Some(status)) if (300..=599).contains(&status) => Conduct::Error(status),
            (StoreState::Error, _) => return Err("error takes a status of 300 to 599".into()),
            (StoreState::Up | StoreState::Down, Some(_)) => return Err("only error takes a status".into()),
        };
        self.store.behave(conduct);
        self.events.append("store", json!({"state": format!("{conduct:?}").to_lowercase()}));
        Ok(json!({}))
    }

    async fn set_broker(&self, state: BrokerState) -> Result<Value, String> {
        let mut broker = self.broker.lock().await;
        match state {
            BrokerState::Down => broker.down().await?,
            BrokerState::Up => broker.up().await?,
            BrokerState::Restart => {
                broker.down().await?;
                broker.up().await?;
            }
        }
        self.events.append("broker", json!({"up": broker.is_up()}));
        if broker.is_up() {
            self.cloud.ready(CONNECT).await?;
        }
        Ok(json!({}))
    }

    async fn status(&self) -> Result<Value, String> {
        let (up, pid) = {
            let mut broker = self.broker.lock().await;
            (broker.is_up(), broker.pid())
        };
        let kept = self.kept.lock().await.clone();
        let objects = self.store.bucket.keys("").map_err(|e| format!("the bucket: {e}"))?;
        Ok(json!({
            "device": self.device,
            "broker": {"up": up, "pid": pid, "port": self.mqtt_port, "connected": self.cloud.connected()},
            "store": {
                "state": format!("{:?}", self.store.conduct()).to_lowercase(),
                "port": self.store.port,
                "requests": self.store.requests(),
            },
            "privacy_version": kept.privacy_version,
            "entitlement_version": kept.entitlement_version,
            "objects": objects.len(),
        }))
    }

    fn objects(&self) -> Result<Value, String> {
        let failed = |e: std::io::Error| format!("the bucket: {e}");
        let mut objects = Vec::new();
        for key in self.store.bucket.keys("").map_err(failed)? {
            if let Some(facts) = self.store.bucket.facts(&key).map_err(failed)? {
                objects.push(json!({"key": key, "facts": facts}));
            }
        }
        Ok(json!({"objects": objects}))
    }
}

/// What the files of a camera have to name.
fn ends<'a>(kept: &Kept, store: &'a Store, est: &'a Est, signer: &'a Signer) -> Ends<'a> {
    Ends {
        mqtt_port: kept.mqtt_port,
        s3_port: kept.s3_port,
        est_port: kept.est_port,
        keys_port: kept.keys_port,
        password: &est.password,
        credentials: &store.credentials,
        key: &signer.public,
    }
}

/// Answers requests for grants, one after the other.
async fn issue(mut requests: mpsc::Receiver<Request>, issuer: Arc<Issuer>, cloud: Arc<Cloud>) {
    while let Some(request) = requests.recv().await {
        if let Some(jws) = issuer.answer(&request) {
            let topic = format!("kasacam/v1/{}/grant/response", request.device);
            // One that is lost is asked for again by the camera.
            let _lost = cloud.answer(&topic, Bytes::from(jws), request.correlation).await;
        }
    }
}

fn lock(dir: &Path) -> Result<Flock<File>, String> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| format!("{}: {e}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| format!("{}: another kasacam-devcloud runs in it", dir.display()))
}

fn read_kept(dir: &Path) -> Result<Kept, String> {
    let path = dir.join("cloud.json");
    if !path.exists() {
        return Ok(Kept::default());
    }
    let json = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // Versions that start again from 1 would all be refused by the camera: better to be told.
    serde_json::from_slice(&json).map_err(|e| format!("{}: is damaged: {e}", path.display()))
}

fn keep(dir: &Path, kept: &Kept) -> Result<(), String> {
    let json = serde_json::to_vec(kept).map_err(|e| e.to_string())?;
    disk::publish(&RealFs, dir, "cloud.json", &json).map_err(|e| e.to_string())
}

fn read_bounded(file: &Path) -> Result<Bytes, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", file.display());
    let mut bytes = Vec::new();
    File::open(file).map_err(failed)?.take(MOST_RAW).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes.into())
}
