//! A shutter, a switch or a button on the camera, as reported by the kernel's input system (evdev,
//! `Documentation/input/input.rst` of the kernel; codes in `linux/input-event-codes.h`). Keys and switches on
//! GPIO lines are reported the same way, through `gpio-keys` of the device tree.

use crate::domain::input::Input;
use crate::domain::privacy::Shutter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How often the camera looks for a missing device.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum wait for an event, in milliseconds; then it is checked whether anybody still listens.
const MAX_WAIT_MILLIS: u16 = 1_000;

// Types and codes of linux/input-event-codes.h.
const EV_SYN: u16 = 0;
const EV_KEY: u16 = 1;
const EV_SW: u16 = 5;
const SYN_DROPPED: u16 = 3;

/// Size of `struct input_event` in bytes; it begins with two words of time, which are not used.
const EVENT_SIZE: usize = size_of::<libc::input_event>();
/// Size of type, code and value in bytes.
const TAIL_SIZE: usize = 8;

// EVIOCGSW: the states of all switches, one bit each.
nix::ioctl_read_buf!(
    /// One bit for each switch, by its `SW_…` code; set while it is on.
    switch_states, b'E', 0x1b, u8
);
// EVIOCGBIT(EV_KEY) and EVIOCGBIT(EV_SW): which keys and switches the device has.
nix::ioctl_read_buf!(
    /// One bit for each key, by its `KEY_…` code; set if the device has it.
    keys_it_has, b'E', 0x20 + 1, u8
);
nix::ioctl_read_buf!(
    /// One bit for each switch, by its `SW_…` code; set if the device has it.
    switches_it_has, b'E', 0x20 + 5, u8
);

/// Bytes for one bit of every code up to `KEY_MAX`.
const BITMAP_SIZE: usize = 0x300 / 8;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latch {
    /// The input device of the kernel.
    pub device: Device,
    /// How its states are interpreted.
    pub kind: DeviceKind,
    /// `SW_…` or `KEY_…` of `linux/input-event-codes.h`.
    pub code: u16,
}

/// Which input device is meant. Its number (`event0`) may change with the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// Such as a link below `/dev/input/by-path` or `/dev/input/by-id`.
    Path(PathBuf),
    /// The name given by the kernel (`/sys/class/input/event*/device/name`).
    Named(String),
}

impl Device {
    /// The path to open now.
    ///
    /// # Errors
    /// If none has the name, or more than one.
    pub fn find(&self) -> io::Result<PathBuf> {
        match self {
            Device::Path(path) => Ok(path.clone()),
            Device::Named(name) => by_name(Path::new("/sys/class/input"), Path::new("/dev/input"), name),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Path(path) => path.display().fmt(f),
            Device::Named(name) => write!(f, "the input device \"{name}\""),
        }
    }
}

/// Maximum number of input devices that are searched for a name.
const MAX_DEVICES: usize = 256;

/// The node below `dev` of the single input device below `sys` with this name.
///
/// # Errors
/// `NotFound` if none has the name, `InvalidInput` if several have it.
pub fn by_name(sys: &Path, dev: &Path, name: &str) -> io::Result<PathBuf> {
    let mut found = None;
    for entry in std::fs::read_dir(sys)?.take(MAX_DEVICES) {
        let node = entry?.file_name();
        let is_event = node.to_str().is_some_and(|node| node.starts_with("event"));
        let called = std::fs::read_to_string(sys.join(&node).join("device/name")).unwrap_or_default();
        if is_event && called.trim_end_matches('\n') == name && found.replace(dev.join(&node)).is_some() {
            let why =
                format!("several input devices are called \"{name}\": name a path of /dev/input/by-path");
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
    }
    found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no input device is called \"{name}\"")))
}

/// How the switch or button acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Closed while it is on.
    Switch,
    /// Acts when it is pressed.
    Button,
}

