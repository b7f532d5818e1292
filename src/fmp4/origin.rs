//! The media times of a file: those of the capture run, counted from where the file begins.
//!
//! A player takes the last time in a file for its duration. So each file begins at zero, however long its
//! span has lasted by then. The record, the key and `prft` say to which span it belongs and when it was
//! captured.

use super::boxes::{Cursor, Walk, need};
use super::chunk;
use super::layout::{ChunkInfo, TrackRun};
use super::malformed::Malformed;
use crate::domain::fragment::Init;

/// Where the media of a file begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In ticks of the video track.
    ticks: u64,
}

impl Origin {
    /// The earliest decode time of any track in the first chunk: then no track of it begins before zero.
    #[must_use]
    pub fn of(init: &Init, first: &ChunkInfo) -> Origin {
        let scale = u128::from(init.video.timescale.max(1));
        let in_video_ticks =
            |run: &TrackRun| u128::from(run.decode_time) * scale / u128::from(timescale(init, run.track));
        let earliest = first.runs.iter().map(in_video_ticks).min().unwrap_or(0);
        Origin { ticks: u64::try_from(earliest).unwrap_or(u64::MAX) }
    }

    /// In ticks of this track, rounded down: all tracks move alike, so audio stays in sync with video.
    fn of_track(self, init: &Init, track: u32) -> u64 {
        let scale = u128::from(timescale(init, track));
        let ticks = u128::from(self.ticks) * scale / u128::from(init.video.timescale.max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

fn timescale(init: &Init, track: u32) -> u32 {
    let of_audio = init.audio.filter(|audio| audio.id == track).map(|audio| audio.timescale);
    of_audio.unwrap_or(init.video.timescale).max(1)
}

/// Subtracts `origin` from every time of a chunk: from `tfdt` in its bytes, and from what was read of it.
/// Audio that came so late that it would be before the origin begins at zero.
///
/// # Errors
/// If a box cannot be read; the bytes are then unchanged.
pub fn rebase(init: &Init, bytes: &mut [u8], info: &mut ChunkInfo, origin: Origin) -> Result<(), Malformed> {
    let mut patches: Vec<(usize, Vec<u8>)> = Vec::new();
    {
        let none = || Malformed { offset: 0, what: String::from("no moof") };
        let moof = Walk::new(bytes, 0).next().ok_or_else(none)??;
        for found in Walk::inside(&moof) {
            let traf = found?;
            if !traf.is(b"traf") {
                continue;
            }
            let ticks = origin.of_track(init, chunk::read_tfhd(init, &traf)?.track);
            let tfdt = need(&traf, b"tfdt")?;
            let mut cursor = Cursor::new(tfdt.body);
            let (version, time) = cursor
                .full()
                .and_then(|(version, _)| Some((version, cursor.sized(version)?)))
                .ok_or_else(|| tfdt.bad("is too short"))?;
            let rebased = time.saturating_sub(ticks);
            let patch = match version {
                0 => u32::try_from(rebased).unwrap_or(u32::MAX).to_be_bytes().to_vec(),
                _ => rebased.to_be_bytes().to_vec(),
            };
            patches.push((usize::try_from(tfdt.body_start() + 4).unwrap_or(usize::MAX), patch));
        }
    }
    for (at, patch) in patches {
        if let Some(place) = bytes.get_mut(at..at.saturating_add(patch.len())) {
            place.copy_from_slice(&patch);
        }
    }
    for run in &mut info.runs {
        let before = run.decode_time;
        run.decode_time = before.saturating_sub(origin.of_track(init, run.track));
        let moved = i64::try_from(before - run.decode_time).unwrap_or(i64::MAX);
        run.earliest_presentation = run.earliest_presentation.saturating_sub(moved);
    }
    Ok(())
}
