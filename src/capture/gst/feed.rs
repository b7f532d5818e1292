//! A file as a source: read by us, and pushed into the pipeline with times of our own.
//!
//! So a file that is repeated is one stream without a seam: each round is read afresh to its last
//! picture, and begins where the one before ended. An MP4 or MKV is taken apart by a small pipeline of its
//! own; a byte stream is read here, since GStreamer gives it no times.

use super::build::{missing, name};
use super::fault;
use super::run::Shared;
use crate::capture::annexb::{AccessUnit, NotAnnexB, Reader};
use crate::capture::board::{AUDIO_FEED, Container, Description, Element, Stage, VIDEO_FEED};
use crate::domain::input::{Fault, FaultKind};
use crossbeam_channel::{Receiver, bounded};
use gst::prelude::*;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// For a file to be opened and its streams to be found.
const OPEN: Duration = Duration::from_secs(10);
/// How often a reader that waits looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// The readers of a file.
pub(super) struct Feed {
    path: PathBuf,
    repeat: bool,
    fps: u32,
    source: Source,
    stop: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
    shared: Arc<Shared>,
}

enum Source {
    Stream,
    Demuxed { container: Container, sound: bool, first: Option<Demuxed> },
}

/// Whether the description takes the sound track of the file itself.
pub(super) fn wants_sound(description: &Description) -> bool {
    description.audio.as_ref().is_some_and(|stages| {
        stages
            .iter()
            .any(|stage| matches!(stage, Stage::Element(element) if element.name == Some(AUDIO_FEED)))
    })
}

impl Feed {
    /// Opens the file and finds its streams.
    pub(super) fn open(
        path: &Path,
        container: Container,
        repeat: bool,
        sound: bool,
        fps: u32,
        shared: &Arc<Shared>,
    ) -> Result<Feed, Fault> {
        let source = match container {
            Container::ByteStream => Source::Stream,
            Container::Mp4 | Container::Matroska => {
                let first = Demuxed::open(path, container, sound, shared)?;
                Source::Demuxed { container, sound: first.audio.is_some(), first: Some(first) }
            }
        };
        Ok(Feed {
            path: path.to_owned(),
            repeat,
            fps,
            source,
            stop: Arc::default(),
            reader: None,
            shared: Arc::clone(shared),
        })
    }

    /// The file has sound that can be kept as it is.
    pub(super) fn has_sound(&self) -> bool {
        match &self.source {
            Source::Stream => false,
            Source::Demuxed { sound, .. } => *sound,
        }
    }

    /// Begins to push into the pipeline.
    pub(super) fn begin(&mut self, pipeline: &gst::Pipeline) -> Result<(), Fault> {
        let appsrc = |name: &str| pipeline.by_name(name).and_then(|it| it.downcast::<gst_app::AppSrc>().ok());
        let video = appsrc(VIDEO_FEED).ok_or_else(|| {
            fault(FaultKind::Pipeline, String::from("the pipeline takes nothing from a file"))
        })?;
        video.set_property("block", true);
        let audio = appsrc(AUDIO_FEED);
        if let Some(audio) = &audio {
            audio.set_property("block", true);
        }
        let job = Job {
            path: self.path.clone(),
            repeat: self.repeat,
            fps: self.fps,
            stop: Arc::clone(&self.stop),
            shared: Arc::clone(&self.shared),
            video,
            audio,
        };
        let source = match &mut self.source {
            Source::Stream => None,
            Source::Demuxed { container, sound, first } => {
                first.take().map(|first| (*container, *sound, first))
            }
        };
        let reader = thread::Builder::new().name(String::from("capture-reader")).spawn(move || {
            let outcome = match source {
                None => job.stream(),
                Some((container, sound, first)) => job.demuxed(container, sound, first),
            };
            if let Err(why) = outcome {
                job.shared.tell(super::run::Event::Failed(why));
            }
            for end in [Some(&job.video), job.audio.as_ref()].into_iter().flatten() {
                let _pipeline_is_closed = end.end_of_stream();
            }
        });
        self.reader =
            Some(reader.map_err(|why| fault(FaultKind::Pipeline, format!("no thread for the file: {why}")))?);
        Ok(())
    }

