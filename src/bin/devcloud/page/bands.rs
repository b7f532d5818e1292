//! The timeline of a camera: what was recorded when, and why there are gaps, from what is stored and what the camera
//! reported. Pure.

use kasacam::domain::time::Utc;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Two segments of a span are continuous if they are at most this far apart: keys have microseconds, media have ticks.
const MAX_SEAM: Duration = Duration::from_millis(150);
/// Shorter bands are not shown, because camera and cloud have different clocks.
const MIN_SHOWN: Duration = Duration::from_millis(50);
/// The current segment is assumed to be at most this many times as long as the longest stored one.
const GROWING_FACTOR: u32 = 2;
/// And at least this long.
const MIN_GROWING: Duration = Duration::from_secs(4);
/// From the opening of a device to its first frame, at most.
const MAX_STARTING: Duration = Duration::from_secs(5);
/// How long a pipeline has no frames when it is rebuilt for another plan, at most.
const MAX_RESTART: Duration = Duration::from_secs(1);

/// A segment that the store holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stretch {
    pub span: String,
    /// Its place in the span, from 0.
    pub n: u64,
    pub start: Utc,
    pub end: Utc,
    pub plan: String,
    pub audio: bool,
}

/// The end of a span, by its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub at: Utc,
    pub reason: String,
    /// Key of its object.
    pub key: String,
}

/// A time in which the capture device was open, as the camera reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub from: Utc,
    /// `None` while it is open.
    pub until: Option<Utc>,
    /// Why it was closed, as in the end of a span.
    pub why: String,
}

/// A time in which the camera could not receive anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    pub from: Utc,
    /// `None` while it lasts.
    pub until: Option<Utc>,
}

/// What a band shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BandKind {
    /// It is stored.
    Recorded,
    /// The current segment.
    Recording,
    /// The camera has it, but it is not stored yet.
    Waiting,
    /// As `Waiting`, but it was captured while the camera could not receive a choice.
    Unheard,
    /// There is no footage.
    Gap,
}

/// A part of the timeline. Bands do not overlap, and leave nothing out between the first and the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Band {
    pub kind: BandKind,
    /// Milliseconds of Unix time.
    #[serde(serialize_with = "millis")]
    pub from: Utc,
    #[serde(serialize_with = "millis")]
    pub to: Utc,
    /// Of a gap: the reason in the end of the span, or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a recording: `plan.id` of its lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    #[serde(skip)]
    span: String,
    /// Counter of its first segment in the span, and of its last.
    #[serde(skip)]
    first: u64,
    #[serde(skip)]
    n: u64,
}

fn millis<S: serde::Serializer>(at: &Utc, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(at.0 / 1_000_000)
}

/// Everything that the timeline is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// In the order of their start.
    pub stretches: Vec<Stretch>,
    /// By span.
    pub ends: BTreeMap<String, Ended>,
    /// In the order of time.
    pub opened: Vec<Opened>,
    /// In the order of time.
    pub away: Vec<Away>,
}

/// The timeline from the first known event until `now`.
pub(crate) fn bands(known: &Known, now: Utc) -> Vec<Band> {
    let opened = closed_by_ends(known);
    let recorded = recorded(&known.stretches);
    let Some(begin) = recorded.iter().map(|b| b.from).chain(opened.iter().map(|o| o.from)).min() else {
        return Vec::new();
    };
    let longest = known.stretches.iter().rev().take(100).map(|s| s.end.since(s.start)).max();
    let growing = longest.unwrap_or_default().saturating_mul(GROWING_FACTOR).max(MIN_GROWING);
    let mut line: Vec<Band> = Vec::new();
    let mut at = begin;
    let mut before: Option<Ended> = None;
    for mut band in recorded {
        if band.from.since(at) > MIN_SHOWN {
            fill(&mut line, (at, band.from), known, &opened, before.as_ref(), None);
            if band.first == 0 {
                starting(&mut line, &opened, before.as_ref());
            }
        }
        // The span of a new plan may begin before the end of the last one.
        band.from = band.from.max(at);
        at = at.max(band.to);
        before = known.ends.get(&band.span).cloned();
        push(&mut line, band);
    }
    if now > at {
        fill(&mut line, (at, now), known, &opened, before.as_ref(), Some(growing));
    }
    line
}

/// One band for each continuous run of segments.
fn recorded(stretches: &[Stretch]) -> Vec<Band> {
    let mut found: Vec<Band> = Vec::new();
    for stretch in stretches {
        if let Some(last) = found.last_mut() {
            let follows = last.span == stretch.span && last.n + 1 == stretch.n;
            let same = last.plan.as_deref() == Some(stretch.plan.as_str());
            if follows && same && stretch.start.since(last.to) <= MAX_SEAM {
                last.to = last.to.max(stretch.end);
                last.n = stretch.n;
                continue;
            }
        }
        found.push(Band {
            kind: BandKind::Recorded,
            from: stretch.start,
            to: stretch.end,
            reason: None,
            plan: Some(stretch.plan.clone()),
            audio: Some(stretch.audio),
            span: stretch.span.clone(),
            first: stretch.n,
            n: stretch.n,
        });
    }
    found
}

