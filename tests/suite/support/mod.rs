//! What several tests share.

pub mod broker;
pub mod rig;
pub mod signer;
pub mod store_server;
