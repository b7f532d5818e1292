//! All tests that need no camera, broker or store of their own: one binary, so that it links once.

#![allow(missing_docs, unreachable_pub, reason = "tests are no public API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failed test, and says where; a test takes the time as it is"
)]

mod agreement;
mod architecture;
mod attributes;
mod calendar;
mod camera_refusals;
mod certificates;
mod circles;
mod config_boards;
mod config_errors;
mod config_profiles;
#[cfg(feature = "schema")]
mod conformance;
mod decode_times;
mod documents;
mod facts_lost;
mod fmp4_damage;
mod fmp4_golden;
mod fmp4_index;
mod fmp4_record;
mod fmp4_times;
mod fmp4_written;
mod fuzz;
mod grant_uploads;
mod grants;
mod h265;
mod identity;
mod logs_are_private;
mod machine;
mod machine_and_spool;
mod machine_choice;
mod machine_keeping;
mod machine_laws;
mod machine_light;
mod machine_order;
mod machine_plan;
mod machine_reports;
mod machine_room;
mod machine_states;
mod machine_uploads;
mod machine_walk;
mod mqtt_grants;
mod mqtt_manners;
mod mqtt_outbox;
mod mqtt_packets;
mod mqtt_payloads;
mod mqtt_session;
mod mqtt_signatures;
mod mqtt_trust;
mod network;
mod object_times;
mod policy_laws;
mod policy_table;
mod privacy_journal;
mod profile_choice;
#[cfg(feature = "schema")]
mod release;
mod schemas;
mod segmenter;
mod sender_clock;
mod slow_link;
mod spool_aside;
mod spool_crash;
mod spool_crypt;
mod spool_cut;
mod spool_cycle;
mod spool_damage;
mod spool_start;
mod spool_thread;
mod support;
mod system_facts;
mod temporary_keys;
mod test_card;
mod tls_suites;
mod toggles;
mod upload_bodies;
mod upload_faults;
mod upload_outcomes;
mod upload_proof;
mod upload_trust;
