//! A proxy before the broker that changes what passes. It ends TLS with the development cloud's own certificate, looks
//! whose certificate the client shows, and goes on to the broker with that one.

use super::cloud::Cloud;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToBroker,
    ToClient,
}

/// One packet, whole, with its fixed header.
pub struct Passing {
    /// Connections that the proxy had before this one.
    pub connection: usize,
    pub way: Way,
    pub bytes: Vec<u8>,
}

impl Passing {
    /// Its type: 1 is CONNECT, 2 CONNACK, 3 PUBLISH, 4 PUBACK, 9 SUBACK, 14 DISCONNECT.
    pub fn kind(&self) -> u8 {
        self.bytes[0] >> 4
    }

    fn header(&self) -> usize {
        1 + self.bytes[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1
    }

    /// What follows the fixed header.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.header()..]
    }

    /// The topic of a PUBLISH.
    pub fn topic(&self) -> Option<&str> {
        let body = self.body();
        let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
        std::str::from_utf8(body.get(2..2 + length)?).ok().filter(|_| self.kind() == 3)
    }

    fn payload_at(&self) -> usize {
        let body = self.body();
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let identifier = if self.bytes[0] & 0x06 == 0 { 0 } else { 2 };
        let properties = 2 + topic + identifier;
        let mut length = 0;
        let mut at = properties;
        for shift in [0, 7, 14, 21] {
            let byte = body[at];
            length |= usize::from(byte & 0x7f) << shift;
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        self.header() + at + length
    }

    /// The payload of a PUBLISH.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at()..]
    }

    /// The same PUBLISH with another payload.
    pub fn with_payload(&self, payload: &[u8]) -> Vec<u8> {
        let kept = &self.bytes[self.header()..self.payload_at()];
        packet(self.bytes[0], &[kept, payload].concat())
    }

    /// The packet identifier of a PUBLISH or a PUBACK.
    pub fn identifier(&self) -> u16 {
        let body = self.body();
        let at = if self.kind() == 3 { 2 + usize::from(u16::from_be_bytes([body[0], body[1]])) } else { 0 };
        u16::from_be_bytes([body[at], body[at + 1]])
    }

    /// The same PUBLISH under another packet identifier.
    pub fn with_identifier(&self, identifier: u16) -> Vec<u8> {
        let body = self.body();
        let at = self.header() + 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let mut bytes = self.bytes.clone();
        bytes[at..at + 2].copy_from_slice(&identifier.to_be_bytes());
        bytes
    }

    /// The same PUBLISH with QoS 0.
    pub fn with_qos_0(&self) -> Vec<u8> {
        let body = self.body();
        let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        packet(self.bytes[0] & 0xf1, &[&body[..at], &body[at + 2..]].concat())
    }
}

/// A packet with this first byte and body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (vec![first], body.len());
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// What goes on in place of a packet.
pub type Change = Arc<dyn Fn(&Passing) -> Vec<(Way, Vec<u8>)> + Send + Sync>;

/// How else it differs from a pipe.
#[derive(Clone, Default)]
pub struct Habits {
    /// Whoever shows no certificate goes on with that of this device.
    pub lends: Option<String>,
    /// A client that is gone without DISCONNECT is taken leave of.
    pub says_goodbye: bool,
}

pub struct MqttProxy {
    pub port: u16,
    road: Arc<Road>,
    _runtime: Runtime,
}

impl MqttProxy {
    pub fn start(cloud: &Cloud, habits: Habits, change: Change) -> MqttProxy {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let dir = cloud.dir().to_owned();
        let (connections, subscriptions) = Default::default();
        let road = Road { dir, broker: cloud.mqtt_port, habits, change, connections, subscriptions };
        let road = Arc::new(road);
        runtime.spawn(accept(listener, Arc::clone(&road)));
        MqttProxy { port, road, _runtime: runtime }
    }

    /// Subscriptions that the broker has acknowledged so far.
    pub fn subscriptions(&self) -> usize {
        self.road.subscriptions.load(Ordering::SeqCst)
    }

