//! The claims of the cloud, after the signature is verified.
//!
//! A claim that the contract does not name is ignored, so that a newer cloud can address an older camera. A
//! claim that it names must be present, of its type, and in its range.

use super::json::{self, Json};
use crate::domain::entitlement::{Features, Lease, Next, Plan, Status, Terms};
use crate::domain::grant::{Grant, GrantAnswer, MAX_GRANTS, Proof, Refused};
use crate::domain::input::Rejection;
use crate::domain::privacy::PrivacyChoice;
use crate::domain::time::Utc;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// 2^53 - 1: the largest integer that every JSON reader reads exactly (RFC 7493, 2.2).
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// Range of the frame height, in lines.
const HEIGHT: RangeInclusive<u64> = 1..=4320;
/// Ten years.
const HISTORY_HOURS: RangeInclusive<u64> = 0..=87_600;
/// Maximum length of a plan's id and tier in bytes: they go into the metadata of objects.
const MAX_NAME: usize = 64;
/// Maximum length of an object's key in bytes, as with S3.
const MAX_KEY: usize = 1024;
/// Maximum length of a presigned URL in bytes. Servers accept 8 KiB of a request's head.
const MAX_URL: usize = 8 * 1024;
/// Maximum number of headers of one grant: metadata, including the attributes of ONVIF, needs about 20.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_NAME: usize = 64;
const MAX_HEADER_VALUE: usize = 2048;

/// Reads the claims of a `kasacam-privacy+jws` for `device`.
///
/// # Errors
/// `WrongDevice`, else `Malformed`.
pub fn privacy(payload: &[u8], device: &str) -> Result<PrivacyChoice, Rejection> {
    let members = json::object(payload).ok_or(Rejection::Malformed)?;
    let claims = Claims(&members);
    claims.are_for(device)?;
    Ok(PrivacyChoice {
        version: claims.number("version", 0..=MAX_VERSION)?,
        issued_at: claims.time("issued_at")?,
        do_not_record: claims.flag("do_not_record")?,
    })
}

/// Reads the claims of a `kasacam-entitlement+jws` for `device`. What `next` omits of `plan`, `status` and
/// `features` is taken from the lease.
///
/// # Errors
/// `WrongDevice`, else `Malformed`.
pub fn entitlement(payload: &[u8], device: &str) -> Result<Lease, Rejection> {
    let members = json::object(payload).ok_or(Rejection::Malformed)?;
    let claims = Claims(&members);
    claims.are_for(device)?;
    let terms = Terms {
        plan: plan(claims.object("plan")?)?,
        status: status(claims.text("status")?)?,
        features: features(claims.object("features")?)?,
    };
    Ok(Lease {
        version: claims.number("version", 0..=MAX_VERSION)?,
        issued_at: claims.time("issued_at")?,
        not_after: claims.time("not_after")?,
        next: claims.optional_object("next")?.map(|claims| next(claims, &terms)).transpose()?,
        terms,
    })
}

fn next(claims: Claims<'_>, now: &Terms) -> Result<Next, Rejection> {
    let status = match claims.0.get("status") {
        Some(_) => status(claims.text("status")?)?,
        None => now.status,
    };
    Ok(Next {
        from: claims.time("from")?,
        not_after: claims.0.get("not_after").map(|_| claims.time("not_after")).transpose()?,
        terms: Terms {
            plan: claims.optional_object("plan")?.map_or_else(|| Ok(now.plan.clone()), plan)?,
            status,
            features: claims.optional_object("features")?.map_or(Ok(now.features), features)?,
        },
    })
}

fn plan(claims: Claims<'_>) -> Result<Plan, Rejection> {
    Ok(Plan { id: name(claims.text("id")?)?, tier: name(claims.text("tier")?)? })
}

/// Visible ASCII without spaces: it goes into an HTTP header unchanged.
fn name(text: &str) -> Result<String, Rejection> {
    let is_good = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_good { Ok(text.to_owned()) } else { Err(Rejection::Malformed) }
}

fn status(text: &str) -> Result<Status, Rejection> {
    [Status::Active, Status::PastDue, Status::Suspended, Status::Terminated]
        .into_iter()
        .find(|status| status.text() == text)
        .ok_or(Rejection::Malformed)
}

fn features(claims: Claims<'_>) -> Result<Features, Rejection> {
    let number = |name, range| {
        claims.number(name, range).and_then(|n| u32::try_from(n).map_err(|_| Rejection::Malformed))
    };
    Ok(Features {
        record: claims.flag("record")?,
        audio: claims.flag("audio")?,
        max_height: number("max_height", HEIGHT)?,
        history_hours: number("history_hours", HISTORY_HOURS)?,
        // A cloud of before it is not asked.
        h265: if claims.0.contains_key("h265") { claims.flag("h265")? } else { true },
    })
}

