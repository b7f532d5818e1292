//! A rule of the contract, and the row that a check makes of it.

use serde::Serialize;

/// The result of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// What was seen matches the clause.
    Pass,
    /// It does not.
    Fail,
    /// It could not be checked; `seen` says why.
    NotChecked,
}

impl Outcome {
    /// As in the table.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "FAIL",
            Outcome::NotChecked => "not checked",
        }
    }
}

/// The judgement of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// As text, without secrets.
    pub(crate) seen: String,
}

pub(crate) fn pass(seen: impl Into<String>) -> Verdict {
    Verdict { outcome: Outcome::Pass, seen: seen.into() }
}

pub(crate) fn fail(seen: impl Into<String>) -> Verdict {
    Verdict { outcome: Outcome::Fail, seen: seen.into() }
}

pub(crate) fn not_checked(why: impl Into<String>) -> Verdict {
    Verdict { outcome: Outcome::NotChecked, seen: why.into() }
}

/// `fail` with everything that is wrong, or `pass`.
pub(crate) fn unless(wrong: &[String], seen: impl Into<String>) -> Verdict {
    // Three examples are enough.
    match wrong {
        [] => pass(seen),
        [first, rest @ ..] => {
            let more = rest.iter().take(2).map(|it| format!("; {it}")).collect::<String>();
            let left = wrong.len().saturating_sub(3);
            fail(if left > 0 { format!("{first}{more}; and {left} more") } else { format!("{first}{more}") })
        }
    }
}

/// What was seen, or why it was not checked.
pub(crate) type Look<T> = Result<T, String>;

/// One rule: a clause of the contract that a program can check from outside, or why it cannot.
pub(crate) struct Rule<S> {
    /// Stable: programs rely on it.
    pub(crate) id: &'static str,
    /// What is checked, in one line.
    pub(crate) asks: &'static str,
    /// Document below `docs/` and the anchor of the heading.
    pub(crate) clause: &'static str,
    /// Words below that heading; a test compares them with the document.
    pub(crate) says: &'static str,
    pub(crate) judge: fn(&S) -> Verdict,
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Row {
    /// The rule's name; stable.
    pub(crate) id: String,
    /// Document below `docs/` and the anchor of the heading.
    pub(crate) clause: String,
    /// Words of the clause.
    pub(crate) says: String,
    /// What was checked.
    pub(crate) asks: String,
    /// The result.
    pub(crate) outcome: Outcome,
    /// What was seen, or why it was not checked.
    pub(crate) seen: String,
}

/// One row per rule, in order.
pub(crate) fn judge<S>(rules: &[Rule<S>], seen: &S) -> Vec<Row> {
    rules
        .iter()
        .map(|rule| {
            let verdict = (rule.judge)(seen);
            Row {
                id: rule.id.to_owned(),
                clause: rule.clause.to_owned(),
                says: rule.says.to_owned(),
                asks: rule.asks.to_owned(),
                outcome: verdict.outcome,
                seen: verdict.seen,
            }
        })
        .collect()
}
