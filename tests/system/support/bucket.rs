//! What the store holds, read back as a client of the cloud would.

use super::cloud::Cloud;
use crate::objects::{Bucket, Facts};
use kasacam::fmp4::{self, Layout, TrackRun};
use std::collections::BTreeMap;

/// One object.
#[derive(Clone, Debug)]
pub struct Stored {
    pub key: String,
    pub facts: Facts,
    pub body: Vec<u8>,
}

impl Cloud {
    /// Every object, in the order of keys.
    pub fn stored(&self) -> Vec<Stored> {
        let bucket = Bucket::open(self.dir().join("bucket")).unwrap();
        let keys = bucket.keys("").unwrap().into_iter();
        keys.map(|key| {
            let (facts, body) = (bucket.facts(&key).unwrap().unwrap(), bucket.body(&key).unwrap());
            Stored { key, facts, body }
        })
        .collect()
    }

    /// Every segment of footage, in the order of keys.
    pub fn footage(&self) -> Vec<Stored> {
        self.stored().into_iter().filter(|object| !object.is_end()).collect()
    }
}

impl Stored {
    pub fn is_end(&self) -> bool {
        self.key.ends_with(".mp4_end")
    }

    pub fn metadata(&self, name: &str) -> &str {
        self.facts.metadata.get(name).unwrap_or_else(|| panic!("{} has no metadata {name}", self.key))
    }

    /// The counter of the key.
    pub fn n(&self) -> u64 {
        self.key.rsplit('.').nth(1).unwrap().parse().unwrap()
    }

    /// Its content; it must be a whole segment.
    pub fn layout(&self) -> Layout {
        let layout = fmp4::read_segment(&self.body).unwrap_or_else(|e| panic!("{}: {e}", self.key));
        assert!(layout.complete, "{}: not whole to its mfra", self.key);
        layout
    }

    /// Number of frames in each of its GOPs.
    pub fn gops(&self) -> Vec<u64> {
        let layout = self.layout();
        let mut gops = Vec::new();
        for chunk in &layout.chunks {
            let frames = chunk.runs.iter().filter(|run| run.track == layout.init.video.id);
            let frames: u64 = frames.map(|run| u64::from(run.samples)).sum();
            match gops.last_mut() {
                Some(open) if !chunk.starts_with_sync => *open += frames,
                Some(_) | None => gops.push(frames),
            }
        }
        gops
    }

    /// Number of frames in it.
    pub fn frames(&self) -> u64 {
        let layout = self.layout();
        let runs = layout.chunks.iter().flat_map(|chunk| &chunk.runs);
        let frames = runs.filter(|run| run.track == layout.init.video.id);
        frames.map(|run| u64::from(run.samples)).sum()
    }
}

/// Each span's segments count from 0 without a gap or a duplicate, and if `ended`, each span has one end
/// after its last segment. Each segment in a span begins when the one before ends.
pub fn assert_spans_are_whole(stored: &[Stored], ended: bool) {
    let mut spans: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    for object in stored {
        spans.entry(object.metadata("span")).or_default().push(object);
    }
    for (span, mut objects) in spans {
        objects.sort_by_key(|object| object.n());
        let counters: Vec<u64> = objects.iter().map(|object| object.n()).collect();
        let expected: Vec<u64> = (0..counters.len() as u64).collect();
        assert_eq!(counters, expected, "the counters of span {span}");
        let ends = objects.iter().filter(|object| object.is_end()).count();
        assert!(ends <= 1 && objects.iter().rev().skip(1).all(|object| !object.is_end()), "span {span}");
        assert!(!ended || ends == 1, "span {span} has no end");
        let layouts: Vec<Layout> =
            objects.iter().filter(|object| !object.is_end()).map(|object| object.layout()).collect();
        for (object, pair) in objects.iter().zip(layouts.windows(2)) {
            let run = |layout: &Layout, last: bool| {
                let chunk = if last { layout.chunks.last() } else { layout.chunks.first() };
                let chunk = chunk.expect("a segment has chunks");
                chunk.runs.iter().find(|run| run.track == layout.init.video.id).expect("frames").clone()
            };
            let (before, after) = (run(&pair[0], true), run(&pair[1], false));
            let scale = u64::from(pair[0].init.video.timescale);
            let frame = before.duration / u64::from(before.samples);
            // The times of each begin at zero, including audio that began slightly earlier. In version 0.1.0
            // they continued.
            let goes_on = after.decode_time.abs_diff(before.decode_time + before.duration) < frame;
            assert!(
                after.decode_time * 10 < scale || goes_on,
                "a segment begins at {} ticks",
                after.decode_time
            );
            let shown = |run: &TrackRun| u64::try_from(run.earliest_presentation).unwrap();
            let lasted = shown(&before) + before.duration - shown(&run(&pair[0], false));
            let tells: u64 = object.metadata("duration-ms").parse().unwrap();
            assert!(
                tells.abs_diff(lasted * 1000 / scale) <= 1,
                "{tells} ms told, {lasted} ticks in the file"
            );
            // The footage continues without a gap: each segment begins when the one before ends.
            let told = pair[1].record.start_utc.since(pair[0].record.start_utc).as_nanos();
            let told = u64::try_from(told * u128::from(scale) / 1_000_000_000).unwrap();
            // Reordered frames that come over a network are decoded sometimes slightly earlier, sometimes
            // slightly later.
            let off = told.abs_diff(lasted);
            assert!(off < frame * 5, "a hole of {off} ticks within span {span}");
            assert_eq!(pair[0].init.bytes, pair[1].init.bytes, "one moov describes all of span {span}");
        }
    }
}
