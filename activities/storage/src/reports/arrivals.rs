//! The responses to a platform's store: what was last accepted and refused, why, and how often.

use crate::store::Store;
use db::connection::AnyConnection;
use db::counts::{Arrival, ArrivalKey};
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, row, sql};
use db::writer::Write;
use domain::{PlatformId, Timestamp};

/// Numbers of rows that one statement inserts.
const SIZES: &[usize] = &[100, 10, 1];

row! {
    /// The responses of one kind to a platform's store.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ArrivalView {
        /// Why messages were refused; empty for accepted messages.
        pub reason: String,
        pub times: i64,
        pub first_at: Timestamp,
        pub last_at: Timestamp,
    }
}

const ADD: Sql = statement! {"
    INSERT INTO arrivals (platform_id, reason, times, first_at, last_at)
    VALUES ?*
    ON CONFLICT (platform_id, reason)
    DO UPDATE SET times = arrivals.times + excluded.times,
        last_at = CASE WHEN excluded.last_at > arrivals.last_at THEN excluded.last_at ELSE arrivals.last_at END
"};

const OF_PLATFORM: Sql = statement! {hot "arrivals_of_platform", "
    SELECT reason, times, first_at, last_at
    FROM arrivals
    WHERE platform_id = ?
    ORDER BY reason
"};

const OF_PLATFORMS: Sql = statement! {hot "arrivals_of_platform", "
    SELECT platform_id, reason, times, first_at, last_at
    FROM arrivals
    WHERE platform_id IN (?*)
    ORDER BY platform_id, reason
"};

row! {
    /// The responses of one kind, with the platform.
    pub struct ArrivalOf {
        pub platform_id: PlatformId,
        pub view: ArrivalView,
    }
}

/// Returns the responses to the stores of several platforms.
pub fn of_platforms(
    connection: &mut AnyConnection,
    platforms: &[PlatformId],
) -> Result<Vec<ArrivalOf>, Error> {
    sql(OF_PLATFORMS)
        .uncached()
        .bind_list(platforms.iter().copied())
        .all(connection)
}

impl Store {
    /// Counts a response to a platform's store. `reason` is one of a few texts, and empty for an accepted message. The
    /// count is kept in memory until [`Self::write_arrivals`] writes it.
    pub fn count_arrival(&self, platform: PlatformId, reason: &'static str) {
        let now = (self.database.clock)();
        self.counts.add_arrival(
            (platform, reason),
            Arrival {
                times: 1,
                first_at: now,
                last_at: now,
            },
        );
    }

    /// Writes the counts of this process. After an error, those that were not written stay in memory for the next call.
    pub async fn write_arrivals(&self) -> Result<(), Error> {
        let rows: Vec<_> = self.counts.take_arrivals().into_iter().collect();
        self.add_counts("arrivals", &rows, add)
            .await
            .map_err(|(error, written)| {
                rows.into_iter()
                    .skip(written)
                    .for_each(|(key, one)| self.counts.add_arrival(key, one));
                error
            })
    }

    /// Returns the responses to a platform's store as written so far, which may lack those of the last second.
    pub async fn arrivals(&self, platform: PlatformId) -> Result<Vec<ArrivalView>, Error> {
        self.read(move |connection| sql(OF_PLATFORM).bind(platform).all(connection))
            .await
    }
}

fn add(write: &mut Write<'_>, rows: &[(ArrivalKey, Arrival)]) -> Result<(), Error> {
    for batch in batches(rows, SIZES) {
        sql(ADD)
            .bind_rows(batch.iter().map(row))
            .run(write.connection)?;
    }
    Ok(())
}

fn row(((platform, reason), one): &(ArrivalKey, Arrival)) -> [Value<'static>; 5] {
    [
        (*platform).into(),
        (*reason).into(),
        one.times.into(),
        one.first_at.into(),
        one.last_at.into(),
    ]
}
