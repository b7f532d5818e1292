//! What is still to be told to the broker. It outlives connections: a message leaves it only with the
//! broker's PUBACK, or for a newer one, or for want of room.
//!
//! One message is in flight at a time. It may be sent again on the next connection although the broker
//! had it already: QoS 1 is "at least once".

use super::topics::{Kind, Message, Slot};
use std::collections::VecDeque;

/// Events that wait at most, the one in flight included.
pub const MOST_EVENTS: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    status: Option<Message>,
    privacy: Option<Message>,
    entitlement: Option<Message>,
    events: VecDeque<Message>,
    telemetry: Option<Message>,
    in_flight: Option<Message>,
    dropped_events: u64,
}

impl Outbox {
    /// Takes a message. Where 256 events wait, the oldest makes room.
    pub fn push(&mut self, message: Message) {
        match message.kind {
            Kind::Retained(slot) => *self.slot(slot) = Some(message),
            Kind::Telemetry => self.telemetry = Some(message),
            Kind::Event => {
                let in_flight = usize::from(self.in_flight.as_ref().is_some_and(|m| m.kind == Kind::Event));
                if self.events.len() + in_flight >= MOST_EVENTS {
                    self.events.pop_front();
                    self.dropped_events = self.dropped_events.saturating_add(1);
                }
                self.events.push_back(message);
            }
        }
    }

    /// The message to send now, which is in flight from then on. What is retained goes first, then
    /// events in their order. `None` while one is in flight.
    pub fn send(&mut self) -> Option<&Message> {
        if self.in_flight.is_some() {
            return None;
        }
        self.in_flight = self
            .status
            .take()
            .or_else(|| self.privacy.take())
            .or_else(|| self.entitlement.take())
            .or_else(|| self.events.pop_front())
            .or_else(|| self.telemetry.take());
        self.in_flight.as_ref()
    }

    /// The broker has the message in flight, or will never take it.
    pub fn settle(&mut self) -> Option<Message> {
        self.in_flight.take()
    }

    /// The connection is gone. What was in flight goes to the front again, unless a newer one of its
    /// kind has come.
    pub fn connection_lost(&mut self) {
        let Some(message) = self.in_flight.take() else { return };
        match message.kind {
            Kind::Retained(slot) => {
                self.slot(slot).get_or_insert(message);
            }
            Kind::Telemetry => {
                self.telemetry.get_or_insert(message);
            }
            Kind::Event => self.events.push_front(message),
        }
    }

    /// A message was sent and waits for its PUBACK (MQTT 5, 4.3.2).
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Nothing waits, and nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_none()
            && self.status.is_none()
            && self.privacy.is_none()
            && self.entitlement.is_none()
            && self.events.is_empty()
            && self.telemetry.is_none()
    }

    /// Gives up what is not retained and not in flight.
    pub fn drop_transient(&mut self) {
        self.telemetry = None;
        let dropped = u64::try_from(self.events.len()).unwrap_or(u64::MAX);
        self.dropped_events = self.dropped_events.saturating_add(dropped);
        self.events.clear();
    }

    /// How many events were dropped since this was last asked.
    pub fn take_dropped_events(&mut self) -> u64 {
        std::mem::take(&mut self.dropped_events)
    }

    fn slot(&mut self, slot: Slot) -> &mut Option<Message> {
        match slot {
            Slot::Status => &mut self.status,
            Slot::Privacy => &mut self.privacy,
            Slot::Entitlement => &mut self.entitlement,
        }
    }
}
