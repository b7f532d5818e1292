//! The session with a broker that behaves as brokers sometimes do: it refuses a message temporarily or
//! permanently, ends the connection because of one, asks for other pings, retains nothing, speaks another
//! version.

use crate::mqtt_packets::no_properties;
use crate::support::broker::wait;
use crate::support::patience::patient;
use crate::support::scripted_broker::{ScriptedBroker, Talk};
use crate::support::signer::Signer;
use bytes::Bytes;
use kasacam::config::{Mqtt, MqttLogin};
use kasacam::domain::effect::{Event, PrivacyReport, Report, Telemetry};
use kasacam::domain::input::Input;
use kasacam::domain::time::Utc;
use kasacam::mqtt::{self, Session};
use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, Packet, PingResp, PubAckReason, Publish};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const DEVICE: &str = "cam-0001";
const PRIVACY: &str = "kasacam/v1/cam-0001/privacy/desired";
const ENTITLEMENT: &str = "kasacam/v1/cam-0001/entitlement/desired";
const REPORTED: &str = "kasacam/v1/cam-0001/privacy/reported";
const TELEMETRY: &str = "kasacam/v1/cam-0001/telemetry";
const EVENTS: &str = "kasacam/v1/cam-0001/event";
const STATUS: &str = "kasacam/v1/cam-0001/status";

struct Camera {
    session: Session,
    inputs: mpsc::Receiver<Input>,
}

impl Camera {
    fn start(mqtt: &Mqtt) -> Camera {
        let (sender, inputs) = mpsc::channel(64);
        let session =
            mqtt::open(DEVICE, mqtt, &mqtt::Keys::for_all(&[Signer::ours().key()]), sender, 7).unwrap();
        Camera { session, inputs }
    }

    fn of(broker: &ScriptedBroker) -> Camera {
        Camera::start(&broker.client(DEVICE))
    }

    /// Why the connection was lost. Everything else is acknowledged as if it were durable.
    async fn hears_disconnected(&mut self) -> String {
        loop {
            match tokio::time::timeout(wait(), self.inputs.recv()).await.expect("an input").unwrap() {
                Input::Disconnected { why } => return why,
                Input::Privacy { ack, .. } | Input::Entitlement { ack, .. } => self.session.ack(ack),
                _ => {}
            }
        }
    }

    async fn hears_choice(&mut self, version: u64) {
        loop {
            match tokio::time::timeout(wait(), self.inputs.recv()).await.expect("an input").unwrap() {
                Input::Privacy { choice, ack, .. } if choice.version == version => {
                    self.session.publish(report(version));
                    self.session.ack(ack);
                    return;
                }
                _ => {}
            }
        }
    }

    fn telemetry(&self, rejected: u64) {
        self.session.publish(Report::Telemetry(Box::new(Telemetry { rejected, ..Telemetry::default() })));
    }

    fn event(&self, n: usize) {
        self.session.publish(Report::Event(Event::PersistFailed { why: format!("event {n}.") }));
    }
}

fn report(version: u64) -> Report {
    Report::Privacy(PrivacyReport {
        version: Some(version),
        do_not_record: true,
        latch: false,
        capture: "closed".into(),
        applied_at: Utc(0),
    })
}

fn text(payload: &Bytes) -> String {
    String::from_utf8(payload.to_vec()).unwrap()
}

/// Acknowledges messages until one on `topic`, which it leaves in flight.
async fn waits_for(talk: &mut Talk, topic: &str) -> Publish {
    loop {
        let publish = talk.hears_publish().await.unwrap_or_else(|| panic!("nothing came on {topic}"));
        if publish.topic == topic.as_bytes() {
            return publish;
        }
        talk.acknowledges(&publish, PubAckReason::Success).await;
    }
}

