//! The machine.

use super::policy::Rules;
use super::storage::Budget;
use std::time::Duration;

/// `upload.order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOrder {
    Newest,
    Oldest,
}

/// What the configuration says to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub rules: Rules,
    pub budget: Budget,
    /// `entitlement.offline_grace`.
    pub grace: Duration,
    /// `spool.hold`.
    pub hold: Duration,
    /// `mqtt.telemetry`.
    pub telemetry: Duration,
    pub order: UploadOrder,
    /// Uploads at once.
    pub concurrency: usize,
}
