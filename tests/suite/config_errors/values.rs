//! Values of `agent.toml`: ranges, words, names, addresses; and what a reload changes.

use super::{AGENT, Folder};
use kasacam::config;
use kasacam::config::schema::ValueKind;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn a_key_in_the_wrong_section_is_reported_with_the_right_one() {
    Folder::new().agent("[entitlement]", "when_full = \"stop\"\n[entitlement]").is_reported(
        "mqtt.when_full",
        "when_full",
        "it belongs under [spool]",
    );
    Folder::new().agent("[device]", "max_rate = \"8 Mbit/s\"\n[device]").is_reported(
        "max_rate",
        "max_rate",
        "it belongs under [upload]",
    );
}

#[test]
fn values_out_of_range_are_reported_with_their_range() {
    for (section, line, key, what) in [
        ("recording", "segment = \"1s\"", "recording.segment", "from 2s to 10m"),
        ("recording", "segment = \"11m\"", "recording.segment", "from 2s to 10m"),
        ("recording", "fragment = \"11s\"", "recording.fragment", "from 500ms to 10s"),
        ("recording", "chunk = \"50ms\"", "recording.chunk", "from 100ms to 10s"),
        ("recording", "chunk = \"3s\"", "recording.chunk", "longer than recording.fragment"),
        (
            "recording",
            "segment = \"2s\"\nfragment = \"4s\"",
            "recording.fragment",
            "longer than recording.segment",
        ),
        ("recording", "fragment = \"2\"", "recording.fragment", "has no unit"),
        (
            "recording",
            "durability = \"never\"",
            "recording.durability",
            "known here: chunk, fragment, segment",
        ),
        ("spool", "max_bytes = \"1 kB\"", "spool.max_bytes", "from 1 MiB"),
        ("spool", "max_bytes = -1", "spool.max_bytes", "out of range"),
        ("spool", "max_files = 3", "spool.max_files", "from 16 to 1000000"),
        ("spool", "hold = \"3 years\"", "spool.hold", "unknown unit"),
        (
            "spool",
            "when_full = \"evcit\"",
            "spool.when_full",
            "did you mean \"evict\"? known here: evict, stop",
        ),
        ("privacy", "pending = true", "privacy.pending", "is true or false, but must be text"),
        ("clock", "trust = \"ntp\"", "clock.trust", "known here: kernel, system"),
    ] {
        let folder = Folder::with(section, line);
        folder.is_reported(key, line.lines().last().unwrap(), what);
    }
    for (line, key, what) in [
        ("max_rate = \"8\"", "upload.max_rate", "has no unit"),
        ("max_rate = \"8 Mbps\"", "upload.max_rate", "8 Mbit/s"),
        ("concurrency = 3", "upload.concurrency", "from 1 to 2"),
        ("region = \"US East\"", "upload.region", "a-z 0-9"),
    ] {
        Folder::new().agent("[upload]", &format!("[upload]\n{line}")).is_reported(key, line, what);
    }
}

