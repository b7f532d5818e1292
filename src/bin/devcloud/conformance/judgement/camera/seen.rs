//! What `watch` has seen of a camera.

use super::super::row::Look;
use kasacam::domain::time::Utc;
use kasacam::fmp4::Layout;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that was seen; for what was not looked at, the reason.
pub(crate) struct CameraSeen {
    pub(crate) device: String,
    /// The part of a key before the device id: empty, or ends with a slash.
    pub(crate) prefix: String,
    /// The part of a key after the date.
    pub(crate) postfix: String,
    /// What the broker retained when the watch began.
    pub(crate) retained: Vec<Message>,
    /// Messages during the watch, in order; also commands.
    pub(crate) live: Vec<Message>,
    /// Commands that the camera must refuse.
    pub(crate) attempts: Look<Vec<Attempt>>,
    /// `mqtt.telemetry`.
    pub(crate) telemetry: Duration,
    pub(crate) objects: Look<Vec<ObjectSeen>>,
}

/// A message below the camera's id.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) at: Utc,
    /// The part after `kasacam/v1/{device_id}/`.
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// As it was published.
    pub(crate) qos: u8,
    /// As it was published.
    pub(crate) retain: bool,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation: Option<Vec<u8>>,
}

impl Message {
    /// The payload of a message of the camera.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.payload).ok()
    }

    /// Whether it comes from the camera.
    pub(crate) fn is_report(&self) -> bool {
        !self.topic.ends_with("/desired") && self.topic != "grant/response"
    }
}

/// A command that a camera must refuse.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The reason that it must report.
    pub(crate) reason: &'static str,
    pub(crate) at: Utc,
    pub(crate) payload: Vec<u8>,
    pub(crate) version: u64,
}

/// An object of the store.
#[derive(Clone, Debug)]
pub(crate) struct ObjectSeen {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// The checksum that the store returns, in hexadecimal.
    pub(crate) checksum: Option<String>,
    /// SHA-256 of the received bytes, in hexadecimal.
    pub(crate) sha256: String,
    /// Its content, or why it cannot be read; `None` for the end of a span.
    pub(crate) layout: Option<Look<Layout>>,
}
