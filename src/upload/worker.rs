//! From a segment of the spool to an object of the store.

use super::body::{self, Body, Digest};
use super::client::Timeouts;
use super::grant::Grants;
use super::object::{Object, ObjectStore};
use super::onvif;
use super::rate::Rate;
use super::store::S3Store;
use crate::config;
use crate::domain::effect::Share;
use crate::domain::fragment::Timing;
use crate::domain::outcome::{Attempt, Outcome, Scope, classify};
use crate::domain::segment::{Content, KeyClock, KeyForm, Segment};
use crate::domain::time::Utc;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Maximum number of keys that one upload tries. Two segments of one camera begin in the same microsecond
/// only after a clock was set back; sixteen never should.
const MAX_KEYS: u64 = 16;
/// Maximum number of probes, if no answer shows the result.
const MAX_PROBES: u32 = 3;
/// A larger object is not put a second time: on a slow link that would take hours.
const MAX_PROBE_BYTES: u64 = 4 * 1024 * 1024;
/// Maximum length of a value. S3 accepts 2 KB of metadata altogether.
const MAX_METADATA: usize = 200;

/// Uploads segments. Shared by all uploads; an upload may be dropped at any await, which ends its request and
/// leaves nothing behind except, perhaps, the stored object.
pub struct Uploader {
    store: Arc<dyn ObjectStore>,
    form: KeyForm,
    rate: Arc<Rate>,
    grants: Option<Arc<Grants>>,
    /// How many more times to probe whether the store refuses to replace an object.
    to_ask: AtomicU32,
    replaces: AtomicBool,
}

impl Uploader {
    /// An uploader to the store of the configuration, for this device. Makes no connection.
    ///
    /// # Errors
    /// What in the configuration is impossible, or what is wrong with the file of roots. Credentials that
    /// cannot be read are not an error here, because they may come later: recording does not wait for them.
    pub fn new(config: &config::Upload, device: &str) -> Result<Uploader, String> {
        Uploader::with_timeouts(config, device, Timeouts::default())
    }

    /// [`Uploader::new`] with other timeouts.
    ///
    /// # Errors
    /// As [`Uploader::new`].
    pub fn with_timeouts(
        config: &config::Upload,
        device: &str,
        timeouts: Timeouts,
    ) -> Result<Uploader, String> {
        let form = KeyForm {
            prefix: config.prefix.clone(),
            device: device.to_owned(),
            postfix: config.postfix.clone(),
        };
        let sample = form.key(Utc(0), 0, false);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '!' | '/');
        let folder = |folder: &str| !matches!(folder, "" | "." | "..");
        if !sample.chars().all(plain) || !sample.split('/').all(folder) {
            return Err("upload.url, upload.postfix, device.id: they cannot make an object key".into());
        }
        let rate = Arc::new(Rate::new(config.max_rate));
        let store = S3Store::new(config, Arc::clone(&rate), timeouts)?;
        if let Err(problem) = store.check_credentials() {
            tracing::warn!("{problem}; uploads wait for it");
        }
        Ok(Uploader {
            grants: store.grants(),
            store: Arc::new(store),
            form,
            rate,
            to_ask: AtomicU32::new(0),
            replaces: AtomicBool::new(false),
        })
    }

    /// An uploader to any store.
    #[must_use]
    pub fn over(store: Arc<dyn ObjectStore>, prefix: &str, device: &str) -> Uploader {
        Uploader {
            store,
            form: KeyForm { prefix: prefix.to_owned(), device: device.to_owned(), postfix: String::new() },
            rate: Arc::new(Rate::new(None)),
            grants: None,
            to_ask: AtomicU32::new(0),
            replaces: AtomicBool::new(false),
        }
    }

    /// The grants to wait for, if the cloud signs each PUT. The caller must request them from the cloud.
    #[must_use]
    pub fn grants(&self) -> Option<Arc<Grants>> {
        self.grants.clone()
    }

    /// With a probe: an object that a PUT has stored is put once more, with the same bytes, to find out whether
    /// the store honours `If-None-Match`. It is the first end of a span, which is empty, or the first footage
    /// of at most 4 MiB while nothing else waits for the store: many stores refuse only after the body.
    #[must_use]
    pub fn with_probe(self) -> Uploader {
        self.to_ask.store(MAX_PROBES, Ordering::Relaxed);
        self
    }

    /// Whether the store was found to replace objects; true once.
    pub fn found_replacing(&self) -> bool {
        self.replaces.swap(false, Ordering::Relaxed)
    }

    async fn probe(&self, object: &Object) {
        let left = self.to_ask.load(Ordering::Relaxed);
        let delays_nothing =
            object.size == 0 || (object.share == Share::Alone && object.size <= MAX_PROBE_BYTES);
        if left == 0 || !delays_nothing {
            return;
        }
        // Two uploads that end together may both probe: that does no harm.
        self.to_ask.store(left - 1, Ordering::Relaxed);
        if let Some(refuses) = self.store.refuses_again(object).await {
            self.to_ask.store(0, Ordering::Relaxed);
            self.replaces.store(!refuses, Ordering::Relaxed);
        }
    }

    /// Changes `upload.max_rate` (bits a second), also for uploads under way.
    pub fn set_max_rate(&self, bits: Option<u64>) {
        self.rate.set(bits);
    }

    /// Whether the store answers, whatever the answer is.
    pub async fn store_answers(&self) -> bool {
        self.store.answers().await
    }

    /// Uploads one segment once: its key begins at `time` and moves by a microsecond as long as another
    /// object has it. `body` is the file as it is to be stored; the end of a span is stored empty, whatever
    /// `body` is.
    ///
    /// With less than a full `share` it leaves most of the rate to an upload that has a full one. `half_sent` is
    /// notified when more than half of the body has been passed to the connection.
    pub async fn upload(
        &self,
        (share, half_sent): (Share, Arc<Notify>),
        segment: &Segment,
        time: Utc,
        clock: KeyClock,
        body: Arc<dyn Body>,
    ) -> Outcome {
        if segment.record.device != self.form.device {
            // A spool that was moved here from another camera contains another household's footage.
            return refuse("it was captured by another device");
        }
        let body = if segment.is_end() { Arc::new(Bytes::new()) } else { body };
        let digest = match body::digest(Arc::clone(&body)).await {
            Ok(digest) => digest,
            Err(why) => return refuse(&why),
        };
        // The next span may begin in the very microsecond in which this one ends: the end must sort before
        // it.
        let time = if segment.is_end() { time - Duration::from_micros(1) } else { time };
        for moved in 0..MAX_KEYS {
            let time = time.floor_micros() + Duration::from_micros(moved);
            let mut object = object_for(&self.form, segment, time, clock, Arc::clone(&body), digest);
            (object.share, object.half_sent) = (share, Arc::clone(&half_sent));
            let attempt = self.store.put(&object).await;
            let is_new = matches!(attempt, Attempt::Answered { status: 200..=299, .. });
            match classify(attempt) {
                Outcome::KeyTaken => {}
                Outcome::Stored if is_new => {
                    self.probe(&object).await;
                    return Outcome::Stored;
                }
                outcome @ (Outcome::Stored | Outcome::Retry { .. }) => return outcome,
            }
        }
        refuse("the keys of 16 microseconds in a row are taken by other objects")
    }
}

