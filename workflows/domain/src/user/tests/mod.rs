//! The user's state, rule by rule, and the bodies that contain it.

mod change;
mod entitlements;
mod journey;
mod profile;
mod spent;
mod transfer;

use super::journey::{Journey, Subscription};
use super::{
    Customer, OwnedPurchase, UserEvent, UserState, external_ids, id_format, purchase_id,
    state_apart,
};
use crate::catalogue::{Listing, ProductRef};
use crate::environment::Environment;
use crate::event::tests::schema::{complaints, schema};
use crate::event::tests::{bought, day, described, entitlement, key, known, monthly};
use crate::event::{ADDITIONS, Details};
use crate::ids::{EventId, PlatformId, TransferId, UserId};
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::stores::StorePolicy;
use crate::stores::tests::signed;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{Snapshot, Verification};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A paid subscription that renews, without an offer.
const RUNNING: Subscription = Subscription {
    state: State::Active,
    was_paid: true,
    is_in_trial: false,
    is_in_intro_offer: false,
    renews: Some(true),
};
const OFF: Subscription = Subscription {
    state: State::Off,
    renews: Some(false),
    ..RUNNING
};
const EXPIRED: Subscription = Subscription {
    state: State::Expired,
    renews: Some(false),
    ..RUNNING
};
const TRIAL: Subscription = Subscription {
    state: State::Trial,
    was_paid: false,
    is_in_trial: true,
    ..RUNNING
};
const TRIAL_OFF: Subscription = Subscription {
    state: State::TrialOff,
    renews: Some(false),
    ..TRIAL
};
const TRIAL_EXPIRED: Subscription = Subscription {
    was_paid: false,
    ..EXPIRED
};
const GRACE: Subscription = Subscription {
    state: State::Grace,
    ..RUNNING
};
const OFFER: Subscription = Subscription {
    is_in_intro_offer: true,
    ..RUNNING
};

/// Returns a purchase that grants "premium" until day 31, in the store "store".
fn owned(receipt_id: &str, purchase: Purchase) -> OwnedPurchase {
    OwnedPurchase {
        collapse_key: key(receipt_id),
        platform_id: PlatformId::new(uuid::uuid!("7c9e6679-7425-40de-944b-e07fc1f90ae7")),
        platform_type: "store".to_owned(),
        environment: Environment::Production,
        purchase,
        is_replaced: false,
        product_ref: ProductRef::Term,
        listing: Listing {
            entitlements: vec![entitlement("premium")],
            prices: Vec::new(),
        },
    }
}

fn until(end: Timestamp) -> Purchase {
    bought(Snapshot {
        renews_at: Some(end),
        ..monthly()
    })
}

/// Returns a purchase that was reported and never verified.
fn unverified(kinds: &[NotificationKind]) -> Purchase {
    known(kinds, &Verification::Unverifiable)
}

fn customer() -> Customer {
    Customer {
        user_id: UserId::new(uuid::uuid!("b50cf1e1-1b7c-4b0e-9f1a-2c9c8a1d7e11")),
        external_id: Some("anna@shop".to_owned()),
        app_user_id: Some("customer".to_owned()),
    }
}

fn body(what: TransitionKind, owned: &[OwnedPurchase]) -> Value {
    event_body(what.event_type(), owned, None)
}

fn event_body(event_type: &str, owned: &[OwnedPurchase], transfer: Option<TransferId>) -> Value {
    let devices = if transfer.is_some() {
        vec![transfer::device()]
    } else {
        Vec::new()
    };
    let event = UserEvent {
        details: &Details::of(described(&bought(monthly()))),
        occurred_at: Some(day(1)),
        id: EventId::of(key("receipt"), 1, 2, event_type, 0),
        event_type,
        event_platform: "store",
        receipt_id: "receipt",
        created_at: day(2),
        customer: &customer(),
        user_revision: 4,
        state: &UserState::of(owned),
        devices: &devices,
        transfer,
    };
    event.body()
}

#[test]
fn each_event_has_the_documented_shape() {
    let renewing = owned("receipt", bought(monthly()));
    let forever = OwnedPurchase {
        listing: Listing {
            entitlements: vec![entitlement("archive")],
            prices: Vec::new(),
        },
        ..owned(
            "another",
            unverified(&[NotificationKind::EntitlementPurchased]),
        )
    };
    for what in TransitionKind::ALL {
        let body = body(*what, &[renewing.clone(), forever.clone()]);
        assert_eq!(
            complaints(&schema(what.event_type()), &body),
            [""; 0],
            "{what:?}"
        );
        insta::assert_json_snapshot!(what.event_type(), body);
    }
}

