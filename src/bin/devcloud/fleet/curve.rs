//! What a fleet did in each second, from the logs of broker and cloud. Pure.

use kasacam::domain::time::Utc;
use serde_json::Value;
use std::collections::BTreeMap;

/// Values by whole seconds since 1970.
pub(crate) type Curve = BTreeMap<i64, u64>;

/// A time in whole seconds.
pub(crate) fn second(at: Utc) -> i64 {
    at.0.div_euclid(1_000_000_000)
}

/// The connections to the broker: second and client, from mosquitto's log (`log_type notice`).
pub(crate) fn connections(log: &str) -> Vec<(i64, &str)> {
    let read = |line: &'_ str| -> Option<(i64, usize, usize)> {
        let (time, message) = line.split_once(": ")?;
        if !message.starts_with("New client connected from ") {
            return None;
        }
        let from = line.find(" as ")? + 4;
        let client = line.get(from..)?.split(' ').next()?;
        Some((time.parse().ok()?, from, from + client.len()))
    };
    log.lines()
        .filter_map(|line| read(line).map(|(at, from, to)| (at, line.get(from..to).unwrap_or(""))))
        .collect()
}

/// How many in each second from the first to the last, including seconds with none.
pub(crate) fn each_second(times: impl IntoIterator<Item = i64>) -> Curve {
    let mut curve = Curve::new();
    for at in times {
        *curve.entry(at).or_default() += 1;
    }
    if let (Some((first, _)), Some((last, _))) = (curve.first_key_value(), curve.last_key_value()) {
        for at in *first..=*last {
            curve.entry(at).or_default();
        }
    }
    curve
}

/// What the cloud saw, from `events.jsonl`.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Messages of cameras, by topic below the device.
    pub messages: BTreeMap<String, Curve>,
    /// Objects that were stored.
    pub stored: Curve,
    /// Segments waiting on all cameras, by their latest telemetry.
    pub backlog: Curve,
    /// Objects by the device in their key.
    pub objects: BTreeMap<String, u64>,
    /// Keys whose device differs from the one in the metadata.
    pub foreign: Vec<String>,
}

/// Reads the lines of `events.jsonl`; other lines are skipped.
pub(crate) fn heard<'a>(lines: impl IntoIterator<Item = &'a str>) -> Heard {
    let mut heard = Heard::default();
    let mut pending: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines.into_iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |path: &str| line.pointer(path).and_then(Value::as_str);
        let Some(at) = text("/at").and_then(Utc::parse).map(second) else { continue };
        match text("/event") {
            Some("message") => {
                let Some((device, topic)) =
                    text("/topic").and_then(|topic| topic.strip_prefix("kasacam/v1/")?.split_once('/'))
                else {
                    continue;
                };
                if topic.ends_with("desired") || topic.ends_with("response") {
                    continue;
                }
                *heard.messages.entry(topic.to_owned()).or_default().entry(at).or_default() += 1;
                if let Some(waits) = line.pointer("/payload/spool/pending").and_then(Value::as_u64) {
                    pending.insert(device.to_owned(), waits);
                    heard.backlog.insert(at, pending.values().sum());
                }
            }
            Some("object_stored") => {
                *heard.stored.entry(at).or_default() += 1;
                let key = text("/key").unwrap_or_default();
                let device =
                    key.strip_prefix("v1/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
                *heard.objects.entry(device.to_owned()).or_default() += 1;
                if text("/metadata/device-id") != Some(device) {
                    heard.foreign.push(key.to_owned());
                }
            }
            _ => {}
        }
    }
    heard
}

/// The peak of any second in a range.
pub(crate) fn most(curve: &Curve, from: i64, to: i64) -> u64 {
    curve.range(from..to).map(|(_, value)| *value).max().unwrap_or(0)
}

/// The sum over a range.
pub(crate) fn sum(curve: &Curve, from: i64, to: i64) -> u64 {
    curve.range(from..to).map(|(_, value)| value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "1700000000: mosquitto version 2.0.18 starting\n\
        1700000001: New connection from 127.0.0.1:5 on port 8883.\n\
        1700000001: New client connected from 127.0.0.1:5 as cam-1 (p5, c0, k60, u'cam-1').\n\
        1700000004: New client connected from 127.0.0.1:6 as cloud (p5, c1, k10, u'cloud').\n\
        1700000004: New client connected from 127.0.0.1:7 as cam-2 (p5, c0, k60, u'cam-2').\n\
        no time: New client connected from 127.0.0.1:7 as cam-3 (p5)\n";

    #[test]
    fn connections_are_read_from_the_log_of_the_broker() {
        let found = connections(LOG);
        assert_eq!(found, [(1_700_000_001, "cam-1"), (1_700_000_004, "cloud"), (1_700_000_004, "cam-2")]);
        let curve = each_second(found.iter().map(|(at, _)| *at));
        assert_eq!(curve.into_values().collect::<Vec<_>>(), [1, 0, 0, 2]);
    }

    #[test]
    fn the_latest_figures_of_all_cameras_are_the_backlog_and_a_strange_object_is_found() {
        let status = |device: &str, second: u32, pending: u64| {
            format!(
                r#"{{"at":"2026-11-26T12:00:{second:02}Z","event":"message","topic":"kasacam/v1/{device}/telemetry",
                "payload":{{"spool":{{"pending":{pending}}}}}}}"#
            )
            .replace('\n', "")
        };
        let stored = |key: &str, device: &str| {
            format!(
                r#"{{"at":"2026-11-26T12:00:09Z","event":"object_stored","key":"{key}","metadata":{{"device-id":"{device}"}}}}"#
            )
        };
        let lines = [
            status("a", 1, 3),
            status("b", 2, 4),
            status("a", 3, 1),
            stored("v1/a/2026-11-26/12/00-00.000000Z.0.mp4", "a"),
            stored("v1/a/2026-11-26/12/00-00.000000Z.1.mp4", "b"),
            "torn {".to_owned(),
        ];
        let heard = heard(lines.iter().map(String::as_str));
        assert_eq!(heard.backlog.values().copied().collect::<Vec<_>>(), [3, 7, 5]);
        assert_eq!(heard.messages["telemetry"].values().sum::<u64>(), 3);
        assert_eq!(heard.objects["a"], 2);
        assert_eq!(heard.foreign, ["v1/a/2026-11-26/12/00-00.000000Z.1.mp4"]);
        assert_eq!(most(&heard.backlog, 0, i64::MAX), 7);
        assert_eq!(sum(&heard.stored, 0, i64::MAX), 2);
    }
}
