//! The plans of this cloud, and the claims of leases and privacy choices.

use crate::command::Plan;
use kasacam::domain::time::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const PLANS: &str = include_str!("plans.toml");

/// The default duration of a lease.
const LEASE_TIME: Duration = Duration::from_secs(30 * 86_400);

/// A plan, as `plans.toml` describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sold {
    id: String,
    features: Features,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Features {
    record: bool,
    audio: bool,
    max_height: u32,
    history_hours: u32,
    /// Permitted by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h265: Option<bool>,
}

/// The claims of a privacy choice.
pub(crate) fn privacy(device: &str, version: u64, now: Utc, do_not_record: bool) -> Value {
    json!({"device_id": device, "version": version, "issued_at": now, "do_not_record": do_not_record})
}

/// The claims of a lease.
///
/// # Errors
/// The plan, its status or a time is not valid.
pub(crate) fn entitlement(device: &str, version: u64, now: Utc, plan: &Plan) -> Result<Value, String> {
    let not_after = match &plan.not_after {
        Some(text) => time(text, now)?,
        None => now + LEASE_TIME,
    };
    let mut claims =
        json!({"device_id": device, "version": version, "issued_at": now, "not_after": not_after});
    let next = match (&plan.next_from, &plan.next_plan) {
        (Some(from), Some(next)) => {
            let mut terms = terms(&Plan::named(next))?;
            let from = time(from, now)?;
            insert(&mut terms, "from", json!(from));
            insert(&mut terms, "not_after", json!(from + LEASE_TIME));
            Some(terms)
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err("next_from and next_plan need each other".into());
        }
    };
    if let Value::Object(terms) = terms(plan)? {
        for (key, value) in terms {
            insert(&mut claims, &key, value);
        }
    }
    if let Some(next) = next {
        insert(&mut claims, "next", next);
    }
    Ok(claims)
}

fn terms(plan: &Plan) -> Result<Value, String> {
    let mut plans: BTreeMap<String, Sold> = toml::from_str(PLANS).map_err(|e| format!("plans.toml: {e}"))?;
    let Sold { id, features } = plans.remove(&plan.plan).ok_or("the plan is free, plus or premium")?;
    if !["active", "past_due", "suspended", "terminated"].contains(&plan.status.as_str()) {
        return Err("the status is active, past_due, suspended or terminated".into());
    }
    Ok(json!({
        "plan": {"id": id, "tier": plan.plan},
        "status": plan.status,
        "features": Features {
            record: plan.record.unwrap_or(features.record),
            audio: plan.audio.unwrap_or(features.audio),
            max_height: plan.max_height.unwrap_or(features.max_height),
            history_hours: plan.history_hours.unwrap_or(features.history_hours),
            h265: plan.h265.or(features.h265),
        },
    }))
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// RFC 3339, or a duration such as `+10s` from now (`-10s`: before now).
fn time(text: &str, now: Utc) -> Result<Utc, String> {
    let duration = |text: &str| humantime::parse_duration(text).ok();
    let found = if let Some(later) = text.strip_prefix('+') {
        duration(later).map(|later| now + later)
    } else if let Some(earlier) = text.strip_prefix('-') {
        duration(earlier).map(|earlier| now - earlier)
    } else {
        Utc::parse(text)
    };
    found.ok_or_else(|| format!("\"{text}\" is neither RFC 3339 ending in Z nor a duration such as +10s"))
}
