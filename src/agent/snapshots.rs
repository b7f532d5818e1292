//! Frames for clients of the control socket (`kasacamd snapshot`): asked of the run that is open, and given out only while
//! that run still is.

use crate::capture::FragmentSource;
use crate::domain::fragment::Epoch;
use crate::domain::input::Input;
use crate::domain::machine::Machine;
use crate::domain::time::{Mono, Now};
use crate::system::control::{MAX_FRAME, Request, Snapshot};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;

/// Within which an IDR frame must come; the client waits for five seconds.
const FRAME_TIMEOUT: Duration = Duration::from_secs(4);
/// Frames on their way to the loop.
const MAX_FRAMES: usize = 2;

/// A frame, and the run that it is of.
pub(super) struct GivenFrame {
    epoch: Epoch,
    frame: Vec<u8>,
}

/// At most one client waits at a time.
pub(super) struct Snapshots {
    waiting: Option<(Mono, Request)>,
    frames: mpsc::Receiver<GivenFrame>,
    giver: mpsc::Sender<GivenFrame>,
}

impl Snapshots {
    pub(super) fn new() -> Snapshots {
        let (giver, frames) = mpsc::channel(MAX_FRAMES);
        Snapshots { waiting: None, frames, giver }
    }

    /// Asks for a frame; or hands the request back with the answer, where there can be none.
    pub(super) fn ask(
        &mut self,
        machine: &Machine,
        source: &mut dyn FragmentSource,
        request: Request,
        now: Now,
    ) -> Option<(Request, Value)> {
        let Some(epoch) = machine.open_run() else {
            return Some((request, error("the camera is closed: kasacamd status says why")));
        };
        if self.waiting.is_some() {
            return Some((request, error("another snapshot is being taken: try again")));
        }
        self.waiting = Some((now.mono + FRAME_TIMEOUT, request));
        let giver = self.giver.clone();
        source.give_frame(
            epoch,
            Box::new(move |frame| {
                let _nobody_waits_any_more = giver.try_send(GivenFrame { epoch, frame });
            }),
        );
        None
    }

    pub(super) fn due(&self) -> Option<Mono> {
        self.waiting.as_ref().map(|(deadline, _)| *deadline)
    }

    pub(super) async fn taken(&mut self) -> Option<GivenFrame> {
        self.frames.recv().await
    }

    /// Gives a frame to whoever waits, if its run is the one that is open now.
    pub(super) fn give(&mut self, given: GivenFrame, machine: &Machine) -> Option<Input> {
        let (_, request) = self.waiting.take()?;
        let answer = if machine.open_run() != Some(given.epoch) {
            error("the camera was closed meanwhile")
        } else if given.frame.len() > MAX_FRAME {
            error("the frame is larger than 4 MiB")
        } else {
            tracing::info!("a frame is given to a client of the control socket");
            json!(Snapshot { epoch: given.epoch.0, h264: STANDARD.encode(&given.frame) })
        };
        let _client_went_away = request.reply.send(answer);
        None
    }

    /// Answers whoever has waited for too long.
    pub(super) fn look(&mut self, now: Now) {
        if self.due().is_some_and(|deadline| deadline <= now.mono) {
            if let Some((_, request)) = self.waiting.take() {
                let why = "no IDR frame came within 4 s: the source gives them too rarely, or nothing at all";
                let _client_went_away = request.reply.send(error(why));
            }
        }
    }
}

fn error(what: &str) -> Value {
    json!({ "error": what })
}
