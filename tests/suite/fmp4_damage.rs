//! Segments that are cut off, have flipped bits or are made up: reading them ends, allocates little, and
//! accepts only what is whole.

use crate::support::heap::spent;
use crate::support::media::{Kind, media, top_level, whole_segment};
use bytes::Bytes;
use kasacam::fmp4::{self, Layout, Malformed};
use proptest::prelude::*;

/// How many damaged files each test reads.
fn rounds() -> usize {
    std::env::var("KASACAM_DAMAGED").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4_000)
}

/// Reads a file that may contain anything; panics if reading allocates more than the file justifies.
fn read(bytes: &[u8]) -> Result<Layout, Malformed> {
    let (layout, cost) = spent(|| fmp4::read_segment(bytes));
    assert!(cost.largest <= 2 * bytes.len() + 4096, "{cost:?} for {} bytes", bytes.len());
    assert!(cost.total <= 16 * bytes.len() + 65_536, "{cost:?} for {} bytes", bytes.len());
    if let Ok(layout) = &layout {
        assert!(layout.chunks_end <= bytes.len() as u64);
        let samples: u64 =
            layout.chunks.iter().flat_map(|chunk| &chunk.runs).map(|run| u64::from(run.samples)).sum();
        assert!(samples <= bytes.len() as u64, "{samples} samples in {} bytes", bytes.len());
        for pair in layout.chunks.windows(2) {
            assert!(pair[0].end <= pair[1].moof, "chunks overlap");
        }
    }
    layout
}

/// All other readers of untrusted bytes.
fn read_in_every_way(bytes: &[u8]) {
    let init = &media(Kind::Negative).init;
    let _any = fmp4::pieces(bytes);
    let _any = fmp4::read_init(Bytes::copy_from_slice(bytes));
    let _any = fmp4::read_chunk(init, bytes);
    let mut changed = bytes.to_vec();
    let mut info = fmp4::read_chunk(init, &media(Kind::Negative).chunks[1].1).unwrap();
    let origin = fmp4::Origin::of(init, &info);
    let _any = fmp4::rebase(init, &mut changed, &mut info, origin);
    let _any = fmp4::read_step(init, bytes, 0);
    assert_eq!(changed.len(), bytes.len());
    let _any = fmp4::shift_prft(&mut changed, i64::MIN);
    assert_eq!(changed.len(), bytes.len());
}

#[test]
fn a_segment_cut_at_any_byte_gives_the_chunks_before_the_cut() {
    for kind in [Kind::Negative, Kind::Chunked] {
        let segment = whole_segment(kind);
        let whole = read(&segment.bytes).unwrap();
        assert!(whole.complete);
        assert_eq!(whole.chunks.len(), segment.chunks.len());

        for cut in 0..segment.bytes.len() {
            let found = read(&segment.bytes[..cut]);
            if cut < segment.header_end {
                assert!(found.is_err(), "{kind:?} cut at {cut}");
                continue;
            }
            let found = found.unwrap_or_else(|why| panic!("{kind:?} cut at {cut}: {why}"));
            let kept = segment.chunks.iter().filter(|(_, end)| *end <= cut).count();
            assert_eq!(found.chunks, whole.chunks[..kept], "{kind:?} cut at {cut}");
            let end = kept.checked_sub(1).map_or(segment.header_end, |last| segment.chunks[last].1);
            assert_eq!(found.chunks_end, end as u64, "{kind:?} cut at {cut}");
            assert!(!found.complete, "{kind:?} cut at {cut}");
            assert_eq!((&found.init, &found.record), (&whole.init, &whole.record));
        }
    }
}

#[test]
fn a_chunk_or_a_header_cut_at_any_byte_is_an_error() {
    for kind in Kind::ALL {
        let made = media(kind);
        for cut in 0..made.init.bytes.len() {
            assert!(fmp4::read_init(made.init.bytes.slice(..cut)).is_err(), "{kind:?} cut at {cut}");
        }
        let (_, chunk) = &made.chunks[0];
        for cut in 0..chunk.len() {
            assert!(fmp4::read_chunk(&made.init, &chunk[..cut]).is_err(), "{kind:?} cut at {cut}");
        }
    }
}

/// Asserts what is true of a segment in which only bytes from `at` on were changed.
fn assert_undamaged_part_is_kept(
    whole: &Layout,
    found: &Result<Layout, Malformed>,
    header_end: usize,
    at: usize,
) {
    if at < header_end {
        return;
    }
    let found = found.as_ref().expect("the header is whole");
    assert_eq!((&found.init, &found.record), (&whole.init, &whole.record));
    let before = whole.chunks.iter().take_while(|chunk| chunk.end <= at as u64).count();
    assert!(found.chunks.len() >= before, "a whole chunk before the damage is lost");
    assert_eq!(found.chunks[..before], whole.chunks[..before]);
}

