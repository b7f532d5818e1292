//! What a camera may publish and receive beside its own topics: nothing.

use super::super::client::Client;
use super::super::judgement::cloud::seen::{CloudSeen, Said};
use super::super::judgement::row::Look;
use super::super::party::Party;
use super::super::party::random;
use super::super::received::SessionStart;
use super::check::{Check, QUIET};
use tokio::time::Instant;

const ANEW: SessionStart<'static> = SessionStart { clean_start: true, expiry: 0, will: None };

pub(super) async fn look(check: &Check<'_>, seen: &mut CloudSeen) {
    seen.own = own(check).await;
    seen.command_to_self = to_self(check).await;
    match &check.other {
        None => {
            let why = || "needs a second device: --other, --other-cert and --other-key".to_owned();
            (seen.to_other, seen.command_to_other, seen.overheard) = (Err(why()), Err(why()), Err(why()));
        }
        Some(other) => {
            seen.to_other = to_other(check, other, "event", &event()).await;
            seen.command_to_other = to_other(check, other, "privacy/desired", b"not a choice").await;
            seen.overheard = overheard(check, other).await;
        }
    }
}

/// An event of the contract, with an unknown member, which readers ignore.
fn event() -> Vec<u8> {
    let mark = random(8).unwrap_or_default();
    serde_json::json!({"event": "upload_resumed", "conformance": mark}).to_string().into_bytes()
}

async fn own(check: &Check<'_>) -> Look<Vec<Said>> {
    let (mut client, _) = Client::session(&check.place, &check.device, ANEW).await?;
    let online = serde_json::json!({"online": true, "version": env!("CARGO_PKG_VERSION")}).to_string();
    let mut all = Vec::new();
    for (name, payload, retain) in [("status", online.into_bytes(), true), ("event", event(), false)] {
        let puback = client.publish(&check.topic(name), &payload, retain).await;
        let ended = puback.is_err();
        all.push(Said { topic: name.to_owned(), puback, delivered: None });
        if ended {
            break;
        }
    }
    client.leave().await;
    Ok(all)
}

/// A device receives its own commands: one that it publishes itself would come back.
async fn to_self(check: &Check<'_>) -> Look<Said> {
    let (topic, payload) = (check.topic("privacy/desired"), event());
    let (mut listener, _) = Client::session(&check.place, &check.device, ANEW).await?;
    listener.subscribe(&[&topic]).await?;
    let puback = listener.publish(&topic, &payload, false).await;
    let delivered = came(&mut listener, &topic, &payload).await;
    listener.leave().await;
    Ok(Said { topic: "privacy/desired".to_owned(), puback, delivered: Some(delivered) })
}

/// A message on a topic of another device; a client that may receive this topic listens.
async fn to_other(check: &Check<'_>, other: &Party, name: &str, payload: &[u8]) -> Look<Said> {
    let topic = format!("kasacam/v1/{}/{name}", other.client);
    let hears = if name.ends_with("/desired") { Some(other) } else { check.observer.as_ref() };
    let mut listener = match hears {
        Some(party) => {
            let (mut listener, _) = Client::session(&check.place, party, ANEW).await?;
            listener.subscribe(&[&topic]).await?;
            Some(listener)
        }
        None => None,
    };
    let (mut client, _) = Client::session(&check.place, &check.device, ANEW).await?;
    let puback = client.publish(&topic, payload, false).await;
    let delivered = match &mut listener {
        Some(listener) => Some(came(listener, &topic, payload).await),
        None => None,
    };
    client.leave().await;
    if let Some(listener) = listener {
        listener.leave().await;
    }
    Ok(Said { topic: format!("another device's {name}"), puback, delivered })
}

async fn came(listener: &mut Client, topic: &str, payload: &[u8]) -> bool {
    let until = Instant::now() + QUIET;
    // Nothing more comes from a connection that has ended.
    while let Ok(Some(heard)) = listener.hear(until).await {
        if heard.topic == topic && heard.payload == payload {
            return true;
        }
    }
    false
}

/// Subscribes to topics of another device, whatever the broker answers, and lets that device publish something.
async fn overheard(check: &Check<'_>, other: &Party) -> Look<Vec<String>> {
    let below = format!("kasacam/v1/{}/", other.client);
    let (command, said) = (format!("{below}privacy/desired"), format!("{below}event"));
    let filters = [command.as_str(), said.as_str(), "kasacam/v1/+/event", "kasacam/v1/#", "#"];
    let mut heard = Vec::new();
    let (mut client, _) = Client::session(&check.place, &check.device, ANEW).await?;
    let mut up = true;
    for filter in filters {
        // A broker may end the connection because of one: then try the others on a new connection.
        if !up {
            client = Client::session(&check.place, &check.device, ANEW).await?.0;
        }
        up = client.subscribe(&[filter]).await.is_ok();
    }
    let (mut speaker, _) = Client::session(&check.place, other, ANEW).await?;
    speaker.publish(&said, &event(), false).await.map_err(|why| format!("{}: {why}", other.client))?;
    let until = Instant::now() + QUIET;
    while let Ok(Some(message)) = client.hear(until).await {
        let Some(name) = message.topic.strip_prefix(&below) else { continue };
        if !heard.iter().any(|known| known == name) {
            heard.push(name.to_owned());
        }
    }
    speaker.leave().await;
    client.leave().await;
    Ok(heard)
}
