//! Which stream of a camera is recorded under a plan: that of `[video]`, that of a `[[video.profile]]`, or one of them
//! scaled down. A plan that allows fewer lines ends recording only if no smaller stream is possible.

use crate::config::{Board, Video, VideoFormat, VideoSource};
use std::cmp::Reverse;

/// How a frame gets its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sizing {
    /// As the source delivers it, or as the encoder encodes raw frames.
    AsIs,
    /// A mode with fewer lines is requested from the device.
    Requested,
    /// H.264 from the source is decoded, scaled and encoded again.
    Reencoded,
    /// The board file states more lines than the plan allows. It is tried: the stream itself decides.
    TooLarge,
}

/// What is recorded under a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// 0 for `[video]`, 1 for its first profile.
    pub profile: usize,
    /// Its settings.
    pub video: Video,
    /// Width and height of a frame, in pixels.
    pub size: (u32, u32),
    /// How a frame gets that size.
    pub sizing: Sizing,
}

/// What is recorded if the plan allows `max_height` lines.
///
/// Streams that need no decoder come first, and of those the one with the most lines; of two with equal lines, the one
/// that needs no scaling, then the first in the file. `learnt` gives the lines that a stream was seen to have, if known:
/// it overrides the board file.
#[must_use]
pub fn choose(board: &Board, max_height: u32, learnt: impl Fn(usize) -> Option<u32>) -> Choice {
    let main = &board.video;
    let all = std::iter::once(main).chain(&main.profiles).enumerate();
    let best = all
        .map(|(profile, video)| made(profile, video, main, max_height, learnt(profile)))
        .min_by_key(|choice| {
            let (_, lines) = choice.size;
            // Of those that are too large the smallest: it may be smaller than the board file states.
            let (large, small) = if choice.sizing == Sizing::TooLarge { (0, lines) } else { (lines, 0) };
            let scales = lines != choice.video.height;
            (choice.sizing, small, Reverse(large), scales, choice.profile)
        });
    let own = || Choice {
        profile: 0,
        video: main.clone(),
        size: (main.width, main.height),
        sizing: Sizing::TooLarge,
    };
    best.unwrap_or_else(own)
}

fn made(profile: usize, video: &Video, main: &Video, max_height: u32, learnt: Option<u32>) -> Choice {
    let smaller = scaled(video.width, video.height, max_height);
    let given = |size, sizing| Choice { profile, video: video.clone(), size, sizing };
    if video.format == VideoFormat::Raw {
        return given(smaller, Sizing::AsIs);
    }
    // A profile that names an encoder for the source of `[video]` requests encoding again.
    let same_source = profile > 0 && video.source == main.source;
    let again = video.encoder.is_some();
    if same_source && again {
        return given(smaller, Sizing::Reencoded);
    }
    let lines = learnt.unwrap_or(video.height);
    if lines <= max_height {
        return given((video.width, lines), Sizing::AsIs);
    }
    if again {
        return given(smaller, Sizing::Reencoded);
    }
    if learnt.is_none() && matches!(video.source, VideoSource::V4l2 { .. }) {
        return given(smaller, Sizing::Requested);
    }
    given((video.width, lines), Sizing::TooLarge)
}

/// The fewest lines of a plan under which something is certainly recorded. `None`: under every plan.
#[must_use]
pub fn least_lines(board: &Board) -> Option<u32> {
    let all = std::iter::once(&board.video).chain(&board.video.profiles);
    let least = all.map(|video| video.height).min().unwrap_or(board.video.height);
    match choose(board, 1, |_| None).sizing {
        Sizing::AsIs | Sizing::Reencoded => None,
        Sizing::Requested | Sizing::TooLarge => Some(least),
    }
}

/// The size of a frame within `max_height` lines. The aspect ratio is kept, and both numbers are even, as
/// 4:2:0 needs. Never larger than before.
#[must_use]
pub fn scaled(width: u32, height: u32, max_height: u32) -> (u32, u32) {
    if height <= max_height || height == 0 {
        return (width, height);
    }
    let lines = (max_height & !1).max(2);
    let columns = u64::from(width) * u64::from(lines) / u64::from(height);
    ((u32::try_from(columns).unwrap_or(u32::MAX) & !1).max(2), lines)
}
