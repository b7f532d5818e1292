//! Grants: the answer as a whole, each grant compared with the request, and what must not be granted.

use super::super::claims::unverified;
use super::super::row::{Look, Rule, Verdict, fail, not_checked, pass, unless};
use super::seen::{Answer, Asked, CloudSeen};
use kasacam::domain::grant::{Grant, GrantAnswer, Want};
use kasacam::mqtt::payloads::GRANT_TYP;
use kasacam::mqtt::{claims, jws};
use kasacam::upload::grant::check::check;
use std::time::Duration;

/// A camera does not use a grant that ends sooner.
const MIN_LIFE: Duration = Duration::from_secs(5);

pub(crate) const RULES: &[Rule<CloudSeen>] = &[
    Rule {
        id: "grant.answered",
        asks: "a request for grants is answered within 20 s, with its correlation data",
        clause: "contract.md#grants",
        says: "one request is under way at a time, and is asked anew after 20 s",
        judge: answered,
    },
    Rule {
        id: "grant.signature",
        asks: "the answer is a compact JWS with its `typ`, signed with a key of the lease",
        clause: "contract.md#grants",
        says: "is a compact JWS with `typ` `kasacam-grant+jws`, signed with a key of `entitlement.keys`, of at most 128 KiB",
        judge: signature,
    },
    Rule {
        id: "grant.form",
        asks: "the answer has the claims of the contract, including proof and reasons",
        clause: "contract.md#grants",
        says: "What is over them makes the whole answer `malformed`.",
        judge: form,
    },
    Rule {
        id: "grant.device",
        asks: "the answer is for this device",
        clause: "contract.md#grants",
        says: "the signature, `typ`, `kid`, the form, `device_id`",
        judge: device,
    },
    Rule {
        id: "grant.id",
        asks: "the answer repeats the request's id",
        clause: "contract.md#grants",
        says: "`id` is that of the request under way",
        judge: |seen| {
            with_answer(&seen.grants, |asked, answer| {
                if answer.id == asked.id { pass("the same") } else { fail("it is another id") }
            })
        },
    },
    Rule {
        id: "grant.key",
        asks: "each requested object is granted, and no other",
        clause: "contract.md#grants",
        says: "the `key` was asked for",
        judge: keys,
    },
    Rule {
        id: "grant.expiry",
        asks: "a grant is valid for more than 5 s",
        clause: "contract.md#grants",
        says: "`expires_at` lies more than 5 s ahead",
        judge: expiry,
    },
    Rule {
        id: "grant.place",
        asks: "the URL leads to the store, its bucket, and the object's key",
        clause: "contract.md#grants",
        says: "scheme, host and port of the URL are those of `upload.endpoint`",
        judge: |seen| {
            bound(
                seen,
                &[
                    "it leads to another host than upload.endpoint",
                    "its URL is for another bucket or key",
                    "its URL is none",
                ],
            )
        },
    },
    Rule {
        id: "grant.size",
        asks: "the grant is bound to the size",
        clause: "contract.md#grants",
        says: "`content-length` is the size",
        judge: |seen| {
            bound(seen, &["it is for another size", "it names no size: headers must have content-length"])
        },
    },
    Rule {
        id: "grant.checksum",
        asks: "the grant is bound to the SHA-256, and names a proof that its headers lead to",
        clause: "contract.md#grants",
        says: "is the SHA-256; each that is there, and one must be",
        judge: |seen| {
            bound(
                seen,
                &[
                    "it is for another checksum",
                    "it names no checksum: headers must have x-amz-checksum-sha256 or metadata sha256",
                    "its proof is x-amz-checksum-sha256, which its headers do not have",
                ],
            )
        },
    },
    Rule {
        id: "grant.condition",
        asks: "the grant cannot replace an object",
        clause: "contract.md#grants",
        says: "`if-none-match: *`, or `x-goog-if-generation-match: 0`: no object is replaced",
        judge: |seen| {
            bound(
                seen,
                &[
                    "it would replace an object: headers must have if-none-match: * or x-goog-if-generation-match: 0",
                ],
            )
        },
    },
    Rule {
        id: "grant.headers",
        asks: "the grant sets only headers that a grant may set",
        clause: "contract.md#grants",
        says: "no header that frames or routes the message, or says who we are",
        judge: |seen| {
            bound(seen, &["it sets a header that is not for a grant to set", "one of its headers is none"])
        },
    },
    Rule {
        id: "grant.own-prefix",
        asks: "keys of another device are not granted",
        clause: "contract.md#grants",
        says: "whose keys begin with that camera's own prefix, and for nobody else",
        judge: |seen| refused(&seen.foreign_grants),
    },
    Rule {
        id: "grant.too-large",
        asks: "an object larger than any segment is not granted",
        clause: "contract.md#grants",
        says: "It grants nothing that is larger than 256 MiB",
        judge: |seen| refused(&seen.large_grants),
    },
    Rule {
        id: "grant.not-retained",
        asks: "an answer is not retained",
        clause: "contract.md#grants",
        says: "Nothing of a grant is retained, logged or shown.",
        judge: |seen| match &seen.grants_retained {
            Ok(false) => pass("a new subscription received nothing"),
            Ok(true) => fail("a new subscription received an answer"),
            Err(why) => not_checked(why),
        },
    },
];

