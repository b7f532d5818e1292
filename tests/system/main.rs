//! The real binaries, a real mosquitto and a real object store over TLS.

#![allow(missing_docs, unreachable_pub, reason = "tests are no public API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failed test, and says where; a test takes the time as it is"
)]

mod agreement;
mod alone;
mod attacks;
mod boards;
// The verdict of the demo is pure, and part of a program without a library: it is included as it is.
mod broker_faults;
mod cards;
#[path = "../../src/bin/devcloud/chronicle.rs"]
mod chronicle;
mod clips;
mod clips_over_rtsp;
mod clocks;
mod closing;
mod command_line;
mod comparison;
mod contract;
mod credentials;
mod devcloud;
mod disk_faults;
mod eviction;
mod fleet;
#[path = "../../src/bin/devcloud/footage.rs"]
mod footage;
mod footage_read;
mod h265;
mod hls;
mod household;
mod identity;
mod long_gop;
#[path = "../../src/bin/devcloud/objects.rs"]
mod objects;
#[path = "../capture/odd/camera.rs"]
#[expect(dead_code, reason = "the capture tests use all of it")]
mod odd_camera;
mod page;
#[path = "../../src/bin/devcloud/page"]
mod page_parts {
    pub mod bands;
    pub mod hls;
}
mod recording;
mod reload;
mod snapshots;
mod soak;
mod stalls;
mod store_faults;
#[path = "../../src/bin/devcloud/summary.rs"]
mod summary;
mod support;
mod survival;
mod timeline;
mod toggles;
mod unheard;
mod unwritten;
mod verify;
mod watch;
