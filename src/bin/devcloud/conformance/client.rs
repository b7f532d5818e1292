//! An MQTT 5 client that sends only what the check orders, and shows what it receives: it neither reconnects nor
//! retries, and each wait has a deadline. It reads and writes packets as the camera does, and in addition what only a
//! check needs: deliveries of QoS 2, and the limits in CONNACK.

use super::judgement::cloud::seen::ConnAckSeen;
use super::party::Party;
use super::received::{self, Received, SessionStart};
use bytes::{Bytes, BytesMut};
use kasacam::domain::time::Utc;
use kasacam::mqtt::packet::{self, Packet};
use kasacam::system::clock;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5 as codec;
use rustls_pki_types::ServerName;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PING_INTERVAL: Duration = Duration::from_secs(20);
/// The largest number of messages that are kept unread.
const MAX_HEARD: usize = 100_000;

/// Where the broker is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    /// For each step.
    pub(super) within: Duration,
}

/// Why there is no connection.
pub(super) enum Closed {
    /// Nothing answers.
    Unreachable(String),
    /// TLS fails: one side does not accept the other's certificate, for example.
    Tls(String),
    /// The broker ended the connection, or does not answer.
    Ended(String),
}

impl Closed {
    pub(super) fn why(self) -> String {
        match self {
            Closed::Unreachable(why) | Closed::Tls(why) | Closed::Ended(why) => why,
        }
    }
}

/// A message that came.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) correlation: Option<Bytes>,
    pub(super) response_topic: Option<String>,
    pub(super) at: Utc,
    pub(super) since: Instant,
}

pub(super) struct Client {
    stream: TlsStream<TcpStream>,
    inbox: BytesMut,
    identifier: u16,
    heard: VecDeque<Heard>,
    within: Duration,
    sent: Instant,
}

/// Opens TCP and TLS; returns also the version of TLS as text.
pub(super) async fn open(
    place: &Place,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<(TlsStream<TcpStream>, String), Closed> {
    let at = format!("{}:{}", place.host, place.port);
    let tcp = match timeout(place.within, TcpStream::connect((place.host.as_str(), place.port))).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(Closed::Unreachable(format!("{at}: {}", error.kind()))),
        Err(_) => return Err(Closed::Unreachable(format!("{at}: no connection within {:?}", place.within))),
    };
    let _as_it_is = tcp.set_nodelay(true);
    let name = ServerName::try_from(place.host.clone())
        .map_err(|_| Closed::Unreachable(format!("{at}: that is no host name")))?;
    match timeout(place.within, TlsConnector::from(Arc::clone(tls)).connect(name, tcp)).await {
        Ok(Ok(stream)) => {
            let version =
                stream.get_ref().1.protocol_version().and_then(|version| version.as_str().map(str::to_owned));
            Ok((stream, version.unwrap_or_else(|| "TLS".into()).replace("TLSv1_", "TLS 1.")))
        }
        Ok(Err(error)) => Err(Closed::Tls(format!("no TLS: {error}"))),
        Err(_) => Err(Closed::Tls(format!("no answer to TLS within {:?}", place.within))),
    }
}

impl Client {
    /// Sends CONNECT; returns the CONNACK, whatever it says, and whether the session was there.
    pub(super) async fn connect(
        place: &Place,
        party: &Party,
        start: SessionStart<'_>,
    ) -> Result<(Client, ConnAckSeen, bool), Closed> {
        let (stream, _) = open(place, &party.tls).await?;
        let now = Instant::now();
        let mut client = Client {
            stream,
            inbox: BytesMut::new(),
            identifier: 0,
            heard: VecDeque::new(),
            within: place.within,
            sent: now,
        };
        client.send(|out| received::connect(out, party, start)).await.map_err(Closed::Ended)?;
        match client.next(now + place.within).await {
            Ok(Some(Received::ConnAck { answer, session_present })) => Ok((client, answer, session_present)),
            Ok(Some(_)) => Err(Closed::Ended("the broker did not begin with CONNACK".into())),
            Ok(None) => Err(Closed::Ended(format!("no CONNACK within {:?}", place.within))),
            Err(why) => Err(Closed::Ended(why)),
        }
    }

    /// As [`Client::connect`], but anything except success is an error.
    pub(super) async fn session(
        place: &Place,
        party: &Party,
        start: SessionStart<'_>,
    ) -> Result<(Client, bool), String> {
        match Client::connect(place, party, start).await {
            Ok((client, connack, present)) if connack.success => Ok((client, present)),
            Ok((_, connack, _)) => Err(format!("{}: refused: {}", party.client, connack.code)),
            Err(closed) => Err(format!("{}: {}", party.client, closed.why())),
        }
    }

    /// Subscribes with QoS 1; the reason code of each filter.
    pub(super) async fn subscribe(&mut self, filters: &[&str]) -> Result<Vec<u8>, String> {
        let identifier = self.identify();
        self.send(|out| packet::subscribe(out, identifier, filters)).await?;
        self.suback(identifier).await
    }

    /// Subscribes, with QoS 2, to what is published from now on: RETAIN stays as it was published, and no retained
    /// messages are sent.
    pub(super) async fn listen(&mut self, filter: &str) -> Result<Vec<u8>, String> {
        let identifier = self.identify();
        self.send(|out| received::subscribe_as_published(out, identifier, filter)).await?;
        self.suback(identifier).await
    }

