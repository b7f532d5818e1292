//! The conformance kit: `verify` holds a cloud that somebody else wrote against the contract, `watch` a camera. Each has
//! rules ([`judgement`], pure) and probes, which look and judge nothing. Nothing that was read from a file or heard is
//! shown but topics, codes, times and sizes.

mod client;
mod http;
pub(crate) mod judgement;
mod key;
mod output;
mod party;
pub(crate) mod verify;
pub(crate) mod watch;

pub(crate) use output::conclude;
