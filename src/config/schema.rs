//! Every key of both files: its type, its limits, and its default.
//!
//! `docs/configuration.md` lists the same keys; a test compares the two.

use super::board::{Transport, VideoFormat};
use super::encoder::EncoderKind;
use super::pixels::{Colorimetry, Pixels};
use super::privacy::LatchKind;
use super::sections::ClockTrust;
use super::upload::Addressing;
use super::words::{AudioKind, Bears, VideoKind, Word};
use crate::domain::codec::Codec;
use crate::domain::policy::{PrivacyPending, WhenFull};
use crate::domain::segmenter::Durability;
use crate::domain::settings::UploadOrder;
use std::time::Duration;

/// A `[section]` of a file; the empty name stands for the keys above the first section.
pub struct Section {
    /// The name between the brackets.
    pub name: &'static str,
    /// The keys that it may have; others are refused.
    pub keys: &'static [Key],
    /// The whole section may be missing, including its required keys.
    pub optional: bool,
}

/// One `name = value` of a section.
pub struct Key {
    /// Without the section.
    pub name: &'static str,
    /// Type and range of the value.
    pub kind: ValueKind,
    /// The meaning of a missing key.
    pub absent: Absent,
}

/// The meaning of a missing key.
#[derive(Clone, Copy)]
pub enum Absent {
    /// The key is required.
    Refused,
    /// The key is required, unless the file has this section.
    Unless(&'static str),
    /// There is no value.
    Nothing,
    /// The default.
    Is(&'static str),
}

/// The type of a value.
#[derive(Clone, Copy)]
pub enum ValueKind {
    /// Any text; the code that reads it checks it.
    Text,
    /// A path; relative to the folder of its file.
    Path,
    /// One to sixteen paths.
    Paths,
    /// A pipeline in the syntax of `gst-launch-1.0`: 1 to 4096 bytes, on one line or several.
    Description,
    /// Frames a second, 1 to 120: a whole number, a decimal, or a fraction as text.
    FrameRate,
    /// A table of properties of a GStreamer element, at max 32.
    Properties,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number {
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
    },
    /// Text such as `30s`.
    Duration {
        /// The minimum.
        min: Duration,
        /// The maximum.
        max: Duration,
    },
    /// Text such as `30s`, or `forever`.
    DurationOrForever {
        /// The minimum.
        min: Duration,
        /// The maximum, except for `forever`.
        max: Duration,
    },
    /// Text such as `2 GiB`, or a number of bytes.
    Bytes {
        /// The minimum, in bytes.
        min: u64,
        /// The maximum, in bytes.
        max: u64,
    },
    /// Text such as `8 Mbit/s`.
    Rate {
        /// The minimum, in bits a second.
        min: u64,
        /// The maximum, in bits a second.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A table with exactly one of these keys; a text is the value of the first.
    OneOf(&'static [Key]),
    /// A table whose `kind` decides its other keys.
    Tagged(&'static [Variant]),
    /// Several tables with these keys: `[[section.name]]`.
    Tables(&'static [Key]),
}

/// One form of a tagged table.
pub struct Variant {
    /// Its word for `kind`.
    pub kind: &'static str,
    /// The other keys of that form.
    pub keys: &'static [Key],
}

const fn key(name: &'static str, kind: ValueKind, absent: Absent) -> Key {
    Key { name, kind, absent }
}

const fn one_of<T: Word>() -> ValueKind {
    ValueKind::Choice(T::WORDS)
}

const fn variant(kind: &'static str, keys: &'static [Key]) -> Variant {
    Variant { kind, keys }
}

const fn section(name: &'static str, keys: &'static [Key]) -> Section {
    Section { name, keys, optional: false }
}

const fn millis(min: u64, max: u64) -> ValueKind {
    ValueKind::Duration { min: Duration::from_millis(min), max: Duration::from_millis(max) }
}

const CREDENTIALS: &[Key] = &[
    key("file", ValueKind::Path, Absent::Nothing),
    key("iot", ValueKind::Text, Absent::Nothing),
    key("grant", ValueKind::Flag, Absent::Nothing),
];

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

use Absent::{Is, Nothing, Refused, Unless};

/// `agent.toml`.
pub const AGENT: &[Section] = &[
    section(
        "device",
        &[
            key("id", ValueKind::Text, Refused),
            key("board", ValueKind::Path, Refused),
            key("identity", one_of::<Bears>(), Is("cn")),
            key("state_dir", ValueKind::Path, Is("/var/lib/kasacam")),
            key("socket", ValueKind::Path, Is("/run/kasacam/control.sock")),
        ],
    ),
    section(
        "mqtt",
        &[
            key("url", ValueKind::Text, Refused),
            key("ca", ValueKind::Path, Refused),
            key("cert", ValueKind::Path, Unless("identity")),
            key("key", ValueKind::Path, Unless("identity")),
            key("alpn", ValueKind::Text, Nothing),
            key("username", ValueKind::Text, Nothing),
            key("password", ValueKind::Path, Nothing),
            key("keep_alive", millis(5 * SECOND, 20 * MINUTE), Is("30s")),
            key("telemetry", millis(SECOND, DAY), Is("60s")),
            key("reconnect_spread", millis(0, 10 * MINUTE), Is("30s")),
        ],
    ),
    section(
        "entitlement",
        &[key("keys", ValueKind::Paths, Refused), key("offline_grace", millis(0, 365 * DAY), Is("72h"))],
    ),
    section("clock", &[key("trust", one_of::<ClockTrust>(), Is("kernel"))]),
    section(
        "recording",
        &[
            key("segment", millis(2 * SECOND, 10 * MINUTE), Is("30s")),
            key("fragment", millis(500, 10 * SECOND), Is("2s")),
            key("chunk", millis(100, 10 * SECOND), Is("500ms")),
            key("durability", one_of::<Durability>(), Is("fragment")),
            key("audio", ValueKind::Flag, Is("true")),
        ],
    ),
    section(
        "spool",
        &[
            key("max_bytes", ValueKind::Bytes { min: MIB, max: 64 * TIB }, Is("2 GiB")),
            key("min_free", ValueKind::Bytes { min: 0, max: 64 * TIB }, Is("64 MiB")),
            key("max_files", ValueKind::Number { min: 16, max: 1_000_000 }, Is("65536")),
            key("hold", millis(0, 365 * DAY), Is("72h")),
            key("when_full", one_of::<WhenFull>(), Is("evict")),
            key("encrypt", ValueKind::Flag, Is("false")),
            // Required by `encrypt`; otherwise the key of encrypted files that still exist.
            key("key", ValueKind::Path, Nothing),
        ],
    ),
    section(
        "upload",
        &[
            key("url", ValueKind::Text, Refused),
            key("endpoint", ValueKind::Text, Refused),
            key("region", ValueKind::Text, Is("us-east-1")),
            key("addressing", one_of::<Addressing>(), Is("path")),
            key("postfix", ValueKind::Text, Nothing),
            key("tags", ValueKind::Flag, Is("true")),
            key("checksums", ValueKind::Flag, Is("true")),
            key("ca", ValueKind::Path, Refused),
            key("credentials", ValueKind::OneOf(CREDENTIALS), Refused),
            key("max_rate", ValueKind::Rate { min: 64_000, max: 10_000_000_000 }, Nothing),
            key("order", one_of::<UploadOrder>(), Is("newest")),
            key("allow_plaintext", ValueKind::Flag, Is("false")),
            key("concurrency", ValueKind::Number { min: 1, max: 2 }, Is("2")),
        ],
    ),
    section(
        "privacy",
        &[
            // Default: `entitlement.keys`.
            key("keys", ValueKind::Paths, Nothing),
            key("pending", one_of::<PrivacyPending>(), Is("upload")),
            key(
                "unheard_hold",
                ValueKind::DurationOrForever { min: Duration::ZERO, max: Duration::from_millis(365 * DAY) },
                Is("15m"),
            ),
            key("indicator", ValueKind::Path, Nothing),
            key("latch", ValueKind::Tagged(LATCHES), Nothing),
        ],
    ),
    Section {
        name: "identity",
        keys: &[
            key("est", ValueKind::Text, Refused),
            // Default: `mqtt.ca`.
            key("ca", ValueKind::Path, Nothing),
            key("cert", ValueKind::Path, Nothing),
            key("key", ValueKind::Path, Nothing),
            key("password", ValueKind::Path, Nothing),
        ],
        optional: true,
    },
];

/// The board file.
pub const BOARD: &[Section] = &[
    section("", &[key("name", ValueKind::Text, Refused)]),
    section(
        "video",
        &[
            key("source", ValueKind::Tagged(VIDEO_SOURCES), Refused),
            // Default: the codec of the format or of the encoder; otherwise h264.
            key("codec", one_of::<Codec>(), Nothing),
            // Default: `raw` for test, the codec for file and rtsp.
            key("format", one_of::<VideoFormat>(), Nothing),
            key("encoder", ValueKind::Tagged(ENCODERS), Nothing),
            key("width", ValueKind::Number { min: 16, max: 7680 }, Refused),
            key("height", ValueKind::Number { min: 16, max: 4320 }, Refused),
            key("fps", ValueKind::FrameRate, Refused),
            key("bitrate", ValueKind::Rate { min: 16_000, max: 100_000_000 }, Refused),
            // Default: bt709 for libcamera, otherwise as the source delivers it.
            key("colorimetry", one_of::<Colorimetry>(), Nothing),
            key("profile", ValueKind::Tables(PROFILE), Nothing),
        ],
    ),
    Section {
        name: "audio",
        keys: &[key("source", ValueKind::Tagged(AUDIO_SOURCES), Refused)],
        optional: true,
    },
];

/// Keys that a profile does not have are taken from `[video]`.
const PROFILE: &[Key] = &[
    key("url", ValueKind::Text, Nothing),
    key("source", ValueKind::Tagged(VIDEO_SOURCES), Nothing),
    key("format", one_of::<VideoFormat>(), Nothing),
    key("encoder", ValueKind::Tagged(ENCODERS), Nothing),
    key("width", ValueKind::Number { min: 16, max: 7680 }, Refused),
    key("height", ValueKind::Number { min: 16, max: 4320 }, Refused),
    key("fps", ValueKind::FrameRate, Nothing),
    key("bitrate", ValueKind::Rate { min: 16_000, max: 100_000_000 }, Nothing),
];

/// Codes of `linux/input-event-codes.h`, up to `SW_MAX` and `KEY_MAX`. One of `device` and `name` is required.
const LATCHES: &[Variant] = &[
    variant(
        LatchKind::Switch.word(),
        &[
            key("device", ValueKind::Path, Nothing),
            key("name", ValueKind::Text, Nothing),
            key("code", ValueKind::Number { min: 0, max: 0x10 }, Refused),
        ],
    ),
    variant(
        LatchKind::Button.word(),
        &[
            key("device", ValueKind::Path, Nothing),
            key("name", ValueKind::Text, Nothing),
            key("code", ValueKind::Number { min: 1, max: 0x2ff }, Refused),
        ],
    ),
];

const PIXELS: Key = key("pixels", one_of::<Pixels>(), Nothing);
const PROPERTIES: Key = key("properties", ValueKind::Properties, Nothing);

const VIDEO_SOURCES: &[Variant] = &[
    variant(VideoKind::V4l2.word(), &[key("device", ValueKind::Path, Refused), PIXELS, PROPERTIES]),
    variant(VideoKind::Libcamera.word(), &[key("camera", ValueKind::Text, Nothing), PIXELS, PROPERTIES]),
    variant(VideoKind::Pipeline.word(), &[key("description", ValueKind::Description, Refused), PIXELS]),
    variant(
        VideoKind::Rtsp.word(),
        &[
            key("url", ValueKind::Text, Refused),
            key("transport", one_of::<Transport>(), Is("auto")),
            key("credentials", ValueKind::Path, Nothing),
            key("ca", ValueKind::Path, Nothing),
            key("fingerprint", ValueKind::Text, Nothing),
            PROPERTIES,
        ],
    ),
    variant(
        VideoKind::File.word(),
        &[
            key("path", ValueKind::Path, Refused),
            key("realtime", ValueKind::Flag, Is("true")),
            key("loop", ValueKind::Flag, Is("false")),
        ],
    ),
    variant(VideoKind::Test.word(), &[]),
];

const AUDIO_SOURCES: &[Variant] = &[
    variant(AudioKind::Alsa.word(), &[key("device", ValueKind::Text, Refused), PROPERTIES]),
    variant(AudioKind::Test.word(), &[]),
    variant(AudioKind::Embedded.word(), &[]),
];

const ENCODERS: &[Variant] = &[
    variant(EncoderKind::V4l2H264.word(), &[PROPERTIES]),
    variant(EncoderKind::X264.word(), &[PROPERTIES]),
    variant(EncoderKind::OpenH264.word(), &[PROPERTIES]),
    variant(EncoderKind::MppH264.word(), &[PROPERTIES]),
    variant(EncoderKind::VpuencH264.word(), &[PROPERTIES]),
    variant(EncoderKind::OmxH264.word(), &[PROPERTIES]),
    variant(EncoderKind::V4l2H265.word(), &[PROPERTIES]),
    variant(EncoderKind::X265.word(), &[PROPERTIES]),
    variant(EncoderKind::MppH265.word(), &[PROPERTIES]),
    variant(EncoderKind::VpuencHevc.word(), &[PROPERTIES]),
    variant(EncoderKind::OmxH265.word(), &[PROPERTIES]),
];

// Each word has a variant above.
const _: () = assert!(LATCHES.len() == LatchKind::WORDS.len());
const _: () = assert!(VIDEO_SOURCES.len() == VideoKind::WORDS.len());
const _: () = assert!(AUDIO_SOURCES.len() == AudioKind::WORDS.len());
const _: () = assert!(ENCODERS.len() == EncoderKind::WORDS.len());
