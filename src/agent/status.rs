//! Reports for people: status, metrics, the system journal.

use crate::config::Config;
use crate::domain::effect::{CaptureSettings, Event};
use crate::domain::input::{FaultKind, Input};
use crate::domain::journal::Head;
use crate::domain::machine::Machine;
use crate::domain::outcome::Outcome;
use crate::domain::policy;
use crate::domain::privacy::Shutter;
use crate::domain::status::{MqttStanding, PrivacyStanding, Status};
use crate::domain::time::Now;
use crate::mqtt::Session;
use crate::system::{boot, control, metrics};
use serde_json::{Value, json};
use std::time::Duration;

/// The answer to `status`.
pub(super) fn full(
    machine: &Machine,
    config: &Config,
    broker: &Session,
    journal: Head,
    days_left: Option<u64>,
    now: Now,
) -> Status {
    let mut telemetry = machine.telemetry(now);
    telemetry.peak_rss_kib = boot::peak_rss_kib();
    telemetry.certificate_days_left = days_left;
    telemetry.journal = journal.into();
    telemetry.dropped_events = broker.dropped_events();
    let decision = policy::decide(&machine.facts(now));
    Status {
        device: config.device.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        telemetry,
        privacy: PrivacyStanding {
            report: machine.privacy_standing(now),
            durable: !machine.forbids_without_trace(),
        },
        entitlement: machine.entitlement_report(&decision, now),
        mqtt: MqttStanding { connected: broker.connected() },
    }
}

/// The answer to `metrics`.
pub(super) fn metrics(machine: &Machine, connected: bool, days_left: Option<u64>, now: Now) -> Value {
    let mut telemetry = machine.telemetry(now);
    telemetry.certificate_days_left = days_left;
    json!(control::Metrics { metrics: metrics::render(&telemetry, connected) })
}

/// A write that takes longer than this is reported.
pub(super) const STALLED_FROM: Duration = Duration::from_secs(5);

/// `STATUS=` for systemd. `stalled`: how long the spool thread has waited for the disk.
pub(super) fn in_a_line(machine: &Machine, stalled: Duration, now: Now) -> String {
    let t = machine.telemetry(now);
    let camera = if t.capture.open { "recording" } else { "camera closed" };
    let stall = if stalled >= STALLED_FROM { "; storage stalled" } else { "" };
    let (reason, pending, state) = (t.capture.reason, t.spool.pending, t.spool.state);
    format!("{camera} ({reason}); {pending} segments wait; spool {state}{stall}")
}

pub(super) fn capture_in_words(settings: CaptureSettings) -> String {
    let audio = if settings.audio { "with audio" } else { "without audio" };
    format!("the plan allows {} lines, {audio}", settings.max_height)
}

/// Logs the inputs that belong in the system journal. Payloads never do.
pub(super) fn log(input: &Input) {
    match input {
        Input::Connected => tracing::info!("the broker is connected"),
        Input::Disconnected { why } => tracing::warn!("the broker is not connected: {why}"),
        Input::Privacy { choice, .. } => {
            let says = if choice.do_not_record { "do not record" } else { "record" };
            tracing::info!("privacy choice {} says: {says}", choice.version);
        }
        Input::Entitlement { lease, .. } => tracing::info!(
            "lease {}: plan {}, {}, until {}",
            lease.version,
            lease.terms.plan.id,
            lease.terms.status.text(),
            lease.not_after
        ),
        Input::Latch { closed: true } => tracing::info!("the local latch is set"),
        Input::Latch { closed: false } => tracing::info!("the local latch is lifted"),
        Input::LatchPressed => tracing::info!("the button of the local latch is pressed"),
        Input::Shutter(Shutter::Closed) => tracing::info!("the shutter is closed"),
        Input::Shutter(Shutter::Open | Shutter::Absent) => tracing::info!("the shutter is open"),
        Input::Shutter(Shutter::Unknown) => {
            tracing::error!("the shutter cannot be read: nothing is recorded until it can");
        }
        Input::Persisted { result: Err(why), .. } => tracing::error!("a fact could not be kept: {why}"),
        Input::Sealed(segment) => tracing::debug!("sealed {} ({} bytes)", segment.serial, segment.bytes),
        Input::Disbelieved { privacy, entitlement } => {
            for (what, disbelieved) in [("owner's choice", privacy), ("lease", entitlement)] {
                if *disbelieved {
                    tracing::warn!("the {what} was signed with a key that is withdrawn: it is unknown now");
                }
            }
        }
        Input::LatchDevice { fault: Some(why) } => tracing::error!("{why}"),
        Input::LightSet { result: Err(why), .. } => tracing::debug!("the light: {why}"),
        Input::Found(segments) => tracing::debug!("found {} files in the spool", segments.len()),
        Input::UploadFinished { serial, outcome, took } => match outcome {
            Outcome::Stored => tracing::debug!("stored {serial} in {} ms", took.as_millis()),
            Outcome::KeyTaken => tracing::warn!("the key of {serial} is taken"),
            Outcome::Retry { why, .. } => tracing::debug!("{serial} will be sent again: {why}"),
        },
        Input::UploadPastHalf { serial } => tracing::debug!("more than half of {serial} is sent"),
        Input::Tick
        | Input::Rejected { .. }
        | Input::Persisted { .. }
        | Input::LightSet { .. }
        | Input::LatchDevice { fault: None }
        | Input::CaptureStarted { .. }
        | Input::CaptureClosed { .. }
        | Input::CaptureStuck { .. }
        | Input::CaptureTrouble { .. }
        | Input::CaptureAudio { .. }
        | Input::CaptureDiffers { .. }
        | Input::CaptureHoles { .. }
        | Input::Arrived { .. }
        | Input::Committed { .. }
        | Input::Dropped { .. }
        | Input::Forgotten { .. }
        | Input::Cut { .. }
        | Input::StoreAnswered(_)
        | Input::StoreReplaces
        | Input::Quarantined { .. }
        | Input::SetAside { .. }
        | Input::AsideEvicted(_)
        | Input::Usage(_)
        | Input::StorageStalled
        | Input::StorageResumed(_)
        | Input::StorageFailed { .. }
        | Input::StorageProbed { .. }
        | Input::Flushed
        | Input::Reload(_)
        | Input::Shutdown => {}
    }
}

