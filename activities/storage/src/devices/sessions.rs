//! The rows of sessions. Writing one requires the lock of its device.

use crate::devices::rows::SIZES;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, row, sql};
use db::writer::Write;
use domain::device::session::Session;
use domain::{DeviceId, DevicePlace, PlatformId, SessionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

pub type SessionKey = (DevicePlace, SessionId);

row! {
    struct SessionRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        id: SessionId,
        started_at: Option<Timestamp>,
        last_event_at: Timestamp,
        closed_at: Option<Timestamp>,
    }
}

const FIND: Sql = statement! {"
    SELECT s.platform_id, s.device_id, s.id, s.started_at, s.last_event_at, s.closed_at
    FROM device_sessions s
    WHERE (s.platform_id, s.device_id, s.id) IN (VALUES ?*)
"};

pub fn find(
    write: &mut Write<'_>,
    wanted: &BTreeSet<SessionKey>,
) -> Result<BTreeMap<SessionKey, Session>, Error> {
    let wanted: Vec<&SessionKey> = wanted.iter().collect();
    let mut found = BTreeMap::new();
    for batch in batches(&wanted, &SIZES) {
        let keys = batch
            .iter()
            .map(|(place, id)| [place.platform.into(), place.device.into(), (*id).into()]);
        let rows: Vec<SessionRow> = sql(FIND).bind_rows(keys).all(write.connection)?;
        found.extend(rows.into_iter().map(SessionRow::session));
    }
    Ok(found)
}

impl SessionRow {
    fn session(self) -> (SessionKey, Session) {
        let place = DevicePlace {
            platform: self.platform_id,
            device: self.device_id,
        };
        let Self {
            started_at,
            last_event_at,
            closed_at,
            ..
        } = self;
        (
            (place, self.id),
            Session {
                started_at,
                last_event_at,
                closed_at,
            },
        )
    }
}

const UPSERT: Sql = statement! {"
    INSERT INTO device_sessions (platform_id, device_id, id, started_at, last_event_at, due_at, closed_at)
    VALUES ?*
    ON CONFLICT (platform_id, device_id, id) DO UPDATE
    SET started_at = excluded.started_at, last_event_at = excluded.last_event_at, due_at = excluded.due_at,
        closed_at = excluded.closed_at
"};

/// Stores sessions for which events have just been received.
pub fn store(write: &mut Write<'_>, sessions: &BTreeMap<SessionKey, Session>) -> Result<(), Error> {
    let due_at = Session::times_out_at(write.now()?);
    let rows: Vec<[Value<'_>; 7]> = sessions
        .iter()
        .map(|((place, id), session)| {
            [
                place.platform.into(),
                place.device.into(),
                (*id).into(),
                session.started_at.into(),
                session.last_event_at.into(),
                due_at.into(),
                session.closed_at.into(),
            ]
        })
        .collect();
    for batch in batches(&rows, &SIZES) {
        sql(UPSERT)
            .bind_rows(batch.iter().cloned())
            .later(write.connection)?;
    }
    Ok(())
}
