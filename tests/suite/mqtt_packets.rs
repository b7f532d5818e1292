//! The packets of MQTT 5: byte by byte as in the standard, through the codec in both directions, and what the
//! codec does not read although the standard allows it.

use bytes::{Bytes, BytesMut};
use kasacam::mqtt::packet::{self, Code, Connect, Malformed, Packet, Will};
use proptest::prelude::*;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5 as other;

const MAX: usize = 256 * 1024;

/// A CONNACK without properties.
pub fn no_properties() -> other::ConnAckProperties {
    other::ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

/// Written by the camera, read by the other codec; nothing may be left over.
fn theirs(write: impl FnOnce(&mut BytesMut)) -> other::Packet {
    let mut out = BytesMut::new();
    write(&mut out);
    let read = other::Packet::read(&mut out, None).unwrap();
    assert!(out.is_empty(), "{} bytes are left", out.len());
    read
}

/// Written by the other codec, read by the camera: byte by byte, so that every split is tested.
fn ours(packet: &other::Packet) -> Packet {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, None).unwrap();
    read_slowly(&bytes).unwrap()
}

fn read_slowly(bytes: &[u8]) -> Result<Packet, Malformed> {
    let mut stream = BytesMut::new();
    for (at, byte) in bytes.iter().enumerate() {
        stream.extend_from_slice(&[*byte]);
        match packet::read(&mut stream, MAX)? {
            Some(packet) => {
                assert_eq!((at + 1, stream.len()), (bytes.len(), 0), "a packet ends where its bytes end");
                return Ok(packet);
            }
            None => assert_eq!(stream.len(), at + 1, "what is not whole stays"),
        }
    }
    panic!("no packet");
}

#[test]
fn connect_says_what_it_is_to_say() {
    let told = theirs(|out| {
        packet::connect(
            out,
            &Connect {
                client: "cam-0001",
                clean_start: false,
                keep_alive: 30,
                session_expiry: 86_400,
                receive_maximum: 16,
                max_packet: 262_144,
                username: Some("camera"),
                password: Some("hush"),
                will: Some(Will {
                    topic: "kasacam/v1/cam-0001/status",
                    payload: b"{\"online\":false}",
                    delay: 30,
                    retain: true,
                }),
            },
        );
    });
    let other::Packet::Connect(connect, Some(will), Some(login)) = told else { panic!("{told:?}") };
    assert_eq!(
        (connect.client_id.as_str(), connect.keep_alive, connect.clean_start),
        ("cam-0001", 30, false)
    );
    assert_eq!((login.username.as_str(), login.password.as_str()), ("camera", "hush"));
    let properties = connect.properties.unwrap();
    assert_eq!(properties.session_expiry_interval, Some(86_400));
    assert_eq!(properties.receive_maximum, Some(16));
    assert_eq!(properties.max_packet_size, Some(262_144));
    assert_eq!(
        (&*will.topic, &*will.message),
        (&b"kasacam/v1/cam-0001/status"[..], &b"{\"online\":false}"[..])
    );
    assert_eq!((will.qos, will.retain), (QoS::AtLeastOnce, true));
    assert_eq!(will.properties.unwrap().delay_interval, Some(30));
}

#[test]
fn subscribe_ping_puback_and_disconnect_say_what_they_are_to_say() {
    let told = theirs(|out| packet::subscribe(out, 7, &["a/b", "c"]));
    let other::Packet::Subscribe(subscribe) = told else { panic!("{told:?}") };
    let filters: Vec<_> = subscribe.filters.iter().map(|filter| (filter.path.as_str(), filter.qos)).collect();
    assert_eq!((subscribe.pkid, filters), (7, vec![("a/b", QoS::AtLeastOnce), ("c", QoS::AtLeastOnce)]));
    assert!(subscribe.filters.iter().all(|filter| !filter.nolocal && !filter.preserve_retain));

    assert_eq!(theirs(packet::ping), other::Packet::PingReq(other::PingReq));
    let told = theirs(|out| packet::puback(out, 65_535));
    assert!(
        matches!(&told, other::Packet::PubAck(ack) if ack.pkid == 65_535 && ack.reason == other::PubAckReason::Success)
    );
    let mut out = BytesMut::new();
    packet::disconnect(&mut out);
    // The other codec does not read a DISCONNECT without a reason (MQTT 5, 3.14.2.1).
    assert_eq!(out, &[0xe0, 0][..]);
}

