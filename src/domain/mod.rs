//! The decisions of the camera, and nothing else: no clock, no file, no socket, no thread.
//!
//! Everything here is a value or a function of values. Time is an argument ([`time::Now`]). What happens
//! outside arrives as an [`input::Input`]. What the outside must do is returned as an [`effect::Effect`].

#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]
#![forbid(unsafe_code)]

pub mod aside;
pub mod backoff;
pub mod codec;
pub mod effect;
pub mod entitlement;
pub mod fragment;
pub mod grant;
pub mod input;
pub mod journal;
pub mod machine;
pub mod offset;
pub mod outcome;
pub mod policy;
pub mod privacy;
pub mod recovery;
mod report;
pub mod retention;
pub mod segment;
pub mod segmenter;
pub mod settings;
pub mod status;
pub mod storage;
mod telemetry;
pub mod time;
