//! An MQTT 5 client that says what it is told and shows what it hears: no session goes on by itself, nothing is sent
//! again, and each wait has a deadline. The packets are those of rumqttc; a few are read here, since a check wants
//! every reason code, and the codec knows some.

use super::judgement::cloud::seen::ConnAckSeen;
use super::party::Party;
use bytes::{Buf, Bytes, BytesMut};
use kasacam::domain::time::Utc;
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

/// What we tell the broker that we take.
const MAX_PACKET: usize = 256 * 1024;
const KEEP_ALIVE: u16 = 60;
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Messages that are kept unread.
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
    /// Nobody answers.
    Unreachable(String),
    /// It is not who it should be, or takes us for somebody else.
    Tls(String),
    /// It ended the connection, or says nothing.
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

/// How a session begins.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner<'a> {
    pub(super) clean_start: bool,
    /// Seconds.
    pub(super) expiry: u32,
    /// Topic, payload, and delay in seconds of a retained last will.
    pub(super) will: Option<(&'a str, &'a [u8], u32)>,
}

enum Packet {
    ConnAck(ConnAckSeen, bool),
    Publish(codec::Publish),
    PubAck(u16, u8),
    SubAck(u16, Vec<u8>),
    UnsubAck,
    PubRel(u16),
    Other,
    Disconnect(u8),
}

pub(super) struct Client {
    stream: TlsStream<TcpStream>,
    inbox: BytesMut,
    identifier: u16,
    heard: VecDeque<Heard>,
    within: Duration,
    sent: Instant,
}

