//! The first transaction: the customer becomes another, anonymous user, whose id is computed from a tombstone.

use super::report::{DeletionState, DeletionStatus, ForgettingRow, ForgettingStage, SELECT, TABLE, json, seal};
use super::rows;
use crate::admin::customers::OF_USER;
use crate::db::error::Error;
use crate::db::secrets::{Secrets, random_uuid};
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::purchases::purchase::{self, Urgency};
use crate::purchases::users::{self, RECEIPT_PREFIX, StoreUser};
use crate::reports::customer::{self, CustomerName};
use crate::settings::destinations;
use crate::settings::tombstones::{self, ConcealedName, is_tombstone};
use domain::user::{ForgottenAppUser, ForgottenNames, USER_FORGOTTEN, UserForgotten};
use domain::{AppId, CollapseKey, Environment, EventId, PlatformId, UserId};
use std::collections::BTreeMap;

/// The store in the id of an anonymous user in the place of a forgotten one; no store has this name.
const NO_STORE: &str = "forgotten";

/// A request to forget a customer.
#[derive(Debug, Clone)]
pub struct Forget {
    /// The app.
    pub app: AppId,
    /// The customer.
    pub name: CustomerName,
    /// Who requests it.
    pub by: String,
    /// Why.
    pub reason: String,
}

row! {
    struct StoreName {
        store: String,
        app_user_id: String,
    }
}

row! {
    struct Announced {
        collapse_key: CollapseKey,
        platform_id: PlatformId,
        environment: Option<Environment>,
        revision: i64,
        forgotten_before: i64,
    }
}

