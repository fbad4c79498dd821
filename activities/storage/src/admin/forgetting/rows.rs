//! Removes names from the rows of one table, a page at a time.

use crate::db::error::Error;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Number, Value, clean, row, sql};
use crate::db::writer::Write;
use crate::events::alarms;
use crate::inbox::conceal::concealed_body;
use domain::user::{ForgottenNames, USER_FORGOTTEN};
use domain::{DeliveryId, DeviceId, PlatformId, UserId};
use serde_json::Value as Json;

/// What stands in the place of a text that had a name in it.
const REMOVED: &str = "the text was removed: it named a customer who is forgotten";

/// The page of a table from which names are removed.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    /// The names.
    pub names: &'a ForgottenNames,
    /// The anonymous user in the place of the customer, who has the purchases.
    pub anonymous: UserId,
    /// The last row of the page before.
    pub after: i64,
    /// Maximum number of rows.
    pub limit: i64,
}

/// The result of a page.
#[derive(Debug, Default)]
pub struct Removed {
    /// Number of changed rows.
    pub changed: usize,
    /// The last row of the page; `None` at the end of the table.
    pub through: Option<i64>,
}

impl Removed {
    /// The result of a page whose rows have these numbers.
    fn of(page: Page<'_>, (changed, seqs): (usize, impl Iterator<Item = i64> + Clone)) -> Self {
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
    WHERE receipt_id >= '' AND outcome IS NULL AND app_user_id = ?
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
pub fn remove_from_open_notifications(write: &mut Write<'_>, names: &ForgottenNames) -> Result<(), Error> {
    for name in &names.app_users {
        let app_user_id = clean(&name.app_user_id);
        let rows: Vec<NotificationRow> = sql(OPEN_NOTIFICATIONS).bind(&*app_user_id).all(write.connection)?;
        for row in rows {
            remove_from_notification(write, names, row)?;
        }
    }
    Ok(())
}

/// Removes the stores' ids from the notifications of the purchases.
pub fn notifications(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let select = sql(NOTIFICATIONS).bind(page.anonymous).bind(page.after).bind(page.limit);
    let rows: Vec<NotificationRow> = select.all(write.connection)?;
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let mut changed = 0;
    for row in rows {
        changed += remove_from_notification(write, page.names, row)?;
    }
    Ok(Removed::of(page, (changed, seqs.into_iter())))
}

fn remove_from_notification(
    write: &mut Write<'_>,
    names: &ForgottenNames,
    row: NotificationRow,
) -> Result<usize, Error> {
    let mut changed = 0;
    for name in &names.app_users {
        let is_named = row.app_user_id.as_ref() == Some(&name.app_user_id);
        if is_named || row.body.contains(&name.app_user_id) {
            let named = if is_named { Some(name.tombstone.as_str()) } else { row.app_user_id.as_deref() };
            let body = concealed_body(&row.body, name.clone());
            changed += sql(SET_NOTIFICATION).bind(named).bind(body).bind(row.seq).run(write.connection)?;
        }
    }
    Ok(changed)
}

row! {
    struct EventRow {
        seq: i64,
        user_id: Option<UserId>,
        body: String,
        state_apart: Option<String>,
        profile: Option<String>,
        views: Option<String>,
    }
}

const EVENTS: Sql = statement! {"
    SELECT seq, user_id, body, state_apart, profile, views
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
    events_of(write, page, (EVENTS_OF_PURCHASES, page.anonymous))
}

/// Removes the names from other events of the users. Each page takes the first rows that are left.
pub fn events_of_users(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    for user in &page.names.users {
        let removed = events_of(write, Page { after: 0, ..page }, (EVENTS_OF_USER, *user))?;
        if removed.changed > 0 {
            return Ok(Removed { through: Some(0), ..removed });
        }
    }
    Ok(Removed::default())
}

fn events_of(write: &mut Write<'_>, page: Page<'_>, (which, user): (Clause, UserId)) -> Result<Removed, Error> {
    let select = sql(EVENTS.of(which)).bind(user).bind(page.after).bind(page.limit);
    let rows: Vec<EventRow> = select.all(write.connection)?;
    let mut changed = 0;
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
        changed += sql(SET_EVENT).bind(user).bind_all(texts).bind(row.seq).run(write.connection)?;
    }
    Ok(Removed::of(page, (changed, rows.iter().map(|row| row.seq))))
}

/// A JSON text without the names; `None` when it has none of them.
fn without(page: Page<'_>, text: &str) -> Option<String> {
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
const DROP_BODIES: Sql = statement! {"
    UPDATE deliveries
    SET body = NULL
    WHERE seq IN (?*) AND body IS NOT NULL
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

/// Drops the bodies that wait to be sent: each is rendered again, without the names. Drops the answers of destinations.
pub fn deliveries(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let select = sql(DELIVERIES).bind(page.anonymous).bind(page.after).bind(page.limit);
    let rows: Vec<DeliveryText> = select.all(write.connection)?;
    if rows.is_empty() {
        return Ok(Removed::default());
    }
    let (seqs, ids) = (rows.iter().map(|row| row.seq), rows.iter().map(|row| row.id));
    let mut changed = sql(DROP_BODIES).uncached().bind_list(seqs.clone()).run(write.connection)?;
    changed += sql(DROP_ANSWERS).uncached().bind_list(ids.clone()).run(write.connection)?;
    let errors: Vec<AttemptText> = sql(ERRORS).uncached().bind_list(ids).all(write.connection)?;
    for AttemptText { delivery_id, number, .. } in errors.iter().filter(|one| page.names.are_in(&one.error)) {
        changed += sql(SET_ERROR).bind(REMOVED).bind(*delivery_id).bind(*number).run(write.connection)?;
    }
    let is_named = |row: &&DeliveryText| row.last_error.as_ref().is_some_and(|text| page.names.are_in(text));
    for row in rows.iter().filter(is_named) {
        changed += sql(SET_LAST_ERROR).bind(REMOVED).bind(row.seq).run(write.connection)?;
    }
    Ok(Removed::of(page, (changed, seqs)))
}

row! {
    struct DeviceText {
        platform_id: PlatformId,
        id: DeviceId,
        device: Json,
    }
}

const DEVICES: Sql = statement! {"
    SELECT platform_id, id, device
    FROM devices
    WHERE user_id IN (?*)
    ORDER BY platform_id, id
    LIMIT ?
    FOR UPDATE
"};
const SET_DEVICE: Sql = statement! {"
    UPDATE devices
    SET user_id = ?, is_signed = FALSE, device = ?
    WHERE platform_id = ? AND id = ?
"};
const CLAIMS_OF_PURCHASES: Sql = statement! {"
    UPDATE claims
    SET app_user_id = ?
    WHERE app_user_id = ? AND {OF_PURCHASES}
"};
const CLAIMS_OF_DEVICES: Sql = statement! {"
    UPDATE claims
    SET app_user_id = ?
    WHERE app_user_id = ? AND device_id IN (SELECT d.id FROM devices d WHERE d.user_id = ?)
"};

/// Makes the devices those of the anonymous user; their logins are forgotten, and the ids that they have elsewhere. Then
/// removes the stores' ids from claims.
pub fn devices(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let users = page.names.users.iter().copied();
    let select = sql(DEVICES).uncached().bind_list(users).bind(page.limit);
    let rows: Vec<DeviceText> = select.all(write.connection)?;
    let mut changed = 0;
    for DeviceText { platform_id, id, mut device } in rows {
        if let Some(device) = device.as_object_mut() {
            device.remove("analytics_device_id");
        }
        let set = sql(SET_DEVICE).bind(page.anonymous).bind(device.to_string()).bind(platform_id).bind(id);
        changed += set.run(write.connection)?;
    }
    if changed > 0 {
        return Ok(Removed { changed, through: Some(0) });
    }
    for name in &page.names.app_users {
        for claims in [CLAIMS_OF_PURCHASES, CLAIMS_OF_DEVICES] {
            let set = sql(claims).bind(name.tombstone.as_str()).bind(name.app_user_id.as_str());
            changed += set.bind(page.anonymous).run(write.connection)?;
        }
    }
    Ok(Removed { changed, through: None })
}

row! {
    struct DeviceEventRow {
        seq: i64,
        body: String,
    }
}

const DEVICE_EVENTS: Sql = statement! {"
    SELECT seq, body
    FROM device_events
    WHERE device_id IN (SELECT d.id FROM devices d WHERE d.user_id = ?
            UNION SELECT c.device_id FROM claims c JOIN purchases p ON p.collapse_key = c.collapse_key
            WHERE p.user_id = ?)
        AND seq > ?
    ORDER BY seq
    LIMIT ?
"};
const SET_DEVICE_EVENT: Sql = statement!("UPDATE device_events SET body = ? WHERE seq = ?");

/// Removes the names from what devices of the customer reported.
pub fn device_events(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let select = sql(DEVICE_EVENTS).bind(page.anonymous).bind(page.anonymous).bind(page.after).bind(page.limit);
    let rows: Vec<DeviceEventRow> = select.all(write.connection)?;
    let mut changed = 0;
    for row in &rows {
        if let Some(body) = without(page, &row.body) {
            changed += sql(SET_DEVICE_EVENT).bind(body).bind(row.seq).run(write.connection)?;
        }
    }
    Ok(Removed::of(page, (changed, rows.iter().map(|row| row.seq))))
}

row! {
    struct AlarmText {
        seq: i64,
        platform_id: Option<PlatformId>,
        kind: String,
        detail: String,
    }
}

const ALARMS: Sql = statement! {"
    SELECT seq, platform_id, kind, detail
    FROM alarms
    WHERE seq > ?
    ORDER BY seq
    LIMIT ?
"};
const DELETE_ALARM: Sql = statement!("DELETE FROM alarms WHERE seq = ?");

/// Raises alarms that have a name in them anew, without it.
pub fn alarms(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let rows: Vec<AlarmText> = sql(ALARMS).bind(page.after).bind(page.limit).all(write.connection)?;
    let mut changed = 0;
    for row in rows.iter().filter(|row| page.names.are_in(&row.detail)) {
        alarms::raise(write, row.platform_id, &row.kind, REMOVED);
        changed += sql(DELETE_ALARM).bind(row.seq).run(write.connection)?;
    }
    Ok(Removed::of(page, (changed, rows.iter().map(|row| row.seq))))
}

row! {
    struct TransferRow {
        id: String,
        from_user_id: UserId,
        to_user_id: UserId,
        moved: String,
    }
}

const TRANSFERS_FROM: Sql =
    statement!("SELECT id, from_user_id, to_user_id, moved FROM transfers WHERE from_user_id IN (?*)");
const TRANSFERS_TO: Sql =
    statement!("SELECT id, from_user_id, to_user_id, moved FROM transfers WHERE to_user_id IN (?*)");
const SET_TRANSFER: Sql = statement!("UPDATE transfers SET from_user_id = ?, to_user_id = ?, moved = ? WHERE id = ?");

/// Puts the anonymous user in the place of the customer in transfers, and removes the stores' ids.
pub fn transfers(write: &mut Write<'_>, page: Page<'_>) -> Result<usize, Error> {
    let mut changed = 0;
    for select in [TRANSFERS_FROM, TRANSFERS_TO] {
        let users = page.names.users.iter().copied();
        let rows: Vec<TransferRow> = sql(select).uncached().bind_list(users).all(write.connection)?;
        for row in rows {
            let now = |user: UserId| if page.names.users.contains(&user) { page.anonymous } else { user };
            let mut moved = row.moved;
            for name in &page.names.app_users {
                moved = moved.replace(&quoted(&name.app_user_id), &quoted(&name.tombstone));
            }
            let set = sql(SET_TRANSFER).bind(now(row.from_user_id)).bind(now(row.to_user_id));
            changed += set.bind(moved).bind(row.id).run(write.connection)?;
        }
    }
    Ok(changed)
}

const RESET_USERS: Sql = statement!("UPDATE users SET revision = 0 WHERE id IN (?*)");

/// Resets the revisions of the users: what was announced of them is the anonymous user's.
pub fn reset_users(write: &mut Write<'_>, page: Page<'_>) -> Result<(), Error> {
    let users = page.names.users.iter().copied();
    sql(RESET_USERS).uncached().bind_list(users).run(write.connection).map(drop)
}

/// A text as JSON writes it.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}
