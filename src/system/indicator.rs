//! The LED that shows the household whether the camera is open (`Documentation/leds/leds-class.rst` of the
//! kernel). The machine decides when it is lit (`Effect::Light`).

use crate::domain::input::{Input, Ticket};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::mpsc::Sender;

/// Maximum number of waiting changes for an LED behind a slow bus. This is enough: it changes only when the
/// camera opens or closes.
const MAX_QUEUED: usize = 16;

struct Change {
    ticket: Ticket,
    on: bool,
}

/// Sets the LED.
pub struct Indicator {
    changes: Option<SyncSender<Change>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Indicator {
    /// Puts out the LED in this folder, in case an earlier process left it lit. `None`: there is no LED. Each
    /// change is answered by `Input::LightSet`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(folder: Option<&Path>, inputs: Sender<Input>) -> io::Result<Indicator> {
        let Some(folder) = folder.map(Path::to_owned) else {
            return Ok(Indicator { changes: None, thread: None });
        };
        let (changes, queue) = sync_channel(MAX_QUEUED);
        let thread = std::thread::Builder::new()
            .name(String::from("indicator"))
            .spawn(move || serve(&folder, &queue, &inputs))?;
        Ok(Indicator { changes: Some(changes), thread: Some(thread) })
    }

    /// Does not wait for the LED.
    ///
    /// # Errors
    /// If there is no LED, or it has not taken the changes before this one: then no answer follows.
    pub fn set(&self, ticket: Ticket, on: bool) -> Result<(), String> {
        let Some(changes) = &self.changes else { return Err(String::from("there is none")) };
        changes.try_send(Change { ticket, on }).map_err(|_| String::from("it does not answer"))
    }

    /// Releases the thread, which puts out the LED at its end; returns true once it has.
    pub fn finish(self) -> impl Fn() -> bool {
        drop(self.changes);
        let thread = self.thread;
        move || thread.as_ref().is_none_or(std::thread::JoinHandle::is_finished)
    }
}

fn serve(folder: &Path, changes: &Receiver<Change>, inputs: &Sender<Input>) {
    if let Err(why) = put_out(folder) {
        tracing::error!("privacy.indicator: {why}");
    }
    let mut told = None;
    for Change { ticket, on } in changes {
        let result = if on { light(folder) } else { put_out(folder) };
        let failed = result.as_ref().err();
        if failed.is_some() && failed != told.as_ref() {
            tracing::error!("privacy.indicator: {}", failed.map_or("", String::as_str));
        }
        told = failed.cloned();
        let _the_agent_has_left = inputs.blocking_send(Input::LightSet { ticket, result });
    }
    let _told_before = put_out(folder);
}

/// Lights the LED in this folder at maximum brightness.
///
/// # Errors
/// What cannot be written, and why.
pub fn light(folder: &Path) -> Result<(), String> {
    let most = std::fs::read_to_string(folder.join("max_brightness"));
    let most = most.ok().and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(1);
    set_brightness(folder, most.max(1))
}

/// Puts the LED in this folder out.
///
/// # Errors
/// What cannot be written, and why.
pub fn put_out(folder: &Path) -> Result<(), String> {
    set_brightness(folder, 0)
}

/// Whether the LED in this folder could be set, for `kasacamd check`. Its state is not changed.
///
/// # Errors
/// What is missing, or may not be written.
pub fn test(folder: &Path) -> Result<(), String> {
    let path = folder.join("brightness");
    match std::fs::OpenOptions::new().write(true).open(&path) {
        Ok(_closed_again) => Ok(()),
        Err(why) => Err(format!("{} cannot be written: {why}", path.display())),
    }
}

fn set_brightness(folder: &Path, brightness: u32) -> Result<(), String> {
    // A trigger would continue to switch it by itself.
    let _has_none = write(&folder.join("trigger"), "none");
    let path = folder.join("brightness");
    write(&path, &brightness.to_string())
        .map_err(|why| format!("{} cannot be written: {why}", path.display()))
}

/// An attribute of sysfs takes its value in one write and is never created.
fn write(path: &Path, value: &str) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).truncate(true).open(path)?.write_all(value.as_bytes())
}
