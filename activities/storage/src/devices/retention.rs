//! Retention: events of devices and sessions that are older than the operator keeps bodies are removed, delivered or not.
//! They belong to no ledger.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use domain::{DeviceId, PlatformId, SessionId, Timestamp};

row! {
    struct Oldest {
        seq: i64,
        created_at: Timestamp,
    }
}

row! {
    struct OldSession {
        platform_id: PlatformId,
        device_id: DeviceId,
        id: SessionId,
    }
}

/// The oldest are the first.
const OLDEST: Sql = statement!("SELECT seq, created_at FROM device_events ORDER BY seq LIMIT ?");

/// By the time of receipt: the times of a device are its own.
const OLD_SESSIONS: Sql = statement! {hot "device_sessions_ended", "
    SELECT platform_id, device_id, id
    FROM device_sessions
    WHERE due_at < ? AND closed_at IS NOT NULL
    ORDER BY due_at
    LIMIT ?
"};

const REMOVE_DELIVERIES: Sql = statement!("DELETE FROM device_deliveries WHERE event_seq = ?");

const REMOVE_EVENT: Sql = statement!("DELETE FROM device_events WHERE seq = ?");

const REMOVE_SESSION: Sql = statement! {"
    DELETE FROM device_sessions WHERE platform_id = ? AND device_id = ? AND id = ? AND closed_at IS NOT NULL
"};

impl Store {
    /// Removes at most `limit` events of devices, and as many sessions, that were received before `before`. Returns their
    /// number.
    pub async fn forget_reports(&self, before: Timestamp, limit: i64) -> Result<usize, Error> {
        let (events, sessions) = self
            .read(move |connection| {
                let events: Vec<Oldest> = sql(OLDEST).bind(limit).all(connection)?;
                let sessions: Vec<OldSession> = sql(OLD_SESSIONS).bind(before).bind(limit).all(connection)?;
                Ok((events, sessions))
            })
            .await?;
        let events: Vec<i64> = events.iter().filter(|one| one.created_at < before).map(|one| one.seq).collect();
        let removed = events.len() + sessions.len();
        if removed == 0 {
            return Ok(0);
        }
        self.write(move |write| remove(write, &events, &sessions)).await?;
        Ok(removed)
    }
}

fn remove(write: &mut Write<'_>, events: &[i64], sessions: &[OldSession]) -> Result<(), Error> {
    for seq in events {
        sql(REMOVE_DELIVERIES).bind(*seq).later(write.connection)?;
        sql(REMOVE_EVENT).bind(*seq).later(write.connection)?;
    }
    for OldSession { platform_id, device_id, id } in sessions {
        sql(REMOVE_SESSION).bind(*platform_id).bind(*device_id).bind(*id).later(write.connection)?;
    }
    Ok(())
}
