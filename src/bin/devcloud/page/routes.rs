//! The requests of the page, and their answers.

use super::clip::{Source, clip};
use super::guard::guard;
use super::hls::{self, Named};
use super::shelf::Held;
use crate::command::{Command, worded};
use crate::serve::Devcloud;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use futures_util::stream::{self, Stream};
use kasacam::domain::time::Utc;
use kasacam::system::clock;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

type Cloud = State<Arc<Devcloud>>;

/// The largest number of segments in one answer.
const MAX_SEGMENTS: usize = 200;
/// The largest number of segments in a playlist: a day of four seconds each.
const MAX_LISTED: usize = 21_600;
/// The longest segment.
const MAX_SEGMENT: Duration = Duration::from_secs(300);
/// The longest clip.
const MAX_CLIP: Duration = Duration::from_secs(3600);
const MAX_CLIP_BYTES: u64 = 512 << 20;
/// Changes within this time are sent together.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("/app.js", SCRIPT, include_str!("assets/app.js")),
    ("/timeline.js", SCRIPT, include_str!("assets/timeline.js")),
    ("/player.js", SCRIPT, include_str!("assets/player.js")),
    ("/charts.js", SCRIPT, include_str!("assets/charts.js")),
    ("/words.js", SCRIPT, include_str!("assets/words.js")),
    ("/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All routes, for a page on this port.
pub(super) fn router(cloud: Arc<Devcloud>, port: u16) -> Router {
    let mut router = Router::new();
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], text) }));
    }
    router
        .route("/api/state", get(async |State(cloud): Cloud| Json(state(&cloud).await)))
        .route("/api/history", get(async |State(cloud): Cloud| Json(cloud.seen.history())))
        .route("/api/timeline", get(timeline))
        .route("/api/segments", get(segments))
        .route("/api/live", get(live))
        .route("/api/do", post(command))
        .route("/media/{*key}", get(media))
        .route("/clip.mp4", get(download))
        .route("/footage.m3u8", get(playlist))
        .route("/main.m3u8", get(variants))
        .with_state(cloud)
        .layer(middleware::from_fn_with_state(port, guard))
}

async fn state(cloud: &Devcloud) -> Value {
    let mut state = cloud.seen.shown();
    if let Some(state) = state.as_object_mut() {
        let own = cloud.execute(Command::Status).await.unwrap_or_default();
        state.insert("cloud".into(), own);
        state.insert("now".into(), json!(millis(clock::utc())));
        let last = cloud.seen.shelf(super::shelf::Shelf::last);
        state.insert("last".into(), json!(last));
    }
    state
}

/// The whole timeline until now.
async fn timeline(State(cloud): Cloud) -> Json<Value> {
    Json(json!({"now": millis(clock::utc()), "bands": cloud.seen.bands()}))
}

/// Milliseconds of Unix time.
#[derive(Deserialize)]
struct Range {
    from: f64,
    to: f64,
}

/// Segments that overlap the range, and the next one.
async fn segments(State(cloud): Cloud, Query(range): Query<Range>) -> Json<Value> {
    let (from, to) = (utc(range.from), utc(range.to));
    let (segments, next) = cloud.seen.shelf(|shelf| (shelf.between(from, to, MAX_SEGMENTS), shelf.next(to)));
    Json(json!({"segments": segments, "next": next}))
}

