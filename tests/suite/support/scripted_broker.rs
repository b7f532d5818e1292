//! A broker that sends what the test tells it to, over TLS on loopback. Its packets are written and read by a
//! different codec than the camera's.

use super::broker::{Authority, Validity, wait};
use bytes::{Bytes, BytesMut};
use kasacam::config::Mqtt;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode, LastWill,
    Login, Packet, PingResp, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::Acceptor;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

pub struct ScriptedBroker {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    authority: Authority,
    folder: TempDir,
}

/// One connection of a camera.
pub struct Talk {
    stream: TlsStream<TcpStream>,
    inbox: BytesMut,
}

async fn within<T>(what: &str, doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(wait(), doing).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"))
}

impl ScriptedBroker {
    pub async fn start() -> ScriptedBroker {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new("test CA");
        let (cert, key) = authority.issue(folder.path(), "broker", Validity::Good);
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(cert).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ScriptedBroker { listener, acceptor: Arc::new(config).into(), authority, folder }
    }

    /// The configuration of the agent of `device` for this broker.
    pub fn client(&self, device: &str) -> Mqtt {
        let (cert, key) = self.authority.issue(self.folder.path(), device, Validity::Good);
        let port = self.listener.local_addr().unwrap().port();
        super::broker::told(port, self.folder.path().join("ca.pem"), cert, key)
    }

    /// The next connection, after its TLS handshake.
    pub async fn accept(&self) -> Talk {
        within("a connection", async {
            loop {
                let (tcp, _) = self.listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                if let Ok(stream) = self.acceptor.accept(tcp).await {
                    return Talk { stream, inbox: BytesMut::new() };
                }
            }
        })
        .await
    }

    /// The protocols that the next connection offers in TLS; it goes no further.
    pub async fn accept_asked(&self) -> Vec<String> {
        within("a connection", async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            let start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await.unwrap();
            let hello = start.client_hello();
            let asked = hello.alpn().into_iter().flatten();
            asked.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
        })
        .await
    }

    /// The next connection, accepted with these properties and with its subscription granted.
    pub async fn goes_live(&self, properties: Option<ConnAckProperties>) -> Talk {
        let mut talk = self.accept().await;
        talk.hears_connect().await;
        talk.accepts(properties).await;
        talk.grants().await;
        talk
    }
}

impl Talk {
    /// The next packet; `None` at the end of the stream.
    pub async fn reads(&mut self) -> Option<Packet> {
        within("a packet of the camera", self.next()).await
    }

    async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.inbox, None) {
                Ok(packet) => return Some(packet),
                // rumqttc does not read a DISCONNECT without a reason.
                Err(Error::PayloadRequired) => {
                    return Some(Packet::Disconnect(Disconnect::new(
                        DisconnectReasonCode::NormalDisconnection,
                    )));
                }
                Err(Error::InsufficientBytes(_)) => {}
                Err(wrong) => panic!("the camera sent {wrong}"),
            }
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether the camera sends nothing for this long.
    pub async fn is_quiet_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.next()).await.is_err()
    }

    pub async fn says(&mut self, packet: Packet) {
        let mut out = BytesMut::new();
        packet.write(&mut out, None).unwrap();
        self.says_bytes(&out).await;
    }

    pub async fn says_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub async fn hears_connect(&mut self) -> (Connect, Option<LastWill>, Option<Login>) {
        match self.reads().await {
            Some(Packet::Connect(connect, will, login)) => (connect, will, login),
            other => panic!("{other:?}, not a CONNECT"),
        }
    }

    pub async fn accepts(&mut self, properties: Option<ConnAckProperties>) {
        self.accepts_with(false, properties).await;
    }

    /// With the session that it had kept.
    pub async fn welcomes_back(&mut self) {
        self.accepts_with(true, None).await;
    }

    async fn accepts_with(&mut self, session_present: bool, properties: Option<ConnAckProperties>) {
        self.says(Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Success, properties }))
            .await;
    }

    /// Waits for SUBSCRIBE, and grants it.
    pub async fn grants(&mut self) {
        match self.reads().await {
            Some(Packet::Subscribe(subscribe)) => {
                let return_codes =
                    vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); subscribe.filters.len()];
                self.says(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None }))
                    .await;
            }
            other => panic!("{other:?}, not a SUBSCRIBE"),
        }
    }

    /// The next PUBLISH; answers pings on the way. `None` at the end of the stream.
    pub async fn hears_publish(&mut self) -> Option<Publish> {
        loop {
            match self.reads().await? {
                Packet::Publish(publish) => return Some(publish),
                Packet::PingReq(_) => self.says(Packet::PingResp(PingResp)).await,
                _ => {}
            }
        }
    }

    pub async fn acknowledges(&mut self, publish: &Publish, reason: PubAckReason) {
        self.says(Packet::PubAck(PubAck { pkid: publish.pkid, reason, properties: None })).await;
    }

    /// Acknowledges every PUBLISH until one on `topic` comes, and that one too.
    pub async fn hears_on(&mut self, topic: &str) -> Bytes {
        loop {
            let publish = self.hears_publish().await.unwrap_or_else(|| panic!("nothing came on {topic}"));
            self.acknowledges(&publish, PubAckReason::Success).await;
            if publish.topic == topic.as_bytes() {
                return publish.payload;
            }
        }
    }

    pub async fn publishes(&mut self, packet: u16, topic: &str, payload: &str) {
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            pkid: packet,
            retain: true,
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            properties: None,
        };
        self.says(Packet::Publish(publish)).await;
    }
}
