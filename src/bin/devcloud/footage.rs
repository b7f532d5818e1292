//! Reads the bucket: each object in the form that the summary needs.

use crate::objects::{Bucket, Facts};
use crate::summary::{End, Segment};
use kasacam::domain::segment::object_key;
use kasacam::domain::time::Utc;
use kasacam::fmp4::{self, ChunkInfo, Layout};
use std::time::Duration;

/// The prefix of all keys.
pub(crate) const PREFIX: &str = "v1/";
/// A key is moved by microseconds if another object has it already: at most by this.
const MAX_KEY_SHIFT: Duration = Duration::from_millis(1);

/// All objects of this device.
///
/// # Errors
/// The disk cannot be read, or an object is not a segment.
pub(crate) fn read(bucket: &Bucket, device: &str) -> Result<(Vec<Segment>, Vec<End>), String> {
    let (mut segments, mut ends) = (Vec::new(), Vec::new());
    for key in bucket.keys("").map_err(|e| format!("the bucket: {e}"))? {
        let failed = |e: std::io::Error| format!("{key}: {e}");
        let Some(facts) = bucket.facts(&key).map_err(failed)? else {
            continue;
        };
        let named = Named::parse(&key, device);
        if key.ends_with(".mp4_end") {
            ends.push(end(key, &facts, named));
        } else {
            let body = bucket.body(&key).map_err(failed)?;
            segments.push(segment(key, &facts, named, &body)?);
        }
    }
    Ok((segments, ends))
}

/// The parts of a key that has the form of the contract.
struct Named {
    at: Utc,
    n: u64,
}

impl Named {
    fn parse(key: &str, device: &str) -> Option<Named> {
        let rest = key.strip_prefix(PREFIX)?.strip_prefix(device)?.strip_prefix('/')?;
        let mut parts = rest.split('/');
        let (date, hour, file, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
            return None;
        };
        let mut file = file.split('.');
        let (minute, fraction) = (file.next()?, file.next()?);
        let (n, extension, None) = (file.next()?.parse().ok()?, file.next()?, file.next()) else {
            return None;
        };
        let at = Utc::parse(&format!("{date}T{hour}:{}.{fraction}", minute.replace('-', ":")))?;
        // Written again, it must be the same text, including zeros.
        (object_key(PREFIX, device, at, n, extension == "mp4_end") == key).then_some(Named { at, n })
    }
}

fn end(key: String, facts: &Facts, named: Option<Named>) -> End {
    let (at, n) = named.as_ref().map_or((Utc(0), 0), |named| (named.at, named.n));
    End {
        key_is_valid: named.is_some(),
        span: metadata(facts, "span"),
        n,
        at,
        reason: metadata(facts, "reason"),
        key,
    }
}

fn segment(key: String, facts: &Facts, named: Option<Named>, body: &[u8]) -> Result<Segment, String> {
    let layout = fmp4::read_segment(body).map_err(|e| format!("{key}: {} at {}", e.what, e.offset))?;
    let start = layout.record.start_utc;
    let times = Times::of(&layout, start);
    let near = |at: Utc| at.since(start) <= MAX_KEY_SHIFT && start.since(at) <= MAX_KEY_SHIFT;
    Ok(Segment {
        key_is_valid: named.is_some_and(|named| named.n == layout.record.n && near(named.at)),
        span: layout.record.span.clone(),
        n: layout.record.n,
        plan: layout.record.plan.clone(),
        frames: times.frames,
        end: times.end,
        has_audio: layout.init.audio.is_some(),
        is_whole: layout.complete && body.get(4..8) == Some(b"ftyp"),
        stored_at: facts.stored_at,
        key,
    })
}

struct Times {
    frames: Vec<Utc>,
    end: Utc,
}

impl Times {
    /// The frames of a run are assumed to have equal durations.
    fn of(layout: &Layout, start: Utc) -> Times {
        let video = layout.init.video;
        let scale = u64::from(video.timescale.max(1));
        let nanos = |ticks: u64| {
            let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(scale);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let runs = |chunk: &ChunkInfo| chunk.runs.clone().into_iter().filter(|run| run.track == video.id);
        let first = layout.chunks.iter().flat_map(runs).map(|run| run.decode_time).min().unwrap_or(0);
        let mut times = Times { frames: Vec::new(), end: start };
        for run in layout.chunks.iter().flat_map(runs) {
            let begins = run.decode_time.saturating_sub(first);
            for i in 0..u64::from(run.samples) {
                let within = run.duration.saturating_mul(i) / u64::from(run.samples.max(1));
                times.frames.push(start + nanos(begins.saturating_add(within)));
            }
            times.end = times.end.max(start + nanos(begins.saturating_add(run.duration)));
        }
        times
    }
}

fn metadata(facts: &Facts, name: &str) -> String {
    facts.metadata.get(name).cloned().unwrap_or_default()
}
