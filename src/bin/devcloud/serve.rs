//! The cloud as a whole: it starts and stops all parts, and executes commands.

use crate::broker::Broker;
use crate::camera::{self, Camera, Ends};
use crate::certificates::{self, Pki};
use crate::cloud::Cloud;
use crate::command::{BrokerState, Command, Plan, SOCKET, StoreState, Switch};
use crate::est::Est;
use crate::events::Events;
use crate::grants::{Issuer, Request};
use crate::keys::{Keys, Provider};
use crate::lease;
use crate::page::seen::Seen;
use crate::peers::Peers;
use crate::signer::{CommandKind, Signer};
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
use tokio::sync::{Mutex, mpsc};

/// For the cloud's own client to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest file to publish, in bytes: a test may send more than a camera accepts, but not more than the broker does.
const MAX_RAW: u64 = 1 << 20;

/// The largest number of requests for grants that wait for an answer.
const MAX_REQUESTS: usize = 64;

/// What survives the process: versions must only grow, and a camera keeps its addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SavedState {
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
    kept: Mutex<SavedState>,
    mqtt_port: u16,
    /// Held while the cloud runs: one cloud per directory.
    _lock: Flock<File>,
}

impl Devcloud {
    /// Makes missing files in `dir`, and starts all parts.
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
        // Before our client receives retained messages.
        let seen = Seen::follow(&events, store.bucket.clone(), camera.device.clone());
        let (requests_tx, requests) = mpsc::channel(MAX_REQUESTS);
        let cloud = Arc::new(Cloud::start(&pki, broker.port, events.clone(), requests_tx)?);
        cloud.ready(CONNECT_TIMEOUT).await?;
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

    /// Makes the certificate and the files of another camera; returns the path of its `agent.toml`.
    ///
    /// # Errors
    /// Its id is not valid, or a file cannot be written.
    pub(crate) async fn another(&self, camera: &Camera) -> Result<PathBuf, String> {
        let pki = certificates::ensure(&self.dir, &camera.device)?;
        let kept = self.kept.lock().await.clone();
        camera::write(&self.dir, &pki, &ends(&kept, &self.store, &self.est, &self.signer), camera)
    }

    /// Gives a new camera a plan, and its owner's permission to record.
    ///
    /// # Errors
    /// The broker does not accept them.
    pub(crate) async fn welcome(&self, device: &str) -> Result<(), String> {
        let now = clock::utc();
        let lease = lease::entitlement(device, 1, now, &Plan::named("plus"))?;
        self.command_to(device, CommandKind::Entitlement, &lease).await?;
        self.command_to(device, CommandKind::Privacy, &lease::privacy(device, 1, now, false)).await
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join(SOCKET)
    }

    /// The line that says that everything runs.
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

    /// Stops all parts.
    ///
    /// # Errors
    /// The broker had to be killed.
    pub(crate) async fn stop(&self) -> Result<(), String> {
        let _not_there = std::fs::remove_file(self.socket());
        self.broker.lock().await.down().await
    }

    /// Executes a command.
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
                let kind = CommandKind::parse(&kind).ok_or("the kind is privacy, entitlement or grant")?;
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

    /// Publishes the owner's choice; returns when the broker has it. The answer has two times in nanoseconds of
    /// `CLOCK_MONOTONIC`, between which the choice left the broker: right before it was given to our client, and when the
    /// acknowledgement came, which the broker sends after the message.
    ///
    /// # Errors
    /// Its version cannot be saved, or the broker does not accept it.
    pub(crate) async fn privacy(&self, do_not_record: bool) -> Result<Value, String> {
        let mut kept = self.kept.lock().await;
        kept.privacy_version += 1;
        keep(&self.dir, &kept)?;
        let version = kept.privacy_version;
        let claims = lease::privacy(&self.device, version, clock::utc(), do_not_record);
        let sending = clock::mono().0;
        self.command(CommandKind::Privacy, &claims).await?;
        Ok(json!({"version": version, "sending": sending, "acknowledged": clock::mono().0}))
    }

    /// Publishes a lease; returns when the broker has it.
    ///
    /// # Errors
    /// It is not valid, its version cannot be saved, or the broker does not accept it.
    pub(crate) async fn plan(&self, plan: &Plan) -> Result<Value, String> {
        let mut kept = self.kept.lock().await;
        let version = kept.entitlement_version + 1;
        let claims = lease::entitlement(&self.device, version, clock::utc(), plan)?;
        kept.entitlement_version = version;
        keep(&self.dir, &kept)?;
        self.command(CommandKind::Entitlement, &claims).await?;
        Ok(json!({"version": version}))
    }

    async fn command(&self, kind: CommandKind, claims: &Value) -> Result<(), String> {
        self.command_to(&self.device, kind, claims).await
    }

    async fn command_to(&self, device: &str, kind: CommandKind, claims: &Value) -> Result<(), String> {
        let topic = format!("kasacam/v1/{device}/{}/desired", kind.name());
        self.cloud.publish(&topic, Bytes::from(self.signer.sign(kind, claims)), true).await
    }

    fn set_store(&self, state: StoreState, status: Option<u16>) -> Result<Value, String> {
        let conduct = match (state, status) {
            (StoreState::Up, None) => Conduct::Up,
            (StoreState::Down, None) => Conduct::Down,
            (StoreState::Error, Some(status)) if (300..=599).contains(&status) => Conduct::Error(status),
            (StoreState::Error, _) => return Err("error needs a status from 300 to 599".into()),
            (StoreState::Up | StoreState::Down, Some(_)) => return Err("only error has a status".into()),
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
            self.cloud.ready(CONNECT_TIMEOUT).await?;
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

/// The addresses and files that the configuration of a camera names.
fn ends<'a>(kept: &SavedState, store: &'a Store, est: &'a Est, signer: &'a Signer) -> Ends<'a> {
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
            // If it is lost, the camera asks again.
            let _lost = cloud.answer(&topic, Bytes::from(jws), request.correlation).await;
        }
    }
}

fn lock(dir: &Path) -> Result<Flock<File>, String> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| format!("{}: {e}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| format!("{}: another kasacam-devcloud uses this directory", dir.display()))
}

fn read_kept(dir: &Path) -> Result<SavedState, String> {
    let path = dir.join("cloud.json");
    if !path.exists() {
        return Ok(SavedState::default());
    }
    let json = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // The camera would refuse versions that start again from 1, so a damaged file is an error.
    serde_json::from_slice(&json).map_err(|e| format!("{}: is damaged: {e}", path.display()))
}

fn keep(dir: &Path, kept: &SavedState) -> Result<(), String> {
    let json = serde_json::to_vec(kept).map_err(|e| e.to_string())?;
    disk::publish(&RealFs, dir, "cloud.json", &json).map_err(|e| e.to_string())
}

fn read_bounded(file: &Path) -> Result<Bytes, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", file.display());
    let mut bytes = Vec::new();
    File::open(file).map_err(failed)?.take(MAX_RAW).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes.into())
}
