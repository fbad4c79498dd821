//! Makes all rows of a database older, and checks the database.

use super::world::World;
use storage::{CheckedRows, Page, RuleFindings};

pub const MINUTE_MS: i64 = 60_000;
pub const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Time columns that [`World::pass`] does not change on PostgreSQL, because only these tests depend on them.
const OTHER_TIMES: [(&str, &str); 13] = [
    ("notifications", "finished_at"),
    ("purchases", "created_at"),
    ("purchases", "updated_at"),
    ("deliveries", "created_at"),
    ("deliveries", "finished_at"),
    ("attempts", "started_at"),
    ("attempts", "finished_at"),
    ("destinations", "created_at"),
    ("destinations", "chosen_at"),
    ("destinations", "deleted_at"),
    ("pages", "at"),
    ("payments", "created_at"),
    ("device_events", "created_at"),
];

impl World {
    /// Lets time pass, and ages every row by the same time.
    pub fn age(&self, millis: i64) {
        self.pass(millis);
        if self.is_postgres() {
            let mut raw = self.raw();
            for (table, column) in OTHER_TIMES {
                raw.run(&format!(
                    "UPDATE {table} SET {column} = {column} - {}",
                    millis * 1000
                ));
            }
        }
    }

    /// Returns all violated rules, with the examples of all pages of the check.
    pub async fn check(&self, limit: i64) -> Vec<RuleFindings> {
        let (mut cursor, mut all) = (None, Vec::<RuleFindings>::new());
        loop {
            let CheckedRows {
                broken,
                next_cursor,
                ..
            } = self.store.check(Page { cursor, limit }).await.unwrap();
            for one in broken {
                assert!(
                    !one.examples.is_empty() && one.examples.len() <= 5,
                    "{one:?}"
                );
                match all.iter_mut().find(|known| known.name == one.name) {
                    Some(known) => {
                        known.violations += one.violations;
                        known.examples.extend(one.examples);
                    }
                    None => all.push(one),
                }
            }
            cursor = next_cursor;
            if cursor.is_none() {
                return all;
            }
        }
    }

    /// Returns the names of all violated rules, each with its number of violations.
    pub async fn broken(&self, limit: i64) -> Vec<(&'static str, i64)> {
        self.check(limit)
            .await
            .into_iter()
            .map(|one| (one.name, one.violations))
            .collect()
    }
}
