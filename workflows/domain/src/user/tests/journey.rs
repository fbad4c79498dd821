//! The flags of the customer's journey.

use super::{
    EXPIRED, GRACE, OFF, OFFER, RUNNING, TRIAL, TRIAL_EXPIRED, TRIAL_OFF, owned, until, unverified,
};
use crate::event::tests::{bought, day, monthly};
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::user::journey::{Journey, Subscription};
use crate::user::{OwnedPurchase, active_entitlements};
use crate::verification::{EndReason, Snapshot, Verification};
use crate::{SettlingContext, decide};
use serde_json::json;

#[test]
fn each_flag_of_the_journey_is_set_by_its_own_cause_only() {
    let flags = |subscriptions: &[Subscription]| {
        let value = serde_json::to_value(Journey::with(subscriptions)).unwrap();
        let set = value
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, flag)| **flag == json!(true));
        set.map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let unknown = Subscription {
        state: State::Unknown,
        renews: None,
        ..RUNNING
    };
    let renewal_unknown = Subscription {
        renews: None,
        ..RUNNING
    };
    let off_by_state = Subscription {
        renews: None,
        ..OFF
    };
    let grace_off = Subscription {
        renews: Some(false),
        ..GRACE
    };
    let expired_in_offer = Subscription {
        state: State::Expired,
        ..OFFER
    };
    let expired_in_trial = Subscription {
        state: State::Expired,
        ..TRIAL
    };
    let [held, paused] =
        [State::AccountHold, State::Paused].map(|state| Subscription { state, ..RUNNING });
    let rows: &[(&[Subscription], &str)] = &[
        (&[], ""),
        (&[held], "former_subscriber in_account_hold"),
        (&[paused], "former_subscriber in_pause"),
        (&[paused, RUNNING], "in_pause"),
        (&[RUNNING], ""),
        (&[OFF], "is_cancelled"),
        (&[off_by_state], "is_cancelled"),
        (&[OFF, OFF], "is_cancelled"),
        (&[OFF, RUNNING], ""),
        (&[OFF, renewal_unknown], ""),
        (&[OFF, EXPIRED], "is_cancelled"),
        (&[RUNNING, EXPIRED], ""),
        (&[EXPIRED], "former_subscriber"),
        (&[EXPIRED, TRIAL_EXPIRED], "former_subscriber"),
        (&[TRIAL_EXPIRED], ""),
        (&[TRIAL_EXPIRED, RUNNING], ""),
        (&[EXPIRED, TRIAL], "in_trial_period"),
        (&[TRIAL], "in_trial_period"),
        (&[TRIAL_OFF], "in_trial_period is_cancelled"),
        (&[TRIAL_OFF, RUNNING], "in_trial_period"),
        (&[GRACE], "in_grace_period"),
        (&[GRACE, OFF], "in_grace_period"),
        (&[grace_off], "in_grace_period is_cancelled"),
        (&[OFFER], "in_intro_offer_period"),
        (&[OFFER, OFF], "in_intro_offer_period"),
        (&[expired_in_offer], "former_subscriber"),
        (&[expired_in_trial], ""),
        (&[unknown], "former_subscriber"),
    ];
    for (subscriptions, expected) in rows {
        assert_eq!(flags(subscriptions), *expected, "{subscriptions:?}");
    }
}

#[test]
fn the_journey_is_read_from_purchases() {
    let of = |purchases: &[Purchase]| {
        let owned: Vec<_> = purchases
            .iter()
            .map(|purchase| owned("receipt", purchase.clone()))
            .collect();
        Journey::of(&owned)
    };
    let off = unverified(&[
        NotificationKind::SubscriptionPurchased,
        NotificationKind::AutoRenewalOff,
    ]);
    let expired = unverified(&[
        NotificationKind::SubscriptionPurchased,
        NotificationKind::Expired,
    ]);
    let grace = unverified(&[
        NotificationKind::SubscriptionPurchased,
        NotificationKind::GraceBegan,
    ]);
    let offer = bought(Snapshot {
        in_intro_offer: true,
        ..monthly()
    });
    assert_eq!(
        of(std::slice::from_ref(&off)),
        Journey {
            is_cancelled: true,
            ..Journey::default()
        }
    );
    assert_eq!(of(&[off, bought(monthly())]), Journey::default());
    assert_eq!(
        of(&[expired]),
        Journey {
            former_subscriber: true,
            ..Journey::default()
        }
    );
    assert_eq!(
        of(&[grace]),
        Journey {
            in_grace_period: true,
            ..Journey::default()
        }
    );
    assert_eq!(
        of(&[offer]),
        Journey {
            in_intro_offer_period: true,
            ..Journey::default()
        }
    );
}

