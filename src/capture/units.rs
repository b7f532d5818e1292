//! From NAL units to access units, by the headers of their slices.

use super::codec::{Boundary, Role, Sets, Slice, role};
use super::h264;
use crate::domain::codec::Codec;
use bytes::Bytes;
use std::sync::Arc;

/// Maximum number of NAL units of one access unit.
const MAX_NALS: usize = 4096;

/// Whether decoding can begin at a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It depends on frames before it.
    No,
    /// It can, and all later frames can be decoded.
    Clean,
    /// It can, but frames that lead it (decoded after it, presented before it) may depend on earlier frames.
    Open,
    /// The same, and those earlier frames are missing in any case.
    Broken,
}

/// One sample of an MP4 track: a frame, or two fields that make one, with all its NAL units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its NAL units in order, without start codes or lengths.
    pub nals: Vec<Bytes>,
    /// Time of presentation, from its first buffer that has one, in nanoseconds.
    pub shown: Option<i64>,
    /// The first slice.
    pub slice: Slice,
    /// The parameter sets in force.
    pub sets: Arc<Sets>,
    /// The next frame leads it: it is presented before it (ITU-T H.265, "leading picture").
    pub is_led: bool,
    /// A sequence ended before it.
    pub is_after_end: bool,
}

impl Unit {
    /// As a byte stream (Annex B of either standard), with the parameter sets in force before it.
    #[must_use]
    pub fn to_annex_b(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        for nal in self.sets.nals().into_iter().chain(&self.nals) {
            stream.extend_from_slice(&[0, 0, 0, 1]);
            stream.extend_from_slice(nal);
        }
        stream
    }

    /// Whether decoding can begin here.
    #[must_use]
    pub fn start(&self) -> Start {
        match &self.slice {
            Slice::H264(slice) if slice.idr => Start::Clean,
            // An I picture at a recovery point: frames presented before it may not be decodable.
            Slice::H264(slice) if slice.i && h264::is_recovery_point(&self.nals) => Start::Open,
            Slice::H264(_) => Start::No,
            Slice::H265(slice) if slice.is_broken_link() => Start::Broken,
            Slice::H265(slice) if slice.is_cra() => match (self.is_led, self.is_after_end) {
                (false, _) => Start::Clean,
                (true, false) => Start::Open,
                (true, true) => Start::Broken,
            },
            Slice::H265(slice) if slice.is_irap() => Start::Clean,
            Slice::H265(_) => Start::No,
        }
    }

    /// Whether it may not be decodable because decoding began at the last [`Start::Open`]. `start` is the presentation time
    /// of that frame and `shown` that of this one, in nanoseconds.
    #[must_use]
    pub fn is_lost_behind(&self, start: i64, shown: i64) -> bool {
        match &self.slice {
            Slice::H264(_) => shown < start,
            Slice::H265(slice) => slice.is_skipped(),
        }
    }
}

/// Assembles access units.
#[derive(Debug)]
pub struct Assembler {
    codec: Codec,
    sets: Arc<Sets>,
    boundary: Boundary,
    unit: Option<Unit>,
    /// NAL units between two slices: only the next slice shows to which access unit they belong.
    between: Vec<Bytes>,
    between_shown: Option<i64>,
    /// A sequence ended, and no frame has come since.
    ended: bool,
    unreadable: u64,
    /// A sequence parameter set of the other codec came before any frame of this one.
    is_other: bool,
}

impl Assembler {
    /// At the start of a stream of this codec.
    #[must_use]
    pub fn new(codec: Codec) -> Assembler {
        Assembler {
            codec,
            sets: Arc::new(Sets::new(codec)),
            boundary: Boundary::new(codec),
            unit: None,
            between: Vec::new(),
            between_shown: None,
            ended: false,
            unreadable: 0,
            is_other: false,
        }
    }

    /// The parameter sets so far.
    #[must_use]
    pub fn sets(&self) -> &Arc<Sets> {
        &self.sets
    }

    /// Stores the sets of a decoder configuration record (ISO/IEC 14496-15). Returns the size of a length in its stream,
    /// in bytes; `None` if the record is damaged.
    pub fn learn_record(&mut self, record: &Bytes) -> Option<usize> {
        let mut sets = (*self.sets).clone();
        let size = sets.learn_record(record)?;
        if sets != *self.sets {
            self.sets = Arc::new(sets);
        }
        Some(size)
    }

    /// The number of slices that were skipped: damaged, or without their parameter sets.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Whether it is a stream of the other codec, by its parameter sets.
    #[must_use]
    pub fn is_of_other_codec(&self) -> bool {
        self.is_other
    }

    /// The next frame does not depend on earlier ones.
    pub fn end_sequence(&mut self) {
        self.ended = true;
    }

    /// Takes the next NAL unit. Returns the access unit that ended before it.
    pub fn push(&mut self, nal: Bytes, shown: Option<i64>) -> Option<Unit> {
        if self.unit.is_none() && !self.is_other {
            self.is_other = super::codec::is_sequence_set(self.codec.other(), &nal);
        }
        let role = role(self.codec, &nal);
        match role {
            Role::Slice => return self.slice(nal, shown),
            Role::Set => self.learn(&nal),
            Role::End => self.ended = true,
            Role::Ahead | Role::Behind => {}
            Role::Foreign => return None,
        }
        // NAL units that belong to the access unit before. Their number is bounded.
        let behind = matches!(role, Role::Behind | Role::End) && self.between.is_empty();
        match self.unit.as_mut().filter(|_| behind) {
            Some(unit) if unit.nals.len() < MAX_NALS => unit.nals.push(nal),
            Some(_) => {}
            None if self.between.len() < MAX_NALS => {
                self.between_shown = self.between_shown.or(shown);
                self.between.push(nal);
            }
            None => {}
        }
        None
    }

    fn learn(&mut self, nal: &Bytes) {
        let mut sets = (*self.sets).clone();
        if sets.learn(nal) {
            self.sets = Arc::new(sets);
        }
    }

    fn slice(&mut self, nal: Bytes, shown: Option<i64>) -> Option<Unit> {
        let Some(slice) = self.sets.slice(&nal) else {
            self.unreadable = self.unreadable.saturating_add(1);
            return None;
        };
        let begins = self.boundary.begins(&slice);
        if !begins {
            if let Some(unit) = self.unit.as_mut() {
                unit.shown = unit.shown.or(self.between_shown.take()).or(shown);
                unit.nals.append(&mut self.between);
                if unit.nals.len() < MAX_NALS {
                    unit.nals.push(nal);
                }
                return None;
            }
        }
        let mut nals = std::mem::take(&mut self.between);
        nals.push(nal);
        let shown = self.between_shown.take().or(shown);
        let sets = Arc::clone(&self.sets);
        let is_after_end = std::mem::take(&mut self.ended);
        let next = Unit { nals, shown, slice, sets, is_led: false, is_after_end };
        let mut before = self.unit.replace(next)?;
        before.is_led = slice.leads();
        Some(before)
    }

    /// As [`Assembler::finish`], but a field waits for the other field of its frame.
    pub fn finish_frame(&mut self) -> Option<Unit> {
        self.unit.take_if(|unit| !unit.slice.is_field()).inspect(|_| self.boundary.reset())
    }

    /// Ends the current access unit.
    pub fn finish(&mut self) -> Option<Unit> {
        self.boundary.reset();
        self.unit.take()
    }
}
