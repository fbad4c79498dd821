//! Profiles: their attributes, their changes and their event.

use super::transfer::device;
use super::{customer, owned, until, unverified};
use crate::catalogue::Listing;
use crate::environment::Environment;
use crate::event::tests::{bought, day, entitlement, monthly, price};
use crate::ids::{EventId, PlatformId, ProfileScope};
use crate::notification::NotificationKind;
use crate::payment::Total;
use crate::purchase::Purchase;
use crate::user::{
    Attributes, OwnedPurchase, PROFILE_UPDATED, Profile, ProfileUpdated, on_platforms, paid_in_usd,
    state,
};
use crate::verification::Snapshot;
use serde_json::{Value, json};

/// Returns the attributes besides the documented ones, with an empty ledger.
fn extended(owned: &[OwnedPurchase]) -> Value {
    let without = owned.iter().map(|one| (one.clone(), None));
    entered(&without.collect::<Vec<_>>())
}

/// Returns the attributes besides the documented ones, with these ledger entries for each purchase.
fn entered(owned: &[(OwnedPurchase, Option<&[Option<&str>]>)]) -> Value {
    let total = |entries: &[Option<&str>]| {
        let mut total = Total::default();
        entries
            .iter()
            .for_each(|usd| total.add(usd.map(|usd| usd.parse().unwrap())));
        total
    };
    let purchases: Vec<OwnedPurchase> = owned.iter().map(|(one, _)| one.clone()).collect();
    let paid = paid_in_usd(owned.iter().map(|(one, entries)| (one, entries.map(total))));
    Profile::of(&purchases, paid).extended()
}

/// Returns a purchase of a subscription or product that costs 9.99 USD.
fn priced(receipt_id: &str, purchase: Purchase) -> OwnedPurchase {
    let listing = Listing {
        entitlements: vec![entitlement("premium")],
        prices: vec![price(None, "USD", "9.99")],
    };
    OwnedPurchase {
        listing,
        ..owned(receipt_id, purchase)
    }
}

#[test]
fn extended_attributes_show_the_longest_subscription() {
    let third = bought(Snapshot {
        at: day(65),
        renews_at: Some(day(92)),
        ..monthly()
    });
    let three: &[_] = &[Some("9.99"), Some("9.99"), Some("8.49")];
    let one: &[_] = &[Some("9.99")];
    let shown = entered(&[
        (priced("receipt", third.clone()), Some(three)),
        (priced("another", until(day(31))), Some(one)),
    ]);
    assert_eq!(
        shown,
        json!({
            "will_renew": true, "expires_at": day(92), "subscription_state": "active", "renewals": 2,
            "first_purchase_at": day(0), "ltv_usd": "38.46",
        })
    );
    let off = bought(Snapshot {
        renews_at: None,
        ends_at: Some(day(31)),
        auto_renewing: Some(false),
        ..monthly()
    });
    let shown = extended(&[priced("receipt", off)]);
    assert_eq!(
        (&shown["will_renew"], &shown["subscription_state"]),
        (&json!(false), &json!("off"))
    );
    let replaced = OwnedPurchase {
        is_replaced: true,
        ..priced("receipt", third)
    };
    let shown = entered(&[
        (replaced, Some(three)),
        (priced("another", until(day(31))), Some(one)),
    ]);
    assert_eq!(
        (&shown["expires_at"], &shown["ltv_usd"]),
        (&json!(day(31)), &json!("38.46")),
        "a replaced purchase stays paid"
    );
}

#[test]
fn only_an_extended_profile_lacks_an_unknown_attribute() {
    let known = |usd: Option<&str>| {
        Profile::of(&[owned("receipt", until(day(31)))], usd.map(str::to_owned))
    };
    let names = |profile: &Profile| profile.known(Attributes::Extended).contains("ltv_usd");
    let (priced, unlisted) = (known(Some("9.99")), known(None));
    assert_eq!((names(&priced), names(&unlisted)), (true, false));
    assert!(
        unlisted.lacks_any(Attributes::Extended) && !unlisted.lacks_any(Attributes::Documented)
    );
    assert!(unlisted.known(Attributes::Documented).is_empty());
}

#[test]
fn purchases_are_chosen_by_their_platforms() {
    let here = owned("here", until(day(31)));
    let there = OwnedPurchase {
        platform_id: PlatformId::new(uuid::uuid!("9f3c1c9e-0000-4000-8000-000000000001")),
        ..owned("there", until(day(60)))
    };
    let both = [here.clone(), there.clone()];
    let keys = |platforms: &[PlatformId]| on_platforms(&both, platforms).len();
    assert_eq!(
        (
            keys(&[]),
            keys(&[there.platform_id]),
            keys(&[here.platform_id, there.platform_id])
        ),
        (2, 1, 2)
    );
    assert_eq!(
        state(&on_platforms(&both, &[here.platform_id])),
        state(&[here])
    );
}

