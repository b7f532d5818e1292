//! Receives what the broker holds for the camera, before anything is published.
//!
//! After SUBACK a PINGREQ marks where that ends. A broker that kept the session and sent no retained choice
//! is asked once more, as if the camera had never subscribed: some (rumqttd 0.20) send retained messages only
//! to a new subscription, against [MQTT-3.8.4-4]. If there is no choice to send, this does no harm.

use super::Exchange;
use super::phase::{By, HEAR_TIMEOUT, PING_TIMEOUT, Phase, Stop, lost};
use crate::domain::input::Input;
use crate::mqtt::link::Link;
use crate::mqtt::packet::{self, Code, Publish};
use crate::mqtt::timers::Due;
use crate::mqtt::topics::Command;
use tokio::time::Instant;

/// What was heard on this connection.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The broker had kept our session, with its subscriptions.
    kept_session: bool,
    /// It gave the choice that it retains.
    choice: bool,
    /// The camera subscribed again as if for the first time.
    asked_anew: bool,
    /// Everything that it holds has come.
    pub(super) is_past_retained: bool,
}

impl Heard {
    pub(super) fn of(kept_session: bool) -> Heard {
        Heard { kept_session, ..Heard::default() }
    }

    /// A message was received.
    pub(super) fn message(&mut self, link: &Link, publish: &Publish) {
        self.choice |= publish.retain && link.topics.command(&publish.topic) == Some(Command::Privacy);
    }
}

impl Exchange<'_> {
    pub(super) fn subscribe(&mut self) {
        let identifier = self.next_identifier();
        packet::subscribe(&mut self.out, identifier, &self.link.subscriptions());
    }

    /// Requests all retained messages again, also from a broker that sends them only to a new subscription.
    pub(super) fn subscribe_anew(&mut self) {
        let identifier = self.next_identifier();
        packet::unsubscribe(&mut self.out, identifier, &self.link.subscriptions());
        self.subscribe();
    }

    /// SUBACK.
    pub(super) fn subscribed(&mut self, codes: &[Code], now: Instant) -> Result<(), Stop> {
        let topics = self.link.subscriptions();
        if codes.len() != topics.len() {
            return Err(lost("its SUBACK does not answer our SUBSCRIBE"));
        }
        for (topic, code) in topics.iter().zip(codes) {
            if !matches!(code.0, 1 | 2) && *topic == self.link.topics.grant_response() {
                // The owner's choice must still be heard.
                tracing::error!(
                    "the broker refuses the subscription to {topic}: {code}; no upload is granted"
                );
            } else if !matches!(code.0, 1 | 2) {
                return Err(Stop::Lost(format!("it refuses the subscription to {topic}: {code}"), By::Us));
            }
        }
        if self.phase != Phase::Subscribing {
            // A repeated subscription on a live session: retained messages come by themselves.
            if !self.heard.is_past_retained {
                packet::ping(&mut self.out);
            }
            return Ok(());
        }
        self.timers.clear(Due::Suback);
        self.phase = Phase::Live;
        self.shared.set_connected(true);
        let since = *self.shared.since();
        self.shared.outbox().push(self.link.topics.online(since));
        packet::ping(&mut self.out);
        self.timers.set(Due::PingAnswer, now + PING_TIMEOUT);
        self.timers.set(Due::Heard, now + HEAR_TIMEOUT);
        self.hand_on(Input::Connected)
    }

    /// PINGRESP.
    pub(super) fn ping_answered(&mut self) {
        let heard = &mut self.heard;
        if heard.kept_session && !heard.choice && !std::mem::replace(&mut heard.asked_anew, true) {
            self.subscribe_anew();
        } else {
            heard.is_past_retained = true;
        }
    }
}
