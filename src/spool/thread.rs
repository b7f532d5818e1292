//! The thread that owns the spool.

use super::Command;
use super::engine::Spool;
use crate::domain::fragment::Captured;
use crate::domain::input::Input;
use crossbeam_channel::{Receiver, never, select_biased};
use std::time::Duration;

/// Forgets that are made durable together.
const BATCH: usize = 64;
/// Files that are looked at between one turn and the next.
const SCANNED: usize = 8;
/// A drain takes in no more than this: more than the channel from the source ever holds.
const DRAINED: usize = 4_096;

enum Turn {
    Command(Command),
    Captured(Captured),
    SourceGone,
    AgentGone,
    /// Nobody wants anything, and there are files to look at.
    Idle,
}

impl Spool {
    /// Runs until [`Command::Shutdown`], or until nobody is left to send a command. Commands come
    /// before whatever was captured. Everything that happens is told through `report`, in order.
    pub fn run(
        mut self,
        captured: Receiver<Captured>,
        commands: Receiver<Command>,
        mut report: Box<dyn FnMut(Input) + Send>,
    ) {
        let mut captured = captured;
        loop {
            self.report_to(&mut report);
            let patience = if self.is_scanning() { Duration::ZERO } else { Duration::MAX };
            let turn = select_biased! {
                recv(commands) -> command => command.map_or(Turn::AgentGone, Turn::Command),
                recv(captured) -> item => item.map_or(Turn::SourceGone, Turn::Captured),
                default(patience) => Turn::Idle,
            };
            match turn {
                Turn::Captured(item) => self.take(item),
                Turn::Idle => {
                    // What fails is told of, and taken up by a probe.
                    let _ = self.scan(SCANNED);
                }
                Turn::SourceGone => captured = never(),
                Turn::Command(Command::Forget { serial }) => {
                    let mut serials = vec![serial];
                    let mut other = None;
                    while serials.len() < BATCH && other.is_none() {
                        match commands.try_recv() {
                            Ok(Command::Forget { serial }) => serials.push(serial),
                            Ok(command) => other = Some(command),
                            Err(_) => break,
                        }
                    }
                    // A withdrawal does not wait for the disk to forget.
                    match other {
                        Some(Command::Forget { .. }) | None => self.forget(&serials),
                        Some(command) => {
                            let leave = self.command(command, &captured, &mut report);
                            self.forget(&serials);
                            if leave {
                                self.report_to(&mut report);
                                return;
                            }
                        }
                    }
                }
                Turn::Command(command) => {
                    if self.command(command, &captured, &mut report) {
                        return;
                    }
                }
                Turn::AgentGone => {
                    self.drain(&captured, &mut report);
                    self.shut_down();
                    self.report_to(&mut report);
                    return;
                }
            }
        }
    }

    /// Whether the thread is to leave.
    fn command(
        &mut self,
        command: Command,
        captured: &Receiver<Captured>,
        report: &mut Box<dyn FnMut(Input) + Send>,
    ) -> bool {
        match command {
            Command::Drain { done } => {
                self.drain(captured, report);
                // Nobody may be waiting any more; what was asked for is done all the same.
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
                // What waits was captured under the terms before.
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
