//! The times in a file: media times from zero, and the UTC of each chunk.

use crate::support::handmade::{Handmade, SYNC, both_tracks, boxed, full};
use crate::support::media::{Kind, decoded_pictures, media, packets, record, segment, whole_segment};
use kasacam::domain::fragment::Init;
use kasacam::domain::time::Utc;
use kasacam::fmp4::{self, ChunkInfo, Origin, TrackRun};

/// A chunk, and what is read of it, after `origin` was taken from its times.
fn rebased(init: &Init, chunk: &[u8], origin: Origin) -> (Vec<u8>, ChunkInfo) {
    let (mut bytes, mut info) = (chunk.to_vec(), fmp4::read_chunk(init, chunk).unwrap());
    fmp4::rebase(init, &mut bytes, &mut info, origin).unwrap();
    assert_eq!(info, fmp4::read_chunk(init, &bytes).unwrap(), "what was read is what stands there");
    (bytes, info)
}

#[test]
fn rebasing_moves_every_track_by_the_same_time() {
    for kind in Kind::ALL {
        let made = media(kind);
        let first = made.chunks.iter().find(|(_, chunk)| {
            let info = fmp4::read_chunk(&made.init, chunk).unwrap();
            info.starts_with_sync && info.runs[0].decode_time > 0
        });
        let first = fmp4::read_chunk(&made.init, &first.unwrap().1).unwrap();
        let (_, chunk) = made.chunks.last().unwrap();
        let before = fmp4::read_chunk(&made.init, chunk).unwrap();

        let (moved, after) = rebased(&made.init, chunk, Origin::of(&made.init, &first));

        // The earliest of the tracks, in ticks of the video; and that in ticks of the audio, rounded down.
        let scale = |track: u32| match made.init.audio {
            Some(audio) if audio.id == track => u64::from(audio.timescale),
            _ => u64::from(made.init.video.timescale),
        };
        let pictures = scale(made.init.video.id);
        let origin =
            first.runs.iter().map(|run| run.decode_time * pictures / scale(run.track)).min().unwrap();
        for (before, after) in before.runs.iter().zip(&after.runs) {
            let ticks = origin * scale(before.track) / pictures;
            let earlier = i64::try_from(ticks).unwrap();
            let expected = TrackRun {
                decode_time: before.decode_time - ticks,
                earliest_presentation: before.earliest_presentation - earlier,
                ..before.clone()
            };
            assert_eq!(*after, expected, "{kind:?}");
        }
        let changed = chunk.iter().zip(&moved).filter(|(before, after)| before != after).count();
        assert!((1..=8 * before.runs.len()).contains(&changed), "{changed} bytes of {kind:?}");
    }
}

#[test]
fn a_short_decode_time_stays_short() {
    let tfhd = full(b"tfhd", 0, 0x02_0038, &[1, 100, 20, SYNC]);
    let trun = full(b"trun", 0, 0x1, &[3, 104]);
    let with = |time| {
        let tfdt = full(b"tfdt", 0, 0, &[time]);
        Handmade { tfhd: tfhd.clone(), tfdt, trun: trun.clone(), mdat: 60 }.build()
    };
    let first = fmp4::read_chunk(both_tracks(), &with(15_360)).unwrap();

    let (bytes, _) = rebased(both_tracks(), &with(0xffff_ffff), Origin::of(both_tracks(), &first));

    assert_eq!(bytes, with(0xffff_ffff - 15_360));
}

#[test]
fn a_file_begins_with_the_earliest_of_its_tracks_and_nothing_lies_before_it() {
    let made = media(Kind::Negative);
    // The video begins at 2 s, the audio at 1.984 s: 30474.24 ticks of the video, and 31744 of its own.
    let first = fmp4::read_chunk(&made.init, &made.chunks[2].1).unwrap();
    assert_eq!(first.runs.iter().map(|run| run.decode_time).collect::<Vec<_>>(), [30_720, 31_744]);
    let origin = Origin::of(&made.init, &first);

    let times = |at: usize| {
        let (_, info) = rebased(&made.init, &made.chunks[at].1, origin);
        info.runs.iter().map(|run| run.decode_time).collect::<Vec<_>>()
    };

    assert_eq!(times(2), [246, 1], "the frames by the whole tick");
    assert_eq!(times(0), [0, 0], "what is late begins with the file");
}

#[test]
fn a_number_goes_into_the_movie_fragment_header_alone() {
    let made = media(Kind::Chunked);
    let (_, chunk) = &made.chunks[1];
    let mut numbered = chunk.clone();

    fmp4::number_chunk(&mut numbered, 0x0102_0304).unwrap();

    // moof header, mfhd header, version and flags: 8 + 8 + 4.
    let expected = [&chunk[..20], &[1, 2, 3, 4], &chunk[24..]].concat();
    assert_eq!(numbered, expected);
    let mut short = boxed(b"moof", &[&full(b"mfhd", 0, 0, &[]), &boxed(b"traf", &[])]);
    let before = short.clone();
    assert!(fmp4::number_chunk(&mut short, 1).is_err());
    assert_eq!(short, before);
}

