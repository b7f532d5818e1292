//! Grants over the session: who subscribes, what a request contains, what happens to an answer.

use crate::support::broker::wait;
use crate::support::scripted_broker::{ScriptedBroker, Talk};
use crate::support::signer::{GRANT, Signer};
use bytes::Bytes;
use kasacam::domain::grant::{GrantAnswer, GrantRequest, Want};
use kasacam::domain::input::{Input, Rejection};
use kasacam::mqtt::{self, Keys, OnGrants, Session};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Packet, PubAckReason, Publish, PublishProperties, SubAck, SubscribeReasonCode,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

const DEVICE: &str = "cam-0001";
const REQUEST: &str = "kasacam/v1/cam-0001/grant/request";
const RESPONSE: &str = "kasacam/v1/cam-0001/grant/response";

struct Camera {
    session: Session,
    inputs: mpsc::Receiver<Input>,
    answers: Arc<Mutex<Vec<GrantAnswer>>>,
}

impl Camera {
    fn start(broker: &ScriptedBroker, wants_grants: bool) -> Camera {
        let (sender, inputs) = mpsc::channel(64);
        let answers: Arc<Mutex<Vec<GrantAnswer>>> = Arc::default();
        let taken = Arc::clone(&answers);
        let on_grants: OnGrants = Arc::new(move |answer| taken.lock().unwrap().push(answer));
        let keys = Keys::for_all(&[Signer::ours().key()]);
        let on_grants = wants_grants.then_some(on_grants);
        let session = mqtt::open_with(DEVICE, &broker.client(DEVICE), &keys, sender, 7, on_grants).unwrap();
        Camera { session, inputs, answers }
    }

    async fn hears(&mut self, wanted: impl Fn(&Input) -> bool) -> Input {
        loop {
            let input = tokio::time::timeout(wait(), self.inputs.recv()).await.expect("an input").unwrap();
            if wanted(&input) {
                return input;
            }
        }
    }
}

fn request(id: &str) -> GrantRequest {
    let want = Want {
        key: "v1/cam-0001/a.mp4".into(),
        size: 1,
        sha256: "00".repeat(32),
        content_type: "video/mp4".into(),
        metadata: BTreeMap::new(),
    };
    GrantRequest { id: id.into(), want: vec![want] }
}

fn answer(signer: &Signer, device: &str, id: &str) -> String {
    let claims = json!({"device_id": device, "version": 1, "issued_at": "2026-11-26T12:00:00Z", "id": id,
        "grants": [], "refused": [{"key": "v1/cam-0001/a.mp4", "reason": "no"}]});
    signer.sign(GRANT, &claims)
}

/// The topics of the next SUBSCRIBE, each answered with its code.
async fn subscribes(talk: &mut Talk, code: impl Fn(&str) -> SubscribeReasonCode) -> Vec<String> {
    let Some(Packet::Subscribe(subscribe)) = talk.reads().await else { panic!("no SUBSCRIBE") };
    let topics: Vec<String> = subscribe.filters.iter().map(|filter| filter.path.clone()).collect();
    let return_codes = topics.iter().map(|topic| code(topic)).collect();
    talk.says(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None })).await;
    topics
}

async fn says(talk: &mut Talk, packet: u16, payload: String, correlation: Option<&str>) {
    let properties = PublishProperties {
        correlation_data: correlation.map(|data| Bytes::copy_from_slice(data.as_bytes())),
        ..PublishProperties::default()
    };
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        pkid: packet,
        retain: false,
        topic: Bytes::from_static(RESPONSE.as_bytes()),
        payload: payload.into(),
        properties: Some(properties),
    };
    talk.says(Packet::Publish(publish)).await;
}

async fn hears_puback(talk: &mut Talk, packet: u16) {
    loop {
        match talk.reads().await.expect("a PUBACK") {
            Packet::PubAck(ack) if ack.pkid == packet => return,
            Packet::Publish(publish) => talk.acknowledges(&publish, PubAckReason::Success).await,
            _ => {}
        }
    }
}

