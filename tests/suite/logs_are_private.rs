//! What is logged at the most verbose level while secrets pass through.

use crate::support::broker::{Broker, eventually, wait};
use crate::support::signer::{PRIVACY, Signer, encode, privacy_claims};
use kasacam::domain::effect::{Event, Report};
use kasacam::domain::input::Input;
use kasacam::mqtt;
use kasacam::system::logging::Ours;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<u8>>>);

impl Journal {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Journal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All runs of 16 letters of a secret: a log that contains none of them does not contain the secret.
fn pieces(secret: &str) -> impl Iterator<Item = &str> {
    (0..secret.len().saturating_sub(15)).filter_map(|at| secret.get(at..at + 16))
}

#[test]
fn a_piece_of_a_secret_is_found() {
    let log = "why: AAAAeyJhbGciOiJFZERTQSBBBB";
    assert!(pieces("xxeyJhbGciOiJFZERTQSxx").any(|piece| log.contains(piece)));
}

#[tokio::test]
async fn no_payload_no_signature_and_no_key_reaches_the_journal() {
    let journal = Journal::default();
    let sink = journal.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || sink.clone())
        .with_filter(Ours(LevelFilter::TRACE));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    // Arrange: one good message, and one for each way to be wrong, each with its own marker.
    let (device, ours) = ("cam-0001", Signer::ours());
    let marked = |mark: &str| {
        let mut claims = privacy_claims(device, 17, true);
        claims["mark"] = mark.into();
        claims
    };
    let header = r#"{"alg":"none","kid":"mark-in-the-kid-of-a-header","typ":"mark-in-the-typ-of-a-header"}"#;
    let topic = "kasacam/v1/cam-0001/privacy/desired";
    let messages = [
        ours.sign(PRIVACY, &marked("mark-of-the-good-message")),
        Signer::new("entitlement-2026-1", 9).sign(PRIVACY, &marked("mark-of-the-forged-message")),
        ours.sign(PRIVACY, &privacy_claims("mark-of-another-camera", 17, true)),
        ours.sign_raw(header, marked("mark-of-the-unsigned-message").to_string()),
        String::from("mark-of-the-message-that-is-no-jws"),
        format!("mark-of-the-long-message{}", "x".repeat(20_000)),
    ];
    let mut secrets: Vec<String> = messages.to_vec();
    for mark in ["good-message", "forged-message", "unsigned-message"] {
        secrets.push(format!("mark-of-the-{mark}"));
    }
    secrets.extend(
        ["mark-of-another-camera", "mark-in-the-kid-of-a-header", "mark-in-the-typ-of-a-header"]
            .map(String::from),
    );
    secrets.push(encode(ours.public()));
    secrets.push(String::from("mark-of-an-event-that-is-published"));

    let mut broker = Broker::start();
    let mut cloud = broker.cloud().await;
    let mqtt_config = broker.client(device);
    secrets.extend(std::fs::read_to_string(&mqtt_config.key).unwrap().lines().map(str::to_owned));
    let (sender, mut inputs) = mpsc::channel(64);
    let session = mqtt::open(device, &mqtt_config, &mqtt::Keys::for_all(&[ours.key()]), sender, 7).unwrap();

    // Act: receive them all, one by one; then a refused report, a lost broker, a stop.
    let mut next = async || {
        let input = tokio::time::timeout(wait(), inputs.recv()).await.unwrap().unwrap();
        tracing::trace!(target: "kasacam::test", "to show that the journal is listening");
        input
    };
    let (mut taken, mut refused) = (0, 0);
    eventually("connected", || session.connected().then_some(())).await;
    for message in messages {
        cloud.publish(topic, false, message).await;
        let ack = loop {
            match next().await {
                Input::Privacy { ack, .. } => {
                    taken += 1;
                    break ack;
                }
                Input::Rejected { ack, .. } => {
                    refused += 1;
                    break ack.unwrap();
                }
                _ => {}
            }
        };
        session.ack(ack);
    }
    session.publish(Report::Event(Event::PersistFailed {
        why: String::from("mark-of-an-event-that-is-published"),
    }));
    cloud.sees("kasacam/v1/cam-0001/event", "mark-of-an-event").await;
    session.publish(Report::Event(Event::PersistFailed {
        why: "mark-of-an-event-that-is-published".repeat(1000),
    }));
    broker.stop();
    let why = loop {
        if let Input::Disconnected { why } = next().await {
            break why;
        }
    };
    session.shutdown(Duration::from_secs(2)).await;

    // Assert.
    assert_eq!((taken, refused), (1, 5));
    let journal = journal.text();
    assert!(journal.contains("the journal is listening"), "{journal}");
    assert!(journal.contains("a report over 16 KiB was not sent"), "{journal}");
    for secret in &secrets {
        assert!(
            secret.len() >= 16 && !pieces(secret).any(|piece| journal.contains(piece)),
            "{secret} in:\n{journal}"
        );
        assert!(!pieces(secret).any(|piece| why.contains(piece)), "{secret} in: {why}");
    }
}
