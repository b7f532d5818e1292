//! The stored objects in the form that the page needs: each is read once, and they are in the order of time.

use super::bands::{Ended, Stretch};
use crate::objects::{Bucket, Facts};
use kasacam::domain::time::Utc;
use kasacam::fmp4;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The largest number of segments to remember: eleven days of four seconds each. The oldest are removed first.
const MAX_SEGMENTS: usize = 240_000;

/// A segment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Held {
    pub key: String,
    /// Milliseconds of Unix time, with a fraction.
    #[serde(serialize_with = "millis")]
    pub start: Utc,
    #[serde(serialize_with = "millis")]
    pub end: Utc,
    pub span: String,
    pub n: u64,
    /// Decode time of its first frame, in seconds.
    pub decode: f64,
    /// `video/mp4; codecs="…"` (RFC 6381).
    pub mime: String,
    /// Number of frames.
    pub frames: u64,
    pub height: u32,
    pub audio: bool,
    pub plan: String,
    pub bytes: u64,
    /// Bytes of `ftyp` and `moov`.
    pub moov: u64,
}

fn millis<S: serde::Serializer>(at: &Utc, serializer: S) -> Result<S::Ok, S::Error> {
    // 2^53 milliseconds are far in the future, and an f64 of today's date has microseconds.
    let (whole, rest) = (at.0.div_euclid(1_000_000), at.0.rem_euclid(1_000_000));
    let rest = f64::from(i32::try_from(rest).unwrap_or(0)) / 1e6;
    #[expect(clippy::cast_precision_loss, reason = "the milliseconds of any date fit into 53 bits")]
    serializer.serialize_f64(whole as f64 + rest)
}

/// An object, as it was read.
pub(crate) enum Found {
    Segment(Held),
    End { span: String, ended: Ended },
}

/// Everything, in the order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    segments: BTreeMap<(Utc, String), Held>,
    pub ends: BTreeMap<String, Ended>,
}

impl Shelf {
    pub(crate) fn put(&mut self, found: Found) {
        match found {
            Found::Segment(held) => {
                self.segments.insert((held.start, held.key.clone()), held);
                while self.segments.len() > MAX_SEGMENTS {
                    self.segments.pop_first();
                }
            }
            Found::End { span, ended } => {
                self.ends.insert(span, ended);
                while self.ends.len() > MAX_SEGMENTS {
                    self.ends.pop_first();
                }
            }
        }
    }

    /// The object is gone.
    pub(crate) fn remove(&mut self, key: &str) {
        self.segments.retain(|(_, held), _| held != key);
    }

    pub(crate) fn stretches(&self) -> Vec<Stretch> {
        let stretch = |held: &Held| Stretch {
            span: held.span.clone(),
            n: held.n,
            start: held.start,
            end: held.end,
            plan: held.plan.clone(),
            audio: held.audio,
        };
        self.segments.values().map(stretch).collect()
    }

    /// Up to `most` segments that overlap the range, in the order of time.
    pub(crate) fn between(&self, from: Utc, to: Utc, most: usize) -> Vec<Held> {
        // Far longer than any segment: `recording.segment` is at most a minute.
        let earliest = Utc(from.0.saturating_sub(300_000_000_000));
        let range = self.segments.range((earliest, String::new())..(to, String::new()));
        range.map(|(_, held)| held).filter(|held| held.end > from).take(most).cloned().collect()
    }

    /// Keys of the ends of spans within the range.
    pub(crate) fn ends_between(&self, from: Utc, to: Utc) -> Vec<String> {
        let within = self.ends.values().filter(|end| from <= end.at && end.at <= to);
        within.map(|end| end.key.clone()).collect()
    }

    /// The first segment that begins at or after `from`.
    pub(crate) fn next(&self, from: Utc) -> Option<Held> {
        self.segments.range((from, String::new())..).next().map(|(_, held)| held.clone())
    }

    pub(crate) fn last(&self) -> Option<Held> {
        self.segments.last_key_value().map(|(_, held)| held.clone())
    }

    pub(crate) fn holds(&self, key: &str) -> bool {
        time_of(key).is_some_and(|at| self.segments.contains_key(&(at, key.to_owned())))
    }
}

/// Reads an object. `None` if it is gone, or not footage.
pub(crate) fn read(bucket: &Bucket, key: &str) -> Option<Found> {
    let facts = bucket.facts(key).ok()??;
    let start = time_of(key)?;
    if key.ends_with(".mp4_end") {
        let reason = metadata(&facts, "reason");
        return Some(Found::End {
            span: metadata(&facts, "span"),
            ended: Ended { at: start, reason, key: key.to_owned() },
        });
    }
    let layout = fmp4::read_segment(&bucket.body(key).ok()?).ok()?;
    let video = layout.init.video;
    let runs = || layout.chunks.iter().flat_map(|chunk| &chunk.runs).filter(|run| run.track == video.id);
    let first = runs().map(|run| run.decode_time).min()?;
    let last = runs().map(|run| run.decode_time.saturating_add(run.duration)).max()?;
    let scale = u128::from(video.timescale.max(1));
    let nanos = |ticks: u64| u64::try_from(u128::from(ticks) * 1_000_000_000 / scale).unwrap_or(u64::MAX);
    Some(Found::Segment(Held {
        key: key.to_owned(),
        start,
        end: start + Duration::from_nanos(nanos(last - first)),
        span: layout.record.span.clone(),
        n: layout.record.n,
        decode: Duration::from_nanos(nanos(first)).as_secs_f64(),
        mime: fmp4::mime(&layout.init),
        frames: runs().map(|run| u64::from(run.samples)).sum(),
        height: layout.init.height,
        audio: layout.init.audio.is_some(),
        plan: layout.record.plan.clone(),
        bytes: facts.bytes,
        moov: u64::try_from(layout.init.bytes.len()).unwrap_or(u64::MAX),
    }))
}

/// The time in a key: `…/YYYY-MM-DD/HH/MM-SS.ffffffZ.{n}.mp4`.
fn time_of(key: &str) -> Option<Utc> {
    let mut parts = key.rsplitn(4, '/');
    let (file, hour, date) = (parts.next()?, parts.next()?, parts.next()?);
    let mut file = file.split('.');
    let (clock, fraction) = (file.next()?, file.next()?);
    Utc::parse(&format!("{date}T{hour}:{}.{fraction}", clock.replace('-', ":")))
}

fn metadata(facts: &Facts, name: &str) -> String {
    facts.metadata.get(name).cloned().unwrap_or_default()
}
