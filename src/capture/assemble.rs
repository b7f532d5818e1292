//! From what the muxer writes to chunks.
//!
//! The muxer's own flags tell where a fragment begins, not where it ends, and a fragment that is
//! known to be complete only one chunk later would be durable only then. So every picture that goes
//! into the muxer is noted in a [`Ledger`]; a chunk takes as many off it as it holds, and if the
//! next one noted is a key frame, or none will follow, the fragment is complete.

use super::split::split;
use crate::domain::fragment::{Chunk, Epoch, Init};
use crate::domain::time::Mono;
use crate::fmp4;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

/// More pictures than this between the muxer's mouth and its end mean that it has lost count.
const MOST_PICTURES: usize = 1 << 16;
/// A box larger than this is no chunk of a camera.
const LARGEST_BOX: usize = 256 << 20;

/// What went into the muxer and has not come out.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: VecDeque<Entry>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Picture {
        key: bool,
        /// Presentation, in nanoseconds of running time.
        presented: u64,
    },
    /// The next picture is a key frame of another format.
    NewFormat,
}

impl Ledger {
    /// A picture enters the muxer; `false` where there are far too many already.
    pub fn picture(&mut self, key: bool, presented: u64) -> bool {
        if self.entries.len() >= MOST_PICTURES {
            return false;
        }
        self.entries.push_back(Entry::Picture { key, presented });
        true
    }

    /// New caps enter the muxer. It writes out what it has before it sees another picture.
    pub fn new_format(&mut self) {
        if self.entries.back() != Some(&Entry::NewFormat) {
            self.entries.push_back(Entry::NewFormat);
        }
    }

    /// No picture follows.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The place of the first key frame behind the first of the next `count` pictures.
    fn key_within(&self, count: u32) -> Option<usize> {
        let pictures = self.entries.iter().filter_map(|entry| match entry {
            Entry::Picture { key, .. } => Some(*key),
            Entry::NewFormat => None,
        });
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        pictures.take(count).enumerate().skip(1).find(|(_, key)| *key).map(|(place, _)| place)
    }

    /// Takes `count` pictures.
    fn take(&mut self, count: u32) -> Option<Taken> {
        let mut taken = None::<Taken>;
        for _ in 0..count {
            let (key, presented) = loop {
                match self.entries.pop_front()? {
                    Entry::Picture { key, presented } => break (key, presented),
                    Entry::NewFormat => {}
                }
            };
            taken = Some(match taken {
                None => Taken { starts: key, ends: false, presented },
                Some(so_far) => Taken { presented: so_far.presented.min(presented), ..so_far },
            });
        }
        let ends = match self.entries.front() {
            Some(Entry::Picture { key, .. }) => *key,
            Some(Entry::NewFormat) => true,
            None => self.ended,
        };
        taken.map(|taken| Taken { ends, ..taken })
    }
}

struct Taken {
    starts: bool,
    ends: bool,
    presented: u64,
}

/// What the muxer wrote is not what went in: the run cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

/// Puts chunks together, for one run.
#[derive(Debug)]
pub struct Assembler {
    epoch: Epoch,
    pending: BytesMut,
    /// What was cut off a chunk that held more than one GOP.
    cut: Option<Bytes>,
    header: BytesMut,
    moof: Option<Bytes>,
    init: Option<Arc<Init>>,
    /// What is taken from every `tfdt`, in nanoseconds.
    origin: Option<u64>,
    /// The last chunk's sequence number: the muxer gives one number to all chunks of a fragment.
    sequence: u32,
    /// Moofs without pictures, which were dropped.
    without_pictures: u64,
}

impl Assembler {
    /// Begins with no bytes pending; every chunk it makes bears `epoch`.
    #[must_use]
    pub fn new(epoch: Epoch) -> Assembler {
        Assembler {
            epoch,
            pending: BytesMut::new(),
            cut: None,
            header: BytesMut::new(),
            moof: None,
            init: None,
            origin: None,
            sequence: 0,
            without_pictures: 0,
        }
    }

    /// Bytes of the muxer, in any portion.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The format in force.
    #[must_use]
    pub fn init(&self) -> Option<&Arc<Init>> {
        self.init.as_ref()
    }

