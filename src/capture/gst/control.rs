//! The course of a run: build, watch, end.

use super::access::Access;
use super::build::{self, Built};
use super::faults::{fault, wrong_codec};
use super::feed::Feed;
use super::init::initialise;
use super::microphone::Microphone;
use super::reports::Reports;
use super::shared::{Describe, Event, Outside, PipelineSlot, Shared, StopOrder, flag};
use super::{bus, intake, rtsp};
use crate::capture::pipeline::{Description, Origin, Unfit};
use crate::capture::profile::Sizing;
use crate::capture::watch::{Ending, Event as RunEvent, Flow, Next, Watch};
use crate::domain::effect::CaptureSettings;
use crate::domain::fragment::{Captured, Epoch, SpanEnd};
use crate::domain::input::{Fault, FaultKind, Input};
use crate::domain::time::Mono;
use crate::system::clock::mono;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, never, select};
use gst::prelude::*;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often to check whether a file is closed.
const READER_INTERVAL: Duration = Duration::from_millis(1);
/// For the pipeline to reach NULL.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The thread that builds the pipeline, waits for its events, and ends the run.
pub(super) struct Control {
    pub(super) epoch: Epoch,
    pub(super) outside: Outside,
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Arc<Mutex<PipelineSlot>>,
    /// The pipeline of the board's microphone.
    pub(super) microphone: Arc<Mutex<PipelineSlot>>,
    pub(super) events: Receiver<Event>,
    pub(super) stops: Receiver<StopOrder>,
    pub(super) close: Sender<()>,
    pub(super) closed: Receiver<Mono>,
}

/// The fault, made more precise if a device offers another codec than the board file states.
fn named(fault: Fault, pipeline: &gst::Pipeline, description: &Description) -> Fault {
    let asks = !description.encodes && matches!(description.origin, Origin::Branches);
    if asks && fault.kind == FaultKind::Pipeline && build::gives_other(pipeline, description.codec) {
        return wrong_codec(&description.source, description.codec, description.codec.other());
    }
    fault
}

/// Stops the input, so that the frames in the pipeline are delivered.
fn drain(pipeline: &gst::Pipeline, started: &Started) {
    if let Some(feed) = started.feed.as_ref() {
        feed.stop();
    }
    pipeline.send_event(gst::event::Eos::new());
    if let Some(microphone) = started.microphone.as_ref() {
        microphone.drain();
    }
}

/// The parts of a run that were started.
#[derive(Default)]
struct Started {
    microphone: Option<Microphone>,
    /// Audio is wanted.
    audio_wanted: bool,
    /// Why no audio will come.
    without_audio: Option<String>,
    feed: Option<Feed>,
}

impl Control {
    pub(super) fn run(self, settings: CaptureSettings, describe: &Describe) {
        let mut started = Started::default();
        let mut ending = match self.wait_for_previous() {
            Some(stop) => Ending::Asked(stop.reason),
            None => match self.open(settings, describe, &mut started) {
                Ok(description) => {
                    let ending = self.watch(&description, &mut started);
                    let ending = ending.of(&description.origin, flag(&self.shared.any_chunk));
                    self.with_other_profile(ending, &description, settings, describe)
                }
                Err(ending) => ending,
            },
        };
        // If an order to stop comes while the run fails, the fault is not reported; nor is an error of a pipeline
        // that a Drop has closed while the order itself has not arrived yet.
        let asked = match &ending {
            Ending::Asked(_) => None,
            Ending::ClosedByDrop => self.stops.recv_timeout(CLOSE_TIMEOUT).ok(),
            Ending::Failed(_) if self.shared.quits() => self.stops.recv_timeout(CLOSE_TIMEOUT).ok(),
            Ending::Failed(_) => self.stops.try_recv().ok(),
        };
        if let Some(stop) = asked {
            ending = Ending::Asked(stop.reason);
        }
        self.finish(ending, started);
    }

