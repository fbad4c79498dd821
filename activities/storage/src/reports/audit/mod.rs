//! Conservation: whether the tables agree with each other, page by page.
//!
//! Nothing here repairs, and nothing runs on the way of a notification or a delivery. Each page is bounded, so that the
//! caller decides the cost of a check.

mod acceptance;
mod checks;
mod owed;
mod walk;

pub use owed::{reset_choice, reset_choices_of_platform};

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::Page;
use crate::db::sql::Sql;
use crate::db::statement::{SingleText, sql};
use crate::db::store::Store;
use checks::CHECKS;
use serde::Serialize;
use walk::{Range, WALKS};

/// Maximum number of rows that are named for a broken rule.
const EXAMPLES: usize = 5;

/// A rule that must hold between the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// A stable name.
    pub name: &'static str,
    /// The rule, in a sentence.
    pub description: &'static str,
    /// The name of the table whose rows it checks.
    pub of: &'static str,
}

/// Rows of a page that break a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The rule's name.
    pub name: &'static str,
    /// How many rows of the page break it.
    pub violations: i64,
    /// The first of them, by what names them.
    pub examples: Vec<String>,
}

/// The result of checking one page of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// How many rows were checked.
    pub checked: i64,
    /// The rules that do not hold.
    pub broken: Vec<Broken>,
    /// The cursor of the next page; `None` at the end of the last table.
    pub next_cursor: Option<String>,
}

/// How a rule is checked on a range of rows.
enum Check {
    /// By a statement that selects the names of rows that break it.
    Text(Sql),
    /// By code, where one statement on both databases is not enough.
    Code(fn(&mut AnyConnection, &Range<'_>) -> Result<Vec<String>, Error>),
}

/// All rules, those of a table together, in the order of the tables.
#[must_use]
pub fn rules() -> Vec<Rule> {
    CHECKS.iter().map(|(rule, _)| *rule).collect()
}

impl Store {
    /// Checks every rule on the next rows: at most `page.limit` of one table.
    pub async fn audit(&self, page: Page) -> Result<Audited, Error> {
        let (walk, after) = walk::position(page.cursor.as_deref())?;
        let (clock, size) = (self.clock, page.size());
        self.read(move |connection| {
            let walk = WALKS.get(walk).ok_or(Error::Cursor)?;
            let now = connection.now(clock)?;
            let keys = walk.keys(connection, &after, size)?;
            let Some(last) = keys.last().cloned() else {
                return Ok(Audited { checked: 0, broken: Vec::new(), next_cursor: walk.next() });
            };
            let checked = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let next_cursor = if checked < size { walk.next() } else { Some(walk.cursor(&last)) };
            let broken = broken(connection, &Range { walk, after: &after, last: &last, now })?;
            Ok(Audited { checked, broken, next_cursor })
        })
        .await
    }
}

fn broken(connection: &mut AnyConnection, range: &Range<'_>) -> Result<Vec<Broken>, Error> {
    let mut all = Vec::new();
    for (rule, check) in CHECKS.iter().filter(|(rule, _)| rule.of == range.walk.table) {
        let mut named = match check {
            Check::Text(text) => named(connection, range, *text)?,
            Check::Code(check) => check(connection, range)?,
        };
        if !named.is_empty() {
            let violations = i64::try_from(named.len()).unwrap_or(i64::MAX);
            named.truncate(EXAMPLES);
            all.push(Broken { name: rule.name, violations, examples: named });
        }
    }
    Ok(all)
}

fn named(connection: &mut AnyConnection, range: &Range<'_>, check: Sql) -> Result<Vec<String>, Error> {
    let rows: Vec<SingleText> = sql(check).bind_all(range.values()).all(connection)?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

#[cfg(test)]
mod tests {
    use super::{CHECKS, Check, WALKS};
    use std::collections::BTreeSet;

    #[test]
    fn a_rule_has_a_name_of_its_own_and_a_table_that_is_walked() {
        let range = |table| WALKS.iter().find(|walk| walk.table == table).map_or("", |walk| walk.range);
        let names: BTreeSet<_> = CHECKS.iter().map(|(rule, _)| rule.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        for (rule, check) in CHECKS {
            assert!(WALKS.iter().any(|walk| walk.table == rule.of), "{}", rule.name);
            assert!(!matches!(check, Check::Text(text) if !text.text.contains(range(rule.of))), "{}", rule.name);
        }
    }
}
