//! What is sent on one connection, and what follows from what is received. Nothing here waits: output goes
//! into [`Exchange::out`], timeouts into [`Exchange::timers`].
//!
//! One QoS 1 message is in flight at a time. It is sent again on the next connection, without the DUP flag:
//! QoS 1 is "at least once", and the broker keeps no state of a message that it has not acknowledged.
//!
//! What the broker holds for the camera is received first ([`hearing`]). Nothing is published before the
//! agent has finished with it, or [`phase::HEAR_TIMEOUT`] is over: so a broker that ends the connection because of a
//! published message has delivered the owner's choice by then.
//!
//! Sizes: the broker is told that the camera accepts packets up to [`MAX_PACKET`], although no command may
//! exceed 16 KiB. A command between the two is received, rejected, reported and acknowledged; if the limit
//! itself were 16 KiB, the broker would drop it silently. It still drops what is larger.

mod hearing;
mod outgoing;
mod phase;

pub(super) use phase::{By, Stop};

use super::deliveries::{self, Deliveries};
use super::link::{Link, Retains};
use super::login::Login;
use super::packet::{self, Code, ConnAck, Connect, Packet, Publish, Will};
use super::reason;
use super::shared::Shared;
use super::timers::{Due, Timers};
use super::topics::OFFLINE;
use crate::domain::input::{AckToken, Input};
use bytes::BytesMut;
use hearing::Heard;
use phase::{PING_TIMEOUT, Phase, lost};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

/// `Maximum Packet Size`: more than the usual cloud brokers accept (128 KiB).
pub(super) const MAX_PACKET: usize = 256 * 1024;
/// How long the broker keeps the session while the camera is away.
const SESSION_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);
/// From the first byte of CONNECT to the CONNACK.
const CONNACK_TIMEOUT: Duration = Duration::from_secs(20);
/// From a SUBSCRIBE or PUBLISH to its acknowledgement.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Delay of the will after the connection is lost.
const WILL_DELAY: Duration = Duration::from_secs(30);
/// A connection that lasted this long after the first PUBACK was stable.
const STABLE_AFTER: Duration = Duration::from_secs(15);
/// If this many inputs wait for the agent, QoS 0 is dropped, as QoS 0 permits. QoS 1 is limited by what is
/// not acknowledged.
const MAX_PENDING: usize = 32;

pub(super) struct Exchange<'a> {
    link: &'a mut Link,
    shared: Arc<Shared>,
    /// Output that is to be sent.
    pub(super) out: BytesMut,
    pub(super) timers: Timers,
    phase: Phase,
    deliveries: Deliveries,
    /// Interval between two pings.
    ping_interval: Duration,
    /// The broker's `Maximum Packet Size`.
    max_outgoing: usize,
    /// The broker keeps messages that are sent with the RETAIN flag.
    retains: bool,
    /// The last packet identifier used.
    identifier: u16,
    /// The packet identifier of the message in flight.
    in_flight: Option<u16>,
    heard: Heard,
    /// Commands have been received: reports may be sent.
    may_speak: bool,
    was_stable: bool,
    /// A refused report is logged once per connection.
    has_warned: bool,
}

