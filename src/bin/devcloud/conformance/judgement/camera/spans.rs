//! Objects in order: spans without gaps, one after the other, each with its end.

use super::super::row::{Rule, Verdict, not_checked, unless};
use super::named::{Named, form, frame, lasts};
use super::seen::{CameraSeen, Message, ObjectSeen};
use serde_json::Value;

/// How far apart frames of a network camera may be.
const SLACK: u32 = 5;

pub(crate) const RULES: &[Rule<CameraSeen>] = &[
    Rule {
        id: "span.order",
        asks: "in the order of keys, spans follow each other, and each counts up by one",
        clause: "storage.md#playing-what-is-stored",
        says: "The order of keys is the order of time.",
        judge: order,
    },
    Rule {
        id: "span.seamless",
        asks: "within a span each segment begins when the one before ends",
        clause: "contract.md#4-objects",
        says: "no gap in time between its segments",
        judge: seamless,
    },
    Rule {
        id: "span.moov",
        asks: "one `moov` describes all of a span",
        clause: "contract.md#4-objects",
        says: "and one `moov` describes every fragment in it",
        judge: moov,
    },
    Rule {
        id: "span.end",
        asks: "every span except the newest has one end, after its last segment",
        clause: "contract.md#4-objects",
        says: "whose counter is the last plus 1, whose extension is `mp4_end`",
        judge: ends,
    },
];

struct Placed<'a> {
    named: Named,
    span: &'a str,
    object: &'a ObjectSeen,
}

/// Objects with a key and a span, in the order of keys; others have other rows.
fn placed(seen: &CameraSeen) -> Result<Vec<Placed<'_>>, Verdict> {
    let form = form(seen);
    let objects = seen.objects.as_ref().map_err(|why| not_checked(why.as_str()))?;
    let mut placed: Vec<Placed<'_>> = objects
        .iter()
        .filter_map(|object| {
            let named = Named::parse(&object.key, &form)?;
            let of_file = || Some(object.layout.as_ref()?.as_ref().ok()?.record.span.as_str());
            let span = of_file().or_else(|| object.metadata.get("span").map(String::as_str))?;
            Some(Placed { named, span, object })
        })
        .collect();
    placed.sort_by(|a, b| a.object.key.cmp(&b.object.key));
    if placed.is_empty() { Err(not_checked("nothing was stored")) } else { Ok(placed) }
}

fn pairs<'a, 'b>(placed: &'b [Placed<'a>]) -> impl Iterator<Item = (&'b Placed<'a>, &'b Placed<'a>)> {
    placed.iter().zip(placed.iter().skip(1))
}

/// Whether an event reported that footage of this span was purged unsent.
fn was_let_go(seen: &CameraSeen, span: &str) -> bool {
    seen.live.iter().filter(|it| it.topic == "event").filter_map(Message::json).any(|event| {
        let is = |name: &str, wanted: &str| event.get(name).and_then(Value::as_str) == Some(wanted);
        is("event", "segment_purged") && is("span", span)
    })
}

fn order(seen: &CameraSeen) -> Verdict {
    let placed = match placed(seen) {
        Ok(placed) => placed,
        Err(verdict) => return verdict,
    };
    let (mut wrong, mut over): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for (before, after) in pairs(&placed) {
        let key = &after.object.key;
        if before.span != after.span {
            over.push(before.span);
            if over.contains(&after.span) {
                wrong.push(format!("{key}: its span had ended before"));
            } else if after.named.n != 0 && !was_let_go(seen, after.span) {
                wrong.push(format!("{key}: its span begins with {}", after.named.n));
            }
        } else if after.named.n != before.named.n + 1 && !was_let_go(seen, after.span) {
            wrong.push(format!("{key}: it comes after {}", before.named.n));
        }
    }
    unless(&wrong, format!("{} spans, {} objects", over.len() + 1, placed.len()))
}

/// Consecutive segments of one span.
fn neighbours<'a>(placed: &'a [Placed<'a>]) -> Vec<(&'a Placed<'a>, &'a Placed<'a>)> {
    let are = |(before, after): &(&Placed<'_>, &Placed<'_>)| {
        before.span == after.span
            && after.named.n == before.named.n + 1
            && !after.named.is_end
            && !before.named.is_end
    };
    pairs(placed).filter(are).collect()
}

fn seamless(seen: &CameraSeen) -> Verdict {
    let placed = match placed(seen) {
        Ok(placed) => placed,
        Err(verdict) => return verdict,
    };
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for (before, after) in neighbours(&placed) {
        let Some(Ok(layout)) = &before.object.layout else { continue };
        looked += 1;
        let end = before.named.at + lasts(layout);
        let off = end.since(after.named.at).max(after.named.at.since(end));
        if off > frame(layout) * SLACK {
            wrong.push(format!("{}: {} ms off", after.object.key, off.as_millis()));
        }
    }
    if looked == 0 {
        not_checked("no span has two segments")
    } else {
        unless(&wrong, format!("{looked} borders"))
    }
}

fn moov(seen: &CameraSeen) -> Verdict {
    let placed = match placed(seen) {
        Ok(placed) => placed,
        Err(verdict) => return verdict,
    };
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for (before, after) in neighbours(&placed) {
        let (Some(Ok(one)), Some(Ok(other))) = (&before.object.layout, &after.object.layout) else {
            continue;
        };
        looked += 1;
        if one.init.bytes != other.init.bytes {
            wrong.push(format!("{}: its moov differs", after.object.key));
        }
    }
    if looked == 0 {
        not_checked("no span has two segments")
    } else {
        unless(&wrong, format!("{looked} borders"))
    }
}

fn ends(seen: &CameraSeen) -> Verdict {
    let placed = match placed(seen) {
        Ok(placed) => placed,
        Err(verdict) => return verdict,
    };
    let mut wrong = Vec::new();
    for (before, after) in pairs(&placed) {
        if before.span != after.span && !before.named.is_end {
            wrong.push(format!("{}: its span has no end", before.object.key));
        }
        if before.span == after.span && before.named.is_end {
            wrong.push(format!("{}: it comes after the end of its span", after.object.key));
        }
    }
    let count = placed.iter().filter(|it| it.named.is_end).count();
    unless(&wrong, format!("{count} ends"))
}
