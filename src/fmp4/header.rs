//! Writing `ftyp` and `moov` (ISO/IEC 14496-12, 8.2 to 8.5; ISO/IEC 14496-15, 5.4 and 8.4; ISO/IEC 14496-14, 5.6).

use super::boxes::build;
use super::configuration;
use super::format::{AUDIO_TRACK, AudioDescription, VIDEO_TIMESCALE, VIDEO_TRACK, VideoDescription};
use bytes::Bytes;

/// `sample_is_non_sync_sample`, and the sample depends on others.
pub(super) const DEPENDS: u32 = 0x0101_0000;
/// A sync sample, which depends on no other.
pub(super) const SYNC: u32 = 0x0200_0000;

/// `ftyp` and `moov`, for a file whose samples are all in fragments.
#[must_use]
pub fn write_init(video: &VideoDescription, audio: Option<&AudioDescription>) -> Bytes {
    let mut bytes = build(b"ftyp", b"iso6\0\0\0\0iso6iso5mp41");
    let mut moov = mvhd();
    moov.extend(video_track(video));
    let mut extends = trex(VIDEO_TRACK, DEPENDS);
    if let Some(audio) = audio {
        moov.extend(audio_track(audio));
        extends.extend(trex(AUDIO_TRACK, SYNC));
    }
    moov.extend(build(b"mvex", &extends));
    bytes.extend(build(b"moov", &moov));
    Bytes::from(bytes)
}

fn full(kind: &[u8; 4], version: u8, flags: u32, body: &[&[u8]]) -> Vec<u8> {
    let head = (u32::from(version) << 24) | flags;
    let mut bytes = head.to_be_bytes().to_vec();
    body.iter().for_each(|part| bytes.extend_from_slice(part));
    build(kind, &bytes)
}

/// The transformation matrix (8.2.2) for this many clockwise quarter turns.
fn matrix(turns: u8) -> [u8; 36] {
    const ONE: i32 = 0x0001_0000;
    let (a, b, c, d) = match turns % 4 {
        0 => (ONE, 0, 0, ONE),
        1 => (0, ONE, -ONE, 0),
        2 => (-ONE, 0, 0, -ONE),
        _ => (0, -ONE, ONE, 0),
    };
    let mut bytes = [0; 36];
    let fields = [a, b, 0, c, d, 0, 0, 0, 0x4000_0000];
    for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
    bytes
}

