//! What the system tests share.

pub mod bucket;
pub mod camera;
pub mod clip;
pub mod cloud;
#[path = "../../suite/support/figures.rs"]
pub mod figures;
pub mod h264;
pub mod opened;
pub mod oracle;
pub mod pipe;
pub mod played;
pub mod proxy;
pub mod small;
pub mod switch;
