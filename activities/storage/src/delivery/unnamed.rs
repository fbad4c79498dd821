//! Deliveries that wait for the external id of their customer. Each waits in its row alone: it is in no lane, and no run
//! is open for it. The external id releases it (`events/deliveries.rs`); here it is given up.

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

/// How long a delivery waits for the external id of its customer, from the time when it was recorded.
pub const LONGEST_WAIT: Duration = DAY.saturating_mul(30);

/// Why a delivery that waited too long is skipped. Its first word is for programs.
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
    /// Gives up at most `limit` deliveries that waited for the external id of their customer longer than
    /// [`LONGEST_WAIT`]: they end as `skipped`. Returns their number. One that is released at this moment is left.
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
