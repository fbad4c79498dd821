//! The migrations: the text of each, for one of the databases, and how it is applied.
//!
//! A text is a file of `migrations/`. Its first line is one of these:
//!
//! - `--step script [TABLE]`: statements that are run in one transaction, and touch the rows of this table, if any;
//! - `--step index TABLE`: one `CREATE INDEX name ON …`, which blocks no writer;
//! - `--step batches TABLE ROWS`: a statement that counts rows as `value`, and one that changes at most `?` of them, so
//!   that they no longer count. The second one is repeated until no row is left, each time in a transaction.
//!
//! The line ends with `from VERSION`: the oldest release that works with the tables after this step. After a step that
//! only adds to the tables, the previous release continues to work.
//!
//! A line that begins with one of [`MARKS`] is only for that database.

use crate::error::Error;
use crate::secrets::sha256;
use semver::Version;

/// The name and the text of a file of `migrations/`.
macro_rules! file {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../migrations/", $name, ".sql")),
        )
    };
}

/// All migrations, in order. A released text never changes: `tests/released` has its hash.
const MIGRATIONS: &[(&str, &str)] = &[
    file!("2026-11-20-000000_ledger"),
    file!("2026-11-29-000004_alarm_announcing"),
    file!("2026-11-29-000101_deliveries_pending_of_lane"),
    file!("2026-11-29-000102_deliveries_pending_of_destination"),
    file!("2026-11-29-000103_deliveries_pending_due"),
    file!("2026-11-29-000104_deliveries_pending_tried"),
    file!("2026-11-29-000105_deliveries_pending_in_order"),
    file!("2026-11-29-000106_deliveries_unnamed_of_lane"),
    file!("2026-11-29-000107_deliveries_unnamed_of_destination"),
    file!("2026-11-29-000108_deliveries_unnamed_in_time"),
    file!("2026-11-29-000109_deliveries_unnamed_in_order"),
    file!("2026-11-29-000110_deliveries_failed_to_destination"),
    file!("2026-11-29-000111_deliveries_failed_in_order"),
    file!("2026-11-29-000112_deliveries_skipped_to_destination"),
    file!("2026-11-29-000113_deliveries_skipped_in_order"),
    file!("2026-11-29-000114_deliveries_by_key"),
    file!("2026-11-29-000201_notifications_open_in_order"),
    file!("2026-11-29-000202_notifications_open_due"),
    file!("2026-11-29-000203_notifications_open_woken"),
    file!("2026-11-29-000204_notifications_open_of_receipt"),
    file!("2026-11-29-000205_notifications_open_of_topic"),
    file!("2026-11-29-000206_notifications_by_key"),
    file!("2026-11-29-000301_device_deliveries_of_batch"),
    file!("2026-11-29-000302_device_deliveries_by_key"),
    file!("2026-11-29-000401_claims_pending_due"),
    file!("2026-11-29-000402_claims_pending_of_network"),
    file!("2026-11-29-000403_claims_by_key"),
    file!("2026-11-29-000501_purchases_spent"),
    file!("2026-11-29-000502_purchases_unspent"),
    file!("2026-11-29-000601_notifications_open_of_key"),
    file!("2026-11-29-000731_device_events_of_platform"),
    file!("2026-11-29-000732_notifications_of_platform"),
    file!("2026-11-29-000733_deliveries_to_destination"),
    file!("2026-11-29-000734_alarms_of_app"),
    file!("2026-11-29-000735_purchases_held_of_app"),
    file!("2026-11-29-000736_small_tables_of_app"),
    file!("2026-11-29-000741_moves_count_again"),
    file!("2026-11-29-000751_claims_failure"),
    file!("2026-11-29-000761_payments_rates"),
    file!("2026-11-29-000762_payments_priced_on"),
    file!("2026-11-29-000763_payments_unrated"),
    file!("2026-11-29-000771_notifications_named"),
    file!("2026-11-29-000781_transfers_unannounced_after"),
    file!("2026-11-29-000782_transfers_unannounced"),
    file!("2026-11-29-000783_claims_absent_since"),
    file!("2026-11-29-000784_platforms_shares_package"),
    file!("2026-11-29-000785_destinations_both_environments"),
    file!("2026-11-29-000791_transfers_to_since"),
    file!("2026-11-29-000795_devices_listed_at"),
    file!("2026-11-30-000801_processes"),
    file!("2026-11-30-000802_platforms_of_store"),
    file!("2026-11-30-000821_purchases_answered_customer"),
    file!("2026-11-30-000822_purchases_of_answered_customer"),
    file!("2026-11-30-000911_payments_periods"),
    file!("2026-11-30-000912_payments_store_transaction"),
    file!("2026-11-30-000913_purchases_part_skus"),
    file!("2026-11-30-000914_purchases_parts"),
    file!("2026-11-30-000921_duties"),
    file!("2026-11-30-000931_repairs"),
    file!("2026-11-30-000932_payments_of_orders"),
    file!("2026-11-30-000941_platforms_secret_retry"),
    file!("2026-11-30-000942_platforms_secret_retry_due"),
    file!("2026-12-01-000951_payments_tax"),
    file!("2026-12-01-000971_payments_country"),
];
const SQLITE: &str = "--sqlite   ";
const POSTGRES: &str = "--postgres ";
const MARKS: [&str; 2] = [SQLITE, POSTGRES];

