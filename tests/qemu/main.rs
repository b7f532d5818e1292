//! A whole system in QEMU: kernel, systemd, the package, a virtual camera; broker and store outside. By
//! `tests/qemu/run.sh`, which makes what is needed and passes it on:
//!
//! - `KASACAM_IMAGE`: the folder that `cross/image.sh` made;
//! - `KASACAM_QEMU`: the emulator, a word to a line;
//! - `KASACAM_LAUNCH`: gst-launch-1.0 for its processor;
//! - `KASACAM_POWER_CUTS`: how many cuts each kind takes (2).

#![allow(missing_docs, unreachable_pub, reason = "tests are no public API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    dead_code,
    reason = "a panic in a test is a failed test, and says where; of what the system tests share not all is needed"
)]

mod data;
mod faults;
mod guest;
mod life;
mod memory;
#[path = "../../src/bin/devcloud/objects.rs"]
mod objects;
mod power;
mod recording;
mod write_log;

#[path = "../system/support/mod.rs"]
mod support;
