//! What the control socket answers to `status`: the same type for the agent that says it and the command that reads it.

use super::effect::{EntitlementReport, PrivacyReport, Telemetry};
use serde::{Deserialize, Serialize};

/// What the agent does, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// `device.id`.
    pub device: String,
    /// Of the agent.
    pub version: String,
    /// The members of `R/telemetry`.
    #[serde(flatten)]
    pub telemetry: Telemetry,
    /// How the owner's choice stands.
    pub privacy: PrivacyStanding,
    /// How the lease stands.
    pub entitlement: EntitlementReport,
    /// The connection to the broker.
    pub mqtt: MqttStanding,
}

/// The members of `R/privacy/reported`, and whether the choice outlives a cut of the power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrivacyStanding {
    /// As reported, or about to be.
    #[serde(flatten)]
    pub report: PrivacyReport,
    /// What forbids recording is on flash.
    pub durable: bool,
}

/// The connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MqttStanding {
    /// A session is up.
    pub connected: bool,
}
