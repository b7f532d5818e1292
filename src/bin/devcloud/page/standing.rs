//! The last reports of the camera, and its figures of the last hour, from the lines of `events.jsonl`. Pure.

use super::bands::{Away, Opened};
use kasacam::domain::time::Utc;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// The largest number of events to show.
const MAX_EVENTS: usize = 60;
/// How long figures are kept; at most one every two seconds.
const HISTORY_TIME: Duration = Duration::from_secs(3600);
const MAX_FIGURES: usize = 1800;
/// Rates are means over this time: over two seconds, they would be those of one segment or none.
const RATE_WINDOW: Duration = Duration::from_secs(12);
/// The largest number of times of open devices and lost sessions to remember; the oldest are removed first.
const MAX_TIMES: usize = 10_000;

/// One point of the charts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Milliseconds of Unix time.
    pub at: i64,
    /// Bytes per second that the store has proved.
    pub upload_rate: f64,
    /// Captured frames per second.
    pub frame_rate: f64,
    /// Sealed files that are not stored yet.
    pub pending: f64,
    /// Bytes in the spool.
    pub spool: f64,
    /// From the end of capture of the last stored segment to its proof, in milliseconds.
    pub latency: f64,
}

/// The camera's counters at a moment.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Utc,
    stored: f64,
    captured: f64,
}

/// The owner's last choice on its way to the device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Switched {
    pub do_not_record: bool,
    /// When the choice left the broker.
    pub left_at: Utc,
    /// From then until the device was closed, or open again, by the camera's clock; absent until the camera reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
}

/// The state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    choice: Option<Value>,
    lease: Option<Value>,
    privacy: Option<Value>,
    entitlement: Option<Value>,
    status: Option<Value>,
    telemetry: Option<(Utc, Value)>,
    switched: Option<Switched>,
    events: VecDeque<Value>,
    history: VecDeque<Figures>,
    counted: VecDeque<Counted>,
    pub opened: VecDeque<Opened>,
    pub away: VecDeque<Away>,
}

impl Standing {
    /// Takes one line; returns whether it changes what is shown.
    pub(crate) fn hear(&mut self, line: &Value, device: &str) -> bool {
        let Some(at) = line.get("at").and_then(Value::as_str).and_then(Utc::parse) else {
            return false;
        };
        match line.get("event").and_then(Value::as_str) {
            Some("message") => self.message(line, device, at),
            Some("broker") => {
                if line.get("up").and_then(Value::as_bool) == Some(false) {
                    self.leaves(at);
                }
                true
            }
            Some("store" | "broker_lost" | "broker_connected") => true,
            Some(_) | None => false,
        }
    }

    fn message(&mut self, line: &Value, device: &str, at: Utc) -> bool {
        let topic = line.get("topic").and_then(Value::as_str).unwrap_or_default();
        let Some((of, topic)) = topic.strip_prefix("kasacam/v1/").and_then(|rest| rest.split_once('/'))
        else {
            return false;
        };
        if of != device {
            return false;
        }
        let retained = line.get("retained").and_then(Value::as_bool).unwrap_or(false);
        let payload = || line.get("payload").cloned();
        let claims = || line.get("claims").cloned();
        match topic {
            "privacy/desired" => self.chosen(claims(), at, retained),
            "privacy/reported" => self.reported(payload(), at),
            "entitlement/desired" => self.lease = claims().or(self.lease.take()),
            "entitlement/reported" => self.entitlement = payload().or(self.entitlement.take()),
            "status" => self.said_status(payload(), at, retained),
            "telemetry" => self.figures(payload(), at),
            "event" => self.event(payload(), at),
            _ => return false,
        }
        true
    }

    fn chosen(&mut self, claims: Option<Value>, at: Utc, retained: bool) {
        let Some(claims) = claims else { return };
        // A retained message left the broker earlier.
        if let (false, Some(do_not_record)) = (retained, flag(&claims, "/do_not_record")) {
            self.switched = Some(Switched { do_not_record, left_at: at, took_ms: None });
        }
        self.choice = Some(claims);
    }

    fn reported(&mut self, payload: Option<Value>, at: Utc) {
        let Some(report) = payload else { return };
        let applied = text(&report, "/applied_at").and_then(Utc::parse).unwrap_or(at);
        let private = flag(&report, "/do_not_record") == Some(true);
        let open = match text(&report, "/capture") {
            Some("open") => Some(true),
            Some("closed") => Some(false),
            Some(_) | None => None,
        };
        if let Some(switched) = &mut self.switched {
            let done = open == Some(!switched.do_not_record) && private == switched.do_not_record;
            let of_it = report.get("version") == self.choice.as_ref().and_then(|c| c.get("version"));
            if done && of_it && switched.took_ms.is_none() {
                let micros = applied.0.saturating_sub(switched.left_at.0) / 1000;
                switched.took_ms = Some(f64::from(i32::try_from(micros).unwrap_or(i32::MAX)) / 1000.0);
            }
        }
        match open {
            Some(true) => self.opens(applied),
            Some(false) => self.closes(applied, if private { "privacy" } else { "unknown" }),
            None => {}
        }
        self.privacy = Some(report);
    }

