//! One connection to the broker, from its start to its end.
//!
//! One task does everything, and waits at one place. `EventLoop::poll` may lose an acknowledgement when
//! it is cancelled, so the future of a poll is kept until it is done, and dropped only together with
//! its event loop. Everything else that is done between two waits does not block: an agent that is
//! slow to take inputs holds up no ping.
//!
//! Sizes: the broker is told that we take packets up to [`MOST_PACKET`], although no command may be
//! over 16 KiB. What lies between is received, rejected, reported and acknowledged; were the limit
//! itself 16 KiB, the broker would drop it without a word to anyone. What is larger still it does drop.

use super::deliveries::{self, Deliveries};
use super::reason;
use super::session::{Link, Shared};
use super::topics::{Message, OFFLINE};
use crate::domain::input::Input;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, LastWill, Packet, PubAck, PubAckReason, Publish, SubAck,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Sleep, sleep};

/// `Maximum Packet Size`: above what the usual brokers of clouds carry (128 KiB).
const MOST_PACKET: u32 = 256 * 1024;
/// For how long the broker keeps our session while we are away.
const SESSION_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);
/// From the first SYN to the CONNACK.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// From a SUBSCRIBE or PUBLISH to its acknowledgement.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(30);
/// From a PINGREQ to any sign of life.
const ANSWER_PING_WITHIN: Duration = Duration::from_secs(15);
/// A connection that lasted so long was a good one.
const STABLE_AFTER: Duration = Duration::from_secs(15);
/// PUBACKs on their way through rumqttc.
const ACKS_AT_ONCE: usize = 16;
/// Requests on their way through rumqttc: PUBACKs, a SUBSCRIBE, a PUBLISH, a DISCONNECT.
const REQUESTS: usize = ACKS_AT_ONCE + 8;
/// Where so many inputs wait for the agent, QoS 0 is dropped, as it may be. QoS 1 is bounded by what is
/// not acknowledged.
const MOST_PENDING: usize = 32;
/// rumqttc's own slots for what is in flight. Its default costs 13 MB.
const SLOTS: u16 = 16;
/// Fixed header, packet id and properties of a PUBLISH of ours, at most.
const OVERHEAD: usize = 16;

/// How a connection ended.
pub(super) enum End {
    /// To be tried again.
    Lost { why: String, was_stable: bool },
    /// As we were asked to, or because the agent is gone.
    Left,
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    /// No CONNACK yet.
    Connecting,
    /// No SUBACK yet.
    Subscribing,
    Live,
    /// To leave: sending what waits.
    Draining,
    /// Saying that we are offline.
    Farewell,
    /// DISCONNECT is on its way; the broker closes.
    Disconnecting,
}

struct Connection<'a> {
    link: &'a mut Link,
    shared: Arc<Shared>,
    client: AsyncClient,
    phase: Phase,
    deliveries: Deliveries,
    /// PUBACKs that were asked for and have not gone out yet.
    acks_under_way: usize,
    /// The broker's `Maximum Packet Size`.
    most_outgoing: usize,
    /// What must be acknowledged by then: the SUBSCRIBE, or the message in flight.
    acknowledgement: Option<Pin<Box<Sleep>>>,
    /// Until when a ping waits for a sign of life.
    ping: Option<Pin<Box<Sleep>>>,
    /// A refused report is told once a connection.
    has_warned: bool,
}

/// What ends a connection from within.
enum Stop {
    Lost(String),
    Left,
}

/// Polls once. The event loop goes in and comes out, so that the future owns it.
async fn poll(mut events: EventLoop) -> (EventLoop, Result<Event, ConnectionError>) {
    let polled = events.poll().await;
    (events, polled)
}

