//! What is sent on a live connection: PUBACKs, reports in order, and the farewell.

use super::{ACKNOWLEDGE_TIMEOUT, Exchange, Phase, STABLE_AFTER, Stop};
use crate::mqtt::packet::{self, Code};
use crate::mqtt::timers::Due;
use std::time::Duration;
use tokio::time::Instant;

/// From queuing output to having written it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// From DISCONNECT until the broker closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl Exchange<'_> {
    /// Does everything that can be done without waiting.
    pub(in crate::mqtt) fn pump(&mut self, now: Instant) -> Result<(), Stop> {
        self.begins_to_leave(now)?;
        if self.phase != Phase::Connecting && self.phase != Phase::Disconnecting {
            self.acknowledge();
            self.speak(now);
        }
        if !self.out.is_empty() && !self.timers.is_set(Due::Written) {
            self.timers.set(Due::Written, now + WRITE_TIMEOUT);
        }
        Ok(())
    }

    /// A connection that is not live yet is simply dropped: nobody was told that the camera is online.
    fn begins_to_leave(&mut self, now: Instant) -> Result<(), Stop> {
        let Some(deadline) = *self.shared.leaving() else { return Ok(()) };
        if self.phase < Phase::Live {
            return Err(Stop::Left);
        }
        if self.phase == Phase::Live {
            self.timers.set(Due::HalfOfLeaving, now + deadline / 2);
            self.phase = Phase::Draining;
        }
        Ok(())
    }

    /// PUBACKs for what the agent has finished with.
    fn acknowledge(&mut self) {
        for token in self.shared.acks().drain(..) {
            self.deliveries.done(token);
        }
        while let Some(packet) = self.deliveries.next_ack() {
            packet::puback(&mut self.out, packet);
        }
    }

    /// Sends what is next.
    fn speak(&mut self, now: Instant) {
        if self.phase == Phase::Subscribing {
            return;
        }
        if self.heard.is_past_retained && self.deliveries.is_empty() {
            self.may_speak = true;
            self.timers.clear(Due::Heard);
        }
        if self.phase == Phase::Live && self.shared.takes_ask_again() {
            self.subscribe_anew();
        }
        if !self.may_speak && self.phase == Phase::Live {
            return;
        }
        self.send_next(now);
        if self.phase == Phase::Draining && self.shared.outbox().is_empty(now) {
            self.shared.outbox().push(self.link.topics.offline());
            self.phase = Phase::Farewell;
            self.send_next(now);
        }
        if self.phase == Phase::Farewell && self.shared.outbox().is_empty(now) {
            packet::disconnect(&mut self.out);
            self.phase = Phase::Disconnecting;
            self.timers.set(Due::Closed, now + CLOSE_TIMEOUT);
        }
    }

    /// Sends the next message, if none is in flight.
    fn send_next(&mut self, now: Instant) {
        let message = loop {
            let mut outbox = self.shared.outbox();
            let Some(message) = outbox.send(now).cloned() else {
                let later = outbox.next_at().filter(|at| *at > now);
                drop(outbox);
                match later {
                    Some(at) => self.timers.set(Due::Retry, at),
                    None => self.timers.clear(Due::Retry),
                }
                return;
            };
            let size = match &message.reply {
                Some(reply) => packet::request_size(
                    &message.topic,
                    message.payload.len(),
                    &reply.topic,
                    reply.correlation.len(),
                ),
                None => packet::publish_size(&message.topic, message.payload.len()),
            };
            if size <= self.max_outgoing {
                break message;
            }
            // The broker would end the connection because of it, again and again.
            outbox.too_large(now);
            drop(outbox);
            self.link.tell_set_aside(&message, "the broker takes no packet as large as that");
        };
        let identifier = self.next_identifier();
        let retain = message.is_retained() && self.retains;
        match &message.reply {
            Some(reply) => {
                let reply = (&*reply.topic, &*reply.correlation);
                packet::request(&mut self.out, identifier, &message.topic, &message.payload, reply);
            }
            None => packet::publish(&mut self.out, identifier, &message.topic, retain, &message.payload),
        }
        self.in_flight = Some(identifier);
        self.timers.set(Due::Puback, now + ACKNOWLEDGE_TIMEOUT);
    }

    /// PUBACK.
    pub(super) fn acknowledged(&mut self, packet: u16, code: Code, now: Instant) {
        if self.in_flight != Some(packet) {
            tracing::debug!("the broker acknowledges what is not in flight");
            return;
        }
        self.in_flight = None;
        self.timers.clear(Due::Puback);
        if !self.was_stable && !self.timers.is_set(Due::Stable) {
            self.timers.set(Due::Stable, now + STABLE_AFTER);
        }
        if !code.is_error() {
            self.shared.outbox().taken();
            return;
        }
        let what = self.shared.outbox().in_flight().map(|message| format!("{message:?}"));
        self.warn(&format!("the broker refuses {}: {code}", what.unwrap_or_default()));
        let aside = self.shared.outbox().refused(code, now, &mut self.link.jitter);
        if let Some(message) = aside {
            self.link.tell_set_aside(&message, &format!("the broker refuses it: {code}"));
        }
    }

    fn warn(&mut self, what: &str) {
        if !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!("{what}; further ones on this connection are not logged");
        }
    }
}
