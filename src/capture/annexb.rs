//! A bare H.264 byte stream (ITU-T H.264, Annex B): cut into access units, and given times.
//!
//! Such a stream says neither when a picture is decoded nor when it is shown, only in what order
//! pictures are shown: by their picture order count, within what begins at an IDR. So a coded video
//! sequence is read whole, and each of its pictures is given the time of its rank.

use bytes::{Bytes, BytesMut};

/// Bytes of one coded video sequence at most.
const LARGEST_SEQUENCE: usize = 128 << 20;

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
    sequence: Vec<Coded>,
    sequence_bytes: usize,
    sets: Vec<Set>,
    pairs: Vec<(u32, u32)>,
    order: Order,
    counted: u64,
    /// Pictures that may be shown before ones decoded earlier; known from the first sequence.
    delay: u64,
}

#[derive(Debug)]
struct Coded {
    bytes: Bytes,
    idr: bool,
    order: i64,
}

/// What of a sequence parameter set tells the order of pictures.
#[derive(Clone, Copy, Debug)]
struct Set {
    id: u32,
    frame_num_bits: u32,
    order_type: u32,
    order_bits: u32,
    frames_only: bool,
    separate_planes: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    idr: bool,
    reference: bool,
    order_type: u32,
    order_bits: u32,
    order_lsb: u32,
    frame_num: u32,
    idr_id: u32,
    bottom: bool,
    field: bool,
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
        self.rest.extend_from_slice(bytes);
        let mut units = Vec::new();
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
                None => return Ok(units),
            }
        }
        while let Some(at) = find_start(&self.rest, self.searched) {
            let nal = self.rest.split_to(at).freeze();
            self.searched = 4;
            self.nal(nal, &mut units)?;
        }
        self.searched = self.rest.len().saturating_sub(4).max(4);
        if self.rest.len().saturating_add(self.sequence_bytes) > LARGEST_SEQUENCE {
            return Err(NotAnnexB(String::from("no IDR picture for 128 MiB")));
        }
        Ok(units)
    }

    /// The stream is at its end: all that is left. The reader may then be given the stream again;
    /// places go on counting.
    ///
    /// # Errors
    /// As [`Reader::push`].
    pub fn finish(&mut self) -> Result<Vec<AccessUnit>, NotAnnexB> {
        let mut units = Vec::new();
        if self.searched > 0 {
            let nal = self.rest.split().freeze();
            self.nal(nal, &mut units)?;
        }
        self.close_unit(&mut units);
        self.close_sequence(&mut units);
        self.searched = 0;
        self.rest.clear();
        Ok(units)
    }

    fn nal(&mut self, nal: Bytes, units: &mut Vec<AccessUnit>) -> Result<(), NotAnnexB> {
        let body = body(&nal);
        let Some(&head) = body.first() else { return Ok(()) };
        let kind = head & 0x1f;
        match kind {
            1 | 5 => {
                let slice = self.slice(body)?;
                if self.unit_slice.is_some_and(|before| before.begins_another(&slice)) {
                    self.close_unit(units);
                }
                self.unit_slice = Some(slice);
            }
            7 => {
                self.begin_after_picture(units);
                let set = parse_set(body)
                    .ok_or_else(|| NotAnnexB(String::from("a sequence parameter set is damaged")))?;
                self.sets.retain(|known| known.id != set.id);
                self.sets.push(set);
            }
            8 => {
                self.begin_after_picture(units);
                let mut bits = Bits::new(body.get(1..).unwrap_or_default());
                if let (Some(picture), Some(sequence)) = (bits.ue(), bits.ue()) {
                    self.pairs.retain(|(known, _)| *known != picture);
                    self.pairs.push((picture, sequence));
                }
            }
            // 7.4.1.2.3: these stand before the first slice of a picture.
            6 | 9 | 14..=18 => self.begin_after_picture(units),
            _ => {}
        }
        self.sequence_bytes = self.sequence_bytes.saturating_add(nal.len());
        self.unit.extend_from_slice(&nal);
        Ok(())
    }

    fn begin_after_picture(&mut self, units: &mut Vec<AccessUnit>) {
        if self.unit_slice.is_some() {
            self.close_unit(units);
        }
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

    fn slice(&self, body: &[u8]) -> Result<Slice, NotAnnexB> {
        let damaged = || NotAnnexB(String::from("a slice header is damaged"));
        let head = *body.first().ok_or_else(damaged)?;
        let idr = head & 0x1f == 5;
        let unescaped = unescape(body.get(1..).unwrap_or_default(), 64);
        let mut bits = Bits::new(&unescaped);
        let _first_macroblock = bits.ue().ok_or_else(damaged)?;
        let _slice_type = bits.ue().ok_or_else(damaged)?;
        let picture = bits.ue().ok_or_else(damaged)?;
        let sequence = self.pairs.iter().find(|(known, _)| *known == picture).map(|(_, sequence)| *sequence);
        let set = sequence
            .and_then(|sequence| self.sets.iter().find(|set| set.id == sequence))
            .ok_or_else(|| NotAnnexB(String::from("a slice comes before its parameter sets")))?;
        if set.order_type == 1 {
            return Err(NotAnnexB(String::from(
                "pic_order_cnt_type 1 is not read from a bare stream: put it into an MP4 or MKV file",
            )));
        }
        if set.separate_planes {
            bits.take(2).ok_or_else(damaged)?;
        }
        let frame_num = bits.take(set.frame_num_bits).ok_or_else(damaged)?;
        let (mut field, mut bottom) = (false, false);
        if !set.frames_only {
            field = bits.take(1).ok_or_else(damaged)? == 1;
            bottom = field && bits.take(1).ok_or_else(damaged)? == 1;
        }
        let idr_id = if idr { bits.ue().ok_or_else(damaged)? } else { 0 };
        let order_lsb = if set.order_type == 0 { bits.take(set.order_bits).ok_or_else(damaged)? } else { 0 };
        Ok(Slice {
            idr,
            reference: head & 0x60 != 0,
            order_type: set.order_type,
            order_bits: set.order_bits,
            order_lsb,
            frame_num,
            idr_id,
            bottom,
            field,
        })
    }
}

