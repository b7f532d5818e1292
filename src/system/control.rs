//! The local control socket: the only socket that the agent listens on.
//!
//! One request per connection, one line of JSON in each direction: `{"command":"status"}`,
//! `{"command":"metrics"}`, `{"command":"privacy","closed":true}`, `{"command":"snapshot"}`,
//! `{"command":"open","epoch":1}`. The answer is the status object, `{"metrics":"…"}`,
//! `{"epoch":1,"h264":"…"}`, `{"open":true}`, or `{"error":"…"}`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// Maximum length of a request, and of an answer, in bytes: a frame of [`MAX_FRAME`] fits in as base64.
const MAX_LINE: u64 = 4096;
const MAX_ANSWER: u64 = 6 << 20;
/// Bytes of a frame that is given to a client.
pub const MAX_FRAME: usize = 4 << 20;
/// Timeout for a client's request, and for the answer to it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of clients at once; more wait in the kernel's backlog.
const MAX_CLIENTS: usize = 4;

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Asks for the state of the agent, as an object.
    Status,
    /// Asks for the figures, as OpenMetrics text.
    Metrics,
    /// Asks for the next IDR frame of the camera, while it is open.
    Snapshot,
    /// Asks whether a run of the camera goes on.
    Open {
        /// That of [`Snapshot`].
        epoch: u64,
    },
    /// Sets or lifts the local latch.
    Privacy {
        /// `true` sets the latch, `false` lifts it.
        closed: bool,
    },
}

/// The answer to [`Command::Metrics`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// OpenMetrics text.
    pub metrics: String,
}

/// The answer to [`Command::Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The run of the camera that the frame is of.
    pub epoch: u64,
    /// An IDR frame with its parameter sets: H.264, Annex B, as base64 (RFC 4648, 4).
    pub h264: String,
}

/// The answer to [`Command::Open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// That run goes on: its devices are open, and are not being closed.
    pub open: bool,
}

/// A request on its way to the agent, and where to send the answer.
#[derive(Debug)]
pub struct Request {
    /// The command, already checked.
    pub command: Command,
    /// Takes the one answer.
    pub reply: oneshot::Sender<Value>,
}

/// A bound socket; the file is removed when it is dropped.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Binds the socket with mode 0600. A socket that a dead process left behind is replaced; one that
    /// answers belongs to another agent, and is an error.
    ///
    /// # Errors
    /// Names the path and what to do.
    pub fn bind(path: &Path) -> Result<Server, String> {
        let told = |e: &dyn std::fmt::Display| format!("{}: {e} (device.socket)", path.display());
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() || metadata.uid() != nix::unistd::geteuid().as_raw() {
                return Err(told(&"exists, but is not a socket of the agent"));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(told(&"another agent answers there; stop it first"));
            }
            std::fs::remove_file(path).map_err(|e| told(&e))?;
        }
        // The mode must be right from the beginning, so the umask sets it.
        let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        nix::sys::stat::umask(before);
        let listener = bound.map_err(|e| told(&e))?;
        Ok(Server { listener, path: path.to_owned() })
    }

    /// Serves until it is dropped.
    pub async fn serve(self, requests: mpsc::Sender<Request>) {
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_CLIENTS));
        loop {
            let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let requests = requests.clone();
                    tokio::spawn(async move {
                        let served =
                            tokio::time::timeout(2 * REQUEST_TIMEOUT, serve_one(stream, requests)).await;
                        if let Ok(Err(e)) = served {
                            tracing::debug!("a client of the control socket left: {e}");
                        }
                        drop(place);
                    });
                }
                Err(e) => {
                    tracing::warn!("the control socket does not accept: {e}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_file(&self.path);
    }
}

async fn serve_one(stream: UnixStream, requests: mpsc::Sender<Request>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let read = tokio::time::timeout(REQUEST_TIMEOUT, (&mut stream).take(MAX_LINE).read_line(&mut line)).await;
    let answer = match read {
        Err(_) => error("no request came in time"),
        Ok(Err(_)) => error("the request is not UTF-8"),
        Ok(Ok(_)) => match serde_json::from_str::<Command>(line.trim()) {
            Err(_) => error(
                "not a request that this agent knows; known are status, metrics, snapshot, open, privacy",
            ),
            Ok(command) => ask_agent(command, &requests).await,
        },
    };
    let mut bytes = answer.to_string().into_bytes();
    bytes.push(b'\n');
    stream.get_mut().write_all(&bytes).await?;
    stream.get_mut().shutdown().await
}

async fn ask_agent(command: Command, requests: &mpsc::Sender<Request>) -> Value {
    let (reply, answer) = oneshot::channel();
    if requests.send(Request { command, reply }).await.is_err() {
        return error("the agent is stopping");
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(Ok(value)) => value,
        Ok(Err(_)) => error("the agent is stopping"),
        Err(_) => error("the agent did not answer in time"),
    }
}

fn error(what: &str) -> Value {
    serde_json::json!({ "error": what })
}

/// Sends a command to the agent behind `path`, as the commands `status`, `metrics` and `privacy` do.
///
/// # Errors
/// Names the path, and what to do if no agent answers, or an agent of another release with another format.
pub fn ask<T: DeserializeOwned>(path: &Path, command: &Command) -> Result<T, String> {
    use std::io::{BufRead, Read, Write};
    let told = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let mut stream = std::os::unix::net::UnixStream::connect(path)
        .map_err(|e| format!("{} (is kasacamd running? --socket names another socket)", told(&e)))?;
    stream.set_read_timeout(Some(2 * REQUEST_TIMEOUT)).map_err(|e| told(&e))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT)).map_err(|e| told(&e))?;
    let mut request = serde_json::to_vec(command).map_err(|e| told(&e))?;
    request.push(b'\n');
    stream.write_all(&request).map_err(|e| told(&e))?;
    let mut line = String::new();
    std::io::BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut line).map_err(|e| told(&e))?;
    let value: Value = serde_json::from_str(&line).map_err(|_| told(&"the answer is not JSON"))?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) => Err(told(&error)),
        None => T::deserialize(value).map_err(|e| told(&format!("the answer is another release's: {e}"))),
    }
}
