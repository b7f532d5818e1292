//! `kasacam-devcloud watch`: looks at a camera from where the cloud stands: hears what it says, and reads what it stored.

mod bucket;
mod flips;

use super::client::{Client, Heard, Manner, Place};
use super::http::Http;
use super::judgement::camera::rows;
use super::judgement::camera::seen::{CameraSeen, Message};
use super::judgement::report::Report;
use super::key::Key;
use super::output::Output;
use super::party::{BrokerArguments, Named, Party, place, random, tls};
use kasacam::system::clock;
use rumqttc::v5::mqttbytes::QoS;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// What is retained comes at once.
const RETAINED_TIMEOUT: Duration = Duration::from_secs(2);

/// Watches a camera, and holds it against the contract, row by row. It only listens and reads, unless told to `--flip`.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    broker: BrokerArguments,
    /// Id of the camera.
    #[arg(long)]
    device: String,
    /// Of somebody who may hear the camera; with `--flip`, who may also tell it.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[arg(long)]
    user: Option<String>,
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Watch for so many seconds; with `--flip`, so long in each state.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Wait so many seconds more for what was captured to be stored: a segment, and the time that it takes to send.
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u64).range(0..=3600))]
    settle: u64,
    /// `mqtt.telemetry` of the camera, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    telemetry: u64,
    /// Tell the camera not to record, to record, and to record under other plans; and what it has to refuse. At the
    /// end the choice and the lease say what they said before, with higher versions.
    #[arg(long, requires = "signer")]
    flip: bool,
    /// The private key (Ed25519, PKCS#8) that signs them.
    #[arg(long, value_name = "FILE")]
    signer: Option<PathBuf>,
    /// Its `kid`: the file's stem unless told.
    #[arg(long)]
    kid: Option<String>,
    /// The store, as in `upload.endpoint`.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// As in `upload.url`.
    #[arg(long, default_value = "kasa-care")]
    bucket: String,
    /// As in `upload.url`: empty, or ends with a slash.
    #[arg(long, default_value = "v1/")]
    prefix: String,
    /// As in `upload.postfix`.
    #[arg(long, default_value = "")]
    postfix: String,
    /// As in `upload.region`.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Roots of the store: those of the broker unless told.
    #[arg(long, value_name = "FILE")]
    store_ca: Option<PathBuf>,
    /// Where to connect to for the store, whatever its URL says.
    #[arg(long, value_name = "HOST:PORT")]
    store_connect: Option<String>,
    /// A key of the store with the rights to list and to read, in the form of `upload.credentials`.
    #[arg(long, value_name = "FILE", requires = "store")]
    store_credentials: Option<PathBuf>,
    /// Seconds that each answer is waited for.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    within: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Watches; the report.
///
/// # Errors
/// Where a file cannot be used, nobody answers, or the connection is lost on the way.
pub(crate) async fn run(told: &Watch) -> Result<Report, String> {
    let ca = told.broker.ca.as_path();
    let (host, port) = place(&told.broker.broker)?;
    let place = Place { host, port, within: Duration::from_secs(told.within) };
    let named = Named {
        cert: told.cert.as_deref(),
        key: told.key.as_deref(),
        user: told.user.as_deref(),
        password_file: told.password_file.as_deref(),
    };
    let party = Party::new(&format!("watch-{}", random(8)?), ca, &named)?;
    let signer = match &told.signer {
        Some(file) if told.flip => Some(flips::Signer::read(file, told.kid.as_deref())?),
        Some(_) | None => None,
    };
    let key = match (&told.store_credentials, &told.store) {
        (Some(file), Some(store)) => Some(Key::read(file, store, &told.bucket, &told.region)?),
        (Some(_) | None, _) => None,
    };
    let store_ca = told.store_ca.as_deref().unwrap_or(ca);
    let http = Http { tls: tls(store_ca, None)?, connect: told.store_connect.clone(), within: place.within };

    let began = clock::utc();
    let below = format!("kasacam/v1/{}/#", told.device);
    let retained = retained(&place, &party, &below, told).await?;
    let manner = Manner { clean_start: true, ..Manner::default() };
    let (mut client, _) = Client::session(&place, &party, manner).await?;
    let codes = client.listen(&below, QoS::ExactlyOnce).await?;
    if codes.iter().any(|code| *code >= 0x80) {
        return Err(format!("{below}: the broker does not let it be heard"));
    }
    let mut seen = CameraSeen {
        device: told.device.clone(),
        prefix: told.prefix.clone(),
        postfix: told.postfix.clone(),
        retained,
        live: Vec::new(),
        attempts: Err("needs --flip".into()),
        telemetry: Duration::from_secs(told.telemetry),
        objects: Err("needs --store and --store-credentials".into()),
    };
    match signer {
        None => listen(told, &mut client, Duration::from_secs(told.seconds), &mut seen).await?,
        Some(signer) => flips::flip(told, &signer, &mut client, &mut seen).await?,
    }
    listen(told, &mut client, Duration::from_secs(told.settle), &mut seen).await?;
    client.leave().await;
    if let Some(key) = key {
        seen.objects = bucket::read(told, &http, &key, began).await;
    }
    Ok(Report::new("watch", &told.device, clock::utc(), rows(&seen)))
}

/// What the broker has retained, on a session of its own: on the next one RETAIN is as it was published.
async fn retained(place: &Place, party: &Party, below: &str, told: &Watch) -> Result<Vec<Message>, String> {
    let manner = Manner { clean_start: true, ..Manner::default() };
    let (mut client, _) = Client::session(place, party, manner).await?;
    client.subscribe(&[below], QoS::AtLeastOnce).await?;
    let heard = client.gather(Instant::now() + RETAINED_TIMEOUT).await?;
    client.leave().await;
    Ok(heard.into_iter().filter(|heard| heard.retain).filter_map(|heard| message(told, heard)).collect())
}

/// Hears for so long.
async fn listen(
    told: &Watch,
    client: &mut Client,
    time: Duration,
    seen: &mut CameraSeen,
) -> Result<(), String> {
    let heard = client.gather(Instant::now() + time).await?;
    seen.live.extend(heard.into_iter().filter_map(|heard| message(told, heard)));
    Ok(())
}

fn message(told: &Watch, heard: Heard) -> Option<Message> {
    let topic = heard.topic.strip_prefix(&format!("kasacam/v1/{}/", told.device))?.to_owned();
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
