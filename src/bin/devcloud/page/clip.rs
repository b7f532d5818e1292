//! A range of footage as one MP4 (ISO/IEC 14496-12): the chunks of its segments after one `moov`. Their times are shifted, so
//! that footage after a gap follows directly. Pure.

use kasacam::domain::fragment::{Init, Track};
use kasacam::domain::time::Utc;
use kasacam::fmp4::{self, ChunkInfo, Layout, MoofEntry};
use std::time::Duration;

/// One segment, and the time of its first sample.
pub(crate) struct Source {
    pub start: Utc,
    pub body: Vec<u8>,
}

/// A chunk that belongs to the range.
struct Cut<'a> {
    layout: &'a Layout,
    chunk: &'a ChunkInfo,
    bytes: &'a [u8],
    /// From the start of the span's media, in nanoseconds.
    from: u64,
    to: u64,
}

/// One MP4 from the GOP that contains `from` until `to`; gaps are left out.
///
/// # Errors
/// Nothing is stored of that time, a segment cannot be read, or the video format changes.
pub(crate) fn clip(sources: &[Source], from: Utc, to: Utc) -> Result<Vec<u8>, String> {
    let mut layouts = Vec::new();
    for source in sources {
        let layout = fmp4::read_segment(&source.body).map_err(|e| format!("a segment: {e}"))?;
        layouts.push((source, layout));
    }
    let mut cuts: Vec<Cut<'_>> = Vec::new();
    for (source, layout) in &layouts {
        cuts.extend(within(source, layout, from, to));
    }
    let Some(first) = cuts.first() else {
        return Err("nothing is stored of that time".into());
    };
    let head = cuts.iter().find(|cut| cut.layout.init.audio.is_some()).unwrap_or(first).layout;
    if let Some(other) = cuts.iter().find(|cut| !same_picture(&head.init, &cut.layout.init)) {
        let at = other.layout.record.start_utc;
        return Err(format!("the video format changes at {at}: download the parts one by one"));
    }
    let mut file = head.init.bytes.to_vec();
    let mut entries = Vec::new();
    let mut written = Written::default();
    for (cut, sequence) in cuts.iter().zip(1..) {
        let shift = written.shift(cut);
        let mut bytes = cut.bytes.to_vec();
        fmp4::number_chunk(&mut bytes, sequence).map_err(|e| format!("a chunk: {e}"))?;
        move_chunk(&mut bytes, &cut.layout.init, shift)?;
        let tracks = cut.chunk.runs.iter().map(|run| {
            let scale = i128::from(track(&cut.layout.init, run.track).timescale);
            let moved = i128::from(run.earliest_presentation) + ticks(shift, scale);
            let is_sync = run.track != cut.layout.init.video.id || cut.chunk.starts_with_sync;
            (run.track, is_sync.then(|| u64::try_from(moved).unwrap_or(0)))
        });
        let offset = u64::try_from(file.len()).unwrap_or(u64::MAX);
        entries.push(MoofEntry { offset, tracks: tracks.collect() });
        file.extend(bytes);
    }
    file.extend(fmp4::mfra_box(&entries));
    Ok(file)
}

const NANOS: i128 = 1_000_000_000;

/// To the nearest tick, so that a time in ticks survives the conversion to nanoseconds.
fn ticks(nanos: i128, scale: i128) -> i128 {
    (nanos * scale + NANOS / 2).div_euclid(NANOS)
}

/// Chunks of a segment, beginning with the last GOP that begins at or before `from`.
fn within<'a>(source: &'a Source, layout: &'a Layout, from: Utc, to: Utc) -> Vec<Cut<'a>> {
    let video = layout.init.video;
    let base = layout.chunks.iter().filter_map(|chunk| times(chunk, video)).map(|(start, _)| start).min();
    let base = base.unwrap_or(0);
    let mut found: Vec<Cut<'a>> = Vec::new();
    for chunk in &layout.chunks {
        let Some((start, end)) = times(chunk, video) else { continue };
        let utc = source.start + Duration::from_nanos(start - base);
        let over = source.start + Duration::from_nanos(end.saturating_sub(base));
        if utc >= to {
            break;
        }
        // The GOP before ends before the range begins.
        if chunk.starts_with_sync && utc <= from {
            found.clear();
        }
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let Some(bytes) = source.body.get(place(chunk.moof)..place(chunk.end)) else { continue };
        found.push(Cut { layout, chunk, bytes, from: start, to: end });
        let last_of_segment = layout.chunks.last().is_some_and(|last| last.moof == chunk.moof);
        if last_of_segment && over <= from {
            found.clear();
        }
    }
    found
}

/// Start and end of the frames of a chunk, in nanoseconds of media time.
fn times(chunk: &ChunkInfo, video: Track) -> Option<(u64, u64)> {
    let run = chunk.runs.iter().find(|run| run.track == video.id)?;
    let nanos = |ticks: u64| {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(video.timescale.max(1));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    };
    Some((nanos(run.decode_time), nanos(run.decode_time.saturating_add(run.duration))))
}

