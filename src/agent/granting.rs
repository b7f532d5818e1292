//! Connects the uploads, which want grants, with the broker, through which the cloud is asked for them.

use crate::domain::grant::GrantAnswer;
use crate::mqtt::{OnGrants, Requester};
use crate::upload::grant::Grants;
use std::sync::Arc;
use std::time::Duration;

/// Wait before the next attempt if no request could be made.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The receiver of the answers.
pub(super) fn answers(grants: Arc<Grants>) -> OnGrants {
    Arc::new(move |answer: GrantAnswer| grants.answered(&answer))
}

/// Requests what is wanted, for ever. A request that no session takes is sent by the next one, unless a later
/// request has replaced it.
pub(super) async fn requests(grants: Arc<Grants>, requester: Requester) {
    loop {
        match grants.next_request().await {
            Ok(request) => requester.ask(&request),
            Err(why) => {
                tracing::error!("no grants are asked for: {why}");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}