#[tokio::test]
async fn a_disconnect_is_told_by_its_reason_however_short_it_is() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    for (bytes, told) in [
        (&[0xe0, 1, 0x95][..], "it ended the connection: Packet too large (0x95)"),
        (&[0xe0, 2, 0x8e, 0], "another client took the session over"),
        (&[0xe0, 0], "it ended the connection: Success (0x00)"),
    ] {
        let mut talk = broker.goes_live(None).await;
        talk.hears_on(STATUS).await;
        talk.says_bytes(bytes).await;
        let why = camera.hears_disconnected().await;
        assert!(why.contains(told), "{why}");
    }
}

#[tokio::test]
async fn a_broker_that_does_not_speak_mqtt_5_is_named_as_such() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    // The CONNACK of MQTT 3.1.1 for an unknown version; that of MQTT 5; and none, as RabbitMQ before 3.13.
    for bytes in [&[0x20, 2, 0, 1][..], &[0x20, 3, 0, 0x84, 0], &[]] {
        let mut talk = broker.accept().await;
        talk.hears_connect().await;
        talk.says_bytes(bytes).await;
        drop(talk);
        let why = camera.hears_disconnected().await;
        assert!(why.contains("it does not seem to speak MQTT 5"), "{why}");
    }
}

#[tokio::test]
async fn pings_come_as_often_as_the_broker_asks() {
    let broker = ScriptedBroker::start().await;
    let _camera = Camera::of(&broker);
    let properties = ConnAckProperties { server_keep_alive: Some(1), ..no_properties() };
    let mut talk = broker.goes_live(Some(properties)).await;
    talk.hears_on(STATUS).await;
    for _ in 0..3 {
        let began = Instant::now();
        assert!(matches!(talk.reads().await, Some(Packet::PingReq(_))));
        talk.says(Packet::PingResp(PingResp)).await;
        assert!(began.elapsed() < patient(Duration::from_millis(1500)), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_broker_that_asks_for_fewer_pings_is_not_left_for_its_silence() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::start(&Mqtt { keep_alive: Duration::from_secs(5), ..broker.client(DEVICE) });
    let properties = ConnAckProperties { server_keep_alive: Some(600), ..no_properties() };
    let mut talk = broker.goes_live(Some(properties)).await;
    talk.hears_on(STATUS).await;
    // A dead connection is still detected as soon as configured.
    let began = Instant::now();
    assert!(matches!(talk.reads().await, Some(Packet::PingReq(_))));
    assert!(began.elapsed() < patient(Duration::from_secs(6)), "{:?}", began.elapsed());
    let why = camera.hears_disconnected().await;
    assert!(why.contains("it no longer answers pings"), "{why}");
}

#[tokio::test]
async fn the_will_waits_for_the_camera_to_come_back() {
    let broker = ScriptedBroker::start().await;
    let _camera = Camera::of(&broker);
    let (connect, will, login) = broker.accept().await.hears_connect().await;
    let will = will.unwrap();
    assert_eq!(will.properties.unwrap().delay_interval, Some(30));
    assert_eq!((&*will.topic, will.retain), (STATUS.as_bytes(), true));
    assert_eq!((connect.keep_alive, connect.clean_start, login), (30, false, None));
}

#[tokio::test]
async fn what_a_broker_holds_for_us_is_heard_before_anything_is_published() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    for n in 0..5 {
        camera.event(n);
    }
    camera.telemetry(1);
    let mut talk = broker.accept().await;
    talk.hears_connect().await;
    talk.accepts(None).await;
    talk.grants().await;
    assert!(matches!(talk.reads().await, Some(Packet::PingReq(_))), "where it has told all that it retains");
    talk.publishes(9, PRIVACY, &Signer::ours().privacy(DEVICE, 3, true)).await;
    talk.says(Packet::PingResp(PingResp)).await;
    assert!(talk.is_quiet_for(Duration::from_millis(300)).await, "a command waits for the agent");
    camera.hears_choice(3).await;
    // The report about it is sent before all that waited.
    let mut order = Vec::new();
    while order.len() < 3 {
        match talk.reads().await.unwrap() {
            Packet::PubAck(ack) => assert_eq!(ack.pkid, 9),
            Packet::Publish(publish) => {
                talk.acknowledges(&publish, PubAckReason::Success).await;
                order.push(String::from_utf8(publish.topic.to_vec()).unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(order, [REPORTED, STATUS, EVENTS]);
}

#[tokio::test]
async fn a_broker_that_does_not_answer_in_between_is_spoken_to_all_the_same() {
    let broker = ScriptedBroker::start().await;
    let _camera = Camera::of(&broker);
    let mut talk = broker.goes_live(None).await;
    assert!(matches!(talk.reads().await, Some(Packet::PingReq(_))));
    let began = Instant::now();
    assert!(matches!(talk.reads().await, Some(Packet::Publish(_))));
    assert!((Duration::from_millis(1500)..patient(Duration::from_secs(4))).contains(&began.elapsed()));
}

#[tokio::test]
async fn what_is_refused_for_now_is_sent_again_on_the_same_connection() {
    let broker = ScriptedBroker::start().await;
    let camera = Camera::of(&broker);
    camera.session.publish(report(5));
    let mut talk = broker.goes_live(None).await;
    let mut refusals = Vec::new();
    for reason in [
        PubAckReason::QuotaExceeded,
        PubAckReason::UnspecifiedError,
        PubAckReason::ImplementationSpecificError,
        PubAckReason::QuotaExceeded,
    ] {
        let publish = waits_for(&mut talk, REPORTED).await;
        assert!(text(&publish.payload).contains("\"version\":5"));
        talk.acknowledges(&publish, reason).await;
        refusals.push(Instant::now());
        // It delays nothing else.
        camera.event(refusals.len());
        assert!(text(&talk.hears_on(EVENTS).await).contains(&format!("event {}.", refusals.len())));
    }
    assert!(text(&talk.hears_on(REPORTED).await).contains("\"version\":5"));
    for pair in refusals.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(490), "not at once: {refusals:?}");
    }
    assert!(camera.session.connected());
}

#[tokio::test]
async fn what_is_refused_for_good_is_set_aside_with_the_third_time_and_told() {
    let broker = ScriptedBroker::start().await;
    let camera = Camera::of(&broker);
    camera.telemetry(1);
    let mut talk = broker.goes_live(None).await;
    for _ in 0..3 {
        let publish = waits_for(&mut talk, TELEMETRY).await;
        talk.acknowledges(&publish, PubAckReason::NotAuthorized).await;
    }
    let told = text(&talk.hears_on(EVENTS).await);
    assert!(told.contains("\"event\":\"message_set_aside\"") && told.contains(TELEMETRY), "{told}");
    assert!(told.contains("Not authorized (0x87)"), "{told}");
    // The next telemetry waits, and nothing else does.
    camera.telemetry(2);
    camera.event(7);
    assert!(text(&talk.hears_on(EVENTS).await).contains("event 7."));
    assert!(talk.is_quiet_for(Duration::from_secs(3)).await);
}

/// The commands come first on every connection, whatever happens to what the camera publishes.
#[tokio::test]
async fn a_message_over_which_the_broker_ends_the_connection_is_set_aside_with_the_second_time() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    camera.telemetry(1);
    for round in 1..=2 {
        let mut talk = broker.goes_live(None).await;
        talk.publishes(9, PRIVACY, &Signer::ours().privacy(DEVICE, round, true)).await;
        camera.hears_choice(round).await;
        if round == 2 {
            // After what is not under suspicion.
            camera.event(4);
        }
        let mut before = Vec::new();
        loop {
            let publish = talk.hears_publish().await.unwrap();
            let topic = text(&publish.topic);
            if topic == TELEMETRY {
                break;
            }
            talk.acknowledges(&publish, PubAckReason::Success).await;
            before.push(topic);
        }
        assert_eq!(before[0], REPORTED, "{before:?}");
        assert_eq!(before.iter().any(|topic| topic == EVENTS), round == 2, "{before:?}");
        drop(talk);
        let why = camera.hears_disconnected().await;
        assert!(why.contains("not acknowledged was kasacam/v1/cam-0001/telemetry ("), "{why}");
    }
    let mut talk = broker.goes_live(None).await;
    let told = text(&talk.hears_on(EVENTS).await);
    assert!(told.contains("\"event\":\"message_set_aside\"") && told.contains(TELEMETRY), "{told}");
    camera.telemetry(2);
    camera.event(8);
    assert!(text(&talk.hears_on(EVENTS).await).contains("event 8."));
    assert!(talk.is_quiet_for(Duration::from_secs(2)).await, "telemetry waits");
}

#[tokio::test]
async fn an_event_that_ends_the_connection_is_dropped_and_counted_and_those_behind_it_go_on() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    for n in 1..=3 {
        camera.event(n);
    }
    for _ in 0..2 {
        let mut talk = broker.goes_live(None).await;
        assert!(text(&waits_for(&mut talk, EVENTS).await.payload).contains("event 1."));
        talk.says_bytes(&[0xe0, 1, 0x95]).await;
        let why = camera.hears_disconnected().await;
        assert!(why.contains("Packet too large (0x95); not acknowledged was"), "{why}");
    }
    let mut talk = broker.goes_live(None).await;
    for n in 2..=3 {
        assert!(text(&talk.hears_on(EVENTS).await).contains(&format!("event {n}.")));
    }
    assert_eq!(camera.session.dropped_events(), 1);
}

#[tokio::test]
async fn a_broker_that_shuts_down_casts_no_suspicion_on_what_was_in_flight() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    camera.telemetry(1);
    for _ in 0..4 {
        let mut talk = broker.goes_live(None).await;
        waits_for(&mut talk, TELEMETRY).await;
        talk.says_bytes(&[0xe0, 1, 0x8b]).await;
        camera.hears_disconnected().await;
    }
    broker.goes_live(None).await.hears_on(TELEMETRY).await;
}