#[test]
fn who_bought_nothing_or_only_once_has_no_subscription() {
    let nothing = json!({
        "will_renew": false, "expires_at": null, "subscription_state": "none", "renewals": 0,
        "first_purchase_at": null, "ltv_usd": "0",
    });
    assert_eq!(extended(&[]), nothing);
    assert_eq!(
        extended(&[priced("receipt", Purchase::default())])["subscription_state"],
        "none"
    );
    let coins = unverified(&[NotificationKind::ConsumablePurchased]);
    let shown = entered(&[(priced("coins", coins), Some(&[Some("9.99")]))]);
    assert_eq!(
        (&shown["subscription_state"], &shown["ltv_usd"]),
        (&json!("none"), &json!("9.99"))
    );
    assert_eq!(shown["first_purchase_at"], json!(day(0)));
    let taken = unverified(&[
        NotificationKind::ConsumablePurchased,
        NotificationKind::ConsumableCancelled,
    ]);
    let back: &[_] = &[Some("9.99"), Some("-9.99")];
    assert_eq!(
        entered(&[(priced("coins", taken), Some(back))])["ltv_usd"],
        "0",
        "it was revoked"
    );
}

#[test]
fn what_is_not_known_of_a_payment_is_not_added_up() {
    let trial = bought(Snapshot {
        trial_ends_at: Some(day(7)),
        renews_at: Some(day(7)),
        ..monthly()
    });
    let shown = extended(&[priced("receipt", trial.clone())]);
    assert_eq!(
        (&shown["ltv_usd"], &shown["first_purchase_at"]),
        (&json!("0"), &Value::Null),
        "nothing was paid"
    );
    assert_eq!(
        (&shown["renewals"], &shown["subscription_state"]),
        (&json!(0), &json!("trial"))
    );
    let unlisted = owned("receipt", bought(monthly()));
    let imported = priced("another", bought(monthly()));
    assert_eq!(
        extended(std::slice::from_ref(&imported))["ltv_usd"],
        Value::Null,
        "the ledger has no entry"
    );
    let unknown: &[_] = &[None];
    assert_eq!(
        entered(&[(unlisted.clone(), Some(unknown))])["ltv_usd"],
        Value::Null,
        "its price is not known"
    );
    let both = [
        (unlisted, Some(unknown)),
        (imported, None),
        (priced("third", bought(monthly())), Some(&[Some("9.99")])),
    ];
    assert_eq!(entered(&both)["ltv_usd"], "9.99", "what is known");
    let no_term = bought(Snapshot {
        term: None,
        ..monthly()
    });
    assert_eq!(
        extended(&[priced("receipt", no_term)])["renewals"],
        Value::Null
    );
}

#[test]
fn a_profile_changes_with_what_it_shows_and_with_nothing_else() {
    let digest = |owned: &[OwnedPurchase], attributes, name| {
        Profile::of(owned, None).digest(attributes, name)
    };
    let now = [owned("receipt", bought(monthly()))];
    let later = [owned(
        "receipt",
        bought(Snapshot {
            at: day(2),
            ..monthly()
        }),
    )];
    for attributes in [Attributes::Documented, Attributes::Extended] {
        assert_eq!(
            digest(&now, attributes, None),
            digest(&later, attributes, None),
            "verified again"
        );
        assert_ne!(
            digest(&now, attributes, None),
            digest(&[], attributes, None)
        );
        assert_ne!(
            digest(&now, attributes, None),
            digest(&now, attributes, Some("anna@shop"))
        );
    }
    let renewed = [owned("receipt", until(day(62)))];
    assert_eq!(
        digest(&now, Attributes::Documented, None),
        digest(&renewed, Attributes::Documented, None)
    );
    assert_ne!(
        digest(&now, Attributes::Extended, None),
        digest(&renewed, Attributes::Extended, None)
    );
    let running = |sku: &str, end| {
        owned(
            sku,
            bought(Snapshot {
                term_sku: Some(sku.to_owned()),
                renews_at: Some(end),
                ..monthly()
            }),
        )
    };
    let [one, other] = [(31, 62), (62, 31)]
        .map(|(gold, silver)| [running("gold", day(gold)), running("silver", day(silver))]);
    let same = "which of two SKUs gives an entitlement longest is not shown";
    assert_eq!(
        digest(&one, Attributes::Documented, None),
        digest(&other, Attributes::Documented, None),
        "{same}"
    );
}

const fn scope(environment: Environment, platforms: &[PlatformId]) -> ProfileScope<'_> {
    ProfileScope {
        environment,
        platforms,
    }
}

#[test]
fn a_profile_is_an_event_of_its_user() {
    let user_id = customer().user_id;
    let id = EventId::of_profile(user_id, 1, 4, scope(Environment::Production, &[]));
    let platform = owned("receipt", bought(monthly())).platform_id;
    let profile = Profile::of(&[owned("receipt", bought(monthly()))], None);
    let body = ProfileUpdated {
        id,
        user_id,
        user_revision: 4,
        created_at: day(2),
        environment: Environment::Production,
        platform_environment: Environment::Production,
        profile: &profile,
        devices: &[device()],
    };
    insta::assert_json_snapshot!(PROFILE_UPDATED, body.body());
    for other in [
        (2, 4, Environment::Production),
        (1, 5, Environment::Production),
        (1, 4, Environment::Sandbox),
    ] {
        assert_ne!(
            EventId::of_profile(user_id, other.0, other.1, scope(other.2, &[])),
            id
        );
    }
    assert_ne!(
        EventId::of_profile(user_id, 1, 4, scope(Environment::Production, &[platform])),
        id
    );
}
