//! Which picture of a camera is recorded under a plan: that of `[video]`, that of a `[[video.profile]]`, or one of them made
//! smaller. A plan that allows fewer lines ends recording only where no smaller picture can be had.

use super::board::scaled;
use crate::config::{Board, Video, VideoFormat, VideoSource};
use std::cmp::Reverse;

/// How the picture comes to its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Making {
    /// As the source gives it, or as we encode what it gives.
    Given,
    /// The device is asked for a mode of so few lines.
    Asked,
    /// H.264 of the source is decoded, scaled and encoded again.
    Again,
    /// By what the board says it has more lines than the plan allows. It is tried: the stream itself decides.
    Beyond,
}

/// What is recorded under a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// 0 for `[video]`, 1 for its first profile.
    pub profile: usize,
    /// Its settings.
    pub video: Video,
    /// Pixels of the picture, and its lines.
    pub size: (u32, u32),
    /// How it comes to that size.
    pub making: Making,
}

/// What is recorded where the plan allows `max_height` lines.
///
/// What needs no decoder goes first, and of that the picture with the most lines; of two that have as many, the one that
/// needs no scaling, and then the one that stands first. `learnt` says how many lines a picture was seen to have, where that
/// is known: it counts more than what the board says.
#[must_use]
pub fn choose(board: &Board, max_height: u32, learnt: impl Fn(usize) -> Option<u32>) -> Choice {
    let main = &board.video;
    let all = std::iter::once(main).chain(&main.profiles).enumerate();
    let best = all
        .map(|(profile, video)| made(profile, video, main, max_height, learnt(profile)))
        .min_by_key(|choice| {
            let (_, lines) = choice.size;
            // Of those that are too large the smallest: it may be smaller than the board says.
            let (large, small) = if choice.making == Making::Beyond { (0, lines) } else { (lines, 0) };
            let scales = lines != choice.video.height;
            (choice.making, small, Reverse(large), scales, choice.profile)
        });
    let own = || Choice {
        profile: 0,
        video: main.clone(),
        size: (main.width, main.height),
        making: Making::Beyond,
    };
    best.unwrap_or_else(own)
}

fn made(profile: usize, video: &Video, main: &Video, max_height: u32, learnt: Option<u32>) -> Choice {
    let smaller = scaled(video.width, video.height, max_height);
    let given = |size, making| Choice { profile, video: video.clone(), size, making };
    if video.format == VideoFormat::Raw {
        return given(smaller, Making::Given);
    }
    // A profile that names an encoder for the source of `[video]` wants it encoded again.
    let same_source = profile > 0 && video.source == main.source;
    let again = video.encoder.is_some();
    if same_source && again {
        return given(smaller, Making::Again);
    }
    let lines = learnt.unwrap_or(video.height);
    if lines <= max_height {
        return given((video.width, lines), Making::Given);
    }
    if again {
        return given(smaller, Making::Again);
    }
    if learnt.is_none() && matches!(video.source, VideoSource::V4l2 { .. }) {
        return given(smaller, Making::Asked);
    }
    given((video.width, lines), Making::Beyond)
}

/// How few lines a plan may allow, so that something is surely recorded: `None` where every plan is met.
#[must_use]
pub fn least_lines(board: &Board) -> Option<u32> {
    let all = std::iter::once(&board.video).chain(&board.video.profiles);
    let least = all.map(|video| video.height).min().unwrap_or(board.video.height);
    match choose(board, 1, |_| None).making {
        Making::Given | Making::Again => None,
        Making::Asked | Making::Beyond => Some(least),
    }
}
