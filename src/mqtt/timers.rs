//! The timeouts of a connection. Each is set or cleared by name, so that every wake-up has a reason.

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
    /// Output must have been written.
    Written,
    /// The connection counts as stable.
    Stable,
    /// The time for receiving commands is over: reports may be sent.
    Heard,
    /// A message that had to wait is to be sent.
    Retry,
    /// Half of the time for leaving is over.
    HalfOfLeaving,
    /// The broker must have closed the connection.
    Closed,
}

/// At most one time for each reason.
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

    /// The next timeout.
    pub(super) fn next(&self) -> Option<(Due, Instant)> {
        self.0.iter().min_by_key(|(_, at)| *at).copied()
    }
}
