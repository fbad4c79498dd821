//! The events that announce an erasure, for receivers that should remove their data.

use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::settings::destinations::{self, Destination};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::user::{USER_ERASED, UserErased};
use domain::{AppId, CollapseKey, Environment, EventId, PlatformId, UserId};

/// A user who is replaced by an anonymous one.
#[derive(Debug, Clone, Copy)]
pub struct Renamed {
    pub app: AppId,
    pub user: UserId,
    pub anonymous: UserId,
}

row! {
    struct PurchaseRow {
        collapse_key: CollapseKey,
        platform_id: PlatformId,
        environment: Option<Environment>,
        revision: i64,
    }
}

const PURCHASES: Sql = statement! {hot "purchases_user", "
    SELECT collapse_key, platform_id, environment, revision
    FROM purchases
    WHERE user_id = ? AND revision > 0
    ORDER BY collapse_key
"};

struct AnnouncedLane {
    app: AppId,
    key: CollapseKey,
    revision: i64,
    environment: Option<Environment>,
}

/// Queues a `user.erased` of each announced user for each destination that chose this event type. The delivery is
/// queued in the lane of a purchase that the destination receives, so that it follows that purchase's earlier events;
/// otherwise in a lane of the anonymous user, because device events may have named the customer too.
pub fn announce(write: &mut Write<'_>, renamed: Renamed, users: &[UserId]) -> Result<(), Error> {
    let Renamed {
        app,
        user,
        anonymous,
    } = renamed;
    let mut left = destinations::of_app(write.connection, app)?;
    left.retain(|one| one.chose(USER_ERASED));
    if left.is_empty() {
        return Ok(());
    }
    let all = left.clone();
    let announced = announced(write.connection, user, users)?;
    let purchases: Vec<PurchaseRow> = sql(PURCHASES).bind(anonymous).all(write.connection)?;
    for PurchaseRow {
        collapse_key: key,
        platform_id,
        environment,
        revision,
    } in purchases
    {
        let environment = environment.unwrap_or_default();
        let wants = |one: &&Destination| one.filter.wants(platform_id, environment);
        if left.iter().any(|one| wants(&one)) {
            let lane = AnnouncedLane {
                app,
                key,
                revision,
                environment: Some(environment),
            };
            lane.announce(write, &announced, anonymous, all.iter().filter(wants))?;
            left.retain(|one| !wants(&one));
        }
    }
    let lane = AnnouncedLane {
        app,
        key: CollapseKey::new(anonymous.uuid()),
        revision: 1,
        environment: None,
    };
    if left.is_empty() {
        Ok(())
    } else {
        lane.announce(write, &announced, anonymous, left.iter())
    }
}

const IS_ANNOUNCED: Sql = statement! {hot "events_of_user", "
    SELECT seq AS value
    FROM events
    WHERE user_id = ?
    LIMIT 1
"};

/// Returns the user, and the former users who were merged into this one and had been announced before.
fn announced(
    connection: &mut AnyConnection,
    user: UserId,
    users: &[UserId],
) -> Result<Vec<UserId>, Error> {
    let mut announced = vec![user];
    for other in users.iter().filter(|other| **other != user) {
        let event: Option<i64> = sql(IS_ANNOUNCED).bind(*other).value(connection)?;
        announced.extend(event.map(|_| *other));
    }
    Ok(announced)
}

const BEFORE: Sql = statement! {hot "events_of_key", "
    SELECT COUNT(*) AS value
    FROM events
    WHERE collapse_key = ? AND event_type = '{USER_ERASED}'
"};

impl AnnouncedLane {
    fn announce<'d>(
        &self,
        write: &mut Write<'_>,
        users: &[UserId],
        anonymous: UserId,
        to: impl Iterator<Item = &'d Destination> + Clone,
    ) -> Result<(), Error> {
        let (key, epoch) = (self.key, write.epoch()?);
        let before: Option<i64> = sql(BEFORE).bind(key).value(write.connection)?;
        let mut number = before.map_or(0, |before| u32::try_from(before).unwrap_or(u32::MAX));
        for user in users {
            let id = EventId::of(key, epoch, self.revision, USER_ERASED, number);
            let event_type = USER_ERASED.to_owned();
            let event = Event {
                id,
                event_type,
                collapse_key: key,
                revision: self.revision,
                traceparent: None,
            };
            let body = UserErased {
                id,
                user: *user,
                created_at: write.now()?,
            }
            .body()
            .to_string();
            let stored = StoredEvent {
                user_id: Some(anonymous),
                environment: self.environment,
                ..StoredEvent::of(self.app, body)
            };
            insert(write, &event, stored)?;
            to.clone()
                .try_for_each(|one| deliveries::queue(write, &event, one.id))?;
            number = number.saturating_add(1);
        }
        Ok(())
    }
}
