//! From a board's description to the elements of a pipeline, without making any of them.

use super::encoder::{self, Coding};
use crate::config::{AudioSource, Board, Recording, VideoFormat, VideoSource};
use crate::domain::effect::CaptureSettings;
use std::fmt::Display;
use std::path::Path;

/// An element to be made: its factory and its properties, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub factory: String,
    pub properties: Vec<(&'static str, String)>,
}

impl Element {
    #[must_use]
    pub fn new(factory: &str) -> Element {
        Element { factory: factory.to_owned(), properties: Vec::new() }
    }

    #[must_use]
    pub fn set(mut self, name: &'static str, value: impl Display) -> Element {
        self.properties.push((name, value.to_string()));
        self
    }

    fn caps(caps: impl Display) -> Element {
        Element::new("capsfilter").set("caps", caps)
    }
}

/// What a pipeline is made of. The ends of `video` and `audio` are linked to the muxer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where both come from, for files and streams: the last element has pads that come and go.
    pub shared: Vec<Element>,
    pub video: Vec<Element>,
    pub audio: Option<Vec<Element>>,
    /// The coded picture comes as it is: it cannot be made smaller.
    pub passed_through: bool,
    /// The last shared element is asked to start over when it comes to its end.
    pub repeat: bool,
    /// `muxer.chunk-duration`, in nanoseconds.
    pub chunk: u64,
}

/// What is in a file, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Mp4,
    Matroska,
    AnnexB,
}

impl Container {
    /// Tells by the first 16 bytes.
    #[must_use]
    pub fn sniff(head: &[u8]) -> Option<Container> {
        match head {
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Container::Matroska),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Container::Mp4),
            [0, 0, 1, ..] | [0, 0, 0, 1, ..] => Some(Container::AnnexB),
            _ => None,
        }
    }
}

/// The AAC encoders that are known, best first; the first that is installed is taken.
pub const AAC_ENCODERS: [&str; 4] = ["fdkaacenc", "avenc_aac", "voaacenc", "faac"];

/// What is installed, as far as a choice depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The encoder that the test source uses where the board names none.
    pub test_encoder: &'static str,
    pub aac_encoder: &'static str,
}

