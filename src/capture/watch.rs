//! When and how a run of the pipeline ends. Pure: events, the progress of the stream and the time are arguments.

use super::pipeline::Origin;
use crate::domain::effect::StopManner;
use crate::domain::fragment::SpanEnd;
use crate::domain::input::{Fault, FaultKind};
use crate::domain::time::Mono;
use std::time::Duration;

/// For frames in the pipeline to be delivered before the devices are closed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// For the rest of a stream whose source failed.
const SALVAGE_TIMEOUT: Duration = Duration::from_millis(800);
/// Minimum time to a stall before the first chunk: connecting takes time.
const FIRST_CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// For a chunk while frames come: some cameras send an IDR frame once a minute.
const NO_CHUNK_TIMEOUT: Duration = Duration::from_secs(90);
/// Lengths of a fragment without a frame that count as a stall.
const STALL_FRAGMENTS: u32 = 3;

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By an order.
    Asked(SpanEnd),
    /// The closer has closed the devices; the order itself has not arrived yet.
    ClosedByDrop,
    /// The source or the pipeline failed, or a file has ended.
    Failed(Fault),
}

impl Ending {
    /// The ending for this kind of source.
    ///
    /// Only a file can end. A camera that ends its stream has restarted or was unplugged: it is missing, and may return.
    /// A file that is damaged in the middle stays so: the frames before are not stored again.
    pub(super) fn of(self, origin: &Origin, stored: bool) -> Ending {
        match (self, origin) {
            (Ending::Failed(fault), Origin::File { .. }) if stored && fault.kind == FaultKind::Pipeline => {
                let message = format!("{}; the rest is not recorded", fault.message);
                Ending::Failed(Fault { kind: FaultKind::EndOfStream, message })
            }
            (Ending::Failed(fault), Origin::Rtsp(_) | Origin::Branches)
                if fault.kind == FaultKind::EndOfStream =>
            {
                Ending::Failed(Fault { kind: FaultKind::DeviceMissing, ..fault })
            }
            (ending, Origin::Rtsp(_) | Origin::Branches | Origin::File { .. }) => ending,
        }
    }
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Ending {
        Ending::Failed(fault)
    }
}

/// The progress of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// When the last frame came; before the first one, when the pipeline was started.
    pub(super) frame: Mono,
    /// The same for chunks.
    pub(super) chunk: Mono,
    /// A chunk has come.
    pub(super) begun: bool,
}

/// Events that may end a run.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// An order to end.
    Stop(StopManner, SpanEnd),
    /// The source has dropped the run: no order can come.
    Abandoned,
    /// All captured frames have been delivered.
    HandedOver,
    /// The pipeline failed.
    Failed(Fault),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Wait,
    /// Stop the input, and deliver the frames in the pipeline.
    Drain,
    /// Close the devices.
    End(Ending),
    /// Close the devices: the frames in the pipeline did not come in time.
    GiveUp(Ending),
}

/// Watches one run.
#[derive(Debug)]
pub(super) struct Watch {
    /// The source, as messages name it.
    source: String,
    fragment: Duration,
    draining: Option<(Mono, Ending)>,
}

impl Watch {
    /// For a run with fragments of this length.
    pub(super) fn new(source: &str, fragment: Duration) -> Watch {
        Watch { source: source.to_owned(), fragment, draining: None }
    }

    /// The run has to end, and frames in the pipeline are being delivered.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// How long to wait for an event. At most a fragment: frames move the time of a stall without waking the waiter.
    pub(super) fn wait(&self, flow: Flow, now: Mono) -> Duration {
        let until = match &self.draining {
            Some((until, _)) => *until,
            None => self.stalls_at(flow),
        };
        until.since(now).min(self.fragment)
    }