/// Every event is also a line of the system journal.
pub(super) fn log_event(event: &Event) {
    match event {
        Event::Rejected { topic, reason } => tracing::warn!("a message on {topic} was rejected: {reason}"),
        Event::SegmentPurged { serial, rule, .. } => {
            tracing::warn!("segment {serial} is removed unsent: {}", rule.text());
        }
        Event::SegmentCut { serial, kept_ms, rule, .. } => {
            tracing::warn!("segment {serial} is cut back to its first {kept_ms} ms: {}", rule.text());
        }
        Event::Unheard => {
            tracing::warn!("footage waits: it was captured while nobody could tell of a choice");
        }
        Event::UnheardOver { by } => {
            tracing::info!("footage that was captured unheard no longer waits: {by}")
        }
        Event::SetAside { why, files, name } => {
            tracing::error!("{files} files of the spool, such as {name}, are set aside: {why}");
        }
        Event::AsidePurged { name, why, rule, .. } => {
            tracing::warn!(
                "{name}, which could not be sent ({why}), is removed to make room: {}",
                rule.text()
            );
        }
        Event::Quarantined { name, why } => tracing::error!("{name} is in quarantine: {why}"),
        Event::CaptureFailed { kind: FaultKind::EndOfStream, message } => {
            tracing::info!("capture ended: {message}");
        }
        // The process ends: one line with the cause.
        Event::CaptureFailed { kind: FaultKind::CloseTimeout, message } => tracing::error!("{message}"),
        Event::CaptureFailed { message, .. } => {
            tracing::error!("capture failed and is retried: {message}")
        }
        Event::AudioFailed { message } => tracing::error!("recording goes on without audio: {message}"),
        Event::AudioRecovered => tracing::info!("audio is recorded again"),
        Event::CaptureOpened { .. } => tracing::info!("the camera opens"),
        Event::CaptureClosed { reason, .. } => tracing::info!("the camera is closed: {reason}"),
        Event::StorageFailed { why, .. } => tracing::error!("the spool cannot be written: {why}"),
        Event::StorageRecovered => tracing::info!("the spool can be written again"),
        Event::StorageStalled => tracing::warn!("the disk keeps the spool waiting"),
        Event::StorageResumed { stalled_s } => {
            tracing::warn!("the disk answers again, after {stalled_s} s");
        }
        Event::UploadRefused { serial, why } => {
            tracing::warn!("the store refuses segment {serial}, which waits: {why}");
        }
        Event::UploadStalled { why } => tracing::warn!("uploads wait: {why}"),
        Event::UploadResumed => tracing::info!("uploads go on"),
        Event::StoreReplaces => {
            tracing::warn!("the store ignores If-None-Match: it replaces an object that has the same key");
        }
        // Logged where it happened.
        Event::MessageSetAside { .. } => {}
        // The input was logged.
        Event::LatchFailed { .. } | Event::PersistFailed { .. } => {}
    }
}