impl fmt::Debug for Uploader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploader").field("form", &self.form).finish_non_exhaustive()
    }
}

/// This segment waits; others may go on.
fn refuse(why: &str) -> Outcome {
    Outcome::Retry { scope: Scope::Segment, after: None, why: why.into() }
}

/// The object for a segment whose first sample (or, for the end of a span, whose last sample's end) is at
/// `time`. `digest` is that of `body`.
///
/// An `mp4_end` is empty and so not an MP4 file: its type is `application/octet-stream`, so that nothing that
/// lists a bucket by type tries to play it.
#[must_use]
pub fn object_for(
    form: &KeyForm,
    segment: &Segment,
    time: Utc,
    clock: KeyClock,
    body: Arc<dyn Body>,
    digest: Digest,
) -> Object {
    let record = &segment.record;
    let hours = record.history_hours.to_string();
    let (content_type, duration, reason) = match &segment.content {
        Content::Footage { duration, codecs, .. } => (footage_type(codecs), *duration, None),
        Content::End { reason } => ("application/octet-stream".to_owned(), 0, Some(reason.text())),
    };
    let millis = duration.saturating_add(500_000) / 1_000_000;
    let mut metadata = vec![
        ("device-id", header_text(&form.device)),
        ("duration-ms", millis.to_string()),
        ("span", header_text(&record.span)),
        ("boot-id", header_text(&record.boot)),
        ("plan", header_text(&record.plan)),
        ("history-hours", hours.clone()),
        ("clock", clock.text().to_owned()),
        ("sha256", super::answer::to_hex(&digest.sha256)),
    ];
    if let (Content::Footage { .. }, Some(attributes)) = (&segment.content, body.attributes()) {
        metadata.extend(onvif::pairs(attributes, &header_text(&form.device), &content_type));
    }
    match (record.timing, segment.is_end()) {
        (Timing::Device, _) | (_, true) => {}
        (Timing::Arrival, false) => metadata.push(("time-source", "arrival".to_owned())),
        (Timing::Camera { lag_us }, false) => {
            metadata.push(("time-source", "camera".to_owned()));
            metadata.push(("lag-ms", (lag_us.saturating_add(500) / 1000).to_string()));
        }
    }
    metadata.extend(reason.map(|reason| ("reason", reason.to_owned())));
    Object {
        key: form.key(time, record.n, segment.is_end()),
        body,
        size: digest.size,
        sha256: digest.sha256,
        content_type,
        metadata,
        tags: vec![("history-hours", hours)],
        share: Share::Full,
        half_sent: Arc::default(),
    }
}

/// `Content-Type` with the codecs of RFC 6381; characters that a codec name cannot have are left out.
fn footage_type(codecs: &str) -> String {
    let names: String = codecs
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ',' | '-' | '_' | '+'))
        .take(MAX_METADATA)
        .collect();
    if names.is_empty() { "video/mp4".into() } else { format!("video/mp4; codecs=\"{names}\"") }
}

/// Makes text fit for a signed header: only visible ASCII, because servers trim and fold everything else, and
/// short.
fn header_text(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(MAX_METADATA).collect()
}
