//! Cases from real life, by their numbers: changes of plan over one and two purchases, instalments, and money that is
//! returned.

use super::answers::{one_time, parts};
use super::states::reach;
use super::{events, monthly, order_id, settle, show, snapshot, verified};
use crate::decide::{Decision, SettlingContext, decide};
use crate::event::tests::day;
use crate::notification::NotificationKind::{
    AutoRenewalOff, EntitlementPurchased, Expired, Renewed, SubscriptionPurchased, Unknown,
};
use crate::notification::Outcome;
use crate::payment::EntryKind;
use crate::period::{PeriodEntry, missing_entries};
use crate::purchase::{Purchase, State};
use crate::store_state::VoidedPayment;
use crate::stores::google::{Cancellation, OrderState, PlannedItem, PurchaseAnswer, Status};
use crate::stores::tests::by_state;
use crate::user::announce_continuation;
use crate::verification::{Parked, Verification};
use std::collections::BTreeMap;

/// The decision about the first answer of a purchase that continues `former`, on this day.
fn continued(answer: &PurchaseAnswer, former: &Purchase) -> Decision {
    let mut shown = snapshot(answer);
    shown.purchased_at = Some(answer.at.plus_millis(-120_000));
    if let Some(state) = &mut shown.state {
        state.continues = Some("former".to_owned());
    }
    let bought = super::report(SubscriptionPurchased, answer.at.plus_millis(-60_000));
    let decision = settle(&Purchase::default(), &[bought], &verified(shown));
    announce_continuation(decision, former)
}

#[test]
fn g03_an_upgrade_is_one_change_in_either_order() {
    let upgraded = parts("other parts", day(12));
    let mut replaced = monthly(1, day(12));
    replaced.status = Status::Expired;
    replaced.cancellation = Some((Cancellation::Replacement, None));
    replaced.items[0].expires_at = Some(day(12));
    let active = reach("active");
    let former = show(&active, &[Expired], &replaced);
    assert_eq!(
        (former.purchase.state(), events(&former)),
        (State::Replaced, String::new())
    );
    for known in [&active, &former.purchase] {
        let new = continued(&upgraded, known);
        assert_eq!(events(&new), "sku_change");
        assert_eq!(new.purchase.original_receipt_id(), Some("former"));
    }
}

#[test]
fn a_replaced_purchase_that_is_never_shown_is_over_in_a_day() {
    let expired = [(1, super::report(Expired, day(12)))];
    for verification in [
        Verification::Gone,
        Verification::Parked(Parked::UnknownReceipt),
    ] {
        let context = |now| SettlingContext {
            policy: by_state(),
            verification: &verification,
            is_replaced: true,
            now,
        };
        let first = decide(&Purchase::default(), &expired, context(day(12)));
        assert!(first.outcomes.is_empty() && first.wake.is_some());
        assert_eq!(first.purchase.state(), State::Unknown);
        let last = decide(&first.purchase, &expired, context(day(13)));
        assert_eq!(last.outcomes, [(1, Outcome::Settled)]);
        assert_eq!(
            (last.purchase.state(), events(&last), last.wake),
            (State::Replaced, String::new(), None)
        );
        let late = show(
            &last.purchase,
            &[SubscriptionPurchased],
            &monthly(1, day(14)),
        );
        assert_eq!(
            (late.purchase.state(), events(&late)),
            (State::Replaced, String::new())
        );
    }
}

#[test]
fn g13_a_downgrade_that_is_due_later_is_announced_twice() {
    let begun = continued(&parts("planned", day(12)), &reach("active"));
    assert_eq!(events(&begun), "pending_sku_change");
    assert_eq!(begun.purchase.stage.sku.as_deref(), Some("gold:monthly"));
    assert_eq!(begun.purchase.pending_sku(), Some("silver:monthly"));
    let changed = show(&begun.purchase, &[Renewed], &parts("changed", day(31)));
    assert_eq!(events(&changed), "renewed sku_change");
    assert_eq!(
        changed.purchase.stage.sku.as_deref(),
        Some("silver:monthly")
    );
    assert_eq!(changed.purchase.pending_sku(), None);
}

#[test]
fn g14_a_removed_part_goes_with_the_renewal() {
    let with_extra = |number: u32, days: i64, planned: Option<PlannedItem>| {
        let mut answer = monthly(number, day(days));
        let mut extra = answer.items[0].clone();
        extra.product = "extra".to_owned();
        extra.planned = planned;
        answer.items.push(extra);
        answer
    };
    let begun = show(
        &Purchase::default(),
        &[SubscriptionPurchased],
        &with_extra(1, 1, None),
    );
    let removal = with_extra(1, 12, Some(PlannedItem::Removal));
    let planned = show(&begun.purchase, &[Unknown], &removal);
    assert_eq!(events(&planned), "pending_sku_change");
    assert_eq!(
        planned.purchase.pending_sku(),
        None,
        "it leads to no other product"
    );
    let renewed = show(&planned.purchase, &[Renewed], &monthly(2, day(31)));
    assert_eq!(events(&renewed), "renewed sku_change");
}

