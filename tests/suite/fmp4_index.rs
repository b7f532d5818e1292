//! The index of a segment, byte for byte.

use crate::support::media::{Kind, decoded_pictures, media, packet_counts, record, segment, whole_segment};
use kasacam::fmp4::{self, ChunkInfo, MoofEntry};

#[test]
fn mfra_is_written_byte_for_byte() {
    let moofs = [
        MoofEntry { offset: 0x1122, tracks: vec![(1, Some(0x0a)), (7, Some(0x0b))] },
        MoofEntry { offset: 0x0001_0000_0002, tracks: vec![(7, Some(0x0c)), (1, Some(0x0001_0000_000d))] },
        // The first frame of this one is not a sync sample.
        MoofEntry { offset: 0x2233, tracks: vec![(7, None)] },
        MoofEntry { offset: 0x3344, tracks: vec![(1, Some(0x0e)), (7, None)] },
    ];
    let expected = [
        // mfra: 8 + (8 + 16 + 3 * 19) + (8 + 16 + 2 * 19) + 16
        &[0, 0, 0, 167][..],
        b"mfra",
        &[0, 0, 0, 81],
        b"tfra",
        &[1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3],
        &[0, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0x11, 0x22, 1, 1, 1],
        &[0, 0, 0, 1, 0, 0, 0, 0x0d, 0, 0, 0, 1, 0, 0, 0, 2, 2, 1, 1],
        &[0, 0, 0, 0, 0, 0, 0, 0x0e, 0, 0, 0, 0, 0, 0, 0x33, 0x44, 1, 1, 1],
        &[0, 0, 0, 62],
        b"tfra",
        &[1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0, 0, 0, 0, 0, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0x11, 0x22, 2, 1, 1],
        &[0, 0, 0, 0, 0, 0, 0, 0x0c, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 1],
        &[0, 0, 0, 16],
        b"mfro",
        &[0, 0, 0, 0, 0, 0, 0, 167],
    ]
    .concat();
    assert_eq!(fmp4::mfra_box(&moofs), expected);
    let none = [&[0, 0, 0, 24][..], b"mfra", &[0, 0, 0, 16], b"mfro", &[0, 0, 0, 0, 0, 0, 0, 24]].concat();
    assert_eq!(fmp4::mfra_box(&[]), none);
}

#[test]
fn the_index_of_a_segment_is_where_its_moofs_were_put() {
    for kind in Kind::ALL {
        let made = media(kind);
        let segment = whole_segment(kind);
        let layout = fmp4::read_segment(&segment.bytes).unwrap();
        assert!(layout.complete, "{kind:?}");
        assert_eq!(layout.chunks_end, segment.chunks.last().unwrap().1 as u64);
        assert_eq!(layout.record, record());
        assert_eq!(layout.chunks.len(), made.chunks.len());
        let index = fmp4::index(&layout.chunks, made.init.video.id);
        for (((entry, info), (start, end)), (_, chunk)) in
            index.iter().zip(&layout.chunks).zip(&segment.chunks).zip(&made.chunks)
        {
            let alone = fmp4::read_chunk(&made.init, chunk).unwrap();
            assert_eq!(*info, ChunkInfo { moof: *start as u64, end: *end as u64, ..alone }, "{kind:?}");
            assert_eq!(entry.offset, *start as u64);
            assert_eq!(&segment.bytes[start + 4..start + 8], b"moof");
            let times = info.runs.iter().map(|run| {
                let is_sync = run.track != made.init.video.id || info.starts_with_sync;
                (run.track, is_sync.then(|| run.earliest_presentation.try_into().unwrap()))
            });
            assert_eq!(entry.tracks, times.collect::<Vec<(u32, Option<u64>)>>());
        }
        assert!(segment.bytes.ends_with(&fmp4::mfra_box(&index)));
    }
}

#[test]
fn an_index_that_lists_every_moof_is_one_too() {
    let made = media(Kind::Chunked);
    let whole = whole_segment(Kind::Chunked);
    let layout = fmp4::read_segment(&whole.bytes).unwrap();
    let all: Vec<MoofEntry> = layout
        .chunks
        .iter()
        .map(|chunk| MoofEntry {
            offset: chunk.moof,
            tracks: chunk
                .runs
                .iter()
                .map(|run| (run.track, Some(run.earliest_presentation.try_into().unwrap())))
                .collect(),
        })
        .collect();
    let front = &whole.bytes[..usize::try_from(layout.chunks_end).unwrap()];
    let complete =
        |index: &[MoofEntry]| fmp4::read_segment(&[front, &fmp4::mfra_box(index)].concat()).unwrap().complete;

    assert!(
        all.len()
            > fmp4::index(&layout.chunks, made.init.video.id)
                .iter()
                .filter(|it| it.tracks[0].1.is_some())
                .count()
    );
    assert!(complete(&all), "as an earlier release wrote it");
    assert!(!complete(&all[1..]));
}

#[test]
fn a_list_of_chunks_ends_where_one_does_not_follow() {
    let made = media(Kind::Chunked);
    let chunks: Vec<Vec<u8>> = made.chunks.iter().map(|(_, chunk)| chunk.clone()).collect();
    let kept = |order: &[usize]| {
        let picked: Vec<Vec<u8>> = order.iter().map(|at| chunks[*at].clone()).collect();
        let layout = fmp4::read_segment(&segment(&made.init, &picked).bytes).unwrap();
        assert_eq!(layout.complete, layout.chunks.len() == order.len());
        layout.chunks.len()
    };
    assert_eq!(kept(&[0, 1, 2]), 3);
    assert_eq!(kept(&[0, 2]), 1, "one is missing");
    assert_eq!(kept(&[0, 0]), 1, "one comes twice");
    assert_eq!(kept(&[1, 2]), 0, "no sync sample first");
    assert_eq!(kept(&[3, 4, 5]), 3, "a later fragment");

    let mut late = chunks[1].clone();
    fmp4::number_chunk(&mut late, 5).unwrap();
    let layout = fmp4::read_segment(&segment(&made.init, &[chunks[3].clone(), late]).bytes).unwrap();
    assert_eq!(layout.chunks.len(), 1, "the right number, but back in time");
}

#[test]
fn other_programs_play_what_was_put_together() {
    for kind in Kind::ALL {
        let bytes = whole_segment(kind).bytes;
        let layout = fmp4::read_segment(&bytes).unwrap();
        let counted = |track: u32| {
            let runs = layout.chunks.iter().flat_map(|chunk| &chunk.runs);
            runs.filter(|run| run.track == track).map(|run| run.samples).sum::<u32>()
        };
        let tracks = if kind.has_sound() { vec![counted(1), counted(2)] } else { vec![counted(1)] };
        assert_eq!(tracks[0], 45, "{kind:?}");
        assert_eq!(packet_counts(&bytes), tracks, "{kind:?}");
        assert_eq!(decoded_pictures(&bytes), 45, "{kind:?}");
    }
}
