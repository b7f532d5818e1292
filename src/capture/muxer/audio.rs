//! Audio that waits for the frames of the same time.

use super::samples::{AudioFrame, audio_run};
use crate::fmp4::{AudioDescription, SampleRun};
use std::collections::VecDeque;
use std::sync::Arc;

/// Maximum number of audio frames that wait.
pub(super) const MAX_WAITING_AUDIO: usize = 8192;

#[derive(Clone, Debug)]
enum AudioState {
    /// No audio has come yet.
    Unknown,
    Present(Arc<AudioDescription>),
    /// No audio, or no more.
    Ended(Option<Arc<AudioDescription>>),
}

/// The audio of a run.
#[derive(Debug)]
pub(super) struct AudioQueue {
    state: AudioState,
    /// The wait for audio timed out, and none has come since.
    pub(super) quiet: bool,
    waiting: VecDeque<(AudioFrame, Arc<AudioDescription>)>,
    /// The end of the audio so far, in nanoseconds.
    pub(super) until: i64,
    /// Time of the last audio frame, and the expected time of the next, in ticks.
    placed: Option<(u64, u64)>,
    /// Audio frames that were dropped.
    pub(super) lost: u64,
}

impl AudioQueue {
    /// `wanted`: audio is expected.
    pub(super) fn new(wanted: bool) -> AudioQueue {
        AudioQueue {
            state: if wanted { AudioState::Unknown } else { AudioState::Ended(None) },
            quiet: false,
            waiting: VecDeque::new(),
            until: i64::MIN,
            placed: None,
            lost: 0,
        }
    }

    /// The format of the last audio.
    pub(super) fn format(&self) -> Option<&Arc<AudioDescription>> {
        match &self.state {
            AudioState::Unknown => None,
            AudioState::Present(format) => Some(format),
            AudioState::Ended(format) => format.as_ref(),
        }
    }

    pub(super) fn push(&mut self, frame: AudioFrame, format: &Arc<AudioDescription>) {
        let goes_on = matches!(&self.state, AudioState::Present(known) if known == format);
        if !goes_on {
            self.state = AudioState::Present(Arc::clone(format));
        }
        self.quiet = false;
        self.until = self.until.max(frame.shown.saturating_add(frame.duration));
        if self.waiting.len() >= MAX_WAITING_AUDIO {
            self.waiting.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.waiting.push_back((frame, Arc::clone(format)));
    }

    /// Marks the end of the audio.
    pub(super) fn end(&mut self) {
        self.state = AudioState::Ended(self.format().cloned());
    }

    /// The number of audio frames that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether audio before `end` may still come. `begun`: the `moov` is written.
    pub(super) fn is_behind(&self, end: i64, begun: bool) -> bool {
        match &self.state {
            AudioState::Unknown => !begun,
            AudioState::Present(_) => self.until < end,
            AudioState::Ended(_) => false,
        }
    }

    /// The audio that begins before `end` and not before `from`, if it has the `format` of the `moov`. `shift` is added
    /// to its times.
    pub(super) fn take(
        &mut self,
        from: Option<i64>,
        end: i64,
        shift: i64,
        format: Option<&Arc<AudioDescription>>,
    ) -> Option<SampleRun> {
        let mut taken = Vec::new();
        while self.waiting.front().is_some_and(|(frame, _)| frame.shown < end) {
            let Some((frame, of)) = self.waiting.pop_front() else { break };
            if format == Some(&of) && from.is_none_or(|from| frame.shown >= from) {
                taken.push(frame);
            } else {
                self.lost = self.lost.saturating_add(1);
            }
        }
        audio_run(taken, format?.rate, shift, &mut self.placed)
    }
}