/// TCP and TLS; and the version of TLS in words.
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
    /// CONNECT, and the CONNACK to it whatever it says; `true` where the session was there.
    pub(super) async fn connect(
        place: &Place,
        party: &Party,
        manner: Manner<'_>,
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
        client.send(&connect(party, manner)).await.map_err(Closed::Ended)?;
        match client.next(now + place.within).await {
            Ok(Some(Packet::ConnAck(connack, present))) => Ok((client, connack, present)),
            Ok(Some(_)) => Err(Closed::Ended("it did not begin with CONNACK".into())),
            Ok(None) => Err(Closed::Ended(format!("no CONNACK within {:?}", place.within))),
            Err(why) => Err(Closed::Ended(why)),
        }
    }

    /// The same, and it has to let us in.
    pub(super) async fn session(
        place: &Place,
        party: &Party,
        manner: Manner<'_>,
    ) -> Result<(Client, bool), String> {
        match Client::connect(place, party, manner).await {
            Ok((client, connack, present)) if connack.success => Ok((client, present)),
            Ok((_, connack, _)) => Err(format!("{}: not let in: {}", party.client, connack.code)),
            Err(closed) => Err(format!("{}: {}", party.client, closed.why())),
        }
    }

    /// The reason code of each filter.
    pub(super) async fn subscribe(&mut self, filters: &[&str], qos: QoS) -> Result<Vec<u8>, String> {
        self.ask(filters.iter().map(|filter| codec::Filter::new(*filter, qos)).collect()).await
    }

    /// What is published from now on, with RETAIN as it was published, and nothing that is retained.
    pub(super) async fn listen(&mut self, filter: &str, qos: QoS) -> Result<Vec<u8>, String> {
        let mut filter = codec::Filter::new(filter, qos);
        filter.preserve_retain = true;
        filter.retain_forward_rule = codec::RetainForwardRule::Never;
        self.ask(vec![filter]).await
    }

    async fn ask(&mut self, filters: Vec<codec::Filter>) -> Result<Vec<u8>, String> {
        let identifier = self.identify();
        let told = codec::Subscribe { pkid: identifier, filters, properties: None };
        self.send(&codec::Packet::Subscribe(told)).await?;
        let until = Instant::now() + self.within;
        loop {
            match self.next(until).await? {
                Some(Packet::SubAck(of, codes)) if of == identifier => return Ok(codes),
                Some(_) => {}
                None => return Err(format!("no SUBACK within {:?}", self.within)),
            }
        }
    }

    pub(super) async fn unsubscribe(&mut self, filters: &[&str]) -> Result<(), String> {
        let identifier = self.identify();
        let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
        let told = codec::Unsubscribe { pkid: identifier, filters, properties: None };
        self.send(&codec::Packet::Unsubscribe(told)).await?;
        let until = Instant::now() + self.within;
        loop {
            match self.next(until).await? {
                Some(Packet::UnsubAck) => return Ok(()),
                Some(_) => {}
                None => return Err(format!("no UNSUBACK within {:?}", self.within)),
            }
        }
    }

    /// Publishes with QoS 1; the code of its PUBACK. `reply`: response topic and correlation data.
    pub(super) async fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        retain: bool,
        reply: Option<(&str, &[u8])>,
    ) -> Result<u8, String> {
        let identifier = self.identify();
        let properties = reply.map(|(response, correlation)| codec::PublishProperties {
            response_topic: Some(response.to_owned()),
            correlation_data: Some(Bytes::copy_from_slice(correlation)),
            ..codec::PublishProperties::default()
        });
        let told = codec::Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain,
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            pkid: identifier,
            payload: Bytes::copy_from_slice(payload),
            properties,
        };
        self.send(&codec::Packet::Publish(told)).await?;
        let until = Instant::now() + self.within;
        loop {
            match self.next(until).await? {
                Some(Packet::PubAck(of, code)) if of == identifier => return Ok(code),
                Some(_) => {}
                None => return Err(format!("no PUBACK within {:?}", self.within)),
            }
        }
    }

    /// The next message; `None` where none came by then.
    pub(super) async fn hear(&mut self, until: Instant) -> Result<Option<Heard>, String> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(Some(heard));
            }
            let ping = self.sent + PING_INTERVAL;
            match self.next(until.min(ping)).await? {
                Some(_) => {}
                None if Instant::now() < until => {
                    self.send(&codec::Packet::PingReq(codec::PingReq)).await?;
                }
                None => return Ok(None),
            }
        }
    }

    /// All that comes until then.
    pub(super) async fn gather(&mut self, until: Instant) -> Result<Vec<Heard>, String> {
        let mut all = Vec::new();
        while let Some(heard) = self.hear(until).await? {
            all.push(heard);
        }
        Ok(all)
    }

    /// DISCONNECT: no will is said, and the session is kept as long as it was asked for.
    pub(super) async fn leave(mut self) {
        let normal = codec::DisconnectReasonCode::NormalDisconnection;
        let _it_is_over = self.send(&codec::Packet::Disconnect(codec::Disconnect::new(normal))).await;
        let _it_is_over = timeout(self.within, self.stream.shutdown()).await;
    }

    fn identify(&mut self) -> u16 {
        self.identifier = self.identifier.checked_add(1).unwrap_or(1);
        self.identifier
    }

    async fn send(&mut self, packet: &codec::Packet) -> Result<(), String> {
        // The codec finds the flags of CONNECT from the start of what it writes to.
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).map_err(|e| format!("a packet cannot be written: {e}"))?;
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
    async fn next(&mut self, until: Instant) -> Result<Option<Packet>, String> {
        loop {
            if let Some(packet) = take(&mut self.inbox)? {
                self.answer(&packet).await?;
                if let Packet::Disconnect(code) = packet {
                    return Err(format!("the broker ended the connection: DISCONNECT 0x{code:02x}"));
                }
                return Ok(Some(packet));
            }
            match timeout_at(until, self.stream.read_buf(&mut self.inbox)).await {
                Ok(Ok(0)) => return Err("the broker closed the connection".into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(ended(&error)),
                Err(_) => return Ok(None),
            }
        }
    }

    async fn answer(&mut self, packet: &Packet) -> Result<(), String> {
        match packet {
            Packet::Publish(publish) => {
                if self.heard.len() < MAX_HEARD {
                    self.heard.push_back(heard(publish));
                }
                match publish.qos {
                    QoS::AtMostOnce => Ok(()),
                    QoS::AtLeastOnce => {
                        self.send(&codec::Packet::PubAck(codec::PubAck::new(publish.pkid, None))).await
                    }
                    QoS::ExactlyOnce => {
                        self.send(&codec::Packet::PubRec(codec::PubRec::new(publish.pkid, None))).await
                    }
                }
            }
            Packet::PubRel(identifier) => {
                self.send(&codec::Packet::PubComp(codec::PubComp::new(*identifier, None))).await
            }
            Packet::ConnAck(..)
            | Packet::PubAck(..)
            | Packet::SubAck(..)
            | Packet::UnsubAck
            | Packet::Other
            | Packet::Disconnect(_) => Ok(()),
        }
    }
}

