//! The named attributes of a segment's object (ONVIF Recording Control Service Specification 26.06, Annex B,
//! "Object attributes").

use super::boxes::build;
use super::init;
use super::layout::{ChunkInfo, Layout};
use super::mfra::{Entry, table};
use crate::domain::fragment::Track;

/// Maximum number of entries of a seek table: the standard's own limit.
pub const MAX_SEEK_ENTRIES: usize = 20;

/// The values from which the attributes of a segment's object are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Sum of the durations of the frames, in nanoseconds.
    pub duration: u64,
    /// Frames.
    pub frames: u64,
    /// Bytes of the coded frames.
    pub video_bytes: u64,
    /// Width of the coded frame in pixels, from the sample entry.
    pub width: u32,
    /// Its height in lines.
    pub height: u32,
    /// Of the audio, if there is any.
    pub audio: Option<AudioAttributes>,
    /// Ticks per second, if the movie and all tracks have the same timescale.
    pub timescale: Option<u32>,
    /// An `mfra` box (ISO/IEC 14496-12, 8.8.9) with at most [`MAX_SEEK_ENTRIES`] entries, without its `mfro`.
    /// If there are more fragments, it lists some at even distances, including the first; for audio it lists
    /// the first.
    pub seek_table: Vec<u8>,
}

/// The attributes of the audio of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioAttributes {
    /// Bytes of the coded audio.
    pub bytes: u64,
    /// Samples per second.
    pub rate: u32,
}

/// The attributes of a whole segment.
#[must_use]
pub fn attributes(layout: &Layout) -> Attributes {
    let (video, audio) = (layout.init.video, layout.init.audio);
    let of_track = |track: Track| {
        layout.chunks.iter().flat_map(|chunk| &chunk.runs).filter(move |run| run.track == track.id)
    };
    let ticks: u64 = of_track(video).map(|run| run.duration).sum();
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(video.timescale.max(1));
    let movie = init::movie_timescale(&layout.init);
    let agree =
        movie == Some(video.timescale) && audio.is_none_or(|audio| audio.timescale == video.timescale);
    Attributes {
        duration: u64::try_from(nanos).unwrap_or(u64::MAX),
        frames: of_track(video).map(|run| u64::from(run.samples)).sum(),
        video_bytes: of_track(video).map(|run| run.bytes).sum(),
        width: layout.init.width,
        height: layout.init.height,
        audio: audio.filter(|audio| of_track(*audio).next().is_some()).map(|audio| AudioAttributes {
            bytes: of_track(audio).map(|run| run.bytes).sum(),
            rate: audio.timescale,
        }),
        timescale: movie.filter(|_| agree),
        seek_table: seek_table(layout),
    }
}

/// The index entry of the track in a chunk, if the chunk has samples of it.
fn place(chunk: &ChunkInfo, track: Track) -> Option<Entry> {
    let traf = chunk.runs.iter().position(|run| run.track == track.id)?;
    let time = u64::try_from(chunk.runs.get(traf)?.earliest_presentation).unwrap_or(0);
    Some(Entry { time, moof: chunk.moof, traf })
}

fn seek_table(layout: &Layout) -> Vec<u8> {
    let audio = layout.init.audio.and_then(|audio| {
        let first = layout.chunks.iter().find_map(|chunk| place(chunk, audio))?;
        Some((audio, first))
    });
    let fragments: Vec<Entry> = layout
        .chunks
        .iter()
        .filter(|chunk| chunk.starts_with_sync)
        .filter_map(|chunk| place(chunk, layout.init.video))
        .collect();
    let room = MAX_SEEK_ENTRIES - usize::from(audio.is_some());
    let step = fragments.len().div_ceil(room).max(1);
    let kept: Vec<Entry> = fragments.into_iter().step_by(step).collect();
    let mut body = table(layout.init.video.id, &kept);
    if let Some((audio, first)) = audio {
        body.extend(table(audio.id, &[first]));
    }
    build(b"mfra", &body)
}
