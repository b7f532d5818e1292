//! The agent's reports, as text for people.

use kasacam::domain::aside::Aside;
use kasacam::domain::status::Status;
use std::fmt::Write;

/// The status.
pub(crate) fn of_status(status: &Status) -> String {
    let Status { telemetry, entitlement, .. } = status;
    let (capture, spool, upload) = (&telemetry.capture, &telemetry.spool, &telemetry.upload);
    let open = if capture.open { "open" } else { "closed" };
    let broker = if status.mqtt.connected { "connected" } else { "not connected" };
    let mut words = String::new();
    let _infallible = write!(
        words,
        "device       {}\n\
         camera       {open} ({})\n\
         entitlement  {}, plan {}, status {}\n\
         broker       {broker}\n\
         clock        {}\n\
         frames       {} captured, {} kept, {} dropped, {} missing in the stream\n\
         spool        {}: {} waiting, {} bytes, {} quarantined, {} purged\n\
         upload       {} stored, {} under way, {} retries\n",
        status.device,
        capture.reason,
        entitlement.state,
        entitlement.plan.as_deref().unwrap_or("unknown"),
        entitlement.status.as_deref().unwrap_or("unknown"),
        telemetry.clock,
        capture.frames_captured,
        capture.frames_committed,
        capture.frames_dropped,
        capture.frames_missing,
        spool.state,
        spool.pending,
        spool.bytes,
        spool.quarantined,
        spool.purged,
        upload.stored,
        upload.in_flight,
        upload.retries,
    );
    let mut line = |name: &str, what: Option<&str>| {
        if let Some(what) = what {
            let _infallible = writeln!(words, "{name:<12} {what}");
        }
    };
    line("set aside", (spool.set_aside.files > 0).then(|| of_what_is_set_aside(status)).as_deref());
    line("fault", capture.fault.as_deref());
    line("audio", capture.audio_fault.as_deref());
    line("differs", capture.differs.as_deref());
    line("spool fault", spool.fault.as_deref());
    line("store", upload.stalled.as_deref());
    line("latch", telemetry.household.latch_fault.as_deref());
    line("light", telemetry.household.light_fault.as_deref());
    words + &of_privacy(status)
}

/// How many files are left unsent in the spool, why, and what to do.
fn of_what_is_set_aside(status: &Status) -> String {
    let figures = &status.telemetry.spool.set_aside;
    let told = Aside::ALL.into_iter().filter(|why| figures.of(*why) > 0);
    told.map(|why| format!("{} {}", figures.of(why), why.words())).collect::<Vec<_>>().join("; ")
}

/// Why the latch that was set has not taken effect.
pub(crate) fn what_is_not_closed(status: &Status) -> Option<String> {
    let capture = &status.privacy.report.capture;
    if capture != "closed" {
        return Some(format!("the camera is not closed: it is {capture}"));
    }
    (!status.privacy.durable).then(|| {
        String::from(
            "the camera is closed, but the latch could not be made durable: a power cut may open it again; \
             check the disk of the state directory",
        )
    })
}

/// What prevents recording, as far as privacy is concerned.
pub(crate) fn of_privacy(status: &Status) -> String {
    let report = &status.privacy.report;
    let latch = if report.latch { "set" } else { "not set" };
    let choice = if report.do_not_record { "do not record" } else { "recording is allowed" };
    format!("privacy      {choice}; local latch {latch}; camera {}\n", report.capture)
}
