//! Ends sessions that had no event for half an hour. A device that is currently reporting is left to the next sweep:
//! its report may extend the session, and must not wait.

use crate::devices::events::{self, NewEvent};
use crate::devices::rows::{self, KnownDevice, Origin, Origins};
use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::device::{Device, DeviceEvent, DeviceOwner, Happened, SessionMark};
use domain::{DeviceId, DevicePlace, EventId, OrgId, PlatformId, SessionId, Timestamp};
use std::collections::BTreeMap;

row! {
    /// A session that has had no event for too long.
    #[derive(Clone)]
    struct Idle {
        platform_id: PlatformId,
        device_id: DeviceId,
        id: SessionId,
    }
}

const IDLE: Sql = statement! {hot "device_sessions_open", "
    SELECT platform_id, device_id, id
    FROM device_sessions
    WHERE due_at <= ? AND closed_at IS NULL
    ORDER BY due_at
    LIMIT ?
"};

// Checks again, under the lock of the session's device, that there has been no event.
const END: Sql = statement! {"
    UPDATE device_sessions
    SET closed_at = last_event_at
    WHERE platform_id = ? AND device_id = ? AND id = ? AND closed_at + 0 IS NULL AND due_at + 0 <= ?
    RETURNING closed_at, started_at
"};

row! {
    struct ClosedSession {
        closed_at: Timestamp,
        started_at: Option<Timestamp>,
    }
}

impl Store {
    /// Ends at most `limit` sessions that had no event for half an hour, and records these ends as events. Returns the
    /// number of sessions.
    pub async fn end_idle_sessions(&self, limit: i64) -> Result<usize, Error> {
        let clock = self.database.clock;
        let idle: Vec<Idle> = self
            .read(move |connection| {
                let now = connection.now(clock)?;
                sql(IDLE).bind(now).bind(limit).all(connection)
            })
            .await?;
        if idle.is_empty() {
            return Ok(0);
        }
        let org = self.installation().org_id;
        let mut by_device: BTreeMap<DevicePlace, Vec<SessionId>> = BTreeMap::new();
        for Idle {
            platform_id,
            device_id,
            id,
        } in idle
        {
            by_device
                .entry(DevicePlace {
                    platform: platform_id,
                    device: device_id,
                })
                .or_default()
                .push(id);
        }
        let work = move |write: &mut Write<'_>| end(write, org, &by_device);
        self.write(work).await
    }
}

fn end(
    write: &mut Write<'_>,
    org: OrgId,
    by_device: &BTreeMap<DevicePlace, Vec<SessionId>>,
) -> Result<usize, Error> {
    let epoch = write.epoch()?;
    let (mut origins, mut new) = (Origins::new(), Vec::new());
    for (place, sessions) in by_device {
        let Some(device) = rows::locked(write, place.platform, place.device)? else {
            continue;
        };
        let origin = Origin::read_once(&mut origins, write.connection, place.platform)?;
        let known = rows::known(write.connection, [*place])?;
        let Some(KnownDevice { owner, .. }) = known.get(place) else {
            continue;
        };
        for session in sessions {
            let end = sql(END).bind((place.platform, place.device, *session, write.now()?));
            let closed: Option<ClosedSession> = end.first(write.connection)?;
            new.extend(closed.map(|closed| {
                let timeout = Timeout {
                    place: *place,
                    session: *session,
                    closed,
                    epoch,
                    org,
                };
                timed_out(timeout, origin, &device, owner)
            }));
        }
    }
    events::insert(write, &new, &origins)?;
    Ok(new.len())
}

/// The end of a session by a timeout, with the data for its event.
struct Timeout {
    place: DevicePlace,
    session: SessionId,
    closed: ClosedSession,
    epoch: i64,
    org: OrgId,
}

fn timed_out(timeout: Timeout, origin: &Origin, device: &Device, owner: &DeviceOwner) -> NewEvent {
    let Timeout {
        place,
        session,
        closed: ClosedSession {
            closed_at: at,
            started_at,
        },
        epoch,
        org,
    } = timeout;
    // No app can use such an id, because ids with a slash are refused.
    let client_id = format!("session/{session}");
    let event = DeviceEvent {
        org_id: org,
        app_id: origin.app_id,
        place,
        platform_type: &origin.store,
        event_id: EventId::of_device(place, epoch, &client_id),
        event_time: at,
        device,
        owner,
        session: Some(SessionMark {
            id: session,
            started_at,
        }),
        happened: Happened::TimedOut,
    };
    NewEvent {
        id: event.event_id,
        place,
        client_id,
        kind: event.happened.kind(),
        session: Some(session),
        environment: origin.environment,
        occurred_at: at,
        body: event.body(epoch).to_string(),
    }
}
