//! The board file.

use super::check::Check;
use crate::config::board::{Audio, AudioSource, Board, Video, VideoFormat, VideoSource};
use crate::config::encoder::EncoderKind;
use crate::config::pixels::Pixels;
use crate::config::problem::Place;
use crate::config::words::{AudioKind, VideoKind};
use crate::config::{address, codec, profile, rtsp};
use crate::domain::codec::Codec;

impl Check<'_> {
    pub(super) fn board(&mut self) -> Option<Board> {
        let name = self.merged.text("name").and_then(|(name, at)| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            let good = name.len() <= 64 && name.bytes().all(plain);
            if !good {
                self.problems.push(at, "name", "must be 1 to 64 of A-Z a-z 0-9 - _ .", "");
            }
            good.then(|| name.to_owned())
        });
        let mut video = self.video();
        let around = self.around;
        let profiles = profile::profiles(self.merged, self.problems, video.as_ref(), |merged, problems| {
            Check { merged, around, problems }.video()
        });
        if let Some(video) = &mut video {
            video.profiles = profiles;
        }
        let audio = match self.merged.word("audio.source.kind") {
            Some((kind, at)) => self.audio(kind, at),
            None => None,
        };
        Some(Board { name: name?, video: video?, audio })
    }

    fn video(&mut self) -> Option<Video> {
        let (kind, kind_at) = self.merged.word("video.source.kind")?;
        let source = self.video_source(kind);
        let format = self.format(kind, kind_at);
        let named = self.merged.word::<EncoderKind>("video.encoder.kind");
        let encoder = codec::encoder(self.merged, kind);
        match (format, named) {
            (Some(VideoFormat::Raw), None) if encoder.is_none() && !self.merged.is_bad("video.encoder") => {
                let problem = "is missing: the source delivers raw frames, which must be encoded";
                self.problems.push(
                    kind_at,
                    "video.encoder",
                    problem,
                    "add encoder = { kind = \"v4l2h264\" } or another",
                );
            }
            (Some(VideoFormat::H265), Some((_, at))) => {
                let problem = "is not used: the source gives H.265 itself";
                self.problems.push(at, "video.encoder", problem, "remove it, or write format = \"raw\"");
            }
            (Some(VideoFormat::H264), Some((encoder, at))) if encoder.codec() != Codec::H264 => {
                let problem = format!("{encoder} makes H.265, and the source gives H.264");
                let hint = "name an encoder of H.264: it scales the frames down for a smaller plan";
                self.problems.push(at, "video.encoder", problem, hint);
            }
            (Some(VideoFormat::Raw | VideoFormat::H264 | VideoFormat::H265) | None, _) => {}
        }
        if let Some(format) = format {
            codec::agree(self.merged, format, encoder.as_ref(), self.problems);
        }
        let mut even = |key: &str| {
            let (pixels, at) = self.merged.number(key)?;
            if pixels % 2 != 0 {
                self.problems.push(
                    at,
                    key,
                    format!("{pixels} is odd"),
                    "4:2:0 needs an even number of pixels",
                );
            }
            u32::try_from(pixels).ok()
        };
        let (width, height) = (even("video.width"), even("video.height"));
        Some(Video {
            source: source?,
            format: format?,
            encoder,
            width: width?,
            height: height?,
            fps: self.merged.frame_rate("video.fps")?.0,
            bitrate: self.merged.number("video.bitrate")?.0,
            profiles: Vec::new(),
            colorimetry: self.merged.word("video.colorimetry").map(|(colorimetry, _)| colorimetry),
            pixels: self.pixels(kind, format),
            source_properties: self.merged.properties("video.source.properties").to_vec(),
        })
    }

    fn video_source(&mut self, kind: VideoKind) -> Option<VideoSource> {
        match kind {
            VideoKind::V4l2 => Some(VideoSource::V4l2 { device: self.path("video.source.device")?.0 }),
            VideoKind::Libcamera => {
                let camera = self.merged.text("video.source.camera").map(|(camera, _)| camera.to_owned());
                Some(VideoSource::Libcamera { camera })
            }
            VideoKind::Rtsp => {
                let (url, at) = self.merged.text("video.source.url")?;
                match address::rtsp(url) {
                    Ok(()) => {
                        let transport = self.merged.word("video.source.transport")?.0;
                        let access = rtsp::access(self.merged, self.around, url, self.problems)?;
                        Some(VideoSource::Rtsp { url: url.to_owned(), transport, access })
                    }
                    Err((problem, hint)) => {
                        self.problems.push(at, "video.source.url", problem, hint);
                        None
                    }
                }
            }
            VideoKind::File => Some(VideoSource::File {
                path: self.path("video.source.path")?.0,
                realtime: self.merged.flag("video.source.realtime")?.0,
                repeat: self.merged.flag("video.source.loop")?.0,
            }),
            VideoKind::Pipeline => {
                let description = self.merged.text("video.source.description")?.0.to_owned();
                Some(VideoSource::Pipeline { description })
            }
            VideoKind::Test => Some(VideoSource::Test),
        }
    }

    fn pixels(&mut self, kind: VideoKind, format: Option<VideoFormat>) -> Option<Pixels> {
        let (pixels, at) = self.merged.word("video.source.pixels")?;
        if format.is_some_and(|format| format != VideoFormat::Raw) {
            let hint = "remove it, or write format = \"raw\"";
            self.problems.push(
                at,
                "video.source.pixels",
                "the source delivers encoded frames, not raw ones",
                hint,
            );
        }
        if pixels == Pixels::Mjpeg && kind != VideoKind::V4l2 {
            let hint = "mjpeg is for v4l2";
            let problem = format!("a {} source gives no JPEG images", kind.word());
            self.problems.push(at, "video.source.pixels", problem, hint);
        }
        Some(pixels)
    }

    /// `video.format`, or the format that the source implies.
    fn format(&mut self, kind: VideoKind, kind_at: &Place) -> Option<VideoFormat> {
        let given: Option<(VideoFormat, &Place)> = self.merged.word("video.format");
        let coded = match given {
            Some((given @ (VideoFormat::H264 | VideoFormat::H265), _)) => given,
            Some((VideoFormat::Raw, _)) | None => VideoFormat::coded(
                codec::configured(self.merged).map_or_else(Codec::default, |(codec, _)| codec),
            ),
        };
        let follows = match kind {
            VideoKind::Rtsp | VideoKind::File => Some(coded),
            VideoKind::Test => Some(VideoFormat::Raw),
            VideoKind::V4l2 | VideoKind::Libcamera | VideoKind::Pipeline => None,
        };
        match (given, follows) {
            (Some((given, at)), Some(follows)) if given != follows => {
                let gives = match follows {
                    VideoFormat::H264 => "H.264, which is taken as it is",
                    VideoFormat::H265 => "H.265, which is taken as it is",
                    VideoFormat::Raw => "raw frames",
                };
                self.problems.push(
                    at,
                    "video.format",
                    format!("a {} source gives {gives}", kind.word()),
                    "remove it",
                );
                None
            }
            (Some((given, _)), _) => Some(given),
            (None, Some(follows)) => Some(follows),
            (None, None) if self.merged.is_bad("video.format") => None,
            (None, None) => {
                let hint = "\"h264\" or \"h265\" if the device encodes, \"raw\" if it delivers raw frames";
                self.problems.push(kind_at, "video.format", "is missing", hint);
                None
            }
        }
    }

    fn audio(&mut self, kind: AudioKind, at: &Place) -> Option<Audio> {
        let source = match kind {
            AudioKind::Alsa => {
                let (device, at) = self.merged.text("audio.source.device")?;
                if device.contains(char::is_whitespace) {
                    self.problems.push(
                        at,
                        "audio.source.device",
                        "contains a space",
                        "such as \"hw:0\" or \"default\"",
                    );
                }
                AudioSource::Alsa { device: device.to_owned() }
            }
            AudioKind::Embedded => {
                match self.merged.word("video.source.kind").map_or(VideoKind::File, |(kind, _)| kind) {
                    VideoKind::Rtsp | VideoKind::File => {}
                    video @ (VideoKind::V4l2
                    | VideoKind::Libcamera
                    | VideoKind::Pipeline
                    | VideoKind::Test) => {
                        let problem = format!("a {} source has no audio track", video.word());
                        let hint = "embedded goes with file and rtsp";
                        self.problems.push(at, "audio.source.kind", problem, hint);
                    }
                }
                AudioSource::Embedded
            }
            AudioKind::Test => AudioSource::Test,
        };
        Some(Audio { source, properties: self.merged.properties("audio.source.properties").to_vec() })
    }
}