/// A migration of one of the databases.
#[derive(Debug)]
pub struct Migration {
    pub version: String,
    /// Version and name, for display.
    pub name: String,
    /// The table whose rows the migration touches; `None` if it touches none.
    pub table: Option<String>,
    pub work: Work,
    /// The oldest release that works with the tables after the migration.
    pub from: Version,
    /// The SHA-256 of its text.
    pub fingerprint: String,
}

/// How a migration is applied.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Statements of one transaction.
    Script(String),
    /// A `CREATE INDEX` with the name of the index.
    Index { name: String, statement: String },
    /// Two statements: `count` counts the remaining rows, and `change` changes at most `rows` of them.
    Batches {
        count: String,
        change: String,
        rows: i64,
    },
}

impl Migration {
    /// Returns all migrations of PostgreSQL if `is_shared`, else those of SQLite.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a text is not in the format that the module docs describe.
    pub fn all(is_shared: bool) -> Result<Vec<Self>, Error> {
        let own = MIGRATIONS.iter().map(|(file, text)| {
            let (date, name) = file.split_once('_').unwrap_or((file, ""));
            [date.replace('-', ""), name.to_owned(), (*text).to_owned()]
        });
        own.chain(planted()?)
            .map(|[version, name, text]| Self::of(version, &name, &text, is_shared))
            .collect()
    }

    /// Returns the names of the tables that the migration creates.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        let text = match &self.work {
            Work::Script(text) => text.as_str(),
            Work::Index { .. } | Work::Batches { .. } => "",
        };
        text.lines().filter_map(|line| {
            line.strip_prefix("CREATE TABLE ")?
                .split_whitespace()
                .next()
        })
    }

    fn of(version: String, name: &str, text: &str, is_shared: bool) -> Result<Self, Error> {
        let text = for_database(text, is_shared);
        let name = format!("{version} {name}");
        let Some(Text { table, work, from }) = parsed(&text, is_shared) else {
            return Err(Error::corrupt(format!(
                "the migration {name} is not written as its first line announces"
            )));
        };
        Ok(Self {
            version,
            name,
            table,
            work,
            from,
            fingerprint: sha256(&text),
        })
    }
}

/// Returns the release of this program.
pub fn release() -> Version {
    env!("CARGO_PKG_VERSION")
        .parse()
        .expect("the version of a package is a semantic one")
}

/// The header of a migration's text.
#[derive(Debug, PartialEq, Eq)]
struct Text {
    table: Option<String>,
    work: Work,
    from: Version,
}

/// Returns the lines of a text that are for one of the databases, without their marks.
fn for_database(text: &str, is_shared: bool) -> String {
    let own = if is_shared { POSTGRES } else { SQLITE };
    text.lines()
        .filter_map(|line| unmarked(line, own))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Returns a line without its mark; `None` if it is for the other database.
fn unmarked<'t>(line: &'t str, own: &str) -> Option<&'t str> {
    match MARKS.iter().find(|mark| line.starts_with(mark.trim_end())) {
        Some(mark) => (*mark == own).then(|| line.get(mark.len()..).unwrap_or_default()),
        None => Some(line),
    }
}

