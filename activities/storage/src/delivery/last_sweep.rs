//! When the last sweep finished. Without sweeps, lost signals are not repaired, so every process watches for late
//! sweeps. Also which run of the sweep's workflow swept last: if Temporal no longer knows that run, Temporal was
//! emptied.

use crate::events::alarms;
use crate::store::Store;
use db::alarm::{About, NewAlarm};
use db::error::Error;
use db::sql::{Sql, insert, statement};
use db::statement::{row, sql};
use domain::Timestamp;
use domain::time::{MINUTE, OVERLAP};
use std::time::Duration;

/// Sweeps are late if none finished for this time.
const LATE: Duration = MINUTE.saturating_mul(5);
const KIND: &str = "sweep";
/// The detail of the alarm. It contains no time, so that all occurrences count as one alarm.
const ALARM: &str = "no sweep finished for five minutes: lost signals are not repaired. settle restarts the sweep's \
     workflow where Temporal answers; check that it does, and that a worker is running and can reach the database";
/// The detail in release 0.1.0, whose processes may still raise this alarm.
const FORMER_ALARM: &str = "no sweep finished for five minutes, so settle restarted the sweep workflow; if it happens again, \
     check that a worker is running and can reach the database";

row! {
    struct Times {
        created_at: Timestamp,
        finished_at: Option<Timestamp>,
        emptied_at: Option<Timestamp>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSweep {
    /// When the last sweep finished; `None` before the first.
    pub finished_at: Option<Timestamp>,
    /// Time since the last sweep finished, or since the installation was created.
    pub age: Duration,
    /// When a sweep found that Temporal had been emptied.
    pub emptied_at: Option<Timestamp>,
}

impl LastSweep {
    /// Whether another sweep should have finished by now.
    pub fn is_late(&self) -> bool {
        self.age >= LATE
    }
}

const FIND: Sql = statement! {"
    SELECT created_at, (SELECT finished_at FROM sweeps) AS finished_at, (SELECT emptied_at FROM sweeps) AS emptied_at
    FROM installation
"};

const RUN: Sql = statement!("SELECT run_id AS value FROM sweeps WHERE run_id IS NOT NULL");

const EMPTIED: Sql = statement!("UPDATE sweeps SET run_id = ?, emptied_at = ? WHERE run_id = ?");

const TAKE_RESTART: Sql = statement! {"
    UPDATE sweeps
    SET restarted_at = ?
    WHERE (COALESCE(finished_at, (SELECT created_at FROM installation)) <= ? OR finished_at > ?)
        AND (restarted_at IS NULL OR restarted_at <= ? OR restarted_at > ?)
"};

/// Serializes processes that raise the alarm at the same time.
const LOCK: Sql = statement!("SELECT id AS value FROM sweeps WHERE id = 1 FOR UPDATE");

const IS_OPEN: Sql =
    statement!("SELECT seq AS value FROM alarms WHERE id = ? AND acknowledged_at + 0 IS NULL");

const fn alarm(detail: &'static str) -> NewAlarm<'static> {
    NewAlarm {
        about: About::All,
        kind: KIND,
        detail,
    }
}

impl Store {
    /// Returns the run of the sweep's workflow that swept last.
    pub async fn sweep_run(&self) -> Result<Option<String>, Error> {
        self.read(|connection| sql(RUN).value(connection)).await
    }

    /// Records which run of the sweep's workflow sweeps.
    pub async fn set_sweep_run(&self, run_id: String) -> Result<(), Error> {
        self.write(move |write| {
            insert!(
                sweeps {
                    id: 1_i64,
                    run_id: run_id.clone()
                },
                "ON CONFLICT (id)
            DO UPDATE SET run_id = excluded.run_id"
            )
            .run(write.connection)
            .map(drop)
        })
        .await
    }

    /// Records that Temporal was emptied: it does not know the run that swept before this one. Returns false if another
    /// process already recorded that.
    pub async fn engine_emptied(&self, before: String, run_id: String) -> Result<bool, Error> {
        self.write(move |write| {
            let emptied = sql(EMPTIED).bind((run_id.clone(), write.now()?, before.clone()));
            Ok(emptied.run(write.connection)? > 0)
        })
        .await
    }

    /// Records that a sweep finished now, and closes the alarm that sweeps are late.
    pub async fn sweep_finished(&self) -> Result<(), Error> {
        self.write(|write| {
            insert!(
                sweeps {
                    id: 1_i64,
                    finished_at: write.now()?
                },
                "ON CONFLICT (id)
            DO UPDATE SET finished_at = excluded.finished_at"
            )
            .run(write.connection)?;
            alarms::close(write, alarm(FORMER_ALARM), "a sweep finished")?;
            alarms::close(write, alarm(ALARM), "a sweep finished")
        })
        .await
    }

    pub async fn last_sweep(&self) -> Result<LastSweep, Error> {
        let clock = self.database.clock;
        self.database
            .health_readers
            .read(move |connection| {
                let now = connection.now(clock)?;
                let Times {
                    created_at,
                    finished_at,
                    emptied_at,
                } = sql(FIND).one(connection, "installation")?;
                let seen = finished_at.and_then(|at| at.unless_ahead(Duration::ZERO, now));
                Ok(LastSweep {
                    finished_at,
                    age: now.since(seen.unwrap_or(created_at)),
                    emptied_at,
                })
            })
            .await
    }

    /// Raises the alarm that sweeps are late, unless it is already open.
    pub async fn sweeps_are_late(&self) -> Result<(), Error> {
        self.write(|write| {
            insert!(sweeps { id: 1_i64 }, "ON CONFLICT DO NOTHING").run(write.connection)?;
            sql(LOCK).value::<i64>(write.connection)?;
            let open: Option<i64> = sql(IS_OPEN)
                .bind(alarm(ALARM).id())
                .value(write.connection)?;
            match open {
                Some(_) => Ok(()),
                None => write.raise(alarm(ALARM)),
            }
        })
        .await
    }

    /// Returns whether the caller must restart the sweep's workflow: sweeps are late, and no process restarted it
    /// within the last five minutes. If several processes call this, only one gets `true`.
    pub async fn take_sweep_restart(&self) -> Result<bool, Error> {
        self.write(|write| {
            insert!(sweeps { id: 1_i64 }, "ON CONFLICT DO NOTHING").run(write.connection)?;
            let before = write.now()?.minus(LATE);
            let after = write.now()?.plus(OVERLAP);
            let times = sql(TAKE_RESTART).bind((write.now()?, before, after, before, after));
            Ok(times.run(write.connection)? > 0)
        })
        .await
    }
}
