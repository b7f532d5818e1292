//! The packets of MQTT 5 that a camera sends and understands, as bytes: CONNECT, PUBLISH with QoS 1, PUBACK,
//! SUBSCRIBE, UNSUBSCRIBE, PINGREQ and DISCONNECT go out; CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP and
//! DISCONNECT come in.
//!
//! Input is untrusted: it cannot cause a panic, and at most one packet of the announced maximum size is kept.
//! Properties that the camera does not use are skipped; only their lengths are checked.

mod code;
mod forms;
mod read;
mod write;

pub use code::Code;
pub use forms::{ConnAck, Packet, Publish};
pub use read::{Frame, Malformed, read};
pub use write::{
    Connect, Will, connect, disconnect, ping, puback, publish, publish_size, request, request_size,
    subscribe, unsubscribe,
};
