//! A real mosquitto with mutual TLS and an access list, on a free port of loopback, with certificates made
//! for it; and a client of it that acts as the cloud.

use super::patience::patient;
use bytes::Bytes;
use kasacam::config::Mqtt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Packet};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub fn wait() -> Duration {
    patient(Duration::from_secs(30))
}

/// The validity of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Good,
    Expired,
}

/// A private certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Its root, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes `{name}.pem` and `{name}.key` into `folder`, valid for 127.0.0.1.
    pub fn issue(&self, folder: &Path, name: &str, validity: Validity) -> (PathBuf, PathBuf) {
        self.issue_for(folder, name, validity, vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))])
    }

    fn issue_for(
        &self,
        folder: &Path,
        name: &str,
        validity: Validity,
        hosts: Vec<SanType>,
    ) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = hosts;
        if validity == Validity::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert, secret) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&cert, certificate.pem()).unwrap();
        fs::write(&secret, key.serialize_pem()).unwrap();
        (cert, secret)
    }
}

/// The agent's configuration for a broker on 127.0.0.1.
pub fn told(port: u16, ca: PathBuf, cert: PathBuf, key: PathBuf) -> Mqtt {
    Mqtt {
        host: String::from("127.0.0.1"),
        port,
        ca,
        cert,
        key,
        keep_alive: Duration::from_secs(30),
        telemetry: Duration::from_secs(60),
        alpn: None,
        login: None,
        reconnect_spread: Duration::from_secs(1),
    }
}

