//! Each object by itself: its key, its metadata, and the file.

use super::super::row::{Rule, Verdict, not_checked, unless};
use super::named::{Named, form, lasts};
use super::seen::{CameraSeen, ObjectSeen};
use kasacam::domain::segment::KeyForm;
use kasacam::domain::time::Utc;
use kasacam::fmp4::Layout;
use std::time::Duration;

/// A key moves by microseconds where another object has it already.
const MAX_KEY_SHIFT: Duration = Duration::from_millis(1);
const METADATA: [&str; 7] = ["device-id", "duration-ms", "span", "boot-id", "plan", "history-hours", "clock"];
const REASONS: [&str; 8] =
    ["privacy", "entitlement", "storage", "source", "clock", "format", "shutdown", "power"];

pub(crate) const RULES: &[Rule<CameraSeen>] = &[
    Rule {
        id: "object.key",
        asks: "each key is below the camera's prefix and of the form of the contract",
        clause: "contract.md#4-objects",
        says: "**Key**: `{prefix}{device_id}/YYYY-MM-DD/HH/MM-SS.ffffffZ.{n}.mp4`",
        judge: |seen| {
            each(seen, |object, form| {
                let wrong = Named::parse(&object.key, form).is_none();
                wrong.then(|| "the key is not of its form".to_owned())
            })
        },
    },
    Rule {
        id: "object.metadata",
        asks: "each object has its metadata",
        clause: "contract.md#4-objects",
        says: "metadata `device-id`, `duration-ms`, `span`, `boot-id`, `plan`, `history-hours`, `clock` (`trusted`, `plausible` or `corrected`)",
        judge: |seen| each(seen, |object, _| metadata(object)),
    },
    Rule {
        id: "object.reason",
        asks: "the end of a span has a reason of the contract, and no bytes",
        clause: "contract.md#4-objects",
        says: "Its metadata `reason` is ours",
        judge: reasons,
    },
    Rule {
        id: "object.type",
        asks: "`Content-Type` is video/mp4 with codecs",
        clause: "contract.md#4-objects",
        says: "`Content-Type: video/mp4; codecs=\"…\"` (RFC 6381).",
        judge: |seen| {
            segments(seen, |object, _| {
                let is_right = |kind: &String| kind.replace(' ', "").starts_with("video/mp4;codecs=\"avc1.");
                (!object.content_type.as_ref().is_some_and(is_right)).then(|| "it is another one".to_owned())
            })
        },
    },
    Rule {
        id: "object.checksum",
        asks: "the bytes are those of the checksum",
        clause: "contract.md#4-objects",
        says: "its SHA-256 checksum, which the store must check",
        judge: checksums,
    },
    Rule {
        id: "object.boxes",
        asks: "each segment is a whole fMP4 that begins with an IDR frame and ends with its `mfra`",
        clause: "contract.md#4-objects",
        says: "as its last box an `mfra` that lists of each track every `moof` that begins with a sync sample",
        judge: |seen| {
            each_file(seen, |layout, _| {
                (!layout.complete).then(|| "it does not end with its mfra".to_owned())
            })
        },
    },
    Rule {
        id: "object.zero",
        asks: "the media times of each segment begin at zero",
        clause: "contract.md#4-objects",
        says: "the earliest `tfdt` of its first `moof` is 0, whichever of its span it is",
        judge: |seen| {
            segments(seen, |_, layout| {
                let first = layout.chunks.first()?.runs.iter().map(|run| run.decode_time).min()?;
                (first != 0).then(|| format!("it begins at {first}"))
            })
        },
    },
    Rule {
        id: "object.record",
        asks: "the record in the file says what the key and the metadata say",
        clause: "contract.md#5-the-spool",
        says: "What the cloud needs to know of a segment travels in the file itself",
        judge: |seen| {
            let form = form(seen);
            segments(seen, |object, layout| record(object, layout, &form))
        },
    },
    Rule {
        id: "object.duration",
        asks: "`duration-ms` is what the frames last",
        clause: "storage.md#the-onvif-mapping",
        says: "`duration-ms` is from the first frame's presentation to the end of the last one's",
        judge: |seen| {
            segments(seen, |object, layout| {
                let told: u64 = object.metadata.get("duration-ms")?.parse().ok()?;
                let lasts = u64::try_from(lasts(layout).as_millis()).unwrap_or(u64::MAX);
                // Frames that are shown in another order than they are decoded in begin a little later.
                let frame = u64::try_from(super::named::frame(layout).as_millis()).unwrap_or(0);
                (told.abs_diff(lasts) > frame * 4 + 1)
                    .then(|| format!("{told} ms are told, and {lasts} ms are there"))
            })
        },
    },
    Rule {
        id: "object.granted",
        asks: "only objects for which grants were requested are stored",
        clause: "contract.md#grants",
        says: "It asks for a presigned PUT of each object",
        judge: granted,
    },
];

fn at(object: &ObjectSeen, what: &str) -> String {
    format!("{}: {what}", object.key)
}

fn each(seen: &CameraSeen, wrong: impl Fn(&ObjectSeen, &KeyForm) -> Option<String>) -> Verdict {
    let form = form(seen);
    match &seen.objects {
        Err(why) => not_checked(why),
        Ok(objects) if objects.is_empty() => not_checked("nothing was stored"),
        Ok(objects) => {
            let found: Vec<String> =
                objects.iter().filter_map(|it| wrong(it, &form).map(|what| at(it, &what))).collect();
            unless(&found, format!("{} objects", objects.len()))
        }
    }
}

