//! `ftyp` and `moov`: the tracks, their codecs, and the defaults of their samples.

use super::boxes::{BoxAt, Cursor, Walk, child, need};
use super::configuration;
use super::malformed::Malformed;
use crate::domain::fragment::{Init, Track};
use bytes::Bytes;

/// Reads `ftyp moov`: exactly one video track, at most one audio track.
///
/// # Errors
/// Names the box that is missing or cannot be read.
pub fn read_init(bytes: Bytes) -> Result<Init, Malformed> {
    let moov = moov_of(&bytes)?;
    let (mut video, mut audio) = (None, None);
    let mut codecs = Vec::new();
    let (mut width, mut height) = (0, 0);
    for found in Walk::inside(&moov) {
        let trak = found?;
        if !trak.is(b"trak") {
            continue;
        }
        let (track, handler) = track_of(&trak)?;
        let mdia = need(&trak, b"mdia")?;
        let stsd = need(&need(&need(&mdia, b"minf")?, b"stbl")?, b"stsd")?;
        let entry = first_entry(&stsd)?;
        match &handler {
            b"vide" if video.is_none() => {
                let found = video_of(&entry)?;
                (width, height) = (found.width, found.height);
                codecs.push(found.codec);
                video = Some(track);
            }
            b"soun" if audio.is_none() => {
                codecs.push(audio_of(&entry)?);
                audio = Some(track);
            }
            _ => return Err(trak.bad("is a second track of its kind, or of a kind we do not write")),
        }
    }
    let video = video.ok_or_else(|| moov.bad("has no video track"))?;
    Ok(Init { codecs: codecs.join(","), video, audio, width, height, bytes: bytes.clone() })
}

/// `video/mp4; codecs="…"` (RFC 6381).
#[must_use]
pub fn mime(init: &Init) -> String {
    format!("video/mp4; codecs=\"{}\"", init.codecs)
}

/// The defaults of `trex` for samples whose fragment does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    pub(super) duration: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

/// The defaults of one track.
pub(super) fn defaults(init: &Init, track: u32) -> Result<Defaults, Malformed> {
    let moov = moov_of(&init.bytes)?;
    let Some(mvex) = child(&moov, b"mvex")? else { return Ok(Defaults::default()) };
    for found in Walk::inside(&mvex) {
        let trex = found?;
        if !trex.is(b"trex") {
            continue;
        }
        let mut cursor = Cursor::new(trex.body);
        let mut read = || {
            cursor.full()?;
            let id = cursor.u32()?;
            let _description = cursor.u32()?;
            Some((id, Defaults { duration: cursor.u32()?, size: cursor.u32()?, flags: cursor.u32()? }))
        };
        match read() {
            Some((id, defaults)) if id == track => return Ok(defaults),
            Some(_) => {}
            None => return Err(trex.bad("is too short")),
        }
    }
    Ok(Defaults::default())
}

/// Ticks per second of the movie (`mvhd`, ISO/IEC 14496-12, 8.2.2).
pub(super) fn movie_timescale(init: &Init) -> Option<u32> {
    let mvhd = child(&moov_of(&init.bytes).ok()?, b"mvhd").ok()??;
    let mut cursor = Cursor::new(mvhd.body);
    let (version, _) = cursor.full()?;
    cursor.take(if version == 0 { 8 } else { 16 })?;
    cursor.u32()
}

fn moov_of(bytes: &[u8]) -> Result<BoxAt<'_>, Malformed> {
    let mut walk = Walk::new(bytes, 0);
    let missing = |what: &str| Malformed { offset: 0, what: String::from(what) };
    let ftyp = walk.next().ok_or_else(|| missing("no ftyp"))??;
    if !ftyp.is(b"ftyp") {
        return Err(ftyp.bad("stands where ftyp belongs"));
    }
    let moov = walk.next().ok_or_else(|| missing("no moov"))??;
    if !moov.is(b"moov") {
        return Err(moov.bad("stands where moov belongs"));
    }
    if let Some(more) = walk.next() {
        return Err(more?.bad("stands behind the moov of an initialisation segment"));
    }
    Ok(moov)
}