pub struct Broker {
    pub port: u16,
    ip: IpAddr,
    folder: TempDir,
    authority: Authority,
    child: Option<Child>,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::start_with(Validity::Good)
    }

    /// `validity` is that of the broker's own certificate.
    pub fn start_with(validity: Validity) -> Broker {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Broker::start_as(ip, validity, vec![SanType::IpAddress(ip)])
    }

    /// At `ip`, with a certificate for `hosts`.
    pub fn start_at(ip: IpAddr, hosts: Vec<SanType>) -> Broker {
        Broker::start_as(ip, Validity::Good, hosts)
    }

    fn start_as(ip: IpAddr, validity: Validity, hosts: Vec<SanType>) -> Broker {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new("test CA");
        authority.issue_for(folder.path(), "broker", validity, hosts);
        authority.issue(folder.path(), "cloud", Validity::Good);
        fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
        let port = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port();
        let mut broker = Broker { port, ip, folder, authority, child: None };
        fs::write(broker.path("acl"), ACCESS).unwrap();
        fs::write(broker.path("mosquitto.conf"), broker.configuration()).unwrap();
        broker.resume();
        broker
    }

    fn configuration(&self) -> String {
        let at = self.folder.path().display();
        format!(
            "listener {port} {ip}\nuser root\ncafile {at}/ca.pem\ncertfile {at}/broker.pem\n\
             keyfile {at}/broker.key\nrequire_certificate true\nuse_identity_as_username true\n\
             allow_anonymous false\nacl_file {at}/acl\npersistence true\npersistence_location {at}/\n\
             log_type all\nlog_dest file {at}/log\nset_tcp_nodelay true\n",
            port = self.port,
            ip = self.ip
        )
    }

    /// Starts it again, with the state that it had kept.
    pub fn resume(&mut self) {
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.path("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        self.child = Some(child);
        let deadline = Instant::now() + wait();
        while TcpStream::connect((self.ip, self.port)).is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it in order, so that it keeps its sessions and its retained messages. One that has just started
    /// may miss the signal: it is sent again.
    pub fn stop(&mut self) {
        let deadline = Instant::now() + wait();
        loop {
            self.signal(Signal::SIGTERM);
            let child = self.child.as_mut().expect("the broker runs");
            if child.try_wait().unwrap().is_some() {
                self.child = None;
                return;
            }
            assert!(Instant::now() < deadline, "mosquitto does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Leaves its connections open, but no longer answers.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the broker runs");
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration of the agent of `device` for this broker, with its own certificate.
    pub fn client(&self, device: &str) -> Mqtt {
        self.client_with(device, Validity::Good)
    }

    pub fn client_with(&self, name: &str, validity: Validity) -> Mqtt {
        let (cert, key) = self.authority.issue(self.folder.path(), name, validity);
        Mqtt { host: self.ip.to_string(), ..told(self.port, self.path("ca.pem"), cert, key) }
    }

    /// The root of another authority, which did not issue this broker's certificate.
    pub fn foreign_ca(&self) -> PathBuf {
        let path = self.path("foreign.pem");
        fs::write(&path, Authority::new("another CA").pem).unwrap();
        path
    }

    /// The cloud, subscribed to all topics of all cameras.
    pub async fn cloud(&self) -> Cloud {
        Cloud::connect(self, "cloud", Some("kasacam/#")).await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// The camera may use only its own topics, and only in their direction. The broker's user is the CN.
const ACCESS: &str = "\
user cloud
topic readwrite kasacam/#

pattern read kasacam/v1/%u/privacy/desired
pattern read kasacam/v1/%u/entitlement/desired
pattern read kasacam/v1/%u/grant/response
pattern write kasacam/v1/%u/privacy/reported
pattern write kasacam/v1/%u/entitlement/reported
pattern write kasacam/v1/%u/status
pattern write kasacam/v1/%u/telemetry
pattern write kasacam/v1/%u/event
pattern write kasacam/v1/%u/grant/request
";

/// One message that the cloud received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub topic: String,
    pub payload: String,
    pub retained: bool,
}

/// A client besides the agent.
pub struct Cloud {
    client: AsyncClient,
    seen: Arc<Mutex<Vec<Seen>>>,
    settled: Arc<Mutex<u64>>,
    published: u64,
    task: JoinHandle<()>,
}

impl Cloud {
    /// Connects with `{id}.pem`; returns once the subscription is acknowledged.
    pub async fn connect(broker: &Broker, id: &str, filter: Option<&str>) -> Cloud {
        Cloud::connect_as(broker, id, id, filter).await
    }

    /// Connects as `id` with `{certificate}.pem`.
    pub async fn connect_as(broker: &Broker, id: &str, certificate: &str, filter: Option<&str>) -> Cloud {
        let mut options = MqttOptions::new(id, "127.0.0.1", broker.port);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(600);
        properties.max_packet_size = Some(1024 * 1024);
        options
            .set_connect_properties(properties)
            .set_clean_start(false)
            .set_keep_alive(Duration::from_secs(30))
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls(broker, certificate))));
        let (client, mut events) = AsyncClient::new(options, 64);
        let (seen, settled) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (sink, acknowledged, again) = (Arc::clone(&seen), Arc::clone(&settled), client.clone());
        let filter = filter.map(str::to_owned);
        let ready = Arc::new(tokio::sync::Notify::new());
        let is_ready = Arc::clone(&ready);
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => match &filter {
                        Some(filter) => again.try_subscribe(filter, QoS::AtLeastOnce).unwrap(),
                        None => is_ready.notify_one(),
                    },
                    Ok(Event::Incoming(Packet::SubAck(_))) => is_ready.notify_one(),
                    Ok(Event::Incoming(Packet::PubAck(_))) => *acknowledged.lock().unwrap() += 1,
                    Ok(Event::Incoming(Packet::Publish(publish))) => sink.lock().unwrap().push(Seen {
                        topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
                        payload: String::from_utf8_lossy(&publish.payload).into_owned(),
                        retained: publish.retain,
                    }),
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        tokio::time::timeout(wait(), ready.notified()).await.expect("the cloud connects");
        Cloud { client, seen, settled, published: 0, task }
    }

    /// Publishes with QoS 1, and waits until the broker has it.
    pub async fn publish(&mut self, topic: &str, retain: bool, payload: impl Into<Bytes>) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload.into()).await.unwrap();
        self.published += 1;
        let (settled, published) = (Arc::clone(&self.settled), self.published);
        eventually("the broker acknowledges", || (*settled.lock().unwrap() >= published).then_some(())).await;
    }

    pub fn seen(&self, topic: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.topic == topic).cloned().collect()
    }

    /// Waits for a message on `topic` that contains `part`.
    pub async fn sees(&self, topic: &str, part: &str) -> Seen {
        eventually(&format!("{part} on {topic}"), || {
            self.seen(topic).into_iter().find(|seen| seen.payload.contains(part))
        })
        .await
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks again and again, until the deadline.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + wait();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn tls(broker: &Broker, id: &str) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(broker.path("ca.pem")).unwrap()).unwrap();
    let certificate = CertificateDer::from_pem_file(broker.path(&format!("{id}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(broker.path(&format!("{id}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}