#[tokio::test]
async fn a_message_larger_than_the_broker_takes_is_not_sent() {
    let broker = ScriptedBroker::start().await;
    let camera = Camera::of(&broker);
    let properties = ConnAckProperties { max_packet_size: Some(400), ..no_properties() };
    camera.session.publish(Report::Event(Event::PersistFailed { why: "x".repeat(500) }));
    camera.event(2);
    let mut talk = broker.goes_live(Some(properties)).await;
    assert!(text(&talk.hears_on(EVENTS).await).contains("event 2."));
    assert_eq!(camera.session.dropped_events(), 1);
}

#[tokio::test]
async fn a_broker_that_retains_nothing_gets_nothing_to_retain() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    let properties = ConnAckProperties { retain_available: Some(0), ..no_properties() };
    let mut talk = broker.goes_live(Some(properties)).await;
    assert!(!waits_for(&mut talk, STATUS).await.retain);
    drop(talk);
    camera.hears_disconnected().await;
    let (_, will, _) = broker.accept().await.hears_connect().await;
    assert!(!will.unwrap().retain);
}

/// The next packet except PUBLISH, which is acknowledged.
async fn reads_command(talk: &mut Talk) -> Packet {
    loop {
        match talk.reads().await.unwrap() {
            Packet::Publish(publish) => talk.acknowledges(&publish, PubAckReason::Success).await,
            other => return other,
        }
    }
}

