//! Board files.

use super::Folder;
use kasacam::config::VideoSource;

#[test]
fn an_unknown_board_is_reported_with_the_existing_ones() {
    let folder = Folder::new().agent("board = \"board.toml\"", "board = \"bord.toml\"");
    folder.is_reported("device.board", "bord.toml", "did you mean \"board.toml\"?");
}

#[test]
fn a_board_file_is_validated_as_strictly_as_the_agent_file() {
    for (from, to, key, what) in [
        ("kind = \"test\"", "kind = \"v4l\"", "video.source.kind", "did you mean \"v4l2\"?"),
        (
            "kind = \"test\"",
            "kind = \"test\", device = \"/dev/video0\"",
            "video.source.device",
            "unknown key",
        ),
        ("{ kind = \"test\" }", "\"test\"", "video.source", "must be a table"),
        (
            "kind = \"x264\"",
            "kind = \"x26\"",
            "video.encoder.kind",
            "did you mean \"x264\"? known here: v4l2h264, x264, openh264",
        ),
        ("width = 640", "width = 641", "video.width", "even number"),
        ("bitrate = \"600 kbit/s\"", "bitrate = 600", "video.bitrate", "a rate in quotes"),
        ("name = \"dev-test\"", "name = \"dev test\"", "name", "1 to 64 of"),
        ("name = \"dev-test\"", "nam = \"dev-test\"\nname = \"x\"", "nam", "did you mean \"name\"?"),
    ] {
        Folder::new().board(from, to).is_reported(key, to.lines().next().unwrap(), what);
    }
}

#[test]
fn a_frame_rate_is_a_number_a_decimal_or_a_fraction() {
    for (text, rate) in [
        ("15", (15, 1)),
        ("12.5", (25, 2)),
        ("29.97", (30_000, 1001)),
        ("\"29.97\"", (30_000, 1001)),
        ("\"30000/1001\"", (30_000, 1001)),
    ] {
        let board = Folder::new().board("fps = 15", &format!("fps = {text}")).load().unwrap().board;
        assert_eq!((board.video.fps.numerator(), board.video.fps.denominator()), rate, "{text}");
    }
    for (text, what) in [
        ("0", "out of range: from 1 to 120"),
        ("121", "out of range"),
        ("-15", "not a number"),
        ("1e1", "not a number"),
        ("\"30 fps\"", "not a number"),
        ("\"1/0\"", "out of range"),
        ("true", "must be a number such as 15"),
    ] {
        let line = format!("fps = {text}");
        Folder::new().board("fps = 15", &line).is_reported("video.fps", &line, what);
    }
}

#[test]
fn properties_are_bounded_and_reserved_ones_are_refused() {
    let with = |properties: &str| {
        let encoder = format!("kind = \"x264\", properties = {{ {properties} }}");
        Folder::new().board("kind = \"x264\"", &encoder)
    };
    let board =
        with("speed-preset = \"fast\", qp-min = 7, ip-factor = 1.5, cabac = false").load().unwrap().board;
    let told = board.video.encoder.unwrap().properties;
    let told: Vec<(&str, &str)> = told.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
    assert_eq!(told, [("speed-preset", "fast"), ("qp-min", "7"), ("ip-factor", "1.5"), ("cabac", "false")]);

    let many: Vec<String> = (0..33).map(|number| format!("p{number} = 1")).collect();
    for (properties, key, what) in [
        ("name = \"x\"", "video.encoder.properties.name", "cannot be set here"),
        ("\"a b\" = 1", "video.encoder.properties", "A-Z a-z 0-9 - _"),
        ("a = [1]", "video.encoder.properties.a", "is a list"),
        ("a = { b = 1 }", "video.encoder.properties.a", "is a table"),
        ("a = \"\\u0007\"", "video.encoder.properties.a", "control character"),
        (&many.join(", "), "video.encoder.properties", "more than 32"),
    ] {
        with(properties).is_reported(key, "x264", what);
    }
    let source = "kind = \"rtsp\", url = \"rtsp://192.0.2.7/\", properties = { user-pw = \"hunter2\" }";
    let rtsp = Folder::new().board("kind = \"test\" }\nencoder = { kind = \"x264\"", source);
    let problem = rtsp.problem();
    assert_eq!(problem.key, "video.source.properties.user-pw");
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
}

