//! Reads one track of an MP4 or Matroska file, in a small separate pipeline.

use super::basket::Basket;
use super::elements::{make, name};
use super::faults::fault;
use super::shared::Shared;
use crate::capture::pipeline::{Container, Element, media};
use crate::domain::codec::Codec;
use crate::domain::input::{Fault, FaultKind};
use crossbeam_channel::{Receiver, bounded};
use gst::prelude::*;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often a waiting reader checks whether it must stop.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// For a file to be opened and its tracks to be found.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A kind of track in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrackKind {
    Video(Codec),
    Audio,
}

/// Running times of a sample, in nanoseconds; may be negative if frames are reordered.
pub(super) struct Times {
    pub(super) pts: i64,
    pub(super) dts: i64,
    pub(super) duration: i64,
}

impl Times {
    pub(super) fn of(sample: &gst::Sample, container: Container, otherwise: Option<i64>) -> Option<Times> {
        let buffer = sample.buffer()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let running = |time: Option<gst::ClockTime>| -> Option<i64> {
            let time = match container {
                // Its demuxer changes the segment during the first frames; the times themselves are continuous.
                Container::Matroska => return i64::try_from(time?.nseconds()).ok(),
                // The segment contains the edit list.
                Container::Mp4 | Container::ByteStream => segment.to_running_time_full(time?)?,
            };
            let nanos = i64::try_from(time.abs().nseconds()).ok()?;
            Some(if time.is_positive() { nanos } else { -nanos })
        };
        let pts = running(buffer.pts())?;
        let dts = running(buffer.dts()).unwrap_or(pts);
        let known = buffer.duration().and_then(|duration| i64::try_from(duration.nseconds()).ok());
        Some(Times { pts, dts, duration: known.or(otherwise).unwrap_or(0) })
    }
}

/// One track of a file that is being read. Closed on drop.
pub(super) struct Demuxed {
    pipeline: gst::Pipeline,
    basket: Arc<Basket>,
    pub(super) failures: Receiver<Fault>,
    path: PathBuf,
}

impl Drop for Demuxed {
    fn drop(&mut self) {
        self.basket.end();
        let _a_file_closes = self.pipeline.set_state(gst::State::Null);
    }
}

impl Demuxed {
    /// `None` if the file has no such track that can be stored as it is.
    pub(super) fn open(
        path: &Path,
        container: Container,
        kind: TrackKind,
        shared: &Arc<Shared>,
    ) -> Result<Option<Demuxed>, Fault> {
        let failed = |what: &str| fault(FaultKind::Pipeline, format!("{}: {what}", path.display()));
        let joined = |result: Result<(), gst::glib::BoolError>| {
            result.map_err(|_| failed("the reader cannot be built"))
        };
        let pipeline = gst::Pipeline::new();
        let source = make(&Element::new("filesrc").with("location", path.display()))?;
        let demux = make(&Element::new(match container {
            Container::Mp4 => "qtdemux",
            Container::Matroska | Container::ByteStream => "matroskademux",
        }))?;
        let sink = make(
            &Element::new("appsink")
                .with("sync", false)
                .with("max-buffers", 1)
                .with("enable-last-sample", false),
        )?;
        let (name_of_caps, between): (&str, &[&'static str]) = match kind {
            TrackKind::Audio => ("audio/mpeg", &["aacparse"]),
            TrackKind::Video(codec) => (media(codec), &["identity"]),
        };
        let mut chain = Vec::new();
        for factory in between {
            chain.push(make(&Element::new(factory))?);
        }
        chain.push(sink.clone());
        joined(pipeline.add_many([&source, &demux]))?;
        joined(source.link(&demux))?;
        joined(pipeline.add_many(&chain))?;
        joined(gst::Element::link_many(&chain))?;
        let head = chain.first().and_then(|head| head.static_pad("sink")).ok_or_else(|| failed("no pad"))?;
        let (complete_tx, complete) = bounded::<()>(1);
        let (failures_tx, failures) = bounded::<Fault>(1);
        let target = head.downgrade();
        demux.connect_pad_added(move |_, pad| {
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            let wanted = caps.structure(0).is_some_and(|it| it.name() == name_of_caps);
            if let Some(head) = target.upgrade().filter(|head| wanted && !head.is_linked()) {
                let _of_another_kind = pad.link(&head);
            }
        });
        demux.connect_no_more_pads(move |_| {
            let _told_already = complete_tx.try_send(());
        });
        let place = path.display().to_string();
        if let Some(bus) = pipeline.bus() {
            bus.set_sync_handler(move |_, message| {
                if let gst::MessageView::Error(error) = message.view() {
                    let element = error
                        .src()
                        .and_then(|it| it.downcast_ref::<gst::Element>())
                        .map_or_else(String::new, name);
                    let why = format!("{element} ({place}): {}", error.error().message());
                    let _told_already = failures_tx.try_send(fault(FaultKind::Pipeline, why));
                }
                gst::BusSyncReply::Drop
            });
        }
        let sink = sink.downcast::<gst_app::AppSink>().map_err(|_| failed("no appsink"))?;
        // Keep frames that an edit list leaves out: they are footage.
        sink.set_drop_out_of_segment(false);
        let basket = Arc::<Basket>::default();
        let (filled, ended) = (Arc::clone(&basket), Arc::clone(&basket));
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
                    if filled.put(sample) { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Flushing) }
                })
                .eos(move |_| ended.end())
                .build(),
        );
        let demuxed = Demuxed { pipeline, basket, failures, path: path.to_owned() };
        if demuxed.pipeline.set_state(gst::State::Paused).is_err() {
            return Err(demuxed.failures.try_recv().unwrap_or_else(|_| failed("it cannot be opened")));
        }
        let mut waited = Duration::ZERO;
        while complete.try_recv().is_err() {
            // The demuxer fails if no track is linked; by then it has found its tracks.
            if let Ok(why) = demuxed.failures.try_recv() {
                if complete.try_recv().is_ok() {
                    break;
                }
                return Err(why);
            }
            if shared.quits() {
                return Err(failed("stopped"));
            }
            if waited >= OPEN_TIMEOUT {
                return Err(failed("its tracks were not found within 10 s"));
            }
            thread::sleep(Duration::from_millis(2));
            waited += Duration::from_millis(2);
        }
        Ok(head.is_linked().then_some(demuxed))
    }

    pub(super) fn play(&self) -> Result<(), Fault> {
        self.pipeline
            .set_state(gst::State::Playing)
            .map(drop)
            .map_err(|_| fault(FaultKind::Pipeline, format!("{} cannot be read", self.path.display())))
    }

    /// The next samples; none at the end, after a failure, or if no more are wanted.
    pub(super) fn pull(&self, wanted: impl Fn() -> bool) -> VecDeque<gst::Sample> {
        while wanted() {
            let (samples, over) = self.basket.take(POLL_INTERVAL);
            if !samples.is_empty() || over || !self.failures.is_empty() {
                return samples;
            }
        }
        VecDeque::new()
    }
}
