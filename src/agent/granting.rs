//! Between the uploads, which want grants, and the broker, over which the cloud is asked for them.

use crate::domain::grant::GrantAnswer;
use crate::mqtt::{OnGrants, Requester};
use crate::upload::grant::Grants;
use std::sync::Arc;
use std::time::Duration;

/// Before the next attempt where no request could be made.
const PAUSE: Duration = Duration::from_secs(10);

/// What takes the answers.
pub(super) fn answers(grants: Arc<Grants>) -> OnGrants {
    Arc::new(move |answer: GrantAnswer| grants.answered(&answer))
}

/// Asks for what is wanted, for ever. A request that no session takes goes with the next one, unless a later one has
/// taken its place.
pub(super) async fn requests(grants: Arc<Grants>, requester: Requester) {
    loop {
        match grants.next_request().await {
            Ok(request) => requester.ask(&request),
            Err(why) => {
                tracing::error!("no grants are asked for: {why}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
