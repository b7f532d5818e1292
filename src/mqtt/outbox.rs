//! What is still to be told to the broker. It outlives connections: a message leaves it only with the
//! broker's PUBACK, for a newer one, for want of room, or because it is set aside.
//!
//! One message is in flight at a time. It may be sent again on the next connection although the broker
//! had it already: QoS 1 is "at least once".
//!
//! Each kind of message has a lane. What goes wrong with the first message of a lane holds up that lane alone:
//!
//! - The broker refuses it for now (no room, a quota): it is sent again after a wait that grows, with jitter.
//! - The broker refuses it for good: likewise, and set aside with the third refusal.
//! - The broker ends the connection right after it was sent, as some do on what is too large for them or what their
//!   policy forbids: the lane goes last on the next connection, and the message is set aside when it happens again.
//!
//! What is set aside: an event is dropped; of the other kinds the latest waits for [`MIN_ASIDE`], doubled with each
//! time to [`MAX_ASIDE`], since a second client of our name may have ended those connections. Until one of its messages
//! is taken, a lane that had to set one aside gets one try a message.

use super::packet::Code;
use super::topics::{Kind, Message, Slot};
use crate::domain::backoff::Jitter;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Events that wait at most, the one in flight included.
pub const MAX_EVENTS: usize = 256;
/// How long a lane waits whose messages the broker does not take, at first.
pub const MIN_ASIDE: Duration = Duration::from_secs(60);
/// How long it waits at most.
pub const MAX_ASIDE: Duration = Duration::from_secs(60 * 60);
/// Refusals for good, of one message.
const MAX_REFUSALS: u32 = 3;
/// Connections that the broker may end over one message.
const MAX_ENDED: u32 = 2;
/// A connection that the broker ends so soon after a message was sent, it ended over that message.
const BLAME_TIMEOUT: Duration = Duration::from_secs(5);
/// Before a refused message is sent again.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const MIN_WAIT: Duration = Duration::from_millis(500);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Where a lane stands among the others: the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneName {
    Privacy,
    Status,
    Entitlement,
    Grants,
    Events,
    Telemetry,
}

const LANES: [LaneName; 6] = [
    LaneName::Privacy,
    LaneName::Status,
    LaneName::Entitlement,
    LaneName::Grants,
    LaneName::Events,
    LaneName::Telemetry,
];

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Message>,
    /// Refusals of the first message, and connections that were ended over it.
    refused: u32,
    refused_for_good: u32,
    ended: u32,
    /// Messages that were set aside since one was last taken.
    aside: u32,
    not_before: Option<Instant>,
}

impl Lane {
    fn is_ready(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && self.not_before.is_none_or(|at| at <= now)
    }

    fn begin_anew(&mut self) {
        (self.refused, self.refused_for_good, self.ended) = (0, 0, 0);
    }

    /// A message was set aside, and none has been taken since.
    fn is_doubtful(&self) -> bool {
        self.aside > 0
    }
}

#[derive(Debug)]
struct Sent {
    lane: LaneName,
    message: Message,
    at: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    privacy: Lane,
    status: Lane,
    entitlement: Lane,
    grants: Lane,
    events: Lane,
    telemetry: Lane,
    in_flight: Option<Sent>,
    dropped_events: u64,
}

impl Outbox {
    /// Takes a message. Where 256 events wait, the oldest makes room.
    pub fn push(&mut self, message: Message) {
        let name = lane_of(&message);
        let in_flight = usize::from(self.in_flight.as_ref().is_some_and(|sent| sent.lane == name));
        let lane = self.lane(name);
        if name == LaneName::Events {
            if lane.waiting.len() + in_flight >= MAX_EVENTS {
                lane.waiting.pop_front();
                lane.begin_anew();
                self.dropped_events = self.dropped_events.saturating_add(1);
            }
        } else {
            // Only the latest counts.
            lane.waiting.clear();
        }
        self.lane(name).waiting.push_back(message);
    }

    /// The message to send now, which is in flight from then on: the first lane that has one goes first, and those that
    /// cost us a connection go last. `None` while one is in flight.
    pub fn send(&mut self, now: Instant) -> Option<&Message> {
        if self.in_flight.is_some() {
            return None;
        }
        let ready = |suspect| {
            LANES.into_iter().find(|name| {
                let lane = self.lane_of(*name);
                lane.is_ready(now) && (lane.ended > 0 || lane.is_doubtful()) == suspect
            })
        };
        let lane = ready(false).or_else(|| ready(true))?;
        let message = self.lane(lane).waiting.pop_front()?;
        self.in_flight = Some(Sent { lane, message, at: now });
        self.in_flight.as_ref().map(|sent| &sent.message)
    }

