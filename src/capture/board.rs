//! From a board to the description of its pipeline: elements, properties, order. Plain data, made by a pure
//! function; [`super::gst`] builds it.

use super::controls;
use super::encoder::{self, Demand};
use super::pipeline::{
    AUDIO_FEED, Container, Description, Element, NUMBER_OVERLAY, Origin, Stage, TEST_SOURCE, Unfit,
    VIDEO_FEED, media, queue,
};
use super::profile::{self, Sizing};
use super::raw::Raw;
use super::rtp_audio;
use crate::config::{
    AudioSource, Board, EncoderKind, Recording, RtspAccess, Transport, VideoFormat, VideoSource,
};
use crate::domain::codec::Codec;
use crate::domain::effect::CaptureSettings;

/// Maximum bytes of a GOP; a segment of the spool may be larger.
const MAX_GOP: u64 = 64 << 20;
/// Bits a second of audio that is encoded.
const AUDIO_BITRATE: u32 = 64_000;

/// The pipeline of a board under these settings.
///
/// # Errors
/// If the board has raw frames and no encoder.
pub fn describe(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
) -> Result<Description, Unfit> {
    describe_learnt(board, recording, settings, |_| None)
}

/// [`describe`], where `learnt` gives the lines that a stream of the board was seen to have.
///
/// # Errors
/// As [`describe`].
pub fn describe_learnt(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
    learnt: impl Fn(usize) -> Option<u32>,
) -> Result<Description, Unfit> {
    let choice = profile::choose(board, settings.max_height, learnt);
    let board = &Board { video: choice.video, ..board.clone() };
    let chosen = (choice.profile, choice.sizing);
    let video = video(board, recording, settings, (choice.size.0, choice.size.1, choice.sizing))?;
    let audio = match (&board.audio, settings.audio) {
        (Some(audio), true) => Some(audio_stages(board, &audio.source)),
        (Some(_) | None, _) => None,
    };
    let embedded = board.audio.as_ref().is_some_and(|audio| audio.source == AudioSource::Embedded);
    let from_rtsp = audio.is_some() && embedded && matches!(board.video.source, VideoSource::Rtsp { .. });
    let origin = match &board.video.source {
        VideoSource::Rtsp { url, transport, .. } => Origin::Rtsp(
            Element::new("rtspsrc")
                .with("location", url)
                .with(
                    "protocols",
                    match transport {
                        // UDP only after the camera has refused TCP.
                        Transport::Auto | Transport::Tcp => "tcp",
                        Transport::Udp => "udp",
                    },
                )
                .with("latency", 200)
                // For the connection and each answer, in microseconds: then the run ends, and the agent starts another.
                .with("tcp-timeout", 5_000_000)
                .with("timeout", 5_000_000)
                // In nanoseconds. The camera gets a TEARDOWN; closing does not wait for its answer.
                .with("teardown-timeout", 50_000_000)
                .with_all(&board.video.source_properties),
        ),
        VideoSource::File { path, repeat, .. } => {
            Origin::File { path: path.clone(), container: container(path), repeat: *repeat }
        }
        VideoSource::V4l2 { .. }
        | VideoSource::Libcamera { .. }
        | VideoSource::Pipeline { .. }
        | VideoSource::Test => Origin::Branches,
    };
    Ok(Description {
        origin,
        codec: board.video.codec(),
        video,
        audio_paths: if from_rtsp { rtp_audio::audio_paths() } else { Vec::new() },
        audio,
        encodes: board.video.format == VideoFormat::Raw || choice.sizing == Sizing::Reencoded,
        fragment: recording.fragment,
        chunk: recording.chunk,
        segment: recording.segment,
        max_gop: MAX_GOP,
        access: match &board.video.source {
            VideoSource::Rtsp { access, .. } => access.clone(),
            VideoSource::V4l2 { .. }
            | VideoSource::Libcamera { .. }
            | VideoSource::File { .. }
            | VideoSource::Pipeline { .. }
            | VideoSource::Test => RtspAccess::default(),
        },
        may_use_udp: matches!(board.video.source, VideoSource::Rtsp { transport: Transport::Auto, .. }),
        max_height: settings.max_height,
        choice: chosen,
        fps: board.video.fps,
        source: source_name(&board.video.source),
    })
}

