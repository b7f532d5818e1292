//! Messages that are still to be sent to the broker. The outbox survives connections: a message leaves it
//! only with the broker's PUBACK, when a newer one replaces it, when there is no room, or when it is set
//! aside.
//!
//! One message is in flight at a time. It may be sent again on the next connection although the broker
//! already has it: QoS 1 is "at least once".
//!
//! Each kind of message has a lane. A problem with the first message of a lane delays only that lane:
//!
//! - The broker refuses it for now (no room, a quota): it is sent again after a growing wait, with jitter.
//! - The broker refuses it permanently: the same, and it is set aside after the third refusal.
//! - The broker ends the connection right after it was sent, as some do if a message is too large or
//!   forbidden by their policy: the lane is last on the next connection, and the message is set aside if this
//!   happens again.
//!
//! Setting aside: an event is dropped; of the other kinds the latest waits for [`MIN_ASIDE`], doubled each
//! time up to [`MAX_ASIDE`], because a second client with this device's id may have caused those disconnects.
//! Until one of its messages is accepted, a lane that had to set one aside gets one attempt per message.

use super::packet::Code;
use super::topics::{Message, MessageKind, RetainedKind};
use crate::domain::backoff::Jitter;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of waiting events, including the one in flight.
pub const MAX_EVENTS: usize = 256;
/// How long a lane first waits if the broker does not accept its messages.
pub const MIN_ASIDE: Duration = Duration::from_secs(60);
/// The maximum of that wait.
pub const MAX_ASIDE: Duration = Duration::from_secs(60 * 60);
/// Permanent refusals of one message before it is set aside.
const MAX_REFUSALS: u32 = 3;
/// Connections that the broker may end because of one message.
const MAX_ENDED: u32 = 2;
/// If the broker ends a connection this soon after a message was sent, that message is taken for the reason.
const BLAME_TIMEOUT: Duration = Duration::from_secs(5);
/// The first wait before a refused message is sent again.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const MIN_WAIT: Duration = Duration::from_millis(500);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The order of the lanes: the first is sent first.
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
    /// Refusals of the first message, and connections that ended because of it.
    refused: u32,
    refused_for_good: u32,
    ended: u32,
    /// Messages that were set aside since one was last accepted.
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

    /// A message was set aside, and none has been accepted since.
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

/// See the module documentation.
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
    /// Takes a message. If 256 events wait, the oldest is dropped.
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

    /// The message to send now, which is then in flight: the first lane that has one is first, and those that
    /// caused a disconnect are last. `None` while one is in flight.
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

    /// When a waiting lane will have a message to send; `None` if no lane waits for a time.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        LANES
            .into_iter()
            .filter_map(|name| Some(self.lane_of(name)).filter(|lane| !lane.waiting.is_empty())?.not_before)
            .min()
    }

    /// The broker has accepted the message in flight.
    pub fn taken(&mut self) -> Option<Message> {
        let Sent { lane, message, .. } = self.in_flight.take()?;
        let lane = self.lane(lane);
        lane.begin_anew();
        (lane.aside, lane.not_before) = (0, None);
        Some(message)
    }

    /// The broker refuses the message in flight. Returns the message if it is set aside.
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

    /// The message in flight is larger than the broker accepts: it is set aside unsent.
    pub fn too_large(&mut self, now: Instant) -> Option<Message> {
        let Sent { lane, message, .. } = self.in_flight.take()?;
        Some(self.set_aside(lane, message, now))
    }

    /// The connection is lost. What was in flight goes to the front again, unless a newer message of its kind
    /// has come. `is_blamed`: the broker ended it, and gave no other reason than what was sent. Returns the
    /// message if it is now set aside.
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

    /// Nothing is in flight, and everything that waits is waiting for a time.
    #[must_use]
    pub fn is_empty(&self, now: Instant) -> bool {
        self.in_flight.is_none() && !LANES.into_iter().any(|name| self.lane_of(name).is_ready(now))
    }

    /// Drops what is neither retained nor in flight.
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
            // The broker may accept the next one; if not, the message is not the problem.
            lane.not_before = was_doubtful.then(|| now + wait);
            self.dropped_events = self.dropped_events.saturating_add(1);
        } else {
            lane.not_before = Some(now + wait);
            self.put_back(name, message.clone());
        }
        message
    }

    /// To the front, unless a newer one has replaced it.
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
        MessageKind::Retained(RetainedKind::Privacy) => LaneName::Privacy,
        MessageKind::Retained(RetainedKind::Status) => LaneName::Status,
        MessageKind::Retained(RetainedKind::Entitlement) => LaneName::Entitlement,
        MessageKind::Event => LaneName::Events,
        MessageKind::Telemetry => LaneName::Telemetry,
        MessageKind::GrantRequest => LaneName::Grants,
    }
}

/// Refusals that may end after a wait. Brokers use `Unspecified` and `Implementation specific` for their own
/// failures.
fn is_for_now(code: Code) -> bool {
    [Code::UNSPECIFIED, Code::IMPLEMENTATION, Code::IDENTIFIER_IN_USE, Code::QUOTA].contains(&code)
}
