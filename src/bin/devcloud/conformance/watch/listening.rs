//! Receives what the camera, and the cloud, publish.

use super::super::client::{Client, Heard, Place};
use super::super::judgement::camera::seen::{CameraSeen, Message};
use super::super::party::Party;
use super::super::received::SessionStart;
use super::arguments::Watch;
use std::time::Duration;
use tokio::time::Instant;

/// Retained messages come at once.
const RETAINED_TIMEOUT: Duration = Duration::from_secs(2);

/// What the broker has retained, in a session of its own: in the next one, RETAIN is as it was published.
pub(super) async fn retained(
    place: &Place,
    party: &Party,
    below: &str,
    arguments: &Watch,
) -> Result<Vec<Message>, String> {
    let start = SessionStart { clean_start: true, ..SessionStart::default() };
    let (mut client, _) = Client::session(place, party, start).await?;
    client.subscribe(&[below]).await?;
    let heard = client.gather(Instant::now() + RETAINED_TIMEOUT).await?;
    client.leave().await;
    Ok(heard.into_iter().filter(|heard| heard.retain).filter_map(|heard| message(arguments, heard)).collect())
}

/// Listens for this long.
pub(super) async fn listen(
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