#[tokio::test]
async fn only_a_camera_that_wants_grants_subscribes_to_them() {
    for wants in [false, true] {
        let broker = ScriptedBroker::start().await;
        let _camera = Camera::start(&broker, wants);
        let mut talk = broker.accept().await;
        talk.hears_connect().await;
        talk.accepts(None).await;
        let topics = subscribes(&mut talk, |_| SubscribeReasonCode::Success(QoS::AtLeastOnce)).await;
        assert_eq!((topics.len(), topics.contains(&RESPONSE.to_owned())), (if wants { 3 } else { 2 }, wants));
    }
}

#[tokio::test]
async fn a_broker_that_refuses_the_grants_still_brings_the_owners_choice() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::start(&broker, true);
    let mut talk = broker.accept().await;
    talk.hears_connect().await;
    talk.accepts(None).await;
    let code = |topic: &str| match topic {
        RESPONSE => SubscribeReasonCode::NotAuthorized,
        _ => SubscribeReasonCode::Success(QoS::AtLeastOnce),
    };
    subscribes(&mut talk, code).await;
    camera.hears(|input| matches!(input, Input::Connected)).await;
    let choice = Signer::ours().privacy(DEVICE, 3, true);
    talk.publishes(9, "kasacam/v1/cam-0001/privacy/desired", &choice).await;
    camera.hears(|input| matches!(input, Input::Privacy { choice, .. } if choice.version == 3)).await;
}

#[tokio::test]
async fn a_request_says_where_its_answer_goes_and_only_the_latest_waits() {
    let broker = ScriptedBroker::start().await;
    let camera = Camera::start(&broker, true);
    let requester = camera.session.requester();
    // Before there is a session.
    requester.ask(&request("first"));
    requester.ask(&request("second"));
    let mut talk = broker.goes_live(None).await;
    let publish = loop {
        let publish = talk.hears_publish().await.unwrap();
        talk.acknowledges(&publish, PubAckReason::Success).await;
        if publish.topic == REQUEST.as_bytes() {
            break publish;
        }
    };
    let said: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
    assert_eq!((said["id"].as_str(), publish.retain, publish.qos), (Some("second"), false, QoS::AtLeastOnce));
    let properties = publish.properties.unwrap();
    assert_eq!(properties.response_topic.as_deref(), Some(RESPONSE));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"second"[..]));
}

#[tokio::test]
async fn an_answer_is_verified_handed_on_and_acknowledged() {
    let broker = ScriptedBroker::start().await;
    let mut camera = Camera::start(&broker, true);
    let mut talk = broker.goes_live(None).await;
    let ours = Signer::ours();
    for (packet, id, correlation) in [(1, "a", Some("a")), (2, "b", None), (3, "c", Some("another"))] {
        says(&mut talk, packet, answer(&ours, DEVICE, id), correlation).await;
        hears_puback(&mut talk, packet).await;
    }
    let ids: Vec<String> = camera.answers.lock().unwrap().iter().map(|answer| answer.id.clone()).collect();
    assert_eq!(ids, ["a", "b"], "the third one answers another request");
    let forger = Signer::new(&ours.kid, 9);
    for (packet, jws, why) in [
        (4, answer(&forger, DEVICE, "d"), Rejection::BadSignature),
        (5, answer(&ours, "cam-0002", "e"), Rejection::WrongDevice),
        (6, String::from("nothing"), Rejection::Malformed),
    ] {
        says(&mut talk, packet, jws, None).await;
        let input = camera.hears(|input| matches!(input, Input::Rejected { .. })).await;
        let Input::Rejected { topic, reason, ack } = input else { unreachable!() };
        assert_eq!((topic.as_str(), reason), (RESPONSE, why));
        camera.session.ack(ack.unwrap());
        hears_puback(&mut talk, packet).await;
    }
    assert_eq!(camera.answers.lock().unwrap().len(), 2);
}
