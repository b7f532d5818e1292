//! Requests grants, as a camera does.

use super::super::client::Client;
use super::super::judgement::claims::unverified;
use super::super::judgement::cloud::seen::{Answer, Asked, CloudSeen};
use super::super::judgement::row::Look;
use super::super::party::random;
use super::super::received::SessionStart;
use super::check::{Check, QUIET};
use crate::hex;
use bytes::Bytes;
use kasacam::domain::grant::{GrantAnswer, GrantRequest, Want};
use kasacam::domain::segment::object_key;
use kasacam::system::clock;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// In bytes; larger than any segment.
const TOO_LARGE: u64 = (256 << 20) + 1;
/// Objects for testing the store: to keep, to change, to lengthen, to store under another key.
pub(super) const OBJECTS: usize = 4;

/// An object that may be stored.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) want: Want,
    pub(super) body: Bytes,
}

/// The result of the first request.
pub(super) struct Given {
    pub(super) planned: Vec<Planned>,
    pub(super) answer: Look<GrantAnswer>,
}

/// Plans objects with keys of the current time; they are not footage.
///
/// # Errors
/// The system has no randomness.
pub(super) fn plan(check: &Check<'_>, objects: usize) -> Result<Vec<Planned>, String> {
    let now = clock::utc();
    (0..objects)
        .map(|n| {
            let at = now + Duration::from_millis(u64::try_from(n).unwrap_or(0));
            let key = object_key(&check.arguments.common.prefix, &check.arguments.device, at, 0, false);
            let body = Bytes::from(random(1024)?);
            let metadata = [
                ("device-id", check.arguments.device.as_str()),
                ("duration-ms", "4000"),
                ("span", "conformance"),
                ("boot-id", "conformance"),
                ("plan", "conformance"),
                ("history-hours", "24"),
                ("clock", "trusted"),
            ];
            let want = Want {
                key,
                size: u64::try_from(body.len()).unwrap_or(0),
                sha256: hex::sha256(&body),
                content_type: "video/mp4; codecs=\"avc1.64001f\"".to_owned(),
                metadata: metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            };
            Ok(Planned { want, body })
        })
        .collect()
}

pub(super) async fn look(check: &Check<'_>, seen: &mut CloudSeen) -> Option<Given> {
    if !check.arguments.grants {
        let why = || "needs --grants".to_owned();
        (seen.grants, seen.foreign_grants) = (Err(why()), Err(why()));
        (seen.large_grants, seen.grants_retained) = (Err(why()), Err(why()));
        return None;
    }
    let planned = match plan(check, OBJECTS) {
        Ok(planned) => planned,
        Err(why) => {
            seen.grants = Err(why);
            return None;
        }
    };
    let wants: Vec<Want> = planned.iter().map(|it| it.want.clone()).collect();
    seen.grants = ask(check, wants).await;
    let heard = seen.grants.as_ref().is_ok_and(|asked| asked.answer.is_some());
    if heard {
        seen.grants_retained = retained(check).await;
        let template = planned.first().map(|it| it.want.clone());
        let of = |key: String, size: Option<u64>| {
            template.clone().map(|want| Want { key, size: size.unwrap_or(want.size), ..want })
        };
        let key = wants_key(&planned);
        let own = format!("{}{}/", check.arguments.common.prefix, check.arguments.device);
        // An id that only begins with this one belongs to another device, too.
        let others = [Some(format!("{}0", check.arguments.device)), check.arguments.other.clone()];
        let foreign = others.into_iter().flatten().filter_map(|other| {
            let rest = key.strip_prefix(&own)?;
            of(format!("{}{other}/{rest}", check.arguments.common.prefix), None)
        });
        seen.foreign_grants = ask(check, foreign.collect()).await;
        seen.large_grants = ask(check, of(key.clone(), Some(TOO_LARGE)).into_iter().collect()).await;
    } else {
        let why = || "the first request was not answered".to_owned();
        (seen.foreign_grants, seen.large_grants) = (Err(why()), Err(why()));
        seen.grants_retained = Err(why());
    }
    let answer = read(check, seen);
    Some(Given { planned, answer })
}

fn wants_key(planned: &[Planned]) -> String {
    planned.first().map(|it| it.want.key.clone()).unwrap_or_default()
}

/// The grants, whoever signed them: they are for testing the store.
fn read(check: &Check<'_>, seen: &CloudSeen) -> Look<GrantAnswer> {
    let asked = seen.grants.as_ref().map_err(Clone::clone)?;
    let answer = asked.answer.as_ref().ok_or("there was no answer")?;
    parse(&answer.payload, &check.arguments.device).ok_or_else(|| "the answer cannot be used".to_owned())
}

pub(super) fn parse(payload: &[u8], device: &str) -> Option<GrantAnswer> {
    kasacam::mqtt::claims::grant(&unverified(payload)?, device).ok()
}

/// Sends a request, and waits for the first answer.
pub(super) async fn ask(check: &Check<'_>, want: Vec<Want>) -> Look<Asked> {
    let start = SessionStart { clean_start: true, ..SessionStart::default() };
    let (mut client, _) = Client::session(&check.place, &check.device, start).await?;
    let response = check.topic("grant/response");
    client.subscribe(&[&response]).await?;
    let request = GrantRequest { id: random(16)?, want };
    let payload = serde_json::to_vec(&request).map_err(|e| e.to_string())?;
    let began = Instant::now();
    let topic = check.topic("grant/request");
    let code = client.request(&topic, &payload, (&response, request.id.as_bytes())).await?;
    if code >= 0x80 {
        return Err(format!("grant/request: PUBACK 0x{code:02x}"));
    }
    let until = began + check.place.within;
    let mut answer = None;
    while let Some(heard) = client.hear(until).await? {
        if heard.topic != response || heard.retain {
            continue;
        }
        let after = heard.since.saturating_duration_since(began).as_millis();
        answer = Some(Answer {
            payload: heard.payload.to_vec(),
            correlation: heard.correlation.map(|data| data.to_vec()),
            after_ms: u64::try_from(after).unwrap_or(u64::MAX),
        });
        break;
    }
    client.leave().await;
    Ok(Asked { id: request.id, wants: request.want, answer, within_s: check.arguments.common.within })
}

async fn retained(check: &Check<'_>) -> Look<bool> {
    let start = SessionStart { clean_start: true, ..SessionStart::default() };
    let (mut client, _) = Client::session(&check.place, &check.device, start).await?;
    client.subscribe(&[&check.topic("grant/response")]).await?;
    let heard = client.gather(Instant::now() + QUIET / 2).await?;
    client.leave().await;
    Ok(heard.iter().any(|heard| heard.retain))
}

/// The headers of a PUT with a grant.
pub(super) fn headers(given: &BTreeMap<String, String>) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}
