//! The packets that a broker sends.

use super::code::Code;
use bytes::Bytes;

/// What a broker may send us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// The answer to CONNECT.
    ConnAck(ConnAck),
    /// A message.
    Publish(Publish),
    /// The answer to a PUBLISH of the camera.
    PubAck {
        /// The packet identifier of that PUBLISH.
        packet: u16,
        /// Whether the broker accepted it.
        code: Code,
    },
    /// The answer to a SUBSCRIBE of the camera.
    SubAck {
        /// The packet identifier of that SUBSCRIBE.
        packet: u16,
        /// One for each topic, in the order of the SUBSCRIBE.
        codes: Vec<Code>,
    },
    /// The answer to an UNSUBSCRIBE of the camera, or a part of it: nothing depends on it.
    UnsubAck,
    /// The answer to a PINGREQ.
    PingResp,
    /// The broker ends the connection.
    Disconnect(Code),
}

/// CONNACK (MQTT 5, 3.2), as far as the camera uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Success, or why the broker refuses the connection.
    pub code: Code,
    /// The broker kept the session while the camera was away.
    pub session_present: bool,
    /// The form of MQTT 3.1.1, without properties: the broker does not speak MQTT 5.
    pub is_of_mqtt_3: bool,
    /// `Server Keep Alive`, in seconds.
    pub keep_alive: Option<u16>,
    /// `Maximum Packet Size` of the broker, in bytes.
    pub max_packet: Option<u32>,
    /// `Retain Available` is 0: a PUBLISH with the RETAIN flag ends the connection.
    pub retains_nothing: bool,
}

/// PUBLISH (MQTT 5, 3.3) from the broker.
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// The topic, as arbitrary bytes.
    pub topic: Bytes,
    /// The content.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The packet identifier; 0 with QoS 0.
    pub packet: u16,
    /// The broker had kept the message for its subscribers.
    pub retain: bool,
    /// `Correlation Data`: what an answer repeats from a request.
    pub correlation: Option<Bytes>,
}

/// Neither topic nor payload: they are text from the broker.
impl std::fmt::Debug for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Publish({} bytes, QoS {}, packet {})", self.payload.len(), self.qos, self.packet)
    }
}
