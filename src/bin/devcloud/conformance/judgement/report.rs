//! The result of a check: a table for people, JSON for programs, and the exit code.

use super::row::{Outcome, Row};
use kasacam::domain::time::Utc;
use serde::Serialize;

/// The report of `kasacam-devcloud verify` and `watch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report {
    /// `verify` or `watch`.
    pub(crate) check: String,
    /// Id of the device that was checked, or whose credentials were used.
    pub(crate) device: String,
    /// Version of the contract: that of the program.
    pub(crate) contract: String,
    /// When the check ended.
    pub(crate) at: Utc,
    /// Rows that passed.
    pub(crate) passed: usize,
    /// Rows that failed.
    pub(crate) failed: usize,
    /// Rows that could not be checked.
    pub(crate) not_checked: usize,
    /// One for each rule, in the order of the contract.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(check: &str, device: &str, at: Utc, rows: Vec<Row>) -> Report {
        let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
        Report {
            check: check.to_owned(),
            device: device.to_owned(),
            contract: env!("CARGO_PKG_VERSION").to_owned(),
            at,
            passed: count(Outcome::Pass),
            failed: count(Outcome::Fail),
            not_checked: count(Outcome::NotChecked),
            rows,
        }
    }

    /// 0 if no row failed, otherwise 1.
    pub(crate) fn exit_code(&self) -> u8 {
        u8::from(self.failed > 0)
    }

    /// For people: one line per row and, for each that failed, what is required and where the contract says so.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
        let mut table = String::new();
        for row in &self.rows {
            table.push_str(&format!("{:<11}  {:<width$}  {}\n", row.outcome.text(), row.id, row.seen));
            if row.outcome == Outcome::Fail {
                table.push_str(&format!(
                    "{:<11}  {:<width$}  required: {} (docs/{})\n",
                    "", "", row.asks, row.clause
                ));
            }
        }
        let Report { passed, failed, not_checked, .. } = self;
        table.push_str(&format!("{passed} passed, {failed} failed, {not_checked} not checked\n"));
        table
    }
}
