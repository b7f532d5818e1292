//! A network camera with user and password, or with TLS.

use crate::rtsp::Server;
use crate::support::*;
use kasacam::config::{Board, RtspAccess, RtspTrust, VideoSource};
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::{Captured, SpanEnd, Timing};
use kasacam::domain::input::FaultKind;
use rcgen::{CertificateParams, KeyPair, SanType};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The board of a server with this access, over TLS if there is a trust.
fn with(server: &Server, access: RtspAccess) -> Board {
    let mut board = server.board(false);
    let scheme = if access.trust.is_some() { "rtsps" } else { "rtsp" };
    let url = format!("{scheme}://127.0.0.1:{}/live", server.port);
    if let VideoSource::Rtsp { url: old, access: none, .. } = &mut board.video.source {
        (*old, *none) = (url, access);
    }
    board
}

fn records(board: Board) {
    let mut camera = Camera::new(board);
    camera.start(1, SILENT);
    let first = camera.captured.recv_timeout(deadline()).expect("a chunk, or an end");
    assert!(matches!(first, Captured::Chunk(_)), "{:?}", camera.inputs.iter().take(3).collect::<Vec<_>>());
    camera.fragments(1);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    assert_eq!(camera.rest().fault, None);
}

/// Why it is not recorded.
fn refused(board: Board) -> (FaultKind, String) {
    let mut camera = Camera::new(board);
    camera.start(1, SILENT);
    let take = camera.rest();
    assert!(take.chunks.is_empty());
    (take.fault_kind(), take.message().to_owned())
}

/// A self-signed certificate for this host: its file, the file with its key, and its SHA-256.
fn certificate(folder: &Path, name: &str, host: SanType) -> (PathBuf, PathBuf, [u8; 32]) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec![]).unwrap();
    parameters.subject_alt_names.push(host);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let made = parameters.self_signed(&key).unwrap();
    let (alone, both) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}-key.pem")));
    std::fs::write(&alone, made.pem()).unwrap();
    secret(&both, &(made.pem() + &key.serialize_pem()));
    let sum = ring::digest::digest(&ring::digest::SHA256, made.der());
    (alone, both, sum.as_ref().try_into().unwrap())
}

fn loopback() -> SanType {
    SanType::IpAddress("127.0.0.1".parse().unwrap())
}

#[test]
fn user_and_password_are_read_from_a_file_for_each_connection() {
    for how in ["basic", "digest"] {
        let folder = folder();
        let server = Server::start(&["silent", how, "me", "hun:ter2"]);
        let login = folder.path().join("login");
        let access = RtspAccess { credentials: Some(login.clone()), trust: None };
        let mut camera = Camera::new(with(&server, access));

        camera.start(1, SILENT);
        let take = camera.rest();
        assert_eq!(take.fault_kind(), FaultKind::DeviceMissing, "{how}");
        assert!(take.message().contains("login: cannot be read"), "{}", take.message());
        assert_eq!(server.count("connected"), 0);

        secret(&login, "me:wrong");
        camera.start(2, SILENT);
        let take = camera.rest();
        assert_eq!(take.fault_kind(), FaultKind::CredentialsRefused, "{how}: {}", take.message());
        assert!(
            take.message().contains("127.0.0.1") && take.message().contains("10 min"),
            "{}",
            take.message()
        );

        // A file that others can read is not used.
        secret(&login, "me:hun:ter2\n");
        std::fs::set_permissions(&login, std::fs::Permissions::from_mode(0o604)).unwrap();
        camera.start(3, SILENT);
        let take = camera.rest();
        assert!(
            take.message().contains("chmod 600") && !take.message().contains("ter2"),
            "{}",
            take.message()
        );

        secret(&login, "me:hun:ter2\n");
        camera.start(4, SILENT);
        camera.fragments(2);
        camera.stop(4, StopManner::Drop, SpanEnd::Privacy);
        assert_eq!(camera.rest().fault, None, "{how}");
    }
}

