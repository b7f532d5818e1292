//! Reads what the camera stored during the watch, and shortly before.

use super::super::judgement::camera::named::Named;
use super::super::judgement::camera::seen::ObjectSeen;
use super::super::judgement::row::Look;
use super::arguments::Watch;
use crate::hex;
use crate::http::Http;
use crate::store_key::{StoreKey, listed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use kasacam::domain::segment::KeyForm;
use kasacam::domain::time::Utc;
use kasacam::fmp4;
use std::collections::BTreeMap;
use std::time::Duration;

/// The largest number of objects to read.
const MAX_OBJECTS: usize = 2000;
/// The largest number of pages of a list.
const MAX_PAGES: usize = 100;
/// Objects from this long before the watch are read, too: the key of a segment has the time of its first frame.
const BEFORE: Duration = Duration::from_secs(120);

pub(super) async fn read(watch: &Watch, http: &Http, key: &StoreKey, began: Utc) -> Look<Vec<ObjectSeen>> {
    let form = KeyForm {
        prefix: watch.common.prefix.clone(),
        device: watch.device.clone(),
        postfix: watch.postfix.clone(),
    };
    let from = Utc(began.0.saturating_sub(i64::try_from(BEFORE.as_nanos()).unwrap_or(i64::MAX)));
    let all = list(http, key, &format!("{}{}/", watch.common.prefix, watch.device)).await?;
    // A key without a time is read, too: there is a row for it.
    let recent = |name: &String| Named::parse(name, &form).is_none_or(|named| named.at >= from);
    let recent: Vec<String> = all.into_iter().filter(recent).collect();
    if recent.len() > MAX_OBJECTS {
        return Err(format!("{} objects are too many: watch for a shorter time", recent.len()));
    }
    let mut objects = Vec::new();
    for name in recent {
        objects.push(object(http, key, name).await?);
    }
    Ok(objects)
}

async fn list(http: &Http, key: &StoreKey, prefix: &str) -> Result<Vec<String>, String> {
    let (mut keys, mut after) = (Vec::<String>::new(), String::new());
    for _ in 0..MAX_PAGES {
        let (url, headers) = key.list(prefix, &after)?;
        let answer = http.send(Method::GET, &url, &headers, Bytes::new()).await?;
        if answer.status != 200 {
            return Err(format!("the store answers the list with {}", answer.status));
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let page = listed(&text);
        let Some(last) = page.last().cloned() else { return Ok(keys) };
        after = last;
        keys.extend(page);
        if !text.contains("<IsTruncated>true") {
            return Ok(keys);
        }
    }
    Err(format!("the store has more than {} objects of this camera", keys.len()))
}

async fn object(http: &Http, key: &StoreKey, name: String) -> Result<ObjectSeen, String> {
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
        checksum: checksum.map(|bytes| hex::encode(&bytes)),
        sha256: hex::sha256(&answer.body),
        layout,
        key: name,
    })
}