fn track_of(trak: &BoxAt<'_>) -> Result<(Track, [u8; 4]), Malformed> {
    let tkhd = need(trak, b"tkhd")?;
    let mut cursor = Cursor::new(tkhd.body);
    let id = (|| {
        let (version, _) = cursor.full()?;
        cursor.take(if version == 0 { 8 } else { 16 })?;
        cursor.u32()
    })()
    .ok_or_else(|| tkhd.bad("is too short"))?;
    let mdia = need(trak, b"mdia")?;
    let mdhd = need(&mdia, b"mdhd")?;
    let mut cursor = Cursor::new(mdhd.body);
    let timescale = (|| {
        let (version, _) = cursor.full()?;
        cursor.take(if version == 0 { 8 } else { 16 })?;
        cursor.u32()
    })()
    .filter(|timescale| *timescale > 0)
    .ok_or_else(|| mdhd.bad("has no timescale"))?;
    let hdlr = need(&mdia, b"hdlr")?;
    let mut cursor = Cursor::new(hdlr.body);
    let handler = (|| {
        cursor.take(8)?;
        <[u8; 4]>::try_from(cursor.take(4)?).ok()
    })()
    .ok_or_else(|| hdlr.bad("is too short"))?;
    Ok((Track { id, timescale }, handler))
}

fn first_entry<'a>(stsd: &BoxAt<'a>) -> Result<BoxAt<'a>, Malformed> {
    let entries = stsd.body.get(8..).ok_or_else(|| stsd.bad("is too short"))?;
    Walk::new(entries, stsd.body_start() + 8).next().ok_or_else(|| stsd.bad("is empty"))?
}

struct Video {
    codec: String,
    width: u32,
    height: u32,
}

fn video_of(entry: &BoxAt<'_>) -> Result<Video, Malformed> {
    let record =
        configuration::record_of_entry(&entry.kind).ok_or_else(|| entry.bad("is neither H.264 nor H.265"))?;
    let mut cursor = Cursor::new(entry.body);
    let (width, height) = (|| {
        cursor.take(24)?;
        let size = (cursor.u16()?, cursor.u16()?);
        cursor.take(50)?;
        Some(size)
    })()
    .ok_or_else(|| entry.bad("is too short"))?;
    let inside = cursor.rest();
    for found in Walk::new(inside, entry.end - inside.len() as u64) {
        let found = found?;
        if found.is(record) {
            let codec = configuration::codec_string(&entry.kind, found.body)
                .ok_or_else(|| found.bad("is too short"))?;
            return Ok(Video { codec, width: width.into(), height: height.into() });
        }
    }
    Err(entry.bad(&format!("has no {}", String::from_utf8_lossy(record))))
}

fn audio_of(entry: &BoxAt<'_>) -> Result<String, Malformed> {
    if !entry.is(b"mp4a") {
        return Err(entry.bad("is not AAC"));
    }
    let inside = entry.body.get(28..).ok_or_else(|| entry.bad("is too short"))?;
    for found in Walk::new(inside, entry.body_start() + 28) {
        let esds = found?;
        if esds.is(b"esds") {
            let object = audio_object_type(esds.body).ok_or_else(|| esds.bad("cannot be read"))?;
            return Ok(format!("mp4a.40.{object}"));
        }
    }
    Err(entry.bad("has no esds"))
}

/// The audio object type of `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1), found through the
/// descriptors of ISO/IEC 14496-1, 7.2.6.
fn audio_object_type(esds: &[u8]) -> Option<u8> {
    let mut cursor = Cursor::new(esds);
    cursor.full()?;
    let mut es = descriptor(&mut cursor, 0x03)?;
    es.u16()?;
    let flags = es.u8()?;
    if flags & 0x80 != 0 {
        es.u16()?;
    }
    if flags & 0x40 != 0 {
        let url = es.u8()?;
        es.take(url.into())?;
    }
    if flags & 0x20 != 0 {
        es.u16()?;
    }
    let mut config = descriptor(&mut es, 0x04)?;
    if config.u8()? != 0x40 {
        return None;
    }
    config.take(12)?;
    let mut specific = descriptor(&mut config, 0x05)?;
    let (first, second) = (specific.u8()?, specific.u8().unwrap_or(0));
    match first >> 3 {
        31 => Some(32 + ((first & 0x07) << 3 | second >> 5)),
        object => Some(object),
    }
}

/// The body of the descriptor with this tag; its length has seven bits per byte.
fn descriptor<'a>(cursor: &mut Cursor<'a>, tag: u8) -> Option<Cursor<'a>> {
    if cursor.u8()? != tag {
        return None;
    }
    let mut length = 0usize;
    for _ in 0..4 {
        let byte = cursor.u8()?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    cursor.take(length).map(Cursor::new)
}
