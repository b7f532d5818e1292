//! Initialisation of GStreamer.

use std::sync::OnceLock;

/// Initialises GStreamer once; later calls return the first result.
pub(super) fn initialise() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| gst::init().map_err(|why| format!("GStreamer does not start: {}", why.message())))
        .clone()
}
