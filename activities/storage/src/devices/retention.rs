//! Retention: removes device events and sessions that are older than the operator's limit for bodies, delivered or not.
//! They are not part of the ledger. A device is removed together with its last event and session, unless it belongs to
//! a user, has a claim, or has logged out: a removed device would, with its next report, belong to the anonymous user
//! it had before the logout.

use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{DeviceId, DevicePlace, PlatformId, SessionId, Timestamp};
use std::collections::BTreeSet;

row! {
    struct Oldest {
        seq: i64,
        platform_id: PlatformId,
        device_id: DeviceId,
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

const OLDEST: Sql = statement! {"
    SELECT seq, platform_id, device_id, created_at FROM device_events ORDER BY seq LIMIT ?
"};

/// Old sessions by time of receipt, because devices have clocks of their own.
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
    DELETE FROM device_sessions WHERE platform_id = ? AND device_id = ? AND id = ? AND closed_at + 0 IS NOT NULL
"};

// A report that is being stored writes the device first, so `seen_at` is then later than this time, and the device
// stays.
const REMOVE_DEVICE: Sql = statement! {"
    DELETE FROM devices
    WHERE platform_id = ? AND id = ? AND seen_at < ? AND user_id IS NULL AND logouts = 0
        AND NOT EXISTS (SELECT 1 FROM device_events e
            WHERE e.device_id = devices.id AND e.platform_id = devices.platform_id)
        AND NOT EXISTS (SELECT 1 FROM device_sessions s
            WHERE s.platform_id = devices.platform_id AND s.device_id = devices.id)
        AND NOT EXISTS (SELECT 1 FROM claims c
            WHERE c.platform_id = devices.platform_id AND c.device_id = devices.id)
"};

impl Store {
    /// Removes at most `limit` device events, and as many sessions, that were received before `before`, and the devices
    /// that have nothing else left. Returns the number of removed events and sessions.
    pub async fn forget_reports(&self, before: Timestamp, limit: i64) -> Result<usize, Error> {
        let (events, sessions) = self
            .read(move |connection| {
                let events: Vec<Oldest> = sql(OLDEST).bind(limit).all(connection)?;
                let sessions: Vec<OldSession> =
                    sql(OLD_SESSIONS).bind(before).bind(limit).all(connection)?;
                Ok((events, sessions))
            })
            .await?;
        let events: Vec<Oldest> = events
            .into_iter()
            .filter(|one| one.created_at < before)
            .collect();
        let removed = events.len() + sessions.len();
        if removed == 0 {
            return Ok(0);
        }
        self.write(move |write| remove(write, &events, &sessions, before))
            .await?;
        Ok(removed)
    }
}

fn remove(
    write: &mut Write<'_>,
    events: &[Oldest],
    sessions: &[OldSession],
    before: Timestamp,
) -> Result<(), Error> {
    let mut devices = BTreeSet::new();
    for Oldest {
        seq,
        platform_id,
        device_id,
        ..
    } in events
    {
        sql(REMOVE_DELIVERIES).bind(*seq).later(write.connection)?;
        sql(REMOVE_EVENT).bind(*seq).later(write.connection)?;
        devices.insert(DevicePlace {
            platform: *platform_id,
            device: *device_id,
        });
    }
    for OldSession {
        platform_id,
        device_id,
        id,
    } in sessions
    {
        sql(REMOVE_SESSION)
            .bind((*platform_id, *device_id, *id))
            .later(write.connection)?;
        devices.insert(DevicePlace {
            platform: *platform_id,
            device: *device_id,
        });
    }
    for DevicePlace { platform, device } in devices {
        sql(REMOVE_DEVICE)
            .bind((platform, device, before))
            .later(write.connection)?;
    }
    Ok(())
}