impl<'a> Exchange<'a> {
    /// Starts with CONNECT.
    pub(super) fn new(link: &'a mut Link, login: Option<&Login>, now: Instant) -> Exchange<'a> {
        link.connections += 1;
        let mut exchange = Exchange {
            shared: Arc::clone(&link.shared),
            out: BytesMut::new(),
            timers: Timers::default(),
            phase: Phase::Connecting,
            deliveries: Deliveries::new(link.connections),
            ping_interval: link.keep_alive,
            max_outgoing: usize::MAX,
            retains: true,
            identifier: 0,
            in_flight: None,
            heard: Heard::default(),
            may_speak: false,
            was_stable: false,
            has_warned: false,
            link,
        };
        let link = &*exchange.link;
        packet::connect(
            &mut exchange.out,
            &Connect {
                client: &link.reader.device,
                clean_start: false,
                keep_alive: u16::try_from(link.keep_alive.as_secs()).unwrap_or(u16::MAX),
                session_expiry: u32::try_from(SESSION_EXPIRY.as_secs()).unwrap_or(u32::MAX),
                receive_maximum: deliveries::RECEIVE_MAXIMUM,
                max_packet: u32::try_from(MAX_PACKET).unwrap_or(u32::MAX),
                username: login.map(|login| login.username.as_str()),
                password: login.and_then(|login| login.password.as_deref()),
                will: Some(Will {
                    topic: link.topics.status(),
                    payload: OFFLINE,
                    delay: u32::try_from(WILL_DELAY.as_secs()).unwrap_or(u32::MAX),
                    retain: link.retains == Retains::Yes,
                }),
            },
        );
        exchange.timers.set(Due::Connack, now + CONNACK_TIMEOUT);
        exchange
    }

    /// The connection lasted long enough to count as stable.
    pub(super) fn was_stable(&self) -> bool {
        self.was_stable
    }

    /// Inputs wait for the agent.
    pub(super) fn has_inputs(&self) -> bool {
        !self.link.pending.is_empty()
    }

    /// The next input for the agent.
    pub(super) fn takes_input(&mut self) -> Option<Input> {
        self.link.pending.pop_front()
    }

    /// All output was written.
    pub(super) fn written(&mut self) {
        self.timers.clear(Due::Written);
    }

    /// The broker is alive.
    pub(super) fn heard(&mut self) {
        self.timers.clear(Due::PingAnswer);
    }

    /// The stream ended.
    pub(super) fn ended(&self, why: &str, by: By) -> Stop {
        match (self.phase, by) {
            (Phase::Disconnecting, _) => Stop::Left,
            (Phase::Connecting, By::Broker { .. }) => Stop::Lost(reason::of_silence(why), by),
            (Phase::Connecting | Phase::Subscribing | Phase::Live | Phase::Draining | Phase::Farewell, _) => {
                self.lost(why.to_owned(), by)
            }
        }
    }

    /// A timeout expired.
    pub(super) fn elapsed(&mut self, due: Due, now: Instant) -> Result<(), Stop> {
        self.timers.clear(due);
        match due {
            Due::Connack => Err(lost("it does not answer in time")),
            Due::Suback | Due::Puback => Err(lost("it does not acknowledge what we send")),
            Due::PingAnswer => Err(lost("it no longer answers pings")),
            Due::Written => Err(lost("it accepts no data")),
            Due::Closed => Err(Stop::Left),
            Due::Ping => {
                packet::ping(&mut self.out);
                self.timers.set(Due::Ping, now + self.ping_interval);
                if !self.timers.is_set(Due::PingAnswer) {
                    self.timers.set(Due::PingAnswer, now + PING_TIMEOUT);
                }
                Ok(())
            }
            Due::Heard => {
                self.may_speak = true;
                Ok(())
            }
            // `pump` sends what waited.
            Due::Retry => Ok(()),
            Due::Stable => {
                self.was_stable = true;
                Ok(())
            }
            Due::HalfOfLeaving => {
                // What is not retained is not sent.
                self.shared.outbox().drop_transient();
                Ok(())
            }
        }
    }

    /// A packet was received.
    pub(super) fn happened(&mut self, packet: Packet, now: Instant) -> Result<(), Stop> {
        if self.phase == Phase::Connecting {
            return match packet {
                Packet::ConnAck(answer) => self.accepted(&answer, now),
                Packet::Disconnect(code) => {
                    Err(Stop::Lost(reason::of_disconnect(code), By::Broker { blames: false }))
                }
                Packet::Publish(_)
                | Packet::PubAck { .. }
                | Packet::SubAck { .. }
                | Packet::UnsubAck
                | Packet::PingResp => Err(lost("its first answer is not a CONNACK")),
            };
        }
        match packet {
            Packet::ConnAck(_) => Err(lost("it sent a second CONNACK")),
            Packet::Publish(publish) => self.received(&publish),
            Packet::PubAck { packet, code } => {
                self.acknowledged(packet, code, now);
                Ok(())
            }
            Packet::SubAck { codes, .. } => self.subscribed(&codes, now),
            Packet::PingResp => {
                self.ping_answered();
                Ok(())
            }
            // Answer to an UNSUBSCRIBE that a SUBSCRIBE followed; that is answered too.
            Packet::UnsubAck => Ok(()),
            Packet::Disconnect(_) if self.phase == Phase::Disconnecting => Err(Stop::Left),
            Packet::Disconnect(code) => {
                let by = By::Broker { blames: reason::blames_what_was_sent(code) };
                Err(self.lost(reason::of_disconnect(code), by))
            }
        }
    }

    fn accepted(&mut self, answer: &ConnAck, now: Instant) -> Result<(), Stop> {
        self.timers.clear(Due::Connack);
        if answer.code != Code::SUCCESS || answer.is_of_mqtt_3 {
            if answer.code == Code::NO_RETAIN {
                self.link.retains = Retains::Refused;
            }
            return Err(Stop::Lost(reason::of_refusal(answer, self.link.login.is_some()), By::Us));
        }
        let max = answer.max_packet.and_then(|max| usize::try_from(max).ok());
        self.max_outgoing = max.unwrap_or(usize::MAX);
        let said = if answer.retains_nothing { Retains::No } else { Retains::Yes };
        let before = std::mem::replace(&mut self.link.retains, said);
        // A broker that has just refused a will because of its RETAIN flag would end the connection if a
        // message had the flag.
        self.retains = said == Retains::Yes && before != Retains::Refused;
        if !self.retains && before != Retains::No {
            tracing::warn!(
                "the broker retains nothing: a later subscriber does not receive the camera's state"
            );
        }
        // 0 asks for no pings, but pings are how a dead connection is detected. For the same reason they are
        // never less frequent than configured; a broker that asks for fewer then gets more than it asked for.
        if let Some(seconds) = answer.keep_alive.filter(|seconds| *seconds > 0) {
            self.ping_interval = self.ping_interval.min(Duration::from_secs(seconds.into()));
        }
        self.timers.set(Due::Ping, now + self.ping_interval);
        self.heard = Heard::of(answer.session_present);
        // Also if the broker kept the session: retained commands are sent again after a subscription.
        self.subscribe();
        self.phase = Phase::Subscribing;
        self.timers.set(Due::Suback, now + ACKNOWLEDGE_TIMEOUT);
        Ok(())
    }

    fn next_identifier(&mut self) -> u16 {
        self.identifier = self.identifier.checked_add(1).unwrap_or(1);
        self.identifier
    }

    /// A message. It is checked and handed on before anything else happens.
    fn received(&mut self, publish: &Publish) -> Result<(), Stop> {
        let packet = match publish.qos {
            0 if self.link.pending.len() >= MAX_PENDING => {
                tracing::debug!("a message of QoS 0 was dropped: the agent has not taken those before it");
                return Ok(());
            }
            0 => None,
            1 => Some(publish.packet),
            _ => return Err(lost("it sent QoS 2, which was not asked for")),
        };
        let Some(token) = self.deliveries.take(packet) else {
            return Err(lost("it keeps sending, and does not wait for acknowledgements"));
        };
        if let Some(keys) = self.link.shared.takes_new_keys() {
            self.link.reader.keys = keys;
        }
        if self.link.on_grants.is_some() && publish.topic == self.link.topics.grant_response().as_bytes() {
            return self.granted(publish, token);
        }
        self.heard.message(self.link, publish);
        let (topics, retained) = (&self.link.topics, publish.retain);
        let input = self.link.reader.read(topics, &publish.topic, &publish.payload, retained, token);
        self.hand_on(input)
    }

    /// Grants are for the uploads and are not facts: once handed on, they are acknowledged.
    fn granted(&mut self, publish: &Publish, token: AckToken) -> Result<(), Stop> {
        match self.link.reader.grant(&publish.payload) {
            Ok(answer) => {
                let is_paired = publish.correlation.as_ref().is_none_or(|data| *data == answer.id.as_bytes());
                match &self.link.on_grants {
                    Some(on_grants) if is_paired => on_grants(answer),
                    Some(_) | None => {
                        tracing::debug!("an answer with grants has the id of another request")
                    }
                }
                self.deliveries.done(token);
                Ok(())
            }
            Err(reason) => {
                let topic = self.link.topics.grant_response().to_owned();
                self.hand_on(Input::Rejected { topic, reason, ack: Some(token) })
            }
        }
    }

    /// To the agent at once if it has room, otherwise as soon as it has.
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

    fn lost(&self, mut why: String, by: By) -> Stop {
        if let (By::Broker { blames: true }, Some(message)) = (by, self.shared.outbox().in_flight()) {
            let _infallible = write!(why, "; not acknowledged was {message:?}");
        } else if self.phase >= Phase::Live && !self.was_stable {
            // Not every broker sends this code: mosquitto 2.0.11 just closes.
            why.push_str("; if that repeats, look for another client with this device's id");
        }
        Stop::Lost(why, by)
    }
}