/// The bytes of a segment, as they were stored.
async fn media(State(cloud): Cloud, Path(key): Path<String>, asked: HeaderMap) -> Response {
    if !cloud.seen.shelf(|shelf| shelf.holds(&key)) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let bucket = cloud.store.bucket.clone();
    match tokio::task::spawn_blocking(move || bucket.body(&key)).await {
        Ok(Ok(body)) => {
            let headers = [
                (header::CONTENT_TYPE, "video/mp4"),
                (header::CACHE_CONTROL, "private, max-age=3600"),
                (header::ACCEPT_RANGES, "bytes"),
            ];
            let range = asked.get(header::RANGE).and_then(|range| range.to_str().ok());
            match range.and_then(|range| part(range, body.len())) {
                None => (headers, body).into_response(),
                Some((first, last)) => {
                    let of = format!("bytes {first}-{last}/{}", body.len());
                    let body = body.get(first..=last).unwrap_or_default().to_vec();
                    (StatusCode::PARTIAL_CONTENT, headers, [(header::CONTENT_RANGE, of)], body)
                        .into_response()
                }
            }
        }
        Ok(Err(_)) | Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The first and the last byte of `bytes=first-last` or `bytes=first-` (RFC 9110, 14.1.2). `None` to send the whole.
fn part(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = length.checked_sub(1)?;
    let first: usize = first.parse().ok()?;
    let last: usize = if last.is_empty() { end } else { last.parse().ok()? };
    (first <= last.min(end)).then_some((first, last.min(end)))
}

/// A range as a playlist of HLS, for any player.
async fn playlist(State(cloud): Cloud, Query(range): Query<Range>) -> Response {
    let (from, to) = (utc(range.from), utc(range.to));
    let (held, ends) = cloud
        .seen
        .shelf(|shelf| (shelf.between(from, to, MAX_LISTED), shelf.ends_between(from, to + MAX_SEGMENT)));
    let keys = held.iter().map(|held| held.key.as_str()).chain(ends.iter().map(String::as_str));
    let keys: Vec<Named> = keys.filter_map(Named::parse).collect();
    let moov = |key: &str| held.iter().find(|held| held.key == key).map(|held| held.moov);
    let text = hls::playlist(&keys, |key| format!("/media/{key}"), moov);
    ([(header::CONTENT_TYPE, "application/vnd.apple.mpegurl")], text).into_response()
}

/// The playlist that describes that one.
async fn variants(State(cloud): Cloud, Query(range): Query<Range>) -> Response {
    let held = cloud.seen.shelf(|shelf| shelf.between(utc(range.from), utc(range.to), MAX_LISTED));
    let rate = |held: &Held| {
        let millis = held.end.since(held.start).as_millis().max(1);
        u64::try_from(u128::from(held.bytes) * 8_000 / millis).unwrap_or(u64::MAX)
    };
    let uri = format!("/footage.m3u8?from={}&to={}", range.from, range.to);
    let text = hls::variants(
        &uri,
        held.iter().map(|held| held.mime.as_str()),
        held.iter().map(rate).max().unwrap_or(0),
    );
    ([(header::CONTENT_TYPE, "application/vnd.apple.mpegurl")], text).into_response()
}

/// A range as one file.
async fn download(State(cloud): Cloud, Query(range): Query<Range>) -> Response {
    let (from, to) = (utc(range.from), utc(range.to));
    let refused = |why: &str| (StatusCode::UNPROCESSABLE_ENTITY, why.to_owned()).into_response();
    if to <= from || to.since(from) > MAX_CLIP {
        return refused("a clip is of up to an hour, and ends behind its start");
    }
    let held = cloud.seen.shelf(|shelf| shelf.between(from, to, usize::MAX));
    if held.iter().map(|held| held.bytes).sum::<u64>() > MAX_CLIP_BYTES {
        return refused("that is more than 512 MiB: take it in parts");
    }
    let bucket = cloud.store.bucket.clone();
    let made = tokio::task::spawn_blocking(move || {
        let read = |held: &super::shelf::Held| {
            bucket.body(&held.key).ok().map(|body| Source { start: held.start, body })
        };
        let sources: Vec<Source> = held.iter().filter_map(read).collect();
        clip(&sources, from, to)
    });
    match made.await {
        Ok(Ok(file)) => {
            let at = from.civil();
            let name = format!(
                "attachment; filename=\"{}-{:04}-{:02}-{:02}T{:02}-{:02}-{:02}Z.mp4\"",
                cloud.device, at.year, at.month, at.day, at.hour, at.minute, at.second
            );
            let name = HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"));
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("video/mp4")),
                (header::CONTENT_DISPOSITION, name),
            ];
            (headers, file).into_response()
        }
        Ok(Err(why)) => refused(&why),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Executes the commands of the switches; a page may not use commands that read files or sign other claims.
async fn command(State(cloud): Cloud, Json(command): Json<Command>) -> Response {
    match command {
        Command::Privacy { .. } | Command::Plan(_) | Command::Store { .. } | Command::Broker { .. } => {
            Json(worded(cloud.execute(command).await)).into_response()
        }
        Command::Est(_)
        | Command::Grants(_)
        | Command::Keys(_)
        | Command::Sign { .. }
        | Command::PublishRaw { .. }
        | Command::Status
        | Command::Objects => StatusCode::FORBIDDEN.into_response(),
    }
}

/// Sends every change: `state` with the whole state, `footage` if the timeline has changed.
async fn live(State(cloud): Cloud) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = cloud.seen.changes.clone();
    let events = stream::unfold((cloud, changes, None), async |(cloud, mut changes, before)| {
        let before = match before {
            None => super::seen::Changes::default(),
            Some((before, next)) => {
                changes.changed().await.ok()?;
                // The first change after a pause is sent at once.
                tokio::time::sleep_until(next).await;
                before
            }
        };
        let now = *changes.borrow_and_update();
        let event = Event::default().event(if now.footage == before.footage { "state" } else { "footage" });
        let event = event.json_data(state(&cloud).await).ok()?;
        Some((Ok(event), (cloud, changes, Some((now, Instant::now() + MIN_INTERVAL)))))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn utc(millis: f64) -> Utc {
    #[expect(clippy::cast_possible_truncation, reason = "the cast stays at the bounds, as Utc does")]
    Utc((millis * 1e6) as i64)
}

fn millis(at: Utc) -> i64 {
    at.0 / 1_000_000
}
