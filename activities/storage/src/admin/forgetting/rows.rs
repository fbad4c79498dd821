//! Removes names from notifications, events and deliveries, a page at a time.

use crate::db::error::Error;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Number, Value, clean, row, sql};
use crate::db::writer::Write;
use crate::inbox::conceal::concealed_body;
use domain::user::{ForgottenAppUser, ForgottenNames, USER_FORGOTTEN};
use domain::{AppId, CollapseKey, DeliveryId, EventId, PlatformId, UserId};
use serde_json::Value as Json;

/// What stands in the place of a text that had a name in it.
pub const REMOVED: &str = "the text was removed: it named a customer who is forgotten";

/// The page of a table from which names are removed.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    pub app: AppId,
    pub names: &'a ForgottenNames,
    /// The anonymous user in the place of the customer, who has the purchases.
    pub anonymous: UserId,
    /// The last row of the page before.
    pub after: i64,
    pub limit: i64,
}

#[derive(Debug, Default)]
pub struct Removed {
    pub changed: usize,
    /// The last row of the page; `None` at the end of the table.
    pub through: Option<i64>,
}

impl Removed {
    /// The result of a page whose rows have these numbers.
    pub fn of(page: Page<'_>, changed: usize, seqs: impl Iterator<Item = i64> + Clone) -> Self {
        let is_full = i64::try_from(seqs.clone().count()).is_ok_and(|count| count >= page.limit);
        Self { changed, through: seqs.last().filter(|_| is_full) }
    }
}

const COUNT_PURCHASES: Sql = statement!("SELECT COUNT(*) AS value FROM purchases WHERE user_id = ?");

/// Number of purchases of a user.
pub fn purchases(write: &mut Write<'_>, user: UserId) -> Result<usize, Error> {
    let count: Option<Number> = sql(COUNT_PURCHASES).bind(user).first(write.connection)?;
    Ok(count.map_or(0, |count| usize::try_from(count.value).unwrap_or(usize::MAX)))
}

const PLATFORMS: Sql = statement!("SELECT id AS value FROM platforms WHERE app_id = ? AND store = ? ORDER BY id");

/// The platforms of an app on a store.
pub fn platforms(write: &mut Write<'_>, app: AppId, store: &str) -> Result<Vec<PlatformId>, Error> {
    sql(PLATFORMS).bind(app).bind(store).values(write.connection)
}

row! {
    struct NotificationRow {
        seq: i64,
        app_user_id: Option<String>,
        body: String,
    }
}

/// The notifications of a user's purchases.
const OF_PURCHASES: &str = "collapse_key IN (SELECT p.collapse_key FROM purchases p WHERE p.user_id = ?)";