/// Waits for UNSUBSCRIBE and SUBSCRIBE, and answers both as rumqttd does: with an UNSUBACK for each topic.
async fn grants_anew(talk: &mut Talk) {
    match reads_command(talk).await {
        Packet::Unsubscribe(unsubscribe) => {
            assert_eq!(unsubscribe.filters, [PRIVACY, ENTITLEMENT]);
            for _ in unsubscribe.filters {
                talk.says_bytes(&[&[0xb0, 4][..], &unsubscribe.pkid.to_be_bytes(), &[0, 0]].concat()).await;
            }
        }
        other => panic!("{other:?}, not an UNSUBSCRIBE"),
    }
    talk.grants().await;
}

#[tokio::test]
async fn a_broker_that_gives_what_it_retains_to_new_subscriptions_alone_is_subscribed_to_anew() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    let mut talk = broker.accept().await;
    talk.hears_connect().await;
    talk.welcomes_back().await;
    talk.grants().await;
    assert!(matches!(talk.reads().await, Some(Packet::PingReq(_))));
    talk.says(Packet::PingResp(PingResp)).await;
    grants_anew(&mut talk).await;
    talk.publishes(9, PRIVACY, &Signer::ours().privacy(DEVICE, 3, true)).await;
    camera.hears_choice(3).await;
    // Only once: everything has come.
    assert!(matches!(reads_command(&mut talk).await, Packet::PingReq(_)));
    talk.says(Packet::PingResp(PingResp)).await;
    assert!(matches!(reads_command(&mut talk).await, Packet::PubAck(_)));
    talk.hears_on(REPORTED).await;

    // What is asked for again comes again, in the same way.
    camera.session.subscribe_again();
    grants_anew(&mut talk).await;
    talk.publishes(10, PRIVACY, &Signer::ours().privacy(DEVICE, 4, false)).await;
    camera.hears_choice(4).await;
}

