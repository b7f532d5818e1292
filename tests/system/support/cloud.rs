//! A development cloud of the test's own, in its own directory; both are removed when it is dropped.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Timeout for everything that a test waits for.
pub const DEADLINE: Duration = Duration::from_secs(60);
const PROGRAM: &str = env!("CARGO_BIN_EXE_kasacam-devcloud");

pub struct Cloud {
    pub mqtt_port: u16,
    pub s3_port: u16,
    pub agent_toml: PathBuf,
    /// The address of the page for a browser.
    pub page: String,
    child: Child,
    dir: TempDir,
}

impl Cloud {
    /// Starts it with these arguments after `serve`, and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Cloud {
        Cloud::start_in(TempDir::new().unwrap(), arguments)
    }

    /// Starts it in a directory that an earlier one may have left.
    pub fn start_in(dir: TempDir, arguments: &[&str]) -> Cloud {
        let mut child = Command::new(PROGRAM)
            .arg("--dir")
            .arg(dir.path())
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _the_test_has_ended = BufReader::new(stdout).read_line(&mut line).map(|_| tell.send(line));
        });
        let line = told.recv_timeout(DEADLINE).unwrap_or_default();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let _already_gone = child.kill();
            let ended = child.wait();
            panic!("the development cloud did not get ready: {ended:?}, it said {line:?}");
        };
        let port = |name: &str| u16::try_from(ready[name].as_u64().unwrap()).unwrap();
        Cloud {
            mqtt_port: port("mqtt_port"),
            s3_port: port("s3_port"),
            agent_toml: ready["agent_toml"].as_str().unwrap().into(),
            page: ready["page"].as_str().unwrap().into(),
            child,
            dir,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs the program with this cloud, as a person would.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM).arg("--dir").arg(self.dir()).args(arguments).output().unwrap()
    }

    /// Like [`Cloud::run`], but it must succeed; returns its answer.
    pub fn tell(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{arguments:?}: {words} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(&words).unwrap()
    }

    /// Sends one line to the control socket; returns the answer.
    pub fn ask(&self, line: &str) -> Value {
        let mut stream = UnixStream::connect(self.dir().join("cloud.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// A certificate and key of another camera, from the same CA.
    pub fn issue(&self, device: &str) -> (PathBuf, PathBuf) {
        let issued = self.tell(&["issue", device]);
        (issued["cert"].as_str().unwrap().into(), issued["key"].as_str().unwrap().into())
    }

    /// What has been written to `events.jsonl` so far.
    pub fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir().join("events.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for the first event that `wanted` finds.
    pub fn wait_for_event(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait(what, || self.events().into_iter().find(|event| wanted(event)))
    }

    /// Process ids of the programs that it has started.
    pub fn children(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Sends a signal, and waits for the end.
    pub fn end_by(&mut self, signal: i32) -> ExitStatus {
        let pid = i32::try_from(self.pid()).unwrap();
        // SAFETY: a plain system call; the child was not waited for yet, so the pid is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        wait("the development cloud to end", || self.child.try_wait().unwrap())
    }

    /// Ends it in order; returns what it leaves on disk.
    pub fn into_dir(mut self) -> TempDir {
        self.end_by(libc::SIGTERM);
        std::mem::replace(&mut self.dir, TempDir::new().unwrap())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _already_gone = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}

/// Waits for `look` to find something, and fails after [`DEADLINE`].
pub fn wait<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_up_to(DEADLINE, what, look)
}

/// Like [`wait`], with a given deadline.
pub fn wait_up_to<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Process ids of the programs that a single-threaded process has started.
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Whether a process exists and is not just a zombie.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