/// Times that are at most this far apart are continuous, in nanoseconds.
const SEAM: u64 = 200_000_000;

/// What has been written so far.
#[derive(Default)]
struct Written<'a> {
    /// The last chunk, and the end of its frames in the file, in nanoseconds.
    before: Option<(&'a Layout, u64, i128)>,
    shift: i128,
    /// End of all tracks in the file, in nanoseconds.
    end: i128,
}

impl<'a> Written<'a> {
    /// How far this chunk is shifted, in nanoseconds.
    fn shift(&mut self, cut: &Cut<'a>) -> i128 {
        let record = &cut.layout.record;
        let from = i128::from(cut.from);
        match self.before {
            // Within a segment, times are continuous.
            Some((layout, end, _)) if std::ptr::eq(layout, cut.layout) && cut.from.abs_diff(end) < SEAM => {}
            // The next one of its span begins where it ended.
            Some((layout, _, over))
                if layout.record.span == record.span && layout.record.n + 1 == record.n =>
            {
                self.shift = over - from;
            }
            Some(_) | None => self.shift = self.end - from,
        }
        self.before = Some((cut.layout, cut.to, i128::from(cut.to) + self.shift));
        for run in &cut.chunk.runs {
            let scale = i128::from(track(&cut.layout.init, run.track).timescale);
            let over = i128::from(run.decode_time.saturating_add(run.duration)) * NANOS / scale;
            self.end = self.end.max(over + self.shift);
        }
        self.shift
    }
}

fn track(init: &Init, id: u32) -> Track {
    let found = init.audio.filter(|audio| audio.id == id).unwrap_or(init.video);
    Track { id: found.id, timescale: found.timescale.max(1) }
}

/// Adds `shift` nanoseconds to every `tfdt` (8.8.12), each in its track's timescale.
fn move_chunk(bytes: &mut [u8], init: &Init, shift: i128) -> Result<(), String> {
    let damaged = || "a chunk cannot be moved".to_owned();
    let mut patches = Vec::new();
    let moof =
        inside(bytes, 0..bytes.len()).next().filter(|(kind, _)| kind == b"moof").ok_or_else(damaged)?;
    for (_, traf) in inside(bytes, moof.1).filter(|(kind, _)| kind == b"traf") {
        let mut id = None;
        for (kind, body) in inside(bytes, traf) {
            let field = |at: usize| {
                let at = body.start.checked_add(at)?;
                bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
            };
            if &kind == b"tfhd" {
                id = field(4);
            }
            if &kind == b"tfdt" {
                let scale = i128::from(track(init, id.ok_or_else(damaged)?).timescale);
                let wide = field(0).ok_or_else(damaged)? >> 24 == 1;
                let high = if wide { u64::from(field(4).ok_or_else(damaged)?) << 32 } else { 0 };
                let time = high | u64::from(field(if wide { 8 } else { 4 }).ok_or_else(damaged)?);
                let moved = (i128::from(time) + ticks(shift, scale)).max(0);
                let patch = if wide {
                    u64::try_from(moved).map_err(|_| damaged())?.to_be_bytes().to_vec()
                } else {
                    u32::try_from(moved).map_err(|_| damaged())?.to_be_bytes().to_vec()
                };
                patches.push((body.start + 4, patch));
            }
        }
    }
    for (at, patch) in patches {
        bytes.get_mut(at..at + patch.len()).ok_or_else(damaged)?.copy_from_slice(&patch);
    }
    Ok(())
}

/// The boxes in a range of bytes: the kind of each, and the position of its body.
fn inside(
    bytes: &[u8],
    range: std::ops::Range<usize>,
) -> impl Iterator<Item = ([u8; 4], std::ops::Range<usize>)> + '_ {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let head: [u8; 8] = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
        let [a, b, c, d, kind @ ..] = head;
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        let end = at.checked_add(size)?;
        if size < 8 || end > range.end {
            return None;
        }
        let body = at + 8..end;
        at = end;
        Some((kind, body))
    })
}

/// Whether one decoder can decode both.
fn same_picture(a: &Init, b: &Init) -> bool {
    let size = (a.width, a.height, a.video) == (b.width, b.height, b.video);
    let audio = a.audio.is_none() || b.audio.is_none() || a.audio == b.audio;
    size && audio && decoder(&a.bytes).is_some() && decoder(&a.bytes) == decoder(&b.bytes)
}

/// The body of `avcC` or `hvcC` (ISO/IEC 14496-15, 5.3.3 and 8.3.3).
fn decoder(init: &[u8]) -> Option<&[u8]> {
    let at = init.windows(4).position(|four| four == b"avcC" || four == b"hvcC")?;
    let size: [u8; 4] = init.get(at.checked_sub(4)?..at)?.try_into().ok()?;
    let size = usize::try_from(u32::from_be_bytes(size)).ok()?;
    init.get(at + 4..(at + size).checked_sub(4)?)
}
