//! The background check: each minute it checks up to 20,000 rows, going through all tables from first to last and then
//! starting again. It sets a gauge that must be 0.
//!
//! Each check reads a bounded number of rows, so its cost does not grow with the database. A small installation is
//! checked completely every minute, a large one over several minutes.

use crate::metrics::Metrics;
use metrics::gauge;
use std::collections::BTreeSet;
use std::time::Duration;
use storage::{CheckedRows, Error, Page, RuleFindings, Store, chain, rules};

const EVERY: Duration = Duration::from_secs(60);
/// Maximum number of rows in one query.
const ROWS_PER_QUERY: i64 = 500;
/// Maximum number of queries in one check.
const QUERIES_PER_CHECK: u32 = 40;
/// Maximum number of violating rows that are named for each rule.
const MAX_EXAMPLES: usize = 5;

/// Findings of the round so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Number of rows checked.
    pub checked: i64,
    /// Every rule, with its number of violations and the first examples.
    pub rules: Vec<RuleFindings>,
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            checked: 0,
            rules: rules(),
        }
    }
}

impl Findings {
    /// Adds the findings of one page.
    pub fn add(&mut self, checked: CheckedRows) {
        self.checked += checked.checked;
        for one in checked.broken {
            let Some(rule) = self.rules.iter_mut().find(|rule| rule.name == one.name) else {
                continue;
            };
            rule.violations += one.violations;
            rule.examples.extend(one.examples);
            rule.examples.truncate(MAX_EXAMPLES);
        }
    }

    /// Returns the total number of violations.
    pub fn violations(&self) -> i64 {
        self.rules.iter().map(|rule| rule.violations).sum()
    }

    fn names(&self) -> String {
        let broken = self
            .rules
            .iter()
            .filter(|rule| rule.violations > 0)
            .map(|rule| rule.name);
        broken
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A pass over all tables, with the result of the previous pass.
#[derive(Debug, Default)]
struct Round {
    /// Position in the tables; `None` at the beginning.
    cursor: Option<String>,
    /// Findings of this round so far.
    findings: Findings,
    /// Number of violations that the previous round found.
    previous: i64,
}

impl Round {
    /// Adds a page of findings. Returns the findings of the whole round if this page is its last.
    fn add(&mut self, checked: CheckedRows) -> Option<Findings> {
        self.cursor.clone_from(&checked.next_cursor);
        self.findings.add(checked);
        if self.cursor.is_some() {
            return None;
        }
        self.previous = self.findings.violations();
        Some(std::mem::take(&mut self.findings))
    }

    /// Returns the gauge's value: a repaired violation counts until the end of the first complete round without it.
    fn violations(&self) -> i64 {
        self.previous.max(self.findings.violations())
    }

    fn set_gauge(&self) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of rows is far below 2^52"
        )]
        gauge!("settle_check_violations").set(self.violations() as f64);
    }
}

/// Starts the task that checks the tables: immediately, then every minute until the process ends. The gauge exists once
/// this returns; `_recorder` proves that the recorder is installed, without which the value would be lost.
pub fn watch(store: Store, _recorder: &Metrics) {
    let mut round = Round::default();
    round.set_gauge();
    tokio::spawn(async move {
        loop {
            if let Err(error) = check(&store, &mut round).await {
                tracing::warn!(
                    error = chain(&error),
                    "the check could not read the tables; it tries again in a minute"
                );
            }
            round.set_gauge();
            tokio::time::sleep(EVERY).await;
        }
    });
}

/// Runs one check, which ends after [`QUERIES_PER_CHECK`] queries or at the end of the round.
async fn check(store: &Store, round: &mut Round) -> Result<(), Error> {
    for _ in 0..QUERIES_PER_CHECK {
        let checked = store
            .check(Page {
                cursor: round.cursor.clone(),
                limit: ROWS_PER_QUERY,
            })
            .await?;
        if let Some(findings) = round.add(checked) {
            return report(store, &findings).await;
        }
    }
    Ok(())
}

/// Logs the violations of a complete round and raises an alarm.
async fn report(store: &Store, findings: &Findings) -> Result<(), Error> {
    if findings.violations() == 0 {
        return Ok(());
    }
    tracing::error!(
        violations = findings.violations(),
        rules = findings.names(),
        "the tables are inconsistent: see `settle check`"
    );
    let detail = format!(
        "the tables violate the rules {}: see `settle check`",
        findings.names()
    );
    store.alarm(None, "check", &detail).await
}

#[cfg(test)]
mod tests {
    use super::{Findings, Round};
    use storage::CheckedRows;

    fn page(violations: i64, next: Option<&str>) -> CheckedRows {
        let mut broken = storage::rules();
        broken.retain(|rule| violations > 0 && rule.name == "a_status_fits");
        for rule in &mut broken {
            (rule.violations, rule.examples) = (violations, vec!["x".to_owned()]);
        }
        CheckedRows {
            checked: 10,
            broken,
            next_cursor: next.map(str::to_owned),
        }
    }

    #[test]
    fn a_violation_is_shown_until_a_whole_round_does_not_find_it() {
        let mut round = Round::default();
        assert_eq!(round.add(page(0, Some("events:"))), None);
        assert_eq!(round.violations(), 0);
        assert_eq!(round.add(page(2, Some("lanes:"))), None);
        assert_eq!(round.violations(), 2);
        let whole = round.add(page(1, None)).expect("the round is over");
        assert_eq!((whole.violations(), whole.checked), (3, 30));
        assert_eq!(round.add(page(0, Some("events:"))), None);
        assert_eq!(round.violations(), 3);
        assert_eq!(
            round.add(page(0, None)).map(|whole| whole.violations()),
            Some(0)
        );
        assert_eq!(round.violations(), 0);
    }

    #[test]
    fn every_rule_is_listed_whether_it_is_broken_or_not() {
        let mut findings = Findings::default();
        findings.add(page(7, None));
        let rules = findings.rules;
        assert_eq!(rules.len(), storage::rules().len());
        let broken: Vec<_> = rules.iter().filter(|rule| rule.violations != 0).collect();
        assert_eq!(broken.len(), 1);
        assert_eq!(
            (broken[0].name, &broken[0].examples[..]),
            ("a_status_fits", &["x".to_owned()][..])
        );
    }
}
