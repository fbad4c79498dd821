//! Which customers of the store are on a device: the one whose receipts its newest session listed. A person may sell
//! the device, or switch the account of the store: a login takes nothing of who was on it before.
//!
//! A device may list only some of the receipts, so what counts is whose they are. The claims of a customer who is not
//! listed are noted as absent, and no more once the customer is listed again, or buys something. A session without a
//! list says nothing. Claims that release 0.1.0 stored are present until the next list.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{batches, clean, row, sql};
use crate::db::writer::Write;
use crate::devices::rows::SIZES;
use domain::device::Content;
use domain::{DeviceId, DevicePlace, PlatformId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What an event says of the store's customers on its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// When it happened, by our clock.
    at: Timestamp,
    customers: BTreeSet<String>,
    /// Whether no other customer is on the device.
    is_list: bool,
}

/// The claims of a device by one customer of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CustomerClaims {
    /// Since when another list leaves the customer out.
    absent_since: Option<Timestamp>,
    /// When the newest of them happened.
    newest: Timestamp,
    /// When the newest session of the device began.
    session: Option<Timestamp>,
}

row! {
    struct CustomerRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        app_user_id: String,
        absent_since: Option<Timestamp>,
        newest: Timestamp,
        session: Option<Timestamp>,
    }
}

const CUSTOMERS: Sql = statement! {"
    SELECT c.platform_id, c.device_id, c.app_user_id, MAX(c.absent_since) AS absent_since, MAX(c.occurred_at) AS newest,
        (SELECT MAX(s.started_at) FROM device_sessions s WHERE s.platform_id = c.platform_id
            AND s.device_id = c.device_id) AS session
    FROM claims c
    WHERE (c.platform_id, c.device_id) IN (VALUES ?*)
    GROUP BY c.platform_id, c.device_id, c.app_user_id
"};

const NOTE: Sql = statement! {"
    UPDATE claims
    SET absent_since = ?
    WHERE platform_id = ? AND device_id = ? AND app_user_id = ?
"};

const ABSENT: Sql = statement! {"
    SELECT c.absent_since AS value
    FROM claims c
    WHERE c.platform_id = ? AND c.device_id = ? AND c.app_user_id = ? AND c.absent_since IS NOT NULL
    LIMIT 1
"};

/// Whether the newest session of a device says that this customer of the store is not on it.
pub fn is_absent(connection: &mut AnyConnection, place: DevicePlace, app_user_id: &str) -> Result<bool, Error> {
    let found: Option<Timestamp> =
        sql(ABSENT).bind(place.platform).bind(place.device).bind(app_user_id).value(connection)?;
    Ok(found.is_some())
}

impl Presence {
    /// What an event says, if it says something of customers.
    pub fn of(content: &Content, at: Timestamp) -> Option<Self> {
        let name = |app_user_id: &str| clean(app_user_id).into_owned();
        match content {
            Content::SessionStart { receipts: Some(receipts), .. } => {
                let customers = receipts.iter().map(|receipt| name(&receipt.app_user_id)).collect();
                Some(Self { at, customers, is_list: true })
            }
            Content::Transaction(transaction) => {
                Some(Self { at, customers: BTreeSet::from([name(&transaction.app_user_id)]), is_list: false })
            }
            Content::SessionStart { receipts: None, .. } | Content::SessionEnd { .. } | Content::Impression(_) => None,
        }
    }

    /// Since when a customer is absent after it. One that was reported late changes nothing that a later one said.
    fn after(&self, app_user_id: &str, claims: CustomerClaims) -> Option<Timestamp> {
        let CustomerClaims { absent_since, newest, session } = claims;
        if self.customers.contains(app_user_id) {
            return absent_since.filter(|since| *since > self.at);
        }
        let is_newest = self.is_list && newest <= self.at && session.is_none_or(|session| session <= self.at);
        absent_since.or_else(|| is_newest.then_some(self.at))
    }
}

/// Notes which claims of devices are absent, after what new events say. Whoever calls it has locked the devices, and
/// stored the claims and sessions of these events.
pub fn note(write: &mut Write<'_>, presences: &[(DevicePlace, Presence)]) -> Result<(), Error> {
    let places: BTreeSet<DevicePlace> = presences.iter().map(|(place, _)| *place).collect();
    let places: Vec<DevicePlace> = places.into_iter().collect();
    let mut known: BTreeMap<(DevicePlace, String), CustomerClaims> = BTreeMap::new();
    for batch in batches(&places, &SIZES) {
        let keys = batch.iter().map(|place| [place.platform.into(), place.device.into()]);
        let rows: Vec<CustomerRow> = sql(CUSTOMERS).bind_rows(keys).all(write.connection)?;
        known.extend(rows.into_iter().map(CustomerRow::claims));
    }
    for ((place, app_user_id), claims) in known {
        let own = presences.iter().filter(|(other, _)| *other == place).map(|(_, presence)| presence);
        let step =
            |absent_since, presence: &Presence| presence.after(&app_user_id, CustomerClaims { absent_since, ..claims });
        let absent_since = own.fold(claims.absent_since, step);
        if absent_since != claims.absent_since {
            sql(NOTE)
                .bind(absent_since)
                .bind(place.platform)
                .bind(place.device)
                .bind(app_user_id.as_str())
                .later(write.connection)?;
        }
    }
    Ok(())
}

impl CustomerRow {
    fn claims(self) -> ((DevicePlace, String), CustomerClaims) {
        let Self { platform_id, device_id, app_user_id, absent_since, newest, session } = self;
        let place = DevicePlace { platform: platform_id, device: device_id };
        ((place, app_user_id), CustomerClaims { absent_since, newest, session })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn list(seconds: i64, customers: &[&str]) -> Presence {
        let customers = customers.iter().map(|name| (*name).to_owned()).collect();
        Presence { at: at(seconds), customers, is_list: true }
    }

    /// Since when a customer is absent, who bought something at second 10 in the newest session, which began at second 5.
    fn after(absent_since: Option<i64>, presence: &Presence) -> Option<Timestamp> {
        let claims = CustomerClaims { absent_since: absent_since.map(at), newest: at(10), session: Some(at(5)) };
        presence.after("anna", claims)
    }

    #[test]
    fn a_customer_who_is_not_in_the_newest_list_is_absent() {
        assert_eq!(after(None, &list(20, &["otto"])), Some(at(20)));
        assert_eq!(after(None, &list(20, &[])), Some(at(20)), "also one who has nothing");
        assert_eq!(after(None, &list(20, &["otto", "anna"])), None);
        assert_eq!(after(Some(20), &list(30, &["otto"])), Some(at(20)), "since the first");
        assert_eq!(after(Some(20), &list(30, &["anna"])), None, "and is there again");
    }

    #[test]
    fn what_is_reported_late_changes_nothing() {
        assert_eq!(after(None, &list(7, &["otto"])), None, "Anna bought something since");
        assert_eq!(after(Some(20), &list(7, &["anna"])), Some(at(20)));
        let older = CustomerClaims { absent_since: None, newest: at(1), session: Some(at(5)) };
        assert_eq!(list(3, &["otto"]).after("anna", older), None, "a later session began");
    }

    #[test]
    fn a_purchase_shows_who_is_there_and_nobody_else() {
        let bought = Presence { is_list: false, ..list(30, &["anna"]) };
        assert_eq!(after(Some(20), &bought), None);
        assert_eq!(after(None, &Presence { is_list: false, ..list(30, &["otto"]) }), None);
    }
}