/// Written by hand from MQTT 5, sections 3.1, 3.3, 3.4, 3.8, 3.12 and 3.14.
#[test]
fn what_we_write_is_what_the_standard_has() {
    let written = |write: &dyn Fn(&mut BytesMut)| {
        // After another packet, as the codec finds it.
        let mut out = BytesMut::from(&[0xc0, 0][..]);
        write(&mut out);
        out.split_off(2)
    };
    let will = Some(Will { topic: "w", payload: b"x", delay: 30, retain: true });
    let connect = Connect {
        client: "c",
        clean_start: false,
        keep_alive: 30,
        session_expiry: 1,
        receive_maximum: 16,
        max_packet: 4096,
        username: None,
        password: None,
        will,
    };
    assert_eq!(
        written(&|out| packet::connect(out, &connect)),
        &[
            0x10,
            39,
            0,
            4,
            b'M',
            b'Q',
            b'T',
            b'T',
            5,
            0b0010_1100,
            0,
            30, // to the keep-alive
            13,
            17,
            0,
            0,
            0,
            1,
            33,
            0,
            16,
            39,
            0,
            0,
            16,
            0, // properties
            0,
            1,
            b'c',
            5,
            24,
            0,
            0,
            0,
            30,
            0,
            1,
            b'w',
            0,
            1,
            b'x', // client, will
        ][..]
    );
    assert_eq!(
        written(&|out| packet::subscribe(out, 7, &["a/b", "c"])),
        &[0x82, 13, 0, 7, 0, 0, 3, b'a', b'/', b'b', 1, 0, 1, b'c', 1][..]
    );
    assert_eq!(
        written(&|out| packet::unsubscribe(out, 7, &["a/b", "c"])),
        &[0xa2, 11, 0, 7, 0, 0, 3, b'a', b'/', b'b', 0, 1, b'c'][..]
    );
    assert_eq!(
        written(&|out| packet::publish(out, 258, "t", true, b"hi")),
        &[0x33, 8, 0, 1, b't', 1, 2, 0, b'h', b'i'][..]
    );
    assert_eq!(written(&|out| packet::puback(out, 258)), &[0x40, 2, 1, 2][..]);
    assert_eq!(written(&packet::ping), &[0xc0, 0][..]);
    assert_eq!(written(&packet::disconnect), &[0xe0, 0][..]);
}

#[test]
fn connack_is_read_with_what_concerns_us() {
    let mut properties = no_properties();
    properties.server_keep_alive = Some(600);
    properties.max_packet_size = Some(131_072);
    properties.retain_available = Some(0);
    properties.assigned_client_identifier = Some(String::from("x"));
    properties.user_properties = vec![(String::from("a"), String::from("b"))];
    let code = other::ConnectReturnCode::Success;
    let read = ours(&other::Packet::ConnAck(other::ConnAck {
        session_present: true,
        code,
        properties: Some(properties),
    }));
    let Packet::ConnAck(answer) = read else { panic!("{read:?}") };
    assert_eq!((answer.code, answer.session_present, answer.is_of_mqtt_3), (Code::SUCCESS, true, false));
    assert_eq!(
        (answer.keep_alive, answer.max_packet, answer.retains_nothing),
        (Some(600), Some(131_072), true)
    );
}

#[test]
fn an_answer_of_mqtt_3_is_told_apart() {
    let Packet::ConnAck(answer) = read_slowly(&[0x20, 2, 0, 1]).unwrap() else { panic!() };
    assert!(answer.is_of_mqtt_3);
    assert_eq!(answer.code, Code(1));
}

#[test]
fn a_packet_may_end_before_its_reason_and_before_its_properties() {
    for (bytes, code) in [
        (&[0xe0, 0][..], 0),
        (&[0xe0, 1, 0x95], 0x95),
        (&[0xe0, 2, 0x8e, 0], 0x8e),
        (&[0xe0, 5, 0x95, 3, 31, 0, 0], 0x95),
        (&[0xe0, 1, 0xee], 0xee),
    ] {
        assert_eq!(read_slowly(bytes), Ok(Packet::Disconnect(Code(code))), "{bytes:?}");
    }
    for (bytes, code) in
        [(&[0x40, 2, 0, 9][..], 0), (&[0x40, 3, 0, 9, 0x97], 0x97), (&[0x40, 4, 0, 9, 0x10, 0], 0x10)]
    {
        assert_eq!(read_slowly(bytes), Ok(Packet::PubAck { packet: 9, code: Code(code) }), "{bytes:?}");
    }
}

#[test]
fn an_unsuback_is_read_whatever_it_says() {
    for bytes in [&[0xb0, 3, 0, 7, 0][..], &[0xb0, 5, 0, 7, 0, 0, 0x11], &[0xb0, 2, 0, 7]] {
        assert_eq!(read_slowly(bytes), Ok(Packet::UnsubAck), "{bytes:?}");
    }
}

#[test]
fn what_is_no_packet_for_us_ends_the_connection() {
    for (bytes, wrong) in [
        (&[0xf0, 0][..], Malformed::Unexpected(15)),
        (&[0x10, 0], Malformed::Unexpected(1)),
        (&[0x62, 2, 0, 1], Malformed::Unexpected(6)),
        (&[0xd1, 0], Malformed::Packet),
        (&[0x20, 1, 0], Malformed::Packet),
        // QoS 3; packet identifier 0; a topic longer than the packet; properties longer than the packet.
        (&[0x36, 5, 0, 1, b'a', 0, 1], Malformed::Packet),
        (&[0x32, 6, 0, 1, b'a', 0, 0, 0], Malformed::Packet),
        (&[0x30, 3, 0, 9, b'a'], Malformed::Packet),
        (&[0x30, 4, 0, 1, b'a', 9], Malformed::Packet),
        // A property that MQTT 5 does not know; a length of five bytes.
        (&[0xe0, 4, 0, 2, 99, 0], Malformed::Packet),
        (&[0x30, 0xff, 0xff, 0xff, 0xff, 1], Malformed::Packet),
        // Detected before it has arrived: 256 KiB and 1.
        (&[0x30, 0xfd, 0xff, 0x0f], Malformed::TooLarge),
    ] {
        let mut stream = BytesMut::from(bytes);
        assert_eq!(packet::read(&mut stream, MAX), Err(wrong), "{bytes:?}");
    }
    let mut largest = BytesMut::from(&[0x30, 0xfc, 0xff, 0x0f][..]);
    assert_eq!(packet::read(&mut largest, MAX), Ok(None));
}