/// Judges every file, or the reason why it cannot be read.
fn each_file(seen: &CameraSeen, wrong: impl Fn(&Layout, &ObjectSeen) -> Option<String>) -> Verdict {
    let objects = match &seen.objects {
        Err(why) => return not_checked(why),
        Ok(objects) => objects,
    };
    let files: Vec<_> = objects.iter().filter_map(|it| Some((it, it.layout.as_ref()?))).collect();
    if files.is_empty() {
        return not_checked("no segment was stored");
    }
    let found: Vec<String> = files
        .iter()
        .filter_map(|(object, layout)| match layout {
            Ok(layout) => wrong(layout, object).map(|what| at(object, &what)),
            Err(why) => Some(at(object, why)),
        })
        .collect();
    unless(&found, format!("{} segments", files.len()))
}

/// Judges every file that can be read; `object.boxes` reports the others.
fn segments(seen: &CameraSeen, wrong: impl Fn(&ObjectSeen, &Layout) -> Option<String>) -> Verdict {
    let objects = match &seen.objects {
        Err(why) => return not_checked(why),
        Ok(objects) => objects,
    };
    let read = |it| -> Option<(&ObjectSeen, &Layout)> {
        let it: &ObjectSeen = it;
        Some((it, it.layout.as_ref()?.as_ref().ok()?))
    };
    let files: Vec<_> = objects.iter().filter_map(read).collect();
    if files.is_empty() {
        return not_checked("no segment was stored that can be read");
    }
    let found: Vec<String> =
        files.iter().filter_map(|(it, layout)| wrong(it, layout).map(|what| at(it, &what))).collect();
    unless(&found, format!("{} segments", files.len()))
}

fn metadata(object: &ObjectSeen) -> Option<String> {
    let is_end = object.key.ends_with(".mp4_end");
    let missing = METADATA.into_iter().filter(|name| !(is_end && *name == "duration-ms"));
    if let Some(name) = missing.into_iter().find(|name| !object.metadata.contains_key(*name)) {
        return Some(format!("it has no {name}"));
    }
    let clock = object.metadata.get("clock").map(String::as_str).unwrap_or_default();
    (!["trusted", "plausible", "corrected"].contains(&clock))
        .then(|| "clock is none of its three words".to_owned())
}

fn reasons(seen: &CameraSeen) -> Verdict {
    let objects = match &seen.objects {
        Err(why) => return not_checked(why),
        Ok(objects) => objects,
    };
    let ends: Vec<&ObjectSeen> = objects.iter().filter(|it| it.layout.is_none()).collect();
    if ends.is_empty() {
        return not_checked("no span ended");
    }
    let wrong = |it: &&ObjectSeen| {
        let reason = it.metadata.get("reason").map(String::as_str).unwrap_or_default();
        if it.size > 0 {
            Some(at(it, "it is not empty"))
        } else if REASONS.contains(&reason) {
            None
        } else {
            Some(at(it, "its reason is none of the contract"))
        }
    };
    unless(&ends.iter().filter_map(wrong).collect::<Vec<_>>(), format!("{} ends", ends.len()))
}

fn checksums(seen: &CameraSeen) -> Verdict {
    let objects = match &seen.objects {
        Err(why) => return not_checked(why),
        Ok(objects) => objects,
    };
    let told: Vec<_> = objects.iter().filter_map(|it| Some((it, it.checksum.as_ref()?))).collect();
    if told.is_empty() {
        return not_checked("the store returns no checksums");
    }
    let wrong = told.iter().filter(|(it, checksum)| it.sha256 != **checksum);
    let wrong: Vec<String> = wrong.map(|(it, _)| at(it, "the bytes are others")).collect();
    unless(&wrong, format!("{} objects", told.len()))
}

fn record(object: &ObjectSeen, layout: &Layout, form: &KeyForm) -> Option<String> {
    let record = &layout.record;
    let hours = record.history_hours.to_string();
    let pairs = [
        ("device-id", &record.device),
        ("span", &record.span),
        ("boot-id", &record.boot),
        ("plan", &record.plan),
        ("history-hours", &hours),
    ];
    for (name, value) in pairs {
        // Missing metadata have another row.
        if object.metadata.get(name).is_some_and(|told| told != value) {
            return Some(format!("{name} differs in the file"));
        }
    }
    let named = Named::parse(&object.key, form)?;
    if named.n != record.n {
        return Some(format!("the counter is {} in the file", record.n));
    }
    let near = |at: Utc| named.at.since(at) <= MAX_KEY_SHIFT && at.since(named.at) <= MAX_KEY_SHIFT;
    let trusted = object.metadata.get("clock").is_some_and(|clock| clock == "trusted");
    (trusted && !near(record.start_utc)).then(|| "the time is another in the file".to_owned())
}

fn granted(seen: &CameraSeen) -> Verdict {
    let requests: Vec<_> =
        seen.live.iter().filter(|it| it.topic == "grant/request").filter_map(|it| it.json()).collect();
    let wants: Vec<_> =
        requests.iter().filter_map(|request| request.get("want")?.as_array()).flatten().collect();
    if wants.is_empty() {
        return not_checked("no grants were requested");
    }
    let objects = match &seen.objects {
        Err(why) => return not_checked(why),
        Ok(objects) => objects,
    };
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for object in objects {
        let asked = |name: &str| {
            wants
                .iter()
                .rev()
                .find(|it| it.get("key").and_then(|key| key.as_str()) == Some(&object.key))?
                .get(name)
        };
        let (Some(size), Some(sha256)) = (asked("size"), asked("sha256")) else { continue };
        looked += 1;
        if size.as_u64() != Some(object.size) || sha256.as_str() != Some(&object.sha256) {
            wrong.push(at(object, "it was asked for with another size or checksum"));
        }
    }
    if looked == 0 {
        not_checked("nothing of it is stored")
    } else {
        unless(&wrong, format!("{looked} objects"))
    }
}
