//! The agent that runs inside a Kasa Cam.

pub mod agent;
pub mod capture;
pub mod config;
pub mod disk;
pub mod domain;
pub mod fmp4;
pub mod identity;
pub mod mqtt;
pub mod net;
pub mod spool;
pub mod system;
pub mod upload;
