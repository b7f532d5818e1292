//! `kasacam-devcloud watch`: sees a camera as the cloud sees it: hears what it publishes, and reads what it stored.

mod arguments;
mod bucket;
mod flips;
mod listening;

use super::client::Client;
use super::judgement::camera::rows;
use super::judgement::camera::seen::CameraSeen;
use super::judgement::report::Report;
use super::party::random;
use super::received::SessionStart;
use kasacam::system::clock;
use listening::{both, listen};
use std::time::Duration;

pub(crate) use arguments::Watch;

/// Watches.
///
/// # Errors
/// A file cannot be used, nobody answers, or the connection is lost.
pub(crate) async fn run(arguments: &Watch) -> Result<Report, String> {
    let common = &arguments.common;
    let place = common.place()?;
    let party = common.party(&format!("watch-{}", random(8)?))?;
    let signer = match &arguments.signer {
        Some(file) if arguments.flip => Some(flips::Signer::read(file, arguments.kid.as_deref())?),
        Some(_) | None => None,
    };
    let key = common.store_key()?;
    let http = common.http()?;

    let began = clock::utc();
    let below = format!("kasacam/v1/{}/#", arguments.device);
    let start = SessionStart { clean_start: true, ..SessionStart::default() };
    let (mut client, _) = Client::session(&place, &party, start).await?;
    let codes = client.listen(&below).await?;
    if codes.iter().any(|code| *code >= 0x80) {
        return Err(format!("{below}: the broker refuses the subscription"));
    }
    let reader = common.party(&format!("watch-{}", random(8)?))?;
    let (retained, live) = both(&place, &reader, &below, arguments, &mut client).await?;
    let mut seen = CameraSeen {
        device: arguments.device.clone(),
        prefix: arguments.common.prefix.clone(),
        postfix: arguments.postfix.clone(),
        retained,
        live,
        attempts: Err("needs --flip".into()),
        telemetry: Duration::from_secs(arguments.telemetry),
        objects: Err("needs --store and --store-credentials".into()),
    };
    match signer {
        None => listen(arguments, &mut client, Duration::from_secs(arguments.seconds), &mut seen).await?,
        Some(signer) => flips::flip(arguments, &signer, &mut client, &mut seen).await?,
    }
    listen(arguments, &mut client, Duration::from_secs(arguments.settle), &mut seen).await?;
    client.leave().await;
    if let Some(key) = key {
        seen.objects = bucket::read(arguments, &http, &key, began).await;
    }
    Ok(Report::new("watch", &arguments.device, clock::utc(), rows(&seen)))
}
