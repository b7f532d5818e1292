//! The machine on which the agent runs: its clock, its init, its signals, its local operator.

pub mod allocator;
pub mod boot;
pub mod cameras;
pub mod clock;
pub mod control;
pub mod hardware;
pub mod indicator;
pub mod inputs;
pub mod latch;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod signals;
