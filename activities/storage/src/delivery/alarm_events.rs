//! Events about alarms. Raising or closing an alarm only changes its row; the sweep then records an event for each
//! alarm whose state differs from the one in its last event. So an alarm that is raised again while it is open, or
//! closed before the sweep, causes no event, and each event is recorded once, even after a crash. If another
//! transaction has locked an alarm's row, the next sweep records the event.
//!
//! Each alarm is announced in transactions of its own. An alarm of no app concerns the destinations of all apps that
//! chose such events, which one statement finds. Its events are recorded for a bounded number of apps per transaction,
//! and its row is locked only to record the last of these apps, so the alarm may be raised in the meantime.

use crate::delivery::health::{self, HealthView};
use crate::delivery::operators::{self, Last};
use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::settings::destinations::{self, Destination};
use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::event::{ALARM_CLOSED, ALARM_OPENED, AlarmEvent, Trouble};
use domain::{AlarmId, AppId, CollapseKey, DestinationId, EventId, PlatformId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

row! {
    #[derive(Clone)]
    struct Unannounced {
        id: AlarmId,
        at: Timestamp,
        last_at: Timestamp,
        count: i64,
        app_id: Option<AppId>,
        platform_id: Option<PlatformId>,
        destination_id: Option<DestinationId>,
        app_name: Option<String>,
        about: Option<String>,
        kind: String,
        detail: String,
        acknowledged_by: Option<String>,
        note: Option<String>,
        /// Whether the next event says that the alarm was opened.
        is_open: bool,
        /// The last app, in order of ids, for which this event was recorded; `None` before the first.
        announced_through: Option<AppId>,
    }
}

/// Maximum number of apps for which one transaction records events.
const APPS_AT_ONCE: usize = 100;
/// The common prefix of the types of these events.
const ALARMS: &str = "alarm.";

const COLUMNS: &str = "
    id, at, last_at, times AS count, app_id, platform_id, destination_id, kind, detail, acknowledged_by,
        note, announced_through, (SELECT a.name FROM apps a WHERE a.id = alarms.app_id) AS app_name, COALESCE(
            (SELECT f.name FROM platforms f WHERE f.id = alarms.platform_id),
            (SELECT d.name FROM destinations d WHERE d.id = alarms.destination_id)
        ) AS about";

/// Alarms whose state differs from the one in their last event.
const UNANNOUNCED: Sql = statement! {hot "alarms_unannounced", "
    SELECT {COLUMNS}, (acknowledged_at IS NULL) AS is_open
    FROM alarms
    WHERE announced_open <> (acknowledged_at IS NULL) AND announced_through IS NULL
    ORDER BY seq
    LIMIT ?
"};
/// Alarms whose event was recorded for only some of the apps.
const ANNOUNCING: Sql = statement! {hot "alarms_announcing", "
    SELECT {COLUMNS}, announced_open AS is_open
    FROM alarms
    WHERE announced_through IS NOT NULL
    ORDER BY seq
    LIMIT ?
"};
/// Locks the alarm. The operator differs from that in the predicate of the index of unannounced alarms, so that the
/// statement cannot use this index.
const LOCK: Sql = statement! {"
    SELECT {COLUMNS}, (acknowledged_at IS NULL) AS is_open
    FROM alarms
    WHERE id = ? AND announced_open IS DISTINCT FROM (acknowledged_at IS NULL)
    FOR UPDATE SKIP LOCKED
"};
const ANNOUNCED: Sql = statement!("UPDATE alarms SET announced_open = ? WHERE id = ?");
/// Marks alarms of no app as announced if no destination subscribes to their events.
const UNWANTED: Sql =
    statement!("UPDATE alarms SET announced_open = (acknowledged_at IS NULL) WHERE id IN (?*)");
/// Records the last app that has the event, or that all apps have it, unless another process already did.
const ANNOUNCED_THROUGH: Sql = statement! {"
    UPDATE alarms
    SET announced_open = ?, announced_through = ?
    WHERE id = ? AND announced_open = ? AND COALESCE(announced_through, '') = ?
"};

impl Store {
    /// Records the events of at most `limit` alarms that were opened or closed since their last event, and returns the
    /// destinations for which these are queued. The events link to `dashboard`, the public address of the dashboard.
    pub async fn announce_alarms(
        &self,
        limit: i64,
        dashboard: Option<Arc<str>>,
    ) -> Result<BTreeSet<DestinationId>, Error> {
        let (alarms, chose) = self
            .read(move |connection| {
                let mut alarms: Vec<Unannounced> = sql(ANNOUNCING).bind(limit).all(connection)?;
                alarms.extend(
                    sql(UNANNOUNCED)
                        .bind(limit)
                        .all::<Unannounced>(connection)?,
                );
                let is_for_all = alarms.iter().any(|alarm| alarm.app_id.is_none());
                let chose = if is_for_all {
                    destinations::of_events(connection, ALARMS)?
                } else {
                    Vec::new()
                };
                Ok((alarms, chose))
            })
            .await?;
        let (mut queued_for, mut unwanted) = (BTreeSet::new(), Vec::new());
        for alarm in alarms {
            let chose = alarm.wanted_by(&chose);
            if let Some(app) = alarm.app_id {
                let dashboard = dashboard.clone();
                let announced = self
                    .write(move |write| announce_own(write, alarm.id, app, dashboard.as_deref()));
                queued_for.extend(announced.await?);
            } else if chose.is_empty() && alarm.announced_through.is_none() {
                unwanted.push(alarm.id);
            } else {
                queued_for.extend(
                    self.announce_to_all(alarm, &chose, dashboard.as_ref())
                        .await?,
                );
            }
        }
        if !unwanted.is_empty() {
            let mark = move |write: &mut Write<'_>| {
                sql(UNWANTED)
                    .uncached()
                    .bind_list(unwanted.iter().copied())
                    .run(write.connection)
            };
            self.write(mark).await?;
        }
        Ok(queued_for)
    }

    /// Records the event of an alarm of no app for the apps that do not have it yet, a bounded number per transaction.
    async fn announce_to_all(
        &self,
        mut alarm: Unannounced,
        chose: &BTreeMap<AppId, Vec<DestinationId>>,
        dashboard: Option<&Arc<str>>,
    ) -> Result<Vec<DestinationId>, Error> {
        let mut queued_for = Vec::new();
        loop {
            let mut left = chose
                .iter()
                .filter(|(app, _)| alarm.announced_through.is_none_or(|done| **app > done));
            let apps: Vec<(AppId, Vec<DestinationId>)> = left
                .by_ref()
                .take(APPS_AT_ONCE)
                .map(|(app, chose)| (*app, chose.clone()))
                .collect();
            let through = if left.next().is_some() {
                apps.last().map(|(app, _)| *app)
            } else {
                None
            };
            queued_for.extend(apps.iter().flat_map(|(_, chose)| chose.iter().copied()));
            let (before, dashboard) = (alarm.clone(), dashboard.cloned());
            self.write(move |write| {
                announce_some(write, &before, &apps, through, dashboard.as_deref())
            })
            .await?;
            if through.is_none() {
                return Ok(queued_for);
            }
            alarm.announced_through = through;
        }
    }
}

impl Unannounced {
    const fn event_type(&self) -> &'static str {
        if self.is_open {
            ALARM_OPENED
        } else {
            ALARM_CLOSED
        }
    }

    /// Returns the health of the destination if the alarm is about its failures.
    fn failing(&self, write: &mut Write<'_>) -> Result<Option<HealthView>, Error> {
        let id = self
            .destination_id
            .filter(|_| self.is_open && self.kind == health::FAILING);
        id.map(|id| health::view(write.connection, id)).transpose()
    }

    /// Returns the destinations that chose the event, by app. The destination that the alarm is about is left out: it
    /// could not receive the event.
    fn wanted_by(&self, destinations: &[Destination]) -> BTreeMap<AppId, Vec<DestinationId>> {
        let mut chose: BTreeMap<AppId, Vec<DestinationId>> = BTreeMap::new();
        for one in destinations
            .iter()
            .filter(|one| Some(one.id) != self.destination_id)
        {
            if one.chose(self.event_type()) {
                chose.entry(one.app_id).or_default().push(one.id);
            }
        }
        chose
    }
}

/// Records the event of an app's alarm, even if no destination subscribes to it.
fn announce_own(
    write: &mut Write<'_>,
    id: AlarmId,
    app: AppId,
    dashboard: Option<&str>,
) -> Result<Vec<DestinationId>, Error> {
    let Some(alarm): Option<Unannounced> = sql(LOCK).bind(id).first(write.connection)? else {
        return Ok(Vec::new());
    };
    let chose = destinations::of_app(write.connection, app)?;
    let chose = alarm.wanted_by(&chose).remove(&app).unwrap_or_default();
    announce(write, &alarm, app, &chose, dashboard)?;
    sql(ANNOUNCED)
        .bind(alarm.is_open)
        .bind(alarm.id)
        .later(write.connection)?;
    Ok(chose)
}

/// Records the event of an alarm of no app for some apps. The alarm's row is locked last.
fn announce_some(
    write: &mut Write<'_>,
    alarm: &Unannounced,
    apps: &[(AppId, Vec<DestinationId>)],
    through: Option<AppId>,
    dashboard: Option<&str>,
) -> Result<(), Error> {
    for (app, chose) in apps {
        announce(write, alarm, *app, chose, dashboard)?;
    }
    let is_first = alarm.announced_through.is_none();
    let was_open = if is_first {
        !alarm.is_open
    } else {
        alarm.is_open
    };
    let before = alarm
        .announced_through
        .map(|app| app.to_string())
        .unwrap_or_default();
    let noted = sql(ANNOUNCED_THROUGH).bind((alarm.is_open, through, alarm.id, was_open, before));
    if noted.run(write.connection)? == 0 {
        return Err(Error::Conflict {
            what: "alarm",
            detail: "another process announces it".to_owned(),
        });
    }
    Ok(())
}

/// Records the event of an alarm for an app. For an alarm of no app, the event does not say who closed it: not every
/// app may know.
fn announce(
    write: &mut Write<'_>,
    alarm: &Unannounced,
    app: AppId,
    chose: &[DestinationId],
    dashboard: Option<&str>,
) -> Result<(), Error> {
    let (event_type, is_own) = (alarm.event_type(), alarm.app_id.is_some());
    let key = CollapseKey::of_alarm(alarm.id, app);
    let last: Option<Last> = operators::last(write.connection, key, event_type)?;
    let revision = last.map_or(1, |last| last.revision + 1);
    let id = EventId::of(key, write.epoch()?, revision, event_type, 0);
    let event = Event {
        id,
        event_type: event_type.to_owned(),
        collapse_key: key,
        revision,
        traceparent: None,
    };
    let health = alarm.failing(write)?;
    let body = AlarmEvent {
        id,
        event_type,
        created_at: write.now()?,
        app,
        alarm: alarm.id,
        kind: &alarm.kind,
        detail: &alarm.detail,
        about: alarm.about.as_deref(),
        app_name: alarm.app_name.as_deref(),
        trouble: health.as_ref().map(|view| Trouble {
            cause: view.health.last_error.as_deref(),
            failures: view.health.failures,
            pending: view.pending,
        }),
        dashboard,
        platform: alarm.platform_id,
        destination: alarm.destination_id,
        first_at: alarm.at,
        last_at: alarm.last_at,
        count: alarm.count,
        closed_by: alarm.acknowledged_by.as_deref().filter(|_| is_own),
        note: alarm
            .note
            .as_deref()
            .filter(|note| is_own && !note.is_empty()),
    };
    insert(write, &event, StoredEvent::of(app, body.body().to_string()))?;
    chose
        .iter()
        .try_for_each(|one| deliveries::queue(write, &event, *one))
}
