//! The machine that we run on: its clock, its init, its signals, its people at the console.

pub mod allocator;
pub mod boot;
pub mod clock;
pub mod control;
pub mod indicator;
pub mod inputs;
pub mod latch;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod signals;
