//! Which of the store's customers are on a device: those whose purchases are in its newest list. A device may be sold,
//! or its store account may be switched. A later login must not take over anything of the previous customer.
//!
//! A device may list only some of the purchases, so only their customers count. All claims of a customer who is not
//! listed are marked as absent, until the customer is listed again or buys something. A session without a list changes
//! nothing. A receipt without a customer counts for the customer of the device's claim of that receipt. Claims that
//! release 0.1.0 stored count as present until the next list.

use crate::devices::claims::accept::ClaimKey;
use crate::devices::rows::{KnownDevice, SIZES};
use crate::settings::unnamed::unnamed;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{batches, clean, row, sql};
use db::writer::Write;
use domain::device::Content;
use domain::{CollapseKey, DeviceId, DevicePlace, PlatformId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The customers of the store on a device, according to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// When the event happened, by settle's clock.
    at: Timestamp,
    customers: BTreeSet<String>,
    /// The receipts whose customers the event does not name; [`identify`] replaces them by customers.
    unnamed: BTreeSet<String>,
    /// Whether the event lists all customers on the device.
    is_list: bool,
}

/// The state of a store customer on a device, over all of the customer's claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// The time of the list since which the customer is absent; `None` if present.
    absent_since: Option<Timestamp>,
    /// When the newest of the claims happened.
    newest: Timestamp,
}

/// The customers of the store on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDevice {
    /// When the newest list was valid.
    listed_at: Option<Timestamp>,
    customers: BTreeMap<String, Standing>,
}

row! {
    struct CustomerRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        app_user_id: String,
        absent_since: Option<Timestamp>,
        newest: Timestamp,
    }
}

row! {
    /// The customer of a claim.
    struct ClaimedRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        collapse_key: CollapseKey,
        app_user_id: String,
    }
}