fn heard(asked: &Look<Asked>) -> Result<(&Asked, &Answer), Verdict> {
    let asked = asked.as_ref().map_err(|why| not_checked(why.as_str()))?;
    let answer = asked.answer.as_ref().ok_or_else(|| not_checked("there was no answer"))?;
    Ok((asked, answer))
}

/// The content of the answer. Its signature and its device have other rows.
fn read(answer: &Answer) -> Result<GrantAnswer, Verdict> {
    let payload = unverified(&answer.payload).ok_or_else(|| fail("it is not a compact JWS"))?;
    let named: serde_json::Value = serde_json::from_slice(&payload).map_err(|_| fail("it is not JSON"))?;
    let device = named.get("device_id").and_then(serde_json::Value::as_str).unwrap_or_default();
    claims::grant(&payload, device).map_err(|why| fail(why.text()))
}

/// Judges an answer that can be read; other rows report one that cannot.
fn with_answer(asked: &Look<Asked>, judge: impl Fn(&Asked, &GrantAnswer) -> Verdict) -> Verdict {
    match heard(asked) {
        Ok((asked, answer)) => match read(answer) {
            Ok(answer) => judge(asked, &answer),
            Err(_) => not_checked("the answer cannot be read"),
        },
        Err(verdict) => verdict,
    }
}

fn answered(seen: &CloudSeen) -> Verdict {
    let asked = match &seen.grants {
        Ok(asked) => asked,
        Err(why) => return not_checked(why),
    };
    let Some(answer) = &asked.answer else { return fail(format!("no answer within {} s", asked.within_s)) };
    match &answer.correlation {
        Some(data) if *data == asked.id.as_bytes() => pass(format!("after {} ms", answer.after_ms)),
        Some(_) => fail("its correlation data belong to another request"),
        // It is optional: the id decides.
        None => pass(format!("after {} ms, without correlation data", answer.after_ms)),
    }
}

fn signature(seen: &CloudSeen) -> Verdict {
    let answer = match heard(&seen.grants) {
        Ok((_, answer)) => answer,
        Err(verdict) => return verdict,
    };
    let keys = match &seen.lease_keys {
        Ok(keys) => keys,
        Err(why) => return not_checked(why),
    };
    match jws::verify_within(jws::MAX_GRANT_BYTES, keys, GRANT_TYP, &answer.payload) {
        Ok(_) => pass(format!("valid, {} bytes", answer.payload.len())),
        Err(why) => fail(why.text()),
    }
}

