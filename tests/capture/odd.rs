//! Odd streams, and an odd camera that sends them.

pub mod by_hand;
pub mod camera;
