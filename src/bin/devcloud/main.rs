//! `kasacam-devcloud`: the cloud that a camera talks to, on one machine, for development and tests.
//!
//! A private CA, a real mosquitto with mutual TLS and an ACL, an S3 store over TLS, and the owner's
//! and the operator's side of the contract. Everything lives in one directory.

mod certificates;
mod events;
mod objects;
mod signer;
mod store;
fn main() {}
