//! The cloud's own MQTT client. It publishes one message at a time until the broker acknowledges it, and receives everything
//! below `kasacam/v1/`, also its own messages: one that comes back has left the broker.

use crate::certificates::Pki;
use crate::events::Events;
use crate::grants::Request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use kasacam::system::clock;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

const FILTER: &str = "kasacam/v1/#";
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// If nothing was received for this time, not even the answer to a ping, the connection is lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(35);
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);
/// For the acknowledgement of a message, including reconnects.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
const MAX_PACKET: u32 = 1 << 20;

struct Outgoing {
    topic: String,
    payload: Bytes,
    retain: bool,
    /// Correlation data of the request, if this is an answer.
    correlation: Option<Bytes>,
    done: oneshot::Sender<Result<(), String>>,
}

/// The client. Its session ends when it is dropped.
pub(crate) struct Cloud {
    outbox: mpsc::Sender<Outgoing>,
    connected: watch::Receiver<bool>,
    session: JoinHandle<()>,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.session.abort();
    }
}

impl Cloud {
    /// Connects to `localhost:port`, again and again.
    ///
    /// # Errors
    /// The certificates cannot be used.
    pub(crate) fn start(
        pki: &Pki,
        port: u16,
        events: Events,
        requests: mpsc::Sender<Request>,
    ) -> Result<Cloud, String> {
        let tls = Arc::new(tls(pki)?);
        let (outbox, waiting) = mpsc::channel(64);
        let (report, connected) = watch::channel(false);
        let session = tokio::spawn(run(tls, port, (events, requests), waiting, report));
        Ok(Cloud { outbox, connected, session })
    }

    /// Waits until it is connected and subscribed.
    ///
    /// # Errors
    /// This takes longer than `within`.
    pub(crate) async fn ready(&self, within: Duration) -> Result<(), String> {
        let mut connected = self.connected.clone();
        match tokio::time::timeout(within, connected.wait_for(|connected| *connected)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(format!("no session with the broker within {within:?}")),
        }
    }

    pub(crate) fn connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Publishes with QoS 1, and returns when the broker has acknowledged it.
    ///
    /// # Errors
    /// The broker refuses it, or does not answer in time; it may still be delivered then.
    pub(crate) async fn publish(&self, topic: &str, payload: Bytes, retain: bool) -> Result<(), String> {
        self.send(topic, payload, retain, None).await
    }

    /// Publishes the answer to a request, with the correlation data of the request.
    ///
    /// # Errors
    /// As [`Cloud::publish`].
    pub(crate) async fn answer(
        &self,
        topic: &str,
        payload: Bytes,
        correlation: Option<Bytes>,
    ) -> Result<(), String> {
        self.send(topic, payload, false, correlation).await
    }

    async fn send(
        &self,
        topic: &str,
        payload: Bytes,
        retain: bool,
        correlation: Option<Bytes>,
    ) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let outgoing = Outgoing { topic: topic.to_owned(), payload, retain, correlation, done };
        let delivered = async {
            self.outbox.send(outgoing).await.map_err(|_| "the session has ended".to_owned())?;
            outcome.await.map_err(|_| "the session has ended".to_owned())?
        };
        match tokio::time::timeout(DELIVERY_TIMEOUT, delivered).await {
            Ok(delivered) => delivered.map_err(|why| format!("{topic}: {why}")),
            Err(_) => {
                Err(format!("{topic}: not acknowledged within {DELIVERY_TIMEOUT:?}: is the broker up?"))
            }
        }
    }
}

/// Uses a new client and event loop for each connection: what the library keeps after a reconnect is not reliable.
async fn run(
    tls: Arc<rustls::ClientConfig>,
    port: u16,
    reports: (Events, mpsc::Sender<Request>),
    mut outbox: mpsc::Receiver<Outgoing>,
    connected: watch::Sender<bool>,
) {
    let mut pending: Option<Outgoing> = None;
    loop {
        let mut options = MqttOptions::new("cloud", "localhost", port);
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::clone(&tls))));
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_start(true);
        options.set_max_packet_size(Some(MAX_PACKET));
        options.set_outgoing_inflight_upper_limit(16);
        // The time of a choice is measured: it must not wait for the acknowledgement of earlier data.
        let mut network = options.network_options();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, event_loop) = AsyncClient::new(options, 16);
        let (heard_tx, mut heard) = mpsc::channel(256);
        let polling = tokio::spawn(poll(event_loop, heard_tx));
        let why = session(&client, &mut heard, &mut outbox, &mut pending, &reports, &connected).await;
        polling.abort();
        if connected.send_replace(false) {
            reports.0.append("broker_lost", json!({"why": why}));
        }
        tokio::time::sleep(RECONNECT_INTERVAL).await;
    }
}

