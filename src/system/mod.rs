//! The machine that we run on: its clock, its init, its signals, its people at the console.

pub mod clock;
