//! From NAL units to access units, by what their slices say.

use super::codec::{Boundary, Role, Sets, Slice, role};
use super::h264;
use crate::domain::codec::Codec;
use bytes::Bytes;
use std::sync::Arc;

/// NAL units of one access unit at most: more than that is no picture.
const MAX_NALS: usize = 4096;

/// Whether decoding can begin at a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It depends on frames before it.
    No,
    /// It can, and all that follows can be decoded then.
    Clean,
    /// It can, but frames that follow it and are shown before it may depend on what stands before.
    Open,
    /// The same, and what those depend on is not there in any case.
    Broken,
}

/// One sample of an MP4 track: a frame, or two fields that make one, with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its NAL units in order, without start codes or lengths.
    pub nals: Vec<Bytes>,
    /// Time of presentation of the first of its buffers that has one, in nanoseconds.
    pub shown: Option<i64>,
    /// The first slice.
    pub slice: Slice,
    /// The parameter sets in force.
    pub sets: Arc<Sets>,
    /// The frame behind it is shown before it (ITU-T H.265, "leading picture"), as far as that is told.
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
            // An I picture at a recovery point: what is shown before it may not be decoded then.
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

    /// It may not be decoded where decoding began at the newest [`Start::Open`] before it, which is shown at `start`;
    /// this one is shown at `shown`, in nanoseconds.
    #[must_use]
    pub fn is_lost_behind(&self, start: i64, shown: i64) -> bool {
        match &self.slice {
            Slice::H264(_) => shown < start,
            Slice::H265(slice) => slice.is_skipped(),
        }
    }
}

/// Puts access units together.
#[derive(Debug)]
pub struct Assembler {
    codec: Codec,
    sets: Arc<Sets>,
    boundary: Boundary,
    unit: Option<Unit>,
    /// What stands between two slices: of the one or of the other picture, which only the next slice tells.
    between: Vec<Bytes>,
    between_shown: Option<i64>,
    /// A sequence ended, and nothing came since.
    ended: bool,
    unreadable: u64,
    /// A sequence parameter set of the other standard came where no picture of this one was under way.
    is_other: bool,
}

impl Assembler {
    /// Nothing is known of the stream but its standard.
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

    /// Takes in the sets of a decoder configuration record (ISO/IEC 14496-15); the bytes of a length in its stream.
    pub fn learn_record(&mut self, record: &Bytes) -> Option<usize> {
        let mut sets = (*self.sets).clone();
        let size = sets.learn_record(record)?;
        if sets != *self.sets {
            self.sets = Arc::new(sets);
        }
        Some(size)
    }

    /// Slices that were left out so far: damaged, or without their parameter sets.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// It is a stream of the other standard, as far as its parameter sets tell.
    #[must_use]
    pub fn is_of_other_codec(&self) -> bool {
        self.is_other
    }

    /// What comes does not go on from what came.
    pub fn end_sequence(&mut self) {
        self.ended = true;
    }

    /// The next NAL unit. Hands back the access unit that ended before it.
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
        // What belongs to the picture before; and nothing is gathered without bound.
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

    /// As [`Assembler::finish`], but a field waits for the other one of its frame.
    pub fn finish_frame(&mut self) -> Option<Unit> {
        self.unit.take_if(|unit| !unit.slice.is_field()).inspect(|_| self.boundary.reset())
    }

    /// Nothing of the access unit under way is still to come.
    pub fn finish(&mut self) -> Option<Unit> {
        self.boundary.reset();
        self.unit.take()
    }
}