#[test]
fn a_flipped_bit_loses_nothing_before_it() {
    let segment = whole_segment(Kind::Negative);
    let whole = read(&segment.bytes).unwrap();
    let pictures: Vec<(usize, usize)> = top_level(&segment.bytes)
        .into_iter()
        .filter(|(kind, _, _)| kind == b"mdat")
        .map(|(_, start, end)| (start + 8, end))
        .collect();
    let is_picture = |at: usize| pictures.iter().any(|(start, end)| (*start..*end).contains(&at));
    // Every byte of the boxes; of the coded frames, which nothing here reads, as many as requested.
    let stride = (segment.bytes.len() / rounds().max(1)).max(1);
    let mut bytes = segment.bytes.clone();
    for at in (0..bytes.len()).filter(|at| !is_picture(*at) || at % stride == 0) {
        let bits = if rounds() >= 8 * bytes.len() { 0..8 } else { at % 8..at % 8 + 1 };
        for bit in bits {
            bytes[at] ^= 1 << bit;
            let found = read(&bytes);
            if is_picture(at) {
                assert_eq!(found.as_ref(), Ok(&whole), "bit {bit} of byte {at}");
            } else {
                assert_undamaged_part_is_kept(&whole, &found, segment.header_end, at);
            }
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn a_damaged_index_is_told_from_a_whole_one() {
    let segment = whole_segment(Kind::Negative);
    let mut bytes = segment.bytes.clone();
    for at in segment.chunks.last().unwrap().1..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        let found = read(&bytes).unwrap();
        assert!(!found.complete, "byte {at}");
        assert_eq!(found.chunks.len(), segment.chunks.len());
        bytes[at] ^= 1 << (at % 8);
    }
    bytes.push(0);
    assert!(!read(&bytes).unwrap().complete, "bytes behind the index");
}

#[test]
fn no_claimed_size_or_count_is_believed() {
    let segment = whole_segment(Kind::Negative);
    let whole = read(&segment.bytes).unwrap();
    let second = segment.chunks[1].0;
    let mut places: Vec<usize> = (0..segment.chunks[0].0).collect();
    for (kind, start, end) in top_level(&segment.bytes) {
        if start < segment.header_end {
            continue;
        }
        // The header of an mdat, and all of any other box.
        places.extend(start..if &kind == b"mdat" { start + 16 } else { end });
    }
    places.retain(|at| at + 4 <= segment.bytes.len());
    for claim in [0_u32, 1, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff] {
        for at in &places {
            let mut bytes = segment.bytes.clone();
            bytes[*at..at + 4].copy_from_slice(&claim.to_be_bytes());
            let found = read(&bytes);
            assert_undamaged_part_is_kept(&whole, &found, segment.header_end, *at);
            if (second..segment.chunks[1].1).contains(at) {
                read_in_every_way(&bytes[second..segment.chunks[1].1]);
            }
        }
    }
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], kind, body].concat()
}

/// A box whose size may be wrong, around anything, including boxes.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let kinds: Vec<[u8; 4]> = [
        b"ftyp", b"moov", b"trak", b"tkhd", b"mdia", b"mdhd", b"hdlr", b"minf", b"stbl", b"stsd", b"avc1",
        b"avcC", b"mp4a", b"esds", b"mvex", b"trex", b"uuid", b"prft", b"moof", b"mfhd", b"traf", b"tfhd",
        b"tfdt", b"trun", b"mdat", b"mfra",
    ]
    .map(|kind| *kind)
    .to_vec();
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let kind = prop::sample::select(kinds);
    bytes.prop_recursive(6, 64, 6, move |inner| {
        (kind.clone(), prop::collection::vec(inner, 0..6), prop::option::weighted(0.05, any::<u32>()))
            .prop_map(|(kind, parts, lie)| {
                let mut made = boxed(&kind, &parts.concat());
                if let Some(lie) = lie {
                    made[..4].copy_from_slice(&lie.to_be_bytes());
                }
                made
            })
    })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: u32::try_from(rounds() / 4).unwrap_or(u32::MAX),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _any = read(&bytes);
        read_in_every_way(&bytes);
    }

    #[test]
    fn boxes_in_any_order_are_read_to_an_end(parts in prop::collection::vec(soup(), 1..5)) {
        let bytes = parts.concat();
        let _any = read(&bytes);
        read_in_every_way(&bytes);
    }

    #[test]
    fn anything_behind_whole_chunks_leaves_them_whole(
        kept in 0_usize..=3,
        junk in prop_oneof![prop::collection::vec(any::<u8>(), 1..200), soup()],
    ) {
        let segment = whole_segment(Kind::Negative);
        let whole = read(&segment.bytes).unwrap();
        let at = kept.checked_sub(1).map_or(segment.header_end, |last| segment.chunks[last].1);
        let found = read(&[&segment.bytes[..at], &junk].concat());
        assert_undamaged_part_is_kept(&whole, &found, segment.header_end, at);
    }
}