/// If the device was closed when a span ended, nothing is kept that was captured after that end.
fn closed_by_ends(known: &Known) -> Vec<Opened> {
    let mut opened = known.opened.clone();
    for end in known.ends.values().filter(|end| !goes_on(&end.reason)) {
        let within = |o: &&mut Opened| o.from < end.at && o.until.is_none_or(|until| end.at < until);
        if let Some(open) = opened.iter_mut().find(within) {
            open.until = Some(end.at);
            open.why.clone_from(&end.reason);
        }
    }
    opened
}

/// Whether the device stays open when a span ends for this reason.
fn goes_on(reason: &str) -> bool {
    matches!(reason, "format" | "clock" | "entitlement")
}

/// Fills the time between two recorded bands, or after the last.
fn fill(
    line: &mut Vec<Band>,
    (from, to): (Utc, Utc),
    known: &Known,
    opened: &[Opened],
    before: Option<&Ended>,
    growing: Option<Duration>,
) {
    let mut cuts = vec![from, to];
    for open in opened {
        cuts.extend([Some(open.from), open.until].into_iter().flatten());
    }
    for away in &known.away {
        cuts.extend([Some(away.from), away.until].into_iter().flatten());
    }
    let tail = growing.map(|growing| (to - growing).max(from));
    cuts.extend(tail);
    cuts.retain(|cut| (from..=to).contains(cut));
    cuts.sort();
    cuts.dedup();
    for (start, end) in cuts.iter().zip(cuts.iter().skip(1)) {
        let (start, end) = (*start, *end);
        let open = opened.iter().any(|o| o.from <= start && o.until.is_none_or(|until| end <= until));
        let away = known.away.iter().any(|a| a.from <= start && a.until.is_none_or(|until| end <= until));
        let kind = match (open, away) {
            (false, _) => BandKind::Gap,
            (true, true) => BandKind::Unheard,
            (true, false) if tail.is_some_and(|tail| start >= tail) => BandKind::Recording,
            (true, false) => BandKind::Waiting,
        };
        let reason = (kind == BandKind::Gap).then(|| reason(start, opened, before));
        let (plan, audio, span) = (None, None, String::new());
        push(line, Band { kind, from: start, to: end, reason, plan, audio, span, first: 0, n: 0 });
    }
}

/// Before the first segment of a span, a short time without footage is normal: a device that has just opened has no frame
/// yet, nor has a pipeline that was rebuilt for another plan. That time is part of the gap.
fn starting(line: &mut Vec<Band>, opened: &[Opened], before: Option<&Ended>) {
    let gap_of_start = |b: &Band| {
        let long = b.to.since(b.from);
        let opens = long < MAX_STARTING && opened.iter().any(|o| o.from == b.from);
        matches!(b.kind, BandKind::Waiting | BandKind::Unheard)
            && (opens || before.is_some() && long < MAX_RESTART)
    };
    if !line.last().is_some_and(gap_of_start) {
        return;
    }
    let Some(mut band) = line.pop() else { return };
    match (line.last_mut(), before) {
        (Some(gap), _) if gap.kind == BandKind::Gap => gap.to = band.to,
        (Some(_), Some(ended)) => {
            (band.kind, band.reason) = (BandKind::Gap, Some(ended.reason.clone()));
            line.push(band);
        }
        // The timeline begins with the first frame.
        (None, _) => {}
        (Some(_), None) => line.push(band),
    }
}

/// The reason of a gap: that of the last closing of the device, or of the last end of a span, if that is later.
fn reason(at: Utc, opened: &[Opened], before: Option<&Ended>) -> String {
    let closed = opened.iter().filter_map(|o| o.until.filter(|until| *until <= at).map(|u| (u, &o.why)));
    let ended = before.map(|end| (end.at, &end.reason));
    let last = closed.chain(ended).max_by_key(|(when, _)| *when);
    last.map_or_else(|| "unknown".to_owned(), |(_, why)| why.clone())
}

fn push(line: &mut Vec<Band>, band: Band) {
    if let Some(last) = line.last_mut() {
        let same = last.kind == band.kind && last.reason == band.reason && band.kind != BandKind::Recorded;
        let sliver = band.to.since(band.from) < MIN_SHOWN && band.kind != BandKind::Recorded;
        if same || sliver {
            last.to = last.to.max(band.to);
            return;
        }
    }
    line.push(band);
}
