//! `kasacam-devcloud verify`: sees a cloud as a camera sees it, with the camera's own credentials.

mod acl;
mod door;
mod grants;
mod sessions;
mod store;
mod will;

use super::arguments::Common;
use super::client::{Closed, Place, open};
use super::judgement::cloud::rows;
use super::judgement::cloud::seen::CloudSeen;
use super::judgement::report::Report;
use super::party::{Credentials, Party, random, verifying_keys};
use crate::http::Http;
use crate::store_key::StoreKey;
use kasacam::system::clock;
use kasacam::upload::grant::Allowed;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// By then, retained messages must have arrived, as for a camera.
const RETAINED_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to listen for a message that should not come.
const QUIET: Duration = Duration::from_secs(1);

/// Compares a cloud with the contract, rule by rule. Use a device of its own for this: the check takes over its MQTT
/// session, and leaves objects of a few kilobytes under its prefix.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Id of the device that the check pretends to be; `--cert`, `--key`, `--user` and `--password-file` are its own.
    #[arg(long)]
    device: String,
    #[command(flatten)]
    pub(super) common: Common,
    /// Id of another device, which the first may not publish for or hear; without it, those rules are not checked.
    #[arg(long)]
    other: Option<String>,
    /// Client certificate of the other device.
    #[arg(long, value_name = "FILE")]
    other_cert: Option<PathBuf>,
    /// Private key of the other device.
    #[arg(long, value_name = "FILE")]
    other_key: Option<PathBuf>,
    /// Client certificate of somebody who may hear both devices, such as the cloud itself; without it, the last will is
    /// not checked.
    #[arg(long, value_name = "FILE")]
    observer_cert: Option<PathBuf>,
    /// Private key of the observer.
    #[arg(long, value_name = "FILE")]
    observer_key: Option<PathBuf>,
    /// Public key that may sign the owner's choice, as in `privacy.keys` [default: those of `--lease-key`].
    #[arg(long, value_name = "FILE")]
    privacy_key: Vec<PathBuf>,
    /// Public key that may sign the lease and grants, as in `entitlement.keys`.
    #[arg(long, value_name = "FILE")]
    lease_key: Vec<PathBuf>,
    /// Request grants from the cloud, as a camera with `upload.credentials = { grant = true }` does.
    #[arg(long)]
    grants: bool,
    /// Wait this many seconds for the cloud to delete what was captured after a "do not record". The retained choice
    /// has to be such a one.
    #[arg(long, value_name = "SECONDS")]
    deletion: Option<u64>,
}

/// What all probes need.
struct Check<'a> {
    arguments: &'a Verify,
    place: Place,
    device: Party,
    other: Option<Party>,
    observer: Option<Party>,
    http: Http,
    store_key: Option<StoreKey>,
}

impl Check<'_> {
    /// A topic below the device's id.
    fn topic(&self, name: &str) -> String {
        format!("kasacam/v1/{}/{name}", self.arguments.device)
    }
}

/// Runs all probes.
///
/// # Errors
/// A file cannot be used, or nobody answers.
pub(crate) async fn run(arguments: &Verify) -> Result<Report, String> {
    let check = prepare(arguments)?;
    let mut seen = CloudSeen::nothing(&arguments.device, clock::utc(), "the broker was not reached");
    let lease_keys = verifying_keys(&arguments.lease_key)?;
    let privacy_keys = verifying_keys(&arguments.privacy_key)?;
    seen.privacy_keys = match (privacy_keys.is_empty(), lease_keys.is_empty()) {
        (false, _) => Ok(privacy_keys),
        (true, false) => Ok(lease_keys.clone()),
        (true, true) => Err("needs --privacy-key".into()),
    };
    seen.lease_keys = if lease_keys.is_empty() { Err("needs --lease-key".into()) } else { Ok(lease_keys) };
    seen.allowed = match &arguments.common.store {
        Some(url) => Ok(Allowed::new(url, &arguments.common.bucket)),
        None => Err("needs --store".into()),
    };
    match open(&check.place, &check.device.tls).await {
        Ok((_, version)) => seen.tls = Ok(Ok(version)),
        Err(Closed::Unreachable(why) | Closed::Ended(why)) => return Err(why),
        Err(Closed::Tls(why)) => {
            seen.tls = Ok(Err(why));
            return Ok(report(&seen));
        }
    }
    door::look(&check, &mut seen).await;
    sessions::look(&check, &mut seen).await;
    if seen.connack.as_ref().is_ok_and(|connack| connack.success) {
        acl::look(&check, &mut seen).await;
        let grants = grants::look(&check, &mut seen).await;
        store::look(&check, grants, &mut seen).await;
        will::look(&check, &mut seen).await;
        sessions::clean_up(&check).await;
    }
    Ok(report(&seen))
}

fn report(seen: &CloudSeen) -> Report {
    Report::new("verify", &seen.device, clock::utc(), rows(seen))
}

fn prepare(arguments: &Verify) -> Result<Check<'_>, String> {
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
