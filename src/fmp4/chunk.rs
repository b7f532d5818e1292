//! `moof` and `mdat` (ISO/IEC 14496-12, 8.8.4 to 8.8.12).

use super::boxes::{BoxAt, Cursor, Walk, need};
use super::init::{self, Defaults};
use super::layout::{ChunkInfo, TrackRun};
use super::malformed::Malformed;
use crate::domain::fragment::Init;

/// `sample_is_non_sync_sample` of the sample flags.
const NON_SYNC: u32 = 0x0001_0000;

/// Reads one chunk: exactly one `moof` and one `mdat` that contains every sample.
///
/// # Errors
/// Names the box that is wrong.
pub fn read_chunk(init: &Init, bytes: &[u8]) -> Result<ChunkInfo, Malformed> {
    let mut walk = Walk::new(bytes, 0);
    let missing = || Malformed { offset: 0, what: String::from("no moof with its mdat") };
    let moof = walk.next().ok_or_else(missing)??;
    let mdat = walk.next().ok_or_else(missing)??;
    if let Some(more) = walk.next() {
        return Err(more?.bad("stands behind the mdat of a chunk"));
    }
    read(init, &moof, &mdat)
}

/// Reads a `moof` and the `mdat` behind it, at any offset.
pub(super) fn read(init: &Init, moof: &BoxAt<'_>, mdat: &BoxAt<'_>) -> Result<ChunkInfo, Malformed> {
    if !moof.is(b"moof") {
        return Err(moof.bad("stands where moof belongs"));
    }
    if !mdat.is(b"mdat") {
        return Err(mdat.bad("stands where mdat belongs"));
    }
    // The samples must be inside this mdat; offsets are relative to the moof.
    let data = (mdat.body_start() - moof.start)..(mdat.end - moof.start);
    read_moof(init, moof, &data, mdat.end)
}

/// Reads a `moof` whose samples are in `data` (offsets from the first byte of the `moof`) and whose `mdat`
/// ends at `end`.
pub(super) fn read_moof(
    init: &Init,
    moof: &BoxAt<'_>,
    data: &std::ops::Range<u64>,
    end: u64,
) -> Result<ChunkInfo, Malformed> {
    let mfhd = need(moof, b"mfhd")?;
    let mut cursor = Cursor::new(mfhd.body);
    let sequence = cursor.full().and_then(|_| cursor.u32()).ok_or_else(|| mfhd.bad("is too short"))?;
    let mut runs: Vec<TrackRun> = Vec::new();
    let mut starts_with_sync = false;
    for found in Walk::inside(moof) {
        let traf = found?;
        if !traf.is(b"traf") {
            continue;
        }
        let (run, sync) = read_traf(init, &traf, data)?;
        if run.track == init.video.id {
            starts_with_sync = sync;
        }
        if runs.iter().any(|other| other.track == run.track) {
            return Err(traf.bad("is the second of its track"));
        }
        runs.push(run);
    }
    if runs.is_empty() {
        return Err(moof.bad("has no traf"));
    }
    Ok(ChunkInfo { moof: moof.start, end, starts_with_sync, sequence, runs })
}

pub(super) struct Header {
    pub(super) track: u32,
    defaults: Defaults,
}

pub(super) fn read_tfhd(init: &Init, traf: &BoxAt<'_>) -> Result<Header, Malformed> {
    let tfhd = need(traf, b"tfhd")?;
    let mut cursor = Cursor::new(tfhd.body);
    let short = || tfhd.bad("is too short");
    let (_, flags) = cursor.full().ok_or_else(short)?;
    let track = cursor.u32().ok_or_else(short)?;
    if track != init.video.id && init.audio.is_none_or(|audio| audio.id != track) {
        return Err(tfhd.bad("names a track that the moov does not have"));
    }
    if flags & 0x01 != 0 {
        return Err(tfhd.bad("counts its data from the start of a file, not from its moof"));
    }
    let mut defaults = init::defaults(init, track)?;
    let mut optional = |flag: u32, into: &mut u32| -> Option<()> {
        if flags & flag != 0 {
            *into = cursor.u32()?;
        }
        Some(())
    };
    let mut description = 0;
    optional(0x02, &mut description).ok_or_else(short)?;
    optional(0x08, &mut defaults.duration).ok_or_else(short)?;
    optional(0x10, &mut defaults.size).ok_or_else(short)?;
    optional(0x20, &mut defaults.flags).ok_or_else(short)?;
    Ok(Header { track, defaults })
}

