//! The named attributes of an object (ONVIF Recording Control 26.06, Annex B), compared with what `ffprobe`
//! counts.

use crate::support::media::{Kind, media, packets, segment, whole_segment};
use bytes::Bytes;
use kasacam::domain::segment::{KeyClock, KeyForm};
use kasacam::fmp4::{self, Attributes, MAX_SEEK_ENTRIES};
use kasacam::upload::{Body, body::Digest, object_for};
use std::collections::BTreeMap;
use std::sync::Arc;

fn of(bytes: &[u8]) -> Attributes {
    fmp4::attributes(&fmp4::read_segment(bytes).unwrap())
}

/// Track, time and `moof` of every entry of the tables in an `mfra`.
fn entries(mfra: &[u8]) -> Vec<(u32, u64, u64)> {
    let u32_at = |at: usize| u32::from_be_bytes(mfra[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_be_bytes(mfra[at..at + 8].try_into().unwrap());
    assert_eq!((u32_at(0) as usize, &mfra[4..8]), (mfra.len(), b"mfra".as_slice()));
    let (mut at, mut found) = (8, Vec::new());
    while at < mfra.len() {
        assert_eq!(&mfra[at + 4..at + 8], b"tfra");
        let (track, count) = (u32_at(at + 12), u32_at(at + 20));
        found.extend(
            (0..count as usize).map(|n| at + 24 + n * 19).map(|at| (track, u64_at(at), u64_at(at + 8))),
        );
        at += u32_at(at) as usize;
    }
    found
}

#[test]
fn the_figures_of_a_segment_are_those_that_ffprobe_counts() {
    for kind in Kind::ALL {
        let bytes = whole_segment(kind).bytes;
        let made = media(kind);
        let of_track = |track: u32| packets(&bytes).into_iter().filter(move |packet| packet.track == track);
        let attributes = of(&bytes);
        assert_eq!(attributes.frames, of_track(1).count() as u64, "{kind:?}");
        assert_eq!(attributes.video_bytes, of_track(1).map(|packet| packet.size).sum::<u64>(), "{kind:?}");
        assert_eq!((attributes.width, attributes.height), (made.init.width, made.init.height));
        // 45 frames, 15 per second.
        assert_eq!(attributes.duration, 3_000_000_000, "{kind:?}");
        assert_eq!(attributes.audio.is_some(), kind.has_sound(), "{kind:?}");
        if let Some(audio) = attributes.audio {
            assert_eq!(audio.bytes, of_track(2).map(|packet| packet.size).sum::<u64>(), "{kind:?}");
            assert_eq!(audio.rate, made.init.audio.unwrap().timescale);
        }
    }
}

#[test]
fn a_seek_table_names_the_first_sample_of_each_track_and_twenty_places_at_most() {
    for kind in Kind::ALL {
        let made = media(kind);
        let chunks: Vec<Vec<u8>> = made.chunks.iter().map(|(_, chunk)| chunk.clone()).collect();
        let fragments = |bytes: &[u8]| {
            let layout = fmp4::read_segment(bytes).unwrap();
            layout.chunks.into_iter().filter(|chunk| chunk.starts_with_sync).map(|chunk| chunk.moof)
        };
        // Once as it is, and once repeated, so that it has far more than twenty fragments.
        for times in [1, 30] {
            let mut all = Vec::new();
            for round in 0..times {
                for chunk in &chunks {
                    let mut chunk = chunk.clone();
                    fmp4::number_chunk(&mut chunk, all.len() as u32 + 1).unwrap();
                    later(&made.init, &mut chunk, round * 3);
                    all.push(chunk);
                }
            }
            let bytes = segment(&made.init, &all).bytes;
            let whole: Vec<u64> = fragments(&bytes).collect();
            assert!(whole.len() >= 3 * times as usize, "{kind:?}: {}", whole.len());
            let found = entries(&of(&bytes).seek_table);
            assert!(found.len() <= MAX_SEEK_ENTRIES, "{kind:?}: {}", found.len());
            for (_, _, moof) in &found {
                assert_eq!(&bytes[*moof as usize + 4..][..4], b"moof", "{kind:?}");
            }
            let of_track = |track: u32| found.iter().filter(move |(of, ..)| *of == track);
            assert_eq!(of_track(1).next().unwrap().2, whole[0], "{kind:?}: the first fragment is there");
            assert_eq!(of_track(2).count(), usize::from(kind.has_sound()), "{kind:?}");
            if times == 1 {
                assert_eq!(of_track(1).map(|(.., moof)| *moof).collect::<Vec<_>>(), whole, "{kind:?}");
            } else {
                // 90 or more fragments in at most 20 entries, at even distances.
                let places: Vec<usize> = of_track(1)
                    .map(|(.., moof)| whole.iter().position(|other| other == moof).expect("a fragment"))
                    .collect();
                assert!(places.len() >= 15, "{kind:?}: {places:?}");
                let step = places[1];
                assert!(places.windows(2).all(|pair| pair[1] - pair[0] == step), "{kind:?}: {places:?}");
            }
        }
    }
}

/// Moves a chunk later by whole seconds.
fn later(init: &kasacam::domain::fragment::Init, chunk: &mut [u8], seconds: u64) {
    let info = fmp4::read_chunk(init, chunk).unwrap();
    let places: Vec<usize> =
        chunk.windows(4).enumerate().filter(|(_, word)| *word == b"tfdt").map(|(at, _)| at).collect();
    for (place, run) in places.iter().zip(&info.runs) {
        let scale = if run.track == 1 { init.video.timescale } else { init.audio.unwrap().timescale };
        let time = run.decode_time + seconds * u64::from(scale);
        let (version, at) = (chunk[place + 4], place + 8);
        if version == 0 {
            chunk[at..at + 4].copy_from_slice(&u32::try_from(time).unwrap().to_be_bytes());
        } else {
            chunk[at..at + 8].copy_from_slice(&time.to_be_bytes());
        }
    }
}

struct Told(Attributes);

impl Body for Told {
    fn read(&self, _take: &mut dyn FnMut(Bytes) -> bool) -> Result<(), String> {
        Ok(())
    }

    fn attributes(&self) -> Option<&Attributes> {
        Some(&self.0)
    }
}

#[test]
fn an_object_carries_them_beside_ours_and_within_what_a_store_takes() {
    let mut attributes = of(&whole_segment(Kind::Chunked).bytes);
    // The maximum length: S3 accepts two kilobytes of names and values altogether.
    attributes.timescale = Some(90_000);
    attributes.seek_table = vec![0xff; 8 + 2 * 24 + MAX_SEEK_ENTRIES * 19];
    let digest = Digest { size: 5, sha256: [1; 32] };
    let time = crate::upload_outcomes::time();
    let form = KeyForm { prefix: "v1/".into(), device: "d".repeat(64), postfix: "front-door".into() };
    let made = |segment| {
        object_for(&form, &segment, time, KeyClock::Trusted, Arc::new(Told(attributes.clone())), digest)
    };

    let object = made(crate::upload_outcomes::footage());
    let metadata: BTreeMap<&str, String> = object.metadata.iter().cloned().collect();
    assert_eq!(metadata.len(), object.metadata.len(), "no name twice");
    assert_eq!(metadata["source"], metadata["device-id"]);
    assert_eq!(metadata["version"], "1.0");
    assert!(metadata.contains_key("seektable") && metadata.contains_key("duration-ms"));
    let bytes: usize = object.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= 2048, "{bytes} bytes of metadata");
    assert!(object.key.contains("/front-door/"), "{}", object.key);

    let end = made(crate::upload_outcomes::span_end());
    assert!(end.metadata.iter().all(|(name, _)| *name != "version"), "the end of a span has no media");
}
