//! Commands over `DIR/cloud.sock`: one JSON object per line each way.

use crate::command::{Command, SOCKET, worded};
use crate::serve::Devcloud;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// The longest line, in bytes.
const MAX_LINE: u64 = 1 << 20;
/// For the answer to a command, including the time that the broker may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// Listens at the socket of this cloud, until the task is aborted.
///
/// # Errors
/// The socket cannot be made, for example because its path has more than 107 bytes.
pub(crate) fn listen(cloud: &Arc<Devcloud>) -> Result<JoinHandle<()>, String> {
    let path = cloud.socket();
    // A killed cloud left it; the lock shows that nothing listens there.
    let _not_there = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(tokio::spawn(answer(listener, Arc::clone(cloud))))
}

async fn answer(listener: UnixListener, cloud: Arc<Devcloud>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Arc::clone(&cloud)));
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn converse(stream: UnixStream, cloud: Arc<Devcloud>) {
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read.take(MAX_LINE));
    let mut line = String::new();
    while let Ok(1..) = read.read_line(&mut line).await {
        let answer = match serde_json::from_str::<Command>(&line) {
            Ok(command) => cloud.execute(command).await,
            Err(error) => Err(format!("not a command: {error}")),
        };
        let answer = format!("{}\n", worded(answer));
        if write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
        read.get_mut().set_limit(MAX_LINE);
    }
}

/// Sends a command to the cloud of `dir`, and returns its answer.
///
/// # Errors
/// No cloud runs there, or it does not answer in time.
pub(crate) fn ask(dir: &Path, command: &Command) -> Result<Value, String> {
    let path = dir.join(SOCKET);
    let failed =
        |e: std::io::Error| format!("{}: {e}: does `kasacam-devcloud serve` run there?", path.display());
    let mut stream = Blocking::connect(&path).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
    let line = serde_json::to_string(command).map_err(|e| e.to_string())?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    // The list of a full bucket is long, and this program wrote it.
    BufReader::new(stream.take(1 << 30)).read_line(&mut answer).map_err(failed)?;
    serde_json::from_str(&answer).map_err(|_| format!("{}: the answer is incomplete", path.display()))
}
