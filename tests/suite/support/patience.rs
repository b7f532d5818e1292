//! How much longer than on a development machine a test may take.

use std::time::Duration;

/// A wait or a limit of time, multiplied by `KASACAM_PATIENCE` (1 unless set): an emulated processor is
/// slow, and that is no fault of the program.
pub fn patient(limit: Duration) -> Duration {
    let times = std::env::var("KASACAM_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    limit * times
}
