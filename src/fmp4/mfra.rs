//! `mfra`, the index at the end of a segment (ISO/IEC 14496-12, 8.8.9 to 8.8.11).

use super::boxes::build;

/// Where one `moof` begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoofEntry {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// One for each `traf` in file order: its track, and the presentation time of its first sample in ticks,
    /// if that is a sync sample.
    pub tracks: Vec<(u32, Option<u64>)>,
}

/// `mfra` with one `tfra` per track, closed by `mfro`. A `tfra` lists the `moof`s that begin with a sync
/// sample of the track (8.8.10): for video one per GOP, for audio all.
#[must_use]
pub fn mfra_box(moofs: &[MoofEntry]) -> Vec<u8> {
    let mut tracks: Vec<u32> =
        moofs.iter().flat_map(|moof| moof.tracks.iter().map(|(track, _)| *track)).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let mut body: Vec<u8> = tracks.iter().flat_map(|track| tfra(*track, moofs)).collect();
    // `mfro.size` is the size of the whole `mfra`: its header, the tables, and the 16 bytes of `mfro`.
    let size = u32::try_from(8 + body.len() + 16).unwrap_or(u32::MAX);
    let mut mfro = vec![0; 4];
    mfro.extend_from_slice(&size.to_be_bytes());
    body.extend(build(b"mfro", &mfro));
    build(b"mfra", &body)
}

fn tfra(track: u32, moofs: &[MoofEntry]) -> Vec<u8> {
    let entry = |moof: &MoofEntry| {
        let traf = moof.tracks.iter().position(|(other, _)| *other == track)?;
        let time = moof.tracks.get(traf)?.1?;
        Some(Entry { time, moof: moof.offset, traf })
    };
    table(track, &moofs.iter().filter_map(entry).collect::<Vec<_>>())
}

/// One entry of a `tfra`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Presentation time, in ticks of the track.
    pub(super) time: u64,
    /// Offset of the `moof`.
    pub(super) moof: u64,
    /// Index of the `traf` in it, from 0.
    pub(super) traf: usize,
}

/// A `tfra` of version 1 (ISO/IEC 14496-12, 8.8.10).
pub(super) fn table(track: u32, entries: &[Entry]) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0];
    body.extend_from_slice(&track.to_be_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
    for entry in entries {
        body.extend_from_slice(&entry.time.to_be_bytes());
        body.extend_from_slice(&entry.moof.to_be_bytes());
        // traf_number, trun_number and sample_number, one byte each, counted from 1.
        body.extend_from_slice(&[u8::try_from(entry.traf + 1).unwrap_or(u8::MAX), 1, 1]);
    }
    build(b"tfra", &body)
}
