//! The packets of MQTT 5 that a check needs in addition to those of a camera: CONNECT with any session, CONNACK with all
//! its limits, and deliveries of QoS 2.

use super::judgement::cloud::seen::ConnAckSeen;
use super::party::Party;
use bytes::BytesMut;
use kasacam::mqtt::packet::{self, Connect, Frame, Malformed, Packet, Will};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5 as codec;

/// `Maximum Packet Size` of our CONNECT, in bytes.
const MAX_PACKET: usize = 256 * 1024;
/// In seconds.
const KEEP_ALIVE: u16 = 60;

/// How a session begins.
#[derive(Clone, Copy, Default)]
pub(super) struct SessionStart<'a> {
    pub(super) clean_start: bool,
    /// Seconds.
    pub(super) expiry: u32,
    /// Topic, payload, and delay in seconds of a retained last will.
    pub(super) will: Option<(&'a str, &'a [u8], u32)>,
}

/// A packet from the broker.
pub(super) enum Received {
    ConnAck {
        answer: ConnAckSeen,
        session_present: bool,
    },
    Publish(codec::Publish),
    /// The third of the four packets of a delivery with QoS 2, with its identifier.
    PubRel(u16),
    /// As a camera reads it.
    Other(Packet),
}

impl Received {
    /// Takes the first packet off `inbox`; `None` while it is incomplete.
    ///
    /// # Errors
    /// Why it is not a packet of MQTT 5.
    pub(super) fn take(inbox: &mut BytesMut) -> Result<Option<Received>, String> {
        let Some(frame) = Frame::take(inbox, MAX_PACKET).map_err(|why| why.to_string())? else {
            return Ok(None);
        };
        let read = match (frame.kind(), frame.body()) {
            (2, _) => connack(frame),
            (3, _) => publish(frame),
            (6, [high, low, ..]) => Ok(Received::PubRel(u16::from_be_bytes([*high, *low]))),
            _ => frame.read().map(Received::Other),
        };
        read.map(Some).map_err(|why| why.to_string())
    }
}

fn connack(frame: Frame) -> Result<Received, Malformed> {
    let [flags, code, rest @ ..] = frame.body() else { return Err(Malformed::Packet) };
    let (session_present, code) = (flags & 1 == 1, *code);
    if rest.is_empty() {
        let code = "the broker speaks MQTT 3.1.1 alone".to_owned();
        let answer = ConnAckSeen { code, ..ConnAckSeen::default() };
        return Ok(Received::ConnAck { answer, session_present: false });
    }
    let properties = match codec::Packet::read(&mut frame.into_bytes(), None) {
        Ok(codec::Packet::ConnAck(answer)) => answer.properties,
        // A reason code that the codec does not know: it is shown all the same.
        Ok(_) | Err(_) => None,
    };
    let answer = ConnAckSeen {
        success: code == 0,
        code: format!("reason code 0x{code:02x}"),
        max_packet: properties.as_ref().and_then(|it| it.max_packet_size),
        max_qos: properties.as_ref().and_then(|it| it.max_qos),
        retain: properties.as_ref().and_then(|it| it.retain_available),
        session_expiry: properties.as_ref().and_then(|it| it.session_expiry_interval),
    };
    Ok(Received::ConnAck { answer, session_present })
}

fn publish(frame: Frame) -> Result<Received, Malformed> {
    let codec::Packet::Publish(publish) = codec::Packet::read(&mut frame.into_bytes(), None)? else {
        return Err(Malformed::Packet);
    };
    Ok(Received::Publish(publish))
}

/// Writes CONNECT.
pub(super) fn connect(out: &mut BytesMut, party: &Party, start: SessionStart<'_>) {
    let parameters = Connect {
        client: &party.client,
        clean_start: start.clean_start,
        keep_alive: KEEP_ALIVE,
        session_expiry: start.expiry,
        receive_maximum: 100,
        max_packet: u32::try_from(MAX_PACKET).unwrap_or(u32::MAX),
        username: party.login.as_ref().map(|(name, _)| name.as_str()),
        password: party.login.as_ref().map(|(_, password)| password.as_str()),
        will: start.will.map(|(topic, payload, delay)| Will { topic, payload, delay, retain: true }),
    };
    packet::connect(out, &parameters);
}

/// Writes SUBSCRIBE with QoS 2, for messages from now on, with RETAIN as it was published.
pub(super) fn subscribe_as_published(out: &mut BytesMut, identifier: u16, filter: &str) {
    let mut filter = codec::Filter::new(filter, QoS::ExactlyOnce);
    filter.preserve_retain = true;
    filter.retain_forward_rule = codec::RetainForwardRule::Never;
    let subscribe = codec::Subscribe { pkid: identifier, filters: vec![filter], properties: None };
    write(out, &codec::Packet::Subscribe(subscribe));
}

/// Writes PUBREC.
pub(super) fn pubrec(out: &mut BytesMut, identifier: u16) {
    write(out, &codec::Packet::PubRec(codec::PubRec::new(identifier, None)));
}

/// Writes PUBCOMP.
pub(super) fn pubcomp(out: &mut BytesMut, identifier: u16) {
    write(out, &codec::Packet::PubComp(codec::PubComp::new(identifier, None)));
}

/// The codec refuses only packets that are too large or have no identifier.
fn write(out: &mut BytesMut, packet: &codec::Packet) {
    if let Err(why) = packet.write(out, None) {
        tracing::error!("a packet could not be written: {why}");
    }
}
