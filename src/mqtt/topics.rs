//! The topics of one camera, below `kasacam/v1/{device_id}`. None contains a wildcard: a device id consists
//! of `A-Z a-z 0-9 - _`.

use crate::domain::effect::Report;
use crate::domain::grant::GrantRequest;
use crate::domain::time::Utc;
use bytes::Bytes;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The payload of the last will.
pub const OFFLINE: &[u8] = br#"{"online":false}"#;

/// Maximum size of a report in bytes. A longer one is not sent.
const MAX_BYTES: usize = 16 * 1024;

/// What the cloud may tell the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `R/privacy/desired`.
    Privacy,
    /// `R/entitlement/desired`.
    Entitlement,
}

/// The topics of one camera.
#[derive(Clone, Debug)]
pub struct Topics {
    privacy_desired: String,
    entitlement_desired: String,
    privacy_reported: Arc<str>,
    entitlement_reported: Arc<str>,
    status: Arc<str>,
    telemetry: Arc<str>,
    event: Arc<str>,
    grant_request: Arc<str>,
    grant_response: Arc<str>,
}

/// What the broker retains: only the latest of each counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainedKind {
    /// `R/status`.
    Status,
    /// `R/privacy/reported`.
    Privacy,
    /// `R/entitlement/reported`.
    Entitlement,
}

/// How a message waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Retained; a newer one replaces one that waits.
    Retained(RetainedKind),
    /// Every one counts.
    Event,
    /// Only the latest counts.
    Telemetry,
    /// Only the latest counts.
    GrantRequest,
}

/// How a request must be answered (MQTT 5, 4.10).
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The topic of the answer.
    pub topic: Arc<str>,
    /// What the answer must repeat.
    pub correlation: Bytes,
}

/// A message to the broker, QoS 1.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic in full, without wildcards.
    pub topic: Arc<str>,
    /// How it waits to be sent.
    pub kind: MessageKind,
    /// JSON in UTF-8.
    pub payload: Bytes,
    /// Present if it is a request.
    pub reply: Option<Reply>,
}

impl Message {
    /// Sent with the RETAIN flag (MQTT 5, 3.3.1.3).
    #[must_use]
    pub fn is_retained(&self) -> bool {
        match self.kind {
            MessageKind::Retained(_) => true,
            MessageKind::Event | MessageKind::Telemetry | MessageKind::GrantRequest => false,
        }
    }
}

/// Without the payload.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.topic, self.payload.len())
    }
}

impl Topics {
    /// The topics below `kasacam/v1/{device}/`; `device` must be a valid id.
    #[must_use]
    pub fn new(device: &str) -> Topics {
        let topic = |name: &str| format!("kasacam/v1/{device}/{name}");
        Topics {
            privacy_desired: topic("privacy/desired"),
            entitlement_desired: topic("entitlement/desired"),
            privacy_reported: topic("privacy/reported").into(),
            entitlement_reported: topic("entitlement/reported").into(),
            status: topic("status").into(),
            telemetry: topic("telemetry").into(),
            event: topic("event").into(),
            grant_request: topic("grant/request").into(),
            grant_response: topic("grant/response").into(),
        }
    }

    /// What is subscribed to, each with QoS 1.
    #[must_use]
    pub fn subscriptions(&self) -> [&str; 2] {
        [&self.privacy_desired, &self.entitlement_desired]
    }

    /// The command of this topic; `None` for an unknown topic.
    #[must_use]
    pub fn command(&self, topic: &[u8]) -> Option<Command> {
        [Command::Privacy, Command::Entitlement]
            .into_iter()
            .find(|command| self.of_command(*command).as_bytes() == topic)
    }

    /// The topic of the command; to subscribe to.
    #[must_use]
    pub fn of_command(&self, command: Command) -> &str {
        match command {
            Command::Privacy => &self.privacy_desired,
            Command::Entitlement => &self.entitlement_desired,
        }
    }

    /// `R/status`, which is also the will topic (MQTT 5, 3.1.3.3).
    #[must_use]
    pub fn status(&self) -> &str {
        &self.status
    }

    /// The message of a report. `None` if it cannot be written or exceeds 16 KiB.
    #[must_use]
    pub fn message(&self, report: &Report) -> Option<Message> {
        let (topic, kind) = match report {
            Report::Privacy(_) => (&self.privacy_reported, MessageKind::Retained(RetainedKind::Privacy)),
            Report::Entitlement(_) => {
                (&self.entitlement_reported, MessageKind::Retained(RetainedKind::Entitlement))
            }
            Report::Telemetry(_) => (&self.telemetry, MessageKind::Telemetry),
            Report::Event(_) => (&self.event, MessageKind::Event),
        };
        let payload = serde_json::to_vec(report).ok().filter(|payload| payload.len() <= MAX_BYTES)?;
        Some(Message { topic: Arc::clone(topic), kind, payload: payload.into(), reply: None })
    }

    /// `R/grant/response`.
    #[must_use]
    pub fn grant_response(&self) -> &str {
        &self.grant_response
    }

    /// A request for grants. `None` if it cannot be written or exceeds 16 KiB.
    #[must_use]
    pub fn grant_request(&self, request: &GrantRequest) -> Option<Message> {
        let payload = serde_json::to_vec(request).ok().filter(|payload| payload.len() <= MAX_BYTES)?;
        let correlation = Bytes::copy_from_slice(request.id.as_bytes());
        Some(Message {
            topic: Arc::clone(&self.grant_request),
            kind: MessageKind::GrantRequest,
            payload: payload.into(),
            reply: Some(Reply { topic: Arc::clone(&self.grant_response), correlation }),
        })
    }

    /// Reports that the camera is online, with its version and its start time; `None` while no clock can be
    /// trusted.
    #[must_use]
    pub fn online(&self, since: Option<Utc>) -> Message {
        #[derive(Serialize)]
        struct Online {
            online: bool,
            version: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            since: Option<Utc>,
        }
        let status = Online { online: true, version: env!("CARGO_PKG_VERSION"), since };
        self.status_message(serde_json::to_vec(&status).unwrap_or_default())
    }

    /// Reports that the camera goes offline: the same as the last will.
    #[must_use]
    pub fn offline(&self) -> Message {
        self.status_message(OFFLINE.to_vec())
    }

    fn status_message(&self, payload: Vec<u8>) -> Message {
        Message {
            topic: Arc::clone(&self.status),
            kind: MessageKind::Retained(RetainedKind::Status),
            payload: payload.into(),
            reply: None,
        }
    }
}
