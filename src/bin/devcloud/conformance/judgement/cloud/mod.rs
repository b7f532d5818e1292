//! The rules of `verify`, for a cloud.

pub(crate) mod broker;
pub(crate) mod commands;
pub(crate) mod grants;
pub(crate) mod seen;
pub(crate) mod store;

use super::row::{Row, Rule, judge, not_checked};
use seen::CloudSeen;

/// In the order of the contract.
pub(crate) fn rules() -> Vec<&'static [Rule<CloudSeen>]> {
    vec![broker::RULES, commands::RULES, grants::RULES, store::RULES, UNSEEN]
}

/// One row per rule.
pub(crate) fn rows(seen: &CloudSeen) -> Vec<Row> {
    rules().into_iter().flat_map(|rules| judge(rules, seen)).collect()
}

/// Clauses that no program can observe from outside.
const UNSEEN: &[Rule<CloudSeen>] = &[
    Rule {
        id: "versions.grow",
        asks: "the versions of commands only grow, over the life of a device",
        clause: "contract.md#commands",
        says: "`version` only grows.",
        judge: |_| not_checked("cannot be observed: it is about future commands"),
    },
    Rule {
        id: "grant.not-logged",
        asks: "no log or page of the cloud holds a grant",
        clause: "contract.md#grants",
        says: "Nothing of a grant is retained, logged or shown.",
        judge: |_| not_checked("cannot be observed from outside; `grant.not-retained` checks the broker"),
    },
    Rule {
        id: "store.lifecycle",
        asks: "objects are deleted when the history of the plan is over",
        clause: "storage.md#lifecycle-rules",
        says: "One rule for each plan's hours deletes what is older",
        judge: |_| not_checked("cannot be observed: it takes as long as the history of a plan"),
    },
    Rule {
        id: "identity.names",
        asks: "a certificate has the device id as its one common name",
        clause: "contract.md#identity",
        says: "It issues a certificate whose one common name is the device id",
        judge: |_| not_checked("not tested here: `kasacamd enroll` tests it"),
    },
];
