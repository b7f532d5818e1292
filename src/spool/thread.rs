//! The thread that owns the spool.

use super::command::Command;
use super::engine::Spool;
use crate::domain::fragment::Captured;
use crate::domain::input::Input;
use crate::domain::segment::Serial;
use crossbeam_channel::{Receiver, never, select_biased};
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of files that are removed with one sync.
const BATCH: usize = 64;
/// After this many captured chunks waiting removals get their turn.
const MAX_BEFORE_FORGETS: u32 = 8;
/// Files that are read between other work.
const SCANNED: usize = 8;
/// Maximum number of chunks that a drain takes: more than the channel from the source holds.
const DRAINED: usize = 4_096;

enum Turn {
    Command(Command),
    Captured(Captured),
    SourceGone,
    AgentGone,
    /// Nothing waits, and there are files to remove or to read.
    Idle,
}

impl Spool {
    /// Runs until [`Command::Shutdown`], or until nobody can send a command any more. Commands come before
    /// captured chunks. Only removals, of which there may be thousands, come after them: neither a
    /// withdrawal, nor a chunk, nor the question whether the thread still runs waits until the disk has
    /// removed files. Everything that happens is passed to `report`, in order.
    pub fn run(
        mut self,
        captured: Receiver<Captured>,
        commands: Receiver<Command>,
        mut report: Box<dyn FnMut(Input) + Send>,
    ) {
        let mut captured = captured;
        let mut forgets: VecDeque<Serial> = VecDeque::new();
        let mut taken = 0;
        loop {
            self.report_to(&mut report);
            let is_waited_for = !forgets.is_empty() && taken >= MAX_BEFORE_FORGETS;
            let has_work = !forgets.is_empty() || self.is_scanning();
            let patience = if has_work { Duration::ZERO } else { Duration::MAX };
            let nothing = never();
            let source = if is_waited_for { &nothing } else { &captured };
            let turn = select_biased! {
                recv(commands) -> command => command.map_or(Turn::AgentGone, Turn::Command),
                recv(source) -> item => item.map_or(Turn::SourceGone, Turn::Captured),
                default(patience) => Turn::Idle,
            };
            match turn {
                Turn::Captured(item) => {
                    taken += 1;
                    self.take(item);
                }
                Turn::SourceGone => captured = never(),
                Turn::Command(Command::Forget { serial }) => forgets.push_back(serial),
                Turn::Idle if forgets.is_empty() => {
                    // A failure is reported, and a probe retries it.
                    let _ = self.scan(SCANNED);
                }
                Turn::Idle => {
                    taken = 0;
                    let batch: Vec<Serial> = forgets.drain(..forgets.len().min(BATCH)).collect();
                    self.forget(&batch);
                }
                Turn::Command(command) => {
                    if self.command(command, &captured, &mut report) {
                        break;
                    }
                }
                Turn::AgentGone => {
                    self.drain(&captured, &mut report);
                    self.shut_down();
                    break;
                }
            }
        }
        // The next start would send again what is left of them.
        while !forgets.is_empty() {
            let batch: Vec<Serial> = forgets.drain(..forgets.len().min(BATCH)).collect();
            self.forget(&batch);
        }
        self.report_to(&mut report);
    }

    /// Returns whether the thread is to end.
    fn command(
        &mut self,
        command: Command,
        captured: &Receiver<Captured>,
        report: &mut Box<dyn FnMut(Input) + Send>,
    ) -> bool {
        match command {
            Command::Drain { done } => {
                self.drain(captured, report);
                // Nobody may wait for the answer any more; the work was done nevertheless.
                let _ = done.try_send(());
                false
            }
            Command::Shutdown { done } => {
                self.drain(captured, report);
                self.shut_down();
                self.report_to(report);
                let _ = done.try_send(());
                true
            }
            command @ Command::SetTerms { .. } => {
                // The waiting chunks were captured under the earlier terms.
                self.drain(captured, report);
                self.obey(command);
                false
            }
            command @ (Command::Revoke { .. }
            | Command::Forget { .. }
            | Command::EvictAside
            | Command::CutBack { .. }
            | Command::MoveEnd { .. }
            | Command::Probe
            | Command::Damaged { .. }) => {
                self.obey(command);
                false
            }
        }
    }

    fn drain(&mut self, captured: &Receiver<Captured>, report: &mut Box<dyn FnMut(Input) + Send>) {
        for item in captured.try_iter().take(DRAINED) {
            self.take(item);
            self.report_to(report);
        }
    }

    fn report_to(&mut self, report: &mut Box<dyn FnMut(Input) + Send>) {
        for input in self.take_reports() {
            report(input);
        }
    }
}
