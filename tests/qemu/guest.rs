//! A machine that is emulated, and a shell in it.

use crate::support::cloud::wait_up_to;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Within which a machine that was switched on answers.
const BOOT: Duration = Duration::from_secs(240);
/// Within which a command in it has ended; the shell ends one after 60 s.
const COMMAND: Duration = Duration::from_secs(90);

/// How the machine is to be.
#[derive(Clone, Debug)]
pub struct Machine {
    pub mib: u32,
    /// What its clock says when it is switched on, as QEMU reads it; now, unless given.
    pub clock: Option<&'static str>,
    /// Where every write to the data partition is logged.
    pub write_log: Option<PathBuf>,
    /// Whether what is written to the system goes away with the machine, instead of being refused.
    pub writable_system: bool,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { mib: 256, clock: None, write_log: None, writable_system: false }
    }
}

pub struct Guest {
    child: Child,
    shell: BufReader<UnixStream>,
    console: PathBuf,
    pub switched_on: Instant,
    _sockets: TempDir,
}

fn image() -> PathBuf {
    std::env::var_os("KASACAM_IMAGE").expect("KASACAM_IMAGE: start this with tests/qemu/run.sh").into()
}

impl Guest {
    /// Switches it on, and waits for its shell. What it says on its console goes to a file beside the data
    /// partition, behind what earlier ones said.
    pub fn boot(data: &Path, machine: &Machine) -> Guest {
        let image = image();
        let emulator = std::env::var("KASACAM_QEMU").expect("KASACAM_QEMU");
        let mut words = emulator.lines();
        let sockets = TempDir::new().unwrap();
        let shell = sockets.path().join("shell");
        let console = data.with_extension("console");

        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        match emulator.contains("aarch64") {
            true => command.args(["-M", "virt", "-cpu", "cortex-a53"]),
            false => command.args(["-M", "virt,highmem=off", "-cpu", "cortex-a15"]),
        };
        command.args(["-smp", "2", "-m", &machine.mib.to_string(), "-accel", "tcg,thread=multi"]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        command.args(["-append", "console=ttyAMA0 quiet panic=1 systemd.show_status=no rdinit=/init"]);
        command.arg("-kernel").arg(image.join("kernel")).arg("-initrd").arg(image.join("initrd"));
        command.args(["-rtc", &format!("base={}", machine.clock.unwrap_or("utc"))]);
        let system = image.join("system.img");
        let rights = if machine.writable_system { "snapshot=on" } else { "read-only=on" };
        command.arg("-drive").arg(format!("if=none,id=system,format=raw,{rights},file={}", system.display()));
        command.args(["-device", "virtio-blk-pci,drive=system,serial=system"]);
        let file = format!("file.driver=file,file.filename={}", data.display());
        command.arg("-blockdev").arg(match &machine.write_log {
            None => format!("driver=raw,node-name=data,{file}"),
            Some(log) => format!(
                "driver=blklogwrites,node-name=data,{file},log.driver=file,log.filename={},\
                 log-super-update-interval=1",
                log.display()
            ),
        });
        command.args(["-device", "virtio-blk-pci,drive=data,serial=data"]);
        command.args([
            "-netdev",
            "user,id=net,restrict=off",
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
        ]);
        command.args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]);
        command.arg("-chardev").arg(format!("socket,id=shell,path={},server=on,wait=off", shell.display()));
        command.args(["-device", "virtserialport,chardev=shell,name=kasacam.shell"]);
        command.arg("-serial").arg("stdio");
        let out = File::options().create(true).append(true).open(&console).unwrap();
        let errors = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn().unwrap();

        let switched_on = Instant::now();
        let mut child = Some(child);
        let stream = wait_up_to(Duration::from_secs(10), "QEMU", || {
            if let Some(status) = child.as_mut().unwrap().try_wait().unwrap() {
                panic!("QEMU: {status}\n{}", std::fs::read_to_string(&console).unwrap_or_default());
            }
            UnixStream::connect(&shell).ok()
        });
        stream.set_read_timeout(Some(COMMAND)).unwrap();
        let mut guest = Guest {
            child: child.take().unwrap(),
            shell: BufReader::new(stream),
            console,
            switched_on,
            _sockets: sockets,
        };
        guest.shell.get_ref().set_read_timeout(Some(BOOT)).unwrap();
        // What is written before the guest opens its end waits there.
        assert_eq!(guest.run("true").0, 0);
        guest.shell.get_ref().set_read_timeout(Some(COMMAND)).unwrap();
        guest
    }

    /// Runs a command in it; its exit code, and what it said.
    pub fn run(&mut self, command: &str) -> (i32, String) {
        let line = STANDARD.encode(command);
        self.shell.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        let read = self.shell.read_line(&mut answer);
        if !matches!(read, Ok(1..)) {
            panic!("the guest does not answer to {command:?}: {read:?}\n{}", self.console());
        }
        let (code, said) = answer.trim().split_once(' ').unwrap_or((answer.trim(), ""));
        let said = String::from_utf8_lossy(&STANDARD.decode(said).unwrap()).into_owned();
        (code.parse().unwrap(), said)
    }

    /// As [`Guest::run`], and it has to succeed.
    pub fn tell(&mut self, command: &str) -> String {
        let (code, said) = self.run(command);
        assert_eq!(code, 0, "{command}: {said}\n{}", self.journal());
        said
    }

    /// The agent's own status, or null while it does not answer.
    pub fn status(&mut self) -> Value {
        let (_, said) = self.run("kasacamd status --json 2>/dev/null");
        serde_json::from_str(&said).unwrap_or_default()
    }

    pub fn wait_for(&mut self, what: &str, deadline: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < deadline, "no {what}: {status}\n{}", self.journal());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until this many frames are committed.
    pub fn wait_until_it_records(&mut self, frames: u64) -> Value {
        self.wait_for("recording", Duration::from_secs(120), |status| {
            status["capture"]["frames_committed"].as_u64() >= Some(frames)
        })
    }

    /// Waits until nothing is left to send.
    pub fn wait_until_all_is_stored(&mut self) -> Value {
        self.wait_for("an empty spool", Duration::from_secs(180), |status| status["spool"]["pending"] == 0)
    }

    /// How many processes hold the camera's device open.
    pub fn holders(&mut self) -> usize {
        let said = self.tell("find /proc/[0-9]*/fd -lname '/dev/video*' 2>/dev/null | wc -l");
        said.trim().parse().unwrap()
    }

    pub fn journal(&mut self) -> String {
        self.run("journalctl -u kasacamd -b --no-pager -o short-monotonic | tail -n 60").1
    }

    /// What the console has shown.
    pub fn console(&self) -> String {
        std::fs::read_to_string(&self.console).unwrap_or_default()
    }

    /// Pulls the plug: what only the machine's memory holds is gone.
    pub fn cut(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Switches it off as a person would.
    pub fn power_off(mut self) {
        let line = STANDARD.encode("systemctl poweroff");
        self.shell.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
        let child = &mut self.child;
        wait_up_to(Duration::from_secs(90), "the machine to be off", || child.try_wait().unwrap());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _already_gone = self.child.kill();
            let _ended = self.child.wait();
        }
        if std::thread::panicking() {
            let console = self.console();
            let tail = console.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
            eprintln!("its console ends with:\n{}", &console[tail..]);
        }
    }
}
