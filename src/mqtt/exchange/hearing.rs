//! Hearing what the broker holds for us, before anything is said.
//!
//! After SUBACK a PINGREQ marks where that ends. A broker that kept our session and gave no retained choice is asked once
//! more, as if we had never subscribed: some (rumqttd 0.20) give what they retain to a new subscription alone, against
//! [MQTT-3.8.4-4]. That is as well where there is no choice to be had.

use super::{Exchange, HEAR_TIMEOUT, PING_TIMEOUT, Phase, Stop, lost};
use crate::domain::input::Input;
use crate::mqtt::exchange::By;
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
    /// It was asked as if for the first time.
    asked_anew: bool,
    /// All that it holds has come.
    pub(super) is_past_retained: bool,
}

impl Heard {
    pub(super) fn of(kept_session: bool) -> Heard {
        Heard { kept_session, ..Heard::default() }
    }

    /// A message came.
    pub(super) fn message(&mut self, link: &Link, publish: &Publish) {
        self.choice |= publish.retain && link.topics.command(&publish.topic) == Some(Command::Privacy);
    }
}

impl Exchange<'_> {
    pub(super) fn subscribe(&mut self) {
        let identifier = self.next_identifier();
        packet::subscribe(&mut self.out, identifier, &self.link.subscriptions());
    }

    /// Has all that is retained given again, also by a broker that gives it to a new subscription alone.
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
                // The owner's choice is to be heard all the same.
                tracing::error!(
                    "the broker refuses the subscription to {topic}: {code}; no upload is granted"
                );
            } else if !matches!(code.0, 1 | 2) {
                return Err(Stop::Lost(format!("it refuses the subscription to {topic}: {code}"), By::Us));
            }
        }
        if self.phase != Phase::Subscribing {
            // Asked for again on a session that is up: what is retained comes by itself.
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
