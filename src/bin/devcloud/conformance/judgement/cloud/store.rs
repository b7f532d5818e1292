//! The store: it accepts what was signed and nothing else, and proves what it stored.

use super::super::row::{Look, Rule, Verdict, fail, not_checked, pass, unless};
use super::seen::CloudSeen;

const NOT_REACHED: &str = "nothing was stored to try it with";

pub(crate) const RULES: &[Rule<CloudSeen>] = &[
    Rule {
        id: "store.put",
        asks: "the store accepts the object",
        clause: "storage.md#proof",
        says: "| PUT: 2xx with the checksum of the body | stored |",
        judge: |seen| match &seen.store.put {
            Some(Ok(put)) if taken(put.status) => pass(format!("status {}", put.status)),
            Some(Ok(put)) => fail(format!("status {}", put.status)),
            Some(Err(why)) => not_checked(why),
            None => not_checked(NOT_REACHED),
        },
    },
    Rule {
        id: "store.proof",
        asks: "the answer of the store proves what it stored",
        clause: "storage.md#proof",
        says: "A segment without proof is tried again",
        judge: proof,
    },
    Rule {
        id: "store.checksum",
        asks: "bytes that do not match the checksum are refused",
        clause: "contract.md#4-objects",
        says: "its SHA-256 checksum, which the store must check",
        judge: |seen| refused(seen.store.changed.as_ref(), "other bytes"),
    },
    Rule {
        id: "store.length",
        asks: "a body of another length than signed is refused",
        clause: "contract.md#grants",
        says: "It signs exactly one object: its key, its length, its checksum, its condition.",
        judge: |seen| refused(seen.store.longer.as_ref(), "more bytes"),
    },
    Rule {
        id: "store.one-key",
        asks: "what was signed for one key does not store another",
        clause: "contract.md#grants",
        says: "It signs exactly one object: its key, its length, its checksum, its condition.",
        judge: |seen| refused(seen.store.other_key.as_ref(), "another key"),
    },
    Rule {
        id: "store.condition",
        asks: "an existing object is not replaced",
        clause: "contract.md#4-objects",
        says: "Two different segments never share a key: the PUT is conditional.",
        judge: |seen| refused(seen.store.again.as_ref(), "the same key once more"),
    },
    Rule {
        id: "store.anonymous",
        asks: "an object cannot be read without a signature",
        clause: "storage.md#rights",
        says: "Nobody reads footage without a signature",
        judge: |seen| refused(seen.store.anonymous.as_ref(), "a GET without a signature"),
    },
    Rule {
        id: "store.head",
        asks: "a HEAD returns the size, and the checksum or the metadata `sha256`",
        clause: "storage.md#proof",
        says: "HEAD: the size, and the checksum or the metadata `sha256`",
        judge: head,
    },
    Rule {
        id: "store.metadata",
        asks: "metadata are returned as they were sent",
        clause: "contract.md#4-objects",
        says: "metadata `device-id`, `duration-ms`, `span`, `boot-id`, `plan`, `history-hours`, `clock`",
        judge: |seen| match &seen.store.head {
            Some(Ok(head)) if !taken(head.status) => not_checked(format!("HEAD: status {}", head.status)),
            Some(Ok(head)) => unless(&head.lost, "all of them"),
            Some(Err(why)) => not_checked(why),
            None => not_checked(NOT_REACHED),
        },
    },
    Rule {
        id: "key.prefix",
        asks: "a camera's key cannot write below another device's prefix",
        clause: "storage.md#rights",
        says: "so that one camera's key cannot write another's footage",
        judge: |seen| refused(seen.store.key_elsewhere.as_ref(), "a PUT below another device's prefix"),
    },
    Rule {
        id: "key.list",
        asks: "a camera's key cannot list the bucket",
        clause: "storage.md#rights",
        says: "give it neither `s3:DeleteObject` nor `s3:ListBucket`",
        judge: |seen| refused(seen.store.key_lists.as_ref(), "a list"),
    },
    Rule {
        id: "key.delete",
        asks: "a camera's key cannot delete what it stored",
        clause: "storage.md#rights",
        says: "give it neither `s3:DeleteObject` nor `s3:ListBucket`",
        judge: |seen| refused(seen.store.key_deletes.as_ref(), "a DELETE"),
    },
    Rule {
        id: "duty.after-choice",
        asks: "what was captured after a \"do not record\" is deleted",
        clause: "contract.md#2-the-policy",
        says: "The cloud deletes what it holds with a time after the `issued_at` of a `do_not_record`",
        judge: |seen| match &seen.store.deleted {
            Some(Ok(status)) if taken(*status) => pass("it was deleted"),
            Some(Ok(status)) => {
                fail(format!("it still existed: a PUT of the same key was answered with {status}"))
            }
            Some(Err(why)) => not_checked(why),
            None => not_checked(NOT_REACHED),
        },
    },
];

fn taken(status: u16) -> bool {
    (200..300).contains(&status)
}

fn refused(status: Option<&Look<u16>>, what: &str) -> Verdict {
    match status {
        // 501: not implemented.
        Some(Ok(status)) if (400..500).contains(status) || *status == 501 => {
            pass(format!("{what}: status {status}"))
        }
        Some(Ok(status)) => fail(format!("{what}: status {status}")),
        Some(Err(why)) => not_checked(why),
        None => not_checked(NOT_REACHED),
    }
}

fn proof(seen: &CloudSeen) -> Verdict {
    let put = match &seen.store.put {
        Some(Ok(put)) if taken(put.status) => put,
        Some(Ok(_)) => return not_checked("nothing was stored"),
        Some(Err(why)) => return not_checked(why),
        None => return not_checked(NOT_REACHED),
    };
    match &put.proven {
        Some(proven) if *proven == put.wanted => pass(format!("{} is right", put.proof)),
        Some(_) => fail(format!("{} belongs to other bytes", put.proof)),
        // Without this header, a HEAD proves it, if it is allowed.
        None => match &seen.store.head {
            Some(Ok(head)) if head.checksum.as_ref() == Some(&head.wanted_checksum) => pass("a HEAD proves"),
            Some(_) | None => fail(format!("the answer has no {}", put.proof)),
        },
    }
}

fn head(seen: &CloudSeen) -> Verdict {
    let head = match &seen.store.head {
        Some(Ok(head)) => head,
        Some(Err(why)) => return not_checked(why),
        None => return not_checked(NOT_REACHED),
    };
    // A key need not have this right.
    if head.status == 403 {
        return not_checked("HEAD: status 403: the key has no right to it");
    }
    let mut wrong = Vec::new();
    if !taken(head.status) {
        wrong.push(format!("status {}", head.status));
    } else {
        if head.size.is_some_and(|size| size != head.wanted_size) {
            wrong.push("the size is another".to_owned());
        }
        match &head.checksum {
            Some(checksum) if *checksum == head.wanted_checksum => {}
            Some(_) => wrong.push("the checksum is another".to_owned()),
            None => wrong.push("there is no checksum".to_owned()),
        }
    }
    unless(&wrong, "size and checksum")
}