fn form(seen: &CloudSeen) -> Verdict {
    match heard(&seen.grants) {
        Ok((_, answer)) => match read(answer) {
            Ok(answer) => pass(format!("{} granted, {} refused", answer.grants.len(), answer.refused.len())),
            Err(verdict) => verdict,
        },
        Err(verdict) => verdict,
    }
}

fn device(seen: &CloudSeen) -> Verdict {
    let answer = match heard(&seen.grants) {
        Ok((_, answer)) => answer,
        Err(verdict) => return verdict,
    };
    let Some(payload) = unverified(&answer.payload) else { return not_checked("the answer cannot be read") };
    match claims::grant(&payload, &seen.device) {
        Ok(_) => pass("it is"),
        Err(kasacam::domain::input::Rejection::WrongDevice) => fail("it is for another device"),
        Err(_) => not_checked("the answer cannot be read"),
    }
}

fn keys(seen: &CloudSeen) -> Verdict {
    with_answer(&seen.grants, |asked, answer| {
        let mut wrong = Vec::new();
        for grant in &answer.grants {
            if !asked.wants.iter().any(|want| want.key == grant.key) {
                wrong.push("a key was granted that was not asked for".to_owned());
            }
        }
        for want in &asked.wants {
            if let Some(refused) = answer.refused.iter().find(|refused| refused.key == want.key) {
                wrong.push(format!("an object was refused: {}", refused.reason));
            }
        }
        let left_out = |want: &&Want| {
            !answer.grants.iter().any(|it| it.key == want.key)
                && !answer.refused.iter().any(|it| it.key == want.key)
        };
        if wrong.is_empty() && asked.wants.iter().any(|want| left_out(&want)) {
            wrong.push("an object was neither granted nor refused".to_owned());
        }
        unless(&wrong, format!("{} granted", answer.grants.len()))
    })
}

fn expiry(seen: &CloudSeen) -> Verdict {
    with_answer(&seen.grants, |_, answer| {
        let Some(first) = answer.grants.iter().map(|grant| grant.expires_at).min() else {
            return not_checked("nothing was granted");
        };
        let life = first.since(answer.issued_at);
        if life > MIN_LIFE {
            pass(format!("valid for {} s", life.as_secs()))
        } else {
            fail(format!("valid for {} s", life.as_secs()))
        }
    })
}

/// Whether grants are bound; `faults` are the errors of the camera's check that belong to this row.
fn bound(seen: &CloudSeen, faults: &[&str]) -> Verdict {
    let allowed = match &seen.allowed {
        Ok(allowed) => allowed,
        Err(why) => return not_checked(why),
    };
    with_answer(&seen.grants, |asked, answer| {
        let of = |grant: &Grant| asked.wants.iter().find(|want| want.key == grant.key).cloned();
        let pairs: Vec<(&Grant, Want)> =
            answer.grants.iter().filter_map(|grant| Some((grant, of(grant)?))).collect();
        if pairs.is_empty() {
            return not_checked("nothing that was requested was granted");
        }
        let wrong: Vec<String> = pairs
            .iter()
            .filter_map(|(grant, want)| check(grant, want, allowed).err())
            .filter(|fault| faults.contains(fault))
            .map(str::to_owned)
            .collect();
        unless(&wrong, format!("{} looked at", pairs.len()))
    })
}

fn refused(asked: &Look<Asked>) -> Verdict {
    let asked_for = match asked {
        Ok(asked) => asked,
        Err(why) => return not_checked(why),
    };
    if asked_for.answer.is_none() {
        return pass("it was not answered");
    }
    with_answer(asked, |asked, answer| {
        let granted =
            answer.grants.iter().filter(|it| asked.wants.iter().any(|want| want.key == it.key)).count();
        if granted > 0 {
            return fail(format!("{granted} of {} were granted", asked.wants.len()));
        }
        let reasons: Vec<&str> = answer.refused.iter().map(|refused| refused.reason.as_str()).collect();
        pass(if reasons.is_empty() {
            "left out".to_owned()
        } else {
            format!("refused: {}", reasons.join(", "))
        })
    })
}
