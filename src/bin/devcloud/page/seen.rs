//! Everything that the page shows. One task updates it from the events of the cloud.

use super::bands::{Band, Known, bands};
use super::shelf::{Shelf, read};
use super::standing::{Figures, Standing};
use crate::events::Events;
use crate::objects::Bucket;
use kasacam::system::clock;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// Counters that grow when something has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The reports of the camera.
    pub state: u64,
    /// The content of the timeline.
    pub footage: u64,
}

#[derive(Default)]
struct Inner {
    standing: Standing,
    shelf: Shelf,
}

/// It ends when this is dropped.
pub(crate) struct Seen {
    inner: Arc<Mutex<Inner>>,
    pub changes: watch::Receiver<Changes>,
    task: JoinHandle<()>,
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    /// Follows the events from now on, and reads the objects that exist already.
    pub(crate) fn follow(events: &Events, bucket: Bucket, device: String) -> Seen {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let (tell, changes) = watch::channel(Changes::default());
        let task = tokio::spawn(follow(events.listen(), Arc::clone(&inner), bucket, device, tell));
        Seen { inner, changes, task }
    }

    pub(crate) fn shown(&self) -> Value {
        lock(&self.inner).standing.shown()
    }

    pub(crate) fn history(&self) -> Vec<Figures> {
        lock(&self.inner).standing.history()
    }

    /// The whole timeline until now.
    pub(crate) fn bands(&self) -> Vec<Band> {
        let known = {
            let inner = lock(&self.inner);
            Known {
                stretches: inner.shelf.stretches(),
                ends: inner.shelf.ends.clone(),
                opened: inner.standing.opened.iter().cloned().collect(),
                away: inner.standing.away.iter().cloned().collect(),
            }
        };
        bands(&known, clock::utc())
    }

    pub(crate) fn shelf<T>(&self, look: impl FnOnce(&Shelf) -> T) -> T {
        look(&lock(&self.inner).shelf)
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(
    mut events: broadcast::Receiver<Value>,
    inner: Arc<Mutex<Inner>>,
    bucket: Bucket,
    device: String,
    tell: watch::Sender<Changes>,
) {
    rescan(&inner, &bucket, &tell).await;
    loop {
        match events.recv().await {
            Ok(line) => hear(&line, &inner, &bucket, &device, &tell).await,
            // The lost events may have reported objects.
            Err(broadcast::error::RecvError::Lagged(_)) => rescan(&inner, &bucket, &tell).await,
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn hear(
    line: &Value,
    inner: &Arc<Mutex<Inner>>,
    bucket: &Bucket,
    device: &str,
    tell: &watch::Sender<Changes>,
) {
    let key = || line.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
    match line.get("event").and_then(Value::as_str) {
        Some("object_stored") => {
            let (bucket, key) = (bucket.clone(), key());
            if let Ok(Some(found)) = tokio::task::spawn_blocking(move || read(&bucket, &key)).await {
                lock(inner).shelf.put(found);
                tell.send_modify(|changes| changes.footage += 1);
            }
        }
        Some("object_deleted") => {
            lock(inner).shelf.remove(&key());
            tell.send_modify(|changes| changes.footage += 1);
        }
        Some(_) | None => {
            if lock(inner).standing.hear(line, device) {
                let telemetry =
                    line.get("topic").and_then(Value::as_str).is_some_and(|t| t.ends_with("/telemetry"));
                tell.send_modify(|changes| {
                    changes.state += 1;
                    changes.footage += u64::from(!telemetry);
                });
            }
        }
    }
}

/// Reads the whole bucket, in another thread.
async fn rescan(inner: &Arc<Mutex<Inner>>, bucket: &Bucket, tell: &watch::Sender<Changes>) {
    let bucket = bucket.clone();
    let all = tokio::task::spawn_blocking(move || {
        let keys = bucket.keys("").unwrap_or_default();
        keys.iter().filter_map(|key| read(&bucket, key)).collect::<Vec<_>>()
    });
    let mut shelf = Shelf::default();
    for found in all.await.unwrap_or_default() {
        shelf.put(found);
    }
    lock(inner).shelf = shelf;
    tell.send_modify(|changes| changes.footage += 1);
}
