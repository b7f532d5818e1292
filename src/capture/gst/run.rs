//! One run of capture, from a permit to closed devices.

use super::chunks::{Assembler, Units};
use super::pipeline::{self, Built};
use super::{Report, ready};
use crate::config::{Board, Recording};
use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::{Captured, Epoch, SpanEnd};
use crate::domain::input::{Fault, FaultKind, Input};
use crate::domain::time::Mono;
use crate::system::clock;
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};
use gst::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Within which the devices must be closed before we say that they are not.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Within which what was captured must be handed over when a run is drained.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
/// How long a source may take to give its first fragment, on top of the fragment itself.
const START_WITHIN: Duration = Duration::from_secs(8);
/// How often a waiting thread looks up.
const LOOK_UP: Duration = Duration::from_millis(100);

pub(super) struct Order {
    pub(super) epoch: Epoch,
    pub(super) board: Board,
    pub(super) recording: Recording,
    pub(super) settings: CaptureSettings,
    pub(super) chunks: Sender<Captured>,
    pub(super) report: Report,
}

/// What the `capture` thread hears.
enum Heard {
    Stop(StopManner, SpanEnd),
    /// End-of-stream reached the sink.
    Ended,
    /// A looped file came to its end.
    SegmentDone,
    Fault(Fault),
    /// Every chunk has been handed over.
    HandedOver,
    Closed(Mono),
}

pub(super) struct Handle {
    pub(super) epoch: Epoch,
    orders: Sender<Heard>,
    /// Set before anything else at a drop: not one more chunk is handed over.
    dropped: Arc<AtomicBool>,
}

