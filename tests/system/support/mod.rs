//! What the system tests share.

pub mod bucket;
pub mod camera;
pub mod clip;
pub mod cloud;
pub mod h264;
pub mod opened;
pub mod oracle;
pub mod played;
pub mod switch;
