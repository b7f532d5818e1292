//! Cuts a chunk in two where a key frame lies within.
//!
//! When its streams end the muxer writes all that it still has as one `moof`, be it more than one
//! GOP. Reads what that muxer writes (ISO/IEC 14496-12, 8.8), and nothing more general.

use crate::domain::fragment::Init;
use bytes::Bytes;

/// `default-base-is-moof` of `tfhd`.
const BASE_IS_MOOF: u32 = 0x02_0000;
/// Data offset, and each sample's duration, size, flags and composition time offset.
const TRUN_FLAGS: u32 = 0x0f01;

struct Sample<'a> {
    duration: u32,
    flags: u32,
    composition: i32,
    data: &'a [u8],
}

struct Track<'a> {
    id: u32,
    decode_time: u64,
    samples: Vec<Sample<'a>>,
}

/// The chunk in two: the second begins with the picture of this index, and with the sound that is
/// heard from then on. `None` where the chunk is not of the muxer's kind, or there is no such picture.
#[must_use]
pub fn split(init: &Init, chunk: &[u8], picture: usize) -> Option<(Bytes, Bytes)> {
    let (sequence, tracks) = read(chunk)?;
    let video = tracks.iter().find(|track| track.id == init.video.id)?;
    let sample = video.samples.get(picture)?;
    let decode_time = video.decode_time.checked_add(elapsed(video.samples.get(..picture)?))?;
    let shown = i128::from(decode_time) + i128::from(sample.composition);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for mut track in tracks {
        let index = if track.id == init.video.id {
            picture
        } else {
            let audio = init.audio.filter(|audio| audio.id == track.id)?;
            let mut time = track.decode_time;
            track
                .samples
                .iter()
                .position(|sample| {
                    let here = time;
                    time = time.saturating_add(u64::from(sample.duration));
                    i128::from(here) * i128::from(init.video.timescale) >= shown * i128::from(audio.timescale)
                })
                .unwrap_or(track.samples.len())
        };
        let rest = track.samples.split_off(index);
        let later = track.decode_time.checked_add(elapsed(&track.samples))?;
        if !rest.is_empty() {
            after.push(Track { id: track.id, decode_time: later, samples: rest });
        }
        if !track.samples.is_empty() {
            before.push(track);
        }
    }
    Some((write(sequence, &before)?, write(sequence, &after)?))
}