#[tokio::test]
async fn a_broker_that_gives_the_choice_again_is_not_asked_twice() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    let mut talk = broker.accept().await;
    talk.hears_connect().await;
    talk.welcomes_back().await;
    talk.grants().await;
    assert!(matches!(talk.reads().await, Some(Packet::PingReq(_))));
    talk.publishes(9, PRIVACY, &Signer::ours().privacy(DEVICE, 3, true)).await;
    talk.says(Packet::PingResp(PingResp)).await;
    camera.hears_choice(3).await;
    assert!(matches!(reads_command(&mut talk).await, Packet::PubAck(_)));
    talk.hears_on(REPORTED).await;
}

#[tokio::test]
async fn whether_a_broker_retains_is_heard_anew_on_each_connection() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::of(&broker);
    let nothing = ConnAckProperties { retain_available: Some(0), ..no_properties() };
    // What the will requested, the properties of the CONNACK, and whether a message should then be retained.
    for (will_retains, properties, retains) in
        [(true, Some(nothing), false), (false, None, true), (true, None, true)]
    {
        let mut talk = broker.accept().await;
        let (_, will, _) = talk.hears_connect().await;
        assert_eq!(will.unwrap().retain, will_retains, "{properties:?}");
        talk.accepts(properties).await;
        talk.grants().await;
        let status = waits_for(&mut talk, STATUS).await;
        assert_eq!(status.retain, retains);
        talk.acknowledges(&status, PubAckReason::Success).await;
        drop(talk);
        camera.hears_disconnected().await;
    }
    // A broker that refuses the will because of its RETAIN flag, and does not say why in the next CONNACK.
    let mut talk = broker.accept().await;
    talk.hears_connect().await;
    talk.says_bytes(&[0x20, 3, 0, 0x9a, 0]).await;
    let why = camera.hears_disconnected().await;
    assert!(why.contains("(0x9a)"), "{why}");
    for (will_retains, retains) in [(false, false), (true, true)] {
        let mut talk = broker.accept().await;
        let (_, will, _) = talk.hears_connect().await;
        assert_eq!(will.unwrap().retain, will_retains);
        talk.accepts(None).await;
        talk.grants().await;
        let status = waits_for(&mut talk, STATUS).await;
        assert_eq!(status.retain, retains);
        talk.acknowledges(&status, PubAckReason::Success).await;
        drop(talk);
        camera.hears_disconnected().await;
    }
}