impl Handle {
    pub(super) fn stop(&self, manner: StopManner, reason: SpanEnd) {
        if manner == StopManner::Drop {
            self.dropped.store(true, Ordering::SeqCst);
        }
        // A full channel holds stops already, or a run that is over hears nothing.
        match self.orders.try_send(Heard::Stop(manner, reason)) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

pub(super) fn start(order: Order) -> Handle {
    let (orders, heard) = bounded(64);
    let dropped = Arc::new(AtomicBool::new(false));
    let handle = Handle { epoch: order.epoch, orders: orders.clone(), dropped: Arc::clone(&dropped) };
    let (epoch, report) = (order.epoch, Arc::clone(&order.report));
    let spawned = std::thread::Builder::new()
        .name(String::from("capture"))
        .spawn(move || Run::new(order, orders, heard, dropped).go());
    if let Err(e) = spawned {
        let fault = Fault { kind: FaultKind::Pipeline, message: format!("no thread can be started: {e}") };
        // Not from here: the caller is the loop that the report goes to.
        std::mem::drop(std::thread::Builder::new().spawn(move || {
            report(Input::CaptureClosed { epoch, at: clock::mono(), fault: Some(fault) });
        }));
    }
    handle
}

struct Run {
    order: Order,
    orders: Sender<Heard>,
    heard: Receiver<Heard>,
    dropped: Arc<AtomicBool>,
    /// `CLOCK_MONOTONIC` at which footage last came, in nanoseconds.
    came: Arc<AtomicU64>,
}

impl Run {
    fn new(order: Order, orders: Sender<Heard>, heard: Receiver<Heard>, dropped: Arc<AtomicBool>) -> Run {
        Run { order, orders, heard, dropped, came: Arc::new(AtomicU64::new(0)) }
    }

    /// Everything, from the first element to the last word.
    fn go(self) {
        let epoch = self.order.epoch;
        let (reason, fault, at) = match self.built() {
            Err(fault) => (SpanEnd::Source, Some(fault), clock::mono()),
            Ok(built) => self.capture(&built),
        };
        let _spool_has_left = self.order.chunks.send_timeout(Captured::End { epoch, reason }, CLOSE_WITHIN);
        (self.order.report)(Input::CaptureClosed { epoch, at, fault });
    }

    fn built(&self) -> Result<Built, Fault> {
        ready()?;
        let plan = super::plan(&self.order.board, &self.order.recording, self.order.settings)?;
        pipeline::build(&plan).map(|built| Built { repeat: plan.repeat, ..built })
    }

    fn capture(&self, built: &Built) -> (SpanEnd, Option<Fault>, Mono) {
        let units = Units::default();
        units.watch(&built.video_pad);
        self.listen(&built.pipeline);
        let (close, closing) = bounded::<()>(1);
        if let Err(fault) = self.park_closer(built.pipeline.clone(), closing) {
            return (SpanEnd::Source, Some(fault), clock::mono());
        }
        self.came.store((clock::mono() + START_WITHIN).0, Ordering::Relaxed);
        let started = if self.is_dropped() {
            Ok(())
        } else {
            built.pipeline.set_state(gst::State::Playing).map(drop).map_err(|_| {
                let message = String::from("the pipeline does not start");
                Fault { kind: FaultKind::Pipeline, message }
            })
        };
        let hander = started.and_then(|()| self.hand_over(built, units));
        let (reason, fault) = match &hander {
            Ok(_) => self.until_it_ends(built),
            // The bus knows better why.
            Err(fault) => (SpanEnd::Source, Some(self.first_fault().unwrap_or_else(|| fault.clone()))),
        };
        // From here on nothing more is handed over, whatever is still in the pipeline.
        self.dropped.store(true, Ordering::SeqCst);
        let _closer_waits = close.send(());
        let (at, late) = self.until_it_is_closed();
        (reason, fault.or(late), at)
    }

    fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Hears the bus in whatever thread posts to it, and passes on what matters.
    fn listen(&self, pipeline: &gst::Pipeline) {
        let Some(bus) = pipeline.bus() else { return };
        let orders = self.orders.clone();
        bus.set_sync_handler(move |_, message| {
            let heard = match message.view() {
                gst::MessageView::Error(error) => Some(Heard::Fault(fault_of(error))),
                gst::MessageView::Eos(_) => Some(Heard::Ended),
                gst::MessageView::SegmentDone(_) => Some(Heard::SegmentDone),
                _ => None,
            };
            if let Some(heard) = heard {
                let _enough_is_known = orders.try_send(heard);
            }
            gst::BusSyncReply::Drop
        });
    }

    /// Parks the thread that closes the devices.
    fn park_closer(&self, pipeline: gst::Pipeline, closing: Receiver<()>) -> Result<(), Fault> {
        let orders = self.orders.clone();
        let closer = move || {
            let _asked_or_gone = closing.recv();
            let closed = pipeline.set_state(gst::State::Null);
            if closed.is_err() {
                tracing::error!("the pipeline does not close cleanly");
            }
            let _run_has_given_up = orders.send_timeout(Heard::Closed(clock::mono()), CLOSE_WITHIN);
        };
        spawn("closer", closer)
    }

    /// Starts the thread that pulls from the sink and hands on.
    fn hand_over(&self, built: &Built, units: Units) -> Result<(), Fault> {
        let sink = built.sink.clone();
        let pipeline = built.pipeline.clone();
        let (epoch, settings) = (self.order.epoch, self.order.settings);
        let passed_through = self.passed_through();
        let (chunks, orders) = (self.order.chunks.clone(), self.orders.clone());
        let (dropped, came) = (Arc::clone(&self.dropped), Arc::clone(&self.came));
        let most_lines = passed_through.then_some(settings.max_height);
        spawn("chunks", move || {
            let mut assembler = None;
            let outcome = loop {
                if dropped.load(Ordering::SeqCst) {
                    return;
                }
                let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) else {
                    if sink.is_eos() {
                        break Heard::HandedOver;
                    }
                    continue;
                };
                let assembler = assembler.get_or_insert_with(|| {
                    let base = pipeline.base_time().map_or(0, gst::ClockTime::nseconds);
                    Assembler::new(epoch, units.clone(), Mono(base), most_lines)
                });
                match assembler.take(&sample) {
                    Err(fault) => break Heard::Fault(fault),
                    Ok(made) => {
                        for chunk in made {
                            if !hand(&chunks, Captured::Chunk(chunk), &dropped, &came) {
                                return;
                            }
                        }
                    }
                }
            };
            let _run_has_ended = orders.send_timeout(outcome, CLOSE_WITHIN);
        })
    }

    fn passed_through(&self) -> bool {
        super::plan(&self.order.board, &self.order.recording, self.order.settings)
            .is_ok_and(|plan| plan.passed_through)
    }

    /// Waits for the end of the run: asked for, by a fault, or of the source itself.
    fn until_it_ends(&self, built: &Built) -> (SpanEnd, Option<Fault>) {
        (self.order.report)(Input::CaptureStarted { epoch: self.order.epoch });
        let mut draining: Option<(SpanEnd, Mono)> = None;
        let mut looping = !built.repeat;
        loop {
            if !looping {
                looping = start_loop(&built.pipeline);
            }
            let heard = match self.heard.recv_timeout(LOOK_UP) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout) => match (draining, self.stalled()) {
                    (Some((reason, deadline)), _) if clock::mono() >= deadline => return (reason, None),
                    (None, Some(fault)) => return (SpanEnd::Source, Some(fault)),
                    (Some(_) | None, _) => continue,
                },
                Err(RecvTimeoutError::Disconnected) => return (SpanEnd::Source, None),
            };
            match (heard, draining) {
                (Heard::Stop(StopManner::Drop, reason), _) => return (reason, None),
                (Heard::Stop(StopManner::Drain, reason), None) => {
                    draining = Some((reason, clock::mono() + DRAIN_WITHIN));
                    built.pipeline.send_event(gst::event::Eos::new());
                }
                (Heard::Fault(fault), None) => return (SpanEnd::Source, Some(fault)),
                (Heard::HandedOver, None) => {
                    let message = String::from("the source has come to its end");
                    return (SpanEnd::Source, Some(Fault { kind: FaultKind::EndOfStream, message }));
                }
                (Heard::HandedOver | Heard::Fault(_), Some((reason, _))) => return (reason, None),
                (Heard::SegmentDone, None) => again(&built.pipeline),
                (Heard::Stop(StopManner::Drain, _) | Heard::SegmentDone, Some(_))
                | (Heard::Ended | Heard::Closed(_), _) => {}
            }
        }
    }

    /// A fault that the bus has already told of.
    fn first_fault(&self) -> Option<Fault> {
        self.heard.try_iter().find_map(|heard| match heard {
            Heard::Fault(fault) => Some(fault),
            Heard::Stop(..) | Heard::Ended | Heard::SegmentDone | Heard::HandedOver | Heard::Closed(_) => None,
        })
    }

    fn stalled(&self) -> Option<Fault> {
        let patience = self.order.recording.fragment * 3;
        let since = clock::mono().since(Mono(self.came.load(Ordering::Relaxed)));
        (since > patience).then(|| Fault {
            kind: FaultKind::Stalled,
            message: format!("no footage came for {} s", patience.as_secs()),
        })
    }

    fn until_it_is_closed(&self) -> (Mono, Option<Fault>) {
        let deadline = clock::mono() + CLOSE_WITHIN;
        loop {
            let left = deadline.since(clock::mono());
            match self.heard.recv_timeout(left) {
                Ok(Heard::Closed(at)) => return (at, None),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let message = format!("the device did not close within {} s", CLOSE_WITHIN.as_secs());
                    return (clock::mono(), Some(Fault { kind: FaultKind::CloseTimeout, message }));
                }
            }
        }
    }
}