fn connect(party: &Party, manner: Manner<'_>) -> codec::Packet {
    let properties = codec::ConnectProperties {
        session_expiry_interval: Some(manner.expiry),
        receive_maximum: Some(100),
        max_packet_size: u32::try_from(MAX_PACKET).ok(),
        topic_alias_max: None,
        request_response_info: None,
        request_problem_info: None,
        user_properties: Vec::new(),
        authentication_method: None,
        authentication_data: None,
    };
    let told = codec::Connect {
        keep_alive: KEEP_ALIVE,
        client_id: party.client.clone(),
        clean_start: manner.clean_start,
        properties: Some(properties),
    };
    let will = manner.will.map(|(topic, payload, delay)| codec::LastWill {
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        message: Bytes::copy_from_slice(payload),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Some(codec::LastWillProperties {
            delay_interval: Some(delay).filter(|delay| *delay > 0),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        }),
    });
    let login =
        party.login.as_ref().map(|(name, password)| codec::Login::new(name.as_str(), password.as_str()));
    codec::Packet::Connect(told, will, login)
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

/// The first packet in `inbox`, if it is there whole.
fn take(inbox: &mut BytesMut) -> Result<Option<Packet>, String> {
    let malformed = || "the broker sent what is no packet of MQTT 5".to_owned();
    let Some((header, length)) = frame(inbox).map_err(|()| malformed())? else { return Ok(None) };
    if length > MAX_PACKET {
        return Err("the broker sent a packet larger than it was told to".into());
    }
    if inbox.len() < header + length {
        return Ok(None);
    }
    let mut whole = inbox.split_to(header + length);
    let kind = whole.first().copied().unwrap_or(0) >> 4;
    let mut body = whole.clone().freeze();
    body.advance(header);
    let packet = match kind {
        2 => connack(&mut whole, &body).ok_or_else(malformed)?,
        3 => match codec::Packet::read(&mut whole, None) {
            Ok(codec::Packet::Publish(publish)) => Packet::Publish(publish),
            Ok(_) | Err(_) => return Err(malformed()),
        },
        4 => Packet::PubAck(identifier(&mut body).ok_or_else(malformed)?, body.first().copied().unwrap_or(0)),
        6 => Packet::PubRel(identifier(&mut body).ok_or_else(malformed)?),
        9 => {
            let of = identifier(&mut body).ok_or_else(malformed)?;
            let properties = variable(&mut body).ok_or_else(malformed)?;
            if body.len() < properties {
                return Err(malformed());
            }
            body.advance(properties);
            Packet::SubAck(of, body.to_vec())
        }
        11 => Packet::UnsubAck,
        14 => Packet::Disconnect(body.first().copied().unwrap_or(0)),
        _ => Packet::Other,
    };
    Ok(Some(packet))
}

/// Length of the fixed header, and of what follows it; `None` while it is not there.
fn frame(inbox: &BytesMut) -> Result<Option<(usize, usize)>, ()> {
    let (mut length, mut shift) = (0, 0);
    for (at, byte) in inbox.iter().enumerate().skip(1).take(4) {
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, length)));
        }
        shift += 7;
    }
    if inbox.len() >= 5 { Err(()) } else { Ok(None) }
}

fn variable(body: &mut Bytes) -> Option<usize> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = *body.first()?;
        body.advance(1);
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
        shift += 7;
        if shift > 21 {
            return None;
        }
    }
}

fn identifier(body: &mut Bytes) -> Option<u16> {
    (body.len() >= 2).then(|| body.get_u16())
}

fn connack(whole: &mut BytesMut, body: &Bytes) -> Option<Packet> {
    let (flags, code) = (*body.first()?, *body.get(1)?);
    // The form of MQTT 3.1.1.
    if body.len() == 2 {
        let code = "the broker speaks MQTT 3.1.1 alone".to_owned();
        return Some(Packet::ConnAck(ConnAckSeen { code, ..ConnAckSeen::default() }, false));
    }
    let properties = match codec::Packet::read(whole, None) {
        Ok(codec::Packet::ConnAck(connack)) => connack.properties,
        Ok(_) | Err(_) => None,
    };
    let seen = ConnAckSeen {
        success: code == 0,
        code: format!("reason code 0x{code:02x}"),
        max_packet: properties.as_ref().and_then(|it| it.max_packet_size),
        max_qos: properties.as_ref().and_then(|it| it.max_qos),
        retain: properties.as_ref().and_then(|it| it.retain_available),
        session_expiry: properties.as_ref().and_then(|it| it.session_expiry_interval),
    };
    Some(Packet::ConnAck(seen, flags & 1 == 1))
}
