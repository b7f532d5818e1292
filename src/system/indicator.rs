//! The LED that tells the household whether the camera is open (`Documentation/leds/leds-class.rst` of the kernel).

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Changes on their way to an LED behind a slow bus. No more can be: it changes when the camera does.
const QUEUE: usize = 16;

/// Lit from before the device is opened until after it is closed.
pub struct Indicator {
    lit: Option<SyncSender<bool>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Indicator {
    /// Puts the LED in this folder out, whatever an earlier process left. `None`: there is no LED.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(folder: Option<&Path>) -> io::Result<Indicator> {
        let Some(folder) = folder.map(Path::to_owned) else {
            return Ok(Indicator { lit: None, thread: None });
        };
        let (lit, changes) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name(String::from("indicator"))
            .spawn(move || serve(&folder, &changes))?;
        Ok(Indicator { lit: Some(lit), thread: Some(thread) })
    }

    /// Does not wait for the LED.
    pub fn set(&self, on: bool) {
        if self.lit.as_ref().is_some_and(|lit| lit.try_send(on).is_err()) {
            tracing::error!("privacy.indicator: the LED does not answer");
        }
    }

    /// Lets go of the thread, which puts the LED out at its end; true once it has.
    pub fn finish(self) -> impl Fn() -> bool {
        drop(self.lit);
        let thread = self.thread;
        move || thread.as_ref().is_none_or(std::thread::JoinHandle::is_finished)
    }
}

fn serve(folder: &Path, changes: &Receiver<bool>) {
    let most = std::fs::read_to_string(folder.join("max_brightness"));
    let most = most.ok().and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(1);
    // A trigger would go on to switch it as it likes.
    let _has_none = write(&folder.join("trigger"), "none");
    let mut told = false;
    let mut set = |on: bool| {
        let value = if on { most } else { 0 };
        if let Err(why) = write(&folder.join("brightness"), &value.to_string()) {
            if !told {
                tracing::error!(
                    "privacy.indicator: {}/brightness cannot be written: {why}",
                    folder.display()
                );
            }
            told = true;
        }
    };
    set(false);
    for on in changes {
        set(on);
    }
    set(false);
}

/// An attribute of sysfs takes its value in one write and is never made.
fn write(path: &Path, value: &str) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).truncate(true).open(path)?.write_all(value.as_bytes())
}