fn mvhd() -> Vec<u8> {
    // Creation, modification: not known. The fragments give the duration. The timescale is that of the
    // frames, so that a file without audio has a single timescale.
    let times = [0, 0, VIDEO_TIMESCALE, 0u32].map(u32::to_be_bytes).concat();
    let rate_and_volume = [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    full(b"mvhd", 0, 0, &[&times, &rate_and_volume, &matrix(0), &[0; 24], &u32::MAX.to_be_bytes()])
}

fn tkhd(track: u32, volume: u16, turns: u8, (width, height): (u32, u32)) -> Vec<u8> {
    let head = [0, 0, track, 0, 0, 0, 0u32].map(u32::to_be_bytes).concat();
    // Layer, and a group only for audio: tracks of one group would be alternatives.
    let group = [0, 0, volume, 0u16].map(u16::to_be_bytes).concat();
    let size = [width << 16, height << 16].map(u32::to_be_bytes).concat();
    full(b"tkhd", 0, 0x07, &[&head, &group, &matrix(turns), &size])
}

fn media(timescale: u32, handler: &[u8; 4], name: &[u8], header: &[u8], entry: &[u8]) -> Vec<u8> {
    let mut mdia = full(
        b"mdhd",
        0,
        0,
        &[&[0; 8], &timescale.to_be_bytes(), &[0; 4], &UNDETERMINED.to_be_bytes(), &[0; 2]],
    );
    mdia.extend(full(b"hdlr", 0, 0, &[&[0; 4], handler, &[0; 12], name, &[0]]));
    let mut minf = header.to_vec();
    let url = full(b"url ", 0, 1, &[]);
    minf.extend(build(b"dinf", &full(b"dref", 0, 0, &[&1u32.to_be_bytes(), &url])));
    let mut stbl = full(b"stsd", 0, 0, &[&1u32.to_be_bytes(), entry]);
    for kind in [b"stts", b"stsc", b"stco"] {
        stbl.extend(full(kind, 0, 0, &[&[0; 4]]));
    }
    stbl.extend(full(b"stsz", 0, 0, &[&[0; 8]]));
    minf.extend(build(b"stbl", &stbl));
    mdia.extend(build(b"minf", &minf));
    build(b"mdia", &mdia)
}

/// The language "und", five bits per letter (8.4.2).
const UNDETERMINED: u16 = 0x55c4;

fn video_track(format: &VideoDescription) -> Vec<u8> {
    let (width, height) = format.size;
    let (across, down) = format.aspect;
    let shown = u64::from(width) * u64::from(across) / u64::from(down.max(1));
    let shown = u32::try_from(shown).unwrap_or(width).min(0xffff);
    let mut trak = tkhd(VIDEO_TRACK, 0, format.turns, (shown, height));
    let header = full(b"vmhd", 0, 1, &[&[0; 8]]);
    let entry = video_entry(format);
    trak.extend(media(VIDEO_TIMESCALE, b"vide", b"pictures", &header, &entry));
    build(b"trak", &trak)
}

fn short(value: u32) -> [u8; 2] {
    u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes()
}

fn video_entry(format: &VideoDescription) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 0, 0, 0, 1];
    body.extend([0; 16]);
    body.extend(short(format.size.0));
    body.extend(short(format.size.1));
    // 72 dots per inch horizontally and vertically, one frame per sample, no name, 24 bits deep.
    body.extend([0, 72, 0, 0, 0, 72, 0, 0, 0, 0, 0, 0, 0, 1]);
    body.extend([0; 32]);
    body.extend([0, 24, 0xff, 0xff]);
    body.extend(build(format.sets.record_kind(), &configuration::record(format)));
    if format.aspect.0 != format.aspect.1 {
        body.extend(build(b"pasp", &[format.aspect.0, format.aspect.1].map(u32::to_be_bytes).concat()));
    }
    build(format.sets.entry_kind(format.sets_in_band), &body)
}

fn audio_track(format: &AudioDescription) -> Vec<u8> {
    let mut trak = tkhd(AUDIO_TRACK, 0x0100, 0, (0, 0));
    let header = full(b"smhd", 0, 0, &[&[0; 4]]);
    trak.extend(media(format.rate.max(1), b"soun", b"audio", &header, &audio_entry(format)));
    build(b"trak", &trak)
}

fn audio_entry(format: &AudioDescription) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 0, 0, 0, 1];
    body.extend([0; 8]);
    body.extend(format.channels.to_be_bytes());
    body.extend([0, 16, 0, 0, 0, 0]);
    // 16.16: a rate that does not fit is given only by the configuration.
    body.extend((format.rate.min(0xffff) << 16).to_be_bytes());
    body.extend(full(b"esds", 0, 0, &[&elementary_stream(format)]));
    build(b"mp4a", &body)
}

/// `ES_Descriptor` (ISO/IEC 14496-1, 7.2.6.5) of AAC.
fn elementary_stream(format: &AudioDescription) -> Vec<u8> {
    let config = format.config.get(..format.config.len().min(100)).unwrap_or_default();
    let specific = descriptor(0x05, &[config]);
    // Audio stream, upstream no, reserved yes; buffer and bit rates are not known.
    let mut head = vec![0x40, 0x15];
    head.extend([0; 11]);
    let decoder = descriptor(0x04, &[&head, &specific]);
    let layer = descriptor(0x06, &[&[2]]);
    descriptor(0x03, &[&[0, 2, 0], &decoder, &layer])
}

/// A descriptor of fewer than 128 + 16 bytes; its length in two groups of seven bits.
fn descriptor(tag: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let length = u16::try_from(body.len()).unwrap_or(0);
    let low = u8::try_from(length & 0x7f).unwrap_or(0);
    let high = u8::try_from(length >> 7).unwrap_or(0);
    let mut bytes = vec![tag, 0x80 | high, low];
    bytes.extend(body);
    bytes
}

fn trex(track: u32, flags: u32) -> Vec<u8> {
    full(b"trex", 0, 0, &[&[track, 1, 0, 0, flags].map(u32::to_be_bytes).concat()])
}
