//! From NAL units to access units, by what their slices say.

use super::nal;
use super::sets::ParameterSets;
use super::slice::{Boundary, Slice};
use bytes::Bytes;
use std::sync::Arc;

/// NAL units of one access unit at most: more than that is no picture.
const MAX_NALS: usize = 4096;

/// One sample of an MP4 track: a frame, or two fields that make one, with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its NAL units in order, without start codes or lengths.
    pub nals: Vec<Bytes>,
    /// Time of presentation of the first of its buffers that has one, in nanoseconds.
    pub shown: Option<i64>,
    /// Decoding can begin here.
    pub idr: bool,
    /// The first slice.
    pub slice: Slice,
    /// The parameter sets in force.
    pub sets: Arc<ParameterSets>,
}

impl Unit {
    /// As a byte stream (ITU-T H.264, Annex B), with the parameter sets in force before it.
    #[must_use]
    pub fn to_annex_b(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        for nal in self.sets.nals().chain(self.nals.iter()) {
            stream.extend_from_slice(&[0, 0, 0, 1]);
            stream.extend_from_slice(nal);
        }
        stream
    }

    /// Decoding can begin here as well, though it is no IDR picture: an I picture at a recovery point. What is shown before
    /// it may not be decoded then.
    #[must_use]
    pub fn is_recovery_point(&self) -> bool {
        !self.idr && self.slice.i && super::recovery::begins(&self.nals)
    }
}

/// Puts access units together.
#[derive(Debug, Default)]
pub struct Assembler {
    sets: Arc<ParameterSets>,
    boundary: Boundary,
    unit: Option<Unit>,
    /// What stands between two slices: of the one or of the other picture, which only the next slice tells.
    between: Vec<Bytes>,
    between_shown: Option<i64>,
    unreadable: u64,
}

impl Assembler {
    /// The parameter sets so far.
    #[must_use]
    pub fn sets(&self) -> &Arc<ParameterSets> {
        &self.sets
    }

    /// Takes in the sets of an `AVCDecoderConfigurationRecord`; the bytes of a length in its stream.
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

    /// The next NAL unit. Hands back the access unit that ended before it.
    pub fn push(&mut self, nal: Bytes, shown: Option<i64>) -> Option<Unit> {
        match nal::kind(&nal) {
            nal::SLICE | nal::IDR => self.slice(nal, shown),
            kind => {
                if matches!(kind, nal::SPS | nal::PPS) {
                    self.learn(&nal);
                }
                // The end of a sequence or of the stream, and what fills up, belong to what stands before them;
                // and nothing is gathered without bound.
                match self.unit.as_mut().filter(|_| matches!(kind, 10..=12) && self.between.is_empty()) {
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
        }
    }

    fn learn(&mut self, nal: &Bytes) {
        let mut sets = (*self.sets).clone();
        if sets.learn(nal) {
            self.sets = Arc::new(sets);
        }
    }

    fn slice(&mut self, nal: Bytes, shown: Option<i64>) -> Option<Unit> {
        let Some(slice) = Slice::read(&nal, &self.sets) else {
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
        self.unit.replace(Unit { nals, shown, idr: slice.idr, slice, sets })
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
