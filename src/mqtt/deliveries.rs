//! What came with QoS 1 on this connection and has no PUBACK yet.
//!
//! PUBACKs go out in the order of the PUBLISHes (MQTT 5, [MQTT-4.6.0-2]), whatever the order in which
//! the agent is done with them.

use crate::domain::input::AckToken;
use std::collections::VecDeque;

/// `Receive Maximum`: the broker leaves at most so many messages unacknowledged. It bounds our memory.
pub(super) const MOST: u16 = 16;

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

    /// Takes note of a delivery. `packet` is `None` for QoS 0, which has no PUBACK. `None` where the
    /// broker oversteps `Receive Maximum`.
    pub(super) fn take(&mut self, packet: Option<u16>) -> Option<AckToken> {
        self.count += 1;
        if let Some(packet) = packet {
            if self.waiting.len() >= usize::from(MOST) {
                return None;
            }
            self.waiting.push_back(Delivery { number: self.count, packet, done: false });
        }
        Some(AckToken { connection: self.connection, delivery: self.count })
    }

    /// The agent is done with it. A token of another connection, or one used before, means nothing.
    pub(super) fn done(&mut self, token: AckToken) {
        if token.connection == self.connection {
            if let Some(delivery) = self.waiting.iter_mut().find(|d| d.number == token.delivery) {
                delivery.done = true;
            }
        }
    }

    /// The packet to acknowledge next, if its turn has come.
    pub(super) fn next_ack(&mut self) -> Option<u16> {
        if !self.waiting.front()?.done {
            return None;
        }
        self.waiting.pop_front().map(|delivery| delivery.packet)
    }
}
