//! A file as a source: the agent reads it, and pushes it into the pipeline with its own times.
//!
//! So a repeated file is one continuous stream: each round is read again to its last frame, and begins where the
//! previous one ended. A small separate pipeline demuxes MP4 and MKV; a byte stream is read here, since GStreamer gives
//! it no times.

use super::contents::{Contents, contents};
use super::demux::{Demuxed, Times, TrackKind};
use super::faults::{fault, wrong_codec};
use super::head::Head;
use super::shared::Shared;
use crate::capture::annexb::{AccessUnit, NotAnnexB, StreamReader};
use crate::capture::container::{self, Unfit};
use crate::capture::pipeline::{AUDIO_FEED, Container, Description, Stage, VIDEO_FEED, media};
use crate::config::FrameRate;
use crate::domain::codec::Codec;
use crate::domain::input::{Fault, FaultKind};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

/// How often a waiting reader checks whether it must stop.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Marks the first frame of a round: it does not depend on the previous round.
pub(super) const NEW_ROUND: gst::BufferFlags = gst::BufferFlags::RESYNC;

/// The readers of a file.
pub(super) struct Feed {
    path: PathBuf,
    repeat: bool,
    codec: Codec,
    fps: FrameRate,
    source: Source,
    /// Rotation for display, in clockwise quarter turns.
    turns: u8,
    stop: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
    shared: Arc<Shared>,
}

enum Source {
    Stream,
    /// Each track has its own reader: one must be able to continue while the other waits.
    Demuxed {
        container: Container,
        video: Option<Demuxed>,
        audio: Option<Demuxed>,
    },
}

/// Whether the description uses the audio track of the file.
pub(super) fn wants_audio(description: &Description) -> bool {
    description.audio.as_ref().is_some_and(|stages| {
        stages
            .iter()
            .any(|stage| matches!(stage, Stage::Element(element) if element.name == Some(AUDIO_FEED)))
    })
}

impl Feed {
    /// Opens the file and finds its tracks.
    pub(super) fn open(
        description: &Description,
        (path, container, repeat): (&Path, Container, bool),
        audio: bool,
        shared: &Arc<Shared>,
    ) -> Result<Feed, Fault> {
        let container = match contents(path) {
            Some(Contents::Of(found)) => found,
            Some(Contents::TransportStream) => {
                let why = "it is an MPEG transport stream, which is not supported: convert it to an MP4 or MKV file";
                return Err(fault(FaultKind::Pipeline, format!("{}: {why}", path.display())));
            }
            None => container,
        };
        let tracks = if container == Container::Mp4 { container::tracks(path) } else { Vec::new() };
        let refused = |why: &str| fault(FaultKind::Pipeline, format!("{}: {why}", path.display()));
        let codec = description.codec;
        match container::unfit(&tracks, codec) {
            Some(Unfit::Other(other)) => return Err(wrong_codec(&description.source, codec, other)),
            Some(Unfit::Unread(why)) => return Err(refused(&why)),
            None => {}
        }
        let turns = tracks.iter().find(|track| track.codec() == Some(codec)).map_or(0, |track| track.turns);
        let source = match container {
            Container::ByteStream => Source::Stream,
            Container::Mp4 | Container::Matroska => {
                let video = Demuxed::open(path, container, TrackKind::Video(codec), shared)?;
                let video = video.map_or_else(|| Err(not_there(description, path, container, shared)), Ok)?;
                let audio =
                    if audio { Demuxed::open(path, container, TrackKind::Audio, shared)? } else { None };
                Source::Demuxed { container, video: Some(video), audio }
            }
        };
        Ok(Feed {
            path: path.to_owned(),
            repeat,
            codec,
            fps: description.fps,
            source,
            turns,
            stop: Arc::default(),
            reader: None,
            shared: Arc::clone(shared),
        })
    }

    /// Whether the file has audio that can be stored as it is.
    pub(super) fn has_audio(&self) -> bool {
        match &self.source {
            Source::Stream => false,
            Source::Demuxed { audio, .. } => audio.is_some(),
        }
    }

    /// Rotation for display, in clockwise quarter turns.
    pub(super) fn turns(&self) -> u8 {
        self.turns
    }

    /// Starts to push into the pipeline.
    pub(super) fn begin(&mut self, pipeline: &gst::Pipeline) -> Result<(), Fault> {
        let video = Head::of_frames(pipeline, VIDEO_FEED)?;
        let audio = Head::of(pipeline, AUDIO_FEED);
        let job = Job {
            path: self.path.clone(),
            repeat: self.repeat,
            codec: self.codec,
            fps: self.fps,
            stop: Arc::clone(&self.stop),
            shared: Arc::clone(&self.shared),
            video,
            audio,
            frames_end: AtomicI64::new(i64::MAX),
        };
        let source = match &mut self.source {
            Source::Stream => None,
            Source::Demuxed { container, video, audio } => {
                video.take().map(|video| (*container, video, audio.take()))
            }
        };
        let reader = thread::Builder::new().name(String::from("capture-reader")).spawn(move || {
            let outcome = match source {
                None => job.stream(),
                Some((container, video, audio)) => job.demuxed(container, video, audio),
            };
            if let Err(why) = outcome {
                job.shared.send(super::shared::Event::Failed(why));
            }
            for end in [Some(&job.video), job.audio.as_ref()].into_iter().flatten() {
                end.end();
            }
        });
        self.reader =
            Some(reader.map_err(|why| fault(FaultKind::Pipeline, format!("no thread for the file: {why}")))?);
        Ok(())
    }

