//! What happened in each minute, over all processes: written once a minute by each of them, and read for charts.

use crate::db::counts::{Counted, MINUTE_MICROS, MinuteKey, SERIES, Series, Sum, minute};
use crate::db::error::Error;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Value, batches, row, sql};
use crate::db::store::Store;
use crate::reports::listing::Filtered;
use domain::{AppId, DestinationId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Numbers of rows of one statement.
const SIZES: &[usize] = &[100, 10, 1];
/// How much of the past one call removes, from the oldest minute on: so no transaction is long after a pause.
const REMOVED_MICROS: i64 = 60 * MINUTE_MICROS;

/// Which minutes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesFilter {
    /// What was counted.
    pub series: Series,
    /// Only that of this app.
    pub app: Option<AppId>,
    /// Only that of this destination.
    pub destination: Option<DestinationId>,
    /// The first minute.
    pub from: Timestamp,
    /// The last minute.
    pub until: Timestamp,
}

row! {
    struct MinuteRow {
        at: Timestamp,
        times: i64,
        total_ms: i64,
        longest_ms: i64,
    }
}

/// Minutes that two processes write at once are locked in one order.
const ADD: Sql = statement! {"
    INSERT INTO minutes (series, at, app_id, destination_id, times, total_ms, longest_ms)
    VALUES ?*
    ON CONFLICT (series, at, app_id, destination_id)
    DO UPDATE SET times = minutes.times + excluded.times, total_ms = minutes.total_ms + excluded.total_ms,
        longest_ms = CASE WHEN excluded.longest_ms > minutes.longest_ms THEN excluded.longest_ms
            ELSE minutes.longest_ms END
"};

const READ: Sql = statement! {"
    SELECT at, CAST(SUM(times) AS BIGINT) AS times, CAST(SUM(total_ms) AS BIGINT) AS total_ms,
        CAST(MAX(longest_ms) AS BIGINT) AS longest_ms
    FROM minutes
    WHERE series = ? AND at >= ? AND at <= ? AND {{which}}
    GROUP BY at
    ORDER BY at
"};
const OF_ALL: Clause = clause!(&[READ], hot "minutes_of_series or minutes_of_app", "TRUE");
const OF_APP: Clause = clause!(&[READ], hot "minutes_of_app", "app_id = ?");
const OF_DESTINATION: Clause =
    clause!(&[READ], hot "minutes_of_destination", "destination_id <> '' AND destination_id = ?");

const OLDEST: Sql = statement! {hot "minutes_of_series", "
    SELECT at AS value
    FROM minutes
    WHERE series = ?
    ORDER BY at
    LIMIT 1
"};
const REMOVE: Sql = statement!(hot "minutes_of_series", "DELETE FROM minutes WHERE series = ? AND at < ?");

impl Store {
    /// Counts something that happens now. It waits for nothing: [`Self::write_minutes`] writes it.
    pub fn count(&self, series: Series, counted: impl Into<Counted>) {
        self.count_timed(series, counted, Duration::ZERO);
    }

    /// Counts something that took this long, and ended now.
    pub fn count_timed(&self, series: Series, counted: impl Into<Counted>, took: Duration) {
        let (Counted { app, destination }, now) = (counted.into(), (self.clock)());
        self.counts.add(MinuteKey { series, at: minute(now), app, destination }, Sum::one(took));
    }

    /// Writes what this process counted by minutes. After an error it waits in memory for the next call; where the commit
    /// had an unknown result, it may count twice.
    pub async fn write_minutes(&self) -> Result<(), Error> {
        let taken = self.counts.take_minutes();
        if taken.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = taken.clone().into_iter().collect();
        let written = self.write(move |write| {
            for batch in batches(&rows, SIZES) {
                sql(ADD).bind_rows(batch.iter().map(row)).run(write.connection)?;
            }
            Ok(())
        });
        written.await.inspect_err(|_| taken.into_iter().for_each(|(key, sum)| self.counts.add(key, sum)))
    }

    /// The minutes in which something was counted, in their order, with what this process has not written yet.
    pub async fn minutes(&self, filter: SeriesFilter) -> Result<BTreeMap<Timestamp, Sum>, Error> {
        let SeriesFilter { series, app, destination, from, until } = filter;
        let rows: Vec<MinuteRow> = self
            .read(move |connection| {
                let values: [Value<'_>; 3] = [series.into(), from.into(), until.into()];
                let list = Filtered::new(READ, values).and(OF_APP, app).and(OF_DESTINATION, destination);
                list.when((app.is_none() && destination.is_none()).then_some(OF_ALL)).statement().all(connection)
            })
            .await?;
        let mut minutes: BTreeMap<Timestamp, Sum> = BTreeMap::new();
        for MinuteRow { at, times, total_ms, longest_ms } in rows {
            minutes.insert(at, Sum { times, total_ms, longest_ms });
        }
        let is_wanted = |key: &MinuteKey| {
            let is_of = app.is_none_or(|app| key.app == Some(app));
            let is_to = destination.is_none_or(|destination| key.destination == Some(destination));
            key.series == series && key.at >= from && key.at <= until && is_of && is_to
        };
        for (key, sum) in self.counts.minutes().into_iter().filter(|(key, _)| is_wanted(key)) {
            minutes.entry(key.at).or_default().add(sum);
        }
        Ok(minutes)
    }

    /// Removes the minutes before a time, of each series an hour of the oldest at a time. Returns the number of removed
    /// rows.
    pub async fn forget_minutes(&self, before: Timestamp) -> Result<usize, Error> {
        let mut removed = 0;
        for series in SERIES {
            let oldest: Option<Timestamp> =
                self.read(move |connection| sql(OLDEST).bind(series).value(connection)).await?;
            let Some(oldest) = oldest.filter(|oldest| *oldest < minute(before)) else { continue };
            let through = Timestamp::from_micros(oldest.micros().saturating_add(REMOVED_MICROS)).min(minute(before));
            removed += self.write(move |write| sql(REMOVE).bind(series).bind(through).run(write.connection)).await?;
        }
        Ok(removed)
    }
}

fn row((key, sum): &(MinuteKey, Sum)) -> [Value<'static>; 7] {
    let text = |id: Option<String>| Value::from(id.unwrap_or_default());
    [
        key.series.into(),
        key.at.into(),
        text(key.app.map(|id| id.to_string())),
        text(key.destination.map(|id| id.to_string())),
        sum.times.into(),
        sum.total_ms.into(),
        sum.longest_ms.into(),
    ]
}
