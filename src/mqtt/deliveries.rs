//! What came with QoS 1 on this connection and has no PUBACK yet.
//!
//! PUBACKs are sent in the order of the PUBLISHes (MQTT 5, [MQTT-4.6.0-2]), whatever the order in which the
//! agent finishes with them.

use crate::domain::input::AckToken;
use std::collections::VecDeque;

/// `Receive Maximum`: the maximum number of messages that the broker may leave unacknowledged.
pub(super) const RECEIVE_MAXIMUM: u16 = 16;

/// How many the camera tolerates. mosquitto 2.0.11 exceeds `Receive Maximum` once a message is acknowledged,
/// and sends everything that it has queued: by default 1,000.
pub(super) const MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Deliveries {
    connection: u64,
    count: u64,
    waiting: VecDeque<Delivery>,
}

#[derive(Debug)]
struct Delivery {
    number: u64,
    packet: u16,
    done: bool,
}

impl Deliveries {
    pub(super) fn new(connection: u64) -> Deliveries {
        Deliveries { connection, count: 0, waiting: VecDeque::new() }
    }

    /// Records a delivery. `packet` is `None` for QoS 0, which has no PUBACK. Returns `None` if more than
    /// [`MAX`] wait.
    pub(super) fn take(&mut self, packet: Option<u16>) -> Option<AckToken> {
        self.count += 1;
        if let Some(packet) = packet {
            if self.waiting.len() >= MAX {
                return None;
            }
            self.waiting.push_back(Delivery { number: self.count, packet, done: false });
        }
        Some(AckToken { connection: self.connection, delivery: self.count })
    }

    /// The agent has finished with all deliveries.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The agent has finished with it. A token of another connection, or one used before, is ignored.
    pub(super) fn done(&mut self, token: AckToken) {
        if token.connection == self.connection {
            if let Some(delivery) = self.waiting.iter_mut().find(|d| d.number == token.delivery) {
                delivery.done = true;
            }
        }
    }

    /// The packet to acknowledge next, if it is due; from then on it counts as acknowledged.
    pub(super) fn next_ack(&mut self) -> Option<u16> {
        if !self.waiting.front()?.done {
            return None;
        }
        self.waiting.pop_front().map(|delivery| delivery.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_keep_the_order_of_the_messages() {
        let mut deliveries = Deliveries::new(3);
        let tokens: Vec<_> = (10..13).filter_map(|packet| deliveries.take(Some(packet))).collect();
        deliveries.done(tokens[2]);
        deliveries.done(tokens[1]);
        assert_eq!(deliveries.next_ack(), None);
        deliveries.done(tokens[0]);
        let acks: Vec<_> = std::iter::from_fn(|| deliveries.next_ack()).collect();
        assert_eq!(acks, [10, 11, 12]);
    }

    #[test]
    fn a_token_of_another_connection_or_used_before_means_nothing() {
        let mut earlier = Deliveries::new(1);
        let stale = earlier.take(Some(10)).unwrap();
        let mut deliveries = Deliveries::new(2);
        let token = deliveries.take(Some(10)).unwrap();
        deliveries.done(stale);
        assert_eq!(deliveries.next_ack(), None);
        deliveries.done(token);
        assert_eq!(deliveries.next_ack(), Some(10));
        deliveries.done(token);
        assert_eq!(deliveries.next_ack(), None);
    }

    #[test]
    fn qos_0_is_never_acknowledged() {
        let mut deliveries = Deliveries::new(1);
        let token = deliveries.take(None).unwrap();
        deliveries.done(token);
        assert_eq!(deliveries.next_ack(), None);
    }

    #[test]
    fn a_broker_without_bounds_is_told_apart() {
        let mut deliveries = Deliveries::new(1);
        assert!((0..MAX).all(|_| deliveries.take(Some(1)).is_some()));
        assert_eq!(deliveries.take(Some(1)), None);
        assert!(deliveries.take(None).is_some());
    }
}