    fn said_status(&mut self, payload: Option<Value>, at: Utc, retained: bool) {
        let Some(status) = payload else { return };
        match flag(&status, "/online") {
            Some(true) if !retained => self.is_back(at),
            Some(false) => {
                self.leaves(at);
            }
            Some(true) | None => {}
        }
        self.status = Some(status);
    }

    fn event(&mut self, payload: Option<Value>, at: Utc) {
        let Some(mut event) = payload.filter(Value::is_object) else { return };
        match text(&event, "/event") {
            Some("capture_opened") => self.opens(at),
            Some("capture_closed") => {
                let why = text(&event, "/reason").unwrap_or("unknown").to_owned();
                self.closes(at, &why);
                if let Some(last) = self.opened.back_mut() {
                    last.why = why;
                }
            }
            Some(_) | None => {}
        }
        if let Some(event) = event.as_object_mut() {
            event.insert("at".into(), json!(at));
        }
        self.events.push_front(event);
        self.events.truncate(MAX_EVENTS);
    }

    fn figures(&mut self, payload: Option<Value>, at: Utc) {
        let Some(now) = payload else { return };
        self.is_back(at);
        let mut figures = Figures {
            at: at.0 / 1_000_000,
            pending: number(&now, "/spool/pending"),
            spool: number(&now, "/spool/bytes"),
            latency: number(&now, "/upload/last_latency_ms"),
            ..Figures::default()
        };
        let counted = Counted {
            at,
            stored: number(&now, "/upload/stored_bytes"),
            captured: number(&now, "/capture/frames_captured"),
        };
        // After a restart, the camera counts from 0 again.
        self.counted.retain(|c| at.since(c.at) <= RATE_WINDOW && c.captured <= counted.captured);
        if let Some(then) = self.counted.front() {
            let seconds = at.since(then.at).as_secs_f64().max(0.1);
            figures.upload_rate = (counted.stored - then.stored).max(0.0) / seconds;
            figures.frame_rate = (counted.captured - then.captured) / seconds;
        }
        self.counted.push_back(counted);
        let old = figures.at - i64::try_from(HISTORY_TIME.as_millis()).unwrap_or(i64::MAX);
        self.history.retain(|point| point.at >= old);
        if self.history.back().is_none_or(|last| figures.at - last.at >= 1900) {
            self.history.push_back(figures);
        }
        while self.history.len() > MAX_FIGURES {
            self.history.pop_front();
        }
        self.telemetry = Some((at, now));
    }

    fn opens(&mut self, at: Utc) {
        if self.opened.back().is_some_and(|last| last.until.is_none()) {
            return;
        }
        keep(&mut self.opened, Opened { from: at, until: None, why: "unknown".into() });
    }

    fn closes(&mut self, at: Utc, why: &str) {
        if let Some(last) = self.opened.back_mut().filter(|last| last.until.is_none()) {
            last.until = Some(at.max(last.from));
            last.why = why.into();
        }
    }

    fn leaves(&mut self, at: Utc) {
        if self.away.back().is_none_or(|last| last.until.is_some()) {
            keep(&mut self.away, Away { from: at, until: None });
        }
    }

    fn is_back(&mut self, at: Utc) {
        if let Some(last) = self.away.back_mut().filter(|last| last.until.is_none()) {
            last.until = Some(at);
        }
    }

    /// What the page shows, without the state of the cloud itself.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "choice": self.choice,
            "lease": self.lease,
            "privacy": self.privacy,
            "entitlement": self.entitlement,
            "status": self.status,
            "telemetry": self.telemetry.as_ref().map(|(_, telemetry)| telemetry),
            "telemetry_at": self.telemetry.as_ref().map(|(at, _)| at),
            "rates": self.history.back(),
            "away": self.away.back().is_some_and(|last| last.until.is_none()),
            "switched": self.switched,
            "events": self.events,
        })
    }

    pub(crate) fn history(&self) -> Vec<Figures> {
        self.history.iter().copied().collect()
    }
}

fn keep<T>(times: &mut VecDeque<T>, new: T) {
    times.push_back(new);
    while times.len() > MAX_TIMES {
        times.pop_front();
    }
}

fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path).and_then(Value::as_str)
}

fn flag(value: &Value, path: &str) -> Option<bool> {
    value.pointer(path).and_then(Value::as_bool)
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}
