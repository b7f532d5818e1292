//! Code that the system tests share.

pub mod browser;
pub mod bucket;
#[path = "../../suite/support/budget.rs"]
pub mod budget;
pub mod camera;
pub mod card;
pub mod clip;
pub mod cloud;
#[path = "../../suite/support/figures.rs"]
pub mod figures;
pub mod h264;
pub mod kernel;
pub mod mqtt_proxy;
pub mod opened;
pub mod oracle;
pub mod pipe;
pub mod played;
pub mod proxy;
pub mod small_disk;
pub mod switch;
