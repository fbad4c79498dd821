//! Purchases that no longer count beside the others of their user.

use super::{bought, day, monthly, owned, until, unverified};
use crate::catalogue::Listing;
use crate::environment::Environment;
use crate::ids::{CollapseKey, PlatformId};
use crate::notification::NotificationKind;
use crate::purchase::Purchase;
use crate::user::{OwnedPurchase, on_platforms, spent, state, state_apart};
use crate::verification::{EndReason, Product, Snapshot, Verification};
use crate::{SettlingContext, decide};
use proptest::prelude::*;
use uuid::Uuid;

/// Returns the purchase after the store showed the end of the subscription.
fn over(running: &Purchase, end: i64) -> Purchase {
    let snapshot = Snapshot {
        at: day(end + 1),
        renews_at: None,
        ends_at: Some(day(end)),
        end_reason: Some(EndReason::Customer),
        auto_renewing: Some(false),
        ..monthly()
    };
    let verification = Verification::Verified(Box::new(snapshot));
    let context = SettlingContext {
        policy: crate::StorePolicy::default(),
        verification: &verification,
        is_replaced: false,
        now: day(end + 1),
    };
    decide(running, &[], context).purchase
}

/// Returns a paid subscription that ended.
fn over_since(end: i64) -> Purchase {
    over(&bought(monthly()), end)
}

fn consumable() -> Purchase {
    bought(Snapshot {
        product: Product::Consumable,
        renews_at: None,
        term: None,
        ..monthly()
    })
}

fn unlisted(one: OwnedPurchase) -> OwnedPurchase {
    OwnedPurchase {
        listing: Listing::default(),
        ..one
    }
}

fn keys(owned: &[OwnedPurchase]) -> Vec<CollapseKey> {
    owned.iter().map(|one| one.collapse_key).collect()
}

#[test]
fn a_purchase_without_effect_is_spent_unless_it_was_paid() {
    let coins = [
        unlisted(owned("coins", consumable())),
        unlisted(owned("more coins", consumable())),
    ];
    assert_eq!(spent(&coins, day(32)), keys(&coins));
    let lasting = [
        owned("for ever", consumable()),
        owned("unknown", Purchase::default()),
        owned("running", until(day(400))),
        owned("ended lately", over_since(31)),
        owned(
            "ended at a time that is not known",
            unverified(&[NotificationKind::Renewed, NotificationKind::Expired]),
        ),
    ];
    assert_eq!(spent(&lasting, day(60)), []);
    let gone = [
        owned("one", over_since(31)),
        owned("two", over_since(32)),
        owned("three", over_since(33)),
    ];
    assert_eq!(spent(&gone, day(100)), keys(&gone[1..]));
    let beside = [
        gone[0].clone(),
        gone[1].clone(),
        owned("running", until(day(400))),
    ];
    assert_eq!(
        spent(&beside, day(100)),
        keys(&beside[..2]),
        "the running one was paid too"
    );
    let elsewhere = OwnedPurchase {
        environment: Environment::Sandbox,
        ..gone[1].clone()
    };
    assert_eq!(spent(&[gone[0].clone(), elsewhere], day(100)), []);
}

prop_compose! {
    fn any_owned()(
        number in 0_u128..1 << 40,
        kind in 0_u8..8,
        platform in 0_u128..3,
        is_tested in any::<bool>(),
        is_listed in any::<bool>(),
        is_replaced in proptest::bool::weighted(0.2),
    ) -> OwnedPurchase {
        let purchase = match kind {
            0 => consumable(),
            1 => until(day(400)),
            2 => over_since(31),
            3 => over_since(62),
            4 => Purchase::default(),
            5 => over(&bought(Snapshot { trial_ends_at: Some(day(31)), ..monthly() }), 31),
            6 => unverified(&[NotificationKind::ConsumablePurchased, NotificationKind::ConsumableCancelled]),
            _ => unverified(&[NotificationKind::Renewed, NotificationKind::Replaced]),
        };
        let one = owned(&number.to_string(), purchase);
        OwnedPurchase {
            platform_id: PlatformId::new(Uuid::from_u128(platform)),
            environment: if is_tested { Environment::Sandbox } else { Environment::Production },
            is_replaced,
            listing: if is_listed { one.listing.clone() } else { Listing::default() },
            ..one
        }
    }
}

proptest! {
    /// Holds for all platforms or some, in both environments or one, and also if spent purchases are left out again
    /// later.
    #[test]
    fn the_state_is_the_same_without_what_is_spent(all in proptest::collection::vec(any_owned(), 0..12), at in 32_i64..120) {
        let without = |owned: &[OwnedPurchase], at: i64| -> Vec<OwnedPurchase> {
            let spent = spent(owned, day(at));
            owned.iter().filter(|one| !spent.contains(&one.collapse_key)).cloned().collect()
        };
        let rest = without(&without(&all, at), at + 40);
        for platforms in [vec![], vec![0], vec![1], vec![0, 2]] {
            let platforms: Vec<PlatformId> = platforms.into_iter().map(|one| PlatformId::new(Uuid::from_u128(one))).collect();
            let (all, rest) = (on_platforms(&all, &platforms), on_platforms(&rest, &platforms));
            prop_assert_eq!(state(&all), state(&rest));
            for environment in [Environment::Production, Environment::Sandbox] {
                let apart = |owned: &[OwnedPurchase]| state_apart(owned, environment).unwrap_or_else(|| state(owned));
                prop_assert_eq!(apart(&all), apart(&rest));
            }
        }
    }
}
