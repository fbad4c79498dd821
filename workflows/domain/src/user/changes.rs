//! A subscription beside another one of the same user: a change of plan, or a purchase after the other one's end.

use super::tests::owned;
use super::{Owned, announce_change};
use crate::catalogue::Listing;
use crate::environment::Environment;
use crate::event::tests::{day, monthly, told};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Snapshot, Verification};
use crate::{Decision, SettlingContext, decide};

const MINUTE: i64 = 60_000;

fn settle(known: &Purchase, words: &[(NotificationKind, Timestamp)], shown: Snapshot) -> Decision {
    let words: Vec<(i64, Notification)> = (1_i64..).zip(words.iter().map(|(kind, at)| told(*kind, *at))).collect();
    let now = shown.at;
    let verification = Verification::Verified(Box::new(shown));
    decide(known, &words, SettlingContext { verification: &verification, is_replaced: false, now })
}

/// What the store shows of a subscription of this SKU, bought and read at these times.
fn shown(sku: &str, since: Timestamp, at: Timestamp) -> Snapshot {
    Snapshot { term_sku: Some(sku.to_owned()), purchased_at: Some(since), at, ..monthly() }
}

fn purchased(sku: &str, since: Timestamp) -> Decision {
    settle(&Purchase::default(), &[(NotificationKind::SubscriptionPurchased, since)], shown(sku, since, since))
}

fn whats(decision: &Decision) -> Vec<TransitionKind> {
    decision.transitions.iter().map(|one| one.kind).collect()
}

/// What is announced of `new` beside these.
fn beside(new: &Decision, others: &[Owned]) -> Decision {
    announce_change(new.clone(), &owned("new", new.purchase.clone()), others)
}

#[test]
fn another_sku_with_the_same_entitlement_is_a_change_while_one_runs() {
    let old = owned("old", purchased("gold", day(0)).purchase);
    let new = purchased("silver", day(9));
    let announced = |others: &[Owned]| beside(&new, others);
    assert_eq!(whats(&announced(std::slice::from_ref(&old))), [TransitionKind::PlanChanged]);
    let linked = [(1, told(NotificationKind::PlanChanged, day(10)))];
    let verification = Verification::Unverifiable;
    let given = SettlingContext { verification: &verification, is_replaced: false, now: day(10) };
    let told_again = |known: &Purchase| whats(&decide(known, &linked, given));
    assert_eq!(told_again(&new.purchase), [TransitionKind::PlanChanged]);
    assert_eq!(told_again(&announced(std::slice::from_ref(&old)).purchase), [], "it was announced");

    let elsewhere = Owned { environment: Environment::Sandbox, ..old.clone() };
    let replaced = Owned { is_replaced: true, ..old.clone() };
    let unlisted = Owned { listing: Listing::default(), ..old.clone() };
    let same = owned("old", purchased("silver", day(0)).purchase);
    let later = owned("old", purchased("gold", day(10)).purchase);
    let unknown = owned("old", Purchase::default());
    for other in [elsewhere, replaced, unlisted, same, later, unknown] {
        assert_eq!(whats(&announced(&[other])), [TransitionKind::Purchased]);
    }
}

fn off(at: Timestamp) -> Snapshot {
    Snapshot { renews_at: None, auto_renewing: Some(false), ends_at: Some(day(31)), ..shown("gold", day(0), at) }
}

fn ended(at: Timestamp, ends_at: Timestamp) -> Snapshot {
    Snapshot { ends_at: Some(ends_at), end_reason: Some(EndReason::Customer), ..off(at) }
}

#[test]
fn whether_another_one_ran_is_a_matter_of_dates_and_not_of_what_was_recorded_first() {
    let old = purchased("gold", day(0)).purchase;
    let old_off = settle(&old, &[(NotificationKind::AutoRenewalOff, day(20))], off(day(20))).purchase;
    let old_over = settle(&old_off, &[], ended(day(31).plus_millis(10 * MINUTE), day(31))).purchase;
    assert_eq!((old_off.state(), old_over.state()), (State::Off, State::Expired));
    for recorded in [&old_off, &old_over] {
        let other = [owned("old", recorded.clone())];
        for (began, what) in [
            (day(30), TransitionKind::PlanChanged),
            (day(31).plus_millis(-MINUTE), TransitionKind::PlanChanged),
            (day(31), TransitionKind::Purchased),
            (day(31).plus_millis(5 * MINUTE), TransitionKind::Purchased),
        ] {
            let state = recorded.state();
            assert_eq!(whats(&beside(&purchased("silver", began), &other)), [what], "{state:?}, {began}");
        }
    }
    let late = purchased("silver", day(31).plus_millis(5 * MINUTE));
    assert_eq!(whats(&beside(&late, &[owned("old", old)])), [TransitionKind::PlanChanged], "it renews");
}

#[test]
fn a_grace_that_was_over_does_not_run() {
    let old = purchased("gold", day(0)).purchase;
    let grace = Snapshot { grace_ends_at: Some(day(37)), ..shown("gold", day(0), day(31)) };
    let failed = owned("old", settle(&old, &[(NotificationKind::GraceBegan, day(31))], grace).purchase);
    for (began, what) in
        [(day(36), TransitionKind::PlanChanged), (day(37).plus_millis(MINUTE), TransitionKind::Purchased)]
    {
        assert_eq!(whats(&beside(&purchased("silver", began), std::slice::from_ref(&failed))), [what], "{began}");
    }
}

#[test]
fn an_end_that_the_store_does_not_show_yet_ends_what_ran() {
    let old = purchased("gold", day(0)).purchase;
    let words = [(NotificationKind::SubscriptionCancelled, day(12))];
    let waiting = settle(&old, &words, shown("gold", day(0), day(12).plus_millis(2 * MINUTE)));
    assert_eq!((waiting.outcomes.len(), waiting.purchase.state()), (0, State::Active));
    let agreeing = settle(&old, &words, ended(day(12).plus_millis(2 * MINUTE), day(12)));
    assert_eq!(agreeing.purchase.state(), State::Expired);
    for recorded in [waiting.purchase.clone(), agreeing.purchase] {
        let other = [owned("old", recorded)];
        let before = purchased("silver", day(12).plus_millis(-5 * MINUTE));
        let after = purchased("silver", day(12).plus_millis(5 * MINUTE));
        assert_eq!(whats(&beside(&before, &other)), [TransitionKind::PlanChanged]);
        assert_eq!(whats(&beside(&after, &other)), [TransitionKind::Purchased]);
    }
    let overruled = settle(&waiting.purchase, &words, shown("gold", day(0), day(13)));
    let after = purchased("silver", day(14));
    assert_eq!(whats(&beside(&after, &[owned("old", overruled.purchase)])), [TransitionKind::PlanChanged], "it ran on");
}
