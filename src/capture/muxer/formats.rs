//! The format of a run: the `moov`, made from the parameter sets. It changes only at the start of a fragment.

use super::samples::Frame;
use crate::capture::codec::{SequenceFormat, Sets};
use crate::domain::fragment::Init;
use crate::fmp4::{self, AudioDescription, VideoDescription};
use std::collections::VecDeque;
use std::sync::Arc;

/// A second, in nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// If the parameter sets change this often within [`NEW_SETS_INTERVAL`], they are stored in band from then on.
const MAX_NEW_SETS: usize = 3;
/// In nanoseconds.
const NEW_SETS_INTERVAL: i64 = 120 * SECOND;

/// A frame has more lines than the plan allows.
#[derive(Debug)]
pub(super) struct TooManyLines(pub(super) u32);

/// The current `moov`.
#[derive(Debug)]
pub(super) struct Header {
    init: Arc<Init>,
    frame_format: Arc<VideoDescription>,
    pub(super) audio_format: Option<Arc<AudioDescription>>,
}

/// The formats of a run.
#[derive(Debug)]
pub(super) struct Formats {
    max_height: u32,
    /// Rotation for display: clockwise quarter turns.
    pub(super) turns: u8,
    /// The parameter sets from which `current` was made.
    sets: Option<Arc<Sets>>,
    /// The format of the newest frames; `None` before the first.
    pub(super) current: Option<Arc<VideoDescription>>,
    /// Times of the last changes of the parameter sets, in nanoseconds.
    new_sets: VecDeque<i64>,
    /// The `moov` of the last chunk.
    pub(super) header: Option<Header>,
}

impl Formats {
    pub(super) fn new(max_height: u32, turns: u8) -> Formats {
        Formats { max_height, turns, sets: None, current: None, new_sets: VecDeque::new(), header: None }
    }

    /// Whether the current format was made from these sets.
    pub(super) fn has(&self, sets: &Arc<Sets>) -> bool {
        self.sets.as_ref().is_some_and(|known| Arc::ptr_eq(known, sets))
    }

    /// Sets the format for the `moov` from this frame on, at which decoding begins.
    pub(super) fn change(
        &mut self,
        found: SequenceFormat,
        sets: &Arc<Sets>,
        shown: i64,
    ) -> Result<(), TooManyLines> {
        self.set_format(found, shown)?;
        self.sets = Some(Arc::clone(sets));
        Ok(())
    }

    fn set_format(&mut self, found: SequenceFormat, shown: i64) -> Result<(), TooManyLines> {
        let before = self.current.as_deref();
        if before.is_some_and(|before| before.sets == found.sets) {
            return Ok(());
        }
        // The `moov` states profile and level in either case.
        let alike = before.is_some_and(|before| {
            before.size == found.size
                && before.aspect == found.aspect
                && before.chroma == found.chroma
                && before.depths == found.depths
                && before.sets.has_profile_of(&found.sets)
        });
        if alike && before.is_some_and(|before| before.sets_in_band) {
            return Ok(());
        }
        if found.size.1 > self.max_height {
            return Err(TooManyLines(found.size.1));
        }
        self.new_sets.retain(|at| shown.saturating_sub(*at) < NEW_SETS_INTERVAL);
        if alike {
            self.new_sets.push_back(shown);
        }
        self.current = Some(Arc::new(VideoDescription {
            sets: found.sets,
            size: found.size,
            aspect: found.aspect,
            chroma: found.chroma,
            depths: found.depths,
            sets_in_band: self.new_sets.len() >= MAX_NEW_SETS,
            turns: self.turns,
        }));
        Ok(())
    }

    /// The `moov` for a chunk that begins with this frame. It changes only at the start of a fragment.
    pub(super) fn init(&mut self, first: &Frame, audio: Option<&Arc<AudioDescription>>) -> Option<Arc<Init>> {
        if let Some(header) = &self.header {
            let same = Arc::ptr_eq(&header.frame_format, &first.raw.frame_format)
                && header.audio_format.as_ref() == audio;
            if same || !first.raw.begins {
                return Some(Arc::clone(&header.init));
            }
        }
        let bytes = fmp4::write_init(&first.raw.frame_format, audio.map(|format| &**format));
        let init = Arc::new(fmp4::read_init(bytes).ok()?);
        let frame_format = Arc::clone(&first.raw.frame_format);
        self.header = Some(Header { init: Arc::clone(&init), frame_format, audio_format: audio.cloned() });
        Some(init)
    }
}
