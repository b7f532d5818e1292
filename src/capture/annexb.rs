//! A bare byte stream (Annex B of ITU-T H.264 and of ITU-T H.265): cut into access units, and given times.
//!
//! Such a stream says neither when a picture is decoded nor when it is shown, only in what order
//! pictures are shown: by their picture order count, within what begins at an IDR (H.265: or at another picture at which
//! decoding can begin). So such a sequence is read whole, and each of its pictures is given the time of its rank.

use super::codec::{self, Boundary, Order, Role, Sets, Slice};
use crate::domain::codec::Codec;
use bytes::{Bytes, BytesMut};

/// Bytes of one coded video sequence at most.
const LARGEST_SEQUENCE: usize = 128 << 20;

/// Bytes of slices that cannot be decoded, before the first that can, at most.
const MAX_SKIPPED: usize = 32 << 20;

/// `end_of_seq_rbsp( )` of H.265 (7.3.2.6), with its start code.
const END_OF_SEQUENCE: &[u8] = &[0, 0, 0, 1, super::h265::nal::END_OF_SEQUENCE << 1, 1];

/// A coded picture with all that belongs to it, start codes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The NAL units of the picture in Annex B form.
    pub bytes: Bytes,
    /// Decoding can begin here.
    pub idr: bool,
    /// Place in decoding order, from the start of the stream.
    pub decoded: u64,
    /// Place in the order of presentation, from the start of the stream, plus a constant that
    /// keeps it from lying before `decoded`.
    pub presented: u64,
}

/// What is wrong with the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAnnexB {
    /// It is a stream of this other standard.
    Other(Codec),
    /// Anything else; for people.
    Unread(String),
}

/// Reads a stream in portions.
#[derive(Debug)]
pub struct Reader {
    codec: Codec,
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
    sets: Sets,
    count: Count,
    /// The first picture of all may have others that lead it and depend on what is not there.
    opens: bool,
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

/// The state of 8.2.1.1 of ITU-T H.264, and of 8.3.1 of ITU-T H.265.
#[derive(Debug, Default)]
struct Count {
    high: i64,
    low: i64,
    /// For streams that are shown as they are decoded.
    rank: i64,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader::new(Codec::H264)
    }
}

impl Reader {
    /// At the start of a stream of this standard.
    #[must_use]
    pub fn new(codec: Codec) -> Reader {
        Reader {
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

    /// More of the stream. Hands back the access units of every sequence that is whole.
    ///
    /// # Errors
    /// Where it is of another standard, or of none, or a sequence is larger than anything that a camera makes.
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
        if self.rest.len().saturating_add(self.sequence_bytes) > LARGEST_SEQUENCE {
            return self.unread("no IDR picture for 128 MiB");
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
            return self.unread(match self.skipped {
                0 => "no slice in it: it is no {} byte stream",
                _ => "no IDR picture with its parameter sets in it",
            });
        }
        let between = self.between.split();
        self.unit.extend_from_slice(&between);
        if self.opens {
            // Given again, it does not go on from here.
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

    /// Slices that stand before the first IDR picture with its parameter sets: nothing could decode them.
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
        // What belongs to what stands before it.
        let behind = matches!(role, Role::Behind | Role::End);
        if behind && self.between.is_empty() && self.unit_slice.is_some() {
            self.unit.extend_from_slice(&nal);
        } else {
            self.between.extend_from_slice(&nal);
        }
        Ok(())
    }

    /// A slice that cannot be decoded. Among others it is passed over; where nothing else comes, it is no stream of ours.
    fn skip(&mut self, nal: &Bytes) -> Result<(), NotAnnexB> {
        self.skipped = self.skipped.saturating_add(1);
        self.skipped_bytes = self.skipped_bytes.saturating_add(nal.len());
        if !self.begun && self.skipped_bytes > MAX_SKIPPED {
            return self.unread(
                "no IDR picture with its parameter sets within 32 MiB: it is no {} byte stream, or it begins without them",
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

impl Count {
    /// The picture order count, or what sorts as it does among the pictures of a sequence.
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