#[test]
fn a_pipeline_is_bounded_and_needs_a_format() {
    let with = |description: &str, format: &str| {
        let source = format!("kind = \"pipeline\", description = \"\"\"{description}\"\"\" }}\n{format}\n");
        Folder::new().board("kind = \"test\" }\nencoder = { kind = \"x264\" }\n", &source)
    };
    let board = with("videotestsrc\n\t! x264enc", "format = \"h264\"").load().unwrap().board;
    assert_eq!(
        board.video.source,
        VideoSource::Pipeline { description: String::from("videotestsrc\n\t! x264enc") }
    );
    for (description, format, key, what) in [
        ("videotestsrc", "", "video.format", "is missing"),
        ("videotestsrc", "format = \"raw\"", "video.encoder", "must be encoded"),
        (" ", "format = \"h264\"", "video.source.description", "is empty"),
        (&"x".repeat(4097), "format = \"h264\"", "video.source.description", "longer than 4096"),
    ] {
        let problem = with(description, format).problem();
        assert!(problem.key == key && problem.to_string().contains(what), "{problem}");
    }
}

#[test]
fn a_pixel_layout_is_only_for_sources_of_raw_frames() {
    let with = |source: &str, format: &str| {
        let to = format!("{source} }}\nformat = \"{format}\"\n");
        let encoder = if format == "raw" { "encoder = { kind = \"x264\" }\n" } else { "" };
        Folder::new().board("kind = \"test\" }\nencoder = { kind = \"x264\" }\n", &(to + encoder))
    };
    let device = "kind = \"v4l2\", device = \"/dev/video0\", pixels = \"mjpeg\"";
    assert!(with(device, "raw").load().is_ok());
    for (source, format, what) in [
        (device, "h264", "delivers encoded frames"),
        ("kind = \"libcamera\", pixels = \"mjpeg\"", "raw", "no JPEG images"),
        ("kind = \"v4l2\", device = \"/dev/video0\", pixels = \"nv21\"", "raw", "known here: nv12, i420"),
    ] {
        with(source, format).is_reported("video.source.pixels", "pixels", what);
    }
}

#[test]
fn a_board_whose_parts_do_not_fit_is_refused() {
    for (from, to, key, what) in [
        ("encoder = { kind = \"x264\" }\n", "", "video.encoder", "must be encoded"),
        ("kind = \"test\"", "kind = \"v4l2\", device = \"/dev/video0\"", "video.format", "is missing"),
        ("encoder =", "format = \"h264\"\nencoder =", "video.format", "raw frames"),
        (
            "kind = \"test\" }\n",
            "kind = \"file\", path = \"a.mp4\" }\nformat = \"raw\"\n",
            "video.format",
            "taken as it is",
        ),
        (
            "kind = \"test\" }\n",
            "kind = \"file\", path = \"a.mp4\" }\ncodec = \"h265\"\n",
            "video.encoder.kind",
            "gives H.265 itself",
        ),
        (
            "encoder =",
            "codec = \"h265\"\nencoder =",
            "video.codec",
            "says h265, but the encoder x264 makes H.264",
        ),
        (
            "kind = \"x264\"",
            "kind = \"x265\" }\ncodec = \"h264\"\n#",
            "video.codec",
            "says h264, but the encoder x265 makes H.265",
        ),
        ("encoder =", "codec = \"hevc\"\nencoder =", "video.codec", "known here: h264, h265"),
        (
            "kind = \"test\" }\nencoder = { kind = \"x264\" }\n",
            "kind = \"v4l2\", device = \"/dev/video0\" }\nformat = \"h264\"\ncodec = \"h265\"\n",
            "video.codec",
            "says h265, but `video.format` says h264",
        ),
        ("bitrate", "audio_source = 1\nbitrate", "video.audio_source", "unknown key"),
    ] {
        let folder = Folder::new().board(from, to);
        let problem = folder.problem();
        let (key, told) = (key.trim_end_matches(".kind"), problem.to_string());
        assert!(problem.key == key && told.contains(what), "{told}");
    }
    let folder = Folder::new().board(
        "bitrate = \"600 kbit/s\"",
        "bitrate = \"600 kbit/s\"\n[audio]\nsource = { kind = \"embedded\" }",
    );
    folder.is_reported("audio.source.kind", "embedded", "no audio track");
}
