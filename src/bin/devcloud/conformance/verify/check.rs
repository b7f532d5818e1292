//! The arguments of `verify`, and what all its probes need.

use super::super::arguments::Common;
use super::super::client::Place;
use super::super::party::{Credentials, Party, random};
use crate::http::Http;
use crate::store_key::StoreKey;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// By then, retained messages must have arrived, as for a camera.
pub(super) const RETAINED_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to listen for a message that should not come.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// Compares a cloud with the contract, rule by rule. Use a device of its own for this: the check takes over its MQTT
/// session, and leaves objects of a few kilobytes under its prefix.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Id of the device that the check pretends to be; `--cert`, `--key`, `--user` and `--password-file` are its own.
    #[arg(long)]
    pub(super) device: String,
    #[command(flatten)]
    pub(in crate::conformance) common: Common,
    /// Id of another device, which the first may not publish for or hear; without it, those rules are not checked.
    #[arg(long)]
    pub(super) other: Option<String>,
    /// Client certificate of the other device.
    #[arg(long, value_name = "FILE")]
    pub(super) other_cert: Option<PathBuf>,
    /// Private key of the other device.
    #[arg(long, value_name = "FILE")]
    pub(super) other_key: Option<PathBuf>,
    /// Client certificate of somebody who may hear both devices, such as the cloud itself; without it, the last will is
    /// not checked.
    #[arg(long, value_name = "FILE")]
    pub(super) observer_cert: Option<PathBuf>,
    /// Private key of the observer.
    #[arg(long, value_name = "FILE")]
    pub(super) observer_key: Option<PathBuf>,
    /// Public key that may sign the owner's choice, as in `privacy.keys` [default: those of `--lease-key`].
    #[arg(long, value_name = "FILE")]
    pub(super) privacy_key: Vec<PathBuf>,
    /// Public key that may sign the lease and grants, as in `entitlement.keys`.
    #[arg(long, value_name = "FILE")]
    pub(super) lease_key: Vec<PathBuf>,
    /// Request grants from the cloud, as a camera with `upload.credentials = { grant = true }` does.
    #[arg(long)]
    pub(super) grants: bool,
    /// Wait this many seconds for the cloud to delete what was captured after a "do not record". The retained choice
    /// has to be such a one.
    #[arg(long, value_name = "SECONDS")]
    pub(super) deletion: Option<u64>,
}

/// What all probes need.
pub(super) struct Check<'a> {
    pub(super) arguments: &'a Verify,
    pub(super) place: Place,
    pub(super) device: Party,
    pub(super) other: Option<Party>,
    pub(super) observer: Option<Party>,
    pub(super) http: Http,
    pub(super) store_key: Option<StoreKey>,
}

impl<'a> Check<'a> {
    /// Reads all files that the arguments name.
    ///
    /// # Errors
    /// A file that cannot be used, or arguments that do not fit together.
    pub(super) fn prepare(arguments: &'a Verify) -> Result<Check<'a>, String> {
        let common = &arguments.common;
        let with_certificate = |client: &str, cert: Option<&Path>, key: Option<&Path>| {
            Party::new(client, &common.ca, &Credentials { cert, key, user: None, password_file: None })
        };
        let other = arguments
            .other
            .as_ref()
            .map(|id| with_certificate(id, arguments.other_cert.as_deref(), arguments.other_key.as_deref()));
        let observer = arguments.observer_cert.as_ref().map(|cert| {
            let name = format!("verify-{}", random(8)?);
            with_certificate(&name, Some(cert), arguments.observer_key.as_deref())
        });
        Ok(Check {
            arguments,
            place: common.place()?,
            device: common.party(&arguments.device)?,
            other: other.transpose()?,
            observer: observer.transpose()?,
            http: common.http()?,
            store_key: common.store_key()?,
        })
    }

    /// A topic below the device's id.
    pub(super) fn topic(&self, name: &str) -> String {
        format!("kasacam/v1/{}/{name}", self.arguments.device)
    }
}
