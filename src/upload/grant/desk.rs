//! Which objects wait for a grant, when the cloud is asked, and which upload gets which answer.
//!
//! One request is under way at a time; objects that are wanted meanwhile are named in the next one, up to 16
//! objects and [`MAX_REQUEST`] bytes. An upload waits for a grant at most [`WANT_TIMEOUT`], however the cloud
//! behaves: then it has failed, and the machine retries it later.
//!
//! Only the monotonic clock is used. A grant was signed after it was asked for: counted from the request, the
//! time between its `issued_at` and its `expires_at` never ends later than the store's own limit. So a camera
//! whose clock is wrong uploads like any other.

use super::check::{self, Allowed, Granted};
use crate::domain::backoff::{Backoff, Jitter};
use crate::domain::grant::{GrantAnswer, GrantRequest, MAX_GRANTS, Want};
use crate::domain::time::Mono;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// From a request to its answer; then the cloud is asked again.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one upload waits for a grant, including all retries.
pub const WANT_TIMEOUT: Duration = Duration::from_secs(60);
/// A grant that ends sooner than this is not used.
pub const MIN_LEFT: Duration = Duration::from_secs(5);
/// However long a grant is said to be valid, a new one is asked for after this.
pub const MAX_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Maximum number of grants that are kept for another attempt at the same object.
pub const MAX_KEPT: usize = 32;
/// Maximum number of uploads that wait for a grant.
pub const MAX_WANTS: usize = 64;
/// Maximum size of the payload of one request, in bytes; below the 16 KiB of any report.
pub const MAX_REQUEST: usize = 15 * 1024;

/// Identifies who wants a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Why there is no grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It concerns this object: others may get a grant.
    Object(String),
    /// The cloud does not answer.
    Unanswered(String),
}

#[derive(Debug)]
struct Waiting {
    want: Want,
    until: Mono,
    asked: bool,
}

#[derive(Debug)]
struct UnderWay {
    id: String,
    tickets: Vec<Ticket>,
    sent: Mono,
}

#[derive(Debug)]
struct Kept {
    want: Want,
    granted: Granted,
    until: Mono,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Desk {
    allowed: Allowed,
    waiting: BTreeMap<Ticket, Waiting>,
    under_way: Option<UnderWay>,
    not_before: Mono,
    backoff: Backoff,
    jitter: Jitter,
    kept: BTreeMap<String, Kept>,
    outcomes: VecDeque<(Ticket, Result<Granted, Refusal>)>,
    last: u64,
}

impl Desk {
    /// An empty desk. `seed` spreads the waits.
    #[must_use]
    pub fn new(allowed: Allowed, seed: u64) -> Desk {
        Desk {
            allowed,
            waiting: BTreeMap::new(),
            under_way: None,
            not_before: Mono(0),
            backoff: Backoff::new(
                Duration::from_millis(500),
                Duration::from_secs(1),
                Duration::from_secs(20),
            ),
            jitter: Jitter::new(seed),
            kept: BTreeMap::new(),
            outcomes: VecDeque::new(),
            last: 0,
        }
    }

    /// An upload wants a grant. The result comes as an outcome of this ticket.
    pub fn want(&mut self, want: Want, now: Mono) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let kept = self.kept.get(&want.key).filter(|kept| kept.want == want && kept.until > now + MIN_LEFT);
        if let Some(kept) = kept {
            self.outcomes.push_back((ticket, Ok(kept.granted.clone())));
        } else if self.waiting.len() >= MAX_WANTS || weight(&want) > MAX_REQUEST {
            let why = String::from("there is no room for one more request for a grant");
            self.outcomes.push_back((ticket, Err(Refusal::Object(why))));
        } else {
            self.kept.remove(&want.key);
            self.waiting.insert(ticket, Waiting { want, until: now + WANT_TIMEOUT, asked: false });
        }
        ticket
    }

    /// The upload no longer waits for it. A grant that still comes is kept.
    pub fn withdraw(&mut self, ticket: Ticket) {
        if self.waiting.get(&ticket).is_some_and(|waiting| !waiting.asked) {
            self.waiting.remove(&ticket);
        }
        self.outcomes.retain(|(other, _)| *other != ticket);
    }

    /// The store refused what was sent with the grant for `key`: a new one is asked for. True if the grant
    /// had expired by `now`, so that the refusal means nothing else.
    pub fn used_up(&mut self, key: &str, now: Mono) -> bool {
        self.kept.remove(key).is_some_and(|kept| kept.until <= now)
    }

    /// The request to send now, with `id`, if there is one.
    pub fn next_request(&mut self, id: &str, now: Mono) -> Option<GrantRequest> {
        if self.under_way.is_some() || now < self.not_before {
            return None;
        }
        let (mut tickets, mut want, mut bytes) = (Vec::new(), Vec::<Want>::new(), 0);
        for (ticket, waiting) in &mut self.waiting {
            // Two uploads never want one key; if they did, the second would be named in the next request.
            if want.iter().any(|other| other.key == waiting.want.key) {
                continue;
            }
            bytes += weight(&waiting.want);
            if want.len() >= MAX_GRANTS || bytes > MAX_REQUEST {
                break;
            }
            waiting.asked = true;
            tickets.push(*ticket);
            want.push(waiting.want.clone());
        }
        if want.is_empty() {
            return None;
        }
        self.under_way = Some(UnderWay { id: id.to_owned(), tickets, sent: now });
        Some(GrantRequest { id: id.to_owned(), want })
    }