    /// Handles an event.
    pub(super) fn on(&mut self, event: Event, now: Mono) -> Next {
        match event {
            Event::Stop(StopManner::Drop, reason) => Next::End(Ending::Asked(reason)),
            Event::Stop(StopManner::Drain, reason) => self.drain(now + DRAIN_TIMEOUT, Ending::Asked(reason)),
            Event::Abandoned if self.is_draining() => Next::Wait,
            Event::Abandoned => Next::End(Ending::Asked(SpanEnd::Shutdown)),
            Event::HandedOver => Next::End(match self.draining.take() {
                Some((_, ending)) => ending,
                None => Ending::Failed(Fault {
                    kind: FaultKind::EndOfStream,
                    message: format!("{} has ended", self.source),
                }),
            }),
            // Frames that exceed the plan are not delivered.
            Event::Failed(fault) if fault.kind == FaultKind::ExceedsPlan => Next::End(fault.into()),
            Event::Failed(_) if self.is_draining() => Next::Wait,
            Event::Failed(fault) => self.drain(now + SALVAGE_TIMEOUT, fault.into()),
        }
    }

    /// Handles a timeout: no event came for the time of [`Watch::wait`].
    pub(super) fn on_time(&mut self, flow: Flow, now: Mono) -> Next {
        match self.draining.take() {
            Some((until, ending)) if now >= until => Next::GiveUp(ending),
            Some(not_yet) => {
                self.draining = Some(not_yet);
                Next::Wait
            }
            None if now >= self.stalls_at(flow) => Next::End(Ending::Failed(Fault {
                kind: FaultKind::Stalled,
                message: format!(
                    "nothing to record came from {} for three times recording.fragment: check its connection",
                    self.source
                ),
            })),
            None => Next::Wait,
        }
    }

    fn drain(&mut self, until: Mono, ending: Ending) -> Next {
        self.draining = Some((until, ending));
        Next::Drain
    }