const CLAIMED: Sql = statement! {"
    SELECT c.platform_id, c.device_id, c.collapse_key, c.app_user_id
    FROM claims c
    WHERE (c.platform_id, c.device_id, c.collapse_key) IN (VALUES ?*)
"};

const CUSTOMERS: Sql = statement! {"
    SELECT c.platform_id, c.device_id, c.app_user_id, MAX(c.absent_since) AS absent_since, MAX(c.occurred_at) AS newest
    FROM claims c
    WHERE (c.platform_id, c.device_id) IN (VALUES ?*)
    GROUP BY c.platform_id, c.device_id, c.app_user_id
"};

const NOTE: Sql = statement! {"
    UPDATE claims
    SET absent_since = ?
    WHERE platform_id = ? AND device_id = ? AND app_user_id = ?
"};

const NOTE_LIST: Sql =
    statement!("UPDATE devices SET listed_at = ? WHERE platform_id = ? AND id = ?");

const ABSENT: Sql = statement! {"
    SELECT c.absent_since AS value
    FROM claims c
    WHERE c.platform_id = ? AND c.device_id = ? AND c.app_user_id = ? AND c.absent_since IS NOT NULL
    LIMIT 1
"};

/// Whether a store customer is absent from a device according to its newest list.
pub fn is_absent(
    connection: &mut AnyConnection,
    place: DevicePlace,
    app_user_id: &str,
) -> Result<bool, Error> {
    let found: Option<Timestamp> = sql(ABSENT)
        .bind((place.platform, place.device, app_user_id))
        .value(connection)?;
    Ok(found.is_some())
}

impl Presence {
    /// Returns the customers that an event shows on the device; `None` if it contains neither a list nor a purchase.
    pub fn of(content: &Content, at: Timestamp) -> Option<Self> {
        let empty = |is_list| Self {
            at,
            customers: BTreeSet::new(),
            unnamed: BTreeSet::new(),
            is_list,
        };
        match content {
            Content::SessionStart {
                receipts: Some(receipts),
                ..
            } => {
                let mut list = empty(true);
                for receipt in receipts {
                    list.add(receipt.app_user_id.as_deref(), &receipt.receipt_id);
                }
                Some(list)
            }
            Content::Transaction(transaction) => {
                let mut one = empty(false);
                one.add(transaction.app_user_id.as_deref(), &transaction.receipt_id);
                Some(one)
            }
            Content::SessionStart { receipts: None, .. }
            | Content::SessionEnd { .. }
            | Content::Impression(_) => None,
        }
    }

    fn add(&mut self, customer: Option<&str>, receipt_id: &str) {
        match customer {
            Some(name) => self.customers.insert(clean(name).into_owned()),
            None => self.unnamed.insert(clean(receipt_id).into_owned()),
        };
    }
}

/// Finds the customers of receipts that events list without one: the customer of the device's claim of the receipt or,
/// for a new claim, the purchase's key, with which the claim is stored. The devices must be locked.
pub fn identify(
    connection: &mut AnyConnection,
    presences: &mut [(DevicePlace, Presence)],
) -> Result<(), Error> {
    let claims: BTreeSet<ClaimKey> = presences
        .iter()
        .flat_map(|(place, presence)| {
            let key = move |receipt: &String| (*place, CollapseKey::of(place.platform, receipt));
            presence.unnamed.iter().map(key)
        })
        .collect();
    let claims: Vec<ClaimKey> = claims.into_iter().collect();
    let mut known = BTreeMap::new();
    for batch in batches(&claims, &SIZES) {
        let keys = batch
            .iter()
            .map(|(place, key)| [place.platform.into(), place.device.into(), (*key).into()]);
        let rows: Vec<ClaimedRow> = sql(CLAIMED).bind_rows(keys).all(connection)?;
        known.extend(rows.into_iter().map(|row| {
            let place = DevicePlace {
                platform: row.platform_id,
                device: row.device_id,
            };
            ((place, row.collapse_key), row.app_user_id)
        }));
    }
    for (place, presence) in presences {
        for receipt in std::mem::take(&mut presence.unnamed) {
            let key = (*place, CollapseKey::of(place.platform, &receipt));
            let customer = known.get(&key).cloned();
            presence
                .customers
                .insert(customer.unwrap_or_else(|| unnamed(&receipt)));
        }
    }
    Ok(())
}

impl OnDevice {
    /// Applies an event. An event that was reported late does not override what a later one shows.
    fn see(&mut self, presence: &Presence) {
        let Presence {
            at,
            customers,
            is_list,
            unnamed: _,
        } = presence;
        for name in customers {
            // A customer who had no claim when the newest list was valid was not in that list.
            let unknown = Standing {
                absent_since: self.listed_at,
                newest: *at,
            };
            let standing = self.customers.entry(name.clone()).or_insert(unknown);
            standing.absent_since = standing.absent_since.filter(|since| since > at);
            standing.newest = standing.newest.max(*at);
        }
        if !is_list || self.listed_at.is_some_and(|listed| listed > *at) {
            return;
        }
        self.listed_at = Some(*at);
        for (name, standing) in &mut self.customers {
            if !customers.contains(name) && standing.newest <= *at {
                standing.absent_since.get_or_insert(*at);
            }
        }
    }
}

/// Returns the store customers on the devices of new events, before the claims in these events are stored. The devices
/// must be locked.
pub fn on_devices(
    connection: &mut AnyConnection,
    devices: &BTreeMap<DevicePlace, KnownDevice>,
    presences: &[(DevicePlace, Presence)],
) -> Result<BTreeMap<DevicePlace, OnDevice>, Error> {
    let listed_at = |place: &DevicePlace| devices.get(place).and_then(|device| device.listed_at);
    let empty = |place: &DevicePlace| OnDevice {
        listed_at: listed_at(place),
        customers: BTreeMap::new(),
    };
    let mut found: BTreeMap<_, _> = presences
        .iter()
        .map(|(place, _)| (*place, empty(place)))
        .collect();
    let places: Vec<DevicePlace> = found.keys().copied().collect();
    for batch in batches(&places, &SIZES) {
        let keys = batch
            .iter()
            .map(|place| [place.platform.into(), place.device.into()]);
        let rows: Vec<CustomerRow> = sql(CUSTOMERS).bind_rows(keys).all(connection)?;
        for row in rows {
            let CustomerRow {
                platform_id,
                device_id,
                app_user_id,
                absent_since,
                newest,
            } = row;
            let on_device = found
                .entry(DevicePlace {
                    platform: platform_id,
                    device: device_id,
                })
                .or_default();
            on_device.customers.insert(
                app_user_id,
                Standing {
                    absent_since,
                    newest,
                },
            );
        }
    }
    Ok(found)
}

/// Records which claims of devices are absent, according to new events. The caller must have stored the claims in these
/// events.
pub fn note(
    write: &mut Write<'_>,
    before: BTreeMap<DevicePlace, OnDevice>,
    presences: &[(DevicePlace, Presence)],
) -> Result<(), Error> {
    for (place, before) in before {
        let mut after = before.clone();
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for (_, presence) in presences.iter().filter(|(other, _)| *other == place) {
            after.see(presence);
            named.extend(presence.customers.iter().map(String::as_str));
        }
        for (name, Standing { absent_since, .. }) in &after.customers {
            let noted = before
                .customers
                .get(name)
                .and_then(|standing| standing.absent_since);
            // A new claim of an absent customer is stored as present.
            if *absent_since != noted || (absent_since.is_some() && named.contains(name.as_str())) {
                let note = sql(NOTE).bind((*absent_since, place.platform, place.device));
                note.bind(name.as_str()).later(write.connection)?;
            }
        }
        if after.listed_at != before.listed_at {
            let note = sql(NOTE_LIST).bind((after.listed_at, place.platform, place.device));
            note.later(write.connection)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn list(seconds: i64, customers: &[&str]) -> Presence {
        let customers = customers.iter().map(|name| (*name).to_owned()).collect();
        Presence {
            at: at(seconds),
            customers,
            unnamed: BTreeSet::new(),
            is_list: true,
        }
    }

    fn purchase(seconds: i64, customer: &str) -> Presence {
        Presence {
            is_list: false,
            ..list(seconds, &[customer])
        }
    }

    /// Returns since when each store customer is absent after these events. The device listed Anna at second 5, and she
    /// bought something on it at second 10.
    fn after(presences: &[Presence]) -> Vec<(String, Option<i64>)> {
        let anna = Standing {
            absent_since: None,
            newest: at(10),
        };
        let mut device = OnDevice {
            listed_at: Some(at(5)),
            customers: BTreeMap::from([("anna".to_owned(), anna)]),
        };
        presences.iter().for_each(|presence| device.see(presence));
        let seconds = |standing: Standing| {
            standing
                .absent_since
                .map(|since| since.micros() / 1_000_000)
        };
        device
            .customers
            .into_iter()
            .map(|(name, standing)| (name, seconds(standing)))
            .collect()
    }

    fn absent(names: &[(&str, Option<i64>)]) -> Vec<(String, Option<i64>)> {
        names
            .iter()
            .map(|(name, since)| ((*name).to_owned(), *since))
            .collect()
    }

    #[test]
    fn a_customer_who_is_not_in_the_newest_list_is_absent() {
        assert_eq!(
            after(&[list(20, &["otto"])]),
            absent(&[("anna", Some(20)), ("otto", None)])
        );
        assert_eq!(
            after(&[list(20, &[])]),
            absent(&[("anna", Some(20))]),
            "also one who has nothing"
        );
        assert_eq!(
            after(&[list(20, &["otto", "anna"])]),
            absent(&[("anna", None), ("otto", None)])
        );
        let twice = [list(20, &["otto"]), list(30, &["otto"])];
        assert_eq!(
            after(&twice),
            absent(&[("anna", Some(20)), ("otto", None)]),
            "since the first"
        );
        let back = [list(20, &["otto"]), list(30, &["anna"])];
        assert_eq!(
            after(&back),
            absent(&[("anna", None), ("otto", Some(30))]),
            "and is there again"
        );
    }

    #[test]
    fn what_is_reported_late_changes_nothing() {
        assert_eq!(
            after(&[list(7, &[])]),
            absent(&[("anna", None)]),
            "she bought something since"
        );
        assert_eq!(
            after(&[list(20, &[]), list(7, &["anna"])]),
            absent(&[("anna", Some(20))])
        );
        assert_eq!(
            after(&[list(20, &["anna"]), list(15, &[])]),
            absent(&[("anna", None)]),
            "a later list has her"
        );
        let stranger = [list(20, &["anna"]), list(15, &["anna", "otto"])];
        assert_eq!(
            after(&stranger),
            absent(&[("anna", None), ("otto", Some(20))]),
            "the newest list leaves him out"
        );
    }

    #[test]
    fn a_purchase_shows_who_is_there_and_nobody_else() {
        assert_eq!(
            after(&[list(20, &[]), purchase(30, "anna")]),
            absent(&[("anna", None)])
        );
        assert_eq!(
            after(&[purchase(30, "otto")]),
            absent(&[("anna", None), ("otto", None)])
        );
        assert_eq!(
            after(&[list(20, &["anna"]), purchase(15, "otto")]),
            absent(&[("anna", None), ("otto", Some(20))])
        );
    }

    /// Two lists and a purchase give the same result in every order of arrival.
    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let events = [
            list(20, &["anna"]),
            list(30, &["otto"]),
            purchase(40, "clara"),
        ];
        let expected = absent(&[("anna", Some(30)), ("clara", None), ("otto", None)]);
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let ordered = order.map(|index: usize| events[index].clone());
            assert_eq!(after(&ordered), expected, "{order:?}");
        }
    }
}
