//! A bare byte stream (Annex B of ITU-T H.264 and of ITU-T H.265), split into access units with times.
//!
//! Such a stream has no times of decoding or presentation. It has only the order of presentation, as the picture order
//! count within a sequence that begins at an IDR frame (H.265: or at another frame at which decoding can begin). So a
//! whole sequence is read, and each of its frames gets the time of its rank.

use super::codec::{self, Boundary, Order, Role, Sets, Slice};
use crate::domain::codec::Codec;
use bytes::{Bytes, BytesMut};

/// Maximum bytes of one coded video sequence.
const MAX_SEQUENCE: usize = 128 << 20;

/// Maximum bytes of slices that cannot be decoded, before the first one that can.
const MAX_SKIPPED: usize = 32 << 20;

/// `end_of_seq_rbsp( )` of H.265 (7.3.2.6), with its start code.
const END_OF_SEQUENCE: &[u8] = &[0, 0, 0, 1, super::h265::nal::END_OF_SEQUENCE << 1, 1];

/// A coded frame with all its NAL units, start codes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The NAL units in Annex B form.
    pub bytes: Bytes,
    /// Decoding can begin here.
    pub idr: bool,
    /// Place in decoding order, from the start of the stream.
    pub decoded: u64,
    /// Place in the order of presentation, from the start of the stream, plus a constant so that it is
    /// never less than `decoded`.
    pub presented: u64,
}

/// Why a stream cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAnnexB {
    /// It is a stream of this other codec.
    Other(Codec),
    /// Any other reason; for people.
    Unread(String),
}

/// Reads a stream in parts.
#[derive(Debug)]
pub struct StreamReader {
    codec: Codec,
    /// The bytes from the start code of a NAL unit that may not be complete.
    rest: BytesMut,
    /// How far `rest` was searched for the next start code.
    searched: usize,
    /// The bytes of the current access unit.
    unit: BytesMut,
    unit_slice: Option<Slice>,
    /// NAL units after its last slice: they belong to it or to the next one.
    between: BytesMut,
    boundary: Boundary,
    sequence: Vec<Coded>,
    sequence_bytes: usize,
    sets: Sets,
    count: Count,
    /// The stream begins with a frame whose leading frames may not be decodable.
    opens: bool,
    counted: u64,
    /// An IDR frame with its parameter sets has come.
    begun: bool,
    skipped: u64,
    skipped_bytes: usize,
    /// Frames that may be presented before ones decoded earlier; known from the first sequence.
    delay: u64,
    /// The error to return after the access units before it.
    failed: Option<NotAnnexB>,
}

#[derive(Debug)]
struct Coded {
    bytes: Bytes,
    idr: bool,
    order: i64,
}

/// The state of 8.2.1.1 of ITU-T H.264, and of 8.3.1 of ITU-T H.265.
#[derive(Debug, Default)]
struct Count {
    high: i64,
    low: i64,
    /// For streams in which no frame is reordered.
    rank: i64,
}

impl Default for StreamReader {
    fn default() -> StreamReader {
        StreamReader::new(Codec::H264)
    }
}

impl StreamReader {
    /// A reader at the start of a stream of this codec.
    #[must_use]
    pub fn new(codec: Codec) -> StreamReader {
        StreamReader {
            codec,
            rest: BytesMut::new(),
            searched: 0,
            unit: BytesMut::new(),
            unit_slice: None,
            between: BytesMut::new(),
            boundary: Boundary::new(codec),
            sequence: Vec::new(),
            sequence_bytes: 0,
            sets: Sets::new(codec),
            count: Count::default(),
            opens: false,
            counted: 0,
            begun: false,
            skipped: 0,
            skipped_bytes: 0,
            delay: 0,
            failed: None,
        }
    }

    fn unread<T>(&self, why: &str) -> Result<T, NotAnnexB> {
        Err(NotAnnexB::Unread(why.replace("{}", self.codec.name())))
    }

