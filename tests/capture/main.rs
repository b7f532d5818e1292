//! Capture with real GStreamer: its test sources, files of ffmpeg, an RTSP server on loopback.
#![allow(missing_docs, unreachable_pub, reason = "tests are no public API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failed test, and says where; tests measure time and write files"
)]

mod audio;
mod boards;
mod bridge;
mod byte_stream;
mod choosing;
mod controls;
mod faults;
mod file_source;
mod formats;
mod golden;
mod h265;
mod odd;
mod odd_sources;
mod odd_streams;
#[path = "../system/support/oracle.rs"]
#[expect(dead_code, reason = "the system tests use all of it")]
mod oracle;
#[path = "../suite/support/patience.rs"]
mod patience;
mod pipelines;
mod rtsp;
mod sizes;
mod stops;
mod support;
mod test_cards;
mod test_source;
mod versions;
