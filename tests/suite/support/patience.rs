//! How much longer than on a development machine a test may take.

use std::time::Duration;

/// A wait or a time limit, multiplied by `KASACAM_PATIENCE` (default 1): an emulated processor is slow, which
/// is not a fault of the program.
pub fn patient(limit: Duration) -> Duration {
    let times = std::env::var("KASACAM_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    limit * times
}
