//! Controls of a V4L2 device: requested and read back.

use kasacam::capture::controls::{differs, merged, requested};

fn text() -> String {
    requested(2_000_000, 30)
}

/// A device with these controls, each at its value.
fn of(device: &[(&str, i64)]) -> Option<String> {
    differs(&text(), |name| device.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
}

const AS_REQUESTED: [(&str, i64); 6] = [
    ("video_bitrate_mode", 0),
    ("video_bitrate", 2_000_000),
    ("video_gop_size", 30),
    ("h264_i_frame_period", 30),
    ("video_b_frames", 0),
    ("repeat_sequence_header", 1),
];

fn but(name: &str, value: Option<i64>) -> Vec<(&'static str, i64)> {
    let kept = AS_REQUESTED.iter().filter(|(known, _)| *known != name).copied();
    let changed = AS_REQUESTED.iter().find(|(known, _)| *known == name).zip(value);
    kept.chain(changed.map(|((known, _), value)| (*known, value))).collect()
}

#[test]
fn a_device_with_the_requested_controls_is_not_reported() {
    assert_eq!(of(&AS_REQUESTED), None);
    assert_eq!(of(&but("video_bitrate", Some(2_048_000))), None, "a step of the driver");
    assert_eq!(of(&but("video_gop_size", None)), None, "the other control says it");
    assert_eq!(of(&but("h264_i_frame_period", Some(12))), None, "the other control says it");
    assert_eq!(of(&but("repeat_sequence_header", None)), None, "what it has not, it does as it likes");
}

#[test]
fn a_difference_is_reported_with_both_numbers() {
    for (name, value, told) in [
        ("video_bitrate", Some(4_000_000), "video_bitrate is 4000000, and 2000000 was asked for"),
        ("video_bitrate", None, "it has no video_bitrate, and 2000000 was asked for"),
        ("video_bitrate_mode", Some(1), "video_bitrate_mode is 1, and 0 was asked for"),
        ("video_b_frames", Some(2), "video_b_frames is 2, and 0 was asked for"),
        ("repeat_sequence_header", Some(0), "repeat_sequence_header is 0, and 1 was asked for"),
    ] {
        assert_eq!(of(&but(name, value)).as_deref(), Some(told));
    }
    let neither: Vec<_> =
        AS_REQUESTED.iter().filter(|(name, _)| !name.contains("gop") && !name.contains("period")).collect();
    let neither: Vec<(&str, i64)> = neither.into_iter().copied().collect();
    assert_eq!(of(&neither).as_deref(), Some("it has no control for its GOP, and 30 frames were asked for"));
    let both: Vec<_> = [&neither[..], &[("video_gop_size", 60), ("h264_i_frame_period", 60)]].concat();
    let told = of(&both).unwrap();
    assert_eq!(told, "video_gop_size is 60 and h264_i_frame_period is 60, and 30 was asked for");
    assert_eq!(of(&[]).unwrap().matches("asked for").count(), 2, "a camera that can be told nothing");
}

#[test]
fn controls_of_the_board_file_are_read_back_too() {
    let text = merged(&text(), "c,h264_profile=4,video_bitrate=1000000");
    let told = differs(&text, |name| match name {
        "h264_profile" => Some(0),
        name => AS_REQUESTED.iter().find(|(known, _)| *known == name).map(|(_, value)| *value),
    });
    assert_eq!(
        told.as_deref(),
        Some("video_bitrate is 2000000, and 1000000 was asked for; h264_profile is 0, and 4 was asked for")
    );
}