/// The run of one track, and whether its first sample is a sync sample.
fn read_traf(
    init: &Init,
    traf: &BoxAt<'_>,
    data: &std::ops::Range<u64>,
) -> Result<(TrackRun, bool), Malformed> {
    let header = read_tfhd(init, traf)?;
    let tfdt = need(traf, b"tfdt")?;
    let mut cursor = Cursor::new(tfdt.body);
    let decode_time = cursor
        .full()
        .and_then(|(version, _)| cursor.sized(version))
        .ok_or_else(|| tfdt.bad("is too short"))?;
    let mut samples = Samples { decode_time, ..Samples::default() };
    let mut position = None;
    for found in Walk::inside(traf) {
        let trun = found?;
        if trun.is(b"trun") {
            read_trun(&trun, header.defaults, data, &mut position, &mut samples)?;
        }
    }
    let run = TrackRun {
        track: header.track,
        decode_time,
        duration: samples.duration,
        samples: samples.count,
        bytes: samples.bytes,
        earliest_presentation: samples.earliest.unwrap_or(i64::try_from(decode_time).unwrap_or(i64::MAX)),
    };
    Ok((run, samples.first_is_sync))
}

#[derive(Default)]
struct Samples {
    decode_time: u64,
    duration: u64,
    count: u32,
    bytes: u64,
    earliest: Option<i64>,
    first_is_sync: bool,
}

fn read_trun(
    trun: &BoxAt<'_>,
    defaults: Defaults,
    data: &std::ops::Range<u64>,
    position: &mut Option<u64>,
    samples: &mut Samples,
) -> Result<(), Malformed> {
    let short = || trun.bad("is too short");
    let mut cursor = Cursor::new(trun.body);
    let (version, flags) = cursor.full().ok_or_else(short)?;
    let count = cursor.u32().ok_or_else(short)?;
    if flags & 0x01 != 0 {
        let offset = signed(cursor.u32().ok_or_else(short)?);
        *position = Some(u64::try_from(offset).map_err(|_| trun.bad("points before its moof"))?);
    }
    let first_flags = if flags & 0x04 != 0 { Some(cursor.u32().ok_or_else(short)?) } else { None };
    let mut at = position.ok_or_else(|| trun.bad("does not say where its data is"))?;
    let fields = [0x100, 0x200, 0x400, 0x800].iter().filter(|flag| flags & **flag != 0).count();
    let needed = usize::try_from(count).ok().and_then(|count| count.checked_mul(4 * fields));
    if needed.is_none_or(|needed| needed > cursor.rest().len()) {
        return Err(short());
    }
    // Samples without fields of their own take no bytes in the file: only the mdat limits their number.
    if fields == 0 && u64::from(samples.count) + u64::from(count) > data.end - data.start {
        return Err(trun.bad("has more samples than its mdat has bytes"));
    }
    for index in 0..count {
        let mut field = |flag: u32, otherwise: u32| -> Result<u32, Malformed> {
            if flags & flag != 0 { cursor.u32().ok_or_else(short) } else { Ok(otherwise) }
        };
        let duration = field(0x100, defaults.duration)?;
        let size = field(0x200, defaults.size)?;
        let sample_flags = field(0x400, first_flags.filter(|_| index == 0).unwrap_or(defaults.flags))?;
        let offset = field(0x800, 0)?;
        let offset = if version == 0 { i64::from(offset) } else { signed(offset) };
        let end = at.saturating_add(u64::from(size));
        if at < data.start || end > data.end {
            return Err(trun.bad("has a sample outside of its mdat"));
        }
        at = end;
        if samples.count == 0 {
            samples.first_is_sync = sample_flags & NON_SYNC == 0;
        }
        let decode = samples.decode_time.saturating_add(samples.duration);
        let presented = i64::try_from(decode).unwrap_or(i64::MAX).saturating_add(offset);
        samples.earliest = Some(samples.earliest.map_or(presented, |earliest| earliest.min(presented)));
        samples.duration = samples.duration.saturating_add(u64::from(duration));
        samples.count = samples.count.saturating_add(1);
        samples.bytes = samples.bytes.saturating_add(u64::from(size));
    }
    *position = Some(at);
    Ok(())
}

/// The same 32 bits in two's complement.
fn signed(field: u32) -> i64 {
    i64::from(i32::from_be_bytes(field.to_be_bytes()))
}

/// Sets the sequence number of the chunk (`mfhd`, 8.8.5) in place: a muxer may give one number to all chunks
/// of a fragment, but numbers must grow with every `moof` of a file.
///
/// # Errors
/// If a box cannot be read.
pub fn number_chunk(bytes: &mut [u8], sequence: u32) -> Result<(), Malformed> {
    let at = {
        let moof = Walk::new(bytes, 0)
            .next()
            .ok_or_else(|| Malformed { offset: 0, what: String::from("no moof") })??;
        let mfhd = need(&moof, b"mfhd")?;
        if mfhd.body.len() < 8 {
            return Err(mfhd.bad("is too short"));
        }
        mfhd.body_start() + 4
    };
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let place = bytes
        .get_mut(at..at.saturating_add(4))
        .ok_or_else(|| Malformed { offset: 0, what: String::from("mfhd is too short") })?;
    place.copy_from_slice(&sequence.to_be_bytes());
    Ok(())
}
