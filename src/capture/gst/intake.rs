//! The end of the pipeline: its threads mux the samples and send the chunks.
//!
//! There is no other thread between a frame and the channel. If the channel is full the pipeline waits; its queues hold
//! what they can.

use super::build::Built;
use super::card::Cards;
use super::faults::{fault, wrong_codec};
use super::keys::{KeyFrameWatch, KeyFrames};
use super::samples::{audio_format, bytes_of, kept, running_time};
use super::shared::{Event, Shared};
use crate::capture::bits::{Nals, Packing};
use crate::capture::muxer::{AudioFrame, Counts, Muxer, Settings, Unfit};
use crate::capture::pipeline::{Description, Origin, media};
use crate::capture::units::{Assembler, Start, Unit};
use crate::domain::codec::Codec;
use crate::domain::fragment::{Captured, Chunk, Epoch, Timing};
use crate::domain::input::{Fault, FaultKind};
use crate::domain::time::Mono;
use crate::fmp4::AudioDescription;
use crate::system::clock::mono;
use crossbeam_channel::{Sender, select_biased};
use gst::prelude::*;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// While the channel is full, this often the wait counts as progress: the source has not stalled.
const FULL_CHANNEL_INTERVAL: Duration = Duration::from_millis(200);
/// How often a branch that waits for the other checks whether it must stop.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// For the audio of the last frames, after the end of the frames.
const LAST_AUDIO_TIMEOUT: Duration = Duration::from_millis(300);
/// For the audio of a file, which is read separately from its frames.
const FILE_AUDIO_TIMEOUT: Duration = Duration::from_secs(10);
/// For live audio, measured by the times of the frames.
const LIVE_AUDIO_TIMEOUT: Duration = Duration::from_secs(2);

/// The end of both branches of a pipeline.
pub(super) struct Intake {
    state: Mutex<IntakeState>,
    /// Notified when a frame or audio was muxed.
    moved: Condvar,
    shared: Arc<Shared>,
    chunks: Sender<Captured>,
    /// Weak: a strong reference would keep a closed pipeline alive.
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    cards: Option<Cards>,
    /// The source is a file: each track is read separately, as fast as it is taken.
    file: bool,
    wants_audio: bool,
    from_network: bool,
    max_height: u32,
    codec: Codec,
    source: String,
}

struct IntakeState {
    assembler: Assembler,
    muxer: Muxer,
    packing: Packing,
    /// Each buffer is one access unit: the agent encodes.
    whole: bool,
    frame_caps: Option<gst::Caps>,
    audio_caps: Option<gst::Caps>,
    audio_format: Option<Arc<AudioDescription>>,
    /// A fault was reported: no more can be stored.
    broken: bool,
    keys: KeyFrameWatch,
    /// The state of the audio as last reported.
    audio_reported: Option<bool>,
    /// The counters as last reported.
    reported: Counts,
}

/// Connects the ends of the branches of `built`.
pub(super) fn install(
    epoch: Epoch,
    built: &Built,
    description: &Description,
    audio: bool,
    shared: &Arc<Shared>,
    chunks: Sender<Captured>,
) -> Arc<Intake> {
    let file = matches!(description.origin, Origin::File { .. });
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let settings = Settings {
        epoch,
        chunk: nanos(description.chunk),
        frame: i64::try_from(description.fps.nanos(1)).unwrap_or(i64::MAX),
        audio,
        patience: (!file).then_some(nanos(LIVE_AUDIO_TIMEOUT)),
        max_height: description.max_height,
        turns: 0,
        segment: nanos(description.segment),
        segment_bytes: description.max_gop / 2,
    };
    let intake = Arc::new(Intake {
        state: Mutex::new(IntakeState {
            assembler: Assembler::new(description.codec),
            muxer: Muxer::new(settings),
            packing: Packing::StartCodes,
            whole: description.encodes,
            frame_caps: None,
            audio_caps: None,
            audio_format: None,
            broken: false,
            keys: KeyFrameWatch::new(description),
            audio_reported: None,
            reported: Counts::default(),
        }),
        moved: Condvar::new(),
        shared: Arc::clone(shared),
        chunks,
        pipeline: built.pipeline.downgrade(),
        cards: super::card::install(&built.pipeline),
        file,
        wants_audio: audio,
        from_network: matches!(description.origin, Origin::Rtsp(_)),
        max_height: description.max_height,
        codec: description.codec,
        source: description.source.clone(),
    });
    let (taking, ending) = (Arc::clone(&intake), Arc::clone(&intake));
    built.frames.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| taking.take(sink, Intake::frame))
            .eos(move |_| ending.frames_end())
            .build(),
    );
    if let Some(sink) = &built.audio {
        intake.take_audio(sink);
    }
    intake
}

