//! The rules of `watch`, for a camera.

pub(crate) mod commands;
pub(crate) mod forms;
pub(crate) mod messages;
pub(crate) mod named;
pub(crate) mod objects;
pub(crate) mod seen;
pub(crate) mod spans;
pub(crate) mod told;

use super::row::{Row, Rule, judge, not_checked};
use seen::CameraSeen;

/// In the order of the contract.
pub(crate) fn rules() -> Vec<&'static [Rule<CameraSeen>]> {
    vec![messages::RULES, forms::RULES, commands::RULES, objects::RULES, spans::RULES, UNSEEN]
}

/// One row per rule.
pub(crate) fn rows(seen: &CameraSeen) -> Vec<Row> {
    rules().into_iter().flat_map(|rules| judge(rules, seen)).collect()
}

/// Clauses that no program can observe from the cloud's side.
const UNSEEN: &[Rule<CameraSeen>] = &[
    Rule {
        id: "connect.session",
        asks: "the camera connects with its id as client id, without clean start, and with a session expiry",
        clause: "contract.md#3-mqtt",
        says: "`clean_start = false`, with a session expiry; client id: the device's id.",
        judge: |_| not_checked("cannot be observed: only the broker sees CONNECT"),
    },
    Rule {
        id: "connect.no-wildcard",
        asks: "the camera subscribes to no wildcard",
        clause: "contract.md#3-mqtt",
        says: "No wildcard is ever subscribed to.",
        judge: |_| not_checked("cannot be observed: only the broker sees SUBSCRIBE"),
    },
    Rule {
        id: "commands.acknowledged",
        asks: "a command is acknowledged only after what it says is durable",
        clause: "contract.md#commands",
        says: "A message is acknowledged (PUBACK) only",
        judge: |_| not_checked("cannot be observed: only the broker sees PUBACK"),
    },
    Rule {
        id: "closed.means-closed",
        asks: "`closed` is reported only if no file of the device is open",
        clause: "contract.md#2-the-policy",
        says: "`closed` is said, journalled and shown by the light only of a device of which no file is open.",
        judge: |_| not_checked("cannot be observed from outside of the camera"),
    },
    Rule {
        id: "unheard.waits",
        asks: "footage that was captured without a session waits until the choice has been received",
        clause: "contract.md#2-the-policy",
        says: "is recorded, but not uploaded until a session is up again and the choice that the broker retains has been heard on it",
        judge: |_| not_checked("not tested: the connection between camera and broker would have to be cut"),
    },
];
