//! `kasacam-devcloud watch`: sees a camera as the cloud sees it: hears what it publishes, and reads what it stored.

mod bucket;
mod flips;

use super::arguments::Common;
use super::client::{Client, Heard, Manner, Place};
use super::judgement::camera::rows;
use super::judgement::camera::seen::{CameraSeen, Message};
use super::judgement::report::Report;
use super::party::{Party, random};
use kasacam::system::clock;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Retained messages come at once.
const RETAINED_TIMEOUT: Duration = Duration::from_secs(2);

/// Watches a camera, and compares it with the contract, rule by rule. It only listens and reads, except with `--flip`.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// Id of the camera. `--cert`, `--key`, `--user` and `--password-file` are those of somebody who may hear it; with
    /// `--flip`, who may also publish its commands.
    #[arg(long)]
    device: String,
    #[command(flatten)]
    pub(super) common: Common,
    /// How many seconds to watch; with `--flip`, in each state.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How many seconds to wait after that until what was captured is stored: a segment, and the time to send it.
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u64).range(0..=3600))]
    settle: u64,
    /// `mqtt.telemetry` of the camera, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    telemetry: u64,
    /// Order the camera not to record, to record, and to record under other plans; and send commands that it must
    /// refuse. At the end, the choice and the lease say what they said before, with higher versions.
    #[arg(long, requires = "signer")]
    flip: bool,
    /// The private key (Ed25519, PKCS#8) that signs these commands.
    #[arg(long, value_name = "FILE")]
    signer: Option<PathBuf>,
    /// The `kid` of the signing key [default: the file's stem].
    #[arg(long)]
    kid: Option<String>,
    /// As in `upload.postfix`.
    #[arg(long, default_value = "")]
    postfix: String,
}

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
    let retained = retained(&place, &party, &below, arguments).await?;
    let manner = Manner { clean_start: true, ..Manner::default() };
    let (mut client, _) = Client::session(&place, &party, manner).await?;
    let codes = client.listen(&below).await?;
    if codes.iter().any(|code| *code >= 0x80) {
        return Err(format!("{below}: the broker refuses the subscription"));
    }
    let mut seen = CameraSeen {
        device: arguments.device.clone(),
        prefix: arguments.common.prefix.clone(),
        postfix: arguments.postfix.clone(),
        retained,
        live: Vec::new(),
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

/// What the broker has retained, in a session of its own: in the next one, RETAIN is as it was published.
async fn retained(
    place: &Place,
    party: &Party,
    below: &str,
    arguments: &Watch,
) -> Result<Vec<Message>, String> {
    let manner = Manner { clean_start: true, ..Manner::default() };
    let (mut client, _) = Client::session(place, party, manner).await?;
    client.subscribe(&[below]).await?;
    let heard = client.gather(Instant::now() + RETAINED_TIMEOUT).await?;
    client.leave().await;
    Ok(heard.into_iter().filter(|heard| heard.retain).filter_map(|heard| message(arguments, heard)).collect())
}

/// Listens for this long.
async fn listen(
    arguments: &Watch,
    client: &mut Client,
    time: Duration,
    seen: &mut CameraSeen,
) -> Result<(), String> {
    let heard = client.gather(Instant::now() + time).await?;
    seen.live.extend(heard.into_iter().filter_map(|heard| message(arguments, heard)));
    Ok(())
}

fn message(arguments: &Watch, heard: Heard) -> Option<Message> {
    let topic = heard.topic.strip_prefix(&format!("kasacam/v1/{}/", arguments.device))?.to_owned();
    Some(Message {
        at: heard.at,
        topic,
        payload: heard.payload.to_vec(),
        qos: heard.qos,
        retain: heard.retain,
        response_topic: heard.response_topic,
        correlation: heard.correlation.map(|data| data.to_vec()),
    })
}