/// Polls in a separate task: a cancelled poll may lose data.
async fn poll(mut event_loop: EventLoop, heard: mpsc::Sender<Result<Packet, String>>) {
    loop {
        let packet = match tokio::time::timeout(SILENCE_TIMEOUT, event_loop.poll()).await {
            Ok(Ok(Event::Incoming(packet))) => Ok(packet),
            Ok(Ok(Event::Outgoing(_))) => continue,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the broker does not answer".to_owned()),
        };
        let ended = packet.is_err();
        if heard.send(packet).await.is_err() || ended {
            return;
        }
    }
}

/// Runs until the connection is lost; returns the reason.
async fn session(
    client: &AsyncClient,
    heard: &mut mpsc::Receiver<Result<Packet, String>>,
    outbox: &mut mpsc::Receiver<Outgoing>,
    pending: &mut Option<Outgoing>,
    (events, requests): &(Events, mpsc::Sender<Request>),
    connected: &watch::Sender<bool>,
) -> String {
    let mut subscribed = false;
    loop {
        tokio::select! {
            packet = heard.recv() => match packet {
                Some(Ok(Packet::ConnAck(_))) => {
                    if client.try_subscribe(FILTER, QoS::AtLeastOnce).is_err() {
                        return "no room for the subscription".into();
                    }
                }
                Some(Ok(Packet::SubAck(_))) => {
                    subscribed = true;
                    connected.send_replace(true);
                    events.append("broker_connected", json!({}));
                    // It was sent before the connection was lost, and may not have arrived.
                    if pending.as_ref().is_some_and(|outgoing| !send(client, outgoing)) {
                        return "no room for a message".into();
                    }
                }
                Some(Ok(Packet::Publish(publish))) => {
                    note(events, &publish);
                    // If there is no room, the camera asks again.
                    let _no_room = request_of(publish).map(|request| requests.try_send(request));
                }
                Some(Ok(Packet::PubAck(ack))) => {
                    if let Some(outgoing) = pending.take() {
                        let taken = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                        let outcome = if taken { Ok(()) } else { Err(format!("refused: {:?}", ack.reason)) };
                        let _nobody_waits = outgoing.done.send(outcome);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(why)) => return why,
                None => return "the connection has ended".into(),
            },
            outgoing = outbox.recv(), if subscribed && pending.is_none() => {
                let Some(outgoing) = outgoing else {
                    return "all senders are gone".into();
                };
                // The caller has given up: do not send it at a time that nobody expects.
                if outgoing.done.is_closed() {
                    continue;
                }
                let sent = send(client, &outgoing);
                *pending = Some(outgoing);
                if !sent {
                    return "no room for a message".into();
                }
            }
        }
    }
}

/// Whether there was room for the message.
fn send(client: &AsyncClient, outgoing: &Outgoing) -> bool {
    let (topic, payload, retain) = (outgoing.topic.clone(), outgoing.payload.clone(), outgoing.retain);
    let properties =
        PublishProperties { correlation_data: outgoing.correlation.clone(), ..PublishProperties::default() };
    client.try_publish_with_properties(topic, QoS::AtLeastOnce, retain, payload, properties).is_ok()
}

/// A request for grants. Its topic says which camera sent it: the broker lets each publish only below its own id.
fn request_of(publish: Publish) -> Option<Request> {
    let topic = std::str::from_utf8(&publish.topic).ok()?;
    let device = topic.strip_prefix("kasacam/v1/")?.strip_suffix("/grant/request")?.to_owned();
    let correlation = publish.properties.and_then(|properties| properties.correlation_data);
    Some(Request { device, payload: publish.payload, correlation })
}

fn note(events: &Events, publish: &Publish) {
    let at = clock::utc();
    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
    let mut details = json!({"topic": topic, "retained": publish.retain, "bytes": publish.payload.len()});
    if let Some(details) = details.as_object_mut() {
        if let Ok(payload) = serde_json::from_slice::<Value>(&publish.payload) {
            details.insert("payload".into(), payload);
        } else if let Some(mut claims) = claims(&publish.payload) {
            // Only the claims: a signed command is a credential, which must not be in a log.
            hide_signatures(&mut claims);
            details.insert("claims".into(), claims);
        }
    }
    events.append_at(at, "message", details);
}

/// Removes the query of presigned URLs, which is a credential.
fn hide_signatures(claims: &mut Value) {
    for grant in claims.get_mut("grants").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(url) = grant.get_mut("url") {
            let shown = url.as_str().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            *url = Value::String(shown);
        }
    }
}

/// The claims of a compact JWS, unverified.
fn claims(payload: &[u8]) -> Option<Value> {
    let mut parts = std::str::from_utf8(payload).ok()?.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn tls(pki: &Pki) -> Result<rustls::ClientConfig, String> {
    let read = |path: &std::path::Path| {
        CertificateDer::from_pem_file(path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(read(&pki.ca)?).map_err(|e| format!("{}: {e}", pki.ca.display()))?;
    let key = PrivateKeyDer::from_pem_file(&pki.cloud_key)
        .map_err(|e| format!("{}: {e}", pki.cloud_key.display()))?;
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| format!("TLS: {e}"))?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![read(&pki.cloud_cert)?], key)
        .map_err(|e| format!("{}: {e}", pki.cloud_cert.display()))
}
