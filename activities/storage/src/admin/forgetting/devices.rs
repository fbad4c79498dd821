//! Removes names from the rows of devices: their descriptions, their claims, and what they reported.

use super::rows::{Page, REMOVED, Removed, platforms, without};
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use domain::user::ForgottenAppUser;
use domain::{CollapseKey, DestinationId, DeviceId, PlatformId, UserId};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Number of events of devices that one step searches.
const WINDOW: i64 = 2000;

row! {
    struct DeviceText {
        platform_id: PlatformId,
        id: DeviceId,
        device: Json,
    }
}

const DEVICES: Sql = statement! {hot "devices_user", "
    SELECT platform_id, id, device
    FROM devices
    WHERE user_id = ?
    ORDER BY platform_id, id
    FOR UPDATE
"};
const SET_DEVICE: Sql = statement! {"
    UPDATE devices
    SET user_id = ?, is_signed = FALSE, device = ?
    WHERE platform_id = ? AND id = ?
"};

/// Makes the devices of a user those of another one; their logins are forgotten, and the ids that they have in the app's
/// analytics. Returns how many they are, and these ids. A user has few devices, and a merge moves all of them at once too.
pub fn hand_over(write: &mut Write<'_>, from: UserId, to: UserId) -> Result<(usize, Vec<String>), Error> {
    let rows: Vec<DeviceText> = sql(DEVICES).bind(from).all(write.connection)?;
    let (count, mut own_ids) = (rows.len(), Vec::new());
    for DeviceText { platform_id, id, mut device } in rows {
        let own = device.as_object_mut().and_then(|device| device.remove("analytics_device_id"));
        own_ids.extend(own.and_then(|own| own.as_str().map(str::to_owned)));
        let set = sql(SET_DEVICE).bind(to).bind(device.to_string()).bind(platform_id).bind(id);
        set.run(write.connection)?;
    }
    Ok((count, own_ids))
}

row! {
    struct ClaimKey {
        device_id: DeviceId,
        collapse_key: CollapseKey,
    }
}

const CLAIMS: Sql = statement! {hot "claims_customer", "
    SELECT device_id, collapse_key
    FROM claims
    WHERE platform_id = ? AND app_user_id = ?
    ORDER BY device_id, collapse_key
    LIMIT ?
    FOR UPDATE
"};
const SET_CLAIM: Sql = statement! {"
    UPDATE claims
    SET app_user_id = ?, network = ''
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ?
"};

/// Removes the stores' ids from the claims of all devices. Each page takes the first rows that are left.
pub fn claims(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    for ForgottenAppUser { store, app_user_id, tombstone } in &page.names.app_users {
        for platform in platforms(write, page.app, store)? {
            let claims = sql(CLAIMS).bind(platform).bind(app_user_id.as_str()).bind(page.limit);
            let rows: Vec<ClaimKey> = claims.all(write.connection)?;
            for ClaimKey { device_id, collapse_key } in &rows {
                let set = sql(SET_CLAIM).bind(tombstone.as_str()).bind(platform).bind(*device_id);
                set.bind(*collapse_key).run(write.connection)?;
            }
            if !rows.is_empty() {
                return Ok(Removed { changed: rows.len(), through: Some(0) });
            }
        }
    }
    Ok(Removed::default())
}

row! {
    struct EventText {
        seq: i64,
        body: String,
    }
}

const END_OF_WINDOW: Sql = statement! {"
    SELECT MAX(seq) AS value
    FROM (SELECT seq FROM device_events WHERE seq > ? ORDER BY seq LIMIT {WINDOW}) searched
    HAVING MAX(seq) IS NOT NULL
"};
// A row may name the customer although its device was never theirs, or is no more. An index of users would not find it,
// and would cost every event; so all events that are still stored are searched, here and not in this process.
const NAMED: Sql = statement! {"
    SELECT seq, body
    FROM device_events
    WHERE seq > ? AND seq <= ? AND body LIKE ? ESCAPE '\\'
        AND platform_id IN (SELECT f.id FROM platforms f WHERE f.app_id = ?)
    ORDER BY seq
    LIMIT ?
"};
const SET_EVENT: Sql = statement!("UPDATE device_events SET body = ? WHERE seq = ?");

/// Removes the names from what devices of the app reported, whosever they are.
pub fn events(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let end: Option<i64> = sql(END_OF_WINDOW).bind(page.after).value(write.connection)?;
    let Some(end) = end else { return Ok(Removed::default()) };
    let mut found = BTreeMap::new();
    for name in page.names.texts() {
        let named = sql(NAMED).bind(page.after).bind(end).bind(pattern(&name)).bind(page.app).bind(page.limit);
        let rows: Vec<EventText> = named.all(write.connection)?;
        found.extend(rows.into_iter().map(|row| (row.seq, row.body)));
    }
    // Of each name the first rows were read, so the first of all are complete.
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let is_full = found.len() >= limit;
    let (mut changed, mut last) = (Vec::new(), end);
    for (seq, body) in found.into_iter().take(limit) {
        if let Some(body) = without(page, &body) {
            sql(SET_EVENT).bind(body).bind(seq).run(write.connection)?;
            changed.push(seq);
        }
        last = if is_full { seq } else { end };
    }
    errors(write, page, &changed)?;
    Ok(Removed { changed: changed.len(), through: Some(last) })
}

row! {
    struct ErrorText {
        destination_id: DestinationId,
        event_seq: i64,
        last_error: String,
    }
}

const ERRORS: Sql = statement! {"
    SELECT destination_id, event_seq, last_error
    FROM device_deliveries
    WHERE event_seq IN (?*) AND last_error IS NOT NULL
"};
const SET_ERROR: Sql =
    statement!("UPDATE device_deliveries SET last_error = ? WHERE event_seq = ? AND destination_id = ?");

/// Removes the errors of destinations that repeat a name, of these events.
fn errors(write: &mut Write<'_>, page: Page<'_>, seqs: &[i64]) -> Result<(), Error> {
    if seqs.is_empty() {
        return Ok(());
    }
    let rows: Vec<ErrorText> = sql(ERRORS).uncached().bind_list(seqs.iter().copied()).all(write.connection)?;
    for row in rows.iter().filter(|row| page.names.are_in(&row.last_error)) {
        sql(SET_ERROR).bind(REMOVED).bind(row.event_seq).bind(row.destination_id).run(write.connection)?;
    }
    Ok(())
}

/// The pattern of a text that has this name as a whole string of JSON.
fn pattern(name: &str) -> String {
    let mut pattern = "%".to_owned();
    for one in Json::from(name).to_string().chars() {
        if matches!(one, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(one);
    }
    pattern + "%"
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn a_pattern_matches_its_name_alone() {
        for (name, wanted) in [("anna", "%\"anna\"%"), ("a_b%", "%\"a\\_b\\%\"%"), ("a\"b", "%\"a\\\\\"b\"%")] {
            assert_eq!(pattern(name), wanted);
        }
    }
}