#[test]
fn g39_instalments_are_cancelled_once_and_paid_on() {
    let mut known = reach("active");
    let mut announced = Vec::new();
    for number in 1..=9 {
        let mut answer = monthly(number, day(30 * i64::from(number) - 20));
        answer.items[0].ends_after_commitment = true;
        answer.items[0].committed_payments = 9 - number;
        let kinds = if number == 1 { AutoRenewalOff } else { Renewed };
        let decision = show(&known, &[kinds], &answer);
        announced.push(events(&decision));
        known = decision.purchase;
        assert_eq!(known.is_auto_renewable(), Some(number < 9), "{number}");
    }
    let mut over = monthly(9, day(270));
    over.status = Status::Canceled;
    let canceled = show(&known, &[AutoRenewalOff], &over);
    over.status = Status::Expired;
    over.at = day(271);
    over.cancellation = Some((Cancellation::User, None));
    let expired = show(&canceled.purchase, &[Expired], &over);
    announced.extend([events(&canceled), events(&expired)]);
    let renewed = vec!["renewed"; 8];
    let expected = [vec!["cancelled"], renewed, vec!["", "expired"]].concat();
    assert_eq!(announced, expected);
}

/// A ledger, by transaction.
#[derive(Default)]
struct Ledger(BTreeMap<String, Vec<PeriodEntry>>);

impl Ledger {
    /// Records what is missing, and returns the amounts.
    fn record(&mut self, purchase: &Purchase) -> Vec<String> {
        let mut amounts = Vec::new();
        for period in purchase.periods().iter() {
            let recorded = self.0.entry(period.transaction_id.clone()).or_default();
            let missing = missing_entries(period, EntryKind::Renewal, recorded);
            amounts.extend(
                missing
                    .iter()
                    .filter_map(|one| one.amount)
                    .map(|one| one.normalize().to_string()),
            );
            recorded.extend(missing);
        }
        amounts
    }
}

#[test]
fn g29_a_void_of_an_older_order_returns_its_money_alone() {
    let known = reach("renewed");
    let mut ledger = Ledger::default();
    ledger.record(&known);
    let mut shown = snapshot(&monthly(2, day(32)));
    let voided = VoidedPayment {
        transaction_id: order_id("GPA.1", 1),
        at: day(32),
        units: None,
    };
    shown.state.as_mut().unwrap().voided.push(voided);
    let decision = settle(&known, &[], &verified(shown));
    assert_eq!(
        (decision.purchase.state(), events(&decision)),
        (State::Active, String::new())
    );
    assert_eq!(ledger.record(&decision.purchase), ["-4.99"]);
    assert_eq!(ledger.record(&decision.purchase), [""; 0]);
}

#[test]
fn a_void_of_a_purchase_that_is_no_longer_shown_returns_money() {
    let known = reach("expired");
    let mut ledger = Ledger::default();
    ledger.record(&known);
    let mut reported = super::report(Unknown, day(390));
    reported.voided = Some(VoidedPayment {
        transaction_id: order_id("GPA.1", 1),
        at: day(390),
        units: None,
    });
    let decision = settle(&known, &[reported], &Verification::Gone);
    assert_eq!(
        (decision.purchase.state(), events(&decision)),
        (known.state(), String::new())
    );
    assert_eq!(decision.outcomes, [(1, Outcome::Settled)]);
    assert_eq!(ledger.record(&decision.purchase), ["-4.99"]);
}

#[test]
fn g31_a_refund_without_revocation_returns_money_alone() {
    let known = reach("renewed");
    let mut ledger = Ledger::default();
    ledger.record(&known);
    let mut answer = monthly(2, day(32));
    answer.orders[1].state = OrderState::Refunded;
    answer.orders[1].refunded_at = Some(day(32));
    let decision = show(&known, &[], &answer);
    assert_eq!(
        (decision.purchase.state(), events(&decision)),
        (State::Active, String::new())
    );
    assert_eq!(ledger.record(&decision.purchase), ["-4.99"]);
    let again = show(&decision.purchase, &[], &answer);
    assert_eq!(ledger.record(&again.purchase), [""; 0]);
}

#[test]
fn g33_pieces_are_returned_once_and_revoked_at_the_last() {
    let mut ledger = Ledger::default();
    let begun = show(
        &Purchase::default(),
        &[EntitlementPurchased],
        &one_time("bought", day(1)),
    );
    assert_eq!(ledger.record(&begun.purchase), ["4.99"]);
    let part = show(
        &begun.purchase,
        &[Unknown],
        &one_time("partly returned", day(5)),
    );
    assert_eq!(ledger.record(&part.purchase), ["-2.495"]);
    let again = show(
        &part.purchase,
        &[Unknown],
        &one_time("partly returned", day(6)),
    );
    assert_eq!(ledger.record(&again.purchase), [""; 0]);
    assert_eq!(again.purchase.state(), State::Active);
    let all = show(
        &again.purchase,
        &[Unknown],
        &one_time("all returned", day(7)),
    );
    assert_eq!(ledger.record(&all.purchase), ["-2.495"]);
    assert_eq!(
        (all.purchase.state(), events(&all)),
        (State::Revoked, String::new())
    );
    let later = show(&all.purchase, &[], &one_time("all returned", day(9)));
    assert_eq!(later.purchase.revoked_at(), all.purchase.revoked_at());
    assert_eq!(ledger.record(&later.purchase), [""; 0]);
}
