//! Inputs on their way to the loop, from whatever thread.

use crate::domain::input::Input;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// A way for inputs that any thread may use. A thread of its own waits while the loop is behind; the loop's own thread
/// never does, since nobody would take what it waits with: what finds no room there is handed over by a task.
#[must_use]
pub fn from_anywhere(inputs: Sender<Input>) -> Arc<dyn Fn(Input) + Send + Sync> {
    Arc::new(move |input| {
        let input = match inputs.try_send(input) {
            Ok(()) | Err(TrySendError::Closed(_)) => return,
            Err(TrySendError::Full(input)) => input,
        };
        match Handle::try_current() {
            Ok(runtime) => {
                let inputs = inputs.clone();
                runtime.spawn(async move {
                    let _the_agent_has_left = inputs.send(input).await;
                });
            }
            Err(_) => {
                let _the_agent_has_left = inputs.blocking_send(input);
            }
        }
    })
}