    /// Takes more of the stream. Returns the access units of every complete sequence.
    ///
    /// # Errors
    /// If it is of another codec or of none, or a sequence has more than 128 MiB.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<AccessUnit>, NotAnnexB> {
        if let Some(why) = self.failed.clone() {
            return Err(why);
        }
        self.rest.extend_from_slice(bytes);
        let mut units = Vec::new();
        match self.walk(&mut units) {
            Ok(()) => Ok(units),
            Err(why) => {
                // The access units before the error are good.
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
        // The first start code of the stream.
        if self.searched == 0 {
            match find_start(&self.rest, 0) {
                Some(at) => {
                    let _leading = self.rest.split_to(at);
                    self.searched = 4;
                }
                None if self.rest.len() > 1 << 20 => {
                    return self.unread("no start code: it is not an {} byte stream");
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
        if self.rest.len().saturating_add(self.sequence_bytes) > MAX_SEQUENCE {
            return self.unread("no IDR frame in 128 MiB");
        }
        Ok(())
    }

    /// Ends the stream and returns the rest. The reader can then read the stream again; the places continue
    /// to count.
    ///
    /// # Errors
    /// As [`StreamReader::push`].
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
            return self.unread(match self.skipped {
                0 => "no slice in it: it is not an {} byte stream",
                _ => "no IDR frame with its parameter sets in it",
            });
        }
        let between = self.between.split();
        self.unit.extend_from_slice(&between);
        if self.opens {
            // A repeated stream does not continue from here.
            self.unit.extend_from_slice(END_OF_SEQUENCE);
        }
        self.close_unit(&mut units);
        self.close_sequence(&mut units);
        self.unit.clear();
        self.boundary.reset();
        self.searched = 0;
        self.rest.clear();
        Ok(units)
    }

    /// The number of slices before the first IDR frame with its parameter sets: nothing can decode them.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn nal(&mut self, nal: Bytes, units: &mut Vec<AccessUnit>) -> Result<(), NotAnnexB> {
        let body = body(&nal);
        self.sequence_bytes = self.sequence_bytes.saturating_add(nal.len());
        if !self.begun && codec::is_sequence_set(self.codec.other(), body) {
            return Err(NotAnnexB::Other(self.codec.other()));
        }
        let role = codec::role(self.codec, body);
        match role {
            Role::Slice => {
                let slice = self.sets.slice(body).filter(|slice| self.begun || slice.begins_sequence());
                let Some(slice) = slice else { return self.skip(&nal) };
                if slice.order() == Order::Unknown {
                    return self.unread(
                        "pic_order_cnt_type 1 is not read from a bare stream: put it into an MP4 or MKV file",
                    );
                }
                if self.boundary.begins(&slice) {
                    self.close_unit(units);
                    self.opens |= !self.begun && slice.may_open();
                    self.unit_slice = Some(slice);
                }
                self.begun = true;
                let between = self.between.split();
                self.unit.extend_from_slice(&between);
                self.unit.extend_from_slice(&nal);
                return Ok(());
            }
            Role::Set => {
                self.sets.learn(&Bytes::copy_from_slice(body));
            }
            Role::Ahead | Role::Behind | Role::End => {}
            Role::Foreign => return Ok(()),
        }
        // NAL units that belong to the access unit before them.
        let behind = matches!(role, Role::Behind | Role::End);
        if behind && self.between.is_empty() && self.unit_slice.is_some() {
            self.unit.extend_from_slice(&nal);
        } else {
            self.between.extend_from_slice(&nal);
        }
        Ok(())
    }

    /// Skips a slice that cannot be decoded, up to a limit if none can be.
    fn skip(&mut self, nal: &Bytes) -> Result<(), NotAnnexB> {
        self.skipped = self.skipped.saturating_add(1);
        self.skipped_bytes = self.skipped_bytes.saturating_add(nal.len());
        if !self.begun && self.skipped_bytes > MAX_SKIPPED {
            return self.unread(
                "no IDR frame with its parameter sets in 32 MiB: it is not an {} byte stream, or it begins without them",
            );
        }
        Ok(())
    }

    fn close_unit(&mut self, units: &mut Vec<AccessUnit>) {
        let Some(slice) = self.unit_slice.take() else { return };
        let bytes = self.unit.split().freeze();
        let idr = slice.begins_sequence();
        if idr {
            let length = bytes.len();
            self.close_sequence(units);
            self.sequence_bytes = length;
        }
        let order = self.count.of(slice.order());
        self.sequence.push(Coded { bytes, idr, order });
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
        // How many places a frame is presented before its place in decoding order.
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

impl Count {
    /// The picture order count, or a number that sorts the frames of a sequence in the same way.
    fn of(&mut self, order: Order) -> i64 {
        let Order::Counted { anew, lsb, bits, anchor } = order else {
            self.rank += 1;
            return self.rank;
        };
        if anew {
            *self = Count::default();
        }
        let most = 1i64 << bits;
        let low = i64::from(lsb);
        let high = if low < self.low && self.low - low >= most / 2 {
            self.high + most
        } else if low > self.low && low - self.low > most / 2 {
            self.high - most
        } else {
            self.high
        };
        if anchor {
            (self.high, self.low) = (high, low);
        }
        high + low
    }
}

/// The start of the next start code, its leading zero included.
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

/// The NAL unit after its start code, without trailing zeros.
fn body(nal: &[u8]) -> &[u8] {
    let zeros = nal.iter().take_while(|byte| **byte == 0).count();
    let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    nal.get(zeros + 1..end).unwrap_or_default()
}
