//! The words that keys accept. Each is a variant of an enum, so a new word cannot be read as an old one: the schema takes
//! its words from here, and code that reads a key gets the variant.

use super::board::{Transport, VideoFormat};
use super::encoder::EncoderKind;
use super::pixels::{Colorimetry, Pixels};
use super::privacy::LatchKind;
use super::sections::ClockTrust;
use super::upload::Addressing;
use crate::domain::codec::Codec;
use crate::domain::policy::{PrivacyPending, WhenFull};
use crate::domain::segmenter::Durability;
use crate::domain::settings::UploadOrder;
use std::fmt;

/// An enum whose variants have words in a file.
pub(super) trait Word: Copy + 'static {
    /// In the order of messages.
    const WORDS: &'static [&'static str];

    /// The variant that `word` stands for.
    fn of(word: &str) -> Option<Self>;
}

/// The words of an enum, one for each variant. A variant without a word, or a word used twice, does not compile.
macro_rules! words {
    ($type:ident { $($word:literal = $variant:ident),+ $(,)? }) => {
        impl $type {
            /// Its word in a file.
            pub(crate) const fn word(self) -> &'static str {
                match self {
                    $($type::$variant => $word),+
                }
            }
        }

        impl Word for $type {
            const WORDS: &'static [&'static str] = &[$($type::$variant.word()),+];

            fn of(word: &str) -> Option<$type> {
                match word {
                    $($word => Some($type::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

words!(Bears { "cn" = CommonName, "san" = San, "any" = Anything });
words!(ClockTrust { "kernel" = Kernel, "system" = System });
words!(Durability { "chunk" = Chunk, "fragment" = Fragment, "segment" = Segment });
words!(WhenFull { "evict" = Evict, "stop" = Stop });
words!(Addressing { "path" = Path, "virtual" = Virtual });
words!(UploadOrder { "newest" = Newest, "oldest" = Oldest });
words!(PrivacyPending { "upload" = Upload, "hold" = Hold, "purge" = Purge });
words!(LatchKind { "switch" = Switch, "button" = Button });
words!(Transport { "auto" = Auto, "tcp" = Tcp, "udp" = Udp });
words!(Codec { "h264" = H264, "h265" = H265 });
words!(VideoFormat { "h264" = H264, "h265" = H265, "raw" = Raw });
words!(Colorimetry { "bt601" = Bt601, "bt709" = Bt709 });
words!(Pixels { "nv12" = Nv12, "i420" = I420, "yuy2" = Yuy2, "uyvy" = Uyvy, "mjpeg" = Mjpeg });
words!(VideoKind {
    "v4l2" = V4l2,
    "libcamera" = Libcamera,
    "rtsp" = Rtsp,
    "file" = File,
    "pipeline" = Pipeline,
    "test" = Test,
});
words!(AudioKind { "alsa" = Alsa, "test" = Test, "embedded" = Embedded });
words!(EncoderKind {
    "v4l2h264" = V4l2H264,
    "x264" = X264,
    "openh264" = OpenH264,
    "mpph264" = MppH264,
    "vpuenc_h264" = VpuencH264,
    "omxh264" = OmxH264,
    "v4l2h265" = V4l2H265,
    "x265" = X265,
    "mpph265" = MppH265,
    "vpuenc_hevc" = VpuencHevc,
    "omxh265" = OmxH265,
});

/// `video.source.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VideoKind {
    V4l2,
    Libcamera,
    Rtsp,
    File,
    Pipeline,
    Test,
}

/// `audio.source.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AudioKind {
    Alsa,
    Test,
    Embedded,
}

/// The part of the certificate that must be the device's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bears {
    /// Its only common name.
    CommonName,
    /// A DNS name or a URI of its subjectAltName; of a URI the last part is enough.
    San,
    /// None: the broker identifies the device by the certificate itself.
    Anything,
}

impl EncoderKind {
    /// All encoders, in the order of messages.
    pub fn all() -> impl Iterator<Item = EncoderKind> {
        EncoderKind::WORDS.iter().filter_map(|word| EncoderKind::of(word))
    }
}

impl fmt::Display for EncoderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
