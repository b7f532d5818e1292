//! What a capture source hands on: initialisation segments, chunks, and the end of a run.

use super::time::Mono;
use bytes::Bytes;
use std::sync::Arc;

/// The number of a permit. Grows by one with each start of capture in this process; 0 means no permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// `ftyp` and `moov`, and what the rest of the agent needs to know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// The boxes `ftyp` and `moov`, nothing else.
    pub bytes: Bytes,
    /// RFC 6381 codec names in track order, such as `avc1.64001f,mp4a.40.2`.
    pub codecs: String,
    /// The video track.
    pub video: Track,
    /// The audio track, if there is one.
    pub audio: Option<Track>,
    /// Frame width in pixels.
    pub width: u32,
    /// Frame height in lines.
    pub height: u32,
}

/// A track of the `moov`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// `track_ID` of its `tkhd`.
    pub id: u32,
    /// Ticks a second, from its `mdhd`.
    pub timescale: u32,
}

/// One `moof` with its `mdat`.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The permit under which it was captured.
    pub epoch: Epoch,
    /// The `moov` that describes this chunk. A new `Arc` means a new `moov`.
    pub init: Arc<Init>,
    /// `moof` and `mdat`; `tfdt` counts from the start of the capture run.
    pub bytes: Bytes,
    /// The first frame is an IDR: a fragment starts here.
    pub starts_fragment: bool,
    /// The next frame is an IDR, or none follows: the fragment is complete with this chunk.
    pub ends_fragment: bool,
    /// `CLOCK_MONOTONIC` at the presentation of the first frame.
    pub start: Mono,
    /// From the presentation of the first frame to the end of the last one, in nanoseconds.
    pub duration: u64,
    /// Frames in it.
    pub frames: u32,
    /// How `start` was come by.
    pub timing: Timing,
}

/// How the times of footage were come by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// When it was captured, as far as the device tells.
    #[default]
    Device,
    /// When it came in over the network.
    Arrival,
    /// When it came in over the network, and how much earlier it was captured by the camera's own clock.
    Camera {
        /// From capture to arrival, in microseconds.
        lag_us: u32,
    },
}

/// Why a span ended; its text goes with the `mp4_end` object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanEnd {
    /// The owner's choice, the latch or the shutter forbids capture.
    Privacy,
    /// The lease forbids capture, or changed what it permits.
    Entitlement,
    /// The spool is full or cannot be written.
    Storage,
    /// The source failed, ended, or left a gap.
    Source,
    /// The system clock was stepped.
    Clock,
    /// The stream changed its format: a new `moov`.
    Format,
    /// The agent was told to stop.
    Shutdown,
    /// The process ended without closing the span; found at the next start.
    Power,
}

impl SpanEnd {
    /// The text of the `mp4_end` object; the same as serde's.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            SpanEnd::Privacy => "privacy",
            SpanEnd::Entitlement => "entitlement",
            SpanEnd::Storage => "storage",
            SpanEnd::Source => "source",
            SpanEnd::Clock => "clock",
            SpanEnd::Format => "format",
            SpanEnd::Shutdown => "shutdown",
            SpanEnd::Power => "power",
        }
    }
}

/// What travels through the bounded channel from the source to the spool, in order.
#[derive(Clone, Debug)]
pub enum Captured {
    /// The next chunk, in the order of decoding.
    Chunk(Chunk),
    /// No more chunks of this epoch follow. Always the last message of an epoch.
    End {
        /// The permit that ends.
        epoch: Epoch,
        /// Why the source stopped.
        reason: SpanEnd,
        /// `CLOCK_MONOTONIC` when its devices were closed.
        closed: Mono,
    },
}