    /// When a lane that waits will have a message to send; `None` where none waits for a time.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        LANES
            .into_iter()
            .filter_map(|name| Some(self.lane_of(name)).filter(|lane| !lane.waiting.is_empty())?.not_before)
            .min()
    }

    /// The broker has the message in flight.
    pub fn taken(&mut self) -> Option<Message> {
        let Sent { lane, message, .. } = self.in_flight.take()?;
        let lane = self.lane(lane);
        lane.begin_anew();
        (lane.aside, lane.not_before) = (0, None);
        Some(message)
    }

    /// The broker refuses the message in flight. Gives the message where it is set aside.
    pub fn refused(&mut self, code: Code, now: Instant, jitter: &mut Jitter) -> Option<Message> {
        let Sent { lane: name, message, .. } = self.in_flight.take()?;
        let lane = self.lane(name);
        lane.refused = lane.refused.saturating_add(1);
        if !is_for_now(code) {
            lane.refused_for_good = lane.refused_for_good.saturating_add(1);
            if lane.is_doubtful() || lane.refused_for_good >= MAX_REFUSALS {
                return Some(self.set_aside(name, message, now));
            }
        }
        let doubled = FIRST_WAIT.saturating_mul(1 << (lane.refused - 1).min(8)).min(MAX_WAIT);
        lane.not_before = Some(now + jitter.between(MIN_WAIT, doubled));
        self.put_back(name, message);
        None
    }

    /// The message in flight is larger than the broker says that it takes: it is set aside unsent.
    pub fn too_large(&mut self, now: Instant) -> Option<Message> {
        let Sent { lane, message, .. } = self.in_flight.take()?;
        Some(self.set_aside(lane, message, now))
    }

    /// The connection is gone. What was in flight goes to the front again, unless a newer one of its kind has come.
    /// `is_blamed`: the broker ended it, and gave no other reason than what we sent. Gives the message where that made
    /// it the one to set aside.
    pub fn connection_lost(&mut self, is_blamed: bool, now: Instant) -> Option<Message> {
        let Sent { lane: name, message, at } = self.in_flight.take()?;
        let lane = self.lane(name);
        if is_blamed && now.saturating_duration_since(at) <= BLAME_TIMEOUT {
            lane.ended = lane.ended.saturating_add(1);
            if lane.is_doubtful() || lane.ended >= MAX_ENDED {
                return Some(self.set_aside(name, message, now));
            }
        }
        self.put_back(name, message);
        None
    }

    /// The message in flight.
    #[must_use]
    pub fn in_flight(&self) -> Option<&Message> {
        self.in_flight.as_ref().map(|sent| &sent.message)
    }

    /// Nothing is in flight, and nothing waits but what is not to be sent yet.
    #[must_use]
    pub fn is_empty(&self, now: Instant) -> bool {
        self.in_flight.is_none() && !LANES.into_iter().any(|name| self.lane_of(name).is_ready(now))
    }

    /// Gives up what is not retained and not in flight.
    pub fn drop_transient(&mut self) {
        self.telemetry.waiting.clear();
        self.grants.waiting.clear();
        let dropped = u64::try_from(self.events.waiting.len()).unwrap_or(u64::MAX);
        self.dropped_events = self.dropped_events.saturating_add(dropped);
        self.events.waiting.clear();
    }

    /// Events that were dropped since the start, unsent.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.dropped_events
    }

    fn set_aside(&mut self, name: LaneName, message: Message, now: Instant) -> Message {
        let lane = self.lane(name);
        let wait = MIN_ASIDE.saturating_mul(1 << lane.aside.min(8)).min(MAX_ASIDE);
        let was_doubtful = lane.is_doubtful();
        lane.aside = lane.aside.saturating_add(1);
        lane.begin_anew();
        if name == LaneName::Events {
            // The next one may be to the broker's liking; if not, it is not the message.
            lane.not_before = was_doubtful.then(|| now + wait);
            self.dropped_events = self.dropped_events.saturating_add(1);
        } else {
            lane.not_before = Some(now + wait);
            self.put_back(name, message.clone());
        }
        message
    }

    /// In front, unless a newer one has taken its place.
    fn put_back(&mut self, name: LaneName, message: Message) {
        let lane = self.lane(name);
        if name == LaneName::Events || lane.waiting.is_empty() {
            lane.waiting.push_front(message);
        }
    }

    fn lane(&mut self, name: LaneName) -> &mut Lane {
        match name {
            LaneName::Privacy => &mut self.privacy,
            LaneName::Status => &mut self.status,
            LaneName::Entitlement => &mut self.entitlement,
            LaneName::Grants => &mut self.grants,
            LaneName::Events => &mut self.events,
            LaneName::Telemetry => &mut self.telemetry,
        }
    }

    fn lane_of(&self, name: LaneName) -> &Lane {
        match name {
            LaneName::Privacy => &self.privacy,
            LaneName::Status => &self.status,
            LaneName::Entitlement => &self.entitlement,
            LaneName::Grants => &self.grants,
            LaneName::Events => &self.events,
            LaneName::Telemetry => &self.telemetry,
        }
    }
}

fn lane_of(message: &Message) -> LaneName {
    match message.kind {
        Kind::Retained(Slot::Privacy) => LaneName::Privacy,
        Kind::Retained(Slot::Status) => LaneName::Status,
        Kind::Retained(Slot::Entitlement) => LaneName::Entitlement,
        Kind::Event => LaneName::Events,
        Kind::Telemetry => LaneName::Telemetry,
        Kind::GrantRequest => LaneName::Grants,
    }
}

/// Refusals that a wait may mend. `Unspecified` and `Implementation specific` are how brokers say that they fail.
fn is_for_now(code: Code) -> bool {
    [Code::UNSPECIFIED, Code::IMPLEMENTATION, Code::IDENTIFIER_IN_USE, Code::QUOTA].contains(&code)
}
