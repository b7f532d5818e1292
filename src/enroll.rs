//! `kasacamd enroll`: the device's first certificate, or an early renewal.

use kasacam::config;
use kasacam::disk::RealFs;
use kasacam::identity::{self, Est, Right};
use kasacam::system::clock;
use std::path::Path;

/// Requests a certificate with the claim of the section `[identity]` or, if there is none, with the identity
/// that the camera has. The new certificate replaces the previous one.
pub(crate) fn enroll(path: &Path) -> Result<String, String> {
    let (device, enrolment) = config::load_enrolment(path).map_err(|problems| problems.to_string())?;
    let file = device.state_dir.join(identity::FILE);
    let right = if enrolment.claim.is_none() && file.exists() { Right::Identity } else { Right::Claim };
    let server = Est::new(enrolment.clone(), file.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("the runtime does not start: {e}"))?;
    let asked = identity::enroll(&RealFs, &device.state_dir, &device.id, right, &server, clock::utc());
    let issued = runtime.block_on(asked).map_err(|failure| failure.to_string())?;
    Ok(format!(
        "{} has a certificate from {}, good until {}: {}\n",
        device.id,
        identity::place(&enrolment),
        issued.until,
        file.display()
    ))
}