/// If one word were read as another, both would give the same configuration.
#[test]
fn every_word_of_a_key_gives_a_different_configuration() {
    let shown = |folder: &Folder, word: &str| {
        let config = folder.load().unwrap_or_else(|why| panic!("{word}: {why}"));
        // Each configuration has its own folder.
        format!("{config:?}").replace(folder.dir.path().to_str().unwrap(), "")
    };
    let mut keys = 0;
    for section in config::schema::AGENT {
        for key in section.keys {
            let ValueKind::Choice(words) = key.kind else { continue };
            // What the certificate must contain is checked, but not stored.
            if (section.name, key.name) == ("device", "identity") {
                continue;
            }
            keys += 1;
            let mut seen = std::collections::BTreeSet::new();
            let folder = Folder::new();
            for word in words {
                let heading = format!("[{}]", section.name);
                let line = format!("{heading}\n{} = \"{word}\"", key.name);
                let agent = if AGENT.contains(&heading) {
                    AGENT.replacen(&heading, &line, 1)
                } else {
                    format!("{AGENT}\n{line}\n")
                };
                let folder = Folder { agent, dir: tempfile::tempdir().unwrap() }.filled_from(&folder);
                assert!(seen.insert(shown(&folder, word)), "{}.{} = {word}", section.name, key.name);
            }
        }
    }
    assert!(keys >= 6, "{keys}");
    let sources = [
        ("v4l2", "device = \"/dev/video0\""),
        ("libcamera", "camera = \"a\""),
        ("rtsp", "url = \"rtsp://192.0.2.7/1\""),
        ("file", "path = \"a.mp4\""),
        ("pipeline", "description = \"videotestsrc is-live=true\""),
        ("test", ""),
    ];
    let tagged = |section: &str, name: &str| {
        let section = config::schema::BOARD.iter().find(|known| known.name == section).unwrap();
        match section.keys.iter().find(|key| key.name == name).unwrap().kind {
            ValueKind::Tagged(variants) => variants.iter().map(|variant| variant.kind).collect::<Vec<_>>(),
            _ => panic!("{name} has a kind"),
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    for kind in tagged("video", "source") {
        let (_, more) = sources.iter().find(|(known, _)| *known == kind).expect("each kind has an example");
        let format = if matches!(kind, "rtsp" | "file") { "h264" } else { "raw" };
        let encoder = if format == "raw" { "encoder = { kind = \"x264\" }" } else { "" };
        let source = format!("source = {{ kind = \"{kind}\", {more} }}\nformat = \"{format}\"\n{encoder}\n");
        let folder = Folder::new().board(
            "source = { kind = \"test\" }\nencoder = { kind = \"x264\" }\n",
            &source.replace(", }", " }"),
        );
        let board = folder.load().unwrap_or_else(|why| panic!("{kind}: {why}")).board;
        let shown = format!("{:?}", std::mem::discriminant(&board.video.source));
        assert!(seen.insert(shown), "{kind} is read as another source");
    }
    for kind in tagged("video", "encoder") {
        let folder = Folder::new().board("kind = \"x264\"", &format!("kind = \"{kind}\""));
        assert_eq!(folder.load().unwrap().board.video.encoder.unwrap().kind.to_string(), kind);
    }
}

#[test]
fn a_bad_device_id_is_refused() {
    for id in ["cam/0001", "cam+1", "#", "käm", &"x".repeat(65), "cam 1", "../etc"] {
        Folder::new().agent("cam-0001", id).is_reported("device.id", "id = ", "1 to 64 of");
    }
}

#[test]
fn a_broker_without_tls_is_refused() {
    for (url, what) in [
        ("mqtt://broker.example", "over TLS only"),
        ("broker.example", "has no scheme"),
        ("mqtts://me:hunter2@broker.example", "no user name or password"),
        ("mqtts://broker.example/x", "no path"),
        ("mqtts://broker.example:99999", "1 to 65535"),
    ] {
        let folder = Folder::new().agent("mqtts://broker.example:8883", url);
        folder.is_reported("mqtt.url", "url = ", what);
        assert!(!folder.problem().to_string().contains("hunter2"));
    }
}

#[test]
fn a_store_without_tls_is_refused_unless_it_is_this_machine_and_permitted() {
    let endpoint = "https://storage.example";
    Folder::new().agent(endpoint, "http://storage.example").is_reported(
        "upload.endpoint",
        "http:",
        "https:// only",
    );
    Folder::new().agent(endpoint, "http://127.0.0.1:9000").is_reported(
        "upload.endpoint",
        "http:",
        "allow_plaintext",
    );
    let permitted =
        |url: &str| Folder::new().agent(endpoint, url).agent("[upload]", "[upload]\nallow_plaintext = true");
    permitted("http://storage.example").is_reported("upload.endpoint", "http:", "https:// only");
    assert_eq!(permitted("http://127.0.0.1:9000").load().unwrap().upload.endpoint, "http://127.0.0.1:9000");
    Folder::new().agent(endpoint, "https://k:s@storage.example").is_reported(
        "upload.endpoint",
        "https:",
        "no user name",
    );
}

#[test]
fn a_bucket_without_a_valid_name_is_refused() {
    for url in ["kasa-care/v1/", "s3://Kasa/", "s3://kasa-care/v1", "s3://kasa-care/a/../b/"] {
        let folder = Folder::new().agent("s3://kasa-care/v1/", url);
        folder.is_reported("upload.url", "url = ", "write it like \"s3://kasa-care/v1/\"");
    }
}

#[test]
fn alpn_is_that_of_aws_only_on_its_hosts_and_can_be_set() {
    let alpn = |url: &str, more: &str| {
        let folder = Folder::new()
            .agent("url = \"mqtts://broker.example:8883\"\n", &format!("url = \"{url}\"\n{more}\n"));
        folder.load().unwrap().mqtt.alpn
    };
    let aws = "mqtts://abc-ats.iot.eu-central-1.amazonaws.com:443";
    assert_eq!(alpn(aws, "").as_deref(), Some("x-amzn-mqtt-ca"));
    assert_eq!(alpn("mqtts://abc-ats.iot.eu-central-1.amazonaws.com", ""), None);
    assert_eq!(alpn("mqtts://broker.example:443", ""), None);
    assert_eq!(alpn("mqtts://broker.example:443", "alpn = \"mqtt\"").as_deref(), Some("mqtt"));
    assert_eq!(alpn(aws, "alpn = \"none\""), None);
    let folder = Folder::new().agent("[mqtt]\n", "[mqtt]\nalpn = \"two words\"\n");
    folder.is_reported("mqtt.alpn", "alpn", "without spaces");
}

#[test]
fn a_socket_path_that_is_too_long_is_refused() {
    let long = format!("socket = \"/run/{}\"\nstate_dir", "x".repeat(120));
    Folder::new().agent("state_dir", &long).is_reported("device.socket", "socket", "107 bytes");
}

#[test]
fn the_indicator_is_read_from_an_invalid_configuration() {
    let folder = Folder::with("privacy", "indicator = \"leds/recording\"");
    assert!(folder.load().is_ok());
    let right = fs::read_to_string(folder.path("agent.toml")).unwrap();
    folder.write("agent.toml", &format!("{right}\ncolour = \"red\"\n"));
    let found = config::indicator(&folder.path("agent.toml"), &folder.around()).unwrap();
    assert_eq!(found, Some(folder.path("leds/recording")));
    assert!(config::load_in(&folder.path("agent.toml"), &folder.around()).is_err());
    let without = Folder::new();
    assert!(without.load().is_ok());
    let none = config::indicator(&without.path("agent.toml"), &without.around()).unwrap();
    assert_eq!(none, None);
}

#[test]
fn a_latch_has_either_a_path_or_a_name() {
    let with = |latch: &str| Folder::with("privacy", &format!("latch = {{ {latch} }}"));
    let config = with("kind = \"button\", name = \"gpio-keys\", code = 212").load().unwrap();
    let named = config::LatchDevice::Named(String::from("gpio-keys"));
    assert_eq!(config.privacy.latch.unwrap().device, named);
    let config = with("kind = \"switch\", device = \"/dev/input/by-path/a\", code = 9").load().unwrap();
    let path = config::LatchDevice::Path(PathBuf::from("/dev/input/by-path/a"));
    assert_eq!(config.privacy.latch.unwrap().device, path);
    with("kind = \"switch\", code = 9").is_reported(
        "privacy.latch.device",
        "latch",
        "neither a path nor a name",
    );
    let both = "kind = \"switch\", device = \"/dev/input/event0\", name = \"a\", code = 9";
    with(both).is_reported("privacy.latch.device", "latch", "both a path and a name");
}

#[test]
fn a_reload_reports_what_it_changes_and_what_needs_a_restart() {
    let old = Folder::new().load().unwrap();
    assert_eq!(config::reload_difference(&old, &old.clone()), (vec![], vec![]));
    let mut new = old.clone();
    new.recording.audio = false;
    new.spool.max_bytes /= 2;
    new.upload.max_rate = Some(1_000_000);
    new.privacy.pending = config::PrivacyPending::Hold;
    new.privacy.keys.clear();
    new.mqtt.host = "elsewhere.example".into();
    new.recording.segment = Duration::from_secs(10);
    new.board.video.fps = 5.into();

    let (reloadable, restart) = config::reload_difference(&old, &new);

    assert_eq!(
        reloadable,
        ["recording.audio", "spool.max_bytes", "upload.max_rate", "privacy.keys", "privacy.pending"]
    );
    assert_eq!(restart, ["mqtt.url", "recording.segment", "device.board"]);
    let taken = config::with_reloadable(&old, new.clone());
    assert!(config::reload_difference(&taken, &new).0.is_empty());
    assert_eq!(taken.mqtt.host, old.mqtt.host);
    assert_eq!(taken.recording.segment, old.recording.segment);
}
