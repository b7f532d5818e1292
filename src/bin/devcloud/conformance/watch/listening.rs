//! Receives what the camera, and the cloud, publish.

use super::super::client::{Client, Heard, Place};
use super::super::judgement::camera::seen::{CameraSeen, Message};
use super::super::party::Party;
use super::super::received::SessionStart;
use super::arguments::Watch;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Retained messages come at once.
const RETAINED_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is looked whether they have come.
const LISTENING_INTERVAL: Duration = Duration::from_millis(100);

/// What the broker had retained when `client` had subscribed, and what `client` has received meanwhile.
///
/// The retained messages come in a second session: in that of `client`, RETAIN is as it was published. `client` has
/// subscribed before, so that it misses nothing; a message that is published in between comes in both, and counts as live.
pub(super) async fn both(
    place: &Place,
    reader: &Party,
    below: &str,
    arguments: &Watch,
    client: &mut Client,
) -> Result<(Vec<Message>, Vec<Message>), String> {
    let is_read = AtomicBool::new(false);
    let reading = async {
        let retained = retained(place, reader, below, arguments).await;
        is_read.store(true, Ordering::Relaxed);
        retained
    };
    let listening = async {
        let mut live = Vec::new();
        while !is_read.load(Ordering::Relaxed) {
            live.extend(client.gather(Instant::now() + LISTENING_INTERVAL).await?);
        }
        Ok::<_, String>(live)
    };
    let (retained, live) = tokio::join!(reading, listening);
    let live: Vec<_> = live?.into_iter().filter_map(|heard| message(arguments, heard)).collect();
    Ok((before(retained?, &live), live))
}

/// Those that are not among the live ones: they were retained before `client` subscribed.
fn before(retained: Vec<Message>, live: &[Message]) -> Vec<Message> {
    let is_live = |it: &Message| live.iter().any(|live| live.topic == it.topic && live.payload == it.payload);
    retained.into_iter().filter(|it| !is_live(it)).collect()
}

async fn retained(
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

#[cfg(test)]
mod tests {
    use super::*;
    use kasacam::domain::time::Utc;

    fn message(topic: &str, payload: &str) -> Message {
        Message {
            at: Utc(0),
            topic: topic.to_owned(),
            payload: payload.into(),
            qos: 1,
            retain: true,
            response_topic: None,
            correlation: None,
        }
    }

    #[test]
    fn what_came_live_was_not_there_before() {
        let retained = vec![message("status", "1"), message("privacy/reported", "1"), message("event", "1")];
        let live = [message("status", "2"), message("privacy/reported", "1"), message("telemetry", "1")];
        let topics: Vec<_> = before(retained, &live).into_iter().map(|it| it.topic).collect();
        assert_eq!(topics, ["status", "event"]);
    }
}
