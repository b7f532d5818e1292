//! Frames and audio as the samples of a chunk.

use crate::capture::codec::{Role, is_delimiter, role};
use crate::capture::units::Unit;
use crate::fmp4::{self, Sample, SampleRun, VIDEO_TIMESCALE, VideoDescription};
use bytes::Bytes;
use std::sync::Arc;

/// One AAC frame.
#[derive(Clone, Debug)]
pub struct AudioFrame {
    /// Time of presentation, in nanoseconds.
    pub shown: i64,
    /// In nanoseconds.
    pub duration: i64,
    /// Without ADTS header.
    pub data: Bytes,
}

/// A frame whose decode time is not known yet.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) shown: i64,
    pub(super) nals: Vec<Bytes>,
    /// A fragment begins with this frame.
    pub(super) begins: bool,
    /// No later frame is presented before it.
    pub(super) is_shown_first: bool,
    /// It does not continue the frame before: a hole, or the first frame.
    pub(super) apart: bool,
    pub(super) frame_format: Arc<VideoDescription>,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) raw: Raw,
    pub(super) decoded: i64,
    /// When the presentation of the frames from this one on begins.
    pub(super) start: i64,
    /// Added to its times, gives the times of the media.
    pub(super) shift: i64,
    pub(super) bytes: usize,
}

/// The NAL units of an access unit that are stored. Parameter sets are stored in the `moov`, unless they are in band, or
/// the `moov` does not have them yet (`known`).
pub(super) fn nals_of(unit: Unit, frame_format: &VideoDescription, known: bool, begins: bool) -> Vec<Bytes> {
    let begins_in_band = frame_format.sets_in_band && begins;
    if (frame_format.sets_in_band || !known) && !begins_in_band {
        return unit.nals;
    }
    let codec = frame_format.sets.codec();
    // In place: few access units contain parameter sets.
    let mut nals = unit.nals;
    nals.retain(|nal| role(codec, nal) != Role::Set);
    if begins_in_band {
        if let Some(found) = unit.sets.format(&unit.slice) {
            nals.splice(..0, found.sets.nals());
        }
    }
    // A delimiter comes first (ITU-T H.264, 7.4.1.2.3; ITU-T H.265, 7.4.2.4.4).
    if let Some(at) = nals.iter().position(|nal| is_delimiter(codec, nal)) {
        if let Some(before) = nals.get_mut(..=at) {
            before.rotate_right(1);
        }
    }
    nals
}

fn ticks(nanos: i64, timescale: u32) -> i64 {
    let scaled = i128::from(nanos) * i128::from(timescale);
    i64::try_from((scaled + 500_000_000).div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
}

/// The frames of a chunk. `until` is the decode time of the next frame, if that continues them; otherwise the last one
/// lasts `frame`.
pub(super) fn frame_run(frames: Vec<Frame>, until: Option<i64>, frame: i64) -> SampleRun {
    let media = |frame: &Frame, time: i64| ticks(time.saturating_add(frame.shift), VIDEO_TIMESCALE);
    let mut decoded: Vec<i64> = frames.iter().map(|frame| media(frame, frame.decoded)).collect();
    if let Some(last) = frames.last() {
        decoded.push(media(last, until.unwrap_or(last.decoded.saturating_add(frame))));
    }
    let first_is_sync = frames.first().is_some_and(|first| first.raw.begins);
    let decode_time = decoded.first().map_or(0, |first| u64::try_from(*first).unwrap_or(0));
    let samples = frames.into_iter().zip(decoded.windows(2)).map(|(frame, pair)| {
        let (at, next) = match pair {
            [at, next] => (*at, *next),
            _ => (0, 0),
        };
        let offset = media(&frame, frame.raw.shown) - at;
        Sample {
            duration: u32::try_from(next - at).unwrap_or(0),
            offset: i32::try_from(offset).unwrap_or(0),
            data: frame.raw.nals,
            nals: true,
        }
    });
    let samples = samples.collect();
    SampleRun { track: fmp4::VIDEO_TRACK, decode_time, first_is_sync, all_are_sync: false, samples }
}

/// The audio of a chunk. A frame begins at the end of the one before, unless its own time differs too much.
pub(super) fn audio_run(
    frames: Vec<AudioFrame>,
    rate: u32,
    shift: i64,
    at: &mut Option<(u64, u64)>,
) -> Option<SampleRun> {
    let tolerance = u64::from(rate / 50);
    let mut placed = Vec::new();
    for piece in frames {
        let own = u64::try_from(ticks(piece.shown.saturating_add(shift), rate)).unwrap_or(0);
        let place = match *at {
            Some((_, next)) if own.abs_diff(next) <= tolerance => next,
            Some((last, _)) => own.max(last + 1),
            None => own,
        };
        let nominal = u64::try_from(ticks(piece.duration, rate)).ok().filter(|nominal| *nominal > 0);
        let next = place.saturating_add(nominal.unwrap_or(1024));
        *at = Some((place, next));
        placed.push((place, next, piece.data));
    }
    let decode_time = placed.first()?.0;
    let begins: Vec<u64> = placed.iter().skip(1).map(|(place, _, _)| *place).collect();
    let samples = placed.into_iter().enumerate().map(|(index, (place, nominal_end, data))| {
        let end = begins.get(index).copied().unwrap_or(nominal_end);
        Sample {
            duration: u32::try_from(end.saturating_sub(place)).unwrap_or(u32::MAX),
            offset: 0,
            data: vec![data],
            nals: false,
        }
    });
    let samples = samples.collect();
    Some(SampleRun {
        track: fmp4::AUDIO_TRACK,
        decode_time,
        first_is_sync: true,
        all_are_sync: true,
        samples,
    })
}
