//! Deliveries that wait for their customer's external id. Such a delivery exists only as its row: it is in no lane, and
//! no run waits for it. The external id releases it (`events/deliveries.rs`); this module gives up those that waited
//! too long.

use crate::events::deliveries::{DeliveryRow, FREED, SELECT};
use crate::settling::profiles::{self, Failure};
use crate::store::Store;
use db::error::Error;
use db::partial::{WAITING_BY_KEY, WAITING_SINCE};
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::time::{DAY, millis};
use std::time::Duration;

/// How long a delivery waits for its customer's external id, counted from when the delivery was recorded.
pub const LONGEST_WAIT: Duration = DAY.saturating_mul(30);

/// Why a delivery that waited too long is skipped. The word before the colon is for programs.
const NO_LOGIN: &str = "no_login: the customer got no external id within 30 days";

const ANY_EXPIRED: Sql = statement! {hot "deliveries_unnamed_in_time", "
    SELECT seq AS value
    FROM deliveries
    WHERE status {WAITING_SINCE} AND created_at <= ?
    LIMIT 1
"};

const LOCK_EXPIRED: Sql = statement! {hot "deliveries_unnamed_in_time", "
    {SELECT}
    WHERE status {WAITING_SINCE} AND created_at <= ?
    ORDER BY created_at
    LIMIT ?
    FOR UPDATE SKIP LOCKED
"};

const GIVE_UP: Sql = statement! {"
    UPDATE deliveries
    SET status = 'skipped', last_error = ?, finished_at = ?, {FREED}
    WHERE seq IN (?*) AND status {WAITING_BY_KEY}
"};

impl Store {
    /// Gives up at most `limit` deliveries that waited for their customer's external id longer than [`LONGEST_WAIT`]:
    /// they end as `skipped`. Returns their number. A delivery that is being released is left out.
    pub async fn give_up_unnamed(&self, limit: i64) -> Result<usize, Error> {
        let any: Option<i64> = self
            .read_now(|connection, now| {
                sql(ANY_EXPIRED)
                    .bind(now.plus_millis(-millis(LONGEST_WAIT)))
                    .value(connection)
            })
            .await?;
        if any.is_none() {
            return Ok(0);
        }
        self.write(move |write| give_up(write, limit)).await
    }
}

fn give_up(write: &mut Write<'_>, limit: i64) -> Result<usize, Error> {
    let before = write.now()?.plus_millis(-millis(LONGEST_WAIT));
    let expired: Vec<DeliveryRow> = sql(LOCK_EXPIRED)
        .bind(before)
        .bind(limit)
        .all(write.connection)?;
    if expired.is_empty() {
        return Ok(0);
    }
    for row in &expired {
        profiles::note_failure(write, row, Failure::Unwanted)?;
    }
    let seqs = expired.iter().map(|row| row.seq);
    sql(GIVE_UP)
        .uncached()
        .bind(NO_LOGIN)
        .bind(write.now()?)
        .bind_list(seqs)
        .run(write.connection)
}
