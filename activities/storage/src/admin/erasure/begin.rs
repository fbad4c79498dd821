//! The first transaction of an erasure: replaces the customer by an anonymous user whose id is computed from a
//! tombstone.

use super::announce::{self, Renamed};
use super::batches;
use super::columns::{DEVICES, Erased, PURCHASES, RowTexts};
use super::report::{
    DeletionState, DeletionStatus, Erasure, ErasureStage, SELECT, TABLE, json, seal,
};
use crate::admin::customers::OF_USER;
use crate::events::user_leases;
use crate::people::announcing;
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, Urgency};
use crate::purchases::users::{self, Raced, StoreUser, UserRow};
use crate::reports::customer::{self, CustomerName};
use crate::settings::destinations;
use crate::settings::tombstones::{self, ConcealedName, is_tombstone};
use crate::settings::unnamed::PURCHASE_PREFIX;
use db::error::Error;
use db::secrets::{Secrets, random_uuid};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::user::{ErasedAppUser, ErasedNames, REMOVED};
use domain::{AppId, UserId};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Stands for the store in the id of the anonymous user who replaces an erased customer; no store has this name.
const NO_STORE: &str = "erased";

/// A request to erase a customer.
#[derive(Debug, Clone)]
pub struct Erase {
    pub app: AppId,
    pub name: CustomerName,
    pub by: String,
    pub reason: String,
}

row! {
    struct StoreName {
        store: String,
        app_user_id: String,
    }
}