    /// As `verify` and `watch` take it.
    pub fn place(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

struct Road {
    dir: PathBuf,
    broker: u16,
    habits: Habits,
    change: Change,
    connections: AtomicUsize,
    subscriptions: AtomicUsize,
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn pair(cert: &Path, key: &Path) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    (CertificateDer::from_pem_file(cert).unwrap(), PrivateKeyDer::from_pem_file(key).unwrap())
}

impl Road {
    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.dir.join("pki/ca.pem")).unwrap()).unwrap();
        Arc::new(roots)
    }

    fn acceptor(&self) -> TlsAcceptor {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider());
        let verifier = verifier.allow_unauthenticated().build().unwrap();
        let (cert, key) = pair(&self.dir.join("pki/server.pem"), &self.dir.join("pki/server.key"));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![cert], key);
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }

    /// With the certificate of whoever shows it.
    fn connector(&self, shown: Option<&CertificateDer<'_>>) -> TlsConnector {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let config = match self.identity(shown) {
            Some((cert, key)) => builder.with_client_auth_cert(vec![cert], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        TlsConnector::from(Arc::new(config))
    }

    fn identity(
        &self,
        shown: Option<&CertificateDer<'_>>,
    ) -> Option<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let homes = std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let devices = homes
            .filter(|home| home.join("device.pem").exists())
            .map(|home| pair(&home.join("device.pem"), &home.join("device.key")));
        let cloud = pair(&self.dir.join("pki/cloud.pem"), &self.dir.join("pki/cloud.key"));
        match (shown, &self.habits.lends) {
            (Some(shown), _) => devices.chain([cloud]).find(|(cert, _)| cert.as_ref() == shown.as_ref()),
            (None, Some(device)) => {
                let home = self.dir.join(device);
                Some(pair(&home.join("device.pem"), &home.join("device.key")))
            }
            (None, None) => None,
        }
    }
}

async fn accept(listener: TcpListener, road: Arc<Road>) {
    let acceptor = road.acceptor();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (road, acceptor) = (Arc::clone(&road), acceptor.clone());
        let Ok(client) = acceptor.accept(stream).await else { continue };
        let connection = road.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let shown = client.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
            let connector = road.connector(shown.as_ref());
            let Ok(tcp) = TcpStream::connect(("127.0.0.1", road.broker)).await else { return };
            let name = ServerName::try_from("localhost").unwrap();
            let Ok(broker) = connector.connect(name, tcp).await else { return };
            pass(client, broker, connection, &road).await;
        });
    }
}

async fn pass<C, B>(client: C, broker: B, connection: usize, road: &Road)
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_broker, mut to_broker) = tokio::io::split(broker);
    let (mut sent, mut came) = (Vec::new(), Vec::new());
    let mut left = false;
    'passing: loop {
        for way in [Way::ToBroker, Way::ToClient] {
            let held = if way == Way::ToBroker { &mut sent } else { &mut came };
            while let Some(bytes) = take(held) {
                let passing = Passing { connection, way, bytes };
                left |= passing.kind() == 14;
                if (passing.kind(), way) == (9, Way::ToClient) {
                    road.subscriptions.fetch_add(1, Ordering::SeqCst);
                }
                for (way, bytes) in (road.change)(&passing) {
                    let written = match way {
                        Way::ToBroker => to_broker.write_all(&bytes).await,
                        Way::ToClient => to_client.write_all(&bytes).await,
                    };
                    if written.is_err() {
                        break 'passing;
                    }
                }
            }
        }
        let _flushed = (to_broker.flush().await, to_client.flush().await);
        tokio::select! {
            read = from_client.read_buf(&mut sent) => if !matches!(read, Ok(1..)) { break },
            read = from_broker.read_buf(&mut came) => if !matches!(read, Ok(1..)) { break },
        }
    }
    if !left && road.habits.says_goodbye {
        let _already_gone = to_broker.write_all(&[0xe0, 0]).await;
        let _already_gone = to_broker.flush().await;
    }
    let _ended = (to_client.shutdown().await, to_broker.shutdown().await);
}

/// The first packet, where it is there whole.
fn take(held: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (mut length, mut header) = (0, 1);
    for shift in [0, 7, 14, 21] {
        let byte = *held.get(header)?;
        length |= usize::from(byte & 0x7f) << shift;
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (held.len() >= header + length).then(|| held.drain(..header + length).collect())
}
