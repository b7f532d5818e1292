//! The figures as OpenMetrics text (`application/openmetrics-text; version=1.0.0`).

use crate::domain::effect::Telemetry;
use std::fmt::Write;

/// Renders the figures; ends with `# EOF` as the format requires.
#[must_use]
pub fn render(t: &Telemetry, mqtt_connected: bool) -> String {
    let mut text = String::with_capacity(4096);
    let gauges: [(&str, &str, u64); 12] = [
        ("kasacam_capture_open", "1 while the capture device is open", u64::from(t.capture.open)),
        ("kasacam_upload_on", "1 while the plan lets footage be uploaded", u64::from(t.upload.on)),
        ("kasacam_uploads_in_flight", "Uploads under way", t.upload.in_flight),
        ("kasacam_mqtt_connected", "1 while the broker is connected", u64::from(mqtt_connected)),
        (
            "kasacam_latch_fault",
            "1 while the shutter or button cannot be read",
            u64::from(t.household.latch_fault.is_some()),
        ),
        (
            "kasacam_light_fault",
            "1 while the light cannot be lit",
            u64::from(t.household.light_fault.is_some()),
        ),
        ("kasacam_spool_bytes", "Bytes in the spool", t.spool.bytes),
        ("kasacam_spool_files", "Files in the spool", t.spool.files),
        ("kasacam_spool_pending", "Segments that the cloud does not hold yet", t.spool.pending),
        ("kasacam_spool_quarantined", "Files in quarantine", t.spool.quarantined),
        ("kasacam_spool_set_aside", "Files left where they are, unsent", t.spool.set_aside.files),
        (
            "kasacam_upload_last_latency_milliseconds",
            "From the end of capture to proof of storage",
            t.upload.last_latency_ms,
        ),
    ];
    let free = ("kasacam_spool_free_bytes", "Bytes free on the file system of the spool");
    let free = t.spool.free.map(|value| (free.0, free.1, value));
    let days = ("kasacam_certificate_days_left", "Whole days until the device's certificate ends");
    let days = t.certificate_days_left.map(|value| (days.0, days.1, value));
    for (name, help, value) in gauges.into_iter().chain(free).chain(days) {
        let _infallible = write!(text, "# TYPE {name} gauge\n# HELP {name} {help}\n{name} {value}\n");
    }
    let counters: [(&str, &str, u64); 12] = [
        ("kasacam_capture_starts", "Times that the capture device was opened", t.capture.starts),
        ("kasacam_capture_faults", "Times that capture ended by a fault", t.capture.faults),
        ("kasacam_frames_captured", "Frames handed over by the pipeline", t.capture.frames_captured),
        ("kasacam_frames_committed", "Frames written to the spool", t.capture.frames_committed),
        ("kasacam_frames_dropped", "Frames that were not kept", t.capture.frames_dropped),
        ("kasacam_stream_holes", "Places where frames were missing in the stream that came", t.capture.holes),
        ("kasacam_frames_missing", "Approximate number of frames missing there", t.capture.frames_missing),
        ("kasacam_segments_stored", "Segments proved to be stored", t.upload.stored),
        ("kasacam_stored_bytes", "Bytes proved to be stored", t.upload.stored_bytes),
        ("kasacam_upload_retries", "Uploads that failed and are retried", t.upload.retries),
        ("kasacam_segments_purged", "Segments that a rule removed unsent", t.spool.purged),
        ("kasacam_messages_rejected", "Messages from the broker that were not accepted", t.rejected),
    ];
    for (name, help, value) in counters {
        let _infallible = write!(text, "# TYPE {name} counter\n# HELP {name} {help}\n{name}_total {value}\n");
    }
    text.push_str("# EOF\n");
    text
}
