//! The consistency check: compares page by page whether the tables agree with each other. Each single comparison is
//! called a rule.
//!
//! The check repairs nothing, and is not part of settling or delivering. The caller sets the size of a page, and so the
//! cost of a call.

mod acceptance;
mod checks;
mod periods;
mod queued;
mod range;

pub use queued::{reset_choice, reset_choices_of_platform};

use crate::store::Store;
use checks::TABLES;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::Page;
use db::sql::{Clause, Sql};
use db::statement::sql;
use range::{KeyKind, Range};
use schemars::JsonSchema;
use serde::Serialize;

/// Maximum number of examples of a broken rule.
const EXAMPLES: usize = 5;

/// A consistency rule, with the number of rows that violate it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleFindings {
    /// Name of the rule.
    pub name: &'static str,
    /// Table that the rule checks.
    pub of: &'static str,
    /// Description of the rule.
    pub description: &'static str,
    /// Number of rows that violate the rule.
    pub violations: i64,
    /// Names of the first of these rows.
    pub examples: Vec<String>,
}

/// The result of checking one page of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRows {
    /// Number of rows checked.
    pub checked: i64,
    pub broken: Vec<RuleFindings>,
    /// The cursor of the next page; `None` at the end of the last table.
    pub next_cursor: Option<String>,
}

struct Table {
    name: &'static str,
    key: KeyKind,
    /// Selects the next keys after a key, as text.
    keys: Sql,
    checks: &'static [Check],
}

/// A rule, and how to check it.
struct Check {
    name: &'static str,
    description: &'static str,
    by: By,
}

/// How to check a rule on a range of rows.
enum By {
    /// A condition with which the table's statement selects the names of the rows that break the rule.
    Clause(Clause),
    /// A function, if one statement for both databases is not enough. Returns the names of the rows that break the
    /// rule.
    Code(fn(&mut AnyConnection, &Range) -> Result<Vec<String>, Error>),
}

/// Returns all rules without violations, in the order of the tables.
pub fn rules() -> Vec<RuleFindings> {
    let of = |table: &'static Table| {
        table
            .checks
            .iter()
            .map(|check| table.findings(check, Vec::new()))
    };
    TABLES.iter().flat_map(of).collect()
}

/// Returns the table and the key after which a check continues, from the cursor `table:key`.
fn position(cursor: Option<&str>) -> Result<(usize, &str), Error> {
    let Some(cursor) = cursor else {
        return Ok((0, ""));
    };
    let (name, key) = cursor.split_once(':').ok_or(Error::Cursor)?;
    let place = TABLES
        .iter()
        .position(|table| table.name == name && table.key.is(key))
        .ok_or(Error::Cursor)?;
    Ok((place, key))
}

impl Store {
    /// Checks all rules of one table on its next rows, at most `page.limit`.
    pub async fn check(&self, page: Page) -> Result<CheckedRows, Error> {
        self.read_now(move |connection, now| {
            let (place, after) = position(page.cursor.as_deref())?;
            let table = TABLES.get(place).ok_or(Error::Cursor)?;
            let from = table.key.values(after);
            let keys: Vec<String> = sql(table.keys)
                .bind_all(from.clone())
                .bind(page.size())
                .values(connection)?;
            let checked = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let next_table = || {
                TABLES
                    .get(place + 1)
                    .map(|table| format!("{}:", table.name))
            };
            let Some(last) = keys.last() else {
                return Ok(CheckedRows {
                    checked,
                    broken: Vec::new(),
                    next_cursor: next_table(),
                });
            };
            let is_end = checked < page.size();
            let next_cursor = if is_end {
                next_table()
            } else {
                Some(format!("{}:{last}", table.name))
            };
            let values = from.into_iter().chain(table.key.values(last)).collect();
            Ok(CheckedRows {
                checked,
                broken: table.broken(connection, &Range { values, now })?,
                next_cursor,
            })
        })
        .await
    }
}

impl Table {
    /// Returns the rules that these rows break.
    fn broken(
        &self,
        connection: &mut AnyConnection,
        range: &Range,
    ) -> Result<Vec<RuleFindings>, Error> {
        let mut all = Vec::new();
        for check in self.checks {
            all.push(self.findings(check, check.by.broken(connection, range)?));
        }
        all.retain(|one| one.violations > 0);
        Ok(all)
    }

    fn findings(&self, check: &Check, broken: Vec<String>) -> RuleFindings {
        let violations = i64::try_from(broken.len()).unwrap_or(i64::MAX);
        let examples = broken.into_iter().take(EXAMPLES).collect();
        RuleFindings {
            name: check.name,
            of: self.name,
            description: check.description,
            violations,
            examples,
        }
    }
}

impl By {
    /// Returns the names of the rows that break the rule.
    fn broken(&self, connection: &mut AnyConnection, range: &Range) -> Result<Vec<String>, Error> {
        match self {
            Self::Clause(clause) => {
                let lists = clause
                    .completes
                    .iter()
                    .map(|list| sql(list.of(*clause)).bind_all(range.values.clone()));
                lists
                    .map(|list| list.values(connection))
                    .collect::<Result<Vec<_>, _>>()
                    .map(|all| all.concat())
            }
            Self::Code(code) => code(connection, range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TABLES, position, rules};
    use std::collections::BTreeSet;

    #[test]
    fn a_rule_has_a_name_of_its_own() {
        let names: BTreeSet<_> = rules().into_iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), rules().len());
    }

    #[test]
    fn a_cursor_names_its_place() {
        for (place, table) in TABLES.iter().enumerate() {
            let cursor = format!("{}:7", table.name);
            assert_eq!(position(Some(&cursor)).unwrap(), (place, "7"));
        }
    }

    #[test]
    fn a_strange_cursor_is_refused() {
        for cursor in ["", "notifications", "nothing:1", "notifications:x"] {
            assert!(position(Some(cursor)).is_err(), "{cursor}");
        }
    }
}
