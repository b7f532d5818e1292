//! Everything that needs no camera, no broker and no store of its own: one binary, so that it links once.

mod architecture;
mod config_boards;
mod config_errors;
mod fmp4_golden;
mod logs_are_private;
mod machine;
mod mqtt_payloads;
mod mqtt_session;
mod policy_laws;
mod policy_table;
mod segmenter;
mod spool_crash;
mod spool_cycle;
mod spool_damage;
mod upload_faults;
mod upload_outcomes;
mod support;
