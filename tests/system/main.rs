//! The real binaries, a real mosquitto and a real object store over TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failed test, and says where; a test takes the time as it is"
)]

mod devcloud;
mod support;
