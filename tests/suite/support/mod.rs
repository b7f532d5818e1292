//! What several tests share.

pub mod fault_fs;
pub mod spool_model;
pub mod tiny_mp4;