/// Hands one message on, for as long as nobody drops the run. To wait for the spool is no stall.
fn hand(chunks: &Sender<Captured>, captured: Captured, dropped: &AtomicBool, came: &AtomicU64) -> bool {
    let mut captured = captured;
    loop {
        if dropped.load(Ordering::SeqCst) {
            return false;
        }
        came.fetch_max(clock::mono().0, Ordering::Relaxed);
        match chunks.send_timeout(captured, LOOK_UP) {
            Ok(()) => return true,
            Err(SendTimeoutError::Timeout(back)) => captured = back,
            Err(SendTimeoutError::Disconnected(_)) => return false,
        }
    }
}

/// The first seek of a file that repeats: it makes the demuxer tell of its end instead of ending.
fn start_loop(pipeline: &gst::Pipeline) -> bool {
    let (_, state, _) = pipeline.state(gst::ClockTime::ZERO);
    if state < gst::State::Paused {
        return false;
    }
    again(pipeline);
    true
}

fn again(pipeline: &gst::Pipeline) {
    let flags = gst::SeekFlags::SEGMENT;
    if pipeline.seek_simple(flags, gst::ClockTime::ZERO).is_err() {
        tracing::warn!("the file cannot be played again from its start");
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map(drop).map_err(|e| Fault {
        kind: FaultKind::Pipeline,
        message: format!("no thread can be started: {e}"),
    })
}

fn fault_of(error: &gst::message::Error) -> Fault {
    let who = error.src().map_or_else(|| String::from("the pipeline"), |src| src.name().to_string());
    let e = error.error();
    let no_device = [gst::ResourceError::NotFound, gst::ResourceError::OpenRead, gst::ResourceError::OpenReadWrite, gst::ResourceError::Busy];
    let kind = if no_device.iter().any(|kind| e.matches(*kind)) { FaultKind::DeviceMissing } else { FaultKind::Pipeline };
    // The debug string may hold the URL of a stream with its password: it stays out.
    Fault { kind, message: format!("{who}: {}", e.message()) }
}
