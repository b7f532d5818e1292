//! Bytes to packets: the codec of rumqttc, behind framing of our own.
//!
//! The framing is our own so that a packet can be refused by its size before it has arrived, and so that the
//! codec only ever sees one whole packet. The codec does not read two forms that MQTT 5 allows or that show a
//! broker without MQTT 5: a DISCONNECT that ends before its properties (3.14.2.2.1), and the CONNACK of MQTT
//! 3.1.1. A PUBACK that ends before its properties is read here with any reason code: the codec knows only a
//! few.

use super::code::Code;
use super::forms::{ConnAck, Packet, Publish};
use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5 as codec;
use std::fmt;

/// Why the broker's bytes are not a valid packet. Nothing of them is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Larger than the `Maximum Packet Size` that the broker was told.
    TooLarge,
    /// Not a valid MQTT 5 packet of its type.
    Packet,
    /// A type that a broker must not send, or that the camera did not ask for.
    Unexpected(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::TooLarge => {
                f.write_str("it sent a packet larger than the Maximum Packet Size that it was told")
            }
            Malformed::Packet => f.write_str("it sent what is not a packet of MQTT 5"),
            Malformed::Unexpected(kind) => {
                write!(f, "it sent a packet of type {kind}, which was not asked for")
            }
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Error> for Malformed {
    fn from(_: Error) -> Malformed {
        Malformed::Packet
    }
}

/// Takes the first packet off `stream`; `None` while it is incomplete. `max` is the size that the broker was
/// told, in bytes, the fixed header included.
///
/// # Errors
/// What cannot be a valid packet. The connection must then end: the start of the next packet is unknown.
pub fn read(stream: &mut BytesMut, max: usize) -> Result<Option<Packet>, Malformed> {
    Frame::take(stream, max)?.map(Frame::read).transpose()
}

/// One whole packet, unread.
#[derive(Clone, Debug)]
pub struct Frame {
    packet: BytesMut,
    /// Length of the fixed header, in bytes.
    header: usize,
}

impl Frame {
    /// Takes the first packet off `stream`, as [`read`] does.
    ///
    /// # Errors
    /// It is larger than `max`, or its length is malformed.
    pub fn take(stream: &mut BytesMut, max: usize) -> Result<Option<Frame>, Malformed> {
        let Some((header, body)) = frame(stream)? else { return Ok(None) };
        let size = header.saturating_add(body);
        if size > max {
            return Err(Malformed::TooLarge);
        }
        if stream.len() < size {
            return Ok(None);
        }
        Ok(Some(Frame { packet: stream.split_to(size), header }))
    }

    /// The type of the packet (MQTT 5, 2.1.2), 0 to 15.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.packet.first().copied().unwrap_or_default() >> 4
    }

    /// What follows the fixed header.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.packet.get(self.header..).unwrap_or_default()
    }

    /// The bytes of the whole packet.
    #[must_use]
    pub fn into_bytes(self) -> BytesMut {
        self.packet
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is not a valid packet, or a broker must not send it.
    pub fn read(self) -> Result<Packet, Malformed> {
        whole(self.packet, self.header)
    }
}

/// Length of the fixed header, and of what follows it (MQTT 5, 2.1.4). `None` while it is incomplete.
fn frame(stream: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let Some(length) = stream.get(1..) else { return Ok(None) };
    let mut value = 0;
    for (at, byte) in length.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((at + 2, value)));
        }
    }
    if length.len() < 4 { Ok(None) } else { Err(Malformed::Packet) }
}

fn whole(mut packet: BytesMut, header: usize) -> Result<Packet, Malformed> {
    let first = packet.first().copied().unwrap_or_default();
    let (kind, flags) = (first >> 4, first & 0x0f);
    if !matches!(kind, 2 | 3 | 4 | 9 | 11 | 13 | 14) {
        return Err(Malformed::Unexpected(kind));
    }
    if kind != 3 && flags != 0 {
        return Err(Malformed::Packet);
    }
    match (kind, packet.get(header..).unwrap_or_default()) {
        (2, [flags, code]) => {
            return Ok(Packet::ConnAck(ConnAck {
                code: Code(*code),
                session_present: flags & 1 == 1,
                is_of_mqtt_3: true,
                keep_alive: None,
                max_packet: None,
                retains_nothing: false,
            }));
        }
        (4, [high, low, code]) => {
            return Ok(Packet::PubAck {
                packet: identifier(u16::from_be_bytes([*high, *low]))?,
                code: Code(*code),
            });
        }
        (11, _) => return Ok(Packet::UnsubAck),
        (14, []) => return Ok(Packet::Disconnect(Code::SUCCESS)),
        (14, [code]) => return Ok(Packet::Disconnect(Code(*code))),
        _ => {}
    }
    let body = packet.get(header..).unwrap_or_default().to_vec();
    let code = |at: usize| Code(body.get(at).copied().unwrap_or_default());
    let size = packet.len();
    match codec::Packet::read(&mut packet, Some(u32::try_from(size).unwrap_or(u32::MAX)))? {
        codec::Packet::ConnAck(answer) => Ok(Packet::ConnAck(connack(code(1), answer))),
        codec::Packet::Publish(told) => Ok(Packet::Publish(Publish {
            topic: told.topic,
            payload: told.payload,
            qos: told.qos as u8,
            packet: told.pkid,
            retain: told.retain,
            correlation: told.properties.and_then(|properties| properties.correlation_data),
        })),
        codec::Packet::PubAck(ack) => Ok(Packet::PubAck { packet: identifier(ack.pkid)?, code: code(2) }),
        codec::Packet::SubAck(ack) => {
            let codes = body.len().saturating_sub(ack.return_codes.len())..body.len();
            Ok(Packet::SubAck { packet: identifier(ack.pkid)?, codes: codes.map(code).collect() })
        }
        codec::Packet::PingResp(_) => Ok(Packet::PingResp),
        codec::Packet::Disconnect(_) => Ok(Packet::Disconnect(code(0))),
        codec::Packet::Auth(_)
        | codec::Packet::Connect(..)
        | codec::Packet::PingReq(_)
        | codec::Packet::Subscribe(_)
        | codec::Packet::PubRec(_)
        | codec::Packet::PubRel(_)
        | codec::Packet::PubComp(_)
        | codec::Packet::Unsubscribe(_)
        | codec::Packet::UnsubAck(_) => Err(Malformed::Unexpected(kind)),
    }
}

fn connack(code: Code, answer: codec::ConnAck) -> ConnAck {
    let properties = answer.properties;
    let of = |take: fn(&codec::ConnAckProperties) -> Option<u32>| properties.as_ref().and_then(take);
    ConnAck {
        code,
        session_present: answer.session_present,
        is_of_mqtt_3: false,
        keep_alive: properties.as_ref().and_then(|it| it.server_keep_alive),
        max_packet: of(|it| it.max_packet_size),
        retains_nothing: of(|it| it.retain_available.map(u32::from)) == Some(0),
    }
}

/// A packet identifier: never 0 (2.2.1).
fn identifier(packet: u16) -> Result<u16, Malformed> {
    if packet == 0 { Err(Malformed::Packet) } else { Ok(packet) }
}
