//! What the control socket answers to `status`: one type for the agent that sends it and the command that
//! reads it.

use super::effect::{EntitlementReport, PrivacyReport, Telemetry};
use serde::{Deserialize, Serialize};

/// What the agent does, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// `device.id`.
    pub device: String,
    /// Version of the agent.
    pub version: String,
    /// The members of `R/telemetry`.
    #[serde(flatten)]
    pub telemetry: Telemetry,
    /// The state of the owner's choice.
    pub privacy: PrivacyStanding,
    /// The state of the lease.
    pub entitlement: EntitlementReport,
    /// The connection to the broker.
    pub mqtt: MqttStanding,
}

/// The members of `R/privacy/reported`, and whether the choice survives a power cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrivacyStanding {
    /// As reported, or as about to be reported.
    #[serde(flatten)]
    pub report: PrivacyReport,
    /// The prohibition in force is on flash.
    pub durable: bool,
}

/// The connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MqttStanding {
    /// A session is up.
    pub connected: bool,
}
