//! Tries the store: with what was signed, and with what was not.

use super::super::http::HttpAnswer;
use super::super::judgement::cloud::seen::{CloudSeen, HeadSeen, PutSeen, StoreSeen};
use super::super::judgement::row::Look;
use super::super::key::{Key, Request};
use super::Check;
use super::grants::{Given, OBJECTS, Planned, ask, headers, hex, parse, plan};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, Uri};
use kasacam::domain::grant::{Grant, Proof};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// A PUT, signed by a grant or by a key.
struct Signed {
    planned: Planned,
    url: Uri,
    headers: Vec<(String, String)>,
    proof: Proof,
}

pub(super) async fn look(check: &Check<'_>, given: Option<Given>, seen: &mut CloudSeen) {
    let key = match &check.told.store_credentials {
        None => None,
        Some(file) => match read_key(check, file) {
            Ok(key) => Some(key),
            Err(why) => {
                seen.store = nothing(&why);
                return;
            }
        },
    };
    let signed = match (given, &key) {
        (Some(given), _) => by_grants(given),
        (None, Some(key)) => by_key(check, key),
        (None, None) => Err("needs --grants, or --store and --store-credentials".into()),
    };
    seen.store = match signed {
        Ok(signed) => try_it(check, &signed, key.as_ref()).await,
        Err(why) => nothing(&why),
    };
    rights(check, key.as_ref(), seen).await;
    seen.store.deleted = Some(deletion(check, seen, key.as_ref()).await);
}

fn read_key(check: &Check<'_>, file: &Path) -> Result<Key, String> {
    let store = check.told.store.as_deref().ok_or("a key of the store needs --store")?;
    Key::read(file, store, &check.told.bucket, &check.told.region)
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
    if signed.len() < OBJECTS { Err("not all that was asked for was granted".into()) } else { Ok(signed) }
}

fn granted(grants: &[Grant], planned: Planned) -> Option<Signed> {
    let grant = grants.iter().find(|grant| grant.key == planned.want.key)?;
    let url = grant.url.parse().ok()?;
    Some(Signed { planned, url, headers: headers(&grant.headers), proof: grant.proof })
}

fn by_key(check: &Check<'_>, key: &Key) -> Look<Vec<Signed>> {
    plan(check, OBJECTS)?.into_iter().map(|planned| signed(key, planned)).collect()
}

fn signed(key: &Key, planned: Planned) -> Look<Signed> {
    let (url, headers) = key.put(&planned.want)?;
    Ok(Signed { planned, url, headers, proof: Proof::AmzSha256 })
}

async fn try_it(check: &Check<'_>, signed: &[Signed], key: Option<&Key>) -> StoreSeen {
    let [kept, changed, longer, elsewhere, ..] = signed else { return nothing("too little was signed") };
    let first = put(check, kept, kept.planned.body.clone()).await;
    let stored = first.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status));
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

/// The URL with a letter more in its path.
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

async fn head(check: &Check<'_>, key: &Key, kept: &Signed) -> Look<HeadSeen> {
    let want = &kept.planned.want;
    let (url, headers) = key.head(&want.key)?;
    let answer = check.http.send(Method::HEAD, &url, &headers, Bytes::new()).await?;
    let metadata = |name: &str| answer.header(&format!("x-amz-meta-{name}"));
    let lost = want.metadata.iter().filter(|(name, value)| metadata(name).as_ref() != Some(value));
    let checksum = answer
        .header("x-amz-checksum-sha256")
        .and_then(|text| STANDARD.decode(text).ok())
        .map(|bytes| hex(&bytes))
        .or_else(|| metadata("sha256"));
    Ok(HeadSeen {
        status: answer.status,
        size: answer.header("content-length").and_then(|text| text.parse().ok()),
        checksum,
        lost: lost.map(|(name, _)| format!("{name} is not as it was sent")).collect(),
        wanted_size: want.size,
        wanted_checksum: want.sha256.clone(),
    })
}

/// What a key can do that is the camera's own. Where there are grants, the key that is given is somebody else's.
async fn rights(check: &Check<'_>, key: Option<&Key>, seen: &mut CloudSeen) {
    let (key, kept) = match (check.told.grants, key) {
        (false, Some(key)) => (key, plan(check, 1).map(|mut planned| planned.pop())),
        (true, _) | (false, None) => {
            let why = || {
                Some(Err(
                    "needs --store-credentials, and no --grants: it is about the camera's own key".into()
                ))
            };
            (seen.store.key_elsewhere, seen.store.key_lists, seen.store.key_deletes) = (why(), why(), why());
            return;
        }
    };
    let Ok(Some(Planned { mut want, body })) = kept else { return };
    let ask = async |method, request: Result<Request, String>, body: Bytes| -> Look<u16> {
        let (url, headers) = request?;
        status(check.http.send(method, &url, &headers, body).await)
    };
    let own = format!("{}{}/", check.told.prefix, check.told.device);
    seen.store.key_lists = Some(ask(Method::GET, key.list(&own, ""), Bytes::new()).await);
    let stored = ask(Method::PUT, key.put(&want), body.clone()).await;
    seen.store.key_deletes = Some(match stored {
        Ok(200..300) => ask(Method::DELETE, key.delete(&want.key), Bytes::new()).await,
        Ok(_) => Err("nothing was stored to delete".into()),
        Err(why) => Err(why),
    });
    // An id that begins with ours is another's.
    want.key = want.key.replacen(&own, &format!("{}{}0/", check.told.prefix, check.told.device), 1);
    seen.store.key_elsewhere = Some(ask(Method::PUT, key.put(&want), body).await);
}

/// Stores an object of after the choice that forbids it, and tries later whether its key is free again.
async fn deletion(check: &Check<'_>, seen: &CloudSeen, key: Option<&Key>) -> Look<u16> {
    let seconds = check.told.deletion.ok_or("needs --deletion")?;
    let choice = seen.first.as_ref().ok().and_then(|round| round.privacy.as_ref());
    let forbids = choice
        .and_then(|choice| claims(&choice.payload))
        .and_then(|claims| claims.get("do_not_record")?.as_bool());
    if forbids != Some(true) {
        return Err("the choice that is retained is not \"do not record\"".into());
    }
    let planned = plan(check, 1)?.pop().ok_or("nothing to store")?;
    let mut last = 0;
    for wait in [0, seconds] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let signed = match (check.told.grants, key) {
            (true, _) => {
                let asked = ask(check, vec![planned.want.clone()]).await?;
                let answer = asked.answer.and_then(|answer| parse(&answer.payload, &check.told.device));
                granted(&answer.ok_or("there was no answer")?.grants, planned.clone())
                    .ok_or("it was not granted: there is nothing to delete")?
            }
            (false, Some(key)) => signed(key, planned.clone())?,
            (false, None) => return Err("needs --grants or --store-credentials".into()),
        };
        last = status(put(check, &signed, planned.body.clone()).await)?;
    }
    Ok(last)
}

fn claims(payload: &[u8]) -> Option<Value> {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = std::str::from_utf8(payload).ok()?.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}
