//! A bare H.264 byte stream (ITU-T H.264, Annex B): cut into access units, and given times.
//!
//! Such a stream says neither when a picture is decoded nor when it is shown, only in what order
//! pictures are shown: by their picture order count, within what begins at an IDR. So a coded video
//! sequence is read whole, and each of its pictures is given the time of its rank.

use super::h264::{Boundary, ParameterSets, Slice, nal};
use bytes::{Bytes, BytesMut};

/// Bytes of one coded video sequence at most.
const LARGEST_SEQUENCE: usize = 128 << 20;

/// Bytes of slices that cannot be decoded, before the first that can, at most.
const MAX_SKIPPED: usize = 32 << 20;

/// A coded picture with all that belongs to it, start codes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The NAL units of the picture in Annex B form (ITU-T H.264, Annex B).
    pub bytes: Bytes,
    /// It holds an IDR slice (`nal_unit_type` 5): decoding can begin here.
    pub idr: bool,
    /// Place in decoding order, from the start of the stream.
    pub decoded: u64,
    /// Place in the order of presentation, from the start of the stream, plus a constant that
    /// keeps it from lying before `decoded`.
    pub presented: u64,
}

/// What is wrong with the stream; for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnnexB(pub String);

/// Reads a stream in portions.
#[derive(Debug, Default)]
pub struct Reader {
    /// From the start code of a NAL unit that may not be whole.
    rest: BytesMut,
    /// How far `rest` was searched for the next start code.
    searched: usize,
    /// Of the access unit under way.
    unit: BytesMut,
    unit_slice: Option<Slice>,
    /// What stands behind its last slice: of it, or of the next one.
    between: BytesMut,
    boundary: Boundary,
    sequence: Vec<Coded>,
    sequence_bytes: usize,
    sets: ParameterSets,
    order: Order,
    counted: u64,
    /// Some IDR picture had its parameter sets.
    begun: bool,
    skipped: u64,
    skipped_bytes: usize,
    /// Pictures that may be shown before ones decoded earlier; known from the first sequence.
    delay: u64,
    /// Told once what stands before was handed back.
    failed: Option<NotAnnexB>,
}

#[derive(Debug)]
struct Coded {
    bytes: Bytes,
    idr: bool,
    order: i64,
}

/// The state of 8.2.1.1.
#[derive(Debug, Default)]
struct Order {
    high: i64,
    low: i64,
    /// For streams that are shown as they are decoded.
    rank: i64,
}

