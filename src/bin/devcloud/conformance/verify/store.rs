//! Tests the store with requests that were signed, and with changed ones.

use super::super::judgement::claims::unverified_json;
use super::super::judgement::cloud::seen::{CloudSeen, HeadSeen, PutSeen, StoreSeen};
use super::super::judgement::row::Look;
use super::check::Check;
use super::grants::{Given, OBJECTS, Planned, ask, headers, parse, plan};
use crate::hex;
use crate::http::HttpAnswer;
use crate::store_key::{SignedUrl, StoreKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, Uri};
use kasacam::domain::grant::{Grant, Proof};
use std::time::Duration;

/// A PUT, signed by a grant or by a key.
struct Signed {
    planned: Planned,
    url: Uri,
    headers: Vec<(String, String)>,
    proof: Proof,
}

pub(super) async fn look(check: &Check<'_>, given: Option<Given>, seen: &mut CloudSeen) {
    let key = check.store_key.as_ref();
    let signed = match (given, key) {
        (Some(given), _) => by_grants(given),
        (None, Some(key)) => by_key(check, key),
        (None, None) => Err("needs --grants, or --store and --store-credentials".into()),
    };
    seen.store = match signed {
        Ok(signed) => try_it(check, &signed, key).await,
        Err(why) => nothing(&why),
    };
    rights(check, key, seen).await;
    seen.store.deleted = Some(deletion(check, seen, key).await);
}

fn nothing(why: &str) -> StoreSeen {
    fn unseen<T>(why: &str) -> Option<Look<T>> {
        Some(Err(why.to_owned()))
    }
    StoreSeen {
        put: unseen(why),
        changed: unseen(why),
        longer: unseen(why),
        other_key: unseen(why),
        again: unseen(why),
        anonymous: unseen(why),
        head: unseen(why),
        key_elsewhere: unseen(why),
        key_lists: unseen(why),
        key_deletes: unseen(why),
        deleted: unseen(why),
    }
}

fn by_grants(given: Given) -> Look<Vec<Signed>> {
    let answer = given.answer?;
    let signed: Vec<Signed> =
        given.planned.into_iter().filter_map(|planned| granted(&answer.grants, planned)).collect();
    if signed.len() < OBJECTS {
        Err("not everything that was requested was granted".into())
    } else {
        Ok(signed)
    }
}

fn granted(grants: &[Grant], planned: Planned) -> Option<Signed> {
    let grant = grants.iter().find(|grant| grant.key == planned.want.key)?;
    let url = grant.url.parse().ok()?;
    Some(Signed { planned, url, headers: headers(&grant.headers), proof: grant.proof })
}

fn by_key(check: &Check<'_>, key: &StoreKey) -> Look<Vec<Signed>> {
    plan(check, OBJECTS)?.into_iter().map(|planned| signed(key, planned)).collect()
}

fn signed(key: &StoreKey, planned: Planned) -> Look<Signed> {
    let (url, headers) = key.put(&planned.want)?;
    Ok(Signed { planned, url, headers, proof: Proof::AmzSha256 })
}

async fn try_it(check: &Check<'_>, signed: &[Signed], key: Option<&StoreKey>) -> StoreSeen {
    let [kept, changed, longer, elsewhere, ..] = signed else {
        return nothing("too few requests were signed");
    };
    let first = put(check, kept, kept.planned.body.clone()).await;
    let stored = first.as_ref().is_ok_and(|answer| answer.is_success());
    let mut seen =
        StoreSeen { put: Some(first.map(|answer| put_seen(kept, &answer))), ..StoreSeen::default() };
    let other: Vec<u8> = changed.planned.body.iter().map(|byte| byte ^ 1).collect();
    seen.changed = Some(status(put(check, changed, other.into()).await));
    let more = [longer.planned.body.as_ref(), b"more"].concat();
    seen.longer = Some(status(put(check, longer, more.into()).await));
    seen.other_key = Some(match another_key(&elsewhere.url) {
        Some(url) => {
            let body = elsewhere.planned.body.clone();
            status(check.http.send(Method::PUT, &url, &elsewhere.headers, body).await)
        }
        None => Err("the URL has no path".into()),
    });
    if stored {
        seen.again = Some(status(put(check, kept, kept.planned.body.clone()).await));
        seen.anonymous = Some(match without_query(&kept.url) {
            Some(url) => status(check.http.send(Method::GET, &url, &[], Bytes::new()).await),
            None => Err("the URL has no path".into()),
        });
        seen.head = Some(match key {
            Some(key) => head(check, key, kept).await,
            None => Err("needs --store-credentials with the right to read".into()),
        });
    }
    seen
}

async fn put(check: &Check<'_>, signed: &Signed, body: Bytes) -> Result<HttpAnswer, String> {
    check.http.send(Method::PUT, &signed.url, &signed.headers, body).await
}

fn status(answer: Result<HttpAnswer, String>) -> Look<u16> {
    answer.map(|answer| answer.status)
}

