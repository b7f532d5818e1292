//! Compares what was stored with what was allowed. Pure.

use kasacam::domain::time::Utc;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// From the PUBLISH of "do not record" leaving the broker to the device closed, at most, in milliseconds.
pub(crate) const MAX_CLOSE_MS: f64 = 100.0;
/// Two times that differ by at most this are the same, rounded differently.
const MAX_ROUNDING: Duration = Duration::from_millis(10);

/// A segment in the bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    pub key: String,
    /// The key has the form of the contract, for this device, and the time of the first sample.
    pub key_is_valid: bool,
    pub span: String,
    pub n: u64,
    pub plan: String,
    /// Capture time of each frame, in order.
    pub frames: Vec<Utc>,
    /// End of the last sample.
    pub end: Utc,
    pub has_audio: bool,
    /// `moov` comes first and a correct `mfra` last.
    pub is_whole: bool,
    pub stored_at: Utc,
}

/// The end of a span in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub key: String,
    pub key_is_valid: bool,
    pub span: String,
    pub n: u64,
    pub at: Utc,
    pub reason: String,
}

/// A time in which recording was forbidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Private {
    /// When the choice left the broker.
    pub from: Utc,
    /// When the device was closed, by the camera's report.
    pub closed: Option<Utc>,
    /// When the permission left the broker; `None` if it has not.
    pub until: Option<Utc>,
}

/// Everything that was seen of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub segments: Vec<Segment>,
    pub ends: Vec<End>,
    pub private: Vec<Private>,
    /// How often "do not record" was ordered: if one was not seen, nothing was tested.
    pub private_orders: u64,
    /// The camera's last counters, if it reported any.
    pub counters: Option<Counters>,
    /// Frames per GOP, rounded up.
    pub gop: u64,
    /// Segments under a plan with audio must have an audio track.
    pub board_has_audio: bool,
    /// The Free Package was in force for a time.
    pub free_plan_was_in_force: bool,
    pub camera_exit: Option<i32>,
    pub left_in_spool: u64,
    pub peak_rss_kib: u64,
}

/// The camera's count of frames since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    pub captured: u64,
    pub dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub ok: bool,
    pub frames_captured_while_allowed: u64,
    pub frames_stored: u64,
    pub frames_dropped_at_privacy: u64,
    pub frames_stored_while_private: u64,
    pub objects: usize,
    pub gaps: Vec<Gap>,
    pub privacy_close_ms: Vec<Option<f64>>,
    pub capture_to_stored_ms: Latency,
    pub peak_rss_mib: f64,
    pub checks: Vec<Check>,
}

/// A time without footage, and its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    pub reason: String,
    pub start: Utc,
    /// First sample of the next segment, if there is one.
    pub end: Option<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub check: &'static str,
    pub ok: bool,
    /// What was found.
    pub found: String,
}

/// Judges a run.
pub(crate) fn compare(seen: &Seen) -> Summary {
    let stored = seen.segments.iter().map(|s| count(s.frames.len())).sum();
    let while_private = seen
        .segments
        .iter()
        .flat_map(|segment| &segment.frames)
        .filter(|at| seen.private.iter().any(|private| private.covers(**at)))
        .count();
    let close: Vec<Option<f64>> =
        seen.private.iter().map(|p| p.closed.map(|closed| millis(p.from, closed))).collect();
    let captured = seen.counters.map_or(0, |counters| counters.captured);
    let dropped = seen.counters.map_or(0, |counters| counters.dropped);
    let checks = vec![
        counted(seen, stored),
        dropped_little(seen, dropped),
        check("nothing was stored while private", while_private == 0, format!("{while_private} frames")),
        check(
            "each private time that was ordered was seen",
            count(seen.private.len()) >= seen.private_orders,
            format!("{} ordered, {} seen", seen.private_orders, seen.private.len()),
        ),
        closed_in_time(&close),
        spans(seen),
        whole(seen),
        keys(seen),
        audio(seen),
        check(
            "the camera stopped cleanly",
            seen.camera_exit == Some(0),
            seen.camera_exit.map_or("no exit code".into(), |code| format!("exit code {code}")),
        ),
        check(
            "nothing is left in the spool",
            seen.left_in_spool == 0,
            format!("{} files", seen.left_in_spool),
        ),
        check("something was stored", stored > 0, format!("{stored} frames")),
    ];
    Summary {
        ok: checks.iter().all(|check| check.ok),
        frames_captured_while_allowed: captured,
        frames_stored: stored,
        frames_dropped_at_privacy: dropped,
        frames_stored_while_private: count(while_private),
        objects: seen.segments.len() + seen.ends.len(),
        gaps: gaps(seen),
        privacy_close_ms: close,
        capture_to_stored_ms: latency(seen),
        peak_rss_mib: f64::from(u32::try_from(seen.peak_rss_kib).unwrap_or(u32::MAX)) / 1024.0,
        checks,
    }
}

