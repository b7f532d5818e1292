//! Three sessions: the first of a camera, the return to it, and one with clean start; and what each receives.

use super::super::client::{Client, Heard};
use super::super::judgement::cloud::seen::{CloudSeen, Delivered, Round};
use super::super::judgement::row::Look;
use super::super::received::SessionStart;
use super::check::Check;
use tokio::time::Instant;

/// In seconds. Like that of a camera, but not longer than a check may take.
const EXPIRY: u32 = 600;

pub(super) async fn look(check: &Check<'_>, seen: &mut CloudSeen) {
    // Ends any earlier session.
    let clear = SessionStart { clean_start: true, ..SessionStart::default() };
    match Client::connect(&check.place, &check.device, clear).await {
        Ok((client, connack, _)) => {
            let success = connack.success;
            seen.connack = Ok(connack);
            if !success {
                let why = || "the device was refused".to_owned();
                (seen.first, seen.back, seen.anew) = (Err(why()), Err(why()), Err(why()));
                return;
            }
            client.leave().await;
        }
        Err(closed) => {
            seen.connack = Err(closed.why());
            return;
        }
    }
    // As a camera does: never with clean start.
    let camera = SessionStart { clean_start: false, expiry: EXPIRY, will: None };
    seen.first = begin(check, camera, false).await;
    seen.back = begin(check, camera, true).await;
    seen.anew = begin(check, SessionStart { clean_start: true, ..camera }, false).await;
}

/// Ends the session, and lets the retained status say that the device is offline.
pub(super) async fn clean_up(check: &Check<'_>) {
    let start = SessionStart { clean_start: true, ..SessionStart::default() };
    if let Ok((mut client, _)) = Client::session(&check.place, &check.device, start).await {
        let _best_effort = client.publish(&check.topic("status"), kasacam::mqtt::topics::OFFLINE, true).await;
        client.leave().await;
    }
}

async fn begin(check: &Check<'_>, start: SessionStart<'_>, returns: bool) -> Look<Round> {
    let (client, present) = Client::session(&check.place, &check.device, start).await?;
    round(check, client, present, returns).await
}

async fn round(check: &Check<'_>, mut client: Client, session_present: bool, returns: bool) -> Look<Round> {
    let topics = [check.topic("privacy/desired"), check.topic("entitlement/desired")];
    let filters = [topics[0].as_str(), topics[1].as_str()];
    let mut round = Round { session_present, ..Round::default() };
    round.codes = client.subscribe(&filters).await?;
    take(&mut client, &filters, &mut round).await?;
    if returns && (round.privacy.is_none() || round.lease.is_none()) {
        round.asked_twice = true;
        client.unsubscribe(&filters).await?;
        client.subscribe(&filters).await?;
        take(&mut client, &filters, &mut round).await?;
    }
    client.leave().await;
    Ok(round)
}

/// Receives until both commands are there, or the two seconds of the contract are over.
async fn take(client: &mut Client, [privacy, lease]: &[&str; 2], round: &mut Round) -> Result<(), String> {
    let until = Instant::now() + super::check::RETAINED_TIMEOUT;
    while round.privacy.is_none() || round.lease.is_none() {
        let Some(heard) = client.hear(until).await? else { return Ok(()) };
        let slot = if heard.topic == *privacy {
            &mut round.privacy
        } else if heard.topic == *lease {
            &mut round.lease
        } else {
            continue;
        };
        *slot = Some(delivered(&heard));
    }
    Ok(())
}

fn delivered(heard: &Heard) -> Delivered {
    Delivered { payload: heard.payload.to_vec(), qos: heard.qos, retain: heard.retain }
}