/// A camera that refuses every login and counts them.
struct Strict {
    port: u16,
    heard: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Strict {
    /// Already at `OPTIONS`, or only at `DESCRIBE`.
    fn start(asks_at: &'static str) -> Strict {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<(String, bool)>>>::default();
        let noting = Arc::clone(&heard);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let noting = Arc::clone(&noting);
                std::thread::spawn(move || Strict::answer(&connection, asks_at, &noting));
            }
        });
        Strict { port, heard }
    }

    fn answer(connection: &TcpStream, asks_at: &str, heard: &Mutex<Vec<(String, bool)>>) {
        let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
        loop {
            let Some(first) = lines.next() else { return };
            let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let header = |name: &str| headers.iter().find(|line| line.to_lowercase().starts_with(name));
            let method = first.split(' ').next().unwrap_or_default().to_owned();
            heard.lock().unwrap().push((method.clone(), header("authorization:").is_some()));
            let sequence = header("cseq:").cloned().unwrap_or_default();
            let answer = if method == "OPTIONS" && asks_at != "OPTIONS" {
                format!("RTSP/1.0 200 OK\r\n{sequence}\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n")
            } else {
                format!(
                    "RTSP/1.0 401 Unauthorized\r\n{sequence}\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\r\n"
                )
            };
            if (&mut &*connection).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// How often it got a password.
    fn shown(&self) -> usize {
        self.heard.lock().unwrap().iter().filter(|(_, shown)| *shown).count()
    }
}

#[test]
fn a_wrong_password_is_sent_once_even_if_the_run_restarts() {
    for asks_at in ["OPTIONS", "DESCRIBE"] {
        let folder = folder();
        let server = Strict::start(asks_at);
        let login = folder.path().join("login");
        secret(&login, "me:wrong");
        let mut board = test_board();
        board.video.source = VideoSource::Rtsp {
            url: format!("rtsp://127.0.0.1:{}/live", server.port),
            transport: Default::default(),
            access: RtspAccess { credentials: Some(login.clone()), trust: None },
        };
        board.video.format = kasacam::config::VideoFormat::H264;
        board.video.encoder = None;
        let mut camera = Camera::new(board);

        // The first attempt, the retries of the machine, and a choice of the owner.
        for epoch in 1..6 {
            camera.start(epoch, SILENT);
            if epoch == 3 {
                camera.stop(epoch, StopManner::Drop, SpanEnd::Privacy);
                camera.rest();
                continue;
            }
            let take = camera.rest();
            assert_eq!(take.fault_kind(), FaultKind::CredentialsRefused, "{asks_at}: {}", take.message());
            assert!(take.message().contains("tried again in 10 min"), "{}", take.message());
        }
        assert_eq!(server.shown(), 1, "{asks_at}: {:?}", server.heard.lock().unwrap());
        let before = server.heard.lock().unwrap().len();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(server.heard.lock().unwrap().len(), before, "nothing goes on behind");

        // A changed file is tried at once, and once.
        secret(&login, "me:other");
        for epoch in 6..9 {
            camera.start(epoch, SILENT);
            camera.rest();
        }
        assert_eq!(server.shown(), 2, "{asks_at}");
    }
}

#[test]
fn a_camera_that_needs_a_password_and_gets_none_is_reported() {
    let server = Strict::start("DESCRIBE");
    let mut board = test_board();
    board.video.source = VideoSource::Rtsp {
        url: format!("rtsp://127.0.0.1:{}/live", server.port),
        transport: Default::default(),
        access: RtspAccess::default(),
    };
    board.video.format = kasacam::config::VideoFormat::H264;
    board.video.encoder = None;
    let (kind, message) = refused(board);
    assert_eq!(kind, FaultKind::CredentialsRefused);
    assert!(message.contains("video.source.credentials"), "{message}");
}

#[test]
fn tls_with_a_pinned_certificate_or_its_authority_is_recorded_and_any_other_is_refused_by_name() {
    let folder = folder();
    let (own, both, sum) = certificate(folder.path(), "camera", loopback());
    let (other, _, other_sum) = certificate(folder.path(), "other", loopback());
    let server = Server::start(&["silent", "tls", both.to_str().unwrap()]);
    let trusting = |trust| with(&server, RtspAccess { credentials: None, trust: Some(trust) });

    records(trusting(RtspTrust::Fingerprint(sum)));
    records(trusting(RtspTrust::Authorities(own)));

    let (_, message) = refused(trusting(RtspTrust::Fingerprint(other_sum)));
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    for word in ["127.0.0.1", "video.source.fingerprint", "another one", hex.as_str()] {
        assert!(message.contains(word), "{word}: {message}");
    }
    let (_, message) = refused(trusting(RtspTrust::Authorities(other)));
    for word in ["127.0.0.1", "video.source.ca", "not signed by one of these authorities"] {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn a_certificate_with_another_name_is_accepted_only_if_it_is_pinned() {
    let folder = folder();
    let host = SanType::DnsName("camera.example".try_into().unwrap());
    let (own, both, sum) = certificate(folder.path(), "camera", host);
    let server = Server::start(&["silent", "tls", both.to_str().unwrap()]);
    let trusting = |trust| with(&server, RtspAccess { credentials: None, trust: Some(trust) });

    records(trusting(RtspTrust::Fingerprint(sum)));
    let (_, message) = refused(trusting(RtspTrust::Authorities(own)));
    assert!(message.contains("another name"), "{message}");
}

#[test]
fn the_clock_of_a_camera_gives_the_time_from_capture_to_arrival() {
    let server = Server::start(&["silent"]);
    let mut camera = Camera::new(server.board(false));
    camera.start(1, SILENT);
    let until = std::time::Instant::now() + deadline();
    // Reports come every few seconds.
    let lag = loop {
        match camera.chunk().timing {
            Timing::Camera { lag_us } => break lag_us,
            Timing::Arrival => assert!(std::time::Instant::now() < until, "no report of the sender came"),
            Timing::Device => panic!("it came over the network"),
        }
    };
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    camera.rest();
    assert!(lag < 5_000_000, "{lag} us on one machine");
}
