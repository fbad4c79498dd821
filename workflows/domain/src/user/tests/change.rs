//! A subscription beside another one of the same user: a change of plan, or a purchase after the other one ended.

use super::owned;
use crate::catalogue::Listing;
use crate::environment::Environment;
use crate::event::tests::{day, monthly, notification};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::user::{OwnedPurchase, announce_change};
use crate::verification::{EndReason, Snapshot, Verification};
use crate::{Decision, SettlingContext, decide};

const MINUTE: i64 = 60_000;

fn settle(
    known: &Purchase,
    reports: &[(NotificationKind, Timestamp)],
    shown: Snapshot,
) -> Decision {
    let notifications: Vec<(i64, Notification)> = (1_i64..)
        .zip(reports.iter().map(|(kind, at)| notification(*kind, *at)))
        .collect();
    let now = shown.at;
    let verification = Verification::Verified(Box::new(shown));
    decide(
        known,
        &notifications,
        SettlingContext {
            policy: crate::StorePolicy::default(),
            verification: &verification,
            is_replaced: false,
            now,
        },
    )
}

/// Returns the snapshot of a subscription of this SKU, bought and verified at these times.
fn shown(sku: &str, since: Timestamp, at: Timestamp) -> Snapshot {
    Snapshot {
        term_sku: Some(sku.to_owned()),
        purchased_at: Some(since),
        at,
        ..monthly()
    }
}

fn purchased(sku: &str, since: Timestamp) -> Decision {
    settle(
        &Purchase::default(),
        &[(NotificationKind::SubscriptionPurchased, since)],
        shown(sku, since, since),
    )
}

fn kinds(decision: &Decision) -> Vec<TransitionKind> {
    decision.transitions.iter().map(|one| one.kind).collect()
}

/// Returns the decision about `new` beside these purchases.
fn beside(new: &Decision, others: &[OwnedPurchase]) -> Decision {
    announce_change(new.clone(), &owned("new", new.purchase.clone()), others)
}

#[test]
fn another_sku_of_a_running_entitlement_is_a_plan_change() {
    let old = owned("old", purchased("gold", day(0)).purchase);
    let new = purchased("silver", day(9));
    let announced = |others: &[OwnedPurchase]| beside(&new, others);
    assert_eq!(
        kinds(&announced(std::slice::from_ref(&old))),
        [TransitionKind::PlanChanged]
    );
    let linked = [(1, notification(NotificationKind::PlanChanged, day(10)))];
    let verification = Verification::Unverifiable;
    let context = SettlingContext {
        policy: crate::StorePolicy::default(),
        verification: &verification,
        is_replaced: false,
        now: day(10),
    };
    let announced_later = |known: &Purchase| kinds(&decide(known, &linked, context));
    assert_eq!(
        announced_later(&new.purchase),
        [TransitionKind::PlanChanged]
    );
    assert_eq!(
        announced_later(&announced(std::slice::from_ref(&old)).purchase),
        [],
        "it was announced"
    );

    let elsewhere = OwnedPurchase {
        environment: Environment::Sandbox,
        ..old.clone()
    };
    let replaced = OwnedPurchase {
        is_replaced: true,
        ..old.clone()
    };
    let unlisted = OwnedPurchase {
        listing: Listing::default(),
        ..old.clone()
    };
    let same = owned("old", purchased("silver", day(0)).purchase);
    let later = owned("old", purchased("gold", day(10)).purchase);
    let unknown = owned("old", Purchase::default());
    for other in [elsewhere, replaced, unlisted, same, later, unknown] {
        assert_eq!(kinds(&announced(&[other])), [TransitionKind::Purchased]);
    }
}

fn off(at: Timestamp) -> Snapshot {
    Snapshot {
        renews_at: None,
        auto_renewing: Some(false),
        ends_at: Some(day(31)),
        ..shown("gold", day(0), at)
    }
}

fn expired(at: Timestamp, ends_at: Timestamp) -> Snapshot {
    Snapshot {
        ends_at: Some(ends_at),
        end_reason: Some(EndReason::Customer),
        ..off(at)
    }
}

#[test]
fn whether_another_ran_depends_on_dates_not_on_record_order() {
    let old = purchased("gold", day(0)).purchase;
    let old_off = settle(
        &old,
        &[(NotificationKind::AutoRenewalOff, day(20))],
        off(day(20)),
    )
    .purchase;
    let old_over = settle(
        &old_off,
        &[],
        expired(day(31).plus_millis(10 * MINUTE), day(31)),
    )
    .purchase;
    assert_eq!(
        (old_off.state(), old_over.state()),
        (State::Off, State::Expired)
    );
    for recorded in [&old_off, &old_over] {
        let other = [owned("old", recorded.clone())];
        for (began, what) in [
            (day(30), TransitionKind::PlanChanged),
            (day(31).plus_millis(-MINUTE), TransitionKind::PlanChanged),
            (day(31), TransitionKind::Purchased),
            (day(31).plus_millis(5 * MINUTE), TransitionKind::Purchased),
        ] {
            let state = recorded.state();
            assert_eq!(
                kinds(&beside(&purchased("silver", began), &other)),
                [what],
                "{state:?}, {began}"
            );
        }
    }
    let late = purchased("silver", day(31).plus_millis(5 * MINUTE));
    assert_eq!(
        kinds(&beside(&late, &[owned("old", old)])),
        [TransitionKind::PlanChanged],
        "it renews"
    );
}

#[test]
fn a_grace_that_was_over_does_not_run() {
    let old = purchased("gold", day(0)).purchase;
    let grace = Snapshot {
        grace_ends_at: Some(day(37)),
        ..shown("gold", day(0), day(31))
    };
    let failed = owned(
        "old",
        settle(&old, &[(NotificationKind::GraceBegan, day(31))], grace).purchase,
    );
    for (began, what) in [
        (day(36), TransitionKind::PlanChanged),
        (day(37).plus_millis(MINUTE), TransitionKind::Purchased),
    ] {
        assert_eq!(
            kinds(&beside(
                &purchased("silver", began),
                std::slice::from_ref(&failed)
            )),
            [what],
            "{began}"
        );
    }
}

#[test]
fn a_reported_end_counts_before_the_store_shows_it() {
    let old = purchased("gold", day(0)).purchase;
    let reports = [(NotificationKind::SubscriptionCancelled, day(12))];
    let waiting = settle(
        &old,
        &reports,
        shown("gold", day(0), day(12).plus_millis(2 * MINUTE)),
    );
    assert_eq!(
        (waiting.outcomes.len(), waiting.purchase.state()),
        (0, State::Active)
    );
    let agreeing = settle(
        &old,
        &reports,
        expired(day(12).plus_millis(2 * MINUTE), day(12)),
    );
    assert_eq!(agreeing.purchase.state(), State::Expired);
    for recorded in [waiting.purchase.clone(), agreeing.purchase] {
        let other = [owned("old", recorded)];
        let before = purchased("silver", day(12).plus_millis(-5 * MINUTE));
        let after = purchased("silver", day(12).plus_millis(5 * MINUTE));
        assert_eq!(
            kinds(&beside(&before, &other)),
            [TransitionKind::PlanChanged]
        );
        assert_eq!(kinds(&beside(&after, &other)), [TransitionKind::Purchased]);
    }
    let overruled = settle(&waiting.purchase, &reports, shown("gold", day(0), day(13)));
    let after = purchased("silver", day(14));
    assert_eq!(
        kinds(&beside(&after, &[owned("old", overruled.purchase)])),
        [TransitionKind::PlanChanged],
        "it ran on"
    );
}
