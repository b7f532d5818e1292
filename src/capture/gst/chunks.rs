//! From what the muxer puts out to chunks.
//!
//! A probe on the muxer's input notes every access unit: when it is to be presented, and whether it
//! begins a GOP. Units come out in the order in which they went in, so a chunk with *n* pictures
//! takes the next *n* notes; that its fragment is complete is known at once, from the note behind
//! them, not only when the next chunk comes.

use crate::domain::fragment::{Chunk, Epoch, Init};
use crate::domain::input::{Fault, FaultKind};
use crate::domain::time::Mono;
use crate::fmp4::{self, Malformed};
use bytes::Bytes;
use gst::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What went into the muxer and has not come out.
#[derive(Clone, Default)]
pub(super) struct Units(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    units: VecDeque<Unit>,
    ended: bool,
}

#[derive(Clone, Copy)]
struct Unit {
    key: bool,
    /// Running time of its presentation, in nanoseconds.
    presented: u64,
}

/// Units that may wait at most: some seconds of the fastest camera. A muxer that keeps more is stuck,
/// and the stall detector will say so.
const MOST_UNITS: usize = 8192;

impl Units {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes everything that passes this pad.
    pub(super) fn watch(&self, pad: &gst::Pad) {
        let units = self.clone();
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(mask, move |pad, info| {
            if let Some(buffer) = info.buffer() {
                units.note(pad, buffer);
            } else if info.event().is_some_and(|event| event.type_() == gst::EventType::Eos) {
                units.lock().ended = true;
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn note(&self, pad: &gst::Pad, buffer: &gst::BufferRef) {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let running = segment.as_ref().and_then(|event| {
            let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
            segment.to_running_time(buffer.pts().or(buffer.dts()))
        });
        let unit = Unit {
            key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            presented: running.map_or(0, gst::ClockTime::nseconds),
        };
        let mut waiting = self.lock();
        if waiting.units.len() < MOST_UNITS {
            waiting.units.push_back(unit);
        }
    }

    /// Takes the next `n` units: the earliest presentation of them, and whether a GOP is complete
    /// with them.
    fn take(&self, n: u32, starts_fragment: bool) -> (Option<u64>, bool) {
        let mut waiting = self.lock();
        if starts_fragment {
            // What came before the first key frame never comes out.
            while waiting.units.front().is_some_and(|unit| !unit.key) {
                waiting.units.pop_front();
            }
        }
        let n = usize::try_from(n).unwrap_or(usize::MAX).min(waiting.units.len());
        let earliest = waiting.units.drain(..n).map(|unit| unit.presented).min();
        let complete = waiting.units.front().map_or(waiting.ended, |next| next.key);
        (earliest, complete)
    }
}

/// Turns samples of the sink into chunks.
pub(super) struct Assembler {
    epoch: Epoch,
    units: Units,
    /// `CLOCK_MONOTONIC` at running time zero.
    base: Mono,
    /// Coded lines at most, where the picture cannot be made smaller.
    most_lines: Option<u32>,
    init: Option<Arc<Init>>,
    /// Where the muxer's timeline begins, in nanoseconds.
    origin: Option<u64>,
    last_start: Mono,
}

impl Assembler {
    pub(super) fn new(epoch: Epoch, units: Units, base: Mono, most_lines: Option<u32>) -> Assembler {
        Assembler { epoch, units, base, most_lines, init: None, origin: None, last_start: base }
    }

    /// The chunks of one sample, in order.
    pub(super) fn take(&mut self, sample: &gst::SampleRef) -> Result<Vec<Chunk>, Fault> {
        let bytes = bytes_of(sample);
        let pieces = fmp4::pieces(&bytes).map_err(|e| unreadable(&e))?;
        let mut chunks = Vec::new();
        let mut head: Option<std::ops::Range<usize>> = None;
        let mut moof: Option<std::ops::Range<usize>> = None;
        for piece in pieces {
            match &piece.kind {
                b"ftyp" => head = Some(piece.range),
                b"moov" => {
                    let start = head.take().map_or(piece.range.start, |ftyp| ftyp.start);
                    self.new_init(bytes.slice(start..piece.range.end))?;
                }
                b"moof" => moof = Some(piece.range),
                b"mdat" => {
                    if let Some(moof) = moof.take() {
                        chunks.push(self.chunk(&bytes.slice(moof.start..piece.range.end))?);
                    }
                }
                // styp, sidx, prft, mfra: the spool writes what it needs of them.
                _ => {}
            }
        }
        Ok(chunks)
    }

    fn new_init(&mut self, bytes: Bytes) -> Result<(), Fault> {
        if self.init.as_ref().is_some_and(|init| init.bytes == bytes) {
            return Ok(());
        }
        let init = fmp4::read_init(bytes).map_err(|e| unreadable(&e))?;
        if let Some(most) = self.most_lines.filter(|most| init.height > *most) {
            let message = format!(
                "the source's picture has {} lines, the plan allows {most}, and a coded picture cannot be made smaller",
                init.height
            );
            return Err(Fault { kind: FaultKind::ExceedsPlan, message });
        }
        self.init = Some(Arc::new(init));
        Ok(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<Chunk, Fault> {
        let init = self.init.clone().ok_or_else(|| fault("the muxer gave a moof before its moov"))?;
        let mut bytes = bytes.to_vec();
        let info = fmp4::read_chunk(&init, &bytes).map_err(|e| unreadable(&e))?;
        let origin = match self.origin {
            Some(origin) => origin,
            None => {
                let earliest = info.runs.iter().map(|run| nanos(&init, run.track, run.decode_time)).min();
                *self.origin.insert(earliest.unwrap_or(0))
            }
        };
        fmp4::rebase_chunk(&init, &mut bytes, origin).map_err(|e| unreadable(&e))?;
        let video = info.runs.iter().find(|run| run.track == init.video.id);
        let frames = video.map_or(0, |run| run.samples);
        let starts_fragment = frames > 0 && info.starts_with_sync;
        let (presented, ends_fragment) = self.units.take(frames, starts_fragment);
        if let Some(presented) = presented {
            self.last_start = self.base + std::time::Duration::from_nanos(presented);
        }
        let duration = video.map_or(0, |run| nanos(&init, run.track, run.duration));
        Ok(Chunk {
            epoch: self.epoch,
            bytes: Bytes::from(bytes),
            starts_fragment,
            ends_fragment,
            start: self.last_start,
            duration,
            frames,
            init,
        })
    }
}

/// Ticks of a track in nanoseconds.
fn nanos(init: &Init, track: u32, ticks: u64) -> u64 {
    let timescale = match init.audio {
        Some(audio) if audio.id == track => audio.timescale,
        Some(_) | None => init.video.timescale,
    };
    u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(timescale.max(1))).unwrap_or(u64::MAX)
}

fn bytes_of(sample: &gst::SampleRef) -> Bytes {
    let mut bytes = Vec::new();
    let mut add = |buffer: &gst::BufferRef| {
        if let Ok(map) = buffer.map_readable() {
            bytes.extend_from_slice(&map);
        }
    };
    if let Some(list) = sample.buffer_list() {
        list.iter().for_each(&mut add);
    } else if let Some(buffer) = sample.buffer() {
        add(buffer);
    }
    Bytes::from(bytes)
}

fn unreadable(e: &Malformed) -> Fault {
    fault(&format!("what the muxer gave cannot be read, {e}"))
}

fn fault(message: &str) -> Fault {
    Fault { kind: FaultKind::Pipeline, message: message.to_owned() }
}
