//! Checks whether IDR frames come often enough.

use crate::capture::pipeline::Description;
use crate::domain::time::Mono;
use std::time::Duration;

/// How often an IDR frame is requested.
const REQUEST_INTERVAL: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyFrames {
    Fine,
    Request,
    /// Nothing can be stored: report it, once.
    Missing,
    /// Frames can be stored now.
    Found,
    /// The GOP has too many bytes; its length in seconds.
    TooLong(u64),
}

/// Checks each frame.
pub(super) struct KeyFrameWatch {
    /// A GOP that is longer should end.
    long: Duration,
    /// Time without a report.
    patience: Duration,
    max_gop: u64,
    first: Option<Mono>,
    requested: Option<Mono>,
    missing_reported: bool,
}

impl KeyFrameWatch {
    pub(super) fn new(description: &Description) -> KeyFrameWatch {
        KeyFrameWatch {
            long: description.segment,
            patience: description.fragment.saturating_mul(2),
            max_gop: description.max_gop,
            first: None,
            requested: None,
            missing_reported: false,
        }
    }

    /// `begun`: a frame has come at which decoding can begin; the pair: nanoseconds and bytes since the last one.
    pub(super) fn check(&mut self, begun: bool, (nanos, bytes): (i64, u64), now: Mono) -> KeyFrames {
        let first = *self.first.get_or_insert(now);
        let length = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        if begun && std::mem::take(&mut self.missing_reported) {
            return KeyFrames::Found;
        }
        if begun && bytes > self.max_gop {
            return KeyFrames::TooLong(length.as_secs());
        }
        if !begun && !self.missing_reported && now.since(first) > self.patience {
            self.missing_reported = true;
            return KeyFrames::Missing;
        }
        let due = if begun { length > self.long } else { true };
        if due && self.requested.is_none_or(|requested| now.since(requested) > REQUEST_INTERVAL) {
            self.requested = Some(now);
            return KeyFrames::Request;
        }
        KeyFrames::Fine
    }
}