#[tokio::test]
async fn a_good_session_that_the_broker_ends_is_followed_by_a_wait_over_the_spread() {
    let broker = ScriptedBroker::start().await;
    let spread = Duration::from_secs(600);
    let mut camera = Camera::start(&Mqtt { reconnect_spread: spread, ..broker.client(DEVICE) });
    let mut talk = broker.goes_live(None).await;
    talk.hears_on(STATUS).await;
    tokio::time::sleep(Duration::from_millis(15_200)).await;
    drop(talk);
    let why = camera.hears_disconnected().await;
    let told: u64 = why.rsplit_once("next try in ").unwrap().1.trim_end_matches(" ms").parse().unwrap();
    // With this seed; without the spread it would be at most one second.
    assert!((1001..=600_000).contains(&told), "{why}");
}

/// CONNACK alone does not make a stable session: the broker may dislike what comes after it.
#[tokio::test]
async fn a_session_without_an_acknowledged_message_is_no_good_one() {
    let broker = ScriptedBroker::start().await;
    let spread = Duration::from_secs(600);
    let mut camera = Camera::start(&Mqtt { reconnect_spread: spread, ..broker.client(DEVICE) });
    let mut talk = broker.goes_live(None).await;
    waits_for(&mut talk, STATUS).await;
    tokio::time::sleep(Duration::from_millis(15_500)).await;
    drop(talk);
    let why = camera.hears_disconnected().await;
    let told: u64 = why.rsplit_once("next try in ").unwrap().1.trim_end_matches(" ms").parse().unwrap();
    assert!(told <= 1000, "{why}");
}

#[tokio::test]
async fn a_user_name_goes_with_the_password_as_it_is_now() {
    let broker = ScriptedBroker::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "hushHushThisIsSecret1\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let login = MqttLogin { username: String::from("cam-0001"), password: Some(password.clone()) };
    let mut camera = Camera::start(&Mqtt { login: Some(login), ..broker.client(DEVICE) });
    let mut talk = broker.accept().await;
    let (_, _, login) = talk.hears_connect().await;
    let login = login.unwrap();
    assert_eq!((login.username.as_str(), login.password.as_str()), (DEVICE, "hushHushThisIsSecret1"));
    talk.says_bytes(&[0x20, 3, 0, 0x86, 0]).await;
    let why = camera.hears_disconnected().await;
    assert!(why.contains("Bad User Name or Password (0x86)") && why.contains("mqtt.username"), "{why}");
    assert!(!why.contains("hushHush"), "{why}");

    // Renewed, without a restart.
    std::fs::write(&password, "hushHushThisIsSecret2").unwrap();
    let (_, _, login) = broker.accept().await.hears_connect().await;
    assert_eq!(login.unwrap().password, "hushHushThisIsSecret2");
    camera.hears_disconnected().await;

    std::fs::remove_file(&password).unwrap();
    let why = loop {
        let why = camera.hears_disconnected().await;
        if why.contains("mqtt.password") {
            break why;
        }
    };
    assert!(why.contains("cannot be read"), "{why}");
}

/// As Azure Event Grid requires it: only the name; the certificate proves it.
#[tokio::test]
async fn a_user_name_needs_no_password() {
    let broker = ScriptedBroker::start().await;
    let login = MqttLogin { username: String::from("cam-0001"), password: None };
    let _camera = Camera::start(&Mqtt { login: Some(login), ..broker.client(DEVICE) });
    let (_, _, login) = broker.accept().await.hears_connect().await;
    let login = login.unwrap();
    assert_eq!((login.username.as_str(), login.password.as_str()), (DEVICE, ""));
}

#[tokio::test]
async fn tls_is_asked_for_the_protocol_that_the_broker_wants_and_for_no_other() {
    let broker = ScriptedBroker::start().await;
    for alpn in [None, Some("x-amzn-mqtt-ca"), Some("mqtt")] {
        let _camera = Camera::start(&Mqtt { alpn: alpn.map(str::to_owned), ..broker.client(DEVICE) });
        let talk = broker.accept_asked().await;
        let asked: Vec<String> = alpn.iter().map(|alpn| String::from(*alpn)).collect();
        assert_eq!(talk, asked);
    }
}
