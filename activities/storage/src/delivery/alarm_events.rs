//! Events about alarms. What raises or closes an alarm only changes its row; the sweep records what the last event of
//! the alarm does not say. So an alarm that is raised again while it is open, or closed before the sweep, makes no event,
//! and an event is recorded once, whatever dies. Where another transaction holds the row of an alarm, the next sweep
//! records it.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::delivery::operators::{self, Last};
use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::settings::destinations;
use domain::event::{ALARM_CLOSED, ALARM_OPENED, AlarmEvent};
use domain::{AlarmId, AppId, CollapseKey, DestinationId, EventId, PlatformId, Timestamp};
use std::collections::BTreeSet;

row! {
    struct Unannounced {
        id: AlarmId,
        at: Timestamp,
        last_at: Timestamp,
        count: i64,
        app_id: Option<AppId>,
        platform_id: Option<PlatformId>,
        destination_id: Option<DestinationId>,
        about: Option<String>,
        kind: String,
        detail: String,
        acknowledged_at: Option<Timestamp>,
        acknowledged_by: Option<String>,
        note: Option<String>,
    }
}

const UNANNOUNCED: Sql = statement! {hot "alarms_unannounced", "
    SELECT id, at, last_at, times AS count, app_id, platform_id, destination_id, kind, detail, acknowledged_at,
        acknowledged_by, note, COALESCE(
            (SELECT f.name FROM platforms f WHERE f.id = alarms.platform_id),
            (SELECT d.name FROM destinations d WHERE d.id = alarms.destination_id)
        ) AS about
    FROM alarms
    WHERE announced_open <> (acknowledged_at IS NULL)
    ORDER BY seq
    LIMIT ?
    FOR UPDATE SKIP LOCKED
"};
const ANNOUNCED: Sql = statement!("UPDATE alarms SET announced_open = ? WHERE id = ?");
/// The apps whose destinations may have chosen events of an alarm: that of the alarm, or all.
const APPS: Sql = statement! {"
    SELECT id AS value
    FROM apps
    WHERE deleted_at IS NULL AND id = COALESCE(?, id)
    ORDER BY id
"};

impl Store {
    /// Records the events of at most `limit` alarms that were opened or closed since their last event, and returns the
    /// destinations for which they are queued.
    pub async fn announce_alarms(&self, limit: i64) -> Result<BTreeSet<DestinationId>, Error> {
        self.write(move |write| {
            let alarms: Vec<Unannounced> = sql(UNANNOUNCED).bind(limit).all(write.connection)?;
            let mut queued_for = BTreeSet::new();
            for alarm in &alarms {
                let apps = sql(APPS).bind(alarm.app_id).values(write.connection)?;
                for app in apps {
                    queued_for.extend(announce(write, alarm, app)?);
                }
                sql(ANNOUNCED).bind(alarm.acknowledged_at.is_none()).bind(alarm.id).later(write.connection)?;
            }
            Ok(queued_for)
        })
        .await
    }
}

/// Records the event of an alarm for an app; that of an alarm of no app only where a destination chose it, and without
/// who closed it, which is not for every app. A destination gets none about itself: it could not take it.
fn announce(write: &mut Write<'_>, alarm: &Unannounced, app: AppId) -> Result<Vec<DestinationId>, Error> {
    let event_type = if alarm.acknowledged_at.is_none() { ALARM_OPENED } else { ALARM_CLOSED };
    let mut chose = destinations::of_app(write.connection, app)?;
    chose.retain(|one| Some(one.id) != alarm.destination_id && one.chose(event_type));
    let is_own = alarm.app_id.is_some();
    if chose.is_empty() && !is_own {
        return Ok(Vec::new());
    }
    let key = CollapseKey::of_alarm(alarm.id, app);
    let last: Option<Last> = operators::last(write.connection, key, event_type)?;
    let revision = last.map_or(1, |last| last.revision + 1);
    let id = EventId::of(key, write.epoch()?, revision, event_type, 0);
    let event = Event { id, event_type: event_type.to_owned(), collapse_key: key, revision, traceparent: None };
    let body = AlarmEvent {
        id,
        event_type,
        created_at: write.now()?,
        app,
        alarm: alarm.id,
        kind: &alarm.kind,
        detail: &alarm.detail,
        about: alarm.about.as_deref(),
        platform: alarm.platform_id,
        destination: alarm.destination_id,
        first_at: alarm.at,
        last_at: alarm.last_at,
        count: alarm.count,
        closed_by: alarm.acknowledged_by.as_deref().filter(|_| is_own),
        note: alarm.note.as_deref().filter(|note| is_own && !note.is_empty()),
    };
    insert(write, &event, StoredEvent::of(app, body.body().to_string()))?;
    chose.iter().map(|one| deliveries::queue(write, &event, one.id).map(|()| one.id)).collect()
}
