//! RTSP sources: URL, user and password, certificate, transport.

use super::Folder;
use kasacam::config::{RtspLogin, RtspTrust, Transport, VideoSource};

/// A board with an RTSP source of these keys.
fn bridge(keys: &str) -> Folder {
    let (from, to) = (
        "source = { kind = \"test\" }\nencoder = { kind = \"x264\" }",
        format!("source = {{ kind = \"rtsp\", {keys} }}"),
    );
    Folder::new().board(from, &to)
}

#[test]
fn a_password_in_a_url_is_refused_and_not_shown() {
    for user in ["me:hunter2@", "hunter2@", "me:hun/ter2@", "me:@"] {
        let problem = bridge(&format!("url = \"rtsp://{user}10.0.0.7/a?token=hunter2\"")).problem();
        assert_eq!(problem.key, "video.source.url");
        assert!(problem.problem.contains("contains a user or a password"), "{problem}");
        assert!(problem.hint.contains("mode 600") && problem.hint.contains("credentials ="), "{problem}");
        assert!(!problem.to_string().contains("ter2"), "{problem}");
    }
    bridge("url = \"rtsp://10.0.0.7/a?mail=me@example.org\"").load().unwrap();
}

#[test]
fn a_secret_in_a_url_is_not_in_debug_output() {
    let config = bridge("url = \"rtsp://10.0.0.7/a?token=hunter2\"").load().unwrap();
    let text = format!("{config:?}");
    assert!(text.contains("10.0.0.7") && !text.contains("hunter2"), "{text}");
}

#[test]
fn an_rtsp_cameras_user_and_password_are_in_a_file_that_others_cannot_read() {
    let keys = "url = \"rtsp://10.0.0.7/a\", credentials = \"camera.login\"";
    let folder = bridge(keys);
    let access = |folder: &Folder| match folder.load().unwrap().board.video.source {
        VideoSource::Rtsp { access, .. } => access,
        other => panic!("{other:?}"),
    };
    assert_eq!(access(&folder).credentials, Some(folder.path("camera.login")), "it need not be there yet");
    folder.secret("camera.login", "me:hun:ter2\n");
    let path = access(&folder).credentials.unwrap();
    let login = RtspLogin::read(&path, &folder.around()).unwrap();
    assert_eq!((login.user.as_str(), login.password.as_str()), ("me", "hun:ter2"));
    assert_eq!(format!("{login:?}"), "RtspLogin(..)");

    folder.mode("camera.login", 0o640);
    folder.is_reported("video.source.credentials", "source = ", "chmod 600");
    let why = RtspLogin::read(&path, &folder.around()).unwrap_err();
    assert!(why.contains("chmod 600") && !why.contains("ter2"), "{why}");
    for wrong in ["", "hunter2", ":hunter2", "me:hunter2\nme:hunter2", "me:hun\u{0}ter2"] {
        folder.secret("camera.login", wrong);
        let why = RtspLogin::read(&path, &folder.around()).unwrap_err();
        assert!(why.contains("one line: user:password") && !why.contains("ter2"), "{why}");
    }
    folder.secret("camera.login", &format!("me:{}", "x".repeat(5000)));
    assert!(RtspLogin::read(&path, &folder.around()).is_err());
}

#[test]
fn properties_cannot_weaken_tls_or_contain_a_password() {
    for property in
        ["tls-validation-flags", "tls-database", "tls-interaction", "user-id", "user-pw", "location"]
    {
        let sum = "ab".repeat(32);
        let keys = format!(
            "url = \"rtsps://10.0.0.7/a\", fingerprint = \"{sum}\", properties = {{ {property} = \"hunter2\" }}"
        );
        let text = bridge(&keys).load().unwrap_err().to_string();
        assert!(text.contains(property) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn tls_needs_an_authority_or_a_fingerprint() {
    let sum = "ab".repeat(32);
    let colons = "AB:".repeat(31) + "AB";
    for (keys, trust) in [
        (
            format!("url = \"rtsps://10.0.0.7/a\", fingerprint = \"{sum}\""),
            Some(RtspTrust::Fingerprint([0xab; 32])),
        ),
        (
            format!("url = \"rtsps://10.0.0.7/a\", fingerprint = \"{colons}\""),
            Some(RtspTrust::Fingerprint([0xab; 32])),
        ),
        ("url = \"rtsp://10.0.0.7/a\"".to_owned(), None),
    ] {
        let source = bridge(&keys).load().unwrap().board.video.source;
        assert!(
            matches!(&source, VideoSource::Rtsp { access, .. } if access.trust == trust),
            "{keys}: {source:?}"
        );
    }
    let source = bridge("url = \"rtsps://10.0.0.7/a\", ca = \"ca.pem\"").load().unwrap().board.video.source;
    assert!(
        matches!(source, VideoSource::Rtsp { access, .. } if matches!(access.trust, Some(RtspTrust::Authorities(_))))
    );
    for (keys, key, problem) in [
        ("url = \"rtsps://10.0.0.7/a\"".to_owned(), "video.source.url", "no key says which certificate"),
        (
            "url = \"rtsps://10.0.0.7/a\", fingerprint = \"ab\"".to_owned(),
            "video.source.fingerprint",
            "is not a SHA-256",
        ),
        (
            format!("url = \"rtsps://10.0.0.7/a\", fingerprint = \"{}\"", "+a".repeat(32)),
            "video.source.fingerprint",
            "is not a SHA-256",
        ),
        ("url = \"rtsps://10.0.0.7/a\", ca = \"nowhere.pem\"".to_owned(), "video.source.ca", "no such file"),
        (
            format!("url = \"rtsps://10.0.0.7/a\", ca = \"ca.pem\", fingerprint = \"{sum}\""),
            "video.source",
            "has both",
        ),
        (
            format!("url = \"rtsp://10.0.0.7/a\", fingerprint = \"{sum}\""),
            "video.source.url",
            "is not encrypted",
        ),
        ("url = \"rtsp://10.0.0.7/a\", ca = \"ca.pem\"".to_owned(), "video.source.url", "is not encrypted"),
    ] {
        let found = bridge(&keys).problem();
        assert!(found.key == key && found.problem.contains(problem), "{keys}: {found}");
    }
}

#[test]
fn an_rtsp_source_has_a_transport() {
    for (told, expected) in [
        ("", Transport::Auto),
        (", transport = \"auto\"", Transport::Auto),
        (", transport = \"tcp\"", Transport::Tcp),
        (", transport = \"udp\"", Transport::Udp),
    ] {
        let folder = Folder::new().board(
            "source = { kind = \"test\" }\nencoder = { kind = \"x264\" }",
            &format!("source = {{ kind = \"rtsp\", url = \"rtsp://10.0.0.7/a\"{told} }}"),
        );
        let source = folder.load().unwrap().board.video.source;
        assert!(matches!(source, VideoSource::Rtsp { transport, .. } if transport == expected), "{source:?}");
    }
}