    /// No more is read; what was pushed stays, and EOS follows it.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
        if let Some(reader) = self.reader.take() {
            // The pipeline is closed, so it is refused, or sees `stop` within moments.
            if reader.join().is_err() {
                tracing::error!("the thread that reads the file broke down");
            }
        }
    }
}

struct Job {
    path: PathBuf,
    repeat: bool,
    fps: u32,
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    video: gst_app::AppSrc,
    audio: Option<gst_app::AppSrc>,
}

impl Job {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn unreadable(&self, why: &dyn std::fmt::Display) -> Fault {
        fault(FaultKind::DeviceMissing, format!("{} cannot be read: {why}", self.path.display()))
    }

    /// A byte stream; also from a FIFO.
    fn stream(&self) -> Result<(), Fault> {
        let caps = gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .field("framerate", gst::Fraction::new(i32::try_from(self.fps).unwrap_or(i32::MAX), 1))
            .build();
        self.video.set_caps(Some(&caps));
        let mut file = open_without_waiting(&self.path).map_err(|why| self.unreadable(&why))?;
        let fifo = file.metadata().is_ok_and(|facts| facts.file_type().is_fifo());
        let not_h264 = |NotAnnexB(why)| fault(FaultKind::Pipeline, format!("{}: {why}", self.path.display()));
        let mut reader = Reader::default();
        let mut portion = vec![0; 64 << 10];
        let mut read_any = false;
        while !self.stopped() {
            match file.read(&mut portion) {
                // Nobody has opened the other end of the FIFO yet.
                Ok(0) if fifo && !read_any => thread::sleep(LOOK),
                Ok(0) => {
                    for unit in reader.finish().map_err(not_h264)? {
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
                    for unit in reader.push(portion.get(..count).unwrap_or_default()).map_err(not_h264)? {
                        if !self.push_unit(unit) {
                            return Ok(());
                        }
                    }
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(self.unreadable(&why)),
            }
        }
        Ok(())
    }

    /// Pushes one access unit; `false` when the pipeline takes no more.
    fn push_unit(&self, unit: AccessUnit) -> bool {
        let time = |count: u64| {
            let nanos = u128::from(count) * 1_000_000_000 / u128::from(self.fps.max(1));
            gst::ClockTime::from_nseconds(u64::try_from(nanos).unwrap_or(u64::MAX - 1))
        };
        let mut buffer = gst::Buffer::from_slice(unit.bytes);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(time(unit.presented));
            buffer.set_dts(time(unit.decoded));
            buffer.set_duration(time(unit.decoded + 1).saturating_sub(time(unit.decoded)));
            if !unit.idr {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        !self.stopped() && self.video.push_buffer(buffer).is_ok()
    }

    fn demuxed(&self, container: Container, sound: bool, first: Demuxed) -> Result<(), Fault> {
        let mut round = first;
        let mut offset = 0;
        // Decode times of reordered pictures begin before zero; no time in the pipeline may.
        let mut shift = None;
        loop {
            let length = self.round(&round, offset, &mut shift)?;
            drop(round);
            if !self.repeat || self.stopped() {
                return Ok(());
            }
            if length == 0 {
                return Err(fault(FaultKind::Pipeline, format!("{} has no pictures", self.path.display())));
            }
            offset += length;
            round = Demuxed::open(&self.path, container, sound, &self.shared)?;
        }
    }

    /// Once through the file; its length in nanoseconds.
    fn round(&self, round: &Demuxed, offset: i64, shift: &mut Option<i64>) -> Result<i64, Fault> {
        round.play().map_err(|why| fault(FaultKind::Pipeline, format!("{}: {why}", self.path.display())))?;
        let first = round.pull(&round.video, self);
        if shift.is_none() {
            let start = first
                .as_ref()
                .and_then(|sample| Times::of(sample, None))
                .map_or(0, |times| times.dts.min(times.pts));
            *shift = Some((-start).max(0));
        }
        let offset = offset + shift.unwrap_or(0);
        let (pictures, sounds) = thread::scope(|scope| {
            let sounds = self
                .audio
                .as_ref()
                .zip(round.audio.as_ref())
                .map(|(to, from)| scope.spawn(move || self.pump(round, from, to, None, offset)));
            let pictures = self.pump(round, &round.video, &self.video, first, offset);
            (pictures, sounds.and_then(|sounds| sounds.join().ok()).unwrap_or(0))
        });
        if let Ok(why) = round.failures.try_recv() {
            return Err(why);
        }
        Ok((pictures.max(sounds) - offset).max(0))
    }

    /// Pushes a stream to its end; where it ended, `offset` included.
    fn pump(
        &self,
        round: &Demuxed,
        from: &gst_app::AppSink,
        to: &gst_app::AppSrc,
        first: Option<gst::Sample>,
        offset: i64,
    ) -> i64 {
        let mut end = offset;
        let mut next = first.or_else(|| round.pull(from, self));
        let picture = 1_000_000_000 / i64::from(self.fps.max(1));
        while let Some(sample) = next {
            let Some(times) = Times::of(&sample, Some(picture)) else {
                next = round.pull(from, self);
                continue;
            };
            let Some(mut buffer) = sample.buffer_owned() else { break };
            if let Some(caps) = sample.caps() {
                if to.caps().is_none_or(|before| !before.is_strictly_equal(caps)) {
                    to.set_caps(Some(&caps.to_owned()));
                }
            }
            drop(sample);
            let at = |nanos: i64| gst::ClockTime::from_nseconds(u64::try_from(nanos + offset).unwrap_or(0));
            let changed = buffer.make_mut();
            changed.set_pts(at(times.pts));
            changed.set_dts(at(times.dts));
            changed.set_duration(gst::ClockTime::from_nseconds(u64::try_from(times.duration).unwrap_or(0)));
            end = end.max(times.pts + times.duration + offset);
            if self.stopped() || to.push_buffer(buffer).is_err() {
                break;
            }
            next = round.pull(from, self);
        }
        end
    }
}

/// Running time of a sample of a file, in nanoseconds; before zero where pictures are reordered.
struct Times {
    pts: i64,
    dts: i64,
    duration: i64,
}

impl Times {
    fn of(sample: &gst::Sample, otherwise: Option<i64>) -> Option<Times> {
        let buffer = sample.buffer()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let running = |time: Option<gst::ClockTime>| -> Option<i64> {
            let time = segment.to_running_time_full(time?)?;
            let nanos = i64::try_from(time.abs().nseconds()).ok()?;
            Some(if time.is_positive() { nanos } else { -nanos })
        };
        let pts = running(buffer.pts())?;
        let dts = running(buffer.dts()).unwrap_or(pts);
        let known = buffer.duration().and_then(|duration| i64::try_from(duration.nseconds()).ok());
        Some(Times { pts, dts, duration: known.or(otherwise).unwrap_or(0) })
    }
}

/// A file being taken apart. Closed when dropped.
struct Demuxed {
    pipeline: gst::Pipeline,
    video: gst_app::AppSink,
    audio: Option<gst_app::AppSink>,
    failures: Receiver<Fault>,
}

impl Drop for Demuxed {
    fn drop(&mut self) {
        let _a_file_closes = self.pipeline.set_state(gst::State::Null);
    }
}

impl Demuxed {
    fn open(path: &Path, container: Container, sound: bool, shared: &Arc<Shared>) -> Result<Demuxed, Fault> {
        let demuxer = match container {
            Container::Mp4 => "qtdemux",
            Container::Matroska | Container::ByteStream => "matroskademux",
        };
        let failed = |what: &str| fault(FaultKind::Pipeline, format!("{}: {what}", path.display()));
        let make = |element: Element| super::build::make(&element);
        let pipeline = gst::Pipeline::new();
        let source = make(Element::new("filesrc").with("location", path.display()))?;
        let demux = make(Element::new(demuxer))?;
        let sink = || {
            make(
                Element::new("appsink")
                    .with("sync", false)
                    .with("max-buffers", 8)
                    .with("async", false)
                    .with("enable-last-sample", false),
            )
        };
        let mut heads = Vec::new();
        let video_sink = sink()?;
        let mut chain = vec![make(queue())?];
        if container == Container::Matroska {
            // Matroska tells when a picture is shown, not when it is decoded.
            for factory in ["h264parse", "h264timestamper"] {
                if gst::ElementFactory::find(factory).is_none() {
                    return Err(missing(factory));
                }
                chain.push(make(Element::new(factory))?);
            }
        }
        chain.push(video_sink.clone());
        heads.push(("video/x-h264", chain));
        let audio_sink = sink()?;
        if sound {
            heads.push((
                "audio/mpeg",
                vec![make(queue())?, make(Element::new("aacparse"))?, audio_sink.clone()],
            ));
        }
        let joined = |result: Result<(), gst::glib::BoolError>| {
            result.map_err(|_| failed("the reader cannot be put together"))
        };
        joined(pipeline.add_many([&source, &demux]))?;
        joined(source.link(&demux))?;
        for (_, chain) in &heads {
            joined(pipeline.add_many(chain))?;
            joined(gst::Element::link_many(chain))?;
        }
        let (complete_tx, complete) = bounded::<()>(1);
        let (failures_tx, failures) = bounded::<Fault>(1);
        let targets: Vec<_> = heads
            .iter()
            .filter_map(|(kind, chain)| Some((*kind, chain.first()?.static_pad("sink")?.downgrade())))
            .collect();
        demux.connect_pad_added(move |_, pad| {
            let caps = pad.current_caps().or_else(|| Some(pad.query_caps(None)));
            let Some(kind) = caps.as_ref().and_then(|caps| caps.structure(0)).map(|it| it.name().to_string())
            else {
                return;
            };
            let target =
                targets.iter().find(|(wanted, _)| *wanted == kind).and_then(|(_, sink)| sink.upgrade());
            if let Some(sink) = target.filter(|sink| !sink.is_linked()) {
                let _of_another_kind = pad.link(&sink);
            }
        });
        demux.connect_no_more_pads(move |_| {
            let _told_already = complete_tx.try_send(());
        });
        if let Some(bus) = pipeline.bus() {
            let path = path.to_owned();
            bus.set_sync_handler(move |_, message| {
                if let gst::MessageView::Error(error) = message.view() {
                    let element = error
                        .src()
                        .and_then(|it| it.downcast_ref::<gst::Element>())
                        .map_or_else(String::new, name);
                    let _told_already = failures_tx.try_send(fault(
                        FaultKind::Pipeline,
                        format!("{element} ({}): {}", path.display(), error.error().message()),
                    ));
                }
                gst::BusSyncReply::Drop
            });
        }
        let sinks = |element: &gst::Element| {
            element.clone().downcast::<gst_app::AppSink>().map_err(|_| failed("no appsink"))
        };
        let mut demuxed = Demuxed { video: sinks(&video_sink)?, audio: None, failures, pipeline };
        if demuxed.pipeline.set_state(gst::State::Paused).is_err() {
            return Err(demuxed.failures.try_recv().unwrap_or_else(|_| failed("it cannot be opened")));
        }
        let mut waited = Duration::ZERO;
        while complete.try_recv().is_err() {
            if let Ok(why) = demuxed.failures.try_recv() {
                return Err(why);
            }
            if shared.quits() {
                return Err(failed("stopped"));
            }
            if waited >= OPEN {
                return Err(failed("its streams were not found within 10 s"));
            }
            thread::sleep(Duration::from_millis(5));
            waited += Duration::from_millis(5);
        }
        let linked = |element: &gst::Element| {
            heads.iter().any(|(_, chain)| {
                chain.last() == Some(element)
                    && chain
                        .first()
                        .and_then(|head| head.static_pad("sink"))
                        .is_some_and(|pad| pad.is_linked())
            })
        };
        if !linked(&video_sink) {
            return Err(failed("it has no H.264 pictures"));
        }
        if linked(&audio_sink) {
            demuxed.audio = Some(sinks(&audio_sink)?);
        }
        Ok(demuxed)
    }

    fn play(&self) -> Result<(), String> {
        self.pipeline
            .set_state(gst::State::Playing)
            .map(|_| ())
            .map_err(|_| String::from("it cannot be read"))
    }

    /// The next sample, or nothing at the end, at a failure, or when nothing is wanted.
    fn pull(&self, sink: &gst_app::AppSink, job: &Job) -> Option<gst::Sample> {
        while !job.stopped() && !job.shared.quits() {
            if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(50)) {
                return Some(sample);
            }
            if sink.is_eos() || !self.failures.is_empty() {
                return None;
            }
        }
        None
    }
}

fn queue() -> Element {
    Element::new("queue")
        .with("max-size-buffers", 0)
        .with("max-size-time", 0)
        .with("max-size-bytes", 16 << 20)
}

/// A FIFO that nobody writes to must not hold the thread.
fn open_without_waiting(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}
