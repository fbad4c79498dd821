//! The bodies of events, and helpers that their tests share.

mod bodies;
mod changes;
mod choice;
mod details;
mod operators;
mod price;
pub mod schema;

use super::{PURCHASE_UPDATED, PurchaseUpdated, RecordSource, data, for_destination};
use crate::catalogue::{Auth, Entitlement, Listing, Price, ProductRef};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::Purchase;
use crate::time::{DAY, Timestamp, millis};
use crate::verification::{Product, Snapshot, Term, Unit, Verification};
use crate::{
    AppId, CollapseKey, DestinationId, Environment, EventId, OrgId, PlatformId, SettlingContext,
    decide,
};
use serde_json::Value;

pub const NOTHING_LISTED: &Listing = &Listing {
    entitlements: Vec::new(),
    prices: Vec::new(),
};

/// Returns the time `days` days after the first day of the tests.
pub fn day(days: i64) -> Timestamp {
    let first: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    first.plus_millis(days * millis(DAY))
}

pub fn key(receipt_id: &str) -> CollapseKey {
    CollapseKey::of(
        PlatformId::new(uuid::uuid!("aaf69dba-ef67-40f5-82ec-c7623a2848a6")),
        receipt_id,
    )
}

pub fn notification(kind: NotificationKind, time: Timestamp) -> Notification {
    Notification {
        message_id: format!("{kind:?}"),
        collapse_key: key("receipt"),
        receipt_id: "receipt".to_owned(),
        kind,
        store_type: format!("{kind:?}"),
        store_time: time,
        app_user_id: Some("customer".to_owned()),
        related_receipt_id: None,
        is_test: false,
        voided: None,
        refunded: None,
    }
}

/// Returns the snapshot of a monthly subscription that began on day 0 and renews on day 31.
pub fn monthly() -> Snapshot {
    Snapshot {
        at: day(1),
        product: Product::Subscription,
        product_id: Some("gold".to_owned()),
        term_sku: Some("gold_monthly".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(day(0)),
        renews_at: Some(day(31)),
        auto_renewing: Some(true),
        country: Some("US".to_owned()),
        ..Snapshot::default()
    }
}

/// Returns the purchase after notifications of these kinds, on days 0, 1, 2 and so on, and this verification.
pub fn known(kinds: &[NotificationKind], verification: &Verification) -> Purchase {
    let notifications = (1_i64..)
        .zip(kinds)
        .map(|(n, kind)| (n, notification(*kind, day(n - 1))));
    let context = SettlingContext {
        policy: crate::StorePolicy::default(),
        verification,
        is_replaced: false,
        now: day(1),
    };
    decide(
        &Purchase::default(),
        &notifications.collect::<Vec<_>>(),
        context,
    )
    .purchase
}

pub fn bought(snapshot: Snapshot) -> Purchase {
    known(
        &[NotificationKind::SubscriptionPurchased],
        &Verification::Verified(Box::new(snapshot)),
    )
}

pub fn price(country: Option<&str>, currency: &str, price: &str) -> Price {
    let country = country.map(str::to_owned);
    Price {
        country,
        currency: currency.to_owned(),
        price: price.parse().unwrap(),
        since: None,
    }
}

/// Returns a price in USD that applies from this day on.
pub fn price_since(country: Option<&str>, dollars: &str, since: &str) -> Price {
    Price {
        since: Some(since.parse().unwrap()),
        ..price(country, "USD", dollars)
    }
}

pub fn entitlement(entitlement_ref_id: &str) -> Entitlement {
    Entitlement {
        description: Some(format!("All of {entitlement_ref_id}")),
        entitlement_ref_id: entitlement_ref_id.to_owned(),
        id: uuid::Uuid::new_v5(&uuid::Uuid::nil(), entitlement_ref_id.as_bytes()),
        name: entitlement_ref_id.to_uppercase(),
        kind: Auth::BinaryAuth,
    }
}

/// Returns the record source of a production purchase that is not in the catalogue.
pub fn described(purchase: &Purchase) -> RecordSource<'_> {
    RecordSource {
        purchase,
        platform_type: "store",
        receipt_id: "receipt",
        environment: Environment::Production,
        external_id: None,
        product_ref: ProductRef::Term,
        listing: NOTHING_LISTED,
        usd_rate: None,
        replaced_sku: None,
        devices: &[],
        device_price: None,
    }
}

/// Returns the body of revision 2 as it is stored.
pub fn body(described: RecordSource<'_>) -> Value {
    let collapse_key = key("receipt");
    let event = PurchaseUpdated {
        org_id: OrgId::new(uuid::uuid!("a8d39aa3-e393-46ee-8cb4-e8b8c0bd50e7")),
        app_id: AppId::new(uuid::uuid!("486c1c9f-37b1-4873-9ff6-e78e563d184a")),
        platform_id: PlatformId::new(uuid::uuid!("aaf69dba-ef67-40f5-82ec-c7623a2848a6")),
        collapse_key,
        event_id: EventId::of(collapse_key, 1, 2, PURCHASE_UPDATED, 0),
        event_time: day(2),
        revision: 2,
        coalesced: 3,
        is_verified: !described.purchase.is_unverified(),
        occurred_at: Some(day(1)),
        data: &data(described),
    };
    event.body()
}

pub fn destination() -> DestinationId {
    DestinationId::new(uuid::uuid!("7e0977f8-27c9-49c5-8356-e82cbf34b161"))
}

/// Returns the body of revision 2 as it is sent to a destination.
pub fn sent(described: RecordSource<'_>) -> Value {
    for_destination(body(described), destination(), Some(1))
}
