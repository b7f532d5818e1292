//! One enrolment, from the key to the durable certificate.

use super::issued::{Issued, read_answer};
use super::server::{Failure, Right, Server};
use super::{keys, store};
use crate::disk::Fs;
use crate::domain::time::Utc;
use std::path::Path;

/// Gets a certificate for `device` and makes it durable in `dir`, in the steps of [`super`].
///
/// # Errors
/// See [`Failure`]; the previous identity is then unchanged. Safe to call again.
pub async fn enroll(
    fs: &dyn Fs,
    dir: &Path,
    device: &str,
    right: Right,
    server: &impl Server,
    now: Utc,
) -> Result<Issued, Failure> {
    let current = store::load(fs, dir).map_err(Failure::Disk)?;
    let key = store::pending(fs, dir, current.as_ref())?;
    let request = keys::request(&key, device).map_err(Failure::Refused)?;
    let answer = server.ask(right, request).await?;
    let spki = keys::public(&key).map_err(Failure::Disk)?;
    let issued = read_answer(&answer, &spki, device, now).map_err(Failure::Refused)?;
    store::publish(fs, dir, &key, &issued.chain).map_err(Failure::Disk)?;
    Ok(issued)
}