impl Reader {
    /// More of the stream. Hands back the access units of every sequence that is whole.
    ///
    /// # Errors
    /// Where it is not H.264, or a sequence is larger than anything that a camera makes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<AccessUnit>, NotAnnexB> {
        if let Some(why) = self.failed.clone() {
            return Err(why);
        }
        self.rest.extend_from_slice(bytes);
        let mut units = Vec::new();
        match self.walk(&mut units) {
            Ok(()) => Ok(units),
            Err(why) => {
                // What stands before is good.
                self.close_unit(&mut units);
                self.close_sequence(&mut units);
                if units.is_empty() {
                    return Err(why);
                }
                self.failed = Some(why);
                Ok(units)
            }
        }
    }

    fn walk(&mut self, units: &mut Vec<AccessUnit>) -> Result<(), NotAnnexB> {
        // The first start code of all.
        if self.searched == 0 {
            match find_start(&self.rest, 0) {
                Some(at) => {
                    let _leading = self.rest.split_to(at);
                    self.searched = 4;
                }
                None if self.rest.len() > 1 << 20 => {
                    return Err(NotAnnexB(String::from("no start code: it is not an H.264 byte stream")));
                }
                None => return Ok(()),
            }
        }
        while let Some(at) = find_start(&self.rest, self.searched) {
            let nal = self.rest.split_to(at).freeze();
            self.searched = 4;
            self.nal(nal, units)?;
        }
        self.searched = self.rest.len().saturating_sub(4).max(4);
        if self.rest.len().saturating_add(self.sequence_bytes) > LARGEST_SEQUENCE {
            return Err(NotAnnexB(String::from("no IDR picture for 128 MiB")));
        }
        Ok(())
    }

    /// The stream is at its end: all that is left. The reader may then be given the stream again;
    /// places go on counting.
    ///
    /// # Errors
    /// As [`Reader::push`].
    pub fn finish(&mut self) -> Result<Vec<AccessUnit>, NotAnnexB> {
        if let Some(why) = self.failed.clone() {
            return Err(why);
        }
        let mut units = Vec::new();
        if self.searched > 0 {
            let nal = self.rest.split().freeze();
            self.nal(nal, &mut units)?;
        }
        if !self.begun {
            return Err(NotAnnexB(match self.skipped {
                0 => String::from("no slice in it: it is no H.264 byte stream"),
                _ => String::from("no IDR picture with its parameter sets in it"),
            }));
        }
        let between = self.between.split();
        self.unit.extend_from_slice(&between);
        self.close_unit(&mut units);
        self.close_sequence(&mut units);
        self.unit.clear();
        self.boundary.reset();
        self.searched = 0;
        self.rest.clear();
        Ok(units)
    }

    /// Slices that stand before the first IDR picture with its parameter sets: nothing could decode them.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn nal(&mut self, nal: Bytes, units: &mut Vec<AccessUnit>) -> Result<(), NotAnnexB> {
        let body = body(&nal);
        self.sequence_bytes = self.sequence_bytes.saturating_add(nal.len());
        match nal::kind(body) {
            nal::SLICE | nal::IDR => {
                let slice = Slice::read(body, &self.sets).filter(|slice| self.begun || slice.idr);
                let Some(slice) = slice else { return self.skip(&nal) };
                if slice.order_type == 1 {
                    return Err(NotAnnexB(String::from(
                        "pic_order_cnt_type 1 is not read from a bare stream: put it into an MP4 or MKV file",
                    )));
                }
                self.begun = true;
                if self.boundary.begins(&slice) {
                    self.close_unit(units);
                    self.unit_slice = Some(slice);
                }
                let between = self.between.split();
                self.unit.extend_from_slice(&between);
                self.unit.extend_from_slice(&nal);
            }
            kind => {
                if matches!(kind, nal::SPS | nal::PPS) {
                    self.sets.learn(&Bytes::copy_from_slice(body));
                }
                // The end of a sequence or of the stream, and what fills up, belong to what stands before them.
                if matches!(kind, 10..=12) && self.between.is_empty() && self.unit_slice.is_some() {
                    self.unit.extend_from_slice(&nal);
                } else {
                    self.between.extend_from_slice(&nal);
                }
            }
        }
        Ok(())
    }

    /// A slice that cannot be decoded. Among others it is passed over; where nothing else comes, it is no stream of ours.
    fn skip(&mut self, nal: &Bytes) -> Result<(), NotAnnexB> {
        self.skipped = self.skipped.saturating_add(1);
        self.skipped_bytes = self.skipped_bytes.saturating_add(nal.len());
        if !self.begun && self.skipped_bytes > MAX_SKIPPED {
            return Err(NotAnnexB(format!(
                "no IDR picture with its parameter sets within {} MiB: it is no H.264 byte stream, or it begins without them",
                MAX_SKIPPED >> 20
            )));
        }
        Ok(())
    }

    fn close_unit(&mut self, units: &mut Vec<AccessUnit>) {
        let Some(slice) = self.unit_slice.take() else { return };
        let bytes = self.unit.split().freeze();
        if slice.idr {
            let length = bytes.len();
            self.close_sequence(units);
            self.sequence_bytes = length;
        }
        let order = self.order.of(&slice);
        self.sequence.push(Coded { bytes, idr: slice.idr, order });
    }

    fn close_sequence(&mut self, units: &mut Vec<AccessUnit>) {
        let sequence = std::mem::take(&mut self.sequence);
        self.sequence_bytes = 0;
        let mut shown: Vec<usize> = (0..sequence.len()).collect();
        shown.sort_by_key(|index| sequence.get(*index).map_or(0, |coded| coded.order));
        let mut ranks = vec![0u64; sequence.len()];
        for (rank, index) in (0u64..).zip(&shown) {
            if let Some(place) = ranks.get_mut(*index) {
                *place = rank;
            }
        }
        // How far a picture is shown before its place in decoding order.
        let late =
            (0u64..).zip(&ranks).map(|(decoded, rank)| decoded.saturating_sub(*rank)).max().unwrap_or(0);
        self.delay = self.delay.max(late);
        let first = self.counted;
        for ((coded, rank), decoded) in sequence.into_iter().zip(ranks).zip(first..) {
            units.push(AccessUnit {
                bytes: coded.bytes,
                idr: coded.idr,
                decoded,
                presented: first + rank + self.delay,
            });
            self.counted += 1;
        }
    }
}

impl Order {
    fn of(&mut self, slice: &Slice) -> i64 {
        if slice.idr {
            *self = Order::default();
        }
        if slice.order_type != 0 {
            self.rank += 1;
            return self.rank;
        }
        let most = 1i64 << slice.order_bits;
        let low = i64::from(slice.order_lsb);
        let high = if low < self.low && self.low - low >= most / 2 {
            self.high + most
        } else if low > self.low && low - self.low > most / 2 {
            self.high - most
        } else {
            self.high
        };
        if slice.reference {
            (self.high, self.low) = (high, low);
        }
        high + low
    }
}

/// Where the next start code begins, its leading zero included.
fn find_start(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(3).position(|window| window == [0, 0, 1])?;
    let at = from + found;
    match at.checked_sub(1) {
        Some(before) if before >= from.saturating_sub(1) && before > 0 && bytes.get(before) == Some(&0) => {
            Some(before)
        }
        Some(0) if bytes.first() == Some(&0) && from == 0 => Some(0),
        Some(_) | None => Some(at),
    }
}

/// The NAL unit behind its start code, without the zeros behind it.
fn body(nal: &[u8]) -> &[u8] {
    let zeros = nal.iter().take_while(|byte| **byte == 0).count();
    let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    nal.get(zeros + 1..end).unwrap_or_default()
}
