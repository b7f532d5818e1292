//! Unusual streams, and a camera that sends them.

pub mod by_hand;
pub mod camera;
