//! Messages of the cloud: leases, and what is refused.

use super::Machine;
use super::versions::compare;
use crate::domain::effect::{Effect, Event};
use crate::domain::entitlement::Lease;
use crate::domain::input::{AckToken, Rejection};
use crate::domain::time::{Clock, Now, Utc};
use std::cmp::Ordering;
use std::time::Duration;

/// How often the clock is checked while it may be the reason why a message was refused.
pub(super) const CLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// How far the cloud's clock may be ahead of our trusted one.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 3600);

impl Machine {
    pub(super) fn accept_lease(
        &mut self,
        lease: Lease,
        jws: String,
        retained: bool,
        ack: AckToken,
        now: Now,
    ) {
        let refused = match compare(self.lease.newest(), self.seen.entitlement, &lease, |l| l.version) {
            Ok(Ordering::Greater) if self.is_ahead(lease.issued_at, now) => {
                self.refuse_ahead(lease.issued_at)
            }
            Ok(Ordering::Greater) => {
                self.session.heard_lease();
                self.seen.entitlement = lease.version.max(self.seen.entitlement);
                return self.lease.accept(lease, jws, Some(ack), now.mono);
            }
            Ok(Ordering::Equal) => {
                if retained {
                    self.session.heard_lease();
                }
                let ack = self.lease.again(ack);
                return self.effects.extend(ack.map(Effect::Ack));
            }
            Ok(Ordering::Less) if !self.session.is_up() => return self.effects.push_back(Effect::Ack(ack)),
            Ok(Ordering::Less) => Rejection::StaleVersion,
            Err(refused) => refused,
        };
        self.reject(self.topic("entitlement/desired"), refused, Some(ack));
    }

    pub(super) fn topic(&self, name: &str) -> String {
        format!("kasacam/v1/{}/{name}", self.device)
    }

    /// Whether a message claims to be from the future. Without a trusted clock this cannot be told, and the
    /// clocks of the cloud and the camera may differ.
    pub(super) fn is_ahead(&self, issued_at: Utc, now: Now) -> bool {
        self.clock(now) == Clock::Trusted && issued_at > now.system + MAX_AHEAD
    }

    /// A message that was refused because it came from the future is asked for again once its time has come.
    pub(super) fn ask_again_if_due(&mut self, now: Now) {
        if self.refused_ahead.is_some_and(|issued_at| !self.is_ahead(issued_at, now)) {
            self.refused_ahead = None;
            self.effects.push_back(Effect::AskAgain);
        }
    }

    pub(super) fn refuse_ahead(&mut self, issued_at: Utc) -> Rejection {
        self.refused_ahead = Some(self.refused_ahead.map_or(issued_at, |known| known.min(issued_at)));
        Rejection::IssuedAhead
    }

    /// Changes no state except the count.
    pub(super) fn reject(&mut self, topic: String, reason: Rejection, ack: Option<AckToken>) {
        self.figures.rejected += 1;
        self.tell(Event::Rejected { topic, reason: reason.text() });
        self.effects.extend(ack.map(Effect::Ack));
    }
}