#[test]
fn prft_is_written_byte_for_byte() {
    let at = |text: &str, nanos: i64| Utc(Utc::parse(text).unwrap().0 + nanos);
    let prft = fmp4::prft_box(0x0a0b_0c0d, at("2021-01-01T00:00:00Z", 500_000_000), 0x0102_0304_0506_0708);
    // 2021-01-01 is 3818448000 s after 1900-01-01.
    let expected: [u8; 32] = [
        0, 0, 0, 32, b'p', b'r', b'f', b't', 1, 0, 0, 24, 0x0a, 0x0b, 0x0c, 0x0d, 0xe3, 0x98, 0xe4, 0x80,
        0x80, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    assert_eq!(u32::from_be_bytes(expected[16..20].try_into().unwrap()), 3_818_448_000);
    assert_eq!(prft, expected);
    let ntp = |utc| u64::from_be_bytes(fmp4::prft_box(1, utc, 0)[16..24].try_into().unwrap());
    assert_eq!(ntp(Utc(0)), 2_208_988_800 << 32);
    assert_eq!(ntp(Utc(1)), 2_208_988_800 << 32 | 4);
    assert_eq!(ntp(Utc(999_999_999)), 2_208_988_800 << 32 | 0xffff_fffc);
    assert_eq!(ntp(Utc(-1)), 2_208_988_799 << 32 | 0xffff_fffc);
    // The era ends on 2036-02-07 at 06:28:16.
    assert_eq!(ntp(at("2036-02-07T06:28:15Z", 0)), 0xffff_ffff << 32);
    assert_eq!(ntp(at("2036-02-07T06:28:16Z", 0)), 0);
    assert_eq!(ntp(at("2036-02-07T06:28:17Z", 0)), 1 << 32);
}

#[test]
fn a_shift_moves_the_ntp_time_of_every_prft_and_nothing_else() {
    let segment = whole_segment(Kind::Chunked);
    let shift = 86_400_000_000_000 + 250_000_000;
    let mut shifted = segment.bytes.clone();

    assert_eq!(fmp4::shift_prft(&mut shifted, shift).len(), segment.chunks.len());

    let mut expected = segment.bytes.clone();
    let video = media(Kind::Chunked).init.video.id;
    for (start, _) in &segment.chunks {
        let media_time = u64::from_be_bytes(expected[start - 8..*start].try_into().unwrap());
        let prft = fmp4::prft_box(video, Utc(record().start_utc.0 + shift), media_time);
        expected[start - 32..*start].copy_from_slice(&prft);
    }
    assert_ne!(expected, segment.bytes);
    assert!(shifted == expected, "the shifted file differs from one written so");
    fmp4::shift_prft(&mut shifted, -shift);
    assert!(shifted == segment.bytes, "a quarter of a second there and back");
}

#[test]
fn a_shift_finds_the_ntp_time_in_every_form_of_prft() {
    let ntp = [0xe3, 0x98, 0xe4, 0x80, 0, 0, 0, 0];
    let moved = [0xe3, 0x98, 0xe4, 0x81, 0, 0, 0, 0];
    // Version 0, whose media time has 32 bits; a box with a 64-bit size; one too short to have a time.
    let old = |ntp: &[u8]| boxed(b"prft", &[&[0; 4], &[0, 0, 0, 1], ntp, &[0; 4]]);
    let large = |ntp: &[u8]| {
        [&[0, 0, 0, 1][..], b"prft", &[0, 0, 0, 0, 0, 0, 0, 40], &[1, 0, 0, 24, 0, 0, 0, 1], ntp, &[0; 8]]
            .concat()
    };
    let short = boxed(b"prft", &[&[1; 12]]);
    let within = |ntp: &[u8]| boxed(b"mdat", &[&old(ntp)]);
    let torn = |ntp: &[u8]| old(ntp)[..27].to_vec();
    let mut bytes = [old(&ntp), large(&ntp), short.clone(), within(&ntp), torn(&ntp)].concat();

    assert_eq!(fmp4::shift_prft(&mut bytes, 1_000_000_000).len(), 2);

    assert_eq!(bytes, [old(&moved), large(&moved), short, within(&ntp), torn(&ntp)].concat());
}

#[test]
fn other_programs_play_what_begins_amid_a_run_from_zero() {
    let made = media(Kind::Negative);
    let mut chunks: Vec<Vec<u8>> = made.chunks[1..].iter().map(|(_, chunk)| chunk.clone()).collect();
    let origin = Origin::of(&made.init, &fmp4::read_chunk(&made.init, &chunks[0]).unwrap());
    for chunk in &mut chunks {
        *chunk = rebased(&made.init, chunk, origin).0;
    }

    let bytes = segment(&made.init, &chunks).bytes;

    let found = packets(&bytes);
    let first = |track: u32| found.iter().find(|packet| packet.track == track).unwrap().dts;
    // The audio began at 0.96 s, which is 14745.6 ticks of the video's 15360: 14745, or 15359.375 of its own.
    assert_eq!((first(1), first(2)), (15_360 - 14_745, 1));
    assert_eq!(found.iter().filter(|packet| packet.track == 1).count(), 30);
    assert_eq!(decoded_pictures(&bytes), 30);
}