fn put_seen(signed: &Signed, answer: &HttpAnswer) -> PutSeen {
    let digest = ring::digest::digest(&ring::digest::SHA256, &signed.planned.body);
    let md5 = || {
        use md5::Digest;
        STANDARD.encode(md5::Md5::digest(&signed.planned.body))
    };
    let said = answer.header(signed.proof.header());
    let (wanted, proven) = match signed.proof {
        Proof::AmzSha256 => (STANDARD.encode(digest), said),
        Proof::ContentMd5 => (md5(), said),
        Proof::GoogHash => {
            let part = said.and_then(|said| {
                said.split(',').find_map(|it| it.trim().strip_prefix("md5=").map(str::to_owned))
            });
            (md5(), part)
        }
    };
    PutSeen { status: answer.status, proof: signed.proof.header().to_owned(), proven, wanted }
}

/// The URL with another letter in its path.
fn another_key(url: &Uri) -> Option<Uri> {
    let text = url.to_string();
    let (path, query) =
        text.split_once('?').map_or((text.as_str(), None), |(path, query)| (path, Some(query)));
    let moved = path.strip_suffix(".mp4")?;
    match query {
        Some(query) => format!("{moved}x.mp4?{query}").parse().ok(),
        None => format!("{moved}x.mp4").parse().ok(),
    }
}

fn without_query(url: &Uri) -> Option<Uri> {
    url.to_string().split('?').next()?.parse().ok()
}

async fn head(check: &Check<'_>, key: &StoreKey, kept: &Signed) -> Look<HeadSeen> {
    let want = &kept.planned.want;
    let (url, headers) = key.head(&want.key)?;
    let answer = check.http.send(Method::HEAD, &url, &headers, Bytes::new()).await?;
    let metadata = |name: &str| answer.header(&format!("x-amz-meta-{name}"));
    let lost = want.metadata.iter().filter(|(name, value)| metadata(name).as_ref() != Some(value));
    let checksum = answer
        .header("x-amz-checksum-sha256")
        .and_then(|text| STANDARD.decode(text).ok())
        .map(|bytes| hex::encode(&bytes))
        .or_else(|| metadata("sha256"));
    Ok(HeadSeen {
        status: answer.status,
        size: answer.header("content-length").and_then(|text| text.parse().ok()),
        checksum,
        lost: lost.map(|(name, _)| format!("{name} differs from what was sent")).collect(),
        wanted_size: want.size,
        wanted_checksum: want.sha256.clone(),
    })
}

/// What the camera's own key allows. With grants, the given key is not the camera's.
async fn rights(check: &Check<'_>, key: Option<&StoreKey>, seen: &mut CloudSeen) {
    let (key, kept) = match (check.arguments.grants, key) {
        (false, Some(key)) => (key, plan(check, 1).map(|mut planned| planned.pop())),
        (true, _) | (false, None) => {
            let why = || {
                Some(Err(
                    "needs --store-credentials without --grants: it is about the camera's own key".into()
                ))
            };
            (seen.store.key_elsewhere, seen.store.key_lists, seen.store.key_deletes) = (why(), why(), why());
            return;
        }
    };
    let Ok(Some(Planned { mut want, body })) = kept else { return };
    let ask = async |method, request: Result<SignedUrl, String>, body: Bytes| -> Look<u16> {
        let (url, headers) = request?;
        status(check.http.send(method, &url, &headers, body).await)
    };
    let own = format!("{}{}/", check.arguments.common.prefix, check.arguments.device);
    seen.store.key_lists = Some(ask(Method::GET, key.list(&own, ""), Bytes::new()).await);
    let stored = ask(Method::PUT, key.put(&want), body.clone()).await;
    seen.store.key_deletes = Some(match stored {
        Ok(200..300) => ask(Method::DELETE, key.delete(&want.key), Bytes::new()).await,
        Ok(_) => Err("nothing was stored that could be deleted".into()),
        Err(why) => Err(why),
    });
    // An id that only begins with this one belongs to another device.
    want.key =
        want.key.replacen(&own, &format!("{}{}0/", check.arguments.common.prefix, check.arguments.device), 1);
    seen.store.key_elsewhere = Some(ask(Method::PUT, key.put(&want), body).await);
}

/// Stores an object that was captured after the choice that forbids it, and tests later whether its key is free again.
async fn deletion(check: &Check<'_>, seen: &CloudSeen, key: Option<&StoreKey>) -> Look<u16> {
    let seconds = check.arguments.deletion.ok_or("needs --deletion")?;
    let choice = seen.first.as_ref().ok().and_then(|round| round.privacy.as_ref());
    let forbids = choice
        .and_then(|choice| unverified_json(&choice.payload))
        .and_then(|claims| claims.get("do_not_record")?.as_bool());
    if forbids != Some(true) {
        return Err("the retained choice is not \"do not record\"".into());
    }
    let planned = plan(check, 1)?.pop().ok_or("nothing to store")?;
    let mut last = 0;
    for wait in [0, seconds] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let signed = match (check.arguments.grants, key) {
            (true, _) => {
                let asked = ask(check, vec![planned.want.clone()]).await?;
                let answer = asked.answer.and_then(|answer| parse(&answer.payload, &check.arguments.device));
                granted(&answer.ok_or("there was no answer")?.grants, planned.clone())
                    .ok_or("it was not granted, so there is nothing to delete")?
            }
            (false, Some(key)) => signed(key, planned.clone())?,
            (false, None) => return Err("needs --grants or --store-credentials".into()),
        };
        last = status(put(check, &signed, planned.body.clone()).await)?;
    }
    Ok(last)
}
