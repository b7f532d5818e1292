//! Packets to bytes, by the codec of rumqttc.

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5 as codec;

/// The parameters of CONNECT (MQTT 5, 3.1).
#[derive(Clone, Copy)]
pub struct Connect<'a> {
    /// Client identifier.
    pub client: &'a str,
    /// `Clean Start`: the broker forgets the session that it keeps. A camera never wants this.
    pub clean_start: bool,
    /// Seconds; 0 for none.
    pub keep_alive: u16,
    /// For how many seconds the broker keeps the session while the client is away.
    pub session_expiry: u32,
    /// Maximum number of messages that are not acknowledged yet, at least 1.
    pub receive_maximum: u16,
    /// The largest packet that the client accepts, in bytes.
    pub max_packet: u32,
    /// For brokers that require a name in addition to the certificate.
    pub username: Option<&'a str>,
    /// Its password; a secret.
    pub password: Option<&'a str>,
    /// What the broker publishes when the client is gone.
    pub will: Option<Will<'a>>,
}

/// A last will, QoS 1.
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
    /// Seconds from the loss of the connection until it is published. A reconnect before that prevents it.
    pub delay: u32,
    /// Retained by the broker.
    pub retain: bool,
}

/// Writes CONNECT.
pub fn connect(out: &mut BytesMut, connect: &Connect<'_>) {
    let properties = codec::ConnectProperties {
        session_expiry_interval: Some(connect.session_expiry),
        receive_maximum: Some(connect.receive_maximum),
        max_packet_size: Some(connect.max_packet),
        topic_alias_max: None,
        request_response_info: None,
        request_problem_info: None,
        user_properties: Vec::new(),
        authentication_method: None,
        authentication_data: None,
    };
    let parameters = codec::Connect {
        keep_alive: connect.keep_alive,
        client_id: connect.client.to_owned(),
        clean_start: connect.clean_start,
        properties: Some(properties),
    };
    let will = connect.will.map(|will| codec::LastWill {
        topic: Bytes::copy_from_slice(will.topic.as_bytes()),
        message: Bytes::copy_from_slice(will.payload),
        qos: QoS::AtLeastOnce,
        retain: will.retain,
        properties: Some(codec::LastWillProperties {
            delay_interval: Some(will.delay).filter(|delay| *delay > 0),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        }),
    });
    let login =
        connect.username.map(|username| codec::Login::new(username, connect.password.unwrap_or_default()));
    // The codec looks for the flags at the start of the buffer.
    let mut alone = BytesMut::new();
    write(&mut alone, &codec::Packet::Connect(parameters, will, login));
    out.unsplit(alone);
}

/// Writes SUBSCRIBE: QoS 1, and retained messages are sent with every subscription.
pub fn subscribe(out: &mut BytesMut, identifier: u16, topics: &[&str]) {
    let filters = topics.iter().map(|topic| codec::Filter::new(*topic, QoS::AtLeastOnce)).collect();
    write(out, &codec::Packet::Subscribe(codec::Subscribe { pkid: identifier, filters, properties: None }));
}

/// Writes UNSUBSCRIBE.
pub fn unsubscribe(out: &mut BytesMut, identifier: u16, topics: &[&str]) {
    let filters = topics.iter().map(|topic| String::from(*topic)).collect();
    write(
        out,
        &codec::Packet::Unsubscribe(codec::Unsubscribe { pkid: identifier, filters, properties: None }),
    );
}

/// Writes PUBLISH with QoS 1, as a first delivery.
pub fn publish(out: &mut BytesMut, identifier: u16, topic: &str, retain: bool, payload: &[u8]) {
    write_publish(out, identifier, topic, retain, payload, None);
}

/// Writes PUBLISH with QoS 1 of a request (MQTT 5, 4.10): the topic of the answer, and what it must repeat.
pub fn request(
    out: &mut BytesMut,
    identifier: u16,
    topic: &str,
    payload: &[u8],
    (response_topic, correlation): (&str, &[u8]),
) {
    let properties = codec::PublishProperties {
        response_topic: Some(response_topic.to_owned()),
        correlation_data: Some(Bytes::copy_from_slice(correlation)),
        ..codec::PublishProperties::default()
    };
    write_publish(out, identifier, topic, false, payload, Some(properties));
}

fn write_publish(
    out: &mut BytesMut,
    identifier: u16,
    topic: &str,
    retain: bool,
    payload: &[u8],
    properties: Option<codec::PublishProperties>,
) {
    let message = codec::Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain,
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        pkid: identifier,
        payload: Bytes::copy_from_slice(payload),
        properties,
    };
    write(out, &codec::Packet::Publish(message));
}

/// The size of such a PUBLISH in bytes, the fixed header included.
#[must_use]
pub fn publish_size(topic: &str, payload: usize) -> usize {
    let body = publish_body(topic, payload);
    1 + length(body) + body
}

/// The size of such a request in bytes, the fixed header included.
#[must_use]
pub fn request_size(topic: &str, payload: usize, response_topic: &str, correlation: usize) -> usize {
    let properties = 3 + response_topic.len() + 3 + correlation;
    // Without properties, their length takes one byte, which `publish_body` counts.
    let body = publish_body(topic, payload) - 1 + length(properties) + properties;
    1 + length(body) + body
}

/// Size of a Variable Byte Integer (MQTT 5, 1.5.5), in bytes.
fn length(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// Topic with its length, packet identifier, no properties, payload.
fn publish_body(topic: &str, payload: usize) -> usize {
    2 + topic.len() + 2 + 1 + payload
}

/// Writes PUBACK, success.
pub fn puback(out: &mut BytesMut, identifier: u16) {
    write(out, &codec::Packet::PubAck(codec::PubAck::new(identifier, None)));
}

/// Writes PINGREQ.
pub fn ping(out: &mut BytesMut) {
    write(out, &codec::Packet::PingReq(codec::PingReq));
}

/// Writes DISCONNECT: the last will is not published.
pub fn disconnect(out: &mut BytesMut) {
    let normal = codec::DisconnectReasonCode::NormalDisconnection;
    write(out, &codec::Packet::Disconnect(codec::Disconnect::new(normal)));
}

/// The output is limited by `MAX_PACKET` and has a packet identifier: the codec refuses nothing else.
fn write(out: &mut BytesMut, packet: &codec::Packet) {
    if let Err(why) = packet.write(out, None) {
        tracing::error!("a packet could not be written: {why}");
    }
}