/// Reads the claims of a `kasacam-grant+jws` for `device`. Whether a grant answers the request is not checked
/// here.
///
/// # Errors
/// `WrongDevice`, else `Malformed`.
pub fn grant(payload: &[u8], device: &str) -> Result<GrantAnswer, Rejection> {
    let members = json::object(payload).ok_or(Rejection::Malformed)?;
    let claims = Claims(&members);
    claims.are_for(device)?;
    claims.number("version", 0..=MAX_VERSION)?;
    Ok(GrantAnswer {
        id: name(claims.text("id")?)?,
        issued_at: claims.time("issued_at")?,
        grants: claims.objects("grants", MAX_GRANTS)?.into_iter().map(one_grant).collect::<Result<_, _>>()?,
        refused: claims.objects("refused", MAX_GRANTS)?.into_iter().map(refused).collect::<Result<_, _>>()?,
    })
}

fn one_grant(claims: Claims<'_>) -> Result<Grant, Rejection> {
    if claims.text("method")? != "PUT" {
        return Err(Rejection::Malformed);
    }
    let headers = claims.object("headers")?.0;
    if headers.len() > MAX_HEADERS {
        return Err(Rejection::Malformed);
    }
    Ok(Grant {
        key: printable(claims.text("key")?, MAX_KEY)?,
        url: printable(claims.text("url")?, MAX_URL)?,
        headers: headers.iter().map(header).collect::<Result<_, _>>()?,
        expires_at: claims.time("expires_at")?,
        proof: Proof::of_header(claims.text("proof")?).ok_or(Rejection::Malformed)?,
    })
}

/// A header's name in lower case, so that none occurs twice, and a value fit for HTTP.
fn header((name, value): (&String, &Json)) -> Result<(String, String), Rejection> {
    let Json::Text(value) = value else { return Err(Rejection::Malformed) };
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_value = |b: u8| b.is_ascii_graphic() || b == b' ';
    let is_good = (1..=MAX_HEADER_NAME).contains(&name.len())
        && name.bytes().all(is_name)
        && value.len() <= MAX_HEADER_VALUE
        && value.bytes().all(is_value);
    if is_good { Ok((name.clone(), value.clone())) } else { Err(Rejection::Malformed) }
}

fn refused(claims: Claims<'_>) -> Result<Refused, Rejection> {
    let reason = claims.text("reason")?;
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !(1..=MAX_NAME).contains(&reason.len()) || !reason.bytes().all(is_letter) {
        return Err(Rejection::Malformed);
    }
    Ok(Refused { key: printable(claims.text("key")?, MAX_KEY)?, reason: reason.to_owned() })
}

/// Visible ASCII without spaces.
fn printable(text: &str, max: usize) -> Result<String, Rejection> {
    let is_good = (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_good { Ok(text.to_owned()) } else { Err(Rejection::Malformed) }
}

#[derive(Clone, Copy)]
struct Claims<'a>(&'a BTreeMap<String, Json>);

impl<'a> Claims<'a> {
    fn are_for(self, device: &str) -> Result<(), Rejection> {
        if self.text("device_id")? == device { Ok(()) } else { Err(Rejection::WrongDevice) }
    }

    fn text(self, name: &str) -> Result<&'a str, Rejection> {
        if let Some(Json::Text(text)) = self.0.get(name) { Ok(text) } else { Err(Rejection::Malformed) }
    }

    fn flag(self, name: &str) -> Result<bool, Rejection> {
        if let Some(Json::Bool(flag)) = self.0.get(name) { Ok(*flag) } else { Err(Rejection::Malformed) }
    }

    fn number(self, name: &str, range: RangeInclusive<u64>) -> Result<u64, Rejection> {
        match self.0.get(name) {
            Some(Json::Unsigned(number)) if range.contains(number) => Ok(*number),
            Some(_) | None => Err(Rejection::Malformed),
        }
    }

    fn time(self, name: &str) -> Result<Utc, Rejection> {
        Utc::parse(self.text(name)?).ok_or(Rejection::Malformed)
    }

    fn object(self, name: &str) -> Result<Claims<'a>, Rejection> {
        self.optional_object(name)?.ok_or(Rejection::Malformed)
    }

    /// A list that contains only objects.
    fn objects(self, name: &str, max: usize) -> Result<Vec<Claims<'a>>, Rejection> {
        let Some(Json::List(items)) = self.0.get(name) else { return Err(Rejection::Malformed) };
        if items.len() > max {
            return Err(Rejection::Malformed);
        }
        let object = |item: &'a Json| {
            if let Json::Object(members) = item { Ok(Claims(members)) } else { Err(Rejection::Malformed) }
        };
        items.iter().map(object).collect()
    }

    fn optional_object(self, name: &str) -> Result<Option<Claims<'a>>, Rejection> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Json::Object(members)) => Ok(Some(Claims(members))),
            Some(_) => Err(Rejection::Malformed),
        }
    }
}