fn video(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
    choice: (u32, u32, Sizing),
) -> Result<Vec<Stage>, Unfit> {
    let (width, height, sizing) = choice;
    let fps = board.video.fps;
    let properties = &board.video.source_properties;
    let mut stages = Vec::new();
    match &board.video.source {
        VideoSource::Test => return test_frames(board, recording, settings),
        VideoSource::V4l2 { device } => {
            let source = Element::new("v4l2src").with("device", device.display()).with("do-timestamp", false);
            match board.video.format {
                VideoFormat::H264 | VideoFormat::H265 => {
                    let size = match sizing {
                        // The largest size in the driver's list that fits.
                        Sizing::Requested => format!("width=[16,{width}],height=[16,{height}]"),
                        Sizing::AsIs | Sizing::Reencoded | Sizing::TooLarge => {
                            format!("width={},height={}", board.video.width, board.video.height)
                        }
                    };
                    // A camera that encodes gets the controls of an encoder.
                    let demand = demand(board, recording, (width, height));
                    let source =
                        source.with("extra-controls", controls::requested(demand.bitrate, demand.gop));
                    stages.push(Stage::Element(source.with_all(properties)));
                    let media = media(board.video.codec());
                    stages.push(Stage::Caps(format!("{media},{size},framerate={fps}")));
                }
                VideoFormat::Raw => {
                    let raw = raw(board, settings)?;
                    stages.push(Stage::Element(raw.v4l2(source).with_all(properties)));
                    raw.stages(&mut stages);
                    encode(board, recording, &raw, &mut stages);
                }
            }
        }
        VideoSource::Libcamera { camera } => {
            let source = Element::new("libcamerasrc");
            let source = match camera {
                Some(camera) => source.with("camera-name", camera),
                None => source,
            };
            stages.push(Stage::Element(source.with_all(properties)));
            let raw = raw(board, settings)?;
            raw.stages(&mut stages);
            encode(board, recording, &raw, &mut stages);
        }
        VideoSource::Pipeline { description } => {
            stages.push(Stage::Foreign(description.clone()));
            match board.video.format {
                VideoFormat::H264 | VideoFormat::H265 => {
                    stages.push(Stage::Caps(String::from(stream_formats(board.video.codec()))));
                }
                VideoFormat::Raw => {
                    let raw = raw(board, settings)?;
                    raw.stages(&mut stages);
                    encode(board, recording, &raw, &mut stages);
                }
            }
        }
        VideoSource::Rtsp { .. } => {
            let codec = board.video.codec();
            stages.push(Stage::Element(Element::new(match codec {
                Codec::H264 => "rtph264depay",
                Codec::H265 => "rtph265depay",
            })));
            // Single NAL units: for access units the depayloader would trust the marker bit.
            stages.push(Stage::Caps(format!("{},stream-format=byte-stream,alignment=nal", media(codec))));
            stages.push(Stage::Element(queue()));
        }
        VideoSource::File { realtime, .. } => {
            stages.push(Stage::Element(feed(VIDEO_FEED)));
            if *realtime {
                stages.push(Stage::Element(Element::new("clocksync")));
            }
        }
    }
    if sizing == Sizing::Reencoded {
        let raw = raw(board, settings)?;
        stages.push(decoder());
        // A file that is not read in real time can wait; a live source cannot.
        raw.again(matches!(board.video.source, VideoSource::File { realtime: false, .. }), &mut stages);
        encode(board, recording, &raw, &mut stages);
    }
    Ok(stages)
}

/// The H.264 decoders that are tried: those in hardware first.
fn decoder() -> Stage {
    let known =
        ["v4l2slh264dec", "v4l2h264dec", "mppvideodec", "vpudec", "omxh264dec", "avdec_h264", "openh264dec"];
    Stage::FirstOf(known.map(|name| vec![Element::new("h264parse"), Element::new(name)]).to_vec())
}

/// The caps of a codec in all its stream formats (Annex B of either standard; ISO/IEC 14496-15).
fn stream_formats(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "video/x-h264,stream-format={ (string)byte-stream, (string)avc }",
        Codec::H265 => "video/x-h265,stream-format={ (string)byte-stream, (string)hvc1, (string)hev1 }",
    }
}

fn test_frames(board: &Board, recording: &Recording, settings: CaptureSettings) -> Result<Vec<Stage>, Unfit> {
    let named = board.video.encoder.as_ref().map(|encoder| encoder.kind);
    let raw = Raw::new(board, named.unwrap_or(EncoderKind::OpenH264), settings.max_height);
    let overlay = |element: Element| Stage::Optional(element.with("font-desc", "Monospace 18"));
    let mut stages = vec![
        Stage::Element(
            Element::new("videotestsrc").named(TEST_SOURCE).with("is-live", true).with("pattern", "smpte"),
        ),
        raw.drawn(),
        overlay(Element::new("timeoverlay").with("time-mode", "running-time").with("valignment", "bottom")),
        overlay(Element::new("textoverlay").named(NUMBER_OVERLAY).with("valignment", "top")),
    ];
    if named.is_some() {
        encode(board, recording, &raw, &mut stages);
    } else {
        let demand = demand(board, recording, raw.size());
        let either = [EncoderKind::X264, EncoderKind::OpenH264];
        stages.push(Stage::FirstOf(either.map(|kind| vec![encoder::element(kind, demand)]).to_vec()));
        stages.push(encoded(board));
    }
    Ok(stages)
}

