//! Which rows of the tables may contain a name of an erased customer, and in which batches they are read. A name is any
//! identifier of the customer: the app's own, a store's or settle's.

use super::batch::{ErasureBatch, Removed, pattern, seqs};
use super::columns::{
    ALARMS, ATTEMPTS, CLAIMS, Columns, DELIVERIES, DESTINATIONS, DEVICE_DELIVERIES, DEVICE_EVENTS,
    EVENTS, Erased, HEALTH, LANES, NOTIFICATIONS, RowTexts, TRANSFERS,
};
use super::report::ErasureStage as Stage;
use super::{finished, written};
use db::alarm::{About, NewAlarm};
use db::error::Error;
use db::partial::OPEN_OF_STORE_ID;
use db::secrets::Secrets;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, clean, row, sql};
use db::writer::Write;
use domain::user::{ErasedAppUser, LONG_NAME_BYTES, REMOVED, USER_ERASED};
use domain::{DestinationId, PlatformId};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Number of device events that one step searches.
const SEARCHED_PER_STEP: i64 = 2000;

/// Removes the names from a batch of a stage. Returns the table to whose count the changed rows are added, the next
/// stage and the result.
pub fn remove(
    write: &mut Write<'_>,
    secrets: &Secrets,
    stage: Stage,
    batch: ErasureBatch<'_>,
) -> Result<(&'static str, Stage, Removed), Error> {
    let second = batch.of_second();
    Ok(match stage {
        Stage::Events => (
            "events",
            Stage::EventsOfUser,
            batch.remove(write, EVENTS, EVENTS_OF_PURCHASES)?,
        ),
        Stage::EventsOfUser => ("events", Stage::Deliveries, events_of_users(write, batch)?),
        Stage::Deliveries => ("deliveries", Stage::DeviceEvents, deliveries(write, batch)?),
        Stage::DeviceEvents => (
            "device_events",
            Stage::Notifications,
            device_events(write, batch)?,
        ),
        Stage::Notifications => {
            let removed = match second {
                None => batch
                    .remove(write, NOTIFICATIONS, NOTIFICATIONS_OF_PURCHASES)?
                    .then_second(),
                Some(batch) => finished::remove(write, batch)?.in_second(),
            };
            ("notifications", Stage::Claims, removed)
        }
        Stage::Claims => ("claims", Stage::Alarms, claims(write, batch)?),
        Stage::Alarms => ("alarms", Stage::Rest, alarms(write, batch)?),
        Stage::Rest => match second {
            None => (
                "transfers",
                Stage::Destinations,
                destinations_and_transfers(write, batch)?.then_second(),
            ),
            Some(batch) => (
                "audit_log",
                Stage::Destinations,
                written::remove(write, secrets, batch)?.in_second(),
            ),
        },
        Stage::Destinations | Stage::Done => ("events", Stage::Done, Removed::default()),
    })
}

/// Removes the names from the rows that a clause selects by these sequence numbers; returns the number of changed rows.
fn remove_by_seqs(
    write: &mut Write<'_>,
    who: Erased<'_>,
    columns: Columns,
    which: Clause,
    seqs: &[i64],
) -> Result<usize, Error> {
    if seqs.is_empty() {
        return Ok(0);
    }
    let rows = columns
        .of(which)
        .uncached()
        .bind_list(seqs.iter().copied())
        .all(write.connection)?;
    Ok(columns.remove(write, who, rows)?.len())
}

/// Condition for the records of a user's purchases.
const OF_PURCHASES: &str =
    "collapse_key IN (SELECT p.collapse_key FROM purchases p WHERE p.user_id = ?)";