    /// Whether the file is closed.
    pub(super) fn is_over(&self) -> bool {
        self.reader.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Stops reading. Frames that were pushed stay, and EOS follows them.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
        if let Some(reader) = self.reader.take() {
            // The pipeline is closed: the reader's next push fails, or it sees `stop` soon.
            if reader.join().is_err() {
                tracing::error!("the thread that reads the file panicked");
            }
        }
    }
}

struct Job {
    path: PathBuf,
    repeat: bool,
    codec: Codec,
    fps: FrameRate,
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    video: Head,
    audio: Option<Head>,
    /// End of the last frame, in nanoseconds, once it is known: audio after it is dropped.
    frames_end: AtomicI64,
}

impl Job {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn wanted(&self) -> bool {
        !self.stopped() && !self.shared.quits()
    }

    fn unreadable(&self, why: &dyn std::fmt::Display) -> Fault {
        fault(FaultKind::DeviceMissing, format!("{} cannot be read: {why}", self.path.display()))
    }

    /// Reads a byte stream, also from a FIFO.
    fn stream(&self) -> Result<(), Fault> {
        let caps = gst::Caps::builder(media(self.codec))
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .field("framerate", fraction(self.fps))
            .build();
        self.video.set_caps(caps);
        let mut file = open_without_waiting(&self.path).map_err(|why| self.unreadable(&why))?;
        let fifo = file.metadata().is_ok_and(|facts| facts.file_type().is_fifo());
        let unread = |why| match why {
            NotAnnexB::Other(other) => wrong_codec(&self.path.display().to_string(), self.codec, other),
            NotAnnexB::Unread(why) => fault(FaultKind::Pipeline, format!("{}: {why}", self.path.display())),
        };
        let mut reader = StreamReader::new(self.codec);
        let mut portion = vec![0; 64 << 10];
        let mut read_any = false;
        let mut warned = false;
        while !self.stopped() {
            match file.read(&mut portion) {
                // No writer has opened the FIFO yet.
                Ok(0) if fifo && !read_any => thread::sleep(POLL_INTERVAL),
                Ok(0) => {
                    for unit in reader.finish().map_err(unread)? {
                        if !self.push_unit(unit) {
                            return Ok(());
                        }
                    }
                    if !self.repeat || fifo {
                        return Ok(());
                    }
                    file.rewind().map_err(|why| self.unreadable(&why))?;
                }
                Ok(count) => {
                    read_any = true;
                    let units = reader.push(portion.get(..count).unwrap_or_default()).map_err(unread)?;
                    if !units.is_empty() && reader.skipped() > 0 && !std::mem::replace(&mut warned, true) {
                        tracing::warn!(
                            "{}: {} slices before the first IDR frame with its parameter sets were skipped",
                            self.path.display(),
                            reader.skipped()
                        );
                    }
                    for unit in units {
                        if !self.push_unit(unit) {
                            return Ok(());
                        }
                    }
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => thread::sleep(POLL_INTERVAL),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(self.unreadable(&why)),
            }
        }
        Ok(())
    }

    /// Pushes one access unit; `false` if the pipeline takes no more.
    fn push_unit(&self, unit: AccessUnit) -> bool {
        let time = |count: u64| gst::ClockTime::from_nseconds(self.fps.nanos(count).min(u64::MAX - 1));
        let mut buffer = gst::Buffer::from_slice(unit.bytes);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(time(unit.presented));
            buffer.set_dts(time(unit.decoded));
            buffer.set_duration(time(unit.decoded + 1).saturating_sub(time(unit.decoded)));
            if !unit.idr {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        !self.stopped() && self.video.push(buffer)
    }

    fn demuxed(&self, container: Container, video: Demuxed, audio: Option<Demuxed>) -> Result<(), Fault> {
        video.play()?;
        let first = video.pull(|| self.wanted());
        // Decode times of reordered frames begin below zero; times in the pipeline must not.
        let start = first
            .front()
            .and_then(|it| Times::of(it, container, None))
            .map_or(0, |times| times.dts.min(times.pts));
        let shift = (-start).max(0);
        // The tracks of a file seldom have the same length; rounds must.
        let length = match &audio {
            Some(_) if self.repeat => Some(self.length(container)?),
            Some(_) | None => None,
        };
        thread::scope(|scope| {
            let audio = audio.zip(self.audio.as_ref()).map(|(from, to)| {
                scope.spawn(move || {
                    let outcome = self.rounds(
                        container,
                        TrackKind::Audio,
                        (from, VecDeque::new()),
                        to,
                        (shift, length),
                    );
                    to.end();
                    outcome
                })
            });
            let frames = self.rounds(
                container,
                TrackKind::Video(self.codec),
                (video, first),
                &self.video,
                (shift, length),
            );
            self.video.end();
            match audio.map(thread::ScopedJoinHandle::join) {
                Some(Ok(Err(why))) => frames.and(Err(why)),
                Some(Ok(Ok(())) | Err(_)) | None => frames,
            }
        })
    }

    /// The length of the file in nanoseconds: reads it once.
    fn length(&self, container: Container) -> Result<i64, Fault> {
        let mut length = 0;
        for kind in [TrackKind::Video(self.codec), TrackKind::Audio] {
            let Some(stream) = Demuxed::open(&self.path, container, kind, &self.shared)? else { continue };
            stream.play()?;
            loop {
                let samples = stream.pull(|| self.wanted());
                if samples.is_empty() {
                    break;
                }
                for sample in &samples {
                    length = Times::of(sample, container, self.frame_duration(kind))
                        .map_or(length, |it| length.max(it.pts + it.duration));
                }
            }
        }
        Ok(length)
    }

    /// The length of a frame, if the file does not state it.
    fn frame_duration(&self, kind: TrackKind) -> Option<i64> {
        (kind != TrackKind::Audio).then(|| i64::try_from(self.fps.nanos(1)).unwrap_or(i64::MAX))
    }

    /// Pushes one track of the file, once or repeatedly.
    fn rounds(
        &self,
        container: Container,
        kind: TrackKind,
        (mut round, mut first): (Demuxed, VecDeque<gst::Sample>),
        to: &Head,
        (shift, length): (i64, Option<i64>),
    ) -> Result<(), Fault> {
        let mut offset = shift;
        loop {
            round.play()?;
            let end = self.pump(&round, std::mem::take(&mut first), to, (container, kind), offset);
            if let Ok(why) = round.failures.try_recv() {
                return Err(why);
            }
            if !self.repeat || self.stopped() || self.shared.quits() {
                if kind != TrackKind::Audio {
                    self.frames_end.store(end, Ordering::Release);
                }
                return Ok(());
            }
            let step = length.unwrap_or(end - offset);
            if step <= 0 {
                return Err(fault(FaultKind::Pipeline, format!("{} has no frames", self.path.display())));
            }
            offset += step;
            drop(round);
            round = Demuxed::open(&self.path, container, kind, &self.shared)?.ok_or_else(|| {
                fault(FaultKind::Pipeline, format!("{} has lost a track", self.path.display()))
            })?;
        }
    }

    /// Pushes a track to its end. Returns the end, including `offset`.
    fn pump(
        &self,
        round: &Demuxed,
        mut here: VecDeque<gst::Sample>,
        to: &Head,
        (container, kind): (Container, TrackKind),
        offset: i64,
    ) -> i64 {
        let mut end = offset;
        let mut anew = true;
        loop {
            if here.is_empty() {
                here = round.pull(|| self.wanted());
            }
            let Some(sample) = here.pop_front() else { break };
            let Some(times) = Times::of(&sample, container, self.frame_duration(kind)) else { continue };
            if kind == TrackKind::Audio && times.pts + offset >= self.frames_end.load(Ordering::Acquire) {
                break;
            }
            let Some(mut buffer) = sample.buffer_owned() else { break };
            if let Some(caps) = sample.caps_owned() {
                to.set_caps(caps);
            }
            drop(sample);
            let at = |nanos: i64| gst::ClockTime::from_nseconds(u64::try_from(nanos + offset).unwrap_or(0));
            let changed = buffer.make_mut();
            if std::mem::take(&mut anew) {
                changed.set_flags(NEW_ROUND);
            }
            changed.set_pts(at(times.pts));
            changed.set_dts(at(times.dts));
            changed.set_duration(gst::ClockTime::from_nseconds(u64::try_from(times.duration).unwrap_or(0)));
            end = end.max(times.pts + times.duration + offset);
            if self.stopped() || !to.push(buffer) {
                break;
            }
        }
        end
    }
}

/// The fault of a file without frames of the expected codec.
fn not_there(description: &Description, path: &Path, container: Container, shared: &Arc<Shared>) -> Fault {
    let (wanted, other) = (description.codec, description.codec.other());
    match Demuxed::open(path, container, TrackKind::Video(other), shared) {
        Ok(Some(_)) => wrong_codec(&description.source, wanted, other),
        Ok(None) => {
            fault(FaultKind::Pipeline, format!("{}: it has no {} frames", path.display(), wanted.name()))
        }
        Err(why) => why,
    }
}

/// A FIFO without a writer must not block the thread.
fn open_without_waiting(path: &Path) -> std::io::Result<std::fs::File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn fraction(rate: FrameRate) -> gst::Fraction {
    let part = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    gst::Fraction::new(part(rate.numerator()), part(rate.denominator()))
}