fn raw(board: &Board, settings: CaptureSettings) -> Result<Raw<'_>, Unfit> {
    let encoder = board.video.encoder.as_ref();
    let encoder = encoder.ok_or_else(|| Unfit(String::from("raw frames need `video.encoder`")))?;
    Ok(Raw::new(board, encoder.kind, settings.max_height))
}

fn demand(board: &Board, recording: &Recording, size: (u32, u32)) -> Demand {
    let gop = board.video.fps.frames_in(recording.fragment);
    Demand {
        bitrate: board.video.bitrate,
        gop: u32::try_from(gop).unwrap_or(u32::MAX).max(1),
        size,
        fps: board.video.fps,
    }
}

fn encode(board: &Board, recording: &Recording, raw: &Raw<'_>, stages: &mut Vec<Stage>) {
    raw.encode(demand(board, recording, raw.size()), stages);
    stages.push(encoded(board));
}

fn encoded(board: &Board) -> Stage {
    Stage::Caps(format!("{},alignment=au", stream_formats(board.video.codec())))
}

fn audio_stages(board: &Board, source: &AudioSource) -> Vec<Stage> {
    let encoded = |source: Element| {
        vec![
            Stage::Element(source),
            Stage::Element(queue()),
            Stage::Element(Element::new("audioconvert")),
            Stage::Element(Element::new("audioresample")),
            Stage::Caps(String::from("audio/x-raw,rate=48000,channels=1")),
            encoder::aac(AUDIO_BITRATE),
            Stage::Element(Element::new("aacparse")),
            Stage::Caps(String::from("audio/mpeg,mpegversion=4,stream-format=raw")),
        ]
    };
    match source {
        AudioSource::Alsa { device } => {
            let properties =
                board.audio.as_ref().map(|audio| audio.properties.as_slice()).unwrap_or_default();
            encoded(Element::new("alsasrc").with("device", device).with_all(properties))
        }
        AudioSource::Test => encoded(
            Element::new("audiotestsrc").with("is-live", true).with("wave", "ticks").with("volume", 0.2),
        ),
        AudioSource::Embedded => {
            let mut stages = match board.video.source {
                VideoSource::Rtsp { .. } => Vec::new(),
                VideoSource::File { .. }
                | VideoSource::V4l2 { .. }
                | VideoSource::Libcamera { .. }
                | VideoSource::Pipeline { .. }
                | VideoSource::Test => vec![Stage::Element(feed(AUDIO_FEED))],
            };
            stages.push(Stage::Element(Element::new("aacparse")));
            match &board.video.source {
                VideoSource::File { realtime: true, .. } => {
                    stages.push(Stage::Element(Element::new("clocksync")));
                }
                VideoSource::Rtsp { .. } => stages.push(Stage::Element(queue())),
                VideoSource::File { .. }
                | VideoSource::V4l2 { .. }
                | VideoSource::Libcamera { .. }
                | VideoSource::Pipeline { .. }
                | VideoSource::Test => {}
            }
            stages.push(Stage::Caps(String::from("audio/mpeg,mpegversion=4,stream-format=raw")));
            stages
        }
    }
}

/// The element into which data from a file is pushed.
fn feed(name: &'static str) -> Element {
    Element::new("identity").named(name).with("silent", true)
}

fn container(path: &std::path::Path) -> Container {
    match path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("mp4" | "m4v" | "mov") => Container::Mp4,
        Some("mkv") => Container::Matroska,
        Some(_) | None => Container::ByteStream,
    }
}

/// The source in a log: the host of an address, never its user, password, path or query.
fn source_name(source: &VideoSource) -> String {
    match source {
        VideoSource::V4l2 { device } => device.display().to_string(),
        VideoSource::Libcamera { camera } => match camera {
            Some(camera) => format!("camera {camera}"),
            None => String::from("the first camera of libcamera"),
        },
        VideoSource::Rtsp { url, .. } => {
            let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("the RTSP camera at {host}")
        }
        VideoSource::File { path, .. } => path.display().to_string(),
        VideoSource::Pipeline { .. } => String::from("the board's own pipeline"),
        VideoSource::Test => String::from("the test source"),
    }
}
