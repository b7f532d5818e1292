//! The agent that runs inside a Kasa Cam.
//!
//! # Data flow
//!
//! [`capture`] builds a GStreamer pipeline from the board file, finds the access units in its output, and
//! cuts them into chunks. A bounded channel leads to the thread of the [`spool`], which writes them into the
//! open segment and makes them durable. The machine is told of each sealed segment; [`upload`] sends it from
//! its file, and once the store has proved that it holds it, the spool removes it. [`fmp4`] reads and writes
//! the boxes of ISO/IEC 14496-12 for all of them.
//!
//! # Decision flow
//!
//! [`mqtt`] delivers signed commands; [`system`] delivers the local latch, signals and the clock. Each
//! becomes an [`Input`](domain::input::Input); the [`Machine`](domain::machine::Machine) applies it, asks the
//! [policy](domain::policy), and emits [`Effect`](domain::effect::Effect)s. [`agent`] waits, applies and
//! performs, one input at a time. Only the policy makes a permit, and nothing is captured without one.
//!
//! # The rest
//!
//! [`config`] reads and validates the two configuration files. [`disk`] writes files and keeps the last known
//! facts. [`net`] connects to both broker and store. [`identity`] obtains the device's certificate.
//!
//! `docs/architecture.md` says which module may import which, and why it is built so; `docs/glossary.md`
//! defines the nouns.

pub mod agent;
pub mod capture;
pub mod config;
pub mod disk;
pub mod domain;
pub mod fmp4;
pub mod identity;
pub mod mqtt;
pub mod net;
pub mod spool;
pub mod system;
pub mod upload;
