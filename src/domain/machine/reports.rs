//! What the cloud is told: what is true, once it is true, and again only when it changes.

use super::Machine;
use crate::domain::effect::{Effect, EntitlementReport, PrivacyReport, Report};
use crate::domain::policy::{Capture, Decision, Reason, Upload};
use crate::domain::privacy::{Privacy, Recalled, Shutter};
use crate::domain::time::{Mono, Now};
use std::time::Duration;

/// What was last reported.
#[derive(Debug)]
pub(super) struct Told {
    privacy: Option<PrivacyReport>,
    /// `privacy` is to be reported again, unchanged.
    privacy_again: bool,
    entitlement: Option<EntitlementReport>,
    terms: Option<(String, u32)>,
    telemetry_at: Mono,
    /// Cameras that lost power together must not report together: the first report comes at a random time in
    /// the first interval.
    phase: Option<Duration>,
}

impl Told {
    pub(super) fn new(now: Now, phase: Duration) -> Told {
        Told {
            privacy: None,
            privacy_again: false,
            entitlement: None,
            terms: None,
            telemetry_at: now.mono,
            phase: Some(phase),
        }
    }

    /// Report everything again.
    pub(super) fn forget(&mut self) {
        self.privacy_again = true;
        self.entitlement = None;
    }

    pub(super) fn telemetry_at(&self, every: Duration) -> Mono {
        self.telemetry_at + self.phase.map_or(every, |phase| phase.min(every))
    }
}

/// Why capture is on or off.
pub(super) fn capture_reason(decision: &Decision) -> &'static str {
    match decision.capture() {
        Capture::On { .. } => Reason::Allowed.text(),
        Capture::Off(reason) => reason.text(),
    }
}

impl Machine {
    pub(super) fn restore_reports(&mut self, decision: &Decision, now: Now) {
        self.tell_spool(now);
        self.report_privacy(now);
        self.report_entitlement(decision, now);
        if now.mono >= self.reports.telemetry_at(self.settings.telemetry) {
            (self.reports.telemetry_at, self.reports.phase) = (now.mono, None);
            let telemetry = self.telemetry(now);
            self.effects.push_back(Effect::Publish(Report::Telemetry(Box::new(telemetry))));
        }
    }

    /// Each segment records the plan: the spool is told before capture under that plan begins. If the plan
    /// needs another run, it is told after the run before is over.
    fn tell_spool(&mut self, now: Now) {
        if !self.capture.is_settled() {
            return;
        }
        let Some((plan, history_hours)) = self.plan(now) else { return };
        if self.reports.terms.as_ref() != Some(&(plan.clone(), history_hours)) {
            self.reports.terms = Some((plan.clone(), history_hours));
            self.effects.push_front(Effect::SetTerms { plan, history_hours });
        }
    }

    /// The privacy report as it would be sent now. `None` while nothing is settled: a choice is being
    /// written, a device is being closed, or a device that failed is being retried.
    #[must_use]
    pub fn privacy_report(&self, now: Now) -> Option<PrivacyReport> {
        if !self.capture.is_certain() || !self.choice.is_settled() || !self.latch.is_settled() {
            return None;
        }
        Some(self.privacy_standing(now))
    }

    /// The state of privacy now, settled or not.
    #[must_use]
    pub fn privacy_standing(&self, now: Now) -> PrivacyReport {
        let choice = self.choice.live().value();
        let changed_at = self.capture.changed_at.unwrap_or(self.best_time(now));
        PrivacyReport {
            version: choice.map(|choice| choice.version),
            do_not_record: self.privacy() != Privacy::Record,
            latch: (*self.latch.live() != Recalled::Missing && *self.latch.live() != Recalled::Is(false))
                || matches!(self.shutter, Shutter::Closed | Shutter::Unknown),
            capture: self.capture.text().into(),
            // A choice is never applied before it was made, whatever the camera's clock says.
            applied_at: choice.map_or(changed_at, |choice| changed_at.max(choice.issued_at)),
        }
    }

    fn report_privacy(&mut self, now: Now) {
        let Some(mut report) = self.privacy_report(now) else { return };
        if let Some(told) = &self.reports.privacy {
            let same_but_for_time = PrivacyReport { applied_at: told.applied_at, ..report.clone() } == *told;
            if same_but_for_time {
                if !std::mem::take(&mut self.reports.privacy_again) {
                    return;
                }
                report.applied_at = told.applied_at;
            } else if told.capture == report.capture {
                // The device was in this state before: what changed is the choice, and it changed now.
                report.applied_at = report.applied_at.max(self.best_time(now));
            }
        }
        self.reports.privacy_again = false;
        self.reports.privacy = Some(report.clone());
        self.effects.push_back(Effect::Publish(Report::Privacy(report)));
    }

    /// What the retained report says under this decision.
    #[must_use]
    pub fn entitlement_report(&self, decision: &Decision, now: Now) -> EntitlementReport {
        let lease = self.lease.live().value();
        let terms = lease.map(|lease| lease.standing(self.lease_time(now), self.settings.grace).terms);
        EntitlementReport {
            version: lease.map(|lease| lease.version),
            state: self.entitlement(now).text().into(),
            plan: terms.map(|terms| terms.plan.id.clone()),
            status: terms.map(|terms| terms.status.text().into()),
            not_after: lease.map(|lease| lease.not_after),
            reason: match decision.upload {
                Upload::On | Upload::Heard => Reason::Allowed.text(),
                // Privacy never changes what is reported about the plan (K12).
                Upload::Off(Reason::PrivacyHold) => Reason::Allowed.text(),
                Upload::Off(reason) => reason.text(),
            }
            .into(),
        }
    }

    fn report_entitlement(&mut self, decision: &Decision, now: Now) {
        if !self.lease.is_settled() {
            return;
        }
        let report = self.entitlement_report(decision, now);
        if self.reports.entitlement.as_ref() != Some(&report) {
            self.reports.entitlement = Some(report.clone());
            self.effects.push_back(Effect::Publish(Report::Entitlement(report)));
        }
    }

    /// The plan in force and its history in hours.
    fn plan(&self, now: Now) -> Option<(String, u32)> {
        let lease = self.lease.live().value()?;
        let terms = lease.standing(self.lease_time(now), self.settings.grace).terms;
        Some((terms.plan.id.clone(), terms.features.history_hours))
    }
}