    /// The next chunk that is whole. `base` is the pipeline's base time, by which running time
    /// becomes `CLOCK_MONOTONIC`.
    ///
    /// # Errors
    /// Where the boxes cannot be read, or do not hold the pictures that went in.
    pub fn next_chunk(&mut self, ledger: &mut Ledger, base: u64) -> Result<Option<Chunk>, Broken> {
        if let Some(cut) = self.cut.take() {
            if let Some(chunk) = self.chunk(BytesMut::from(cut), ledger, base)? {
                return Ok(Some(chunk));
            }
        }
        while let Some((kind, body)) = self.next_box()? {
            match &kind {
                b"ftyp" => {
                    self.header.clear();
                    self.header.extend_from_slice(&body);
                }
                b"moov" => {
                    self.header.extend_from_slice(&body);
                    self.take_header()?;
                }
                b"moof" => self.moof = Some(body),
                b"mdat" => {
                    let moof =
                        self.moof.take().ok_or_else(|| Broken(String::from("an mdat without its moof")))?;
                    let mut bytes = BytesMut::with_capacity(moof.len() + body.len());
                    bytes.extend_from_slice(&moof);
                    bytes.extend_from_slice(&body);
                    if let Some(chunk) = self.chunk(bytes, ledger, base)? {
                        return Ok(Some(chunk));
                    }
                }
                // prft is ours to write; styp, sidx and mfra have no place in a chunk.
                _ => {}
            }
        }
        Ok(None)
    }

    fn next_box(&mut self) -> Result<Option<([u8; 4], Bytes)>, Broken> {
        let Some((head, rest)) = self.pending.split_first_chunk::<8>() else { return Ok(None) };
        let [a, b, c, d, kind @ ..] = *head;
        let length = match u32::from_be_bytes([a, b, c, d]) {
            1 => match rest.first_chunk::<8>() {
                Some(large) => usize::try_from(u64::from_be_bytes(*large)).unwrap_or(usize::MAX),
                None => return Ok(None),
            },
            length => usize::try_from(length).unwrap_or(usize::MAX),
        };
        if !(8..=LARGEST_BOX).contains(&length) {
            return Err(Broken(format!("a box of {length} bytes")));
        }
        if self.pending.len() < length {
            return Ok(None);
        }
        Ok(Some((kind, self.pending.split_to(length).freeze())))
    }

    fn take_header(&mut self) -> Result<(), Broken> {
        let bytes = self.header.split().freeze();
        if self.init.as_ref().is_some_and(|init| init.bytes == bytes) {
            return Ok(());
        }
        let init = fmp4::read_init(bytes).map_err(|why| Broken(format!("the header: {why}")))?;
        self.init = Some(Arc::new(init));
        Ok(())
    }

    fn chunk(
        &mut self,
        mut bytes: BytesMut,
        ledger: &mut Ledger,
        base: u64,
    ) -> Result<Option<Chunk>, Broken> {
        let init = self.init.clone().ok_or_else(|| Broken(String::from("a moof before the moov")))?;
        let read =
            |bytes: &[u8]| fmp4::read_chunk(&init, bytes).map_err(|why| Broken(format!("a chunk: {why}")));
        let pictures = |info: &fmp4::ChunkInfo| {
            info.runs.iter().find(|run| run.track == init.video.id && run.samples > 0).cloned()
        };
        let mut info = read(&bytes)?;
        let Some(mut run) = pictures(&info) else {
            // Sound alone, while the picture stood still: it belongs to no GOP.
            self.without_pictures += 1;
            if self.without_pictures == 1 {
                tracing::warn!("sound without pictures was left out");
            }
            return Ok(None);
        };
        if let Some(place) = ledger.key_within(run.samples) {
            let across = || Broken(String::from("the muxer wrote a chunk across a key frame"));
            let (before, after) = split(&init, &bytes, place).ok_or_else(across)?;
            bytes = BytesMut::from(before);
            self.cut = Some(after);
            info = read(&bytes)?;
            run = pictures(&info).ok_or_else(across)?;
        }
        let taken = ledger
            .take(run.samples)
            .ok_or_else(|| Broken(String::from("the muxer wrote more pictures than it was given")))?;
        if taken.starts != info.starts_with_sync {
            return Err(Broken(String::from("the muxer lost count of its pictures")));
        }
        let timescale = u64::from(init.video.timescale.max(1));
        let origin = *self.origin.get_or_insert_with(|| nanos(run.decode_time, timescale));
        fmp4::rebase_chunk(&init, &mut bytes, origin).map_err(|why| Broken(format!("a chunk: {why}")))?;
        self.sequence = self.sequence.wrapping_add(1);
        fmp4::number_chunk(&mut bytes, self.sequence).map_err(|why| Broken(format!("a chunk: {why}")))?;
        Ok(Some(Chunk {
            epoch: self.epoch,
            bytes: bytes.freeze(),
            starts_fragment: taken.starts,
            ends_fragment: taken.ends,
            start: Mono(base.saturating_add(taken.presented)),
            duration: nanos(run.duration, timescale),
            frames: run.samples,
            init,
        }))
    }
}

/// Ticks as nanoseconds, rounded down.
fn nanos(ticks: u64, timescale: u64) -> u64 {
    u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(timescale)).unwrap_or(u64::MAX)
}
