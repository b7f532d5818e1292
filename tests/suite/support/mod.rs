//! What several tests share.

pub mod broker;
pub mod fault_fs;
pub mod patience;
pub mod rig;
pub mod signer;
pub mod spool_model;
pub mod store_server;
pub mod tiny_mp4;
