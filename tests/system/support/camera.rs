//! A camera: the real `kasacamd`, run with the test's own cloud.

use super::cloud::{Cloud, DEADLINE, wait, wait_up_to};
use serde_json::Value;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kasacamd");
/// Of uploads, and of connections to the broker.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// Killed by SIGKILL when it is dropped, unless it has ended.
pub struct Camera {
    child: Child,
    config: PathBuf,
    log: PathBuf,
}

impl Camera {
    /// Starts the camera with the configuration that the cloud has written.
    pub fn start(cloud: &Cloud) -> Camera {
        Camera::start_with(&cloud.agent_toml)
    }

    /// Starts one with this configuration. Its log goes beside it, appended to that of earlier starts.
    pub fn start_with(config: &Path) -> Camera {
        Camera::spawn(Command::new(PROGRAM), config)
    }

    /// Starts it with another time of day, which continues from there.
    pub fn start_at(cloud: &Cloud, time: &str) -> Camera {
        let found = ["x86_64", "aarch64", "arm"].iter().flat_map(|arch| {
            let triplets = ["linux-gnu", "linux-gnueabihf"].iter();
            triplets.map(move |os| format!("/usr/lib/{arch}-{os}/faketime/libfaketimeMT.so.1"))
        });
        let library = found.into_iter().find(|path| Path::new(path).exists()).expect("libfaketime");
        let mut command = Command::new(PROGRAM);
        command.env("LD_PRELOAD", library).env("FAKETIME", format!("@{time}")).env("TZ", "UTC");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Camera::spawn(command, &cloud.agent_toml)
    }

    /// Starts it under another program, which must exec it or keep its process id.
    pub fn start_under(cloud: &Cloud, program: &str, arguments: &[&str]) -> Camera {
        let mut command = Command::new(program);
        command.args(arguments).arg(PROGRAM);
        Camera::spawn(command, &cloud.agent_toml)
    }

    fn spawn(mut command: Command, config: &Path) -> Camera {
        let log = config.with_file_name("kasacamd.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = command
            .args(["run", "--verbose", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Camera { child, config: config.to_owned(), log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has logged since the first start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn wait_for_log(&self, text: &str) {
        wait(&format!("{text:?} in the log"), || self.log().contains(text).then_some(()));
    }

    fn folder(&self) -> &Path {
        self.config.parent().unwrap()
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder().join("state")
    }

    /// `kasacamd`'s own answer to a command, such as `["privacy", "on"]`.
    pub fn command(&self, arguments: &[&str]) -> Output {
        kasacamd(&[arguments, &["--socket", self.folder().join("control.sock").to_str().unwrap()]].concat())
    }

    /// `status --json`, or null while it does not answer.
    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.command(&["status", "--json"]).stdout).unwrap_or_default()
    }

    /// Waits until the status is as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_up_to(DEADLINE, what, wanted)
    }

    fn wait_up_to(&self, deadline: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_up_to(deadline, what, || {
                Some(self.status()).filter(|status| !status.is_null() && wanted(status))
            })
        }));
        found.unwrap_or_else(|_| panic!("no {what}: {}\n{}", self.status(), self.log()))
    }

    /// Waits until the device is open and at least `frames` frames have been committed.
    pub fn wait_until_it_records(&self, frames: u64) -> Value {
        self.wait_for("recording", |status| {
            status["capture"]["open"] == true
                && status["capture"]["frames_committed"].as_u64() >= Some(frames)
        })
    }

    /// Waits until nothing is left to upload. After an outage the next attempt may come only after the
    /// longest back-off.
    pub fn wait_until_all_is_stored(&self) -> Value {
        self.wait_up_to(LONGEST_BACKOFF + DEADLINE, "an empty spool", |status| {
            status["spool"]["pending"] == 0
        })
    }

    /// Waits until the broker is connected, however often it was lost before.
    pub fn wait_until_it_is_connected(&self) -> Value {
        self.wait_up_to(LONGEST_BACKOFF + DEADLINE, "a connection", |status| {
            status["mqtt"]["connected"] == true
        })
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).unwrap();
        // SAFETY: a plain system call; the child was not waited for yet, so the pid is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits for it to end by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait("kasacamd to end", || child.try_wait().unwrap())
    }

    /// SIGTERM, and a clean end in little more than the five seconds that it has for the flush.
    pub fn stop(mut self) {
        self.signal(libc::SIGTERM);
        let began = std::time::Instant::now();
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert!(began.elapsed() < Duration::from_secs(15), "it took {:?} to stop", began.elapsed());
    }

    /// SIGKILL: what is in memory is gone.
    pub fn kill(mut self) {
        self.signal(libc::SIGKILL);
        assert_eq!(self.ended().signal(), Some(libc::SIGKILL), "{}", self.log());
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _already_gone = self.child.kill();
            let _ended = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            eprintln!("the camera's log ends with:\n{}", &log[tail..]);
        }
    }
}

/// Runs `kasacamd` to its end, which must come within [`DEADLINE`].
pub fn kasacamd(arguments: &[&str]) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > DEADLINE {
            let _already_gone = child.kill();
            panic!("kasacamd {arguments:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}