const BEFORE: Sql = statement! {"
    {SELECT}
    WHERE request = ? OR user_id = ?
    ORDER BY requested_at DESC
    LIMIT 1
"};

const STORE: Sql = statement! {"
    INSERT INTO erasures (id, request, app_id, user_id, requested_by, reason, names, stage, after_seq, counts,
        destinations, due_at, requested_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)
"};
const STORED: Sql = statement!("{SELECT} WHERE id = ?");

/// Begins to erase a customer; returns the report, or the earlier report if the request is repeated. An anonymous user
/// who already replaces an erased customer has no names, and is not erased again.
pub fn begin(write: &mut Write<'_>, secrets: &Secrets, erase: &Erase) -> Result<Erasure, Error> {
    let known = find(write, secrets, erase)?;
    let has_names = match &known {
        Some(user) => {
            user.external_id.is_some() || !names(write, secrets, erase.app, user.id)?.is_empty()
        }
        None => false,
    };
    let user = known.map(|user| user.id);
    if !has_names {
        let before = sql(BEFORE)
            .bind(request(secrets, erase))
            .bind(user)
            .first(write.connection)?;
        if let Some(before) = before {
            return Ok(before);
        }
    }
    let Some(user) = user else {
        return Err(Error::Missing { what: "customer" });
    };
    let hidden = secrets.tombstone("users", &erase.app.to_string(), &user.to_string());
    let anonymous = UserId::anonymous(erase.app, NO_STORE, &hidden);
    let renamed = Renamed {
        app: erase.app,
        user,
        anonymous,
    };
    let locked = lock(write, secrets, renamed)?;
    // Another transaction may have merged or moved the customer before the locks were taken.
    if find(write, secrets, erase)?.map(|found| found.id) != Some(user) {
        return Err(Error::unavailable(Raced));
    }
    let (names, counts) = rename(write, secrets, renamed, locked)?;
    announce::announce(write, renamed, &names.users)?;
    let written = |text: &str| {
        if names.are_in(text) {
            REMOVED.to_owned()
        } else {
            text.to_owned()
        }
    };
    let id = random_uuid()?;
    let sealed = seal(write, secrets, id, &names)?;
    let all = destinations::of_app(write.connection, erase.app)?;
    let pending = all
        .into_iter()
        .filter(|one| one.per_user)
        .map(|one| DeletionState {
            destination_id: one.id,
            status: DeletionStatus::Pending,
            attempts: 0,
            error: None,
        });
    sql(STORE)
        .bind((
            id,
            request(secrets, erase),
            erase.app,
            anonymous,
            written(&erase.by),
            written(&erase.reason),
            sealed,
            ErasureStage::Events,
            json(&counts)?,
            json(&pending.collect::<Vec<_>>())?,
            write.now()?,
            write.now()?,
        ))
        .run(write.connection)?;
    sql(STORED)
        .bind(id)
        .one(write.connection, "request to erase a customer")
}

/// Finds the user of the customer in a request.
fn find(write: &mut Write<'_>, secrets: &Secrets, erase: &Erase) -> Result<Option<UserRow>, Error> {
    let found = customer::find(write.connection, secrets, erase.app, &erase.name)?;
    found.map_or(Ok(None), |user| {
        users::find_in_app(write.connection, erase.app, user)
    })
}

/// Returns the tombstone of the name in an erasure request, by which a repeated request is recognized.
fn request(secrets: &Secrets, erase: &Erase) -> String {
    let name = match &erase.name {
        CustomerName::ExternalId(name) => format!("external_id/{name}"),
        CustomerName::AppUser(name) => format!("app_user_id/{name}"),
        CustomerName::StoreUser { store, app_user_id } => {
            format!("store_user/{store}/{app_user_id}")
        }
        CustomerName::User(user) => format!("user_id/{user}"),
    };
    secrets.tombstone(TABLE, &erase.app.to_string(), &name)
}

const STORE_NAMES: Sql = statement!(
    "SELECT store, app_user_id FROM store_users WHERE user_id = ? ORDER BY store, app_user_id"
);

/// Returns the stores' ids of a user with their tombstones.
fn names(
    write: &mut Write<'_>,
    secrets: &Secrets,
    app: AppId,
    user: UserId,
) -> Result<Vec<ErasedAppUser>, Error> {
    let names: Vec<StoreName> = sql(STORE_NAMES).bind(user).all(write.connection)?;
    let names = names
        .into_iter()
        .filter(|name| !name.app_user_id.starts_with(PURCHASE_PREFIX));
    let names = names.filter(|name| !is_tombstone(&name.app_user_id));
    let all = names.map(|StoreName { store, app_user_id }| {
        let tombstone = ConcealedName {
            app,
            store: &store,
            app_user_id: &app_user_id,
        }
        .tombstone(secrets);
        ErasedAppUser {
            store,
            app_user_id,
            tombstone,
        }
    });
    Ok(all.collect())
}

/// Returns the stores' ids of a user who was erased before, with their tombstones: an earlier release left the ids in
/// some places, from which they are removed now.
fn erased_before(
    write: &mut Write<'_>,
    secrets: &Secrets,
    user: UserId,
) -> Result<Vec<ErasedAppUser>, Error> {
    let names: Vec<StoreName> = sql(STORE_NAMES).bind(user).all(write.connection)?;
    let mut all = Vec::new();
    for StoreName {
        store,
        app_user_id: tombstone,
    } in names
    {
        if is_tombstone(&tombstone) {
            let app_user_id = tombstones::reveal(write.connection, secrets, tombstone.clone())?;
            all.push(ErasedAppUser {
                store,
                app_user_id,
                tombstone,
            });
        }
    }
    Ok(all)
}

const CREATE: Sql = statement! {"
    INSERT INTO users (id, app_id, revision, created_at)
    SELECT ?, app_id, revision, ?
    FROM users
    WHERE id = ?
    ON CONFLICT (id) DO NOTHING
"};
const LOCK_ALL: Sql =
    statement!("SELECT id AS value FROM users WHERE id IN (?*) ORDER BY id FOR UPDATE");
// After a transfer, the anonymous user of a store's id may belong to another customer.
const OTHERS: Sql = statement! {"
    SELECT u.id AS value
    FROM users u
    WHERE u.id IN (?*) AND (u.external_id IS NOT NULL
            OR EXISTS (SELECT 1 FROM store_users s WHERE s.user_id = u.id)
            OR EXISTS (SELECT 1 FROM purchases p WHERE p.user_id = u.id)
            OR EXISTS (SELECT 1 FROM devices d WHERE d.user_id = u.id))
"};
const REPLACE_NAME: Sql = statement! {"
    INSERT INTO store_users (app_id, store, app_user_id, user_id)
    VALUES (?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"};
const DELETE_NAME: Sql =
    statement!("DELETE FROM store_users WHERE app_id = ? AND store = ? AND app_user_id = ?");
const MOVE_OTHERS: Sql = statement!("UPDATE store_users SET user_id = ? WHERE user_id = ?");
// A device's own id is not a name: it stays in what the device reports.
const OWN_DEVICES: Sql = statement! {"
    SELECT DISTINCT u.analytics_device_id AS value
    FROM users u
    WHERE u.id IN (?*) AND u.analytics_device_id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM devices d JOIN platforms f ON f.id = d.platform_id
            WHERE f.app_id = u.app_id AND d.id = u.analytics_device_id)
"};
const REMOVE_NAMES: Sql =
    statement!("UPDATE users SET external_id = NULL, analytics_device_id = NULL WHERE id IN (?*)");
const RAISE: Sql = statement! {"
    UPDATE users
    SET revision = (SELECT MAX(f.revision) FROM users f WHERE f.id IN (?*))
    WHERE id = ?
"};
/// Whether a purchase is of this store: customers of two stores may have the same id.
const IN_STORE: &str =
    "(SELECT 1 FROM platforms f WHERE f.id = purchases.platform_id AND f.store = ?) IS NOT NULL";
/// `|| ''` keeps SQLite, which has no statistics, from reading all purchases of the app.
const MOVE_CUSTOMER: Sql = statement! {"
    UPDATE purchases SET app_user_id = ? WHERE app_user_id = ? AND app_id || '' = ? AND {IN_STORE}
"};
/// A store's response may have named the customer although the purchase's record does not yet.
const MOVE_ANSWERED: Sql = statement! {hot "purchases_of_answered_customer", "
    UPDATE purchases SET answered_customer = ? WHERE answered_customer = ? AND app_id || '' = ? AND {IN_STORE}
"};
const LEAVE_LANES: Sql = statement! {"
    DELETE FROM user_lanes
    WHERE destination_id IN (SELECT id FROM destinations WHERE app_id = ?) AND user_id IN (?*)
"};
const LEAVE_PROFILES: Sql = statement! {"
    DELETE FROM profiles
    WHERE destination_id IN (SELECT id FROM destinations WHERE app_id = ?) AND user_id IN (?*)
"};

// The customer's purchases are already locked, those of the anonymous user are not.
const PURCHASES_OF: Clause = clause! {&[PURCHASES.select], hot "purchases_user", "
    user_id IN (?, ?)
    ORDER BY collapse_key
    FOR NO KEY UPDATE
"};
const DEVICES_OF: Clause = clause! {&[DEVICES.select], hot "devices_user", "
    user_id = ?
    ORDER BY platform_id, id
    FOR UPDATE
"};
const FORGET_LOGINS: Sql = statement! {hot "devices_user", "
    UPDATE devices
    SET is_signed = FALSE
    WHERE user_id = ?
"};

/// Creates the anonymous user, and locks it together with the users that the customer is or was, in order of their ids.
/// Returns the stores' ids and these users.
///
/// # Errors
/// [`Error::Unavailable`] if the user got or lost a name before the locks were taken.
pub fn lock(
    write: &mut Write<'_>,
    secrets: &Secrets,
    renamed: Renamed,
) -> Result<ErasedNames, Error> {
    let Renamed {
        app,
        user,
        anonymous,
    } = renamed;
    sql(CREATE)
        .bind((anonymous, write.now()?, user))
        .run(write.connection)?;
    let app_users = names(write, secrets, app, user)?;
    let of_names = app_users
        .iter()
        .map(|one| UserId::anonymous(app, &one.store, &one.app_user_id));
    let mut users: Vec<UserId> = of_names.chain([user]).collect();
    users.sort_unstable();
    users.dedup();
    users.retain(|user| *user != anonymous);
    let locked = users.iter().copied().chain([anonymous]);
    sql(LOCK_ALL)
        .uncached()
        .bind_list(locked)
        .values::<UserId>(write.connection)?;
    if names(write, secrets, app, user)? != app_users {
        return Err(Error::unavailable(Raced));
    }
    let others: Vec<UserId> = sql(OTHERS)
        .uncached()
        .bind_list(users.clone())
        .values(write.connection)?;
    users.retain(|one| *one == user || !others.contains(one));
    Ok(ErasedNames {
        app_users,
        users,
        ..ErasedNames::default()
    })
}

/// Replaces a user by an anonymous one, and rechecks the purchases. Users are locked before purchases, and purchases
/// before devices. Returns the user's names, and the numbers of changed rows by table. One transaction is enough, since
/// a user has few purchases and devices; a merge moves all of them in one transaction too.
pub fn rename(
    write: &mut Write<'_>,
    secrets: &Secrets,
    renamed: Renamed,
    mut names: ErasedNames,
) -> Result<(ErasedNames, BTreeMap<&'static str, usize>), Error> {
    let (
        Renamed {
            app,
            user,
            anonymous,
        },
        users,
    ) = (renamed, names.users.clone());
    let all = || users.iter().copied();
    sql(RAISE)
        .uncached()
        .bind_list(all().chain([anonymous]))
        .bind(anonymous)
        .run(write.connection)?;
    names.external_id = users::read(write.connection, user)?.external_id;
    names.device_ids = sql(OWN_DEVICES)
        .uncached()
        .bind_list(all())
        .values(write.connection)?;
    purchase::recheck(
        write,
        Urgency::Person,
        CauseKind::Erasure,
        OF_USER,
        [user.into()],
    )?;
    let before = erased_before(write, secrets, user)?;
    let store_users = names.app_users.len();
    for name in &names.app_users {
        let (store, app_user_id) = (name.store.as_str(), name.app_user_id.as_str());
        tombstones::insert(
            write,
            secrets,
            ConcealedName {
                app,
                store,
                app_user_id,
            },
        )?;
        let replaced = sql(REPLACE_NAME).bind((app, store, name.tombstone.as_str()));
        replaced.bind(anonymous).run(write.connection)?;
        sql(DELETE_NAME)
            .bind((app, store, app_user_id))
            .run(write.connection)?;
        for statement in [MOVE_CUSTOMER, MOVE_ANSWERED] {
            sql(statement)
                .bind((name.tombstone.as_str(), app_user_id, app, store))
                .later(write.connection)?;
        }
    }
    sql(MOVE_OTHERS)
        .bind(anonymous)
        .bind(user)
        .run(write.connection)?;
    sql(REMOVE_NAMES)
        .uncached()
        .bind_list(all())
        .run(write.connection)?;
    let purchases = PURCHASES
        .of(PURCHASES_OF)
        .bind(user)
        .bind(anonymous)
        .all(write.connection)?;
    for one in all() {
        user_leases::hand_over(write, app, one, anonymous)?;
    }
    announcing::rename(write, &users, anonymous)?;
    for leave in [LEAVE_LANES, LEAVE_PROFILES] {
        sql(leave)
            .uncached()
            .bind(app)
            .bind_list(all())
            .run(write.connection)?;
    }
    let devices: Vec<RowTexts> = DEVICES.of(DEVICES_OF).bind(user).all(write.connection)?;
    names.device_ids.extend(devices.iter().filter_map(own_id));
    names.device_ids.sort_unstable();
    names.device_ids.dedup();
    sql(FORGET_LOGINS).bind(user).run(write.connection)?;
    names.app_users.extend(before);
    let who = Erased {
        app,
        names: &names,
        anonymous,
    };
    let counts = BTreeMap::from([
        ("users", names.users.len()),
        ("store_users", store_users),
        ("purchases", PURCHASES.remove(write, who, purchases)?.len()),
        ("devices", DEVICES.remove(write, who, devices)?.len()),
    ]);
    batches::open_notifications(write, who)?;
    Ok((names, counts))
}

/// Returns the analytics id that a device reported in its own description.
fn own_id(row: &RowTexts) -> Option<String> {
    let device: Json = serde_json::from_str(row.0.get(1)?.as_deref()?).ok()?;
    device
        .get("analytics_device_id")?
        .as_str()
        .map(str::to_owned)
}

/// Returns the user of a store's id that was stored again, if any: a notification may have been accepted during the
/// erasure's first transaction.
pub fn appeared(
    write: &mut Write<'_>,
    app: AppId,
    names: &ErasedNames,
) -> Result<Option<UserId>, Error> {
    for name in &names.app_users {
        let customer = StoreUser {
            app_id: app,
            store: name.store.clone(),
            app_user_id: name.app_user_id.clone(),
        };
        if let Some(user) = customer.find(write.connection)? {
            return Ok(Some(user));
        }
    }
    Ok(None)
}