    /// Remembers a stream with too many lines. If the board has another one for this plan, the next run uses it.
    fn with_other_profile(
        &self,
        ending: Ending,
        description: &Description,
        settings: CaptureSettings,
        describe: &Describe,
    ) -> Ending {
        let Ending::Failed(fault) = ending else { return ending };
        let (profile, sizing) = description.choice;
        let lines = self.shared.too_many.load(Ordering::Acquire);
        // A device that fails before the first frame does not have the smaller mode that was requested.
        let has_no_mode =
            sizing == Sizing::Requested && fault.kind == FaultKind::Pipeline && !flag(&self.shared.any_chunk);
        if fault.kind != FaultKind::ExceedsPlan && !has_no_mode {
            return Ending::Failed(fault);
        }
        let seen = if lines > 0 { lines } else { settings.max_height.saturating_add(1) };
        self.outside.learnt.lock().unwrap_or_else(PoisonError::into_inner).insert(profile, seen);
        let next = describe(settings).ok().map(|next| next.choice);
        let Fault { message, .. } = fault;
        if next.is_some_and(|(_, sizing)| sizing != Sizing::TooLarge && next != Some(description.choice)) {
            let message = format!("{message}: the board has another stream, which is taken next");
            return Ending::Failed(Fault { kind: FaultKind::Pipeline, message });
        }
        let lacks = "set the camera to fewer, or give the board a [[video.profile]] or an encoder";
        let message = if has_no_mode {
            format!(
                "{} has no mode of at most {} lines ({message}): {lacks}",
                description.source, settings.max_height
            )
        } else {
            format!("{message}: {lacks}")
        };
        Ending::Failed(Fault { kind: FaultKind::ExceedsPlan, message })
    }

    /// Waits for the end of the previous run: two runs never hold a device together, and their chunks never mix.
    fn wait_for_previous(&self) -> Option<StopOrder> {
        let previous = self.outside.previous.as_ref()?;
        select! {
            recv(previous) -> _ => None,
            recv(self.stops) -> stop => stop.ok(),
        }
    }

    fn open(
        &self,
        settings: CaptureSettings,
        describe: &Describe,
        started: &mut Started,
    ) -> Result<Description, Ending> {
        initialise().map_err(|why| fault(FaultKind::Pipeline, why))?;
        let mut description =
            describe(settings).map_err(|Unfit(why)| fault(FaultKind::ElementMissing, why))?;
        if let (true, Origin::Rtsp(source)) =
            (description.may_use_udp && flag(&self.outside.udp), &mut description.origin)
        {
            *source = source.clone().with("protocols", "udp");
        }
        super::check::source_is_there(&description)?;
        let audio_failed = self.outside.audio_failed.swap(false, Ordering::AcqRel);
        started.audio_wanted = description.audio.is_some();
        let mut audio = description.audio.is_some();
        if audio && audio_failed {
            started.without_audio =
                Some(format!("the audio of {} failed in the last run", description.source));
            audio = false;
        }
        if let Origin::File { path, container, repeat } = &description.origin {
            let embedded = super::feed::wants_audio(&description);
            let file = (path.as_path(), *container, *repeat);
            let feed = Feed::open(&description, file, embedded && audio, &self.shared)?;
            if audio && embedded && !feed.has_audio() {
                started.without_audio = Some(format!("{} has no AAC audio", description.source));
                audio = false;
            }
            started.feed = Some(feed);
        }
        // An RTSP camera or a file delivers its audio with the frames; a microphone is a separate device.
        let own = audio && matches!(description.origin, Origin::Branches);
        let built = match build::build(&description, audio && !own) {
            Err(why) if audio && !own => {
                started.without_audio = Some(why.message.clone());
                audio = false;
                build::build(&description, false).map_err(|_| why)?
            }
            built => built?,
        };
        let access = match built.camera() {
            Some(camera) => {
                let url = camera.property::<Option<String>>("location").unwrap_or_default();
                let refusals = &self.outside.refusals;
                let access = Access::prepare(&description.source, &url, &description.access, refusals)?;
                let access = Arc::new(access);
                access.apply(camera)?;
                Some(access)
            }
            None => None,
        };
        bus::listen(&built, &description, access, &self.shared, &self.outside);
        let (shared, chunks) = (&self.shared, self.outside.chunks.clone());
        let intake = intake::install(self.epoch, &built, &description, audio, shared, chunks);
        if let Some(stages) = description.audio.as_ref().filter(|_| own) {
            started.microphone = Some(Microphone::new(stages.clone(), &self.microphone, &intake, shared));
        }
        if let Some(feed) = &started.feed {
            intake.turn(feed.turns());
        }
        let shared = Arc::clone(&self.shared);
        let reports = Reports::new(&shared);
        rtsp::join(&built, &description, reports, move |why| {
            if let Some(why) = why {
                shared.send(Event::AudioMissing(why));
            }
            intake.no_more_audio();
        });
        self.play(&built, &description)?;
        if let Some(feed) = started.feed.as_mut() {
            feed.begin(&built.pipeline)?;
        }
        Ok(description)
    }

