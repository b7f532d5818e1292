//! The commands of the development cloud, on the command line and as JSON. An answer has `ok` and, if that is false,
//! `error`.

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The control socket, in the directory of the cloud.
pub(crate) const SOCKET: &str = "cloud.sock";

/// A switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreState {
    Up,
    Down,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BrokerState {
    Up,
    Down,
    Restart,
}

#[derive(Clone, Debug, Serialize, Deserialize, Subcommand)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Set "Do Not Record Video or Audio": with `on`, the camera may not record.
    Privacy { switch: Switch },
    /// Publish a lease of a plan.
    Plan(Plan),
    /// Take the object store down, bring it up, or let it answer every request with an HTTP status.
    Store { state: StoreState, status: Option<u16> },
    /// Take the broker down, bring it up, or restart it.
    Broker { state: BrokerState },
    /// Change how the EST server answers enrolment requests from now on.
    Est(crate::est::EstManner),
    /// Change how requests for upload grants are answered from now on.
    Grants(crate::grants::GrantsManner),
    /// Change how requests for temporary keys of the store are answered from now on.
    Keys(crate::keys::KeysManner),
    /// Sign claims and print the JWS; publishes nothing.
    Sign { kind: String, claims: String },
    /// Publish the bytes of a file as a retained message.
    PublishRaw {
        topic: String,
        file: PathBuf,
        /// Do not let the broker retain it.
        #[arg(long)]
        #[serde(default)]
        passing: bool,
    },
    /// Print what runs, and on which ports.
    Status,
    /// Print all objects in the store.
    Objects,
}

/// A lease, as an operator describes it; what is left out is as in the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// free, plus or premium.
    pub plan: String,
    /// active, past_due, suspended or terminated.
    #[arg(long, default_value = "active")]
    #[serde(default = "active")]
    pub status: String,
    #[arg(long)]
    #[serde(default)]
    pub audio: Option<bool>,
    #[arg(long)]
    #[serde(default)]
    pub record: Option<bool>,
    #[arg(long)]
    #[serde(default)]
    pub max_height: Option<u32>,
    #[arg(long)]
    #[serde(default)]
    pub history_hours: Option<u32>,
    /// Whether the plan permits H.265.
    #[arg(long)]
    #[serde(default)]
    pub h265: Option<bool>,
    /// When the lease ends: RFC 3339, or a time from now such as +10s [default: +30d].
    #[arg(long)]
    #[serde(default)]
    pub not_after: Option<String>,
    /// When `--next-plan` begins: RFC 3339, or a time from now such as +10s.
    #[arg(long, requires = "next_plan")]
    #[serde(default)]
    pub next_from: Option<String>,
    #[arg(long, requires = "next_from")]
    #[serde(default)]
    pub next_plan: Option<String>,
}

fn active() -> String {
    "active".into()
}

impl Plan {
    /// The plan of this name, unchanged.
    pub(crate) fn named(plan: &str) -> Plan {
        Plan {
            plan: plan.into(),
            status: active(),
            audio: None,
            record: None,
            max_height: None,
            history_hours: None,
            h265: None,
            not_after: None,
            next_from: None,
            next_plan: None,
        }
    }
}

/// The answer to a command, with `ok`.
pub(crate) fn worded(answer: Result<Value, String>) -> Value {
    match answer {
        Ok(Value::Object(mut members)) => {
            members.insert("ok".into(), true.into());
            Value::Object(members)
        }
        Ok(value) => json!({"ok": true, "value": value}),
        Err(error) => json!({"ok": false, "error": error}),
    }
}