pub(super) async fn run(link: &mut Link) -> End {
    if link.shared.leaving().is_some() {
        return End::Left;
    }
    let (client, events) = AsyncClient::new(options(link), REQUESTS);
    let watch = link.keep_alive * 2 + Duration::from_secs(15);
    let (shared, inputs) = (Arc::clone(&link.shared), link.inputs.clone());
    link.connections += 1;
    let mut connection = Connection {
        shared: Arc::clone(&shared),
        client,
        phase: Phase::Connecting,
        deliveries: Deliveries::new(link.connections),
        acks_under_way: 0,
        most_outgoing: usize::MAX,
        acknowledgement: None,
        ping: None,
        has_warned: false,
        link,
    };
    let mut polling = Box::pin(poll(events));
    let mut watchdog = Box::pin(sleep(CONNECT_WITHIN + Duration::from_secs(5)));
    let mut stability: Option<Pin<Box<Sleep>>> = None;
    let mut was_stable = false;
    let mut half: Option<Pin<Box<Sleep>>> = None;
    loop {
        let wants_room = !connection.link.pending.is_empty();
        let stop = tokio::select! {
            biased;
            (mut events, polled) = &mut polling => {
                let stop = match polled {
                    Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                        keep_pinging(&mut events, &answer);
                        stability = Some(Box::pin(sleep(STABLE_AFTER)));
                        connection.accepted(&answer)
                    }
                    Ok(event) => connection.happened(event),
                    Err(_) if connection.phase == Phase::Disconnecting => Err(Stop::Left),
                    Err(error) => Err(Stop::Lost(reason::of(&error))),
                };
                if stop.is_ok() {
                    polling = Box::pin(poll(events));
                    watchdog = Box::pin(sleep(watch));
                }
                stop
            }
            () = shared.changed.notified() => Ok(()),
            room = inputs.reserve(), if wants_room => match room {
                Ok(permit) => {
                    if let Some(input) = connection.link.pending.pop_front() {
                        permit.send(input);
                    }
                    Ok(())
                }
                Err(_) => Err(Stop::Left),
            },
            () = &mut watchdog => Err(Stop::Lost(String::from("the connection stands still"))),
            () = elapsed(&mut connection.acknowledgement) => {
                Err(Stop::Lost(String::from("it does not acknowledge what we send")))
            }
            () = elapsed(&mut connection.ping) => Err(Stop::Lost(String::from("it no longer answers pings"))),
            () = elapsed(&mut stability) => {
                (stability, was_stable) = (None, true);
                Ok(())
            }
            () = elapsed(&mut half) => {
                // Half of the time to leave is gone: what is not retained stays behind.
                half = None;
                shared.outbox().drop_transient();
                Ok(())
            }
        };
        let stop = stop.and_then(|()| {
            let leaving = *shared.leaving();
            if let (Some(deadline), true) = (leaving, connection.phase <= Phase::Live) {
                half = Some(Box::pin(sleep(deadline / 2)));
                connection.begin_to_leave()?;
            }
            connection.pump()
        });
        match stop {
            Ok(()) => {}
            Err(Stop::Left) => return End::Left,
            Err(Stop::Lost(mut why)) => {
                if connection.phase >= Phase::Live && !was_stable {
                    // Not every broker says so: mosquitto 2.0.11 just closes.
                    why.push_str("; if that repeats, look for another client with this device's id");
                }
                return End::Lost { why, was_stable };
            }
        }
    }
}

/// Waits for a timer that is set, else for ever.
async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

fn options(link: &Link) -> MqttOptions {
    let mut options = MqttOptions::new(&link.reader.device, &link.host, link.port);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = u32::try_from(SESSION_EXPIRY.as_secs()).ok();
    properties.receive_maximum = Some(deliveries::RECEIVE_MAXIMUM);
    properties.max_packet_size = Some(MOST_PACKET);
    let will = LastWill::new(link.topics.status(), OFFLINE, QoS::AtLeastOnce, true, None);
    let mut network = NetworkOptions::new();
    // A PUBACK or a report must not wait for Nagle's algorithm.
    network.set_tcp_nodelay(true);
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&link.tls))))
        .set_keep_alive(link.keep_alive)
        .set_clean_start(false)
        .set_connect_properties(properties)
        .set_last_will(will)
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(SLOTS)
        .set_connection_timeout(CONNECT_WITHIN.as_secs())
        .set_network_options(network);
    options
}

