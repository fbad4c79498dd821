//! Counts per minute over all processes: each process writes its counts once a minute, and charts read them. After a
//! day they are stored by hour; see [`super::past_minutes`].

use crate::reports::filtered::Filtered;
use crate::store::Store;
use db::counts::{Counted, MinuteKey, Series, Sum, minute};
use db::error::Error;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Statement, Value, batches, row, sql};
use db::writer::Write;
use domain::{AppId, DestinationId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const TABLE: &str = "minutes";

/// Numbers of rows that one statement inserts.
const SIZES: &[usize] = &[100, 10, 1];

/// Selection of minutes to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesFilter {
    pub series: Vec<Series>,
    pub app: Option<AppId>,
    /// Only these destinations, each counted separately; if empty, all together.
    pub destinations: Vec<DestinationId>,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// What is counted: a series, of one destination or of all together.
pub type Counting = (Series, Option<DestinationId>);

/// The sums by minute, without minutes in which nothing was counted.
pub type Minutes = BTreeMap<Timestamp, Sum>;

row! {
    struct MinuteRow {
        series: Series,
        destination_id: String,
        at: Timestamp,
        times: i64,
        total_ms: i64,
        longest_ms: i64,
    }
}

row! {
    struct TotalRow {
        series: Series,
        times: i64,
    }
}

/// The rows are sorted, so that two processes lock the same minutes in the same order.
const ADD: Sql = statement! {"
    INSERT INTO minutes (series, at, app_id, destination_id, times, total_ms, longest_ms)
    VALUES ?*
    ON CONFLICT (series, at, app_id, destination_id)
    DO UPDATE SET times = minutes.times + excluded.times, total_ms = minutes.total_ms + excluded.total_ms,
        longest_ms = CASE WHEN excluded.longest_ms > minutes.longest_ms THEN excluded.longest_ms
            ELSE minutes.longest_ms END
"};

const SUMS: &str =
    "at, CAST(SUM(times) AS BIGINT) AS times, CAST(SUM(total_ms) AS BIGINT) AS total_ms,
        CAST(MAX(longest_ms) AS BIGINT) AS longest_ms
    FROM minutes
    WHERE series IN (?*) AND at >= ? AND at <= ?";
const READ: Sql = statement! {"
    SELECT series, '' AS destination_id, {SUMS} AND {{which}}
    GROUP BY series, at
"};
const OF_ALL: Clause = clause!(&[READ], hot "minutes_of_series or minutes_of_app", "TRUE");
const READ_EACH: Sql = statement! {"
    SELECT series, destination_id, {SUMS} AND {{which}}
    GROUP BY series, destination_id, at
"};
const OF_APP: Clause = clause!(&[READ, READ_EACH], hot "minutes_of_app", "app_id = ?");
const OF_DESTINATIONS: Clause = clause!(&[READ_EACH], hot "minutes_of_destination", "destination_id <> '' AND destination_id IN (?*)");

const TOTALS: Sql = statement! {hot "minutes_of_series or minutes_of_app", "
    SELECT series, CAST(SUM(times) AS BIGINT) AS times
    FROM minutes
    WHERE series IN (?*) AND at >= ?
    GROUP BY series
"};

impl SeriesFilter {
    fn statement(self) -> Statement<'static> {
        let list = |values: Vec<Value<'static>>| Value::List(values);
        let series = list(self.series.into_iter().map(Value::from).collect());
        let values = [series, self.from.into(), self.until.into()];
        if self.destinations.is_empty() {
            let all = self.app.is_none().then_some(OF_ALL);
            return Filtered::new(READ, values)
                .and(OF_APP, self.app)
                .when(all)
                .statement();
        }
        let destinations = list(self.destinations.into_iter().map(Value::from).collect());
        Filtered::new(READ_EACH, values)
            .and(OF_APP, self.app)
            .and(OF_DESTINATIONS, Some(destinations))
            .statement()
    }

    fn has(&self, key: &MinuteKey) -> bool {
        let is_of = self.app.is_none_or(|app| key.app == Some(app));
        let is_to = || {
            key.destination
                .is_some_and(|destination| self.destinations.contains(&destination))
        };
        let is_then = key.at >= self.from && key.at <= self.until;
        self.series.contains(&key.series)
            && is_then
            && is_of
            && (self.destinations.is_empty() || is_to())
    }
}

impl Store {
    /// Counts something that happens now. The count is kept in memory until [`Self::write_minutes`] writes it.
    pub fn count(&self, series: Series, counted: impl Into<Counted>) {
        self.count_timed(series, counted, Duration::ZERO);
    }

    /// Counts something that took the time `took` and ended now.
    pub fn count_timed(&self, series: Series, counted: impl Into<Counted>, took: Duration) {
        let (Counted { app, destination }, now) = (counted.into(), (self.database.clock)());
        self.counts.add(
            MinuteKey {
                series,
                at: minute(now),
                app,
                destination,
            },
            Sum::one(took),
        );
    }

    /// Writes the counts of this process. After an error, those that were not written stay in memory for the next call;
    /// if the result of the commit is unknown, they may be counted twice.
    pub async fn write_minutes(&self) -> Result<(), Error> {
        let rows: Vec<_> = self.counts.take_minutes().into_iter().collect();
        self.add_counts(TABLE, &rows, add)
            .await
            .map_err(|(error, written)| {
                rows.into_iter()
                    .skip(written)
                    .for_each(|(key, sum)| self.counts.add(key, sum));
                error
            })
    }

    /// Returns the sums by minute, including what this process has not written yet.
    pub async fn minutes(
        &self,
        filter: SeriesFilter,
    ) -> Result<BTreeMap<Counting, Minutes>, Error> {
        let wanted = filter.clone();
        let rows: Vec<MinuteRow> = self
            .read(move |connection| filter.statement().all(connection))
            .await?;
        let mut found: BTreeMap<Counting, Minutes> = BTreeMap::new();
        for MinuteRow {
            series,
            destination_id,
            at,
            times,
            total_ms,
            longest_ms,
        } in rows
        {
            let sum = Sum {
                times,
                total_ms,
                longest_ms,
            };
            found
                .entry((series, destination_id.parse().ok()))
                .or_default()
                .insert(at, sum);
        }
        for (key, sum) in self
            .counts
            .minutes()
            .into_iter()
            .filter(|(key, _)| wanted.has(key))
        {
            let destination = key.destination.filter(|_| !wanted.destinations.is_empty());
            found
                .entry((key.series, destination))
                .or_default()
                .entry(key.at)
                .or_default()
                .add(sum);
        }
        Ok(found)
    }

    /// Returns how often each of these happened since the minute of a time, for all apps and destinations together,
    /// including what this process has not written yet.
    ///
    /// # Errors
    /// If the database does not respond.
    pub async fn totals(
        &self,
        series: &[Series],
        since: Timestamp,
    ) -> Result<BTreeMap<Series, i64>, Error> {
        let (wanted, from) = (series.to_vec(), minute(since));
        let of = wanted.iter().map(|series| Value::from(*series)).collect();
        let rows: Vec<TotalRow> = self
            .read(move |connection| sql(TOTALS).bind(Value::List(of)).bind(from).all(connection))
            .await?;
        let mut totals: BTreeMap<Series, i64> = rows
            .into_iter()
            .map(|row| (row.series, row.times))
            .collect();
        let unwritten = self.counts.minutes().into_iter();
        for (key, sum) in
            unwritten.filter(|(key, _)| wanted.contains(&key.series) && key.at >= from)
        {
            let total = totals.entry(key.series).or_default();
            *total = total.saturating_add(sum.times);
        }
        Ok(totals)
    }
}

/// Adds to the sums of minutes. The rows must be sorted by key.
pub(super) fn add(write: &mut Write<'_>, rows: &[(MinuteKey, Sum)]) -> Result<(), Error> {
    for batch in batches(rows, SIZES) {
        sql(ADD)
            .bind_rows(batch.iter().map(row))
            .run(write.connection)?;
    }
    Ok(())
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
