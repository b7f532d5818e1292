//! What the configuration says to the machine.

use super::policy::Rules;
use super::storage::Budget;
use std::time::Duration;

/// `upload.order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOrder {
    /// Live footage first, then the backlog from its newest on. The backlog never takes the last of several
    /// uploads at once: one is always free for the segment that is sealed next.
    Newest,
    /// As it was captured.
    Oldest,
}

/// What the configuration says to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the configuration adds to the policy. Reloadable.
    pub rules: Rules,
    /// What the spool may take of flash.
    pub budget: Budget,
    /// `entitlement.offline_grace`.
    pub grace: Duration,
    /// `spool.hold`.
    pub hold: Duration,
    /// `privacy.unheard_hold`: for how long footage that was captured unheard waits while the store answers and the
    /// broker does not. `None`: until the choice has been heard.
    pub unheard_hold: Option<Duration>,
    /// `mqtt.telemetry`.
    pub telemetry: Duration,
    /// Which pending segment goes first.
    pub order: UploadOrder,
    /// Uploads at once.
    pub concurrency: usize,
    /// The cloud signs each upload, over the broker: once a session is up, it is tried again at once.
    pub granted: bool,
    /// Lines of the picture that we encode: a plan that allows more changes nothing.
    pub board_height: u32,
}