#[test]
fn a_trial_makes_no_former_subscriber() {
    let trial = Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly()
    };
    let off = Snapshot {
        renews_at: None,
        ends_at: Some(day(31)),
        auto_renewing: Some(false),
        ..trial.clone()
    };
    let expired = Snapshot {
        at: day(32),
        renews_at: None,
        ends_at: Some(day(31)),
        end_reason: Some(EndReason::Customer),
        auto_renewing: Some(false),
        ..monthly()
    };
    let read = |known: &Purchase, snapshot: Snapshot| {
        let now = snapshot.at;
        let verification = Verification::Verified(Box::new(snapshot));
        decide(
            known,
            &[],
            SettlingContext {
                policy: crate::StorePolicy::default(),
                verification: &verification,
                is_replaced: false,
                now,
            },
        )
        .purchase
    };
    let running = bought(trial);
    let (cancelled, over) = (read(&running, off), read(&running, expired));
    let of = |purchase: &Purchase| Journey::of(&[owned("receipt", purchase.clone())]);
    assert_eq!(
        of(&running),
        Journey {
            in_trial_period: true,
            ..Journey::default()
        }
    );
    assert_eq!(
        of(&cancelled),
        Journey {
            in_trial_period: true,
            is_cancelled: true,
            ..Journey::default()
        }
    );
    assert_eq!(
        (over.state(), of(&over)),
        (State::Expired, Journey::default())
    );
}

#[test]
fn one_time_purchases_are_no_part_of_the_journey() {
    let consumable = owned("once", unverified(&[NotificationKind::ConsumablePurchased]));
    let revoked = owned(
        "twice",
        unverified(&[
            NotificationKind::EntitlementPurchased,
            NotificationKind::EntitlementCancelled,
        ]),
    );
    let expired = owned(
        "receipt",
        unverified(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Expired,
        ]),
    );
    assert_eq!(
        Journey::of(&[consumable.clone(), revoked]),
        Journey::default()
    );
    let former = Journey {
        former_subscriber: true,
        ..Journey::default()
    };
    assert_eq!(Journey::of(&[consumable, expired]), former);
}

#[test]
fn a_plan_change_into_a_trial_keeps_a_former_subscriber() {
    let paid = OwnedPurchase {
        is_replaced: true,
        ..owned(
            "old",
            unverified(&[
                NotificationKind::SubscriptionPurchased,
                NotificationKind::Renewed,
            ]),
        )
    };
    let read = |known: &Purchase, snapshot: Snapshot| {
        let verification = Verification::Verified(Box::new(snapshot.clone()));
        decide(
            known,
            &[],
            SettlingContext {
                policy: crate::StorePolicy::default(),
                verification: &verification,
                is_replaced: false,
                now: snapshot.at,
            },
        )
        .purchase
    };
    let running = bought(Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly()
    });
    let expired = Snapshot {
        at: day(32),
        renews_at: None,
        ends_at: Some(day(31)),
        end_reason: Some(EndReason::Customer),
        auto_renewing: Some(false),
        ..monthly()
    };
    let over = read(&running, expired);
    let of = |new: Purchase| Journey::of(&[paid.clone(), owned("new", new)]);
    assert_eq!(
        of(running),
        Journey {
            in_trial_period: true,
            ..Journey::default()
        }
    );
    assert_eq!(
        of(over),
        Journey {
            former_subscriber: true,
            ..Journey::default()
        },
        "the old plan was paid"
    );
}

#[test]
fn a_replaced_purchase_counts_in_nothing_but_that_it_was_paid() {
    let linked = OwnedPurchase {
        is_replaced: true,
        ..owned("old", until(day(400)))
    };
    let replaced = owned(
        "older",
        unverified(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Replaced,
        ]),
    );
    let paid_and_linked = OwnedPurchase {
        is_replaced: true,
        ..owned(
            "oldest",
            unverified(&[NotificationKind::Renewed, NotificationKind::Expired]),
        )
    };
    let gone = [linked.clone(), replaced.clone(), paid_and_linked];
    assert_eq!(active_entitlements(&gone), []);
    assert_eq!(
        Journey::of(&gone),
        Journey {
            former_subscriber: true,
            ..Journey::default()
        }
    );
    let running = [linked.clone(), owned("receipt", until(day(31)))];
    assert_eq!(Journey::of(&running), Journey::default());
    let new = owned("receipt", until(day(31)));
    let listed = active_entitlements(&[linked, new, replaced]);
    assert_eq!(
        listed.iter().map(|one| one.expiration).collect::<Vec<_>>(),
        [Some(day(31))]
    );
}
