//! Code that several tests share.

pub mod broker;
pub mod budget;
pub mod card_reader;
pub mod dice;
pub mod fault_fs;
pub mod figures;
pub mod handmade;
pub mod heap;
pub mod joined;
pub mod media;
pub mod model;
pub mod name_server;
pub mod namespace;
pub mod patience;
pub mod rig;
pub mod scripted_broker;
pub mod signer;
pub mod spool_model;
pub mod store_server;
pub mod tiny_mp4;
pub mod uploads;
pub mod world;
