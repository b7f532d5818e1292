//! `kasacam-devcloud verify`: looks at a cloud from where a camera stands, with the camera's own credentials.

mod acl;
mod door;
mod grants;
mod sessions;
mod store;
mod will;

use super::client::{Closed, Place, open};
use super::http::Http;
use super::judgement::cloud::rows;
use super::judgement::cloud::seen::CloudSeen;
use super::judgement::report::Report;
use super::output::Output;
use super::party::{BrokerArguments, Named, Party, place, random, tls, verifying_keys};
use kasacam::system::clock;
use kasacam::upload::grant::Allowed;
use std::path::PathBuf;
use std::time::Duration;

/// What is retained has to be there by then, as for a camera.
const RETAINED_TIMEOUT: Duration = Duration::from_secs(2);
/// For so long it is listened for what should not come.
const QUIET: Duration = Duration::from_secs(1);

/// Holds a cloud against the contract, row by row. Use a device of its own for it: its session is taken over, and
/// objects of a few kilobytes are left below its prefix.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    broker: BrokerArguments,
    /// Id of the device in whose name.
    #[arg(long)]
    device: String,
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[arg(long)]
    user: Option<String>,
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Another device, which one may not speak for or hear; without it, those rows are not checked.
    #[arg(long)]
    other: Option<String>,
    #[arg(long, value_name = "FILE")]
    other_cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    other_key: Option<PathBuf>,
    /// Somebody who may hear both devices, such as the cloud itself; without it, the last will is not checked.
    #[arg(long, value_name = "FILE")]
    observer_cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    observer_key: Option<PathBuf>,
    /// Public keys that may sign the owner's choice, as in `privacy.keys`: those of the lease unless told.
    #[arg(long, value_name = "FILE")]
    privacy_key: Vec<PathBuf>,
    /// Public keys that may sign the lease and grants, as in `entitlement.keys`.
    #[arg(long, value_name = "FILE")]
    lease_key: Vec<PathBuf>,
    /// Ask the cloud for grants, as a camera with `upload.credentials = { grant = true }` does.
    #[arg(long)]
    grants: bool,
    /// The store, as in `upload.endpoint`.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// As in `upload.url`.
    #[arg(long, default_value = "kasa-care")]
    bucket: String,
    /// As in `upload.url`: empty, or ends with a slash.
    #[arg(long, default_value = "v1/")]
    prefix: String,
    /// As in `upload.region`.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Roots of the store: those of the broker unless told.
    #[arg(long, value_name = "FILE")]
    store_ca: Option<PathBuf>,
    /// Where to connect to for the store, whatever its URL says.
    #[arg(long, value_name = "HOST:PORT")]
    store_connect: Option<String>,
    /// A key of the store, as in `upload.credentials`: stores by it where no grants are asked for, and looks by HEAD.
    #[arg(long, value_name = "FILE")]
    store_credentials: Option<PathBuf>,
    /// Wait so many seconds for the cloud to delete what was captured after a "do not record". The choice that is
    /// retained has to be one.
    #[arg(long, value_name = "SECONDS")]
    deletion: Option<u64>,
    /// Seconds that each answer is waited for.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    within: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What all probes need.
struct Check<'a> {
    told: &'a Verify,
    place: Place,
    device: Party,
    other: Option<Party>,
    observer: Option<Party>,
    http: Http,
}

impl Check<'_> {
    /// A topic below the device's id.
    fn topic(&self, name: &str) -> String {
        format!("kasacam/v1/{}/{name}", self.told.device)
    }
}

/// Looks at everything; the report.
///
/// # Errors
/// Where a file cannot be used, or nobody answers.
pub(crate) async fn run(told: &Verify) -> Result<Report, String> {
    let check = prepare(told)?;
    let mut seen = CloudSeen::nothing(&told.device, clock::utc(), "the broker was not reached");
    let lease_keys = verifying_keys(&told.lease_key)?;
    let privacy_keys = verifying_keys(&told.privacy_key)?;
    seen.privacy_keys = match (privacy_keys.is_empty(), lease_keys.is_empty()) {
        (false, _) => Ok(privacy_keys),
        (true, false) => Ok(lease_keys.clone()),
        (true, true) => Err("needs --privacy-key".into()),
    };
    seen.lease_keys = if lease_keys.is_empty() { Err("needs --lease-key".into()) } else { Ok(lease_keys) };
    seen.allowed = match &told.store {
        Some(url) => Ok(Allowed::new(url, &told.bucket)),
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

fn prepare(told: &Verify) -> Result<Check<'_>, String> {
    let ca = told.broker.ca.as_path();
    let (host, port) = place(&told.broker.broker)?;
    let within = Duration::from_secs(told.within);
    let device = Party::new(
        &told.device,
        ca,
        &Named {
            cert: told.cert.as_deref(),
            key: told.key.as_deref(),
            user: told.user.as_deref(),
            password_file: told.password_file.as_deref(),
        },
    )?;
    let by_certificate = |cert, key| Named { cert, key, user: None, password_file: None };
    let other = told
        .other
        .as_ref()
        .map(|id| Party::new(id, ca, &by_certificate(told.other_cert.as_deref(), told.other_key.as_deref())));
    let observer = told.observer_cert.as_ref().map(|cert| {
        let name = format!("verify-{}", random(8)?);
        Party::new(&name, ca, &by_certificate(Some(cert), told.observer_key.as_deref()))
    });
    let store_ca = told.store_ca.as_deref().unwrap_or(ca);
    Ok(Check {
        told,
        place: Place { host, port, within },
        device,
        other: other.transpose()?,
        observer: observer.transpose()?,
        http: Http { tls: tls(store_ca, None)?, connect: told.store_connect.clone(), within },
    })
}
