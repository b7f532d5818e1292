//! The oldest supported GStreamer: all elements and properties in use exist in it.

use kasacam::capture::board::describe;
use kasacam::capture::pipeline::{Element, Origin, Stage};
use kasacam::config::{self, AudioSource, EncoderKind};
use kasacam::domain::effect::CaptureSettings;
use std::collections::BTreeSet;
use std::path::Path;

/// The same as in `docs/boards.md`.
const OLDEST: (u32, u32) = (1, 20);

/// Elements, with the version that introduced them; 1.0 for those of a vendor.
const ELEMENTS: &[(&str, (u32, u32), &[&str])] = &[
    ("aacparse", (1, 0), &[]),
    ("alsasrc", (1, 0), &["device"]),
    ("appsrc", (1, 0), &["block", "format", "max-bytes"]),
    ("audioconvert", (1, 0), &[]),
    ("audioresample", (1, 0), &[]),
    ("audiotestsrc", (1, 0), &["is-live", "volume", "wave"]),
    ("avenc_aac", (1, 0), &["bitrate"]),
    ("clocksync", (1, 18), &[]),
    ("decodebin", (1, 0), &[]),
    ("faac", (1, 0), &["bitrate"]),
    ("fdkaacenc", (1, 10), &["bitrate"]),
    ("identity", (1, 0), &["silent"]),
    ("jpegdec", (1, 0), &[]),
    ("libcamerasrc", (1, 0), &["camera-name"]),
    ("mpph264enc", (1, 0), &["bps", "gop", "header-mode", "rc-mode"]),
    ("mpph265enc", (1, 0), &["bps", "gop", "header-mode", "rc-mode"]),
    ("omxh264enc", (1, 0), &["control-rate", "interval-intraframes", "target-bitrate"]),
    ("omxh265enc", (1, 0), &["control-rate", "interval-intraframes", "target-bitrate"]),
    (
        "openh264enc",
        (1, 6),
        &["bitrate", "complexity", "enable-frame-skip", "gop-size", "rate-control", "scene-change-detection"],
    ),
    ("queue", (1, 0), &["leaky", "max-size-buffers", "max-size-bytes", "max-size-time"]),
    ("rtph264depay", (1, 0), &[]),
    ("rtpmp4gdepay", (1, 0), &[]),
    ("rtspsrc", (1, 0), &["latency", "location", "protocols", "tcp-timeout", "timeout"]),
    ("textoverlay", (1, 0), &["font-desc", "valignment"]),
    ("timeoverlay", (1, 0), &["font-desc", "time-mode", "valignment"]),
    ("v4l2h264enc", (1, 14), &["extra-controls", "output-io-mode"]),
    ("v4l2h265enc", (1, 14), &["extra-controls", "output-io-mode"]),
    ("v4l2src", (1, 0), &["device", "do-timestamp", "extra-controls", "io-mode"]),
    ("videoconvert", (1, 0), &[]),
    ("videoscale", (1, 0), &["add-borders"]),
    ("videotestsrc", (1, 0), &["is-live", "pattern"]),
    ("voaacenc", (1, 0), &["bitrate"]),
    ("vpuenc_h264", (1, 0), &["bitrate", "gop-size"]),
    ("vpuenc_hevc", (1, 0), &["bitrate", "gop-size"]),
    ("x264enc", (1, 0), &["bframes", "bitrate", "key-int-max", "option-string", "speed-preset", "tune"]),
    ("x265enc", (1, 6), &["bitrate", "key-int-max", "option-string", "speed-preset", "tune"]),
];

/// Properties that came later than their element.
const LATER: &[(&str, &str, (u32, u32))] = &[
    ("appsrc", "max-buffers", (1, 20)),
    ("appsrc", "max-time", (1, 20)),
    ("rtspsrc", "teardown-timeout", (1, 14)),
];

fn asked() -> BTreeSet<(String, Option<String>)> {
    let mut asked = BTreeSet::new();
    let mut take = |element: &Element| {
        asked.insert((element.factory.to_owned(), None));
        for (property, _) in &element.properties {
            asked.insert((element.factory.to_owned(), Some(property.to_string())));
        }
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("board-configs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut board = config::board_of(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
        let encoders = if board.video.encoder.is_some() { EncoderKind::all().collect() } else { Vec::new() };
        let encoders =
            encoders.into_iter().map(|kind| Some(kind.into())).chain([board.video.encoder.clone()]);
        for encoder in encoders.collect::<Vec<_>>() {
            board.video.encoder = encoder;
            for max_height in [u32::MAX, 480] {
                let settings = CaptureSettings { audio: true, max_height };
                let described = describe(&board, &crate::support::recording(), settings).unwrap();
                if let Origin::Rtsp(source) = &described.origin {
                    take(source);
                }
                for stage in described.video.iter().chain(described.audio.iter().flatten()) {
                    match stage {
                        Stage::Element(element) | Stage::Optional(element) => take(element),
                        Stage::FirstOf(chains) => chains.iter().flatten().for_each(&mut take),
                        Stage::Caps(_) | Stage::Foreign(_) => {}
                    }
                }
            }
        }
    }
    for source in [AudioSource::Embedded, AudioSource::Test] {
        let mut board = crate::support::file_board(Path::new("a.mp4"), true, false);
        board.audio = Some(source.into());
        let settings = CaptureSettings { audio: true, max_height: 1080 };
        let described = describe(&board, &crate::support::recording(), settings).unwrap();
        for stage in described.video.iter().chain(described.audio.iter().flatten()) {
            if let Stage::Element(element) = stage {
                take(element);
            }
        }
    }
    asked
}

#[test]
fn elements_and_properties_exist_in_the_oldest_supported_version() {
    let asked = asked();
    assert!(asked.len() > 60, "{}", asked.len());
    let mut unknown = Vec::new();
    for (factory, property) in &asked {
        let since = match property {
            None => ELEMENTS.iter().find(|(known, ..)| known == factory).map(|(_, since, _)| *since),
            Some(property) => {
                let first =
                    ELEMENTS.iter().find(|(known, _, all)| known == factory && all.contains(&&**property));
                let later = LATER.iter().find(|(known, name, _)| known == factory && name == property);
                first.map(|(_, since, _)| *since).or(later.map(|(_, _, since)| *since))
            }
        };
        match since {
            Some(since) => assert!(since <= OLDEST, "{factory} {property:?} came with {since:?}"),
            None => unknown.push(format!("{factory} {property:?}")),
        }
    }
    assert!(unknown.is_empty(), "since which GStreamer are these there? {unknown:#?}");
}

#[test]
fn the_library_bindings_need_no_newer_version() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let wanted = format!("v{}_{}", OLDEST.0, OLDEST.1);
    for name in ["gst", "gst-app"] {
        let features = manifest["dependencies"][name]["features"].as_array().unwrap();
        let features: Vec<&str> = features.iter().map(|it| it.as_str().unwrap()).collect();
        assert_eq!(features, [wanted.as_str()], "{name}");
    }
    let boards =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/boards.md")).unwrap();
    assert!(
        boards.contains(&format!("GStreamer {}.{} or later", OLDEST.0, OLDEST.1)),
        "docs/boards.md says it"
    );
    assert!(gst::version() >= (OLDEST.0, OLDEST.1, 0, 0), "{:?}", gst::version());
}
