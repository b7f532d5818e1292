//! Bytes to packets.

use super::{Code, ConnAck, Packet, Publish};
use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

/// Why what the broker sent is no packet for us. Nothing of it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Larger than the `Maximum Packet Size` that the broker was told.
    TooLarge,
    /// Not as MQTT 5 writes a packet of its type.
    Packet,
    /// A type that a broker does not send, or that we did not ask for.
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

/// Takes the first packet off `stream`; `None` while it is not there whole. `max` is the size that the broker was
/// told, in bytes, the fixed header included.
///
/// # Errors
/// What cannot be a packet for us. The connection must end then: where the next packet begins is not known.
pub fn read(stream: &mut BytesMut, max: usize) -> Result<Option<Packet>, Malformed> {
    let Some((header, body)) = frame(stream)? else { return Ok(None) };
    let size = header.saturating_add(body);
    if size > max {
        return Err(Malformed::TooLarge);
    }
    if stream.len() < size {
        return Ok(None);
    }
    let mut packet = stream.split_to(size).freeze();
    let first = packet.first().copied().unwrap_or_default();
    packet.advance(header);
    whole(first, Fields(packet)).map(Some)
}

/// Length of the fixed header, and of what follows it (MQTT 5, 2.1.4). `None` while it is not there whole.
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

fn whole(first: u8, mut fields: Fields) -> Result<Packet, Malformed> {
    let (kind, flags) = (first >> 4, first & 0x0f);
    if kind == 3 {
        return publish(flags, fields).map(Packet::Publish);
    }
    if !matches!(kind, 2 | 4 | 9 | 13 | 14) {
        return Err(Malformed::Unexpected(kind));
    }
    if flags != 0 {
        return Err(Malformed::Packet);
    }
    match kind {
        2 => connack(fields).map(Packet::ConnAck),
        4 => {
            let packet = fields.identifier()?;
            // 3.4.2.1: without code and properties it means success.
            let code = if fields.0.is_empty() { Code::SUCCESS } else { Code(fields.byte()?) };
            fields.passes_properties_over()?;
            Ok(Packet::PubAck { packet, code })
        }
        9 => {
            let packet = fields.identifier()?;
            fields.properties(|_, _| ())?;
            Ok(Packet::SubAck { packet, codes: fields.0.iter().copied().map(Code).collect() })
        }
        13 => Ok(Packet::PingResp),
        _ => {
            let code = if fields.0.is_empty() { Code::SUCCESS } else { Code(fields.byte()?) };
            fields.passes_properties_over()?;
            Ok(Packet::Disconnect(code))
        }
    }
}

fn connack(mut fields: Fields) -> Result<ConnAck, Malformed> {
    let flags = fields.byte()?;
    let mut answer = ConnAck {
        code: Code(fields.byte()?),
        session_present: flags & 1 == 1,
        is_of_mqtt_3: fields.0.is_empty(),
        keep_alive: None,
        max_packet: None,
        retains_nothing: false,
    };
    if answer.is_of_mqtt_3 {
        return Ok(answer);
    }
    fields.properties(|property, value| match property {
        19 => answer.keep_alive = u16::try_from(value).ok(),
        37 => answer.retains_nothing = value == 0,
        39 => answer.max_packet = Some(value),
        _ => {}
    })?;
    Ok(answer)
}

fn publish(flags: u8, mut fields: Fields) -> Result<Publish, Malformed> {
    let qos = (flags >> 1) & 3;
    if qos == 3 {
        return Err(Malformed::Packet);
    }
    let topic = fields.text()?;
    let packet = if qos == 0 { 0 } else { fields.identifier()? };
    fields.properties(|_, _| ())?;
    Ok(Publish { topic, payload: fields.0, qos, packet, retain: flags & 1 == 1 })
}

/// What is left of a packet.
struct Fields(Bytes);

impl Fields {
    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.0.len() {
            return Err(Malformed::Packet);
        }
        Ok(self.0.split_to(length))
    }

    /// A number of `length` bytes, 4 at most, the highest first.
    fn number(&mut self, length: usize) -> Result<u32, Malformed> {
        let bytes = self.take(length)?;
        Ok(bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.number(1)?.try_into().map_err(|_| Malformed::Packet)
    }

    /// A packet identifier: never 0 (2.2.1).
    fn identifier(&mut self) -> Result<u16, Malformed> {
        let identifier = self.number(2)?.try_into().map_err(|_| Malformed::Packet)?;
        if identifier == 0 { Err(Malformed::Packet) } else { Ok(identifier) }
    }

    /// Text or binary data: its length in two bytes, then itself.
    fn text(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.number(2)?).map_err(|_| Malformed::Packet)?;
        self.take(length)
    }

    fn variable(&mut self) -> Result<usize, Malformed> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Packet)
    }

    /// Where a packet may end before its properties.
    fn passes_properties_over(&mut self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { self.properties(|_, _| ()) }
    }

    /// Calls `take` with the identifier and the value of each property that is a number of fixed length (2.2.2.2).
    fn properties(&mut self, mut take: impl FnMut(u8, u32)) -> Result<(), Malformed> {
        let length = self.variable()?;
        let mut properties = Fields(self.take(length)?);
        while !properties.0.is_empty() {
            let identifier = properties.byte()?;
            match identifier {
                1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => take(identifier, properties.number(1)?),
                19 | 33 | 34 | 35 => take(identifier, properties.number(2)?),
                2 | 17 | 24 | 39 => take(identifier, properties.number(4)?),
                11 => {
                    properties.variable()?;
                }
                3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => {
                    properties.text()?;
                }
                38 => {
                    properties.text()?;
                    properties.text()?;
                }
                _ => return Err(Malformed::Packet),
            }
        }
        Ok(())
    }
}
