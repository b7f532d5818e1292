//! The last will: cancelled by a return, published after its delay, and retained.

use super::super::client::{Client, Heard};
use super::super::judgement::cloud::broker::WILL_DELAY_MS;
use super::super::judgement::cloud::seen::{CloudSeen, WillSeen};
use super::super::judgement::row::Look;
use super::super::party::Party;
use super::super::received::SessionStart;
use super::check::Check;
use kasacam::mqtt::topics::OFFLINE;
use std::time::Duration;
use tokio::time::Instant;

/// Brokers look at the clock once a second, some less often.
const GRACE: Duration = Duration::from_secs(4);

pub(super) async fn look(check: &Check<'_>, seen: &mut CloudSeen) {
    seen.will = match &check.observer {
        None => {
            Err("needs a client that may receive messages of the device: --observer-cert and --observer-key"
                .into())
        }
        Some(observer) => watch(check, observer).await,
    };
}

async fn watch(check: &Check<'_>, observer: &Party) -> Look<WillSeen> {
    let topic = check.topic("status");
    let delay = Duration::from_millis(WILL_DELAY_MS);
    let anew = SessionStart { clean_start: true, ..SessionStart::default() };
    let (mut listener, _) = Client::session(&check.place, observer, anew).await?;
    let with_will = SessionStart {
        clean_start: false,
        // Longer than the delay: the will would be published at the end of the session.
        expiry: 60,
        will: Some((&topic, OFFLINE, u32::try_from(WILL_DELAY_MS / 1000).unwrap_or(1))),
    };
    let online = br#"{"online":true,"version":"0"}"#;
    let (mut client, _) = Client::session(&check.place, &check.device, with_will).await?;
    client.publish(&topic, online, true).await?;
    listener.subscribe(&[&topic]).await?;
    listener.hear(Instant::now() + Duration::from_secs(1)).await?;

    // Ends without DISCONNECT, and returns at once.
    drop(client);
    let (client, _) = Client::session(&check.place, &check.device, with_will).await?;
    let early = listener.gather(Instant::now() + delay + Duration::from_secs(2)).await?;
    let mut seen = WillSeen { despite_return: early.iter().any(is_offline), ..WillSeen::default() };

    drop(client);
    let gone = Instant::now();
    let until = gone + delay + GRACE;
    while let Some(heard) = listener.hear(until).await? {
        if is_offline(&heard) {
            let after = heard.since.saturating_duration_since(gone).as_millis();
            seen.after_ms = u64::try_from(after).ok();
            (seen.payload, seen.qos) = (heard.payload.to_vec(), heard.qos);
            break;
        }
    }
    // If a new subscription receives it, it is retained.
    listener.unsubscribe(&[&topic]).await?;
    listener.subscribe(&[&topic]).await?;
    let retained = listener.hear(Instant::now() + Duration::from_secs(2)).await?;
    seen.retained = retained.is_some_and(|heard| heard.retain && is_offline(&heard));
    listener.leave().await;
    Ok(seen)
}

fn is_offline(heard: &Heard) -> bool {
    let said: Option<serde_json::Value> = serde_json::from_slice(&heard.payload).ok();
    said.is_some_and(|said| said.get("online") == Some(&serde_json::Value::Bool(false)))
}
