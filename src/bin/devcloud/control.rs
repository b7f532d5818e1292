//! What the development cloud can be told to do, on the command line or over `DIR/cloud.sock`: one
//! JSON object a line each way. The answer has `ok`, and where that is false, `error`.

use crate::serve::Devcloud;
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// A line is shorter than this.
const MAX_BYTES: u64 = 1 << 20;
/// Within which a command is answered: the broker is given its own time within that.
const PATIENCE: Duration = Duration::from_secs(40);

/// A switch, as a person would say it.
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
    /// "Do Not Record Video or Audio": on means that the camera may not record.
    Privacy { switch: Switch },
    /// Issue a lease of a plan.
    Plan(Plan),
    /// Take the object store down, bring it up, or let it answer every request with a status.
    Store { state: StoreState, status: Option<u16> },
    /// Take the broker down, bring it up, or both.
    Broker { state: BrokerState },
    /// How the authority that cameras enrol with answers from now on.
    Est(crate::est::Manner),
    /// How requests for upload grants are answered from now on.
    Grants(crate::grants::Manner),
    /// How requests for temporary keys of the store are answered from now on.
    Keys(crate::keys::Manner),
    /// Sign claims, and publish nothing.
    Sign { kind: String, claims: String },
    /// Publish the bytes of a file, retained, whatever they are.
    PublishRaw {
        topic: String,
        file: PathBuf,
        /// Not retained.
        #[arg(long)]
        #[serde(default)]
        passing: bool,
    },
    /// What runs, and on which ports.
    Status,
    /// What the store holds.
    Objects,
}

/// A lease in the operator's words; what is not told is as the plan has it.
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
    /// When the lease ends: RFC 3339, or `+30d` from now, which it is unless told.
    #[arg(long)]
    #[serde(default)]
    pub not_after: Option<String>,
    /// When `--next-plan` takes over: RFC 3339, or `+10s` from now.
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
    /// The plan of that name, as it is sold.
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

/// Answers at the socket until it is dropped.
pub(crate) async fn answer(listener: UnixListener, cloud: Arc<Devcloud>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Arc::clone(&cloud)));
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn converse(stream: UnixStream, cloud: Arc<Devcloud>) {
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read.take(MAX_BYTES));
    let mut line = String::new();
    while let Ok(1..) = read.read_line(&mut line).await {
        let answer = match serde_json::from_str::<Command>(&line) {
            Ok(command) => cloud.execute(command).await,
            Err(error) => Err(format!("not a command: {error}")),
        };
        let answer = format!("{}\n", worded(answer));
        if write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
        read.get_mut().set_limit(MAX_BYTES);
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

/// Sends a command to the cloud of `dir`, and returns its answer.
///
/// # Errors
/// Where no cloud runs there, or it does not answer in time.
pub(crate) fn ask(dir: &Path, command: &Command) -> Result<Value, String> {
    let path = dir.join("cloud.sock");
    let failed =
        |e: std::io::Error| format!("{}: {e}: does `kasacam-devcloud serve` run there?", path.display());
    let mut stream = Blocking::connect(&path).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let line = serde_json::to_string(command).map_err(|e| e.to_string())?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    // The list of a full bucket is long, and comes from ourselves.
    BufReader::new(stream.take(1 << 30)).read_line(&mut answer).map_err(failed)?;
    serde_json::from_str(&answer).map_err(|_| format!("{}: the answer was cut off", path.display()))
}
