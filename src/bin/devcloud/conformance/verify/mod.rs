//! `kasacam-devcloud verify`: sees a cloud as a camera sees it, with the camera's own credentials.

mod acl;
mod check;
mod door;
mod grants;
mod sessions;
mod store;
mod will;

use super::client::{Closed, open};
use super::judgement::cloud::rows;
use super::judgement::cloud::seen::CloudSeen;
use super::judgement::report::Report;
use super::party::verifying_keys;
use check::Check;
use kasacam::system::clock;
use kasacam::upload::grant::Allowed;

pub(crate) use check::Verify;

/// Runs all probes.
///
/// # Errors
/// A file cannot be used, or nobody answers.
pub(crate) async fn run(arguments: &Verify) -> Result<Report, String> {
    let check = Check::prepare(arguments)?;
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
