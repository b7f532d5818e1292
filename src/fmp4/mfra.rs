//! `mfra`, the index at the end of a segment (ISO/IEC 14496-12, 8.8.9 to 8.8.11).

use super::boxes::build;

/// Where one `moof` begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoofEntry {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// One for each `traf` in file order: its track, and the presentation time of its first sample in ticks, where
    /// that is a sync sample.
    pub tracks: Vec<(u32, Option<u64>)>,
}

/// `mfra` with one `tfra` a track, closed by `mfro`. A `tfra` lists the `moof`s that begin with a sync sample of the track
/// (8.8.10): of the pictures one a GOP, of the audio all.
#[must_use]
pub fn mfra_box(moofs: &[MoofEntry]) -> Vec<u8> {
    let mut tracks: Vec<u32> =
        moofs.iter().flat_map(|moof| moof.tracks.iter().map(|(track, _)| *track)).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let mut body: Vec<u8> = tracks.iter().flat_map(|track| tfra(*track, moofs)).collect();
    // `mfro.size` is that of the whole `mfra`: its header, the tables, and the 16 bytes of `mfro`.
    let size = u32::try_from(8 + body.len() + 16).unwrap_or(u32::MAX);
    let mut mfro = vec![0; 4];
    mfro.extend_from_slice(&size.to_be_bytes());
    body.extend(build(b"mfro", &mfro));
    build(b"mfra", &body)
}

fn tfra(track: u32, moofs: &[MoofEntry]) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count: u32 = 0;
    for moof in moofs {
        let traf = moof.tracks.iter().position(|(other, _)| *other == track);
        let Some((traf, time)) = traf.and_then(|traf| Some((traf, moof.tracks.get(traf)?.1?))) else {
            continue;
        };
        entries.extend_from_slice(&time.to_be_bytes());
        entries.extend_from_slice(&moof.offset.to_be_bytes());
        // traf_number, trun_number and sample_number, one byte each, counted from 1.
        entries.extend_from_slice(&[u8::try_from(traf + 1).unwrap_or(u8::MAX), 1, 1]);
        count = count.saturating_add(1);
    }
    let mut body = vec![1, 0, 0, 0];
    body.extend_from_slice(&track.to_be_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&count.to_be_bytes());
    body.extend(entries);
    build(b"tfra", &body)
}