impl Private {
    fn covers(&self, at: Utc) -> bool {
        at > self.from && self.until.is_none_or(|until| at < until)
    }
}

fn counted(seen: &Seen, stored: u64) -> Check {
    let name = "captured = stored + dropped";
    match seen.counters {
        None => check(name, false, "the camera reported no counters".into()),
        Some(Counters { captured, dropped }) => {
            let found = format!("{captured} captured, {stored} stored, {dropped} dropped");
            check(name, captured == stored.saturating_add(dropped), found)
        }
    }
}

fn dropped_little(seen: &Seen, dropped: u64) -> Check {
    let switches = count(seen.private.len());
    let found = format!("{dropped} frames, {switches} switches, {} frames per GOP", seen.gop);
    check("at most one GOP is dropped a switch", dropped <= seen.gop.saturating_mul(switches), found)
}

fn closed_in_time(close: &[Option<f64>]) -> Check {
    let ok = close.iter().all(|close| close.is_some_and(|ms| ms < MAX_CLOSE_MS));
    let each: Vec<String> =
        close.iter().map(|ms| ms.map_or("never reported".into(), |ms| format!("{ms:.1} ms"))).collect();
    check("the device closes within 100 ms of each switch", ok, each.join(", "))
}

/// Counters from 0 without a gap, no time between two segments, and an end at the time of the last sample.
fn spans(seen: &Seen) -> Check {
    let mut faults = Vec::new();
    let mut spans: BTreeMap<&str, Vec<&Segment>> = BTreeMap::new();
    for segment in &seen.segments {
        spans.entry(&segment.span).or_default().push(segment);
    }
    for end in &seen.ends {
        if !spans.contains_key(end.span.as_str()) {
            faults.push(format!("{} ends a span without a segment", end.key));
        }
    }
    for (span, segments) in &mut spans {
        segments.sort_by_key(|segment| segment.n);
        if !segments.iter().map(|segment| segment.n).eq(0..count(segments.len())) {
            let counters: Vec<String> = segments.iter().map(|s| s.n.to_string()).collect();
            faults.push(format!("span {span} has the counters {}", counters.join(" ")));
        }
        for (earlier, later) in segments.iter().zip(segments.iter().skip(1)) {
            if later.frames.first().is_none_or(|start| !same(earlier.end, *start)) {
                faults.push(format!("{} does not begin where the one before ends", later.key));
            }
        }
        let ends: Vec<&End> = seen.ends.iter().filter(|end| end.span == *span).collect();
        match (ends.as_slice(), segments.last()) {
            // The last frame may be shorter: the device was closed.
            ([end], Some(last)) if end.n == last.n + 1 && ends_in_last_frame(end, last) => {}
            ([end], Some(_)) => faults.push(format!("{} does not follow the last segment", end.key)),
            (ends, _) => faults.push(format!("span {span} has {} ends", ends.len())),
        }
    }
    let found = format!("{} spans, {} ends", spans.len(), seen.ends.len());
    faulty("spans count from 0 without a hole and have one end", &faults, found)
}

