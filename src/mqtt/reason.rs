//! Why a connection failed, as text for a reader of the log. Nothing that the broker wrote is repeated except
//! its codes.

use super::packet::{Code, ConnAck};
use crate::net::{self, Names};
use std::io;

/// The names of the configuration keys that may need correction.
pub(super) const NAMES: Names = Names { url: "mqtt.url", ca: "mqtt.ca", cert: Some("mqtt.cert") };

/// The usual behaviour of brokers that do not support MQTT 5.
const NOT_MQTT_5: &str =
    "it does not seem to speak MQTT 5, which the camera needs (RabbitMQ does so from 3.13 on)";

/// The stream failed.
pub(super) fn of_stream(error: &io::Error) -> String {
    net::of_stream(error, NAMES)
}

/// The connection ended before CONNACK.
pub(super) fn of_silence(why: &str) -> String {
    format!("{why} before it answered our CONNECT: {NOT_MQTT_5}, or refuses us without a word")
}

/// CONNACK with an error.
pub(super) fn of_refusal(answer: &ConnAck, has_login: bool) -> String {
    let code = answer.code;
    // MQTT 3.1.1 has codes of its own: 1 is "unacceptable protocol version".
    if answer.is_of_mqtt_3 || code == Code::UNSUPPORTED_VERSION {
        return format!("it refuses the connection: {NOT_MQTT_5}");
    }
    if code == Code::NOT_AUTHORIZED || code == Code::BAD_LOGIN {
        let login = match has_login {
            true => ", and at mqtt.username and mqtt.password",
            false => "; some brokers want mqtt.username beside it",
        };
        return format!(
            "it refuses this device: {code}: look at what it allows the certificate of mqtt.cert{login}"
        );
    }
    format!("it refuses the connection: {code}")
}

/// Whether a DISCONNECT with this code may be about what was sent last. The other codes give their own
/// reason.
pub(super) fn blames_what_was_sent(code: Code) -> bool {
    matches!(code.0, 0x80..=0x83 | 0x87 | 0x90 | 0x95 | 0x97 | 0x99..=0x9b)
}

/// DISCONNECT from the broker.
pub(super) fn of_disconnect(code: Code) -> String {
    if code == Code::TAKEN_OVER {
        return String::from(
            "another client took the session over: it has this device's id and certificate, and one of the two must go",
        );
    }
    format!("it ended the connection: {code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u8, is_of_mqtt_3: bool) -> String {
        let (keep_alive, max_packet) = (None, None);
        let code = Code(code);
        let (session_present, retains_nothing) = (false, false);
        let answer = ConnAck { code, session_present, is_of_mqtt_3, keep_alive, max_packet, retains_nothing };
        of_refusal(&answer, false)
    }

    #[test]
    fn a_session_that_was_taken_over_is_told_in_so_many_words() {
        let why = of_disconnect(Code::TAKEN_OVER);
        assert!(why.contains("another client took the session over"), "{why}");
    }

    #[test]
    fn a_code_is_named() {
        assert_eq!(of_disconnect(Code(0x95)), "it ended the connection: Packet too large (0x95)");
        assert_eq!(of_disconnect(Code(0xee)), "it ended the connection: reason (0xee)");
    }

    #[test]
    fn a_refusal_says_where_to_look() {
        let why = refusal(0x87, false);
        assert!(why.contains("Not authorized") && why.contains("mqtt.cert"), "{why}");
    }

    #[test]
    fn a_broker_of_another_version_is_named_as_such() {
        for why in [refusal(1, true), refusal(0x84, false), of_silence("it closed the connection")] {
            assert!(why.contains("MQTT 5"), "{why}");
        }
    }
}