proptest! {
    #[test]
    fn a_publish_of_ours_is_read_by_the_other_codec(
        identifier in 1..=u16::MAX,
        topic in "[a-z/0-9]{1,200}",
        retain: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..20_000),
    ) {
        let mut size = 0;
        let told = theirs(|out| {
            packet::publish(out, identifier, &topic, retain, &payload);
            size = out.len();
        });
        let other::Packet::Publish(publish) = told else { panic!("{told:?}") };
        prop_assert_eq!((publish.pkid, publish.retain, publish.dup), (identifier, retain, false));
        prop_assert_eq!(publish.qos, QoS::AtLeastOnce);
        prop_assert_eq!(&publish.topic[..], topic.as_bytes());
        prop_assert_eq!(&publish.payload[..], &payload[..]);
        prop_assert_eq!(size, packet::publish_size(&topic, payload.len()));
    }

    #[test]
    fn a_request_of_ours_is_read_by_the_other_codec(
        topic in "[a-z/0-9]{1,200}",
        answered_on in "[a-z/0-9]{1,200}",
        correlation in proptest::collection::vec(any::<u8>(), 1..100),
        payload in proptest::collection::vec(any::<u8>(), 0..20_000),
    ) {
        let mut size = 0;
        let told = theirs(|out| {
            packet::request(out, 7, &topic, &payload, (&answered_on, &correlation));
            size = out.len();
        });
        let other::Packet::Publish(publish) = told else { panic!("{told:?}") };
        let properties = publish.properties.unwrap();
        prop_assert_eq!(&publish.payload[..], &payload[..]);
        prop_assert_eq!(properties.response_topic, Some(answered_on.clone()));
        prop_assert_eq!(properties.correlation_data.as_deref(), Some(&correlation[..]));
        prop_assert_eq!(size, packet::request_size(&topic, payload.len(), &answered_on, correlation.len()));
    }

    #[test]
    fn a_publish_of_the_other_codec_is_read(
        pkid in 1..=u16::MAX,
        topic in "[a-z/0-9]{1,100}",
        qos in 0..=2_u8,
        retain: bool,
        correlation in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)),
        alias in proptest::option::of(1..9_u16),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let properties = other::PublishProperties {
            correlation_data: correlation.map(Bytes::from),
            topic_alias: alias,
            message_expiry_interval: Some(7),
            subscription_identifiers: vec![300],
            user_properties: vec![(String::from("a"), String::from("b"))],
            content_type: Some(String::from("c")),
            ..other::PublishProperties::default()
        };
        let qos_of = rumqttc::v5::mqttbytes::qos(qos).unwrap();
        let told = other::Publish { dup: false, qos: qos_of, pkid, retain, topic: topic.clone().into(), payload: payload.clone().into(), properties: Some(properties) };
        let read = ours(&other::Packet::Publish(told));
        let Packet::Publish(publish) = read else { panic!("{read:?}") };
        prop_assert_eq!((publish.qos, publish.retain), (qos, retain));
        prop_assert_eq!(publish.packet, if qos == 0 { 0 } else { pkid });
        prop_assert_eq!(&publish.topic[..], topic.as_bytes());
        prop_assert_eq!(&publish.payload[..], &payload[..]);
    }

    #[test]
    fn acknowledgements_of_the_other_codec_are_read(
        pkid in 1..=u16::MAX,
        refused: bool,
        granted in proptest::collection::vec(any::<bool>(), 1..5),
    ) {
        let reason = if refused { other::PubAckReason::QuotaExceeded } else { other::PubAckReason::Success };
        let code = if refused { Code::QUOTA } else { Code::SUCCESS };
        let told = other::Packet::PubAck(other::PubAck { pkid, reason, properties: None });
        prop_assert_eq!(ours(&told), Packet::PubAck { packet: pkid, code });
        let codes = granted.iter().map(|granted| Code(if *granted { 1 } else { 0x87 })).collect();
        let return_codes = granted
            .iter()
            .map(|granted| match granted {
                true => other::SubscribeReasonCode::Success(QoS::AtLeastOnce),
                false => other::SubscribeReasonCode::NotAuthorized,
            })
            .collect();
        let told = other::Packet::SubAck(other::SubAck { pkid, return_codes, properties: None });
        prop_assert_eq!(ours(&told), Packet::SubAck { packet: pkid, codes });
    }
}