fn ends_in_last_frame(end: &End, last: &Segment) -> bool {
    let begins = last.frames.iter().max().copied().unwrap_or(last.end);
    (begins..=last.end).contains(&end.at) || same(end.at, last.end)
}

fn whole(seen: &Seen) -> Check {
    let faults: Vec<String> = seen.segments.iter().filter(|s| !s.is_whole).map(|s| s.key.clone()).collect();
    let found = format!("{} segments", seen.segments.len());
    faulty("segments have their moov first and their mfra last", &faults, found)
}

fn keys(seen: &Seen) -> Check {
    let segments = seen.segments.iter().map(|s| (&s.key, s.key_is_valid));
    let all = segments.chain(seen.ends.iter().map(|e| (&e.key, e.key_is_valid)));
    let faults: Vec<String> = all.filter(|(_, is_valid)| !is_valid).map(|(key, _)| key.clone()).collect();
    let found = format!("{} keys", seen.segments.len() + seen.ends.len());
    faulty("keys are of the contract's form", &faults, found)
}

fn audio(seen: &Seen) -> Check {
    let (free, paid): (Vec<&Segment>, Vec<&Segment>) = seen.segments.iter().partition(|s| s.plan == "free");
    let mut faults: Vec<String> =
        free.iter().filter(|s| s.has_audio).map(|s| format!("{} has audio", s.key)).collect();
    if seen.board_has_audio {
        faults.extend(paid.iter().filter(|s| !s.has_audio).map(|s| format!("{} has no audio", s.key)));
    }
    if seen.free_plan_was_in_force && free.is_empty() {
        faults.push("nothing was stored under the Free Package".into());
    }
    let found = format!("{} segments under the Free Package, {} others", free.len(), paid.len());
    faulty("audio is there only where the plan has it", &faults, found)
}

fn gaps(seen: &Seen) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = seen
        .ends
        .iter()
        .map(|end| {
            // A span's last frame lasts until its end; the next span may begin before that.
            let starts = |of_this: bool| {
                let of = seen.segments.iter().filter(move |s| (s.span == end.span) == of_this);
                of.filter_map(|s| s.frames.first().copied())
            };
            let last = starts(true).max();
            let next = starts(false).filter(|start| Some(*start) > last).min();
            let next = next.map(|next| next.max(end.at));
            Gap { reason: end.reason.clone(), start: end.at, end: next }
        })
        .collect();
    gaps.sort_by_key(|gap| gap.start);
    gaps
}

fn latency(seen: &Seen) -> Latency {
    let mut all: Vec<f64> = seen.segments.iter().map(|s| millis(s.end, s.stored_at)).collect();
    all.sort_by(f64::total_cmp);
    // The nearest rank: the smallest value that so many percent do not exceed.
    let rank = |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Latency { p50: rank(50), p99: rank(99) }
}

fn check(check: &'static str, ok: bool, found: String) -> Check {
    Check { check, ok, found }
}

fn faulty(name: &'static str, faults: &[String], found: String) -> Check {
    let first: Vec<&str> = faults.iter().take(5).map(String::as_str).collect();
    let found = if faults.is_empty() { found } else { format!("{} of: {}", faults.len(), first.join("; ")) };
    check(name, faults.is_empty(), found)
}

fn same(a: Utc, b: Utc) -> bool {
    a.since(b) <= MAX_ROUNDING && b.since(a) <= MAX_ROUNDING
}

/// Milliseconds, rounded to a microsecond; negative if `to` is earlier.
fn millis(from: Utc, to: Utc) -> f64 {
    let micros = to.0.saturating_sub(from.0) / 1000;
    f64::from(i32::try_from(micros).unwrap_or(i32::MAX)) / 1000.0
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
