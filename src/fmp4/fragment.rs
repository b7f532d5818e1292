//! Writing `moof` and `mdat` (ISO/IEC 14496-12, 8.8.4 to 8.8.12).

use super::header::{DEPENDS, SYNC};
use bytes::{BufMut, Bytes, BytesMut};

/// `default-base-is-moof`, and the default of the sample flags.
const TFHD: u32 = 0x02_0000 | 0x20;
/// The data offset, and the duration and size of each sample.
const TRUN: u32 = 0x01 | 0x100 | 0x200;
/// Flags of the first sample.
const FIRST: u32 = 0x04;
/// The composition offset of each sample.
const OFFSETS: u32 = 0x800;

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// In ticks of the track.
    pub duration: u32,
    /// From decoding to presentation, in ticks; may be negative.
    pub offset: i32,
    /// Its bytes, in pieces.
    pub data: Vec<Bytes>,
    /// Each piece is a NAL unit, and is preceded by its length in four bytes.
    pub nals: bool,
}

impl Sample {
    fn size(&self) -> u32 {
        let heads = if self.nals { 4 * self.data.len() } else { 0 };
        let size = self.data.iter().map(Bytes::len).sum::<usize>() + heads;
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}

/// The samples of one track in one chunk. Either at most the first is a sync sample, or all are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRun {
    /// `track_ID`.
    pub track: u32,
    /// `baseMediaDecodeTime`, in ticks of the track.
    pub decode_time: u64,
    /// The first sample is a sync sample.
    pub first_is_sync: bool,
    /// All are sync samples.
    pub all_are_sync: bool,
    /// In decoding order.
    pub samples: Vec<Sample>,
}

/// One `moof` with its `mdat`: the runs that have samples, in this order. `None` if they have more than 2
/// GiB, which no file reaches.
#[must_use]
pub fn write_chunk(sequence: u32, runs: &[SampleRun]) -> Option<Bytes> {
    let runs: Vec<&SampleRun> = runs.iter().filter(|run| !run.samples.is_empty()).collect();
    let sizes: Vec<u64> =
        runs.iter().map(|run| run.samples.iter().map(|sample| u64::from(sample.size())).sum()).collect();
    let moof_size = 8 + 16 + runs.iter().map(|run| traf_size(run)).sum::<usize>();
    let data: u64 = sizes.iter().sum();
    let whole = u64::try_from(moof_size).ok()?.checked_add(8)?.checked_add(data)?;
    i32::try_from(whole).ok()?;
    let mut bytes = BytesMut::with_capacity(usize::try_from(whole).ok()?);
    put_head(&mut bytes, moof_size, b"moof");
    put_head(&mut bytes, 16, b"mfhd");
    bytes.put_u32(0);
    bytes.put_u32(sequence);
    let mut offset = u64::try_from(moof_size).ok()? + 8;
    for (run, size) in runs.iter().zip(&sizes) {
        put_traf(&mut bytes, run, u32::try_from(offset).ok()?);
        offset += size;
    }
    put_head(&mut bytes, usize::try_from(data).ok()? + 8, b"mdat");
    for sample in runs.iter().flat_map(|run| &run.samples) {
        for piece in &sample.data {
            if sample.nals {
                bytes.put_u32(u32::try_from(piece.len()).unwrap_or(u32::MAX));
            }
            bytes.put_slice(piece);
        }
    }
    Some(bytes.freeze())
}

fn put_head(bytes: &mut BytesMut, size: usize, kind: &[u8; 4]) {
    bytes.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    bytes.put_slice(kind);
}

/// Whether the composition offsets must be written.
fn reorders(run: &SampleRun) -> bool {
    run.samples.iter().any(|sample| sample.offset != 0)
}

fn trun_size(run: &SampleRun) -> usize {
    let fields = if reorders(run) { 3 } else { 2 };
    let first = usize::from(run.first_is_sync && !run.all_are_sync);
    8 + 4 + 4 + 4 + 4 * first + 4 * fields * run.samples.len()
}

fn traf_size(run: &SampleRun) -> usize {
    8 + 20 + 20 + trun_size(run)
}

fn put_traf(bytes: &mut BytesMut, run: &SampleRun, data: u32) {
    put_head(bytes, traf_size(run), b"traf");
    put_head(bytes, 20, b"tfhd");
    bytes.put_u32(TFHD);
    bytes.put_u32(run.track);
    bytes.put_u32(if run.all_are_sync { SYNC } else { DEPENDS });
    put_head(bytes, 20, b"tfdt");
    bytes.put_u32(1 << 24);
    bytes.put_u64(run.decode_time);
    put_head(bytes, trun_size(run), b"trun");
    let offsets = reorders(run);
    let first = run.first_is_sync && !run.all_are_sync;
    let flags = TRUN | if first { FIRST } else { 0 } | if offsets { OFFSETS } else { 0 };
    // Offsets of version 1 are signed.
    bytes.put_u32((1 << 24) | flags);
    bytes.put_u32(u32::try_from(run.samples.len()).unwrap_or(u32::MAX));
    bytes.put_u32(data);
    if first {
        bytes.put_u32(SYNC);
    }
    for sample in &run.samples {
        bytes.put_u32(sample.duration);
        bytes.put_u32(sample.size());
        if offsets {
            bytes.put_i32(sample.offset);
        }
    }
}