/// Reads a text; `None` if it is malformed.
fn parsed(text: &str, is_shared: bool) -> Option<Text> {
    let (step, from) = text
        .lines()
        .next()?
        .strip_prefix("--step ")?
        .split_once(" from ")?;
    let from = from.trim().parse().ok()?;
    let parts: Vec<&str> = step.split_whitespace().collect();
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    let code = code.join("\n");
    let statements: Vec<&str> = code
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .collect();
    let (table, work) = match (parts.as_slice(), statements.as_slice()) {
        (["script"], _) => (None, Work::Script(text.to_owned())),
        (["script", table], _) => (Some(table), Work::Script(text.to_owned())),
        (["index", table], [create]) => (Some(table), index(create, is_shared)?),
        (["batches", table, rows], [count, change]) => {
            let [count, change] = [count, change].map(|statement| (*statement).to_owned());
            (
                Some(table),
                Work::Batches {
                    count,
                    change,
                    rows: rows.parse().ok().filter(|rows| *rows > 0)?,
                },
            )
        }
        _ => return None,
    };
    Some(Text {
        table: table.map(|table| (*table).to_owned()),
        work,
        from,
    })
}

fn index(create: &str, is_shared: bool) -> Option<Work> {
    let (before, after) = create.split_once("INDEX ")?;
    let name = after.split_whitespace().next()?.to_owned();
    let how = if is_shared {
        "INDEX CONCURRENTLY IF NOT EXISTS"
    } else {
        "INDEX IF NOT EXISTS"
    };
    Some(Work::Index {
        name,
        statement: format!("{before}{how} {after}"),
    })
}

/// Returns migrations of a later version, which a test has put into a folder as `VERSION_NAME.sql`.
#[cfg(feature = "fail-points")]
fn planted() -> Result<Vec<[String; 3]>, Error> {
    let Some(folder) = crate::fault::text_at("migrate.planted") else {
        return Ok(Vec::new());
    };
    let entries =
        std::fs::read_dir(&folder).map_err(|cause| Error::corrupt_by(folder.clone(), cause))?;
    let mut planted = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let text = std::fs::read_to_string(&path)
            .map_err(|cause| Error::corrupt_by(folder.clone(), cause))?;
        let name = path
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let (version, name) = name.split_once('_').unwrap_or((&name, ""));
        planted.push([version.to_owned(), name.to_owned(), text]);
    }
    planted.sort();
    Ok(planted)
}

/// Returns no migrations without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
const fn planted() -> Result<[[String; 3]; 0], Error> {
    Ok([])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_is_well_formed_and_follows_the_one_before() {
        for is_shared in [false, true] {
            let all = Migration::all(is_shared).unwrap();
            assert!(
                all.windows(2).all(|two| two[0].version < two[1].version),
                "{all:?}"
            );
        }
    }

    #[test]
    fn a_text_is_for_one_database_without_its_marks() {
        let text = "a\n--sqlite   b\n--postgres c\n--postgres\nd";
        assert_eq!(
            [false, true].map(|is_shared| for_database(text, is_shared)),
            ["a\nb\nd\n", "a\nc\n\nd\n"]
        );
    }

    #[test]
    fn a_step_is_read_from_the_first_line() {
        let index = "--step index notes from 0.1.0\n-- For lists.\nCREATE UNIQUE INDEX notes_at ON notes (at);\n";
        let statement =
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS notes_at ON notes (at)".to_owned();
        let work = Work::Index {
            name: "notes_at".to_owned(),
            statement,
        };
        let table = Some("notes".to_owned());
        assert_eq!(
            parsed(index, true),
            Some(Text {
                table: table.clone(),
                work,
                from: Version::new(0, 1, 0)
            })
        );
        let batches = "--step batches notes 500 from 0.2.0\nSELECT 1 AS value;\nUPDATE notes SET a = 1 LIMIT ?;\n";
        let [count, change] =
            ["SELECT 1 AS value", "UPDATE notes SET a = 1 LIMIT ?"].map(str::to_owned);
        let work = Work::Batches {
            count,
            change,
            rows: 500,
        };
        assert_eq!(
            parsed(batches, false),
            Some(Text {
                table,
                work,
                from: Version::new(0, 2, 0)
            })
        );
        let script = "--step script from 0.1.0\n-- A table.\nCREATE TABLE notes (at BIGINT);\n";
        let work = Work::Script(script.to_owned());
        assert_eq!(
            parsed(script, true),
            Some(Text {
                table: None,
                work,
                from: Version::new(0, 1, 0)
            })
        );
        let steps = [
            "index notes from 0.1.0",
            "batches notes 0 from 0.1.0",
            "script notes from 1",
            "script notes",
        ];
        for wrong in steps.map(|step| format!("--step {step}\nSELECT 1;\nSELECT 2;\n")) {
            assert_eq!(parsed(&wrong, true), None, "{wrong}");
        }
        assert_eq!(
            parsed("-- A table.\nCREATE TABLE notes (at BIGINT);\n", true),
            None,
            "it names no step"
        );
    }
}