impl Latch {
    /// Watches on its own thread, as long as anybody listens.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn watch(self, inputs: Sender<Input>) -> io::Result<()> {
        std::thread::Builder::new().name(String::from("latch")).spawn(move || {
            let mut told = None;
            while !inputs.is_closed() {
                let Err(why) = self.listen(&inputs, &mut told) else { return };
                let fault = Some(format!("privacy.latch: {}: {why}; it is tried again", self.device));
                // Reported once: opening is retried for as long as necessary.
                if fault != told {
                    told.clone_from(&fault);
                    if inputs.blocking_send(Input::LatchDevice { fault }).is_err()
                        || !self.tell(&inputs, Shutter::Unknown)
                    {
                        return;
                    }
                }
                std::thread::sleep(REOPEN_INTERVAL);
            }
        })?;
        Ok(())
    }

    /// Runs until nobody listens (`Ok`), or the device fails.
    fn listen(&self, inputs: &Sender<Input>, told: &mut Option<String>) -> io::Result<()> {
        let mut device = self.open()?;
        *told = None;
        if inputs.blocking_send(Input::LatchDevice { fault: None }).is_err() {
            return Ok(());
        }
        if let Some(shutter) = self.state(&device) {
            if !self.tell(inputs, shutter) {
                return Ok(());
            }
        }
        let mut bytes = [0_u8; EVENT_SIZE * 16];
        loop {
            let mut waiting = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, PollTimeout::from(MAX_WAIT_MILLIS)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if inputs.is_closed() {
                return Ok(());
            }
            let read = match device.read(&mut bytes) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it is gone")),
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for event in bytes.get(..read).unwrap_or_default().chunks_exact(EVENT_SIZE) {
                let input = match self.read(event) {
                    Some(Told::Lost) => self.state(&device).map(Input::Shutter),
                    Some(Told::Is(shutter)) => Some(Input::Shutter(shutter)),
                    Some(Told::Pressed) => Some(Input::LatchPressed),
                    None => None,
                };
                if input.is_some_and(|input| inputs.blocking_send(input).is_err()) {
                    return Ok(());
                }
            }
        }
    }

    /// Opens it, and checks that it has the switch or the key.
    fn open(&self) -> io::Result<File> {
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        let device = File::options().read(true).custom_flags(flags).open(self.device.find()?)?;
        self.has_the_code(&device)?;
        Ok(device)
    }

    /// Whether it can be read now, for `kasacamd check`.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn test(&self) -> io::Result<()> {
        self.open().map(|_closed_again| ())
    }

    /// A device without that switch or key never reports it, and would report that the switch is open: it is
    /// not accepted as a latch. Neither is something that is not an input device (`ENOTTY`).
    fn has_the_code(&self, device: &File) -> io::Result<()> {
        let mut bits = [0_u8; BITMAP_SIZE];
        let fd = device.as_raw_fd();
        // SAFETY: the buffer is ours, and the kernel writes at most its length, which is part of the request.
        let asked = unsafe {
            match self.kind {
                DeviceKind::Switch => switches_it_has(fd, &mut bits),
                DeviceKind::Button => keys_it_has(fd, &mut bits),
            }
        };
        match asked {
            Ok(_) if is_set(&bits, self.code) => Ok(()),
            Ok(_) => {
                let what = match self.kind {
                    DeviceKind::Switch => "switch",
                    DeviceKind::Button => "key",
                };
                let why = format!("it has no {what} of code {} (privacy.latch.code)", self.code);
                Err(io::Error::new(ErrorKind::InvalidInput, why))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// The current position of the switch. `None` for a button, and if the position is unknown until it is
    /// moved.
    fn state(&self, device: &File) -> Option<Shutter> {
        if self.kind == DeviceKind::Button {
            return None;
        }
        let mut bits = [0_u8; 8];
        // SAFETY: the buffer is ours, and the kernel writes at most its length, which is part of the request.
        unsafe { switch_states(device.as_raw_fd(), &mut bits) }.ok()?;
        Some(if is_set(&bits, self.code) { Shutter::Closed } else { Shutter::Open })
    }

    fn read(&self, event: &[u8]) -> Option<Told> {
        let tail = event.last_chunk::<TAIL_SIZE>()?;
        let [a, b, c, d, value @ ..] = *tail;
        let (kind, code) = (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]));
        let value = i32::from_ne_bytes(value);
        match (kind, self.kind) {
            (EV_SYN, _) if code == SYN_DROPPED => Some(Told::Lost),
            (EV_SW, DeviceKind::Switch) if code == self.code => {
                Some(Told::Is(if value != 0 { Shutter::Closed } else { Shutter::Open }))
            }
            // 0 is release, 2 is repeat.
            (EV_KEY, DeviceKind::Button) if code == self.code && value == 1 => Some(Told::Pressed),
            _ => None,
        }
    }

    /// False if nobody listens. A button has no state that could be lost.
    fn tell(&self, inputs: &Sender<Input>, shutter: Shutter) -> bool {
        self.kind == DeviceKind::Button || inputs.blocking_send(Input::Shutter(shutter)).is_ok()
    }
}

fn is_set(bits: &[u8], code: u16) -> bool {
    bits.get(usize::from(code / 8)).is_some_and(|byte| byte >> (code % 8) & 1 == 1)
}

enum Told {
    Is(Shutter),
    Pressed,
    /// Events were lost.
    Lost,
}