impl Intake {
    /// Takes the audio from this sink.
    pub(super) fn take_audio(self: &Arc<Intake>, sink: &gst_app::AppSink) {
        let (taking, ending) = (Arc::clone(self), Arc::clone(self));
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| taking.take(sink, Intake::audio))
                .eos(move |_| ending.no_more_audio())
                .build(),
        );
    }

    fn state(&self) -> MutexGuard<'_, IntakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(
        &self,
        sink: &gst_app::AppSink,
        how: fn(&Intake, &gst_app::AppSink, &gst::Sample) -> Result<(), Fault>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
        if self.shared.quits() {
            return Err(gst::FlowError::Flushing);
        }
        if let Err(why) = how(self, sink, &sample) {
            let mut state = self.state();
            if !std::mem::replace(&mut state.broken, true) {
                self.shared.send(Event::Failed(why));
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn frame(&self, sink: &gst_app::AppSink, sample: &gst::Sample) -> Result<(), Fault> {
        let mut state = self.state();
        if state.broken {
            return Ok(());
        }
        if state.learn_caps(sample) == Some(self.codec.other()) {
            return Err(wrong_codec(&self.source, self.codec, self.codec.other()));
        }
        let Some(buffer) = sample.buffer() else { return Ok(()) };
        self.shared.arrived(mono());
        let shown = running_time(sample, buffer.pts());
        if buffer.flags().contains(super::feed::NEW_ROUND) {
            state.assembler.end_sequence();
        }
        for nal in Nals::new(kept(sample)?, state.packing) {
            if let Some(unit) = state.assembler.push(nal, shown) {
                state = self.unit(state, unit)?;
            }
        }
        if state.assembler.is_of_other_codec() {
            return Err(wrong_codec(&self.source, self.codec, self.codec.other()));
        }
        if state.whole {
            if let Some(unit) = state.assembler.finish_frame() {
                state = self.unit(state, unit)?;
            }
        }
        self.check_key_frames(sink, &mut state)
    }

    /// Requests an IDR frame if one is due, and reports if none comes.
    fn check_key_frames(&self, sink: &gst_app::AppSink, state: &mut IntakeState) -> Result<(), Fault> {
        if self.file {
            return Ok(());
        }
        let IntakeState { keys, muxer, assembler, .. } = state;
        match keys.check(muxer.has_begun(), muxer.gop(), mono()) {
            KeyFrames::Fine => {}
            KeyFrames::Request => {
                let request = gst::Structure::builder("GstForceKeyUnit").field("all-headers", true).build();
                let event = gst::event::CustomUpstream::new(request);
                // Not every source supports it.
                let _asked = sink.static_pad("sink").is_some_and(|pad| pad.push_event(event));
            }
            KeyFrames::Missing => {
                let lack = match assembler.unreadable() {
                    0 => "no IDR frame",
                    _ => "no parameter sets, or no IDR frame",
                };
                self.shared.send(Event::Trouble(Some(format!(
                    "{lack} came from {}: nothing can be recorded before one comes",
                    self.source
                ))));
            }
            KeyFrames::Found => self.shared.send(Event::Trouble(None)),
            KeyFrames::TooLong(seconds) => {
                return Err(fault(
                    FaultKind::Stalled,
                    format!(
                        "no IDR frame came from {} for {seconds} s: its stream is restarted. Set the camera to one every few seconds",
                        self.source
                    ),
                ));
            }
        }
        Ok(())
    }

    fn unit<'a>(
        &'a self,
        mut state: MutexGuard<'a, IntakeState>,
        mut unit: Unit,
    ) -> Result<MutexGuard<'a, IntakeState>, Fault> {
        if let (Some(cards), Some(shown)) = (&self.cards, unit.shown) {
            cards.put_into(&mut unit, shown);
        }
        if unit.start() == Start::Clean {
            self.shared.give_to_waiting(&unit);
        }
        state.muxer.push_frame(unit).map_err(|why| self.unfit(why))?;
        state = self.hand_over_all(state)?;
        if self.file {
            state = self.wait(state, FILE_AUDIO_TIMEOUT, Muxer::waits_for_audio);
            if state.muxer.waits_for_audio() && !self.shared.quits() {
                tracing::warn!("the audio of {} is too far behind its frames", self.source);
                state.muxer.give_up_audio();
            }
            state = self.hand_over_all(state)?;
        }
        Ok(state)
    }

    fn audio(&self, _sink: &gst_app::AppSink, sample: &gst::Sample) -> Result<(), Fault> {
        self.shared.audio_arrived(mono());
        let mut state = self.state();
        let caps = sample.caps();
        if state.audio_caps.as_deref() != caps {
            // Kept, not copied: equal pointers need no comparison of each field.
            state.audio_caps = sample.caps_owned();
            state.audio_format = caps.and_then(audio_format).map(Arc::new);
        }
        let Some(format) = state.audio_format.clone() else { return Ok(()) };
        let Some(buffer) = sample.buffer() else { return Ok(()) };
        let Some(shown) = running_time(sample, buffer.pts()) else { return Ok(()) };
        let duration = buffer.duration().map_or(0, |it| i64::try_from(it.nseconds()).unwrap_or(0));
        let data = kept(sample)?;
        if self.file {
            state = self.wait(state, FILE_AUDIO_TIMEOUT, Muxer::audio_is_ahead);
        }
        if state.broken || self.shared.quits() {
            return Ok(());
        }
        state.muxer.push_audio(AudioFrame { shown, duration, data }, &format);
        self.moved.notify_all();
        drop(self.hand_over_all(state)?);
        Ok(())
    }

    /// Waits while `this` is true, up to `timeout`.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, IntakeState>,
        timeout: Duration,
        this: fn(&Muxer) -> bool,
    ) -> MutexGuard<'a, IntakeState> {
        let until = mono() + timeout;
        while this(&state.muxer) && !state.broken && !self.shared.quits() && mono() < until {
            let waited = self.moved.wait_timeout(state, POLL_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn frames_end(&self) {
        let outcome = self.flush();
        if let Err(why) = outcome {
            self.shared.send(Event::Failed(why));
        }
        // A closed sink may report EOS too.
        if !self.shared.quits() {
            self.shared.send(Event::HandedOver);
        }
    }

    fn flush(&self) -> Result<(), Fault> {
        let mut state = self.state();
        if let Some(unit) = state.assembler.finish() {
            // After a fault, only what came before it is good.
            if !state.broken {
                state = self.unit(state, unit)?;
            }
        }
        state.muxer.end_frames();
        state = self.hand_over_all(state)?;
        let timeout = if self.file { FILE_AUDIO_TIMEOUT } else { LAST_AUDIO_TIMEOUT };
        state = self.wait(state, timeout, Muxer::waits_for_audio);
        state.muxer.end_audio();
        drop(self.hand_over_all(state)?);
        Ok(())
    }

    /// Marks the end of the audio.
    pub(super) fn no_more_audio(&self) {
        self.change_audio(Muxer::end_audio);
    }

    /// Stops waiting for audio until some comes.
    pub(super) fn give_up_audio(&self) {
        self.change_audio(Muxer::give_up_audio);
    }

    /// Changes what is known of the audio, and sends the chunks that waited for it.
    fn change_audio(&self, change: fn(&mut Muxer)) {
        let mut state = self.state();
        change(&mut state.muxer);
        self.moved.notify_all();
        if let Err(why) = self.hand_over_all(state) {
            self.shared.send(Event::Failed(why));
        }
    }

    /// Sends every complete chunk.
    fn hand_over_all<'a>(
        &'a self,
        mut state: MutexGuard<'a, IntakeState>,
    ) -> Result<MutexGuard<'a, IntakeState>, Fault> {
        while let Some(chunk) = state.muxer.next_chunk().map_err(|why| self.unfit(why))? {
            if !self.hand_over(chunk) {
                break;
            }
            self.moved.notify_all();
        }
        self.report_audio(&mut state);
        self.report_holes(&mut state);
        Ok(state)
    }

    fn report_holes(&self, state: &mut IntakeState) {
        let counts = state.muxer.counts();
        let before = std::mem::replace(&mut state.reported, counts);
        if counts.holes > before.holes {
            self.shared.send(Event::Holes(
                counts.holes - before.holes,
                counts.missing.saturating_sub(before.missing),
            ));
        }
    }

    /// Sets the rotation for display, in clockwise quarter turns. Call it before the first frame.
    pub(super) fn turn(&self, turns: u8) {
        self.state().muxer.turn(turns);
    }

    fn report_audio(&self, state: &mut IntakeState) {
        let audio_reported = state.muxer.has_audio();
        if self.file
            || !self.wants_audio
            || audio_reported.is_none()
            || audio_reported == state.audio_reported
        {
            return;
        }
        state.audio_reported = audio_reported;
        self.shared.send(match audio_reported {
            Some(true) => Event::AudioStarted,
            Some(false) | None => {
                Event::AudioMissing(format!("no audio comes with the frames of {}", self.source))
            }
        });
    }

    /// Sends a chunk; `false` if no more are wanted.
    fn hand_over(&self, chunk: Chunk) -> bool {
        let pipeline = self.pipeline.upgrade();
        let base = pipeline.and_then(|pipeline| pipeline.base_time()).map_or(0, gst::ClockTime::nseconds);
        let start = Mono(base.saturating_add(chunk.start.0));
        let timing = if self.from_network { self.shared.timing() } else { Timing::Device };
        let message = Captured::Chunk(Chunk { start, timing, ..chunk });
        self.shared.handed_over(mono());
        while !self.shared.quits() {
            select_biased! {
                recv(self.shared.quit_rx) -> _ => return false,
                // Evaluated only if there is room; a chunk is a handle to its bytes.
                send(self.chunks, message.clone()) -> _spool_is_gone => return true,
                default(FULL_CHANNEL_INTERVAL) => {
                    let now = mono();
                    self.shared.arrived(now);
                    self.shared.handed_over(now);
                }
            }
        }
        false
    }

    fn unfit(&self, why: Unfit) -> Fault {
        match why {
            Unfit::Lines(lines) => {
                self.shared.too_many.store(lines, Ordering::Release);
                let allowed = self.max_height;
                fault(
                    FaultKind::ExceedsPlan,
                    format!("the frames of {} have {lines} lines, the plan allows {allowed}", self.source),
                )
            }
            Unfit::NoTimes => fault(
                FaultKind::Pipeline,
                format!("the frames of {} have no times, or all have the same", self.source),
            ),
            Unfit::TooLarge => {
                fault(FaultKind::Pipeline, format!("a chunk of {} is larger than 2 GiB", self.source))
            }
        }
    }
}

impl IntakeState {
    /// Reads new caps; returns their codec.
    fn learn_caps(&mut self, sample: &gst::Sample) -> Option<Codec> {
        let caps = sample.caps();
        if self.frame_caps.as_deref() == caps {
            return None;
        }
        // Kept, not copied: equal pointers need no comparison of each field.
        self.frame_caps = sample.caps_owned();
        let structure = caps.and_then(|caps| caps.structure(0))?;
        let codec = [Codec::H264, Codec::H265].into_iter().find(|codec| structure.name() == media(*codec));
        if structure.get::<&str>("stream-format").is_ok_and(|format| format == "byte-stream") {
            self.packing = Packing::StartCodes;
            return codec;
        }
        let record = structure.get::<gst::Buffer>("codec_data").ok();
        let record = record.and_then(|record| bytes_of(&record).ok());
        let size = record.and_then(|record| self.assembler.learn_record(&record));
        self.packing = Packing::Lengths(size.unwrap_or(4));
        codec
    }
}