// The first condition makes the index of what is open usable.
const OPEN_NOTIFICATIONS: Sql = statement! {hot "notifications_receipt", "
    SELECT seq, app_user_id, body
    FROM notifications
    WHERE receipt_id >= '' AND outcome IS NULL AND app_user_id = ? AND platform_id = ?
    ORDER BY seq
    FOR UPDATE
"};
const NOTIFICATIONS: Sql = statement! {"
    SELECT seq, app_user_id, body
    FROM notifications
    WHERE {OF_PURCHASES} AND (app_user_id IS NOT NULL OR body <> '{{}}') AND seq > ?
    ORDER BY seq
    LIMIT ?
    FOR UPDATE
"};
const SET_NOTIFICATION: Sql = statement!("UPDATE notifications SET app_user_id = ?, body = ? WHERE seq = ?");

/// Removes the stores' ids from notifications that are not settled, so that no settling takes them for a new customer.
pub fn remove_from_open_notifications(write: &mut Write<'_>, app: AppId, names: &ForgottenNames) -> Result<(), Error> {
    for name in &names.app_users {
        let app_user_id = clean(&name.app_user_id);
        for platform in platforms(write, app, &name.store)? {
            let open = sql(OPEN_NOTIFICATIONS).bind(&*app_user_id).bind(platform);
            let rows: Vec<NotificationRow> = open.all(write.connection)?;
            rows.iter().try_for_each(|row| remove_from_notification(write, names, row).map(drop))?;
        }
    }
    Ok(())
}

/// Removes the stores' ids from the notifications of the purchases.
pub fn notifications(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let select = sql(NOTIFICATIONS).bind(page.anonymous).bind(page.after).bind(page.limit);
    let rows: Vec<NotificationRow> = select.all(write.connection)?;
    let mut changed = 0;
    for row in &rows {
        changed += remove_from_notification(write, page.names, row)?;
    }
    Ok(Removed::of(page, changed, rows.iter().map(|row| row.seq)))
}

fn remove_from_notification(
    write: &mut Write<'_>,
    names: &ForgottenNames,
    row: &NotificationRow,
) -> Result<usize, Error> {
    let named = row.app_user_id.as_deref().map(|name| names.tombstone(name).unwrap_or(name));
    let is_in = |name: &&ForgottenAppUser| row.body.contains(&name.app_user_id);
    let body =
        names.app_users.iter().filter(is_in).fold(row.body.clone(), |body, name| concealed_body(&body, name.clone()));
    if named == row.app_user_id.as_deref() && body == row.body {
        return Ok(0);
    }
    sql(SET_NOTIFICATION).bind(named).bind(body).bind(row.seq).run(write.connection)
}

row! {
    struct EventRow {
        seq: i64,
        id: EventId,
        user_id: Option<UserId>,
        body: String,
        state_apart: Option<String>,
        profile: Option<String>,
        views: Option<String>,
    }
}

const EVENTS: Sql = statement! {"
    SELECT seq, id, user_id, body, state_apart, profile, views
    FROM events
    WHERE {{which}} AND event_type <> '{USER_FORGOTTEN}' AND seq > ?
    ORDER BY seq
    LIMIT ?
    FOR UPDATE
"};
const EVENTS_OF_PURCHASES: Clause = clause!(&[EVENTS], "{OF_PURCHASES}");
const EVENTS_OF_USER: Clause = clause!(&[EVENTS], "user_id = ?");
const SET_EVENT: Sql = statement! {"
    UPDATE events
    SET user_id = ?, body = ?, state_apart = ?, profile = ?, views = ?
    WHERE seq = ?
"};

/// Removes the names from the events of the purchases.
pub fn events(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    events_of(write, page, EVENTS_OF_PURCHASES, page.anonymous).map(|(removed, _)| removed)
}

/// Removes the names from other events of the users, and drops the bodies of these that wait in the lanes of others. Each
/// page takes the first rows that are left.
pub fn events_of_users(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    for user in &page.names.users {
        let (removed, events) = events_of(write, Page { after: 0, ..page }, EVENTS_OF_USER, *user)?;
        if removed.changed > 0 {
            let owed = sql(DELIVERIES_OF_EVENTS).uncached().bind_list(events).all(write.connection)?;
            remove_from_deliveries(write, page.names, &owed)?;
            return Ok(Removed { through: Some(0), ..removed });
        }
    }
    Ok(Removed::default())
}

/// Removes the names from a page of events; returns also which events were changed.
fn events_of(
    write: &mut Write<'_>,
    page: Page<'_>,
    which: Clause,
    user: UserId,
) -> Result<(Removed, Vec<EventId>), Error> {
    let select = sql(EVENTS.of(which)).bind(user).bind(page.after).bind(page.limit);
    let rows: Vec<EventRow> = select.all(write.connection)?;
    let mut changed = Vec::new();
    for row in &rows {
        let user = row.user_id.map(|user| if page.names.users.contains(&user) { page.anonymous } else { user });
        let body = without(page, &row.body);
        let [apart, profile, views] = [&row.state_apart, &row.profile, &row.views]
            .map(|text| text.as_deref().map(|text| without(page, text).unwrap_or_else(|| text.to_owned())));
        let is_changed = user != row.user_id
            || body.is_some()
            || apart != row.state_apart
            || profile != row.profile
            || views != row.views;
        if !is_changed {
            continue;
        }
        let body = body.unwrap_or_else(|| row.body.clone());
        let texts = [Some(body), apart, profile, views].map(|text| Value::Text(text.map(Into::into)));
        sql(SET_EVENT).bind(user).bind_all(texts).bind(row.seq).run(write.connection)?;
        changed.push(row.id);
    }
    Ok((Removed::of(page, changed.len(), rows.iter().map(|row| row.seq)), changed))
}

/// A JSON text without the names; `None` when it has none of them.
pub fn without(page: Page<'_>, text: &str) -> Option<String> {
    let read: Json = serde_json::from_str(text).ok()?;
    page.names.removed_from(&read, page.anonymous).map(|without| without.to_string())
}

row! {
    struct DeliveryText {
        seq: i64,
        id: DeliveryId,
        last_error: Option<String>,
    }
}
row! {
    struct AttemptText {
        delivery_id: DeliveryId,
        number: i64,
        error: String,
    }
}

const DELIVERIES: Sql = statement! {"
    SELECT seq, id, last_error
    FROM deliveries
    WHERE {OF_PURCHASES} AND event_type <> '{USER_FORGOTTEN}' AND seq > ?
    ORDER BY seq
    LIMIT ?
"};
const DELIVERIES_OF_EVENTS: Sql = statement! {"
    SELECT seq, id, last_error
    FROM deliveries
    WHERE event_id IN (?*)
    ORDER BY seq
"};
const DROP_BODIES: Sql = statement! {"
    UPDATE deliveries
    SET body = NULL, analytics_device_id = NULL, joined_device_id = NULL
    WHERE seq IN (?*) AND (body IS NOT NULL OR analytics_device_id IS NOT NULL OR joined_device_id IS NOT NULL)
"};
const LOCK_NAMELESS: Sql = statement! {"
    SELECT collapse_key AS value
    FROM lanes
    WHERE (destination_id, collapse_key) IN (SELECT destination_id, collapse_key FROM deliveries WHERE seq IN (?*))
        AND nameless_device_id IS NOT NULL
    ORDER BY destination_id, collapse_key
    FOR UPDATE
"};
const DROP_DEVICE_IDS: Sql = statement! {"
    UPDATE lanes
    SET nameless_device_id = NULL
    WHERE (destination_id, collapse_key) IN (SELECT destination_id, collapse_key FROM deliveries WHERE seq IN (?*))
        AND nameless_device_id IS NOT NULL
"};
const DROP_ANSWERS: Sql = statement! {"
    UPDATE attempts
    SET headers = NULL, response = NULL
    WHERE delivery_id IN (?*) AND (headers IS NOT NULL OR response IS NOT NULL)
"};
const ERRORS: Sql = statement! {"
    SELECT delivery_id, number, error
    FROM attempts
    WHERE delivery_id IN (?*) AND error IS NOT NULL
"};
const SET_ERROR: Sql = statement!("UPDATE attempts SET error = ? WHERE delivery_id = ? AND number = ?");
const SET_LAST_ERROR: Sql = statement!("UPDATE deliveries SET last_error = ? WHERE seq = ?");

/// Drops the bodies of the purchases that wait to be sent: each is rendered again, without the names. Drops the answers of
/// destinations.
pub fn deliveries(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let select = sql(DELIVERIES).bind(page.anonymous).bind(page.after).bind(page.limit);
    let rows: Vec<DeliveryText> = select.all(write.connection)?;
    let changed = remove_from_deliveries(write, page.names, &rows)?;
    Ok(Removed::of(page, changed, rows.iter().map(|row| row.seq)))
}

fn remove_from_deliveries(
    write: &mut Write<'_>,
    names: &ForgottenNames,
    rows: &[DeliveryText],
) -> Result<usize, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let (seqs, ids) = (rows.iter().map(|row| row.seq), rows.iter().map(|row| row.id));
    // A lane is locked before its deliveries.
    let nameless: Vec<CollapseKey> = sql(LOCK_NAMELESS).uncached().bind_list(seqs.clone()).values(write.connection)?;
    if !nameless.is_empty() {
        sql(DROP_DEVICE_IDS).uncached().bind_list(seqs.clone()).run(write.connection)?;
    }
    let mut changed = sql(DROP_BODIES).uncached().bind_list(seqs).run(write.connection)?;
    changed += sql(DROP_ANSWERS).uncached().bind_list(ids.clone()).run(write.connection)?;
    let errors: Vec<AttemptText> = sql(ERRORS).uncached().bind_list(ids).all(write.connection)?;
    for AttemptText { delivery_id, number, .. } in errors.iter().filter(|one| names.are_in(&one.error)) {
        changed += sql(SET_ERROR).bind(REMOVED).bind(*delivery_id).bind(*number).run(write.connection)?;
    }
    let is_named = |row: &&DeliveryText| row.last_error.as_ref().is_some_and(|text| names.are_in(text));
    for row in rows.iter().filter(is_named) {
        changed += sql(SET_LAST_ERROR).bind(REMOVED).bind(row.seq).run(write.connection)?;
    }
    Ok(changed)
}
