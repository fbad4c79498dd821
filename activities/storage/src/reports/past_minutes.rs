//! The past of `minutes`: rows older than a day are rolled up to hours, and rows older than eight days are removed, a
//! bounded number in each transaction.
//!
//! An hour is a row of the same table, at the beginning of the hour. Sums over hours or longer steps stay the same. A
//! count that is written late, into an hour that is already rolled up, is rolled up by a later call.

use crate::reports::minutes::{self, TABLE};
use crate::store::Store;
use db::counts::{MINUTE_MICROS, MinuteKey, SERIES, Series, Sum};
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, row, sql};
use db::writer::{JobKind, Write};
use domain::Timestamp;
use std::collections::BTreeMap;

const HOUR_MICROS: i64 = 60 * MINUTE_MICROS;
/// Maximum number of rows that one statement removes.
const MAX_ROWS: i64 = 5_000;
/// Maximum number of rows from which a transaction collects the apps whose hour it rolls up.
const MAX_FOUND: i64 = 30;

/// The first minute of a series that is not rolled up. Reads one row for each rolled-up hour before it.
const FIRST: Sql = statement! {hot "minutes_of_series", "
    WITH RECURSIVE next (at) AS (
        SELECT MIN(at) FROM minutes WHERE series = ? AND at >= ?
        UNION ALL
        SELECT (SELECT MIN(m.at) FROM minutes m WHERE m.series = ? AND m.at > next.at)
        FROM next
        WHERE next.at < ? AND next.at % 3600000000 = 0)
    SELECT at AS value
    FROM next
    WHERE at < ? AND at % 3600000000 <> 0
"};

const REMOVE: Sql = statement! {hot "minutes_of_series", "
    DELETE FROM minutes
    WHERE (series, at, app_id, destination_id) IN (
        SELECT series, at, app_id, destination_id
        FROM minutes
        WHERE series = ? AND at < ?
        ORDER BY at, app_id, destination_id
        LIMIT ?)
"};

/// The apps of the first minutes in an hour that are not rolled up.
const APPS: Sql = statement! {hot "minutes_of_series", "
    SELECT DISTINCT app_id AS value
    FROM (SELECT app_id FROM minutes WHERE series = ? AND at > ? AND at < ? ORDER BY at, app_id LIMIT ?) first
    ORDER BY app_id
"};

/// Deletes and returns rows: each row is returned to only one process, with everything that was added until its
/// deletion.
const TAKE: Sql = statement! {hot "minutes_of_series or minutes_of_app", "
    DELETE FROM minutes
    WHERE (series, at, app_id, destination_id) IN (
        SELECT series, at, app_id, destination_id
        FROM minutes
        WHERE app_id IN (?*) AND series = ? AND at > ? AND at < ?
        ORDER BY app_id, at, destination_id
        LIMIT ?)
    RETURNING app_id, destination_id, times, total_ms, longest_ms
"};

row! {
    struct TakenRow {
        app_id: String,
        destination_id: String,
        times: i64,
        total_ms: i64,
        longest_ms: i64,
    }
}

impl Store {
    /// Removes rows before a time, a bounded number of each series. Returns their number, which is 0 when none is left.
    pub async fn forget_minutes(&self, before: Timestamp) -> Result<usize, Error> {
        let mut removed = 0;
        for series in SERIES {
            let remove = move |write: &mut Write<'_>| {
                sql(REMOVE)
                    .bind((series, before, MAX_ROWS))
                    .run(write.connection)
            };
            removed += self
                .database
                .writer
                .write(JobKind::Count(TABLE), remove)
                .await?;
        }
        Ok(removed)
    }

    /// Rolls up minutes of hours that ended before a time, a bounded number of each series. Returns the number of rows
    /// that it rolled up, which is 0 when none is left.
    pub async fn roll_up_minutes(&self, before: Timestamp) -> Result<usize, Error> {
        let (mut rolled, end) = (0, hour(before));
        for series in SERIES {
            let from = self.counts.rolled_up(series, end);
            if from >= end {
                continue;
            }
            let values: [Value<'static>; 5] = [
                series.into(),
                from.into(),
                series.into(),
                end.into(),
                end.into(),
            ];
            let first = self.read(move |connection| sql(FIRST).bind_all(values).value(connection));
            let first: Option<Timestamp> = first.await?;
            self.counts
                .note_rolled_up(series, end, first.map_or(end, hour));
            let Some(first) = first else { continue };
            let roll_up = move |write: &mut Write<'_>| roll_up(write, series, hour(first));
            rolled += self
                .database
                .writer
                .write(JobKind::Count(TABLE), roll_up)
                .await?;
        }
        Ok(rolled)
    }
}

fn roll_up(write: &mut Write<'_>, series: Series, hour: Timestamp) -> Result<usize, Error> {
    let end = Timestamp::from_micros(hour.micros().saturating_add(HOUR_MICROS));
    let apps = sql(APPS).bind((series, hour, end, MAX_FOUND));
    let apps: Vec<String> = apps.values(write.connection)?;
    if apps.is_empty() {
        return Ok(0);
    }
    let take = sql(TAKE)
        .bind_list(apps)
        .bind((series, hour, end, MAX_ROWS));
    let taken: Vec<TakenRow> = take.all(write.connection)?;
    let rows = taken.len();
    let mut sums: BTreeMap<MinuteKey, Sum> = BTreeMap::new();
    for TakenRow {
        app_id,
        destination_id,
        times,
        total_ms,
        longest_ms,
    } in taken
    {
        let (app, destination) = (app_id.parse().ok(), destination_id.parse().ok());
        let key = MinuteKey {
            series,
            at: hour,
            app,
            destination,
        };
        sums.entry(key).or_default().add(Sum {
            times,
            total_ms,
            longest_ms,
        });
    }
    minutes::add(write, &sums.into_iter().collect::<Vec<_>>())?;
    Ok(rows)
}

/// Returns the beginning of the hour that contains a time.
fn hour(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(HOUR_MICROS) * HOUR_MICROS)
}
