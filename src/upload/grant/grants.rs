//! Connects the uploads that want grants with the agent that requests them: the [`Desk`], with a clock and
//! with waiting.

use super::check::{Allowed, Granted};
use super::desk::{Desk, MIN_LEFT, Refusal, Ticket, WANT_TIMEOUT};
use crate::config;
use crate::domain::grant::{GrantAnswer, GrantRequest, Want};
use crate::domain::outcome::Scope;
use crate::domain::time::Mono;
use crate::system::clock;
use crate::upload::answer;
use crate::upload::object::Object;
use crate::upload::request::{SignedRequest, Signer, Unsigned};
use http::{HeaderMap, Method, Uri};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

type Outcome = Result<Granted, Refusal>;

/// The grants of one store. Shared by the uploads, which want them, and the agent, which requests them.
pub struct Grants {
    state: Mutex<GrantState>,
    changed: Notify,
    /// The endpoint of the store, for checking whether it answers.
    endpoint: String,
}

struct GrantState {
    desk: Desk,
    waiting: HashMap<Ticket, oneshot::Sender<Outcome>>,
}

impl GrantState {
    /// Hands out the outcomes.
    fn settle(&mut self) {
        while let Some((ticket, outcome)) = self.desk.next_outcome() {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                let _went_away = waiting.send(outcome);
            }
        }
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

impl Grants {
    /// Requests nothing yet.
    #[must_use]
    pub fn new(config: &config::Upload) -> Grants {
        let mut seed = [0; 8];
        // Without randomness the waits of cameras are not spread; nothing else depends on it.
        let _same_as_others = SystemRandom::new().fill(&mut seed);
        let desk = Desk::new(Allowed::of(config), u64::from_ne_bytes(seed));
        let state = Mutex::new(GrantState { desk, waiting: HashMap::new() });
        Grants { state, changed: Notify::new(), endpoint: config.endpoint.clone() }
    }

    fn state(&self) -> MutexGuard<'_, GrantState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to request. It must be awaited again and again: this also drives the
    /// timeouts of the uploads.
    ///
    /// # Errors
    /// If there is no randomness for an id.
    pub async fn next_request(&self) -> Result<GrantRequest, String> {
        loop {
            let due = {
                let (now, id) = (clock::mono(), id()?);
                let mut state = self.state();
                state.desk.tick(now);
                state.settle();
                if let Some(request) = state.desk.next_request(&id, now) {
                    return Ok(request);
                }
                state.desk.due().map(|due| due.since(now).max(Duration::from_millis(1)))
            };
            let passes = async {
                match due {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = passes => {}
            }
        }
    }

    /// An answer of the cloud with a verified signature.
    pub fn answered(&self, answer: &GrantAnswer) {
        let mut state = self.state();
        if !state.desk.answered(answer, clock::mono()) {
            tracing::debug!("an answer with grants came, and no request waits for it");
        }
        state.settle();
        drop(state);
        self.changed.notify_one();
    }

    async fn granted(&self, want: Want) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        let ticket = {
            let mut state = self.state();
            let ticket = state.desk.want(want, clock::mono());
            state.waiting.insert(ticket, sender);
            state.settle();
            ticket
        };
        let _withdraws = Withdraws { grants: self, ticket };
        self.changed.notify_one();
        let unanswered = || Err(Refusal::Unanswered(String::from("nobody asks the cloud for grants")));
        let late = WANT_TIMEOUT + MIN_LEFT;
        tokio::time::timeout(late, receiver)
            .await
            .map_or_else(|_| unanswered(), |got| got.unwrap_or_else(|_| unanswered()))
    }

    fn used_up(&self, key: &str, now: Mono) -> bool {
        self.state().desk.used_up(key, now)
    }
}

/// An upload that is dropped no longer wants its grant.
struct Withdraws<'a> {
    grants: &'a Grants,
    ticket: Ticket,
}

impl Drop for Withdraws<'_> {
    fn drop(&mut self) {
        let mut state = self.grants.state();
        state.waiting.remove(&self.ticket);
        state.desk.withdraw(self.ticket);
    }
}

/// 128 random bits.
fn id() -> Result<String, String> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| String::from("no randomness for the id of a request"))?;
    Ok(answer::to_hex(&bytes))
}

/// Has the cloud sign.
#[derive(Debug)]
pub(in crate::upload) struct Granting(pub(in crate::upload) Arc<Grants>);

#[async_trait::async_trait]
impl Signer for Granting {
    async fn put(&self, object: &Object) -> Result<SignedRequest, Unsigned> {
        let metadata = object.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let want = Want {
            key: object.key.clone(),
            size: object.size,
            sha256: answer::to_hex(&object.sha256),
            content_type: object.content_type.clone(),
            metadata: metadata.collect(),
        };
        match self.0.granted(want).await {
            Ok(Granted { url, headers, proof }) => {
                Ok(SignedRequest { method: Method::PUT, url, headers, proof })
            }
            Err(Refusal::Object(why)) => Err(Unsigned { why, scope: Scope::Segment }),
            Err(Refusal::Unanswered(why)) => Err(Unsigned { why, scope: Scope::Store }),
        }
    }

    /// Without a signature: it shows whether the store answers, and nothing of what it holds.
    async fn head(&self, _key: &str) -> Result<SignedRequest, Unsigned> {
        let url = self.0.endpoint.parse::<Uri>();
        let url = url.map_err(|_| Unsigned::of_store("upload.endpoint is no URL"))?;
        let proof = crate::domain::grant::Proof::AmzSha256;
        Ok(SignedRequest { method: Method::HEAD, url, headers: HeaderMap::new(), proof })
    }

    fn may_look(&self) -> bool {
        false
    }

    async fn refused(&self, key: &str, _code: Option<&str>) -> bool {
        self.0.used_up(key, clock::mono())
    }
}