    async fn suback(&mut self, identifier: u16) -> Result<Vec<u8>, String> {
        let codes = self.answer_to("SUBACK", |answer| {
            let Packet::SubAck { packet, codes } = answer else { return None };
            (packet == identifier).then_some(codes)
        });
        Ok(codes.await?.into_iter().map(|code| code.0).collect())
    }

    pub(super) async fn unsubscribe(&mut self, filters: &[&str]) -> Result<(), String> {
        let identifier = self.identify();
        self.send(|out| packet::unsubscribe(out, identifier, filters)).await?;
        self.answer_to("UNSUBACK", |answer| (answer == Packet::UnsubAck).then_some(())).await
    }

    /// Publishes with QoS 1; the code of its PUBACK.
    pub(super) async fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> Result<u8, String> {
        let identifier = self.identify();
        self.send(|out| packet::publish(out, identifier, topic, retain, payload)).await?;
        self.puback(identifier).await
    }

    /// Publishes a request with QoS 1; the code of its PUBACK.
    pub(super) async fn request(
        &mut self,
        topic: &str,
        payload: &[u8],
        (response_topic, correlation): (&str, &[u8]),
    ) -> Result<u8, String> {
        let identifier = self.identify();
        let reply = (response_topic, correlation);
        self.send(|out| packet::request(out, identifier, topic, payload, reply)).await?;
        self.puback(identifier).await
    }

    async fn puback(&mut self, identifier: u16) -> Result<u8, String> {
        let code = self.answer_to("PUBACK", |answer| {
            let Packet::PubAck { packet, code } = answer else { return None };
            (packet == identifier).then_some(code.0)
        });
        code.await
    }

    /// Waits for an answer of the broker; messages that come first are kept.
    async fn answer_to<Answer>(
        &mut self,
        name: &str,
        is_it: impl Fn(Packet) -> Option<Answer>,
    ) -> Result<Answer, String> {
        let until = Instant::now() + self.within;
        loop {
            match self.next(until).await? {
                Some(Received::Other(packet)) => {
                    if let Some(answer) = is_it(packet) {
                        return Ok(answer);
                    }
                }
                Some(_) => {}
                None => return Err(format!("no {name} within {:?}", self.within)),
            }
        }
    }

    /// The next message; `None` if none came by then.
    pub(super) async fn hear(&mut self, until: Instant) -> Result<Option<Heard>, String> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(Some(heard));
            }
            let ping = self.sent + PING_INTERVAL;
            match self.next(until.min(ping)).await? {
                Some(_) => {}
                None if Instant::now() < until => {
                    self.send(packet::ping).await?;
                }
                None => return Ok(None),
            }
        }
    }

    /// All messages until then.
    pub(super) async fn gather(&mut self, until: Instant) -> Result<Vec<Heard>, String> {
        let mut all = Vec::new();
        while let Some(heard) = self.hear(until).await? {
            all.push(heard);
        }
        Ok(all)
    }

    /// Sends DISCONNECT: the last will is not published, and the session is kept for as long as CONNECT asked.
    pub(super) async fn leave(mut self) {
        let _it_is_over = self.send(packet::disconnect).await;
        let _it_is_over = timeout(self.within, self.stream.shutdown()).await;
    }

    fn identify(&mut self) -> u16 {
        self.identifier = self.identifier.checked_add(1).unwrap_or(1);
        self.identifier
    }

    async fn send(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), String> {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.sent = Instant::now();
        let writing = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        match timeout(self.within, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ended(&error)),
            Err(_) => Err("the connection takes no more bytes".into()),
        }
    }

    /// The next packet; messages are acknowledged and kept. `None`: nothing came by then.
    async fn next(&mut self, until: Instant) -> Result<Option<Received>, String> {
        loop {
            if let Some(received) = Received::take(&mut self.inbox)? {
                self.acknowledge(&received).await?;
                if let Received::Other(Packet::Disconnect(code)) = received {
                    return Err(format!("the broker ended the connection: DISCONNECT 0x{:02x}", code.0));
                }
                return Ok(Some(received));
            }
            match timeout_at(until, self.stream.read_buf(&mut self.inbox)).await {
                Ok(Ok(0)) => return Err("the broker closed the connection".into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(ended(&error)),
                Err(_) => return Ok(None),
            }
        }
    }

    async fn acknowledge(&mut self, received: &Received) -> Result<(), String> {
        match received {
            Received::Publish(publish) => {
                if self.heard.len() < MAX_HEARD {
                    self.heard.push_back(heard(publish));
                }
                match publish.qos {
                    QoS::AtMostOnce => Ok(()),
                    QoS::AtLeastOnce => self.send(|out| packet::puback(out, publish.pkid)).await,
                    QoS::ExactlyOnce => self.send(|out| received::pubrec(out, publish.pkid)).await,
                }
            }
            Received::PubRel(identifier) => self.send(|out| received::pubcomp(out, *identifier)).await,
            Received::ConnAck { .. } | Received::Other(_) => Ok(()),
        }
    }
}

fn heard(publish: &codec::Publish) -> Heard {
    let properties = publish.properties.clone().unwrap_or_default();
    Heard {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.clone(),
        qos: match publish.qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => 1,
            QoS::ExactlyOnce => 2,
        },
        retain: publish.retain,
        correlation: properties.correlation_data,
        response_topic: properties.response_topic,
        at: clock::utc(),
        since: Instant::now(),
    }
}

fn ended(error: &std::io::Error) -> String {
    format!("the broker ended the connection: {error}")
}