#[test]
fn a_user_who_owns_nothing_has_a_state_too() {
    let body = body(TransitionKind::Expired, &[]);
    assert_eq!(
        complaints(&schema(TransitionKind::Expired.event_type()), &body),
        [""; 0]
    );
    assert_eq!(
        (&body["active_entitlements"], &body["devices"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(body["user_revision"], json!(4));
    assert_eq!(Journey::of(&[]), Journey::default());
}

#[test]
fn the_state_apart_is_set_only_where_it_differs() {
    let paid = owned("paid", until(day(31)));
    let tested = OwnedPurchase {
        environment: Environment::Sandbox,
        ..owned("tested", until(day(60)))
    };
    let both = [paid.clone(), tested];
    let apart = |environment| state_apart(&both, environment);
    let alone = body(TransitionKind::Renewed, std::slice::from_ref(&paid));
    let state = apart(Environment::Production).unwrap();
    for part in [
        "active_entitlements",
        "active_skus",
        "customer_journey_state",
    ] {
        assert_eq!(state[part], alone[part], "{part}");
    }
    assert_eq!(state.as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(
        apart(Environment::Sandbox),
        None,
        "what lasts longer was bought there"
    );
    assert_eq!(state_apart(&[paid], Environment::Production), None);
}

#[test]
fn what_we_add_to_an_event_is_always_there() {
    let body = body(TransitionKind::Expired, &[]);
    let of_purchases = [
        "coalesced",
        "previous_acked_revision",
        "revision",
        "state_digest",
        "verified",
    ];
    for ours in ADDITIONS
        .iter()
        .filter(|ours| !of_purchases.contains(*ours))
    {
        assert!(body.get(ours).is_some(), "{ours}");
    }
    assert_eq!(body["occurred_at"], json!(day(1)));
}

#[test]
fn names_in_other_systems_are_those_that_are_known() {
    let shown = |customer: &Customer| {
        let all = external_ids(customer, purchase_id("store", "receipt"));
        serde_json::to_value(all).unwrap()
    };
    let named = json!({ "key": "external_id", "type": "custom", "value": "anna@shop" });
    let store = json!({ "key": "app_user_id", "type": "app_user_id", "value": "customer" });
    let receipt = json!({ "key": "receipt_id", "type": "receipt_id", "value": "receipt" });
    assert_eq!(shown(&customer()), json!([named, store, receipt]));
    assert_eq!(
        shown(&Customer {
            external_id: None,
            ..customer()
        }),
        json!([store, receipt])
    );
    assert_eq!(
        shown(&Customer {
            external_id: None,
            app_user_id: None,
            ..customer()
        }),
        json!([receipt])
    );
}

#[test]
fn a_store_names_its_id_of_a_purchase() {
    let key = |store: StorePolicy| purchase_id(store.store, "1").key;
    assert_eq!(key(StorePolicy::default()), "receipt_id");
    assert_eq!(key(signed()), "original_transaction_id");
    let named = serde_json::to_value(purchase_id(signed().store, "1")).unwrap();
    assert_eq!(named["type"], named["key"]);
}

#[test]
fn an_external_ids_type_is_read_from_its_letters() {
    let rows = [
        ("b50cf1e1-1b7c-4b0e-9f1a-2c9c8a1d7e11", "uuid"),
        ("B50CF1E1-1B7C-4B0E-9F1A-2C9C8A1D7E11", "uuid"),
        ("00000000-0000-0000-0000-000000000000", "uuid"),
        ("b50cf1e11b7c4b0e9f1a2c9c8a1d7e11", "custom"),
        ("{b50cf1e1-1b7c-4b0e-9f1a-2c9c8a1d7e11}", "custom"),
        ("b50cf1e1-1b7c-4b0e-9f1a-2c9c8a1d7e1g", "custom"),
        (
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "sha256",
        ),
        (
            "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08",
            "sha256",
        ),
        (
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a0",
            "custom",
        ),
        (
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a0x",
            "custom",
        ),
        ("anna@shop", "custom"),
        ("", "custom"),
        ("ääääääääääääääääää", "custom"),
    ];
    for (id, expected) in rows {
        assert_eq!(id_format(id), expected, "{id}");
    }
}

#[test]
fn the_created_date_has_six_decimals_and_its_offset_in_digits() {
    assert_eq!(day(0).with_offset(), "2026-03-01T12:00:00.000000+00:00");
    assert_eq!(
        Timestamp::from_micros(1).with_offset(),
        "1970-01-01T00:00:00.000001+00:00"
    );
}

prop_compose! {
    /// Uses few ends, verifications and stores, so that equal values are frequent.
    fn any_owned()(
        kinds in proptest::collection::vec(proptest::sample::select(vec![
            NotificationKind::SubscriptionPurchased, NotificationKind::Renewed, NotificationKind::AutoRenewalOff, NotificationKind::GraceBegan, NotificationKind::Expired,
            NotificationKind::Replaced, NotificationKind::EntitlementPurchased, NotificationKind::ConsumableCancelled,
        ]), 0..4),
        verified in proptest::option::of((0_i64..3, 0_i64..3, any::<bool>())),
        is_replaced in proptest::bool::weighted(0.1),
        platform in 0_u8..3,
        entitlements in proptest::sample::subsequence(vec!["arena", "museum", "zoo"], 0..=3),
    ) -> (Purchase, Vec<String>, bool, String) {
        let snapshot = verified.map(|(at, end, in_intro_offer)| Snapshot {
            at: day(at),
            renews_at: Some(day(30 + end)),
            in_intro_offer,
            ..monthly()
        });
        let verification = snapshot.map_or(Verification::Unverifiable, |snapshot| Verification::Verified(Box::new(snapshot)));
        let entitlements = entitlements.into_iter().map(str::to_owned).collect();
        (known(&kinds, &verification), entitlements, is_replaced, platform.to_string())
    }
}

/// Generates the purchases of one user in two orders.
fn orders() -> impl Strategy<Value = (Vec<OwnedPurchase>, Vec<OwnedPurchase>)> {
    proptest::collection::vec(any_owned(), 0..8).prop_flat_map(|purchases| {
        let numbered = (0_usize..).zip(purchases);
        let purchases: Vec<_> = numbered
            .map(
                |(n, (purchase, entitlements, is_replaced, platform_type))| OwnedPurchase {
                    is_replaced,
                    platform_type,
                    listing: Listing {
                        entitlements: entitlements.iter().map(|name| entitlement(name)).collect(),
                        prices: Vec::new(),
                    },
                    ..owned(&n.to_string(), purchase)
                },
            )
            .collect();
        (Just(purchases.clone()), Just(purchases).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn the_state_does_not_depend_on_the_order_of_the_purchases((purchases, shuffled) in orders()) {
        let whole = body(TransitionKind::Renewed, &purchases);
        prop_assert_eq!(&whole, &body(TransitionKind::Renewed, &shuffled));
        prop_assert_eq!(complaints(&schema(TransitionKind::Renewed.event_type()), &whole), [""; 0]);
    }

    #[test]
    fn a_replaced_purchase_changes_only_the_former_subscriber_flag((purchases, _) in orders()) {
        let counting = purchases.iter().filter(|owned| owned.is_counted()).cloned().collect::<Vec<_>>();
        let runs = counting.iter().any(|one| !one.purchase.is_one_time_purchase() && one.is_active());
        let was_paid = purchases.iter().any(|one| one.purchase.was_paid());
        let mut alone = body(TransitionKind::Renewed, &counting);
        alone["customer_journey_state"]["former_subscriber"] = json!(!runs && was_paid);
        prop_assert_eq!(body(TransitionKind::Renewed, &purchases), alone);
    }

    #[test]
    fn what_was_bought_elsewhere_never_changes_the_state_apart((purchases, _) in orders(), (others, _) in orders()) {
        let sandbox = others.into_iter().map(|owned| OwnedPurchase { environment: Environment::Sandbox, ..owned });
        let all: Vec<_> = purchases.iter().cloned().chain(sandbox).collect();
        let whole = body(TransitionKind::Renewed, &all);
        let (state, alone) = (state_apart(&all, Environment::Production), body(TransitionKind::Renewed, &purchases));
        for part in ["active_entitlements", "active_skus", "customer_journey_state"] {
            prop_assert_eq!(&state.as_ref().unwrap_or(&whole)[part], &alone[part]);
        }
    }
}
