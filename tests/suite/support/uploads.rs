//! A camera that uploads to a store on loopback, with its files.

use super::patience::patient;
use super::store_server::StoreServer;
use crate::upload_outcomes::time;
use bytes::Bytes;
use kasacam::config::{self, StoreCredentials};
use kasacam::domain::effect::Share;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::segment::{KeyClock, Segment};
use kasacam::domain::settings::UploadOrder;
use kasacam::domain::time::Utc;
use kasacam::upload::{Body, Timeouts, Uploader};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

pub const ID: &str = "AKIDEXAMPLE0001";
pub const SECRET: &str = "hushHushThisIsTheSecretKey0123456789";
pub const TOKEN: &str = "hushHushThisIsTheSessionToken987";
pub const FOOTAGE_KEY: &str = "/kasa-care/v1/cam-0001/2026-11-23/12/34-56.789012Z.3.mp4";
pub const NEXT_KEY: &str = "/kasa-care/v1/cam-0001/2026-11-23/12/34-56.789013Z.3.mp4";
pub const END_KEY: &str = "/kasa-care/v1/cam-0001/2026-11-23/12/34-56.789011Z.4.mp4_end";

/// Short enough for a test, long enough for a busy machine.
pub const SHORT: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    inactivity: Duration::from_secs(1),
    answer: Duration::from_secs(12),
};

/// A configuration whose files are in `files`; the key of the store is not there yet.
pub fn config_for(files: &Path, endpoint: &str, ca: &str) -> config::Upload {
    std::fs::write(files.join("ca.pem"), ca).unwrap();
    config::Upload {
        bucket: "kasa-care".into(),
        prefix: "v1/".into(),
        postfix: String::new(),
        endpoint: endpoint.into(),
        region: "us-east-1".into(),
        ca: files.join("ca.pem"),
        credentials: StoreCredentials::File(files.join("storage.toml")),
        addressing: config::Addressing::Path,
        tags: true,
        checksums: true,
        max_rate: None,
        order: UploadOrder::Oldest,
        allow_plaintext: false,
        concurrency: 2,
    }
}

/// A camera's files, and its configuration.
pub struct Camera {
    pub files: TempDir,
    pub config: config::Upload,
    pub timeouts: Timeouts,
}

impl Camera {
    pub fn of(server: &StoreServer) -> Camera {
        Camera::with(&server.url(), &server.ca)
    }

    pub fn with(endpoint: &str, ca: &str) -> Camera {
        let files = tempfile::tempdir().unwrap();
        let config = config_for(files.path(), endpoint, ca);
        let camera = Camera { files, config, timeouts: SHORT };
        camera.write_credentials(&credentials(SECRET));
        camera
    }

    pub fn write_credentials(&self, text: &str) {
        std::fs::write(self.storage_toml(), text).unwrap();
        set_mode(&self.storage_toml(), 0o600);
    }

    pub fn storage_toml(&self) -> PathBuf {
        self.files.path().join("storage.toml")
    }

    pub fn uploader(&self) -> Uploader {
        Uploader::with_timeouts(&self.config, "cam-0001", self.timeouts).unwrap()
    }

    pub async fn upload(&self, segment: &Segment, body: impl Into<Bytes>) -> Outcome {
        upload(&self.uploader(), segment, body).await
    }
}

pub fn credentials(secret: &str) -> String {
    format!("access_key_id = \"{ID}\"\nsecret_access_key = \"{secret}\"\nsession_token = \"{TOKEN}\"\n")
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// No upload of these tests may take longer than this, whatever the store does.
pub async fn upload(uploader: &Uploader, segment: &Segment, body: impl Into<Bytes>) -> Outcome {
    within(20, upload_once(uploader, segment, time(), body.into())).await
}

/// One upload, alone.
pub async fn upload_once(uploader: &Uploader, segment: &Segment, time: Utc, body: Bytes) -> Outcome {
    upload_body(uploader, segment, time, Arc::new(body)).await
}

/// The same for any body.
pub async fn upload_body(uploader: &Uploader, segment: &Segment, time: Utc, body: Arc<dyn Body>) -> Outcome {
    uploader.upload((Share::Alone, Arc::default()), segment, time, KeyClock::Trusted, body).await
}

pub async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(patient(Duration::from_secs(seconds)), future).await.expect("it ends in time")
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patient(Duration::from_secs(10));
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[track_caller]
pub fn retry(outcome: Outcome) -> (Scope, Option<Duration>, String) {
    match outcome {
        Outcome::Retry { scope, after, why } => (scope, after, why),
        Outcome::Stored | Outcome::KeyTaken => panic!("{outcome:?}"),
    }
}

/// The upload waits with all others, for a reason that contains `words`.
#[track_caller]
pub fn assert_waits(outcome: Outcome, words: &str) {
    let (scope, _, why) = retry(outcome);
    assert_eq!(scope, Scope::Store, "{why}");
    assert!(why.contains(words), "{why:?} has no {words:?}");
}

/// The SHA-256 in hexadecimal.
pub fn hexadecimal(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A megabyte that differs from place to place.
pub fn megabytes(n: usize) -> Vec<u8> {
    (0..n * 1024 * 1024).map(|i| (i / 7 % 251) as u8).collect()
}

/// Keeps every event of every crate on this thread, with all its fields.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Until the guard is dropped.
    pub fn listens(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
