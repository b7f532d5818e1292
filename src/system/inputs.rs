//! Sends inputs to the loop from any thread.

use crate::domain::input::Input;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// A function that any thread may call with an input. If the queue is full, it blocks, except on the loop's
/// own thread: there nobody would take the inputs, so a task hands them over instead.
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
