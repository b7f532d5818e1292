//! Reads what the camera has stored since the watch began, and what it stored right before.

use super::super::http::Http;
use super::super::judgement::camera::named::Named;
use super::super::judgement::camera::seen::ObjectSeen;
use super::super::judgement::row::Look;
use super::super::key::Key;
use super::Watch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use kasacam::domain::segment::KeyForm;
use kasacam::domain::time::Utc;
use kasacam::fmp4;
use std::collections::BTreeMap;
use std::time::Duration;

/// Objects that are read, at most.
const MAX_OBJECTS: usize = 2000;
/// Pages of a list, at most.
const MAX_PAGES: usize = 100;
/// What was captured right before the watch began is looked at too: the segment of then has the time of its first frame.
const BEFORE: Duration = Duration::from_secs(120);

pub(super) async fn read(watch: &Watch, http: &Http, key: &Key, began: Utc) -> Look<Vec<ObjectSeen>> {
    let form = KeyForm {
        prefix: watch.prefix.clone(),
        device: watch.device.clone(),
        postfix: watch.postfix.clone(),
    };
    let from = Utc(began.0.saturating_sub(i64::try_from(BEFORE.as_nanos()).unwrap_or(i64::MAX)));
    let all = list(http, key, &format!("{}{}/", watch.prefix, watch.device)).await?;
    // A key that has no time is looked at too: it has a row.
    let recent = |name: &String| Named::parse(name, &form).is_none_or(|named| named.at >= from);
    let recent: Vec<String> = all.into_iter().filter(recent).collect();
    if recent.len() > MAX_OBJECTS {
        return Err(format!(
            "{} objects are more than can be looked at: watch for a shorter time",
            recent.len()
        ));
    }
    let mut objects = Vec::new();
    for name in recent {
        objects.push(object(http, key, name).await?);
    }
    Ok(objects)
}

async fn list(http: &Http, key: &Key, prefix: &str) -> Result<Vec<String>, String> {
    let (mut keys, mut after) = (Vec::<String>::new(), String::new());
    for _ in 0..MAX_PAGES {
        let (url, headers) = key.list(prefix, &after)?;
        let answer = http.send(Method::GET, &url, &headers, Bytes::new()).await?;
        if answer.status != 200 {
            return Err(format!("the store answers the list with {}", answer.status));
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let rest = text.split("<Key>").skip(1);
        let page: Vec<String> =
            rest.filter_map(|rest| rest.split("</Key>").next()).map(str::to_owned).collect();
        let Some(last) = page.last().cloned() else { return Ok(keys) };
        after = last;
        keys.extend(page);
        if !text.contains("<IsTruncated>true") {
            return Ok(keys);
        }
    }
    Err(format!("the store has more than {} objects of this camera", keys.len()))
}

async fn object(http: &Http, key: &Key, name: String) -> Result<ObjectSeen, String> {
    let (url, headers) = key.get(&name)?;
    let answer = http.send(Method::GET, &url, &headers, Bytes::new()).await?;
    if answer.status != 200 {
        return Err(format!("the store answers GET {name} with {}", answer.status));
    }
    let metadata: BTreeMap<String, String> = answer
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("x-amz-meta-")?.to_owned();
            Some((name, value.to_str().ok()?.to_owned()))
        })
        .collect();
    let layout = (!name.ends_with(".mp4_end")).then(|| {
        fmp4::read_segment(&answer.body).map_err(|why| format!("{} (byte {})", why.what, why.offset))
    });
    let checksum = answer.header("x-amz-checksum-sha256").and_then(|text| STANDARD.decode(text).ok());
    Ok(ObjectSeen {
        size: u64::try_from(answer.body.len()).unwrap_or(u64::MAX),
        content_type: answer.header("content-type"),
        metadata,
        checksum: checksum.map(|bytes| hex(&bytes)),
        sha256: hex(ring::digest::digest(&ring::digest::SHA256, &answer.body).as_ref()),
        layout,
        key: name,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
