//! The agent that runs inside a Kasa Cam.
//!
//! # The way of a frame
//!
//! [`capture`] builds a GStreamer pipeline from the board file, finds the access units in what comes out of it, and cuts
//! them into chunks. A bounded channel leads to the thread of the [`spool`], which writes them into the open segment
//! and makes them durable. A sealed segment is told to the machine; [`upload`] sends it from its file, and once the store
//! has proved that it holds it, the spool forgets it. [`fmp4`] knows the boxes of ISO/IEC 14496-12 for all of them.
//!
//! # The way of a decision
//!
//! [`mqtt`] hands over signed commands, [`system`] the local latch, signals and the clock. Each becomes an
//! [`Input`](domain::input::Input); the [`Machine`](domain::machine::Machine) applies it, asks the
//! [policy](domain::policy), and puts out [`Effect`](domain::effect::Effect)s. [`agent`] waits, applies and performs, one
//! input at a time. Only the policy makes a permit, and nothing is captured without one.
//!
//! # The rest
//!
//! [`config`] reads and judges the two configuration files. [`disk`] is how files are written, and where the last known
//! facts lie. [`net`] dials broker and store alike. [`identity`] gets the device its certificate.
//!
//! `docs/architecture.md` says who may import whom, and why it is built so; `docs/glossary.md` has the nouns.

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