    /// Sets the pipeline to PLAYING, unless the run was stopped before.
    fn play(&self, built: &Built, description: &Description) -> Result<(), Ending> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.closed {
            return Err(Ending::ClosedByDrop);
        }
        slot.pipeline = Some(built.pipeline.clone());
        let now = mono();
        self.shared.arrived(now);
        self.shared.last_chunk.store(now.0, Ordering::Release);
        if built.pipeline.set_state(gst::State::Playing).is_ok() {
            return Ok(());
        }
        drop(slot);
        // The bus reported the reason before the state change failed.
        while let Ok(event) = self.events.try_recv() {
            if let Event::Failed(fault) = event {
                return Err(named(fault, &built.pipeline, description).into());
            }
        }
        Err(fault(FaultKind::Pipeline, String::from("the pipeline does not start, and gives no reason"))
            .into())
    }

    /// Waits until the run has to end.
    fn watch(&self, description: &Description, started: &mut Started) -> Ending {
        let mut watch = Watch::new(&description.source, description.fragment);
        let mut stops = self.stops.clone();
        loop {
            let Some(pipeline) = self.pipeline() else {
                return Ending::ClosedByDrop;
            };
            if !watch.is_draining() {
                if let Some(why) = started.microphone.as_mut().and_then(Microphone::check) {
                    self.report_audio(started, false, Some(why));
                }
            }
            let run_event = select! {
                recv(stops) -> stop => match stop {
                    Ok(StopOrder { manner, reason }) => Some(RunEvent::Stop(manner, reason)),
                    Err(_) => {
                        stops = never();
                        Some(RunEvent::Abandoned)
                    }
                },
                recv(self.events) -> event => match event {
                    Ok(Event::HandedOver) => Some(RunEvent::HandedOver),
                    Ok(Event::Failed(fault)) => {
                        Some(RunEvent::Failed(named(fault, &pipeline, description)))
                    }
                    // While the run drains, the end of the microphone is no fault.
                    Ok(Event::MicrophoneFailed(_) | Event::AudioMissing(_)) if watch.is_draining() => continue,
                    Ok(event @ (Event::Playing
                    | Event::Latency
                    | Event::Trouble(_)
                    | Event::Holes(..)
                    | Event::AudioStarted
                    | Event::AudioMissing(_)
                    | Event::MicrophoneFailed(_))) => {
                        self.handle(event, &pipeline, description, started);
                        continue;
                    }
                    Err(_) => return Ending::ClosedByDrop,
                },
                default(watch.wait(self.flow(), mono())) => None,
            };
            let next = match run_event {
                Some(run_event) => watch.on(run_event, mono()),
                None => watch.on_time(self.flow(), mono()),
            };
            match next {
                Next::Wait => {}
                Next::Drain => drain(&pipeline, started),
                Next::End(ending) => return ending,
                Next::GiveUp(ending) => {
                    tracing::warn!("the rest of the stream did not come in time");
                    return ending;
                }
            }
        }
    }

    /// Handles the events that do not end the run.
    fn handle(
        &self,
        event: Event,
        pipeline: &gst::Pipeline,
        description: &Description,
        started: &mut Started,
    ) {
        match event {
            Event::Playing => {
                (self.outside.report)(Input::CaptureStarted { epoch: self.epoch });
                let opened = started.microphone.as_mut();
                let failed = opened.and_then(|microphone| microphone.begin(pipeline.base_time()));
                let without = started.without_audio.clone().or(failed);
                let file = matches!(description.origin, Origin::File { .. });
                self.report_audio(started, file && started.audio_wanted && without.is_none(), without);
                if let Some(what) = super::readback::differs(pipeline) {
                    tracing::warn!("{}: {what}", description.source);
                    (self.outside.report)(Input::CaptureDiffers { epoch: self.epoch, what });
                }
            }
            Event::Latency => {
                let _later = pipeline.recalculate_latency();
            }
            Event::Trouble(why) => {
                (self.outside.report)(Input::CaptureTrouble { epoch: self.epoch, why });
            }
            Event::Holes(holes, frames) => (self.outside.report)(Input::CaptureHoles { holes, frames }),
            Event::AudioStarted => {
                if let Some(microphone) = started.microphone.as_mut() {
                    microphone.works();
                }
                self.report_audio(started, true, None);
            }
            Event::AudioMissing(why) => self.report_audio(started, false, Some(why)),
            Event::MicrophoneFailed(why) => {
                if let Some(microphone) = started.microphone.as_mut() {
                    let why = microphone.failed(why);
                    self.report_audio(started, false, Some(why));
                }
            }
            Event::HandedOver | Event::Failed(_) => {}
        }
    }

    fn report_audio(&self, started: &Started, actual: bool, why: Option<String>) {
        let wanted = started.audio_wanted;
        (self.outside.report)(Input::CaptureAudio { epoch: self.epoch, wanted, actual, why });
    }

    fn pipeline(&self) -> Option<gst::Pipeline> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).pipeline.clone()
    }

    fn flow(&self) -> Flow {
        Flow {
            frame: Mono(self.shared.last_frame.load(Ordering::Acquire)),
            chunk: Mono(self.shared.last_chunk.load(Ordering::Acquire)),
            begun: flag(&self.shared.any_chunk),
        }
    }

    /// Waits until the devices are closed, and returns the time. If that takes too long it is reported, and the wait
    /// continues: a device is never reported as closed while it is open. `None` if the closer has ended.
    fn wait_until_closed(&self) -> Option<Mono> {
        match self.closed.recv_timeout(CLOSE_TIMEOUT) {
            Ok(at) => Some(at),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                (self.outside.report)(Input::CaptureStuck { epoch: self.epoch });
                self.closed.recv().ok()
            }
        }
    }

    /// Reports a reader that does not close its file in time.
    fn report_if_stuck(&self, feed: &Feed) {
        let until = mono() + CLOSE_TIMEOUT;
        while !feed.is_over() {
            if mono() >= until {
                return (self.outside.report)(Input::CaptureStuck { epoch: self.epoch });
            }
            thread::sleep(READER_INTERVAL);
        }
    }

    /// Closes the devices, and reports that and the end of the chunks. Called exactly once a run.
    fn finish(self, ending: Ending, started: Started) {
        let (reason, fault) = match ending {
            Ending::Asked(reason) => (reason, None),
            Ending::ClosedByDrop => (SpanEnd::Source, None),
            Ending::Failed(fault) => (SpanEnd::Source, Some(fault)),
        };
        self.shared.quit();
        if let Some(feed) = started.feed.as_ref() {
            feed.stop();
        }
        let _already_asked = self.close.try_send(());
        let Some(mut at) = self.wait_until_closed() else { return };
        if let Some(feed) = started.feed {
            self.report_if_stuck(&feed);
            drop(feed);
            at = mono();
        }
        let closed = Input::CaptureClosed { epoch: self.epoch, at, fault };
        let end = Captured::End { epoch: self.epoch, reason, closed: at };
        match self.outside.chunks.try_send(end) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => (self.outside.report)(closed),
            Err(TrySendError::Full(end)) => {
                // The report that the devices are closed does not wait for a slow spool.
                (self.outside.report)(closed);
                let _spool_is_gone = self.outside.chunks.send(end);
            }
        }
    }
}
