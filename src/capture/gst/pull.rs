//! From the pipeline's end to the channel.

use super::build::Built;
use super::fault;
use super::run::{Event, Shared};
use crate::capture::assemble::{Assembler, Broken};
use crate::domain::fragment::{Captured, Chunk, Epoch};
use crate::domain::input::FaultKind;
use crate::system::clock::mono;
use crossbeam_channel::{Sender, select};
use gst::prelude::*;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long a look at the appsink lasts; what ends it sooner is a sample, EOS, or NULL.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(200);
/// A channel that is full this long is told as progress: the source is not to blame.
const NUDGE: Duration = Duration::from_millis(200);

struct Puller {
    sink: gst_app::AppSink,
    /// Weak, or a pipeline that is closed would live on until the next look.
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    shared: Arc<Shared>,
    chunks: Sender<Captured>,
    max_height: u32,
}

/// Starts the thread. The pipeline must have left READY.
pub(super) fn start(
    epoch: Epoch,
    built: &Built,
    shared: Arc<Shared>,
    chunks: Sender<Captured>,
    max_height: u32,
) -> io::Result<thread::JoinHandle<()>> {
    let puller =
        Puller { sink: built.sink.clone(), pipeline: built.pipeline.downgrade(), shared, chunks, max_height };
    thread::Builder::new().name(String::from("capture-puller")).spawn(move || puller.run(epoch))
}

impl Puller {
    fn run(self, epoch: Epoch) {
        let mut assembler = Assembler::new(epoch);
        while !self.shared.quits() {
            match self.sink.try_pull_sample(LOOK) {
                Some(sample) => {
                    if let Err(why) = self.take(&sample, &mut assembler) {
                        self.shared.tell(why);
                        return;
                    }
                }
                None if self.sink.is_eos() => {
                    // A sink that was closed says so too.
                    if !self.shared.quits() {
                        self.shared.tell(Event::HandedOver);
                    }
                    return;
                }
                None => {}
            }
        }
    }

    fn take(&self, sample: &gst::Sample, assembler: &mut Assembler) -> Result<(), Event> {
        let unreadable =
            || Event::Failed(fault(FaultKind::Pipeline, String::from("a buffer cannot be read")));
        if let Some(list) = sample.buffer_list() {
            for buffer in list.iter() {
                assembler.push(&buffer.map_readable().map_err(|_| unreadable())?);
            }
        } else if let Some(buffer) = sample.buffer() {
            assembler.push(&buffer.map_readable().map_err(|_| unreadable())?);
        }
        let base = self
            .pipeline
            .upgrade()
            .and_then(|pipeline| pipeline.base_time())
            .map_or(0, gst::ClockTime::nseconds);
        loop {
            // The lock is held for the arithmetic alone: the muxer's input waits for it.
            let chunk = assembler.next_chunk(&mut self.shared.ledger(), base).map_err(|Broken(why)| {
                Event::Failed(fault(FaultKind::Pipeline, format!("isofmp4mux: {why}")))
            })?;
            let Some(chunk) = chunk else { return Ok(()) };
            if chunk.init.height > self.max_height {
                return Err(Event::Failed(fault(
                    FaultKind::ExceedsPlan,
                    format!(
                        "the picture has {} lines, the plan allows {}: set the camera to fewer, or let the board encode",
                        chunk.init.height, self.max_height
                    ),
                )));
            }
            self.hand_over(chunk);
        }
    }

    fn hand_over(&self, chunk: Chunk) {
        if self.shared.quits() {
            return;
        }
        self.shared.handed_over(mono());
        let message = Captured::Chunk(chunk);
        loop {
            select! {
                // Evaluated only where there is room; a chunk is a handle to its bytes.
                send(self.chunks, message.clone()) -> _spool_is_gone => return,
                recv(self.shared.quit_rx) -> _ => return,
                default(NUDGE) => {
                    let now = mono();
                    self.shared.arrived(now);
                    self.shared.handed_over(now);
                }
            }
        }
    }
}
