//! `events.jsonl`: everything that the cloud saw and did, one JSON object per line, in the order of time.

use kasacam::domain::time::Utc;
use kasacam::system::clock;
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many lines a slow listener may be behind before it loses the oldest.
const BACKLOG: usize = 4096;

/// The log. Clones write to the same file.
#[derive(Clone)]
pub(crate) struct Events {
    file: Arc<Mutex<File>>,
    heard: broadcast::Sender<Value>,
}

impl Events {
    /// Opens `events.jsonl` in `dir`, to append to what an earlier run wrote.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(dir: &Path) -> Result<Events, String> {
        let path = dir.join("events.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|e| format!("{}: cannot be opened: {e}", path.display()))?;
        let (heard, _) = broadcast::channel(BACKLOG);
        Ok(Events { file: Arc::new(Mutex::new(file)), heard })
    }

    /// Appends an event of now.
    pub(crate) fn append(&self, event: &str, details: Value) {
        self.append_at(clock::utc(), event, details);
    }

    /// Appends an event of time `at`, with the members of `details`.
    pub(crate) fn append_at(&self, at: Utc, event: &str, details: Value) {
        let mut line = Map::new();
        line.insert("at".into(), at.to_string().into());
        line.insert("event".into(), event.into());
        if let Value::Object(details) = details {
            line.extend(details);
        }
        let line = Value::Object(line);
        {
            // One write per line, so that lines are never mixed.
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
                eprintln!("events.jsonl: {error}");
            }
        }
        let _nobody_listens = self.heard.send(line);
    }

    /// All lines from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Value> {
        self.heard.subscribe()
    }
}
