//! Audio that waits for the frames it belongs beneath.

use super::Sound;
use super::samples::sound_run;
use crate::fmp4::{Run, SoundFormat};
use std::collections::VecDeque;
use std::sync::Arc;

/// Audio frames that wait for their frames.
pub(super) const MAX_SOUND: usize = 8192;

#[derive(Clone, Debug)]
enum Ear {
    /// Nothing was heard yet.
    Listening,
    Hears(Arc<SoundFormat>),
    /// There is none, or no more.
    Deaf(Option<Arc<SoundFormat>>),
}

/// The audio of a run.
#[derive(Debug)]
pub(super) struct Hearing {
    ear: Ear,
    /// Audio was waited for in vain, and none came since.
    pub(super) quiet: bool,
    waiting: VecDeque<(Sound, Arc<SoundFormat>)>,
    /// Until when there is audio.
    pub(super) until: i64,
    /// Where the last audio frame was placed, and where the next one belongs, in ticks.
    placed: Option<(u64, u64)>,
    /// Audio frames that found no place.
    pub(super) lost: u64,
}

impl Hearing {
    /// `wanted`: some is to come.
    pub(super) fn new(wanted: bool) -> Hearing {
        Hearing {
            ear: if wanted { Ear::Listening } else { Ear::Deaf(None) },
            quiet: false,
            waiting: VecDeque::new(),
            until: i64::MIN,
            placed: None,
            lost: 0,
        }
    }

    /// What was heard last is of this format.
    pub(super) fn format(&self) -> Option<&Arc<SoundFormat>> {
        match &self.ear {
            Ear::Listening => None,
            Ear::Hears(format) => Some(format),
            Ear::Deaf(format) => format.as_ref(),
        }
    }

    pub(super) fn push(&mut self, sound: Sound, format: &Arc<SoundFormat>) {
        let goes_on = matches!(&self.ear, Ear::Hears(known) if known == format);
        if !goes_on {
            self.ear = Ear::Hears(Arc::clone(format));
        }
        self.quiet = false;
        self.until = self.until.max(sound.shown.saturating_add(sound.duration));
        if self.waiting.len() >= MAX_SOUND {
            self.waiting.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.waiting.push_back((sound, Arc::clone(format)));
    }

    /// No audio follows, or it is no longer waited for.
    pub(super) fn end(&mut self) {
        self.ear = Ear::Deaf(self.format().cloned());
    }

    /// Audio frames that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the audio that begins before this time is still to come. `begun`: the `moov` is written.
    pub(super) fn is_behind(&self, end: i64, begun: bool) -> bool {
        match &self.ear {
            Ear::Listening => !begun,
            Ear::Hears(_) => self.until < end,
            Ear::Deaf(_) => false,
        }
    }

    /// The audio that begins before `end`, and, where that is told, not before `from`, in the format that the `moov`
    /// tells. `shift` is added to its times.
    pub(super) fn take(
        &mut self,
        from: Option<i64>,
        end: i64,
        shift: i64,
        format: Option<&Arc<SoundFormat>>,
    ) -> Option<Run> {
        let mut taken = Vec::new();
        while self.waiting.front().is_some_and(|(sound, _)| sound.shown < end) {
            let Some((sound, of)) = self.waiting.pop_front() else { break };
            if format == Some(&of) && from.is_none_or(|from| sound.shown >= from) {
                taken.push(sound);
            } else {
                self.lost = self.lost.saturating_add(1);
            }
        }
        sound_run(taken, format?.rate, shift, &mut self.placed)
    }
}