const EVENTS_OF_PURCHASES: Clause = clause! {&[EVENTS.select], "
    {OF_PURCHASES} AND event_type <> '{USER_ERASED}' AND seq > ?
    ORDER BY seq
    LIMIT ?
    FOR UPDATE
"};
const EVENTS_OF_USER: Clause = clause! {&[EVENTS.select], "
    user_id = ? AND event_type <> '{USER_ERASED}'
    ORDER BY seq
    LIMIT ?
    FOR UPDATE
"};
const DELIVERIES_OF_EVENTS: Sql = statement! {"
    SELECT seq AS value
    FROM deliveries
    WHERE event_id IN (SELECT e.id FROM events e WHERE e.seq IN (?*))
    ORDER BY seq
"};

/// Returns the sequence numbers of these events' deliveries.
fn deliveries_of(write: &mut Write<'_>, events: &[i64]) -> Result<Vec<i64>, Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    sql(DELIVERIES_OF_EVENTS)
        .uncached()
        .bind_list(events.iter().copied())
        .values(write.connection)
}

/// Removes the names from the users' remaining events and from their pending deliveries in other users' lanes.
fn events_of_users(write: &mut Write<'_>, batch: ErasureBatch<'_>) -> Result<Removed, Error> {
    for user in &batch.who.names.users {
        let rows = EVENTS
            .of(EVENTS_OF_USER)
            .bind(*user)
            .bind(batch.limit)
            .all(write.connection)?;
        let changed = seqs(EVENTS, &EVENTS.remove(write, batch.who, rows)?);
        if !changed.is_empty() {
            let pending = deliveries_of(write, &changed)?;
            remove_from_deliveries(write, batch.who, &pending)?;
            return Ok(Removed::first(changed.len()));
        }
    }
    Ok(Removed::default())
}

const DELIVERIES_OF_PURCHASES: Sql = statement! {"
    SELECT seq AS value
    FROM deliveries
    WHERE {OF_PURCHASES} AND event_type <> '{USER_ERASED}' AND seq > ?
    ORDER BY seq
    LIMIT ?
"};
const LANES_OF: Clause = clause! {&[LANES.select], "
    (destination_id, collapse_key) IN (SELECT d.destination_id, d.collapse_key FROM deliveries d WHERE d.seq IN (?*))
    ORDER BY destination_id, collapse_key
    FOR UPDATE
"};
const DELIVERIES_OF: Clause = clause!(
    &[DELIVERIES.select],
    "seq IN (?*) ORDER BY seq FOR NO KEY UPDATE"
);
const ATTEMPTS_OF: Clause = clause! {&[ATTEMPTS.select], "
    delivery_id IN (SELECT d.id FROM deliveries d WHERE d.seq IN (?*))
    ORDER BY delivery_id, number
    FOR NO KEY UPDATE
"};

/// Removes the unsent bodies of deliveries, which are rendered again later, and the names in destinations' responses.
fn deliveries(write: &mut Write<'_>, batch: ErasureBatch<'_>) -> Result<Removed, Error> {
    let select = sql(DELIVERIES_OF_PURCHASES).bind((batch.who.anonymous, batch.after, batch.limit));
    let seqs: Vec<i64> = select.values(write.connection)?;
    let changed = remove_from_deliveries(write, batch.who, &seqs)?;
    Ok(batch.removed(changed, &seqs))
}

/// Removes the names from deliveries. A lane is locked before its deliveries, and these before their attempts.
fn remove_from_deliveries(
    write: &mut Write<'_>,
    who: Erased<'_>,
    seqs: &[i64],
) -> Result<usize, Error> {
    remove_by_seqs(write, who, LANES, LANES_OF, seqs)?;
    let changed = remove_by_seqs(write, who, DELIVERIES, DELIVERIES_OF, seqs)?;
    Ok(changed + remove_by_seqs(write, who, ATTEMPTS, ATTEMPTS_OF, seqs)?)
}

const END_OF_SEARCH: Sql = statement! {"
    SELECT MAX(seq) AS value
    FROM (SELECT seq FROM device_events WHERE seq > ? ORDER BY seq LIMIT {SEARCHED_PER_STEP}) searched
    HAVING MAX(seq) IS NOT NULL
"};
// A row may name the customer although its device was never, or is no longer, the customer's. No index can find such
// rows without making every insert more expensive, so all stored events are searched, and in the database instead of in
// this process.
const EVENTS_NAMING_CUSTOMER: Clause = clause! {&[DEVICE_EVENTS.select], "
    seq > ? AND seq <= ? AND platform_id IN (SELECT f.id FROM platforms f WHERE f.app_id = ?)
        AND EXISTS (WITH names (pattern) AS (VALUES ?*) SELECT 1 FROM names WHERE body LIKE pattern ESCAPE '\\')
    ORDER BY seq
    LIMIT ?
"};
// Replaces a client id that contains a name by the row's own id. The column cannot be NULL, because a repeated report
// is recognized by it.
const REMOVE_CLIENT_IDS: Sql = statement! {"
    UPDATE device_events
    SET client_id = id
    WHERE seq > ? AND seq <= ? AND platform_id IN (SELECT f.id FROM platforms f WHERE f.app_id = ?)
        AND EXISTS (WITH names (pattern) AS (VALUES ?*) SELECT 1 FROM names WHERE client_id LIKE pattern ESCAPE '\\')
"};
const DEVICE_DELIVERIES_OF: Clause = clause!(&[DEVICE_DELIVERIES.select], "event_seq IN (?*)");

/// Removes the names from the reports of the app's devices, whichever users they have, and from the errors of
/// destinations that repeat a report.
fn device_events(write: &mut Write<'_>, batch: ErasureBatch<'_>) -> Result<Removed, Error> {
    let end: Option<i64> = sql(END_OF_SEARCH)
        .bind(batch.after)
        .value(write.connection)?;
    let Some(end) = end else {
        return Ok(Removed::default());
    };
    let names = batch.who.names.texts();
    let patterns = names.iter().map(|name| [Value::from(json_pattern(name))]);
    let select =
        DEVICE_EVENTS
            .of(EVENTS_NAMING_CUSTOMER)
            .uncached()
            .bind((batch.after, end, batch.who.app));
    let rows: Vec<RowTexts> = select
        .bind_rows(patterns)
        .bind(batch.limit)
        .all(write.connection)?;
    let found = seqs(DEVICE_EVENTS, &rows);
    let changed = seqs(
        DEVICE_EVENTS,
        &DEVICE_EVENTS.remove(write, batch.who, rows)?,
    );
    remove_by_seqs(
        write,
        batch.who,
        DEVICE_DELIVERIES,
        DEVICE_DELIVERIES_OF,
        &changed,
    )?;
    let mut long = names
        .iter()
        .filter(|name| is_long(name))
        .map(|name| [Value::from(pattern(name))])
        .peekable();
    if long.peek().is_some() {
        let remove = sql(REMOVE_CLIENT_IDS)
            .uncached()
            .bind((batch.after, end, batch.who.app));
        remove.bind_rows(long).run(write.connection)?;
    }
    let Removed {
        changed,
        next_after,
    } = batch.removed(changed.len(), &found);
    Ok(Removed {
        changed,
        next_after: next_after.or(Some(end)),
    })
}

/// Whether a name is long enough to be searched for inside other texts.
const fn is_long(name: &str) -> bool {
    name.len() >= LONG_NAME_BYTES
}

/// Returns the `LIKE` pattern of JSON in which a string contains this name. A short name must be the whole string,
/// because nearly every body would match otherwise.
fn json_pattern(name: &str) -> String {
    let quoted = Json::from(name).to_string();
    pattern(if is_long(name) {
        quoted.trim_matches('"')
    } else {
        &quoted
    })
}

const PLATFORMS: Sql =
    statement!("SELECT id AS value FROM platforms WHERE app_id = ? AND store = ? ORDER BY id");
// The first two conditions let the partial index of open notifications be used.
const OPEN_NOTIFICATIONS: Clause = clause! {&[NOTIFICATIONS.select], hot "notifications_open_of_receipt", "
    receipt_id >= '' AND {OPEN_OF_STORE_ID} AND app_user_id = ? AND platform_id = ?
    ORDER BY seq
    FOR UPDATE
"};
const NOTIFICATIONS_OF_PURCHASES: Clause = clause! {&[NOTIFICATIONS.select], "
    {OF_PURCHASES} AND (app_user_id IS NOT NULL OR body <> '{{}}' OR reason IS NOT NULL) AND seq > ?
    ORDER BY seq
    LIMIT ?
    FOR UPDATE
"};
const CLAIMS_OF_CUSTOMER: Clause = clause! {&[CLAIMS.select], hot "claims_customer", "
    app_user_id = ? AND platform_id = ?
    ORDER BY device_id, collapse_key
    LIMIT ?
    FOR UPDATE
"};

/// Returns the stores' ids of the customer, each with every platform of the app on that store.
fn customers<'n>(
    write: &mut Write<'_>,
    who: Erased<'n>,
) -> Result<Vec<(&'n ErasedAppUser, PlatformId)>, Error> {
    let mut all = Vec::new();
    for name in &who.names.app_users {
        let platforms = sql(PLATFORMS)
            .bind(who.app)
            .bind(name.store.as_str())
            .values(write.connection)?;
        all.extend(platforms.into_iter().map(|platform| (name, platform)));
    }
    Ok(all)
}

/// Removes the names from notifications that are not settled, so that no settling creates a new customer from them.
pub fn open_notifications(write: &mut Write<'_>, who: Erased<'_>) -> Result<(), Error> {
    for (name, platform) in customers(write, who)? {
        let open = NOTIFICATIONS
            .of(OPEN_NOTIFICATIONS)
            .bind(clean(&name.app_user_id).into_owned())
            .bind(platform);
        let rows = open.all(write.connection)?;
        NOTIFICATIONS.remove(write, who, rows)?;
    }
    Ok(())
}

/// Removes the names from the claims of all devices.
fn claims(write: &mut Write<'_>, batch: ErasureBatch<'_>) -> Result<Removed, Error> {
    for (name, platform) in customers(write, batch.who)? {
        let claims = CLAIMS
            .of(CLAIMS_OF_CUSTOMER)
            .bind(name.app_user_id.as_str())
            .bind(platform);
        let rows = claims.bind(batch.limit).all(write.connection)?;
        let changed = CLAIMS.remove(write, batch.who, rows)?.len();
        if changed > 0 {
            return Ok(Removed::first(changed));
        }
    }
    Ok(Removed::default())
}

row! {
    struct AlarmRow {
        seq: i64,
        platform_id: Option<PlatformId>,
        destination_id: Option<DestinationId>,
        kind: String,
        detail: String,
    }
}

const ALARMS_OF_APP: Sql = statement! {"
    SELECT seq, platform_id, destination_id, kind, detail
    FROM alarms
    WHERE (app_id IS NULL OR app_id = ?) AND seq > ?
    ORDER BY seq
    LIMIT ?
"};
/// Keeps whether the alarm is open and whether it was announced.
const REPLACE_DETAIL: Sql = statement! {"
    UPDATE alarms
    SET detail = ?, id = ?
    WHERE seq = ? AND NOT EXISTS (SELECT 1 FROM alarms o WHERE o.id = ?)
"};
const DELETE_ALARM: Sql = statement!("DELETE FROM alarms WHERE seq = ?");
const ALARM_NOTES: Clause = clause!(&[ALARMS.select], "seq IN (?*)");

/// Removes the names from the app's alarms and from those of no app. A detail that contains a name is replaced by
/// [`REMOVED`]; if an alarm with that detail already exists, the row is deleted.
fn alarms(write: &mut Write<'_>, batch: ErasureBatch<'_>) -> Result<Removed, Error> {
    let select = sql(ALARMS_OF_APP).bind((batch.who.app, batch.after, batch.limit));
    let rows: Vec<AlarmRow> = select.all(write.connection)?;
    let mut changed = 0;
    // The placeholder `REMOVED` may itself contain a customer's name.
    let is_named = |row: &&AlarmRow| row.detail != REMOVED && batch.who.names.are_in(&row.detail);
    for row in rows.iter().filter(is_named) {
        let about = row
            .destination_id
            .map_or(About::from(row.platform_id), About::Destination);
        let id = NewAlarm {
            about,
            kind: &row.kind,
            detail: REMOVED,
        }
        .id();
        let replace = sql(REPLACE_DETAIL).bind((REMOVED, id, row.seq, id));
        if replace.run(write.connection)? == 0 {
            sql(DELETE_ALARM).bind(row.seq).run(write.connection)?;
        }
        changed += 1;
    }
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    changed += remove_by_seqs(write, batch.who, ALARMS, ALARM_NOTES, &seqs)?;
    Ok(batch.removed(changed, &seqs))
}

/// Operator events about the app's destinations, whose `collapse_key` is the destination's id, and events about alarms:
/// an alarm of no app is announced to every app.
const EVENTS_FOR_OPERATORS: Clause = clause! {&[EVENTS.select], "
    (collapse_key IN (SELECT t.id FROM destinations t WHERE t.app_id = ?)
        OR event_type IN ('alarm.opened', 'alarm.closed')) AND seq > ?
    ORDER BY seq
    LIMIT ?
    FOR UPDATE
"};
const HEALTH_OF_DESTINATIONS: Clause = clause! {&[HEALTH.select], "
    destination_id IN (SELECT t.id FROM destinations t WHERE t.app_id = ?)
    ORDER BY destination_id
    FOR UPDATE
"};
const DESTINATIONS_OF_APP: Clause = clause!(
    &[DESTINATIONS.select],
    "app_id = ? ORDER BY id FOR NO KEY UPDATE"
);

/// Removes the names from destinations' responses and alarms' details in operator events, one batch of events at a
/// time, and after the last batch from all transfers.
fn destinations_and_transfers(
    write: &mut Write<'_>,
    batch: ErasureBatch<'_>,
) -> Result<Removed, Error> {
    let who = batch.who;
    let select = EVENTS
        .of(EVENTS_FOR_OPERATORS)
        .bind((who.app, batch.after, batch.limit));
    let rows = select.all(write.connection)?;
    let found = seqs(EVENTS, &rows);
    let changed = seqs(EVENTS, &EVENTS.remove(write, who, rows)?);
    let pending = deliveries_of(write, &changed)?;
    remove_from_deliveries(write, who, &pending)?;
    let removed = batch.removed(changed.len(), &found);
    if removed.next_after.is_some() {
        return Ok(removed);
    }
    for (columns, which) in [
        (HEALTH, HEALTH_OF_DESTINATIONS),
        (DESTINATIONS, DESTINATIONS_OF_APP),
    ] {
        let rows = columns.of(which).bind(who.app).all(write.connection)?;
        columns.remove(write, who, rows)?;
    }
    let transfers = transfers(write, who)?;
    Ok(Removed {
        changed: removed.changed + transfers,
        next_after: None,
    })
}

const TRANSFERS_OF_USERS: Clause = clause!(
    &[TRANSFERS.select],
    "(from_user_id IN (?*) OR to_user_id IN (?*)) ORDER BY id"
);

/// Removes the names from the transfers from and to the customer. Earlier transfers of the same store customers contain
/// the stores' ids too; they are found by following the former owners.
fn transfers(write: &mut Write<'_>, who: Erased<'_>) -> Result<usize, Error> {
    let users = who.names.users.iter().chain([&who.anonymous]);
    let (mut users, mut changed): (BTreeSet<String>, usize) =
        (users.map(ToString::to_string).collect(), 0);
    loop {
        let all = || users.iter().map(String::as_str);
        let select = TRANSFERS
            .of(TRANSFERS_OF_USERS)
            .uncached()
            .bind_list(all())
            .bind_list(all());
        let rows = select.all(write.connection)?;
        let removed = TRANSFERS.remove(write, who, rows)?;
        if removed.is_empty() {
            return Ok(changed);
        }
        changed += removed.len();
        users.extend(
            removed
                .into_iter()
                .flat_map(|row| row.0.into_iter().take(2).flatten()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::json_pattern;

    #[test]
    fn a_pattern_matches_a_short_name_as_a_whole_string() {
        let short = [
            ("anna", "%\"anna\"%"),
            ("a_b%", "%\"a\\_b\\%\"%"),
            ("a\"b", "%\"a\\\\\"b\"%"),
        ];
        for (name, wanted) in short.into_iter().chain([
            ("anna.erased", "%anna.erased%"),
            ("an \"erased", "%an \\\\\"erased%"),
        ]) {
            assert_eq!(json_pattern(name), wanted);
        }
    }
}
