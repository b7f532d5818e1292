//! What several tests share.

pub mod fault_fs;
pub mod rig;
pub mod spool_model;
pub mod store_server;
pub mod tiny_mp4;
