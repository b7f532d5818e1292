//! What `watch` has seen of a camera.

use super::super::row::Look;
use kasacam::domain::time::Utc;
use kasacam::fmp4::Layout;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything, each with why it was not looked at where it was not.
pub(crate) struct CameraSeen {
    pub(crate) device: String,
    /// Before the device id in a key: empty, or ends with a slash.
    pub(crate) prefix: String,
    /// Behind the date in a key.
    pub(crate) postfix: String,
    /// What the broker retained when the watch began.
    pub(crate) retained: Vec<Message>,
    /// What was said while it was watched, in that order; commands too.
    pub(crate) live: Vec<Message>,
    /// Commands that were said only to be refused.
    pub(crate) attempts: Look<Vec<Attempt>>,
    /// `mqtt.telemetry`.
    pub(crate) telemetry: Duration,
    pub(crate) objects: Look<Vec<ObjectSeen>>,
}

/// A message below the camera's id.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) at: Utc,
    /// Behind `kasacam/v1/{device_id}/`.
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
    /// The payload of what the camera says.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.payload).ok()
    }

    /// Whether it comes from the camera.
    pub(crate) fn is_report(&self) -> bool {
        !self.topic.ends_with("/desired") && self.topic != "grant/response"
    }
}

/// A command that a camera has to refuse.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The reason that it has to give.
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
    /// What the store says, in hexadecimal.
    pub(crate) checksum: Option<String>,
    /// Of the bytes that came, in hexadecimal.
    pub(crate) sha256: String,
    /// What is in it, or why it cannot be read; of an end of a span nothing.
    pub(crate) layout: Option<Look<Layout>>,
}