impl Slice {
    /// 7.4.1.2.4. The second field of a frame belongs to the same access unit here, since it is
    /// one sample of an MP4 track.
    fn begins_another(&self, next: &Slice) -> bool {
        if self.field && next.field && self.bottom != next.bottom && self.frame_num == next.frame_num {
            return false;
        }
        self.frame_num != next.frame_num
            || self.idr != next.idr
            || self.idr_id != next.idr_id
            || self.reference != next.reference
            || self.order_lsb != next.order_lsb
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

fn parse_set(body: &[u8]) -> Option<Set> {
    let unescaped = unescape(body.get(1..)?, 256);
    let mut bits = Bits::new(&unescaped);
    let profile = bits.take(8)?;
    bits.take(16)?;
    let id = bits.ue()?;
    let mut separate_planes = false;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        let chroma = bits.ue()?;
        if chroma == 3 {
            separate_planes = bits.take(1)? == 1;
        }
        bits.ue()?;
        bits.ue()?;
        bits.take(1)?;
        if bits.take(1)? == 1 {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.take(1)? == 1 {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    let frame_num_bits = bits.ue()?.checked_add(4).filter(|bits| *bits <= 16)?;
    let order_type = bits.ue()?;
    let mut order_bits = 0;
    match order_type {
        0 => order_bits = bits.ue()?.checked_add(4).filter(|bits| *bits <= 16)?,
        1 => {
            bits.take(1)?;
            bits.ue()?;
            bits.ue()?;
            for _ in 0..bits.ue().filter(|count| *count <= 255)? {
                bits.ue()?;
            }
        }
        2 => {}
        _ => return None,
    }
    bits.ue()?;
    bits.take(1)?;
    bits.ue()?;
    bits.ue()?;
    let frames_only = bits.take(1)? == 1;
    Some(Set { id, frame_num_bits, order_type, order_bits, frames_only, separate_planes })
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            let coded = i64::from(bits.ue()?);
            let delta = if coded % 2 == 1 { (coded + 1) / 2 } else { -(coded / 2) };
            next = (last + delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
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

/// The NAL unit behind its start code.
fn body(nal: &[u8]) -> &[u8] {
    let zeros = nal.iter().take_while(|byte| **byte == 0).count();
    nal.get(zeros + 1..).unwrap_or_default()
}

/// Takes the emulation prevention bytes out of the first `most` bytes (7.4.1).
fn unescape(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut plain = Vec::with_capacity(most.min(bytes.len()));
    let mut zeros = 0;
    for byte in bytes.iter().take(most) {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}

/// Bits, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// Exp-Golomb, unsigned (9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.take(zeros)?;
        (1u32 << zeros).checked_add(rest)?.checked_sub(1)
    }
}
