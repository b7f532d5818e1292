//! The tracks of an MP4 file, from its `moov`: facts that a demuxer does not report.

use crate::domain::codec::Codec;
use crate::fmp4;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Maximum bytes of a `moov`.
const MAX_MOOV: u64 = 64 << 20;
/// Maximum number of boxes at the top level.
const MAX_BOXES: usize = 100_000;

/// One track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// The kind of its first sample entry (ISO/IEC 14496-12, 8.5.2), such as `avc1`, `hvc1` or `encv`.
    pub entry: [u8; 4],
    /// Rotation for display, in clockwise quarter turns; 0 if its matrix (8.3.2) is no rotation.
    pub turns: u8,
}

impl Track {
    /// Its codec, if that is supported and not encrypted.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        match &self.entry {
            b"avc1" | b"avc3" => Some(Codec::H264),
            b"hvc1" | b"hev1" => Some(Codec::H265),
            _ => None,
        }
    }
}

/// The tracks of a file. Empty if its `moov` cannot be read.
#[must_use]
pub fn tracks(path: &Path) -> Vec<Track> {
    let moov = File::open(path).ok().and_then(|mut file| read_moov(&mut file));
    moov.map_or_else(Vec::new, |moov| {
        children(&moov, b"trak").into_iter().filter_map(|trak| track(&trak)).collect()
    })
}

/// Why a file cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its frames have this codec, which is not the expected one.
    Other(Codec),
    /// Any other reason; for people.
    Unread(String),
}

/// Why a file with these tracks cannot be stored, if so. `wanted` is the expected codec.
#[must_use]
pub fn unfit(tracks: &[Track], wanted: Codec) -> Option<Unfit> {
    if tracks.is_empty() || tracks.iter().any(|track| track.codec() == Some(wanted)) {
        return None;
    }
    if let Some(other) = tracks.iter().find_map(Track::codec) {
        return Some(Unfit::Other(other));
    }
    unread(tracks, wanted).map(Unfit::Unread)
}

fn unread(tracks: &[Track], wanted: Codec) -> Option<String> {
    if tracks.iter().any(|track| &track.entry == b"encv") {
        return Some(String::from("its frames are encrypted"));
    }
    // Four characters from a file: only letters and digits are shown.
    let name = |track: &Track| {
        let letters = track.entry.iter().filter(|byte| byte.is_ascii_alphanumeric());
        letters.map(|byte| char::from(*byte)).collect::<String>()
    };
    let names: Vec<String> = tracks.iter().take(4).map(name).collect();
    let entries = match wanted {
        Codec::H264 => "avc1 or avc3",
        Codec::H265 => "hvc1 or hev1",
    };
    Some(format!("it has no {} frames ({entries}), but {}", wanted.name(), names.join(", ")))
}

/// The body of the `moov`, anywhere in the file.
fn read_moov(file: &mut File) -> Option<Vec<u8>> {
    let mut at = 0_u64;
    for _ in 0..MAX_BOXES {
        file.seek(SeekFrom::Start(at)).ok()?;
        let mut head = [0; 16];
        file.read_exact(head.get_mut(..8)?).ok()?;
        let [a, b, c, d, kind @ ..] = head;
        let short = u32::from_be_bytes([a, b, c, d]);
        let (size, front) = if short == 1 {
            file.read_exact(head.get_mut(8..)?).ok()?;
            (u64::from_be_bytes(head.get(8..)?.try_into().ok()?), 16)
        } else {
            (u64::from(short), 8)
        };
        if kind.starts_with(b"moov") {
            let body = size.checked_sub(front).filter(|body| *body <= MAX_MOOV)?;
            let mut moov = vec![0; usize::try_from(body).ok()?];
            file.read_exact(&mut moov).ok()?;
            return Some(moov);
        }
        // A box of size 0 is the last one.
        at = at.checked_add(size).filter(|_| size >= front)?;
    }
    None
}

/// The body of each box of this kind.
fn children(parent: &[u8], kind: &[u8; 4]) -> Vec<Vec<u8>> {
    let found = fmp4::pieces(parent).unwrap_or_default();
    let of_kind = found.into_iter().filter(|piece| piece.kind == *kind);
    of_kind.filter_map(|piece| Some(parent.get(piece.range)?.get(8..)?.to_vec())).collect()
}

fn child(parent: &[u8], kind: &[u8; 4]) -> Option<Vec<u8>> {
    children(parent, kind).into_iter().next()
}

fn track(trak: &[u8]) -> Option<Track> {
    let stbl = child(&child(&child(trak, b"mdia")?, b"minf")?, b"stbl")?;
    // Version, flags, a count, and the first entry: its size and kind.
    let entry = child(&stbl, b"stsd")?.get(12..16)?.try_into().ok()?;
    Some(Track { entry, turns: child(trak, b"tkhd").and_then(|tkhd| turns(&tkhd)).unwrap_or(0) })
}

/// 1 in 16.16.
const ONE: i32 = 0x0001_0000;

fn turns(tkhd: &[u8]) -> Option<u8> {
    // Times and duration of 64 bits in version 1; then 16 bytes of layer, group and volume.
    let matrix = tkhd.get(if *tkhd.first()? == 1 { 52 } else { 40 }..)?;
    let field = |at: usize| Some(i32::from_be_bytes(matrix.get(4 * at..4 * at + 4)?.try_into().ok()?));
    match (field(0)?, field(1)?, field(3)?, field(4)?) {
        (0, ONE, c, 0) if c == -ONE => Some(1),
        (a, 0, 0, d) if a == -ONE && d == -ONE => Some(2),
        (0, b, ONE, 0) if b == -ONE => Some(3),
        _ => Some(0),
    }
}
