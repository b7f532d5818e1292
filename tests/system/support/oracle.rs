//! The frame oracle: finds which frames, captured when, are in some bytes, by the test card that the test
//! source writes into each of them. It is read from the decoded frame and from the NAL units. Neither trusts
//! what the file, its name or its metadata say about time.

#[path = "../../suite/support/card_reader.rs"]
pub mod card_reader;

use kasacam::capture::test_card::{Card, Size};
use kasacam::fmp4;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The content of one file or object.
#[derive(Clone, Debug)]
pub struct Kept {
    pub name: String,
    /// From the SEI messages, anywhere in the bytes, including a torn tail that cannot be decoded.
    pub cards: Vec<Card>,
    /// Cards of the decoded frames; `None` for one that cannot be read.
    pub frames: Vec<Option<Card>>,
    /// `CLOCK_MONOTONIC` at the beginning of each access unit of audio, in nanoseconds, by the media's times.
    pub audio: Vec<u64>,
}

impl Kept {
    pub fn read(name: &str, bytes: &[u8]) -> Kept {
        Kept {
            name: name.to_owned(),
            cards: card_reader::found_in(bytes),
            frames: frames(bytes),
            audio: audio(bytes),
        }
    }

    /// Every card that either method finds.
    pub fn all(&self) -> Vec<Card> {
        let mut all: Vec<Card> = self.frames.iter().flatten().chain(&self.cards).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Both methods agree, frame by frame, and no frame is missing between the first and the last.
    pub fn assert_is_whole(&self) {
        let told: Vec<Option<Card>> = self.cards.iter().copied().map(Some).collect();
        assert_eq!(self.frames, told, "{}: the frames and their NAL units disagree", self.name);
        for pair in self.cards.windows(2) {
            assert_eq!(pair[0].number + 1, pair[1].number, "{}: a frame is missing", self.name);
            assert!(pair[0].time < pair[1].time, "{}: time goes back at {:?}", self.name, pair[1]);
        }
    }
}

/// Every file below `folder`, whatever its name, that has bytes of a frame or may have some.
pub fn left_in(folder: &Path) -> Vec<Kept> {
    let mut kept = Vec::new();
    for path in files(folder) {
        // A file that was renamed or removed since is found under its new name, or in the store.
        if let Ok(bytes) = std::fs::read(&path) {
            kept.push(Kept::read(&path.display().to_string(), &bytes));
        }
    }
    kept
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
    found.sort();
    found
}

/// The cards of all frames that ffmpeg decodes from these bytes, as far as it can.
fn frames(bytes: &[u8]) -> Vec<Option<Card>> {
    if bytes.get(4..8) != Some(b"ftyp") {
        return Vec::new();
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-err_detect", "ignore_err", "-i"])
        .arg(file.path())
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "pgm", "-"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("ffmpeg");
    let mut cards = Vec::new();
    let mut rest = done.stdout.as_slice();
    while let Some((size, behind)) = pgm(rest) {
        let (luma, next) = behind.split_at(size.width * size.height);
        cards.push(card_reader::read(luma, size));
        rest = next;
    }
    assert!(rest.is_empty(), "ffmpeg wrote something else than frames");
    cards
}

/// The header of a binary PGM, and what follows it.
fn pgm(bytes: &[u8]) -> Option<(Size, &[u8])> {
    let mut fields = bytes.splitn(4, |byte| *byte == b'\n');
    let (magic, size, most, data) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    assert_eq!((magic, most), (&b"P5"[..], &b"255"[..]), "not a PGM");
    let (width, height) = std::str::from_utf8(size).unwrap().split_once(' ').unwrap();
    let (width, height) = (width.parse().unwrap(), height.parse().unwrap());
    Some((Size { width, height, stride: width }, data))
}

/// When each access unit of audio begins. A segment's first frame is at `start_mono` of its record.
fn audio(bytes: &[u8]) -> Vec<u64> {
    let Ok(layout) = fmp4::read_segment(bytes) else { return Vec::new() };
    let (video, Some(audio)) = (layout.init.video, layout.init.audio) else { return Vec::new() };
    let runs = || layout.chunks.iter().flat_map(|chunk| &chunk.runs);
    let nanos = |ticks: u64, scale: u32| i128::from(ticks) * 1_000_000_000 / i128::from(scale.max(1));
    let first = runs().filter(|run| run.track == video.id).map(|run| run.decode_time).min().unwrap_or(0);
    let origin = i128::from(layout.record.start_mono) - nanos(first, video.timescale);
    runs()
        .filter(|run| run.track == audio.id)
        .flat_map(|run| {
            let unit = run.duration / u64::from(run.samples.max(1));
            (0..u64::from(run.samples)).map(move |index| run.decode_time + index * unit)
        })
        .map(|ticks| u64::try_from(origin + nanos(ticks, audio.timescale)).unwrap_or(0))
        .collect()
}
