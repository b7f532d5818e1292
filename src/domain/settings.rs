//! What the configuration says to the machine.

use super::policy::Rules;
use super::storage::Budget;
use std::time::Duration;

/// `upload.order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOrder {
    /// Live footage first, then the backlog from its newest on. If several uploads may run at once, the
    /// backlog never takes the last of them: one is always free for the segment that is sealed next.
    Newest,
    /// In the order of capture.
    Oldest,
}

/// What the configuration says to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the configuration adds to the policy. Reloadable.
    pub rules: Rules,
    /// How much flash the spool may use.
    pub budget: Budget,
    /// `entitlement.offline_grace`.
    pub grace: Duration,
    /// `spool.hold`.
    pub hold: Duration,
    /// `privacy.unheard_hold`: how long footage that was captured unheard waits while the store answers and
    /// the broker does not. `None`: until the choice has been heard.
    pub unheard_hold: Option<Duration>,
    /// `mqtt.telemetry`.
    pub telemetry: Duration,
    /// Which pending segment goes first.
    pub order: UploadOrder,
    /// Maximum number of uploads at once.
    pub concurrency: usize,
    /// The cloud signs each upload, over the broker: once a session is up, uploads are retried at once.
    pub granted: bool,
    /// Height of the frames that we encode, in lines: a plan that allows more changes nothing.
    pub board_height: u32,
}
