//! What a connection waits for until when. Each is set anew or cleared by name, so that every wake-up has a reason.

use tokio::time::Instant;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// CONNACK must have come.
    Connack,
    /// SUBACK must have come.
    Suback,
    /// PUBACK of the message in flight must have come.
    Puback,
    /// A PINGREQ is to be sent.
    Ping,
    /// A PINGREQ must have been followed by some sign of life.
    PingAnswer,
    /// What we write must have left.
    Written,
    /// The connection counts as a good one.
    Stable,
    /// Commands were given their time: we may speak.
    Heard,
    /// A message that had to wait is to be sent.
    Retry,
    /// Half of the time to leave is gone.
    HalfOfLeaving,
    /// The broker must have closed.
    Closed,
}

/// One time for each reason, at most.
#[derive(Debug, Default)]
pub(super) struct Timers(Vec<(Due, Instant)>);

impl Timers {
    pub(super) fn set(&mut self, due: Due, at: Instant) {
        self.clear(due);
        self.0.push((due, at));
    }

    pub(super) fn is_set(&self, due: Due) -> bool {
        self.0.iter().any(|(other, _)| *other == due)
    }

    pub(super) fn clear(&mut self, due: Due) {
        self.0.retain(|(other, _)| *other != due);
    }

    /// What is due first.
    pub(super) fn next(&self) -> Option<(Due, Instant)> {
        self.0.iter().min_by_key(|(_, at)| *at).copied()
    }
}
