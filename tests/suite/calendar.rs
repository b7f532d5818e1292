//! A year of Kasa Care: what a household pays, forgets and cancels, and what clocks do meanwhile. Time is
//! simulated; every change is expected in the very second in which it is due.

use crate::support::rig::{Asked, HOUR, Rig, allowed, blank, choice, lease, utc};
use kasacam::domain::effect::{CaptureSettings, Fact, Report, Rule};
use kasacam::domain::entitlement::{Features, Lease, Next, Plan, Status, Terms};
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::privacy::{Privacy, PrivacyChoice, Recalled};
use kasacam::domain::segment::Serial;
use kasacam::domain::time::{Mono, Now, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A camera, its owner, and a diary of what the camera did and reported.
struct Household {
    rig: Rig,
    version: u64,
    /// What the broker has retained.
    choice: Option<PrivacyChoice>,
    store_answers: bool,
    capture: Option<CaptureSettings>,
    said: String,
    diary: Vec<String>,
    /// By which rule each segment was removed.
    left: BTreeMap<Serial, Rule>,
    sealed: Vec<Serial>,
}

impl Household {
    fn unpacked_on(date: &str) -> Household {
        let now = Now { mono: Mono(1_000_000_000), system: utc(date), synchronised: true };
        let floor = now.system - DAY;
        Household::with(Rig::at(Start { floor, ..blank() }, now))
    }

    fn with(rig: Rig) -> Household {
        let mut home = Household {
            rig,
            version: 1,
            choice: None,
            store_answers: true,
            capture: None,
            said: String::new(),
            diary: Vec::new(),
            left: BTreeMap::new(),
            sealed: Vec::new(),
        };
        home.write_diary();
        home
    }

    fn owner_allows_recording(&mut self) {
        self.rig.privacy(1, false);
        self.choice = Some(PrivacyChoice { issued_at: self.rig.now.system, ..choice(1, false) });
        self.write_diary();
    }

    fn cloud_says(&mut self, mut lease: Lease) {
        self.version += 1;
        (lease.version, lease.issued_at) = (self.version, self.rig.now.system);
        self.rig.lease(lease);
        self.write_diary();
    }

    fn internet(&mut self, works: bool) {
        self.store_answers = works;
        if works {
            self.rig.connect(self.choice.clone());
        } else {
            self.rig.disconnect();
        }
        self.write_diary();
    }

    /// Runs until then; a segment is sealed every six hours while the camera records.
    fn until(&mut self, date: &str) {
        let end = utc(date);
        while self.rig.now.system < end {
            let before = self.rig.now.system.0 / (6 * 3600 * 1_000_000_000);
            let (at, _) = self.rig.machine.poll_timeout(self.rig.now);
            self.pass(at.since(self.rig.now.mono).min(end.since(self.rig.now.system)));
            if self.rig.now.system.0 / (6 * 3600 * 1_000_000_000) != before && self.rig.open.is_some() {
                let serial = self.rig.seal();
                self.sealed.push(serial);
                self.write_diary();
            }
        }
    }

    /// One step of the machine after `time`.
    fn pass(&mut self, time: Duration) {
        self.rig.now.mono = self.rig.now.mono + time;
        self.rig.now.system = self.rig.now.system + time;
        self.rig.give(Input::Tick);
        self.write_diary();
    }

    fn write_diary(&mut self) {
        loop {
            let asked = self.rig.take();
            if asked.is_empty() {
                break;
            }
            for asked in asked {
                match asked {
                    Asked::Upload(serial) => {
                        let outcome = if self.store_answers {
                            Outcome::Stored
                        } else {
                            Outcome::Retry { scope: Scope::Store, after: None, why: String::from("refused") }
                        };
                        self.rig.give(Input::UploadFinished { serial, outcome, took: Duration::ZERO });
                    }
                    Asked::Forget(serial, rule) => {
                        self.left.insert(serial, rule);
                    }
                    _ => {}
                }
            }
        }
        let date = self.rig.now.system.to_string()[..19].to_owned();
        let capture = self.rig.open.map(|(_, settings)| settings);
        if capture != self.capture {
            self.capture = capture;
            self.diary.push(match capture {
                None => format!("{date} dark"),
                Some(s) => {
                    format!(
                        "{date} records {} lines{}",
                        s.max_height,
                        if s.audio { " with audio" } else { "" }
                    )
                }
            });
        }
        for report in self.rig.reports.drain(..) {
            if let Report::Entitlement(report) = report {
                let plan = report.plan.unwrap_or_else(|| String::from("no plan"));
                let saying = format!("{plan} {} {}", report.status.as_deref().unwrap_or("-"), report.state);
                if saying != self.said {
                    self.diary.push(format!("{date} says {saying}"));
                    self.said = saying;
                }
            }
        }
        self.rig.events.clear();
    }

    /// What was written since the last call.
    fn diary(&mut self) -> Vec<String> {
        std::mem::take(&mut self.diary)
    }

    fn left_by(&self, rule: Rule) -> Vec<Serial> {
        self.left.iter().filter(|(_, by)| **by == rule).map(|(serial, _)| *serial).collect()
    }
}

fn terms(id: &str, features: Features) -> Terms {
    let tier = id.split('-').next().unwrap_or_default();
    Terms { plan: Plan { id: id.to_owned(), tier: tier.to_owned() }, status: Status::Active, features }
}

fn plus() -> Terms {
    terms(
        "plus-monthly",
        Features { record: true, audio: true, max_height: 1080, history_hours: 720, h265: true },
    )
}

fn free() -> Terms {
    terms("free", Features { record: true, audio: false, max_height: 720, history_hours: 24, h265: true })
}

fn paid_until(terms: Terms, date: &str) -> Lease {
    Lease { not_after: utc(date), terms, ..lease(0) }
}

fn standing(status: Status, lease: Lease) -> Lease {
    Lease { terms: Terms { status, ..lease.terms }, ..lease }
}

#[test]
fn a_year_of_a_household() {
    // November: a new camera. It knows nothing and records nothing; then the Free Package comes (K3).
    let mut home = Household::unpacked_on("2026-11-23T12:00:00Z");
    home.until("2026-11-23T13:00:00Z");
    home.owner_allows_recording();
    assert_eq!(home.diary(), ["2026-11-23T12:00:00 says no plan - unknown"]);
    home.cloud_says(paid_until(free(), "2027-11-23T00:00:00Z"));
    assert_eq!(
        home.diary(),
        ["2026-11-23T13:00:00 records 720 lines", "2026-11-23T13:00:00 says free active granted"]
    );

    // December: an upgrade, effective at once (K8).
    home.until("2026-12-01T09:30:00Z");
    home.cloud_says(paid_until(plus(), "2027-01-01T00:00:00Z"));
    assert_eq!(
        home.diary(),
        [
            "2026-12-01T09:30:00 records 1080 lines with audio",
            "2026-12-01T09:30:00 says plus-monthly active granted"
        ]
    );

    // January, February: renewed on time. March: two days late, within the grace (K6). No gap in the
    // recording, so nothing to write.
    for (renewed, until) in [
        ("2026-12-31T12:00:00Z", "2027-02-01T00:00:00Z"),
        ("2027-01-31T12:00:00Z", "2027-03-01T00:00:00Z"),
        ("2027-03-03T00:00:00Z", "2027-04-01T00:00:00Z"),
    ] {
        home.until(renewed);
        home.cloud_says(paid_until(plus(), until));
    }
    assert_eq!(home.diary(), [""; 0]);

    // April: the card is declined, and accepted again five days later (K5). No gap either.
    home.until("2027-04-01T00:00:00Z");
    home.cloud_says(standing(Status::PastDue, paid_until(plus(), "2027-04-15T00:00:00Z")));
    home.until("2027-04-06T08:00:00Z");
    home.cloud_says(paid_until(plus(), "2027-05-01T00:00:00Z"));
    assert_eq!(
        home.diary(),
        [
            "2027-04-01T00:00:00 says plus-monthly past_due granted",
            "2027-04-06T08:00:00 says plus-monthly active granted"
        ]
    );

    // May: nobody renews. The grace period of 72 hours ends to the second; a day later it is paid.
    home.until("2027-05-05T10:00:00Z");
    home.cloud_says(paid_until(plus(), "2027-06-01T00:00:00Z"));
    assert_eq!(
        home.diary(),
        [
            "2027-05-04T00:00:00 dark",
            "2027-05-04T00:00:00 says plus-monthly active lapsed",
            "2027-05-05T10:00:00 records 1080 lines with audio",
            "2027-05-05T10:00:00 says plus-monthly active granted"
        ]
    );

    // The plan is cancelled: down to the Free Package at the end of the cycle (K7). The camera is offline
    // when that time comes.
    home.until("2027-05-20T00:00:00Z");
    let downgrade = Next { from: utc("2027-06-01T00:00:00Z"), not_after: None, terms: free() };
    home.cloud_says(Lease { next: Some(downgrade), ..paid_until(plus(), "2028-06-01T00:00:00Z") });
    home.until("2027-05-25T00:00:00Z");
    home.internet(false);
    home.until("2027-06-02T00:00:00Z");
    home.internet(true);
    assert_eq!(
        home.diary(),
        ["2027-06-01T00:00:00 records 720 lines", "2027-06-01T00:00:00 says free active granted"]
    );
    // What was recorded offline and is older than the free history was removed by that rule (K10).
    let beyond_history = home.left_by(Rule::HistoryExceeded);
    assert!((20..=32).contains(&beyond_history.len()), "{} segments", beyond_history.len());

    // July: suspended, and resumed during the hold (K9): nothing is lost.
    home.until("2027-07-01T00:00:00Z");
    home.cloud_says(paid_until(plus(), "2028-07-01T00:00:00Z"));
    home.internet(false);
    home.until("2027-07-03T00:00:00Z");
    home.cloud_says(standing(Status::Suspended, paid_until(plus(), "2028-07-01T00:00:00Z")));
    home.internet(true);
    home.until("2027-07-05T23:00:00Z");
    home.cloud_says(paid_until(plus(), "2028-07-01T00:00:00Z"));
    assert_eq!(
        home.diary(),
        [
            "2027-07-01T00:00:00 records 1080 lines with audio",
            "2027-07-01T00:00:00 says plus-monthly active granted",
            "2027-07-03T00:00:00 dark",
            "2027-07-03T00:00:00 says plus-monthly suspended suspended",
            "2027-07-05T23:00:00 records 1080 lines with audio",
            "2027-07-05T23:00:00 says plus-monthly active granted"
        ]
    );
    home.until("2027-07-06T06:00:00Z");
    assert_eq!(home.left.len(), home.sealed.len(), "what was held has been sent");
    assert_eq!(home.left_by(Rule::HoldExpired), []);

    // August: suspended, and resumed after the hold: what was pending is removed, by its rule and no sooner.
    home.until("2027-08-01T00:00:00Z");
    home.internet(false);
    home.until("2027-08-02T00:00:00Z");
    home.cloud_says(standing(Status::Suspended, paid_until(plus(), "2028-07-01T00:00:00Z")));
    home.until("2027-08-04T23:59:59Z");
    assert_eq!(home.left_by(Rule::HoldExpired), []);
    home.until("2027-08-05T00:01:00Z");
    let held = home.left_by(Rule::HoldExpired).len();
    assert_eq!(held, 4, "a day's segments");
    home.internet(true);
    home.until("2027-08-10T00:00:00Z");
    home.cloud_says(paid_until(plus(), "2027-09-10T00:00:00Z"));
    home.diary();

    // September: two weeks without internet, in which the lease ends. It records during the grace period,
    // keeps what it has, and sends all of it when it hears of the renewal.
    home.until("2027-09-01T00:00:00Z");
    home.internet(false);
    home.until("2027-09-15T00:00:00Z");
    home.internet(true);
    home.cloud_says(paid_until(plus(), "2027-12-01T00:00:00Z"));
    assert_eq!(
        home.diary(),
        [
            "2027-09-13T00:00:00 dark",
            "2027-09-13T00:00:00 says plus-monthly active lapsed",
            "2027-09-15T00:00:00 records 1080 lines with audio",
            "2027-09-15T00:00:00 says plus-monthly active granted"
        ]
    );
    home.until("2027-09-15T12:00:00Z");
    assert_eq!(home.left_by(Rule::HoldExpired).len(), held, "nothing more was purged");
    assert_eq!(home.left.len(), home.sealed.len());

    // November: the service is ended. Nothing pending is kept.
    home.until("2027-11-22T00:00:00Z");
    home.internet(false);
    home.until("2027-11-23T00:00:00Z");
    home.cloud_says(standing(Status::Terminated, paid_until(plus(), "2028-07-01T00:00:00Z")));
    assert_eq!(
        home.diary(),
        ["2027-11-23T00:00:00 dark", "2027-11-23T00:00:00 says plus-monthly terminated terminated"]
    );
    assert_eq!(home.left_by(Rule::Terminated).len(), 4);
    assert_eq!(home.left.len(), home.sealed.len());

    // All of it was sent or removed by a rule; the owner's choice is what it was on the first day (K12).
    assert_eq!(home.rig.machine.privacy(), Privacy::Record);
}

/// A camera whose lease ends on 1 December, and its grace period three days later.
fn until_december() -> Start {
    Start { entitlement: Recalled::Is(paid_until(plus(), "2026-12-01T00:00:00Z")), ..allowed() }
}

#[test]
fn a_clock_that_is_set_back_stretches_no_lease() {
    let mut home = Household::with(Rig::new(until_december()));
    home.until("2026-11-30T00:00:00Z");
    home.diary();
    // The clock is no longer synchronised, and it says October.
    home.rig.now.synchronised = false;
    home.rig.now.system = utc("2026-10-01T00:00:00Z");
    home.until("2026-10-04T23:59:59Z");
    assert_eq!(home.diary(), [""; 0]);
    home.until("2026-10-05T00:00:01Z");
    assert_eq!(home.diary()[0], "2026-10-05T00:00:00 dark", "four days and a moment after 30 November");
}

#[test]
fn a_clock_that_was_right_for_one_moment_is_remembered() {
    // It was stored for a year: the floor is a year old. The first trusted time shows that everything has
    // ended.
    let floor = utc("2025-11-23T00:00:00Z");
    let lapsed = paid_until(plus(), "2026-11-01T00:00:00Z");
    let mut home =
        Household::with(Rig::new(Start { floor, entitlement: Recalled::Is(lapsed.clone()), ..allowed() }));
    assert!(home.rig.open.is_none());
    home.rig.now.synchronised = false;
    home.rig.now.system = utc("2026-10-01T00:00:00Z");
    home.pass(Duration::from_secs(1));
    assert!(home.rig.open.is_none(), "what has passed has passed");
}

#[test]
fn a_moment_of_true_time_outlives_a_cut_of_the_power() {
    let floor = utc("2025-11-23T00:00:00Z");
    let lapsed = paid_until(plus(), "2026-11-01T00:00:00Z");
    let start = |floor| Start { floor, entitlement: Recalled::Is(lapsed.clone()), ..allowed() };
    let mut rig = Rig::new(start(floor));
    let kept = rig.take().into_iter().find_map(|asked| match asked {
        Asked::Keep(Fact::Floor(time)) => Some(time),
        _ => None,
    });
    let now = Now { mono: Mono(0), system: utc("2026-10-01T00:00:00Z"), synchronised: false };
    let again = Rig::at(start(kept.expect("the floor is written at once")), now);
    assert!(again.open.is_none());
}

#[test]
fn a_camera_that_boots_in_1970_goes_by_its_floor() {
    let now = Now { mono: Mono(20_000_000_000), system: Utc(20_000_000_000), synchronised: false };
    let mut home =
        Household::with(Rig::at(Start { floor: utc("2026-12-03T23:00:00Z"), ..until_december() }, now));
    assert!(home.rig.open.is_some(), "by the floor an hour of the grace is left");
    home.pass(HOUR - Duration::from_secs(1));
    assert!(home.rig.open.is_some());
    home.pass(Duration::from_secs(1));
    assert!(home.rig.open.is_none(), "the hour is over, whatever year the clock says");
    assert!(home.left.is_empty(), "and no rule that goes by time acts on such a clock");
}

#[test]
fn a_clock_that_jumps_ahead_purges_nothing_and_is_forgiven() {
    let mut home = Household::with(Rig::new(until_december()));
    home.store_answers = false;
    let serial = home.rig.seal();
    home.rig.now.synchronised = false;
    home.rig.now.system = utc("2099-01-01T00:00:00Z");
    for _ in 0..200 {
        home.pass(HOUR);
    }
    assert!(home.rig.open.is_none(), "by that clock the lease has lapsed");
    assert!(!home.left.contains_key(&serial), "nothing is purged by it");
    home.rig.now.synchronised = true;
    home.rig.now.system = utc("2026-12-01T20:00:00Z");
    home.store_answers = true;
    home.pass(HOUR);
    assert!(home.rig.open.is_some());
    assert_eq!(home.left.get(&serial), Some(&Rule::Stored));
}

/// The seconds after which a signed and an unsigned 32-bit count wrap.
const ENDS_OF_TIME: [&str; 2] = ["2038-01-19T03:14:08Z", "2106-02-07T06:28:16Z"];

#[test]
fn plans_change_in_the_second_in_which_32_bits_overflow() {
    for date in ENDS_OF_TIME {
        let overflow = utc(date);
        // Seventeen seconds away from every minute at which the camera wakes anyway.
        let start = (overflow - DAY - Duration::from_secs(17)).to_string();
        let mut home = Household::unpacked_on(&start);
        home.owner_allows_recording();
        let next = Some(Next { from: overflow, not_after: None, terms: free() });
        let not_after = overflow + 30 * DAY;
        home.cloud_says(Lease { next, not_after, terms: plus(), ..lease(0) });
        home.until(&(overflow - Duration::from_secs(1)).to_string());
        home.diary();
        home.until(&(overflow + DAY).to_string());
        let second = &date[..19];
        assert_eq!(
            home.diary(),
            [format!("{second} records 720 lines"), format!("{second} says free active granted")]
        );
    }
}

#[test]
fn leases_are_renewed_and_lapse_beyond_2038_and_2106() {
    for date in ENDS_OF_TIME {
        let overflow = utc(date);
        let mut home = Household::unpacked_on(&(overflow - 2 * DAY).to_string());
        home.owner_allows_recording();
        home.cloud_says(Lease { not_after: overflow - DAY, terms: plus(), ..lease(0) });
        home.diary();
        home.until(&(overflow + HOUR).to_string());
        home.cloud_says(Lease { not_after: overflow + 2 * DAY, terms: plus(), ..lease(0) });
        assert_eq!(home.diary(), [""; 0], "the grace reaches over it, and so does the renewal");
        home.until(&(overflow + 6 * DAY).to_string());
        let lapsed = (overflow + 5 * DAY).to_string();
        assert_eq!(home.diary()[0], format!("{} dark", &lapsed[..19]));
        assert_eq!(home.left.len(), home.sealed.len());
    }
}