/// Plans the pipeline of a board. `container` is what the file holds, for a file.
///
/// # Errors
/// What cannot be, and what to do.
pub fn plan(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
    installed: &Installed,
    container: Option<Container>,
) -> Result<Plan, String> {
    let video = &board.video;
    let gop = (recording.fragment.as_secs_f64() * f64::from(video.fps)).round().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "10 s at 120 fps at most")]
    let coding = Coding { gop: gop as u32, bitrate: video.bitrate };
    let (width, height) = fit(video.width, video.height, settings.max_height);
    let encode = |default: &str| {
        let kind = video.encoder.as_ref().map_or(default, |encoder| encoder.kind.as_str());
        encoder::element(kind, coding).ok_or_else(|| {
            format!("video.encoder: {kind:?} is not known; known are {}", encoder::KINDS.join(", "))
        })
    };
    let parse = || {
        [
            Element::new("h264parse").set("config-interval", 0),
            Element::caps("video/x-h264,stream-format=avc,alignment=au"),
        ]
    };
    let queue = || Element::new("queue").set("max-size-buffers", 0).set("max-size-bytes", 16 << 20);
    let raw = |caps: String| Element::caps(format!("video/x-raw,{caps}"));
    let size = format!("width={width},height={height}");
    let rate = format!("framerate={}/1", video.fps);
    let mut plan = Plan {
        shared: Vec::new(),
        video: Vec::new(),
        audio: None,
        passed_through: false,
        repeat: false,
        chunk: u64::try_from(recording.chunk.as_nanos()).unwrap_or(u64::MAX),
    };
    let from_camera = |source: Element| -> Result<(Vec<Element>, bool), String> {
        Ok(match video.format {
            VideoFormat::H264 => {
                let caps = format!("video/x-h264,width={},height={},{rate}", video.width, video.height);
                (vec![source, Element::caps(caps), queue()], true)
            }
            VideoFormat::Raw => {
                let camera = format!("width={},height={},{rate}", video.width, video.height);
                let encoder = encode("v4l2h264")?;
                let mut elements = vec![source, raw(camera), queue(), Element::new("videoconvert")];
                if (width, height) != (video.width, video.height) {
                    elements.extend([Element::new("videoscale"), raw(size.clone())]);
                }
                elements.push(encoder);
                (elements, false)
            }
        })
    };
    match &video.source {
        VideoSource::Test => {
            plan.video = vec![
                Element::new("videotestsrc").set("is-live", true).set("pattern", "ball"),
                raw(format!("{size},{rate}")),
                // The number of the picture, then the time, so that footage can be checked by eye.
                Element::new("timeoverlay").set("time-mode", "buffer-count").set("halignment", "left"),
                Element::new("clockoverlay").set("halignment", "right").set("time-format", "%F %T"),
                Element::new("videoconvert"),
                raw(String::from("format=I420")),
                encode(installed.test_encoder)?,
            ];
        }
        VideoSource::V4l2 { device } => {
            let source = Element::new("v4l2src").set("device", device.display()).set("do-timestamp", true);
            (plan.video, plan.passed_through) = from_camera(source)?;
        }
        VideoSource::Libcamera { camera } => {
            let source = Element::new("libcamerasrc");
            let source = match camera {
                Some(name) => source.set("camera-name", name),
                None => source,
            };
            (plan.video, plan.passed_through) = from_camera(source)?;
        }
        VideoSource::Rtsp { url } => {
            plan.shared = vec![
                Element::new("rtspsrc")
                    .set("location", url)
                    .set("protocols", "tcp")
                    .set("latency", 200)
                    .set("tcp-timeout", 5_000_000)
                    .set("timeout", 5_000_000),
            ];
            plan.video = vec![Element::new("rtph264depay"), queue()];
            plan.passed_through = true;
        }
        VideoSource::File { path, realtime, repeat } => {
            let container = container.ok_or_else(|| not_ours(path))?;
            plan.passed_through = true;
            match container {
                Container::AnnexB => {
                    // A bare stream has no times of its own: pictures come at the board's rate.
                    let source = if *repeat {
                        Element::new("multifilesrc").set("location", path.display()).set("loop", true)
                    } else {
                        Element::new("filesrc").set("location", path.display())
                    };
                    plan.video = vec![
                        source,
                        Element::caps(format!("video/x-h264,stream-format=byte-stream,{rate}")),
                        Element::new("h264parse"),
                        Element::caps(format!("video/x-h264,alignment=au,{rate}")),
                        Element::new("h264timestamper"),
                    ];
                }
                Container::Mp4 | Container::Matroska => {
                    let demuxer = if container == Container::Mp4 { "qtdemux" } else { "matroskademux" };
                    plan.shared =
                        vec![Element::new("filesrc").set("location", path.display()), Element::new(demuxer)];
                    plan.video = vec![queue()];
                    plan.repeat = *repeat;
                }
            }
            if *realtime {
                plan.video.push(Element::new("clocksync"));
            }
        }
    }
    plan.video.extend(parse());
    plan.audio = audio(board, settings, installed, realtime(&video.source));
    Ok(plan)
}

fn realtime(source: &VideoSource) -> bool {
    match source {
        VideoSource::File { realtime, .. } => *realtime,
        VideoSource::V4l2 { .. } | VideoSource::Libcamera { .. } | VideoSource::Rtsp { .. } | VideoSource::Test => false,
    }
}

fn audio(board: &Board, settings: CaptureSettings, installed: &Installed, paced: bool) -> Option<Vec<Element>> {
    let source = &board.audio.as_ref().filter(|_| settings.audio)?.source;
    let encode = |source: Element| {
        vec![
            source,
            Element::new("queue"),
            Element::new("audioconvert"),
            Element::new("audioresample"),
            Element::caps("audio/x-raw,rate=48000,channels=1"),
            Element::new(installed.aac_encoder),
        ]
    };
    let mut elements = match source {
        AudioSource::Alsa { device } => encode(Element::new("alsasrc").set("device", device)),
        AudioSource::Test => {
            encode(Element::new("audiotestsrc").set("is-live", true).set("wave", "ticks"))
        }
        AudioSource::Embedded => {
            let mut elements = match board.video.source {
                VideoSource::Rtsp { .. } => vec![Element::new("rtpmp4gdepay")],
                VideoSource::V4l2 { .. }
                | VideoSource::Libcamera { .. }
                | VideoSource::File { .. }
                | VideoSource::Test => Vec::new(),
            };
            elements.push(Element::new("queue"));
            if paced {
                elements.push(Element::new("clocksync"));
            }
            elements
        }
    };
    elements.push(Element::new("aacparse"));
    Some(elements)
}

/// The largest picture of the same shape that is no higher than `most`, with even sides.
fn fit(width: u32, height: u32, most: u32) -> (u32, u32) {
    if height <= most || height == 0 {
        return (width, height);
    }
    let narrowed = u64::from(width) * u64::from(most) / u64::from(height);
    (u32::try_from(narrowed).unwrap_or(width) & !1, most & !1)
}

fn not_ours(path: &Path) -> String {
    format!("{}: neither MP4, nor Matroska, nor an H.264 Annex B stream (board: video.source.path)", path.display())
}