/// `Server Keep Alive` 0 asks for no pings. rumqttc would send them without a pause; and they are how
/// we find out that a connection is dead.
fn keep_pinging(events: &mut EventLoop, answer: &ConnAck) {
    if answer.properties.as_ref().and_then(|properties| properties.server_keep_alive) == Some(0) {
        events.options.set_keep_alive(Duration::from_secs(30));
    }
}

impl Connection<'_> {
    /// CONNACK.
    fn accepted(&mut self, answer: &ConnAck) -> Result<(), Stop> {
        let most = answer.properties.as_ref().and_then(|properties| properties.max_packet_size);
        self.most_outgoing = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        // Also where the broker kept our session: retained commands come again with a subscription.
        let filters = self.link.topics.subscriptions().map(|topic| Filter::new(topic, QoS::AtLeastOnce));
        self.client.try_subscribe_many(filters).map_err(|_| stuck())?;
        self.phase = Phase::Subscribing;
        self.acknowledgement = Some(Box::pin(sleep(ACKNOWLEDGE_WITHIN)));
        Ok(())
    }

    fn happened(&mut self, event: Event) -> Result<(), Stop> {
        let packet = match event {
            Event::Outgoing(outgoing) => {
                if outgoing == Outgoing::PingReq {
                    self.ping = Some(Box::pin(sleep(ANSWER_PING_WITHIN)));
                } else if let Outgoing::PubAck(_) = outgoing {
                    self.acks_under_way = self.acks_under_way.saturating_sub(1);
                }
                return Ok(());
            }
            Event::Incoming(packet) => packet,
        };
        self.ping = None;
        if let Packet::Publish(publish) = &packet {
            self.received(publish)
        } else if let Packet::PubAck(answer) = &packet {
            self.acknowledged(answer);
            Ok(())
        } else if let Packet::SubAck(answer) = &packet {
            self.subscribed(answer)
        } else {
            Ok(())
        }
    }

    /// A message. Checked and handed on before anything else is done.
    fn received(&mut self, publish: &Publish) -> Result<(), Stop> {
        let packet = match publish.qos {
            QoS::AtMostOnce if self.link.pending.len() >= MOST_PENDING => {
                tracing::debug!("a message of QoS 0 was dropped: the agent has not taken those before it");
                return Ok(());
            }
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(publish.pkid),
            QoS::ExactlyOnce => return Err(lost("it sent QoS 2, which was not asked for")),
        };
        let Some(token) = self.deliveries.take(packet) else {
            return Err(lost("it sends more and more, and waits for no acknowledgement"));
        };
        if let Some(keys) = self.link.shared.takes_new_keys() {
            self.link.reader.keys = keys;
        }
        let (topics, retained) = (&self.link.topics, publish.retain);
        let input = self.link.reader.read(topics, &publish.topic, &publish.payload, retained, token);
        self.hand_on(input)
    }

    fn subscribed(&mut self, answer: &SubAck) -> Result<(), Stop> {
        for (topic, code) in self.link.topics.subscriptions().iter().zip(&answer.return_codes) {
            if !matches!(code, SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce)) {
                return Err(Stop::Lost(format!("it refuses the subscription to {topic} ({code:?})")));
            }
        }
        if self.phase != Phase::Subscribing {
            // Asked for again on a session that is up: what is retained comes by itself.
            return Ok(());
        }
        self.acknowledgement = None;
        self.phase = Phase::Live;
        self.shared.set_connected(true);
        let mut outbox = self.shared.outbox();
        outbox.push(self.link.online.clone());
        let dropped = outbox.take_dropped_events();
        drop(outbox);
        if dropped > 0 {
            tracing::warn!("{dropped} events were dropped while the broker was away");
        }
        self.hand_on(Input::Connected)
    }

    /// PUBACK. What the broker does not take now it would not take again: it leaves the outbox.
    fn acknowledged(&mut self, answer: &PubAck) {
        self.acknowledgement = None;
        let message = self.shared.outbox().settle();
        let taken = matches!(answer.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
        if let (false, Some(message)) = (taken, message) {
            self.warn(&format!("the broker refuses {message:?}: {:?}", answer.reason));
        }
    }

    /// To the agent at once if it has room, else as soon as it has.
    fn hand_on(&mut self, input: Input) -> Result<(), Stop> {
        if !self.link.pending.is_empty() {
            self.link.pending.push_back(input);
            return Ok(());
        }
        match self.link.inputs.try_send(input) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(input)) => {
                self.link.pending.push_back(input);
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(Stop::Left),
        }
    }

    /// A connection that is not live yet is simply dropped: nobody was told that we are online.
    fn begin_to_leave(&mut self) -> Result<(), Stop> {
        if self.phase != Phase::Live {
            return Err(Stop::Left);
        }
        self.phase = Phase::Draining;
        Ok(())
    }

    /// Does what can be done without waiting.
    fn pump(&mut self) -> Result<(), Stop> {
        if self.phase == Phase::Connecting || self.phase == Phase::Disconnecting {
            return Ok(());
        }
        for token in self.shared.acks().drain(..) {
            self.deliveries.done(token);
        }
        while self.acks_under_way < ACKS_AT_ONCE {
            let Some(pkid) = self.deliveries.next_ack() else { break };
            self.acks_under_way += 1;
            let publish = Publish { qos: QoS::AtLeastOnce, pkid, ..Publish::default() };
            self.client.try_ack(&publish).map_err(|_| stuck())?;
        }
        if self.phase == Phase::Subscribing {
            return Ok(());
        }
        if self.phase == Phase::Live && self.shared.takes_ask_again() {
            let filters = self.link.topics.subscriptions().map(|topic| Filter::new(topic, QoS::AtLeastOnce));
            self.client.try_subscribe_many(filters).map_err(|_| stuck())?;
        }
        self.send_next()?;
        if self.phase == Phase::Draining && self.shared.outbox().is_empty() {
            self.shared.outbox().push(self.link.topics.offline());
            self.phase = Phase::Farewell;
            self.send_next()?;
        }
        if self.phase == Phase::Farewell && self.shared.outbox().is_empty() {
            self.client.try_disconnect().map_err(|_| stuck())?;
            self.phase = Phase::Disconnecting;
        }
        Ok(())
    }

    /// Sends the next message, if none is in flight.
    fn send_next(&mut self) -> Result<(), Stop> {
        let message = loop {
            let mut outbox = self.shared.outbox();
            let Some(message) = outbox.send().cloned() else { return Ok(()) };
            if size(&message) <= self.most_outgoing {
                break message;
            }
            // rumqttc would end the connection over it, again and again.
            outbox.settle();
            drop(outbox);
            self.warn(&format!("the broker takes no packet as large as {message:?}"));
        };
        let (retain, topic) = (message.is_retained(), &*message.topic);
        self.client
            .try_publish(topic, QoS::AtLeastOnce, retain, message.payload.clone())
            .map_err(|_| stuck())?;
        self.acknowledgement = Some(Box::pin(sleep(ACKNOWLEDGE_WITHIN)));
        Ok(())
    }

    fn warn(&mut self, what: &str) {
        if !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!("{what}; others on this connection will not be told of");
        }
    }
}

fn size(message: &Message) -> usize {
    message.topic.len() + message.payload.len() + OVERHEAD
}

fn lost(why: &str) -> Stop {
    Stop::Lost(String::from(why))
}

/// Cannot happen as long as `REQUESTS` is what it says; a new connection sets it right.
fn stuck() -> Stop {
    lost("requests to the client pile up")
}