const OF_REQUEST: Sql = statement! {"
    {SELECT}
    WHERE request = ?
    ORDER BY requested_at DESC
    LIMIT 1
"};

const OF_USER_BEFORE: Sql = statement! {"
    {SELECT}
    WHERE user_id = ?
    ORDER BY requested_at DESC
    LIMIT 1
"};

/// Begins to forget a customer; returns the report, or that of the same request before. An anonymous user in the place of
/// a forgotten customer, who has no name since, is not forgotten again.
pub fn begin(write: &mut Write<'_>, secrets: &Secrets, forget: &Forget) -> Result<ForgettingRow, Error> {
    let request = request(secrets, forget);
    let found = customer::find(write.connection, secrets, (forget.app, &forget.name))?;
    let known = found.map_or(Ok(None), |user| users::find_in_app(write.connection, forget.app, user))?;
    let Some(user) = known else { return sql(OF_REQUEST).bind(request).one(write.connection, "customer") };
    let has_names = user.external_id.is_some() || !names(write, secrets, &user.id, forget.app)?.0.is_empty();
    if !has_names {
        let of_user = sql(OF_USER_BEFORE).bind(user.id).first(write.connection)?;
        let before: Option<ForgettingRow> = of_user
            .map_or_else(|| sql(OF_REQUEST).bind(request.as_str()).first(write.connection), |row| Ok(Some(row)))?;
        if let Some(before) = before {
            return Ok(before);
        }
    }
    let user = user.id;
    let hidden = secrets.tombstone("users", &forget.app.to_string(), &user.to_string());
    let anonymous = UserId::anonymous(forget.app, NO_STORE, &hidden);
    let names = rename(write, secrets, Renamed { app: forget.app, user, anonymous })?;
    announce(write, forget.app, (user, anonymous))?;
    store(write, secrets, Begun { forget, request, anonymous, names })
}

/// What stands for the name of a request, by which a repeated one is recognized.
fn request(secrets: &Secrets, forget: &Forget) -> String {
    let name = match &forget.name {
        CustomerName::ExternalId(name) => format!("external_id/{name}"),
        CustomerName::AppUser(name) => format!("app_user_id/{name}"),
        CustomerName::User(user) => format!("user_id/{user}"),
    };
    secrets.tombstone(TABLE, &forget.app.to_string(), &name)
}

/// A user who becomes another one.
#[derive(Debug, Clone, Copy)]
pub struct Renamed {
    pub app: AppId,
    pub user: UserId,
    pub anonymous: UserId,
}

const STORE_NAMES: Sql =
    statement!("SELECT store, app_user_id FROM store_users WHERE user_id = ? ORDER BY store, app_user_id");

/// The stores' ids of a user with their tombstones, and the anonymous users that the ids stood for.
fn names(
    write: &mut Write<'_>,
    secrets: &Secrets,
    user: &UserId,
    app: AppId,
) -> Result<(Vec<ForgottenAppUser>, Vec<UserId>), Error> {
    let names: Vec<StoreName> = sql(STORE_NAMES).bind(*user).all(write.connection)?;
    let names = names.into_iter().filter(|name| !name.app_user_id.starts_with(RECEIPT_PREFIX));
    let names = names.filter(|name| !is_tombstone(&name.app_user_id));
    let all = names.map(|StoreName { store, app_user_id }| {
        let tombstone = ConcealedName { app, store: &store, app_user_id: &app_user_id }.tombstone(secrets);
        let anonymous = UserId::anonymous(app, &store, &app_user_id);
        (ForgottenAppUser { store, app_user_id, tombstone }, anonymous)
    });
    Ok(all.unzip())
}

const CREATE: Sql = statement! {"
    INSERT INTO users (id, app_id, revision, created_at)
    SELECT ?, app_id, revision, ?
    FROM users
    WHERE id = ?
    ON CONFLICT (id) DO NOTHING
"};
const LOCK_ALL: Sql = statement!("SELECT id AS value FROM users WHERE id IN (?*) ORDER BY id FOR UPDATE");
const REPLACE_NAME: Sql = statement! {"
    INSERT INTO store_users (app_id, store, app_user_id, user_id)
    VALUES (?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"};
const DELETE_NAME: Sql = statement!("DELETE FROM store_users WHERE app_id = ? AND store = ? AND app_user_id = ?");
const MOVE_OTHERS: Sql = statement!("UPDATE store_users SET user_id = ? WHERE user_id = ?");
const REMOVE_NAME: Sql = statement!("UPDATE users SET external_id = NULL, analytics_device_id = NULL WHERE id = ?");
const RAISE: Sql = statement! {"
    UPDATE users
    SET revision = (SELECT MAX(f.revision) FROM users f WHERE f.id IN (?*))
    WHERE id = ?
"};
const MOVE_PURCHASES: Sql = statement!("UPDATE purchases SET user_id = ? WHERE user_id = ?");
const MOVE_FIRST: Sql = statement! {"
    UPDATE purchases
    SET first_user_id = ?
    WHERE user_id = ? AND first_user_id IN (?*)
"};
const MOVE_CUSTOMER: Sql = statement!("UPDATE purchases SET app_user_id = ? WHERE app_user_id = ? AND app_id = ?");
const LEAVE_LANES: Sql = statement! {"
    DELETE FROM user_lanes
    WHERE destination_id IN (SELECT id FROM destinations WHERE app_id = ?) AND user_id IN (?*)
"};
const LEAVE_PROFILES: Sql = statement! {"
    DELETE FROM profiles
    WHERE destination_id IN (SELECT id FROM destinations WHERE app_id = ?) AND user_id IN (?*)
"};

/// Makes a user another, anonymous one, and rechecks the purchases. Users are locked before purchases, and in the order of
/// their ids. Returns the names that the user had.
pub fn rename(write: &mut Write<'_>, secrets: &Secrets, renamed: Renamed) -> Result<ForgottenNames, Error> {
    let Renamed { app, user, anonymous } = renamed;
    sql(CREATE).bind(anonymous).bind(write.now).bind(user).run(write.connection)?;
    let (app_users, mut users) = names(write, secrets, &user, app)?;
    users.push(user);
    users.sort_unstable();
    users.dedup();
    users.retain(|user| *user != anonymous);
    let locked = users.iter().copied().chain([anonymous]);
    sql(LOCK_ALL).uncached().bind_list(locked.clone()).values::<UserId>(write.connection)?;
    sql(RAISE).uncached().bind_list(locked).bind(anonymous).run(write.connection)?;
    let external_id = users::read(write.connection, user)?.external_id;
    purchase::recheck(write, Urgency::Person, OF_USER, [user.into()])?;
    for name in &app_users {
        let (store, app_user_id) = (name.store.as_str(), name.app_user_id.as_str());
        tombstones::insert(write, secrets, ConcealedName { app, store, app_user_id })?;
        let replaced = sql(REPLACE_NAME).bind(app).bind(store).bind(name.tombstone.as_str());
        replaced.bind(anonymous).run(write.connection)?;
        sql(DELETE_NAME).bind(app).bind(store).bind(app_user_id).run(write.connection)?;
        sql(MOVE_CUSTOMER).bind(name.tombstone.as_str()).bind(app_user_id).bind(app).run(write.connection)?;
    }
    sql(MOVE_OTHERS).bind(anonymous).bind(user).run(write.connection)?;
    sql(REMOVE_NAME).bind(user).run(write.connection)?;
    sql(MOVE_PURCHASES).bind(anonymous).bind(user).run(write.connection)?;
    sql(MOVE_FIRST).uncached().bind(anonymous).bind(anonymous).bind_list(users.clone()).run(write.connection)?;
    sql(LEAVE_LANES).uncached().bind(app).bind_list(users.clone()).run(write.connection)?;
    sql(LEAVE_PROFILES).uncached().bind(app).bind_list(users.clone()).run(write.connection)?;
    let names = ForgottenNames { external_id, app_users, users };
    rows::remove_from_open_notifications(write, &names)?;
    Ok(names)
}

/// The user of a store's id that appeared again, if there is one: a notification was being accepted at that moment.
pub fn appeared(write: &mut Write<'_>, app: AppId, names: &ForgottenNames) -> Result<Option<UserId>, Error> {
    for name in &names.app_users {
        let customer = StoreUser { app_id: app, store: name.store.clone(), app_user_id: name.app_user_id.clone() };
        if let Some(user) = customer.find(write.connection)? {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

const ANNOUNCED: Sql = statement! {"
    SELECT p.collapse_key, p.platform_id, p.environment, p.revision,
        (SELECT COUNT(*) FROM events e WHERE e.collapse_key = p.collapse_key AND e.event_type = '{USER_FORGOTTEN}')
        AS forgotten_before
    FROM purchases p
    WHERE p.user_id = ? AND p.revision > 0
    ORDER BY p.collapse_key
    LIMIT 1
"};

/// Owes a `user.forgotten` to the destinations that chose it, in the lane of one of the purchases: after all that was
/// announced of it before. Nothing was ever announced of a user without purchases.
fn announce(write: &mut Write<'_>, app: AppId, (user, anonymous): (UserId, UserId)) -> Result<(), Error> {
    let first: Option<Announced> = sql(ANNOUNCED).bind(anonymous).first(write.connection)?;
    let Some(first) = first else { return Ok(()) };
    let (key, epoch) = (first.collapse_key, write.epoch()?);
    let number = u32::try_from(first.forgotten_before).unwrap_or(u32::MAX);
    let id = EventId::of(key, epoch, first.revision, USER_FORGOTTEN, number);
    let event = Event {
        id,
        event_type: USER_FORGOTTEN.to_owned(),
        collapse_key: key,
        revision: first.revision,
        traceparent: None,
    };
    let environment = first.environment.unwrap_or_default();
    let stored = StoredEvent {
        user_id: Some(anonymous),
        user_revision: Some(users::read(write.connection, anonymous)?.revision),
        environment: Some(environment),
        body: UserForgotten { id, user, created_at: write.now }.body().to_string(),
        ..StoredEvent::default()
    };
    insert(write, &event, stored)?;
    for destination in destinations::of_app(write.connection, app)? {
        if destination.chose(USER_FORGOTTEN) && destination.filter.wants(first.platform_id, environment) {
            deliveries::owe(write, &event, destination.id)?;
        }
    }
    Ok(())
}

/// A request whose first transaction is about to end.
struct Begun<'a> {
    forget: &'a Forget,
    request: String,
    anonymous: UserId,
    names: ForgottenNames,
}

const STORE: Sql = statement! {"
    INSERT INTO forgettings (id, request, app_id, user_id, requested_by, reason, names, stage, after_seq, counts,
        destinations, due_at, requested_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)
"};

fn store(write: &mut Write<'_>, secrets: &Secrets, begun: Begun<'_>) -> Result<ForgettingRow, Error> {
    let Begun { forget, request, anonymous, names } = begun;
    let id = random_uuid()?;
    let all = destinations::of_app(write.connection, forget.app)?;
    let owed = all.into_iter().filter(|one| one.per_user).map(|one| DeletionState {
        destination_id: one.id,
        status: DeletionStatus::Owed,
        attempts: 0,
        error: None,
    });
    let counts = BTreeMap::from([
        ("users", names.users.len()),
        ("store_users", names.app_users.len()),
        ("purchases", rows::purchases(write, anonymous)?),
    ]);
    sql(STORE)
        .bind(id)
        .bind(request.as_str())
        .bind(forget.app)
        .bind(anonymous)
        .bind(forget.by.as_str())
        .bind(forget.reason.as_str())
        .bind(seal(secrets, id, &names)?)
        .bind(ForgettingStage::Events)
        .bind(json(&counts)?)
        .bind(json(&owed.collect::<Vec<_>>())?)
        .bind(write.now)
        .bind(write.now)
        .run(write.connection)?;
    sql(OF_REQUEST).bind(request).one(write.connection, "request to forget a customer")
}
