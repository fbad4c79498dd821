//! `/v1/series`: counts per minute, for charts.

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::{AppId, DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use storage::{Counting, Minutes, Series, SeriesFilter, Subject, Sum};

/// Maximum number of points in a response.
const MAX_POINTS: i64 = 1500;
const MINUTE_SECONDS: i64 = 60;
const DAY_SECONDS: i64 = 24 * 3600;
/// Default length of a series without `from`, in milliseconds.
const DEFAULT_MS: i64 = 3_600_000;
const MICROS: i64 = 1_000_000;
/// Number of points in the last hour: the current minute and the 60 before it.
const HOUR_POINTS: i64 = 61;
/// Period over which Temporal's actions are counted, in milliseconds.
const ACTIONS_MS: i64 = 24 * 3_600_000;

/// Selection of the series.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SeriesQuery {
    /// What to count.
    pub what: Series,
    /// Only counts of this app.
    pub app_id: Option<AppId>,
    /// Only counts of this destination; for `delivered`, `failed` and `latency`.
    pub destination_id: Option<DestinationId>,
    /// Beginning of the series, rounded down to a step; by default, an hour before the end. Counts are stored for eight
    /// days; after one day only as hourly totals.
    pub from: Option<Timestamp>,
    /// End of the series; now by default.
    pub until: Option<Timestamp>,
    /// Seconds per point, in whole minutes; 60 by default. At most 1,500 points are returned.
    #[schemars(range(min = 60, max = 86400), extend("multipleOf" = 60))]
    pub step: Option<i64>,
}

/// A series of counts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SeriesPoints {
    /// What is counted.
    pub what: Series,
    /// Seconds per point.
    pub step: i64,
    /// Points, oldest first, including those with a count of 0.
    pub items: Vec<Point>,
}

/// Counts of one step.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Point {
    /// Beginning of the step.
    pub at: Timestamp,
    /// Number of occurrences.
    pub count: i64,
    /// Average duration in milliseconds; null if there is no duration or no occurrence.
    pub average_ms: Option<i64>,
    /// Maximum duration in milliseconds.
    pub longest_ms: Option<i64>,
}

/// `GET /v1/series`
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<SeriesPoints>, Error> {
    let app = caller.app(&edge, query.app_id).await?;
    if let Some(destination) = query.destination_id {
        let of = edge
            .store
            .app_of(Subject::Destination, &destination.to_string())
            .await?;
        if of.is_none() || app.is_some_and(|app| of != Some(app)) {
            return Err(storage::Error::Missing {
                what: "destination",
            }
            .into());
        }
    }
    let step = query.step.unwrap_or(MINUTE_SECONDS);
    if step % MINUTE_SECONDS != 0 {
        return Err(Error::invalid(
            "step",
            format!("whole minutes, from {MINUTE_SECONDS} to {DAY_SECONDS} seconds"),
        ));
    }
    let until = query.until.unwrap_or_else(|| (edge.clock)());
    let from = query.from.unwrap_or_else(|| until.plus_millis(-DEFAULT_MS));
    let (step_micros, from) = (step * MICROS, from.micros().div_euclid(step * MICROS));
    let points = until.micros().div_euclid(step_micros) - from + 1;
    if !(1..=MAX_POINTS).contains(&points) {
        let expected = format!(
            "a time before `until`, at most {MAX_POINTS} steps of {step} s, but these are {points}"
        );
        return Err(Error::invalid("from", expected));
    }
    let filter = SeriesFilter {
        series: vec![query.what],
        app,
        destinations: query.destination_id.into_iter().collect(),
        from: Timestamp::from_micros(from * step_micros),
        until,
    };
    let minutes = edge
        .store
        .minutes(filter)
        .await?
        .into_values()
        .next()
        .unwrap_or_default();
    Ok(Json(SeriesPoints::new(
        query.what, step, from, points, minutes,
    )))
}

impl SeriesPoints {
    /// Sums `minutes` into `points` steps of `step` seconds. `from` is the number of the first step, counted from 1970.
    fn new(what: Series, step: i64, from: i64, points: i64, minutes: Minutes) -> Self {
        let mut sums = vec![Sum::default(); usize::try_from(points).unwrap_or_default()];
        for (at, sum) in minutes {
            let index = at.micros().div_euclid(step * MICROS) - from;
            if let Some(known) = usize::try_from(index)
                .ok()
                .and_then(|index| sums.get_mut(index))
            {
                known.add(sum);
            }
        }
        let items = (from..)
            .zip(sums)
            .map(|(number, sum)| point(what, number * step * MICROS, sum))
            .collect();
        Self { what, step, items }
    }
}

/// Returns the number of Temporal's actions in the last day. They are not counted per app.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn actions_of_day(edge: &Edge) -> Result<i64, Error> {
    let since = (edge.clock)().plus_millis(-ACTIONS_MS);
    let totals = edge.store.totals(&[Series::Actions], since).await?;
    Ok(totals.get(&Series::Actions).copied().unwrap_or_default())
}

/// Counts per minute for the last hour: for each of some destinations, or in total.
#[derive(Debug)]
pub struct LastHour {
    first_minute: i64,
    found: BTreeMap<Counting, Minutes>,
}

impl LastHour {
    /// Reads the counts of these series.
    ///
    /// # Errors
    /// 503 if the database does not respond.
    pub async fn of(
        edge: &Edge,
        series: &[Series],
        app: Option<AppId>,
        destinations: Vec<DestinationId>,
    ) -> Result<Self, Error> {
        let until = (edge.clock)();
        let first_minute = until
            .plus_millis(-DEFAULT_MS)
            .micros()
            .div_euclid(MINUTE_SECONDS * MICROS);
        let from = Timestamp::from_micros(first_minute * MINUTE_SECONDS * MICROS);
        let filter = SeriesFilter {
            series: series.to_vec(),
            app,
            destinations,
            from,
            until,
        };
        Ok(Self {
            first_minute,
            found: edge.store.minutes(filter).await?,
        })
    }

    /// Returns the points of a series, for a destination or in total.
    pub fn points(&self, what: Series, destination: Option<DestinationId>) -> SeriesPoints {
        let minutes = self
            .found
            .get(&(what, destination))
            .cloned()
            .unwrap_or_default();
        SeriesPoints::new(
            what,
            MINUTE_SECONDS,
            self.first_minute,
            HOUR_POINTS,
            minutes,
        )
    }
}

fn point(what: Series, at_micros: i64, sum: Sum) -> Point {
    let has_time = matches!(what, Series::Lag | Series::Latency) && sum.times > 0;
    Point {
        at: Timestamp::from_micros(at_micros),
        count: sum.times,
        average_ms: has_time.then(|| sum.total_ms / sum.times.max(1)),
        longest_ms: has_time.then_some(sum.longest_ms),
    }
}