    /// When the source counts as stalled, if no frame comes before.
    fn stalls_at(&self, flow: Flow) -> Mono {
        let patience = self.fragment.saturating_mul(STALL_FRAGMENTS);
        let frame = flow.frame + if flow.begun { patience } else { patience.max(FIRST_CHUNK_TIMEOUT) };
        frame.min(flow.chunk + patience.max(NO_CHUNK_TIMEOUT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENT: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Mono {
        Mono(0) + Duration::from_millis(millis)
    }

    fn flow(frame: u64, chunk: u64, begun: bool) -> Flow {
        Flow { frame: at(frame), chunk: at(chunk), begun }
    }

    fn watch() -> Watch {
        Watch::new("the camera", FRAGMENT)
    }

    fn fault(kind: FaultKind) -> Fault {
        Fault { kind, message: String::from("why") }
    }

    #[test]
    fn a_drop_ends_the_run_at_once_also_while_it_drains() {
        let mut watch = watch();
        let drop = Event::Stop(StopManner::Drop, SpanEnd::Privacy);
        assert_eq!(watch.on(drop.clone(), at(0)), Next::End(Ending::Asked(SpanEnd::Privacy)));
        watch.on(Event::Stop(StopManner::Drain, SpanEnd::Shutdown), at(0));
        assert_eq!(watch.on(drop, at(1)), Next::End(Ending::Asked(SpanEnd::Privacy)));
    }

    #[test]
    fn a_drain_ends_when_all_is_handed_over_or_after_two_seconds() {
        let mut watch = watch();
        let drain = Event::Stop(StopManner::Drain, SpanEnd::Entitlement);
        let asked = Ending::Asked(SpanEnd::Entitlement);
        assert_eq!(watch.on(drain.clone(), at(0)), Next::Drain);
        assert_eq!(watch.wait(flow(0, 0, true), at(500)), Duration::from_millis(1500));
        assert_eq!(watch.on(Event::HandedOver, at(600)), Next::End(asked.clone()));
        assert_eq!(watch.on(drain, at(1000)), Next::Drain);
        assert_eq!(watch.on_time(flow(0, 0, true), at(2999)), Next::Wait);
        assert_eq!(watch.on_time(flow(0, 0, true), at(3000)), Next::GiveUp(asked));
    }

    #[test]
    fn the_rest_of_a_source_that_failed_is_waited_for_shorter_and_its_first_fault_is_told() {
        let mut watch = watch();
        let first = fault(FaultKind::DeviceMissing);
        assert_eq!(watch.on(Event::Failed(first.clone()), at(0)), Next::Drain);
        assert_eq!(watch.on(Event::Failed(fault(FaultKind::Pipeline)), at(10)), Next::Wait);
        assert_eq!(watch.on_time(flow(0, 0, true), at(800)), Next::GiveUp(first.into()));
    }

    #[test]
    fn more_than_the_plan_allows_ends_the_run_without_its_rest() {
        let mut watch = watch();
        watch.on(Event::Failed(fault(FaultKind::Pipeline)), at(0));
        let beyond = fault(FaultKind::ExceedsPlan);
        assert_eq!(watch.on(Event::Failed(beyond.clone()), at(1)), Next::End(beyond.into()));
    }

    #[test]
    fn a_stream_that_ends_unasked_has_come_to_its_end() {
        let Next::End(Ending::Failed(fault)) = watch().on(Event::HandedOver, at(0)) else { panic!() };
        assert_eq!(fault.kind, FaultKind::EndOfStream);
        assert!(fault.message.contains("the camera"), "{}", fault.message);
    }

    #[test]
    fn a_run_that_nobody_holds_ends_unless_it_drains() {
        assert_eq!(watch().on(Event::Abandoned, at(0)), Next::End(Ending::Asked(SpanEnd::Shutdown)));
        let mut watch = watch();
        watch.on(Event::Stop(StopManner::Drain, SpanEnd::Shutdown), at(0));
        assert_eq!(watch.on(Event::Abandoned, at(1)), Next::Wait);
    }

    #[test]
    fn a_stall_is_three_fragment_times_and_longer_before_the_first_chunk() {
        for (begun, stalls) in [(true, 6000), (false, 10_000)] {
            let mut watch = watch();
            let flow = flow(0, 0, begun);
            assert_eq!(watch.wait(flow, at(0)), FRAGMENT, "it looks anew each fragment");
            assert_eq!(watch.wait(flow, at(stalls - 5)), Duration::from_millis(5));
            assert_eq!(watch.on_time(flow, at(stalls - 1)), Next::Wait);
            let Next::End(Ending::Failed(fault)) = watch.on_time(flow, at(stalls)) else { panic!("{begun}") };
            assert_eq!(fault.kind, FaultKind::Stalled);
        }
    }

    #[test]
    fn frames_without_an_idr_frame_are_waited_for_a_minute_and_a_half() {
        let mut watch = watch();
        assert_eq!(watch.on_time(flow(89_000, 0, true), at(89_999)), Next::Wait);
        assert!(matches!(watch.on_time(flow(89_000, 0, true), at(90_000)), Next::End(Ending::Failed(_))));
    }

    /// Every order of four events, half a second apart: the run ends, and no later than its last order allows.
    #[test]
    fn whatever_happens_a_run_that_was_asked_to_end_ends_in_time() {
        let events = [
            Event::Stop(StopManner::Drain, SpanEnd::Shutdown),
            Event::Abandoned,
            Event::Failed(fault(FaultKind::Pipeline)),
            Event::Failed(fault(FaultKind::DeviceMissing)),
        ];
        let mut walked = 0;
        for order in 0..events.len().pow(4) {
            let mut watch = watch();
            let (mut rest, mut now, mut last_order, mut over) = (order, 0, None, false);
            for _ in 0..4 {
                let event = events[rest % events.len()].clone();
                rest /= events.len();
                now += 500;
                let drained = watch.is_draining();
                if matches!(event, Event::Stop(..)) || !drained {
                    last_order = Some(now);
                }
                if matches!(watch.on(event, at(now)), Next::End(_)) {
                    over = true;
                    break;
                }
                if matches!(watch.on_time(flow(now, now, true), at(now)), Next::GiveUp(_)) {
                    over = true;
                    break;
                }
            }
            let ends = at(last_order.unwrap() + 2000);
            over = over || matches!(watch.on_time(flow(now, now, true), ends), Next::GiveUp(_));
            assert!(over, "order {order} does not end");
            walked += 1;
        }
        assert_eq!(walked, 256);
    }
}
