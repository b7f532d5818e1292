//! Why a connection failed, in words for whoever reads the log. Nothing that the broker wrote is
//! repeated but its codes.

use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError, TlsError};
use rustls::{CertificateError, Error as RustlsError};
use std::io;

pub(super) fn of(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Timeout(_) => String::from("it does not answer in time"),
        ConnectionError::Io(error) => of_io(error),
        ConnectionError::Tls(TlsError::Io(error)) => of_io(error),
        ConnectionError::Tls(TlsError::TLS(error)) => of_tls(error),
        ConnectionError::Tls(error) => format!("TLS: {error}"),
        ConnectionError::MqttState(error) => of_state(error),
        ConnectionError::ConnectionRefused(code) => of_refusal(*code),
        ConnectionError::NotConnAck(_) => String::from("its first answer is not a CONNACK"),
        ConnectionError::RequestsDone => String::from("the client has ended"),
    }
}

fn of_io(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) {
        Some(error) => of_tls(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => String::from("it closed the connection"),
        None => error.to_string(),
    }
}

fn of_tls(error: &RustlsError) -> String {
    if let RustlsError::AlertReceived(alert) = error {
        return format!(
            "it refuses us during TLS ({alert:?}): look at mqtt.cert, its issuer and its validity"
        );
    }
    let RustlsError::InvalidCertificate(wrong) = error else { return format!("TLS: {error}") };
    let wrong = if *wrong == CertificateError::UnknownIssuer {
        "is not issued by a root of mqtt.ca"
    } else if let CertificateError::Expired | CertificateError::ExpiredContext { .. } = wrong {
        "has expired, or our clock is wrong"
    } else if let CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } = wrong {
        "is not valid yet, or our clock is wrong"
    } else if let CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } = wrong
    {
        "is for another host than that of mqtt.url"
    } else {
        return format!("its certificate is not accepted: {wrong:?}");
    };
    format!("its certificate {wrong}")
}

fn of_state(error: &StateError) -> String {
    if let StateError::Io(error) | StateError::Deserialization(PacketError::Io(error)) = error {
        return of_io(error);
    }
    if let StateError::Deserialization(PacketError::PayloadSizeLimitExceeded { .. }) = error {
        return String::from("it sent a packet larger than the Maximum Packet Size that it was told");
    }
    if let StateError::ServerDisconnect { reason_code, .. } = error {
        return of_disconnect(*reason_code);
    }
    if let StateError::ConnectionAborted = error {
        return String::from("it closed the connection");
    }
    if let StateError::AwaitPingResp = error {
        return String::from("it no longer answers pings");
    }
    error.to_string()
}

fn of_disconnect(code: DisconnectReasonCode) -> String {
    if code == DisconnectReasonCode::SessionTakenOver {
        return String::from(
            "another client took the session over: it has this device's id and certificate, and one of the two must go",
        );
    }
    format!("it ended the connection: {code:?}")
}

fn of_refusal(code: ConnectReturnCode) -> String {
    if code == ConnectReturnCode::NotAuthorized || code == ConnectReturnCode::BadUserNamePassword {
        return format!(
            "it refuses this device ({code:?}): look at what it allows the certificate of mqtt.cert"
        );
    }
    format!("it refuses the connection: {code:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::v5::mqttbytes::v5::{Packet, Publish};

    fn ended(reason_code: DisconnectReasonCode) -> ConnectionError {
        let reason_string = Some(String::from("words of the broker"));
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string })
    }

    #[test]
    fn a_session_that_was_taken_over_is_told_in_so_many_words() {
        let why = of(&ended(DisconnectReasonCode::SessionTakenOver));
        assert!(why.contains("another client took the session over"), "{why}");
    }

    #[test]
    fn a_code_is_named_and_the_brokers_own_words_are_not() {
        let why = of(&ended(DisconnectReasonCode::QuotaExceeded));
        assert_eq!(why, "it ended the connection: QuotaExceeded");
    }

    #[test]
    fn a_refusal_says_where_to_look() {
        let why = of(&ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized));
        assert!(why.contains("NotAuthorized") && why.contains("mqtt.cert"), "{why}");
    }

    #[test]
    fn a_packet_is_never_quoted() {
        let publish = Publish { payload: "secret".into(), ..Publish::default() };
        let why = of(&ConnectionError::NotConnAck(Box::new(Packet::Publish(publish))));
        assert_eq!(why, "its first answer is not a CONNACK");
    }
}
