//! The states of a connection, and how it ends.

use std::time::Duration;

/// From a PINGREQ to any sign of life.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the camera only receives before it publishes.
pub(super) const HEAR_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// No CONNACK yet.
    Connecting,
    /// No SUBACK yet.
    Subscribing,
    Live,
    /// Leaving: sending what waits.
    Draining,
    /// Publishing that the camera is offline.
    Farewell,
    /// DISCONNECT is being sent; the broker closes.
    Disconnecting,
}

/// What ends a connection from within.
pub(in crate::mqtt) enum Stop {
    Lost(String, By),
    Left,
}

/// Who caused the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) enum By {
    /// The camera or the network.
    Us,
    /// The broker ended it. `blames`: without giving a reason, or because of what the camera sent.
    Broker {
        /// What was sent last may be the reason.
        blames: bool,
    },
}

pub(super) fn lost(why: &str) -> Stop {
    Stop::Lost(String::from(why), By::Us)
}