    /// A verified answer of the cloud. False if no request with that id is under way: the answer came too
    /// late, or a second time.
    pub fn answered(&mut self, answer: &GrantAnswer, now: Mono) -> bool {
        let Some(UnderWay { tickets, sent, .. }) = self.under_way.take_if(|it| it.id == answer.id) else {
            return false;
        };
        let mut granted_any = false;
        let asked: Vec<&str> =
            tickets.iter().filter_map(|it| self.waiting.get(it)).map(|it| it.want.key.as_str()).collect();
        let is_strange = answer.grants.iter().any(|grant| !asked.contains(&grant.key.as_str()));
        for ticket in tickets {
            let Some(waiting) = self.waiting.get(&ticket) else { continue };
            let Some(outcome) = judge(answer, is_strange, &waiting.want, &self.allowed, (sent, now)) else {
                // Not mentioned in the answer: it is named in the next request.
                self.again(ticket);
                continue;
            };
            let Some(waiting) = self.waiting.remove(&ticket) else { continue };
            match outcome {
                Ok((granted, until)) => {
                    granted_any = true;
                    self.keep(Kept { want: waiting.want, granted: granted.clone(), until }, now);
                    self.outcomes.push_back((ticket, Ok(granted)));
                }
                Err(why) => self.outcomes.push_back((ticket, Err(Refusal::Object(why)))),
            }
        }
        if granted_any {
            self.backoff.reset();
        } else {
            self.not_before = now + self.backoff.next(&mut self.jitter);
        }
        true
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Mono) {
        if let Some(late) = self.under_way.take_if(|it| now >= it.sent + ANSWER_TIMEOUT) {
            self.not_before = now + self.backoff.next(&mut self.jitter);
            late.tickets.into_iter().for_each(|ticket| self.again(ticket));
        }
        let late: Vec<Ticket> =
            self.waiting.iter().filter(|(_, it)| it.until <= now).map(|(ticket, _)| *ticket).collect();
        for ticket in late {
            self.waiting.remove(&ticket);
            let why = format!("the cloud gave no grant within {} s", WANT_TIMEOUT.as_secs());
            self.outcomes.push_back((ticket, Err(Refusal::Unanswered(why))));
        }
        self.kept.retain(|_, kept| kept.until > now);
    }

    /// When [`Desk::tick`] or [`Desk::next_request`] has something to do; `None` while nobody waits.
    #[must_use]
    pub fn due(&self) -> Option<Mono> {
        let wants = self.waiting.values().map(|waiting| waiting.until);
        let next = match &self.under_way {
            Some(under_way) => Some(under_way.sent + ANSWER_TIMEOUT),
            None if self.waiting.is_empty() => None,
            None => Some(self.not_before),
        };
        wants.chain(next).min()
    }

    /// The next result of a ticket.
    pub fn next_outcome(&mut self) -> Option<(Ticket, Result<Granted, Refusal>)> {
        self.outcomes.pop_front()
    }

    fn again(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.waiting.get_mut(&ticket) {
            waiting.asked = false;
        }
    }

    /// Keeps a grant; the one that ends first is dropped to make room.
    fn keep(&mut self, kept: Kept, now: Mono) {
        self.kept.retain(|_, kept| kept.until > now);
        if self.kept.len() >= MAX_KEPT {
            let first = self.kept.iter().min_by_key(|(_, kept)| kept.until).map(|(key, _)| key.clone());
            first.and_then(|key| self.kept.remove(&key));
        }
        self.kept.insert(kept.want.key.clone(), kept);
    }
}

/// What an answer says of one object; `None` if it says nothing. `is_strange`: it grants a key that was not
/// asked for.
fn judge(
    answer: &GrantAnswer,
    is_strange: bool,
    want: &Want,
    allowed: &Allowed,
    (sent, now): (Mono, Mono),
) -> Option<Result<(Granted, Mono), String>> {
    if let Some(refused) = answer.refused.iter().find(|refused| refused.key == want.key) {
        return Some(Err(format!("the cloud grants no upload of it: {}", refused.reason)));
    }
    let Some(grant) = answer.grants.iter().find(|grant| grant.key == want.key) else {
        return is_strange
            .then(|| Err(String::from("the cloud's grant is not taken: it is for another key")));
    };
    let lifetime = grant.expires_at.since(answer.issued_at).min(MAX_LIFETIME);
    let until = sent + lifetime;
    if until <= now + MIN_LEFT {
        return Some(Err(String::from("the cloud's grant is not taken: it has expired")));
    }
    let checked = check::check(grant, want, allowed);
    Some(
        checked
            .map(|granted| (granted, until))
            .map_err(|why| format!("the cloud's grant is not taken: {why}")),
    )
}

/// Size of one member of `want` in bytes, including the comma after it.
fn weight(want: &Want) -> usize {
    serde_json::to_vec(want).map_or(usize::MAX, |json| json.len() + 1)
}