fn elapsed(samples: &[Sample<'_>]) -> u64 {
    samples.iter().map(|sample| u64::from(sample.duration)).sum()
}

fn read(chunk: &[u8]) -> Option<(u32, Vec<Track<'_>>)> {
    let moof = boxes(chunk).find(|(kind, _)| *kind == b"moof")?.1;
    let mut sequence = 0;
    let mut tracks = Vec::new();
    for (kind, body) in boxes(moof) {
        match kind {
            b"mfhd" => sequence = Fields(body.get(4..)?).u32()?,
            b"traf" => tracks.push(read_traf(chunk, body)?),
            _ => {}
        }
    }
    Some((sequence, tracks))
}

fn read_traf<'a>(chunk: &'a [u8], traf: &'a [u8]) -> Option<Track<'a>> {
    let mut tfhd = Fields(boxes(traf).find(|(kind, _)| *kind == b"tfhd")?.1);
    let present = tfhd.u32()? & 0x00ff_ffff;
    let id = tfhd.u32()?;
    if present & 0x03 != 0 {
        return None;
    }
    let mut default = |flag: u32| if present & flag != 0 { tfhd.u32().map(Some) } else { Some(None) };
    let (duration, size, flags) = (default(0x08)?, default(0x10)?, default(0x20)?);
    let mut tfdt = Fields(boxes(traf).find(|(kind, _)| *kind == b"tfdt")?.1);
    let decode_time = if tfdt.u32()? >> 24 == 0 {
        u64::from(tfdt.u32()?)
    } else {
        (u64::from(tfdt.u32()?) << 32) | u64::from(tfdt.u32()?)
    };
    let mut samples = Vec::new();
    for (_, trun) in boxes(traf).filter(|(kind, _)| *kind == b"trun") {
        let mut trun = Fields(trun);
        let present = trun.u32()? & 0x00ff_ffff;
        let count = trun.u32()?;
        if present & 0x01 == 0 {
            return None;
        }
        let mut at = usize::try_from(trun.u32()?).ok()?;
        let first = if present & 0x04 != 0 { Some(trun.u32()?) } else { None };
        for index in 0..count {
            let mut field = |flag: u32, otherwise: Option<u32>| {
                if present & flag != 0 { trun.u32() } else { otherwise }
            };
            let duration = field(0x100, duration)?;
            let size = usize::try_from(field(0x200, size)?).ok()?;
            let flags = field(0x400, first.filter(|_| index == 0).or(flags))?;
            let composition = i32::from_be_bytes(field(0x800, Some(0))?.to_be_bytes());
            let end = at.checked_add(size)?;
            samples.push(Sample { duration, flags, composition, data: chunk.get(at..end)? });
            at = end;
        }
    }
    Some(Track { id, decode_time, samples })
}

fn write(sequence: u32, tracks: &[Track<'_>]) -> Option<Bytes> {
    let mut sizes = Vec::new();
    for track in tracks {
        sizes.push(TRAF_HEAD + 16 * track.samples.len());
    }
    let moof_size = 8 + 16 + sizes.iter().sum::<usize>();
    let data_size: usize =
        tracks.iter().flat_map(|track| &track.samples).map(|sample| sample.data.len()).sum();
    let mut out = Vec::with_capacity(moof_size + 8 + data_size);
    head(&mut out, moof_size, b"moof")?;
    head(&mut out, 16, b"mfhd")?;
    number(&mut out, 0);
    number(&mut out, sequence);
    let mut data_at = moof_size + 8;
    for (track, size) in tracks.iter().zip(sizes) {
        head(&mut out, size, b"traf")?;
        head(&mut out, 16, b"tfhd")?;
        number(&mut out, BASE_IS_MOOF);
        number(&mut out, track.id);
        head(&mut out, 20, b"tfdt")?;
        number(&mut out, 1 << 24);
        out.extend_from_slice(&track.decode_time.to_be_bytes());
        head(&mut out, 20 + 16 * track.samples.len(), b"trun")?;
        number(&mut out, (1 << 24) | TRUN_FLAGS);
        number(&mut out, u32::try_from(track.samples.len()).ok()?);
        number(&mut out, u32::try_from(data_at).ok()?);
        for sample in &track.samples {
            number(&mut out, sample.duration);
            number(&mut out, u32::try_from(sample.data.len()).ok()?);
            number(&mut out, sample.flags);
            out.extend_from_slice(&sample.composition.to_be_bytes());
            data_at += sample.data.len();
        }
    }
    head(&mut out, 8 + data_size, b"mdat")?;
    for sample in tracks.iter().flat_map(|track| &track.samples) {
        out.extend_from_slice(sample.data);
    }
    Some(Bytes::from(out))
}

/// `traf` with its `tfhd` and `tfdt` and the `trun` up to its samples.
const TRAF_HEAD: usize = 8 + 16 + 20 + 20;

fn head(out: &mut Vec<u8>, size: usize, kind: &[u8; 4]) -> Option<()> {
    number(out, u32::try_from(size).ok()?);
    out.extend_from_slice(kind);
    Some(())
}

fn number(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// The boxes that stand side by side, as far as they are whole.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (head, _) = rest.split_first_chunk::<8>()?;
        let [a, b, c, d, ..] = *head;
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        let whole = rest.get(..size)?;
        let kind = whole.get(4..8)?.first_chunk::<4>()?;
        let body = whole.get(8..)?;
        rest = rest.get(size..)?;
        Some((kind, body))
    })
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }
}
