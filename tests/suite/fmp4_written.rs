//! What the muxer writes, byte by byte and as the crate's own reader reads it.

use bytes::Bytes;
use kasacam::fmp4::{self, AudioDescription, DecoderSets, Sample, SampleRun, VideoDescription};
use proptest::prelude::*;

fn video() -> VideoDescription {
    VideoDescription {
        sets: DecoderSets::H264 {
            sps: Bytes::from_static(&[0x67, 0x64, 0x00, 0x1f, 0xac]),
            pps: vec![Bytes::from_static(&[0x68, 0xee])],
        },
        size: (320, 180),
        aspect: (1, 1),
        chroma: Some(1),
        depths: (0, 0),
        sets_in_band: false,
        turns: 0,
    }
}

fn audio() -> AudioDescription {
    AudioDescription { config: Bytes::from_static(&[0x11, 0x88]), rate: 48_000, channels: 1 }
}

fn sample(duration: u32, offset: i32, nals: &[&'static [u8]]) -> Sample {
    Sample { duration, offset, data: nals.iter().copied().map(Bytes::from_static).collect(), nals: true }
}

#[test]
fn a_header_reads_back_as_what_it_was_made_of() {
    let init = fmp4::read_init(fmp4::write_init(&video(), Some(&audio()))).unwrap();

    assert_eq!(init.codecs, "avc1.64001f,mp4a.40.2");
    assert_eq!((init.width, init.height), (320, 180));
    assert_eq!((init.video.id, init.video.timescale), (fmp4::VIDEO_TRACK, fmp4::VIDEO_TIMESCALE));
    assert_eq!(init.audio.map(|audio| (audio.id, audio.timescale)), Some((fmp4::AUDIO_TRACK, 48_000)));
    let silent = fmp4::read_init(fmp4::write_init(&video(), None)).unwrap();
    assert_eq!((silent.codecs.as_str(), silent.audio), ("avc1.64001f", None));
    let in_band = VideoDescription { sets_in_band: true, ..video() };
    assert_eq!(fmp4::read_init(fmp4::write_init(&in_band, None)).unwrap().codecs, "avc3.64001f");
}

#[test]
fn the_parameter_sets_stand_in_the_header_as_the_standard_lays_them_out() {
    let bytes = fmp4::write_init(&video(), None);
    #[rustfmt::skip]
    let record = [
        0, 0, 0, 30, b'a', b'v', b'c', b'C',
        1, 0x64, 0x00, 0x1f, 0xff,
        0xe1, 0, 5, 0x67, 0x64, 0x00, 0x1f, 0xac,
        1, 0, 2, 0x68, 0xee,
        0xfd, 0xf8, 0xf8, 0,
    ];
    assert!(bytes.windows(record.len()).any(|window| window == record), "{bytes:02x?}");
}

#[test]
fn a_chunk_is_laid_out_as_the_standard_says() {
    let runs = [SampleRun {
        track: 1,
        decode_time: 0x0102_0304_0506,
        first_is_sync: true,
        all_are_sync: false,
        samples: vec![sample(3600, 3600, &[&[0x65, 0x88], &[0x65]]), sample(3601, -1, &[&[0x41]])],
    }];

    let chunk = fmp4::write_chunk(7, &runs).unwrap();

    #[rustfmt::skip]
    let expected = [
        0, 0, 0, 120, b'm', b'o', b'o', b'f',
        0, 0, 0, 16, b'm', b'f', b'h', b'd', 0, 0, 0, 0, 0, 0, 0, 7,
        0, 0, 0, 96, b't', b'r', b'a', b'f',
        0, 0, 0, 20, b't', b'f', b'h', b'd', 0, 2, 0, 0x20, 0, 0, 0, 1, 1, 1, 0, 0,
        0, 0, 0, 20, b't', b'f', b'd', b't', 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6,
        0, 0, 0, 48, b't', b'r', b'u', b'n', 1, 0, 0x0b, 5, 0, 0, 0, 2, 0, 0, 0, 128, 2, 0, 0, 0,
        0, 0, 0x0e, 0x10, 0, 0, 0, 11, 0, 0, 0x0e, 0x10,
        0, 0, 0x0e, 0x11, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff,
        0, 0, 0, 24, b'm', b'd', b'a', b't',
        0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 1, 0x65,
        0, 0, 0, 1, 0x41,
    ];
    assert_eq!(chunk[..], expected);
}

#[test]
fn a_picture_that_lies_on_its_side_is_told_so() {
    for (turns, first) in [(0u8, [0, 1, 0, 0, 0, 0, 0, 0]), (1, [0, 0, 0, 0, 0, 1, 0, 0])] {
        let bytes = fmp4::write_init(&VideoDescription { turns, ..video() }, None);
        let tkhd = bytes.windows(4).position(|window| window == b"tkhd").unwrap();
        // Version and flags, five fields, two reserved, layer to volume.
        let matrix = tkhd + 4 + 4 + 20 + 8 + 8;
        assert_eq!(bytes[matrix..matrix + 8], first, "{turns}");
    }
}

#[test]
fn samples_that_are_not_square_have_their_width_told() {
    let wide = VideoDescription { size: (704, 576), aspect: (16, 11), ..video() };
    let bytes = fmp4::write_init(&wide, None);
    let pasp = bytes.windows(4).position(|window| window == b"pasp").unwrap();
    assert_eq!(bytes[pasp + 4..pasp + 12], [0, 0, 0, 16, 0, 0, 0, 11]);
    assert_eq!(fmp4::read_init(bytes).unwrap().width, 704, "the coded width is in the sample entry");
}

fn any_run(track: u32, nals: bool) -> impl Strategy<Value = SampleRun> {
    let sample = (1..200_000u32, -90_000..90_000i32, prop::collection::vec(0..400usize, 1..4)).prop_map(
        move |(duration, offset, sizes)| Sample {
            duration,
            offset: if nals { offset } else { 0 },
            data: sizes.into_iter().map(|size| Bytes::from(vec![0x41; size])).collect(),
            nals,
        },
    );
    (any::<u32>(), any::<bool>(), prop::collection::vec(sample, 0..12)).prop_map(
        move |(decode_time, first_is_sync, samples)| SampleRun {
            track,
            decode_time: decode_time.into(),
            first_is_sync: first_is_sync || !nals,
            all_are_sync: !nals,
            samples,
        },
    )
}

proptest! {
    #[test]
    fn every_chunk_reads_back(sequence: u32, pictures in any_run(1, true), sound_run in any_run(2, false)) {
        let init = fmp4::read_init(fmp4::write_init(&video(), Some(&audio()))).unwrap();
        let runs = [pictures, sound_run];
        let chunk = fmp4::write_chunk(sequence, &runs).unwrap();
        let written: Vec<&SampleRun> = runs.iter().filter(|run| !run.samples.is_empty()).collect();
        prop_assume!(!written.is_empty());

        let info = fmp4::read_chunk(&init, &chunk).unwrap();

        prop_assert_eq!(info.sequence, sequence);
        prop_assert_eq!(info.end, chunk.len() as u64);
        prop_assert_eq!(info.runs.len(), written.len());
        for (read, run) in info.runs.iter().zip(written) {
            prop_assert_eq!(read.track, run.track);
            prop_assert_eq!(read.decode_time, run.decode_time);
            prop_assert_eq!(read.samples as usize, run.samples.len());
            prop_assert_eq!(read.duration, run.samples.iter().map(|it| u64::from(it.duration)).sum::<u64>());
            if run.track == 1 {
                prop_assert_eq!(info.starts_with_sync, run.first_is_sync);
            }
        }
    }
}
