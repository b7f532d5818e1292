//! Packets to bytes.

use bytes::{BufMut, BytesMut};

/// What we ask for with CONNECT (MQTT 5, 3.1). `Clean Start` is 0.
#[derive(Clone, Copy)]
pub struct Connect<'a> {
    /// Client identifier.
    pub client: &'a str,
    /// Seconds; 0 for none.
    pub keep_alive: u16,
    /// For how many seconds the broker keeps our session while we are away.
    pub session_expiry: u32,
    /// How many messages we take that are not acknowledged yet, from 1 on.
    pub receive_maximum: u16,
    /// The largest packet that we take, in bytes.
    pub max_packet: u32,
    /// For brokers that want a name beside the certificate.
    pub username: Option<&'a str>,
    /// Its password; a secret.
    pub password: Option<&'a [u8]>,
    /// What the broker says once we are gone.
    pub will: Will<'a>,
}

/// A last will, QoS 1.
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    /// Where it is said.
    pub topic: &'a str,
    /// What is said.
    pub payload: &'a [u8],
    /// Seconds from our going to its being said. Being back before that prevents it.
    pub delay: u32,
    /// Kept by the broker for whoever subscribes.
    pub retain: bool,
}

/// Writes CONNECT.
pub fn connect(out: &mut BytesMut, connect: &Connect<'_>) {
    let mut body = BytesMut::new();
    text(&mut body, b"MQTT");
    body.put_u8(5);
    // Will QoS 1, will flag; will retain.
    let mut flags = if connect.will.retain { 0b0010_1100 } else { 0b0000_1100 };
    for (flag, is_there) in [(0x80, connect.username.is_some()), (0x40, connect.password.is_some())] {
        flags |= if is_there { flag } else { 0 };
    }
    body.put_u8(flags);
    body.put_u16(connect.keep_alive);
    let mut properties = BytesMut::new();
    properties.put_u8(17);
    properties.put_u32(connect.session_expiry);
    properties.put_u8(33);
    properties.put_u16(connect.receive_maximum);
    properties.put_u8(39);
    properties.put_u32(connect.max_packet);
    with_length(&mut body, &properties);
    text(&mut body, connect.client.as_bytes());
    properties.clear();
    if connect.will.delay > 0 {
        properties.put_u8(24);
        properties.put_u32(connect.will.delay);
    }
    with_length(&mut body, &properties);
    text(&mut body, connect.will.topic.as_bytes());
    text(&mut body, connect.will.payload);
    for field in [connect.username.map(str::as_bytes), connect.password].into_iter().flatten() {
        text(&mut body, field);
    }
    packet(out, 0x10, &body);
}

/// Writes SUBSCRIBE: QoS 1, and what is retained is sent however often we subscribe.
pub fn subscribe(out: &mut BytesMut, identifier: u16, topics: &[&str]) {
    let mut body = BytesMut::new();
    body.put_u16(identifier);
    body.put_u8(0);
    for topic in topics {
        text(&mut body, topic.as_bytes());
        body.put_u8(1);
    }
    packet(out, 0x82, &body);
}

/// Writes PUBLISH with QoS 1, sent for the first time.
pub fn publish(out: &mut BytesMut, identifier: u16, topic: &str, retain: bool, payload: &[u8]) {
    out.put_u8(0x32 | u8::from(retain));
    variable(out, publish_body(topic, payload.len()));
    text(out, topic.as_bytes());
    out.put_u16(identifier);
    out.put_u8(0);
    out.put_slice(payload);
}

/// The size of such a PUBLISH in bytes, the fixed header included.
#[must_use]
pub fn publish_size(topic: &str, payload: usize) -> usize {
    let body = publish_body(topic, payload);
    let length = match body {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    };
    1 + length + body
}

/// Topic with its length, packet identifier, no properties, payload.
fn publish_body(topic: &str, payload: usize) -> usize {
    2 + topic.len() + 2 + 1 + payload
}

/// Writes PUBACK, success.
pub fn puback(out: &mut BytesMut, identifier: u16) {
    packet(out, 0x40, &identifier.to_be_bytes());
}

/// Writes PINGREQ.
pub fn ping(out: &mut BytesMut) {
    packet(out, 0xc0, &[]);
}

/// Writes DISCONNECT: the last will is not said.
pub fn disconnect(out: &mut BytesMut) {
    packet(out, 0xe0, &[]);
}

fn packet(out: &mut BytesMut, first: u8, body: &[u8]) {
    out.put_u8(first);
    with_length(out, body);
}

fn with_length(out: &mut BytesMut, body: &[u8]) {
    variable(out, body.len());
    out.put_slice(body);
}

/// At most 65,535 bytes; all that we write is far shorter.
fn text(out: &mut BytesMut, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(text.get(..usize::from(length)).unwrap_or(text));
}

/// `Variable Byte Integer` (MQTT 5, 1.5.5).
fn variable(out: &mut BytesMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        out.put_u8(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}
