//! A record of the accepted notifications in a table of its own: with it the check finds a notification whose row is
//! gone.
//!
//! It costs one more row for up to sixteen notifications, at the end of a table that has no index but its key. Only the
//! check reads it.

use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, row, sql};
use db::writer::Write;
use domain::CollapseKey;

/// Maximum number of notifications in one row.
const PER_ROW: usize = 16;
/// The sequence numbers in one row differ by less than this, so that the check searches few rows for a number.
pub const SPAN: i64 = 256;
const SIZES: [usize; 3] = [16, 4, 1];

/// A notification: its sequence number, and its purchase unless it names none.
pub type Entry = (i64, Option<CollapseKey>);

const INSERT: Sql =
    statement!("INSERT INTO acceptances (seq, notifications) VALUES ?* ON CONFLICT DO NOTHING");

/// Records the notifications that are accepted in this transaction. A conflict with another row does not reject them;
/// the check reports it.
pub fn note(write: &mut Write<'_>, mut entries: Vec<Entry>) -> Result<(), Error> {
    entries.sort_unstable();
    let rows: Vec<(i64, String)> = rows(&entries).map(json).collect::<Result<_, _>>()?;
    for batch in batches(&rows, &SIZES) {
        let rows = batch
            .iter()
            .map(|(seq, json)| [Value::from(*seq), Value::from(json.as_str())]);
        sql(INSERT).bind_rows(rows).later(write.connection)?;
    }
    Ok(())
}

row! {
    struct StoredRow {
        seq: i64,
        notifications: String,
    }
}

const NEAR: Sql = statement!(
    "SELECT seq, notifications FROM acceptances WHERE seq > ? AND seq <= ? ORDER BY seq FOR UPDATE"
);
const CHANGE: Sql = statement!("UPDATE acceptances SET notifications = ? WHERE seq = ?");
const DELETE: Sql = statement!("DELETE FROM acceptances WHERE seq = ?");

/// Removes notifications, in order of their sequence numbers, from the record.
pub fn remove(write: &mut Write<'_>, seqs: &[i64]) -> Result<(), Error> {
    for near in seqs.chunk_by(|one, next| next - one < SPAN) {
        let (Some(first), Some(last)) = (near.first(), near.last()) else {
            continue;
        };
        let rows: Vec<StoredRow> = sql(NEAR)
            .bind(first - SPAN)
            .bind(*last)
            .all(write.connection)?;
        for row in rows {
            // The check reports a row that cannot be read.
            let Some(entries) = read(&row.notifications) else {
                continue;
            };
            let rest: Vec<Entry> = entries
                .iter()
                .filter(|(seq, _)| near.binary_search(seq).is_err())
                .copied()
                .collect();
            if rest.is_empty() {
                sql(DELETE).bind(row.seq).run(write.connection)?;
            } else if rest.len() < entries.len() {
                sql(CHANGE)
                    .bind(json(&rest)?.1)
                    .bind(row.seq)
                    .run(write.connection)?;
            }
        }
    }
    Ok(())
}

/// Splits entries, ordered by their sequence numbers, into rows.
fn rows(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let (first, _) = rest.first()?;
        let near = rest.partition_point(|(seq, _)| seq - first < SPAN);
        let (row, others) = rest.split_at(near.min(PER_ROW));
        rest = others;
        Some(row)
    })
}

fn json(row: &[Entry]) -> Result<(i64, String), Error> {
    let json = serde_json::to_string(row);
    let json =
        json.map_err(|cause| Error::corrupt_by("an acceptance cannot be written as JSON", cause))?;
    Ok((row.first().map_or(0, |(seq, _)| *seq), json))
}

/// Parses a stored row; `None` when it is not readable.
pub fn read(stored: &str) -> Option<Vec<Entry>> {
    serde_json::from_str(stored).ok()
}

#[cfg(test)]
mod tests {
    use super::{Entry, json, read, rows};
    use domain::CollapseKey;

    #[test]
    fn a_row_holds_few_numbers_that_are_near_each_other() {
        let seqs = (1..=20).chain([272, 273, 274, 1000]);
        let entries: Vec<Entry> = seqs.map(|seq| (seq, None)).collect();
        let ends = |row: &[Entry]| (row[0].0, row[row.len() - 1].0);
        let all: Vec<_> = rows(&entries).map(ends).collect();
        assert_eq!(all, [(1, 16), (17, 272), (273, 274), (1000, 1000)]);
        assert_eq!(rows(&[]).count(), 0);
    }

    #[test]
    fn what_was_noted_is_read() {
        let key: CollapseKey = "6b275a67-0bbb-4f3a-99b9-6600bf711993".parse().unwrap();
        let (seq, stored) = json(&[(7, Some(key)), (9, None)]).unwrap();
        assert_eq!(
            (seq, read(&stored)),
            (7, Some(vec![(7, Some(key)), (9, None)]))
        );
        assert_eq!(read("{}"), None);
    }
}
