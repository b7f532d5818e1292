//! What the agent is told by the system that it runs on.

use kasacam::domain::time::Utc;
use kasacam::system::clock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn the_time_services_stamp_holds_as_long_as_the_kernels_word_would() {
    let folder = tempfile::tempdir().unwrap();
    let stamp = folder.path().join("synchronized");
    let touched = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    std::fs::File::create(&stamp).unwrap().set_modified(touched).unwrap();
    let after = |seconds: i64| Utc((1_800_000_000 + seconds) * 1_000_000_000);

    assert!(clock::stamped(&stamp, after(0)));
    assert!(clock::stamped(&stamp, after(32_000)));
    assert!(!clock::stamped(&stamp, after(32_001)), "by then the clock may be 16 s off");
    assert!(!clock::stamped(&stamp, after(-1)), "the clock was put back since");
}

#[test]
fn without_a_stamp_the_clock_is_not_trusted() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Utc(i64::try_from(now.as_nanos()).unwrap());
    assert!(!clock::stamped(&tempfile::tempdir().unwrap().path().join("synchronized"), now));
}
