//! Cases from real life, by their numbers.

use super::states::{bought, over, reach, refunded, shown};
use super::{events, message, monthly, period, renewal, renewing, report, settle, show, together};
use crate::environment::Environment;
use crate::event::tests::day;
use crate::notification::NotificationKind::{
    AutoRenewalOff, Expired, Renewed, SubscriptionPurchased, Unknown,
};
use crate::payment::EntryKind;
use crate::period::{PeriodEntry, RefundExtent, missing_entries};
use crate::purchase::{Purchase, State};
use crate::store_state::SharedAccess;
use crate::stores::apple::{
    Intent, Ownership, PurchaseFacts, Revocation, SubscriptionStatus, TransactionCause,
    TransactionFact,
};
use crate::time::{DAY, MINUTE, Timestamp};
use crate::verification::EndReason;
use rust_decimal::Decimal;

/// The refund of the second period, signed on this day.
fn second_refunded(at: i64) -> PurchaseFacts {
    let mut facts = message(refunded(period(2, day(at)), day(at)), renewing(day(at)));
    facts.renewals[0].status = Some(SubscriptionStatus::Expired);
    facts
}

#[test]
fn a01_a_renewal_behind_its_refund_revives_nothing() {
    let known = reach("active");
    let renewed = report(Renewed, day(31));
    let both = together(&[second_refunded(33), monthly(2, day(31))]);
    let one_window = settle(&known, std::slice::from_ref(&renewed), &both);
    assert_eq!(events(&one_window), "renewed expired");
    let first = settle(&known, &[], &second_refunded(33));
    let second = settle(&first.purchase, &[renewed], &monthly(2, day(31)));
    assert_eq!(
        (events(&first), events(&second)),
        ("expired".to_owned(), String::new())
    );
    for decision in [one_window, second] {
        assert_eq!(decision.purchase.state(), State::Revoked);
        assert_eq!(decision.purchase.billing_cycles(), Some(2));
    }
}

#[test]
fn a06_a_refund_under_the_same_transaction_ends_access() {
    let decision = show(
        &reach("active"),
        &[Unknown],
        &shown("refunded", day(12)),
        day(12),
    );
    let purchase = &decision.purchase;
    let at = day(12).plus_millis(-3_600_000);
    assert_eq!(
        (purchase.revoked_at(), purchase.expires_at()),
        (Some(at), Some(at))
    );
    assert_eq!(purchase.end_reason(), Some(EndReason::Store));
    let current = purchase.paid_period().unwrap();
    assert_eq!(current.refunded(), "4.99".parse().ok());
}

#[test]
fn a08_a_reversed_refund_gives_access_and_the_money_again() {
    let refunded = reach("refunded");
    let decision = show(&refunded, &[Unknown], &shown("reversed", day(17)), day(17));
    let purchase = &decision.purchase;
    assert_eq!(
        (purchase.revoked_at(), purchase.state()),
        (None, State::Active)
    );
    assert_eq!(purchase.expires_at(), Some(day(30)));
    assert_eq!(
        purchase.paid_period().unwrap().refunded(),
        Some(Decimal::ZERO)
    );
}

#[test]
fn a10_a_refund_of_an_older_period_is_silent() {
    let known = reach("renewed");
    let decision = show(
        &known,
        &[Unknown],
        &shown("older refunded", day(40)),
        day(40),
    );
    assert_eq!(decision.purchase.state(), State::Active);
    assert_eq!(decision.purchase.expires_at(), known.expires_at());
    let older = decision.purchase.periods().of("200001").unwrap();
    assert_eq!(older.refunded(), "4.99".parse().ok());
    assert_eq!(decision.purchase.paid_period().unwrap().refund, None);
}

#[test]
fn a14_an_upgrade_that_was_never_sent_is_found_once() {
    let yearly = TransactionFact {
        expires_at: Some(day(380)),
        product: "gold yearly".to_owned(),
        ..bought("yearly", day(12))
    };
    let bought_at = yearly.bought_at;
    let mut facts = message(yearly.clone(), renewing(day(13)));
    renewal(&mut facts).product = "gold yearly".to_owned();
    renewal(&mut facts).next_product = Some("gold yearly".to_owned());
    let found = settle(&reach("active"), &[], &facts);
    assert_eq!(events(&found), "sku_change");
    assert_eq!(found.transitions[0].at, Some(bought_at));
    assert_eq!(found.purchase.expires_at(), Some(day(380)));
    let left = found.purchase.periods().of("200001").unwrap();
    assert_eq!(left.refund.unwrap().extent, RefundExtent::Unknown);
    let again = settle(&found.purchase, &[], &facts);
    assert_eq!(events(&again), "");
    // A device hands in the transaction an hour earlier, without renewal information.
    let handed_in = PurchaseFacts {
        transactions: vec![yearly],
        ..PurchaseFacts::default()
    };
    let early = settle(&reach("active"), &[], &handed_in);
    let late = settle(&early.purchase, &[], &facts);
    assert_eq!(
        (events(&early), events(&late)),
        ("sku_change".to_owned(), String::new())
    );
}

#[test]
fn a16_twelve_renewals_in_an_hour_are_all_counted() {
    let minutes = |count: u32| day(0).plus(MINUTE * count);
    let tester = |number: u32| {
        let transaction = TransactionFact {
            bought_at: minutes(5 * (number - 1)),
            expires_at: Some(minutes(5 * number)),
            environment: Environment::Sandbox,
            ..period(number, minutes(5 * (number - 1)))
        };
        let at = transaction.signed_at;
        message(transaction, renewing(at))
    };
    let begun = [report(SubscriptionPurchased, day(0))];
    let mut known = settle(&Purchase::default(), &begun, &tester(1)).purchase;
    for first in [2, 6, 10] {
        let numbers = first..first + 4;
        let all: Vec<_> = numbers.clone().map(tester).collect();
        let times = numbers.map(|number| minutes(5 * (number - 1)));
        let reported: Vec<_> = times.map(|time| report(Renewed, time)).collect();
        let decision = settle(&known, &reported, &together(&all));
        assert_eq!(events(&decision), "renewed renewed renewed renewed");
        known = decision.purchase;
    }
    assert_eq!(known.billing_cycles(), Some(13));
    assert_eq!(known.periods().iter().count(), 13);
    assert_eq!(
        known.environment(Environment::Production),
        Environment::Sandbox
    );
}

#[test]
fn a18_a_payment_is_collected_after_45_days_of_retries() {
    let held = reach("hold");
    assert_eq!(
        (held.state(), held.expires_at()),
        (State::AccountHold, Some(day(30)))
    );
    let decision = show(&held, &[Renewed], &shown("recovered", day(75)), day(75));
    assert_eq!(events(&decision), "renewed");
    let until = day(75).plus_millis(-3_600_000).plus(DAY * 30);
    assert_eq!(decision.purchase.expires_at(), Some(until));
    assert_eq!(decision.purchase.payment_issues_began_at(), None);
}

#[test]
fn a32_added_seats_are_a_payment_and_no_renewal() {
    let known = reach("active");
    let seats = TransactionFact {
        cause: TransactionCause::SeatAddition,
        expires_at: Some(day(30)),
        ..bought("seats", day(10))
    };
    let decision = settle(&known, &[], &message(seats, renewing(day(10))));
    assert_eq!(events(&decision), "");
    let purchase = &decision.purchase;
    assert_eq!(purchase.billing_cycles(), known.billing_cycles());
    assert_eq!(purchase.expires_at(), known.expires_at());
    assert_eq!(purchase.paid_period(), known.paid_period());
    assert_eq!(purchase.periods().iter().count(), 2);
}

#[test]
fn a33_a_family_member_has_a_purchase_without_money() {
    let member = |at: Timestamp| TransactionFact {
        ownership: Ownership::Family,
        ..period(1, at)
    };
    let begun = [report(SubscriptionPurchased, day(1))];
    let facts = message(member(day(1)), renewing(day(1)));
    let known = settle(&Purchase::default(), &begun, &facts).purchase;
    let entries = |purchase: &Purchase| {
        let period = purchase.paid_period().unwrap();
        missing_entries(period, EntryKind::Initial, &[])
    };
    let free = PeriodEntry {
        kind: EntryKind::Initial,
        amount: Some(Decimal::ZERO),
    };
    assert_eq!(entries(&known), [free]);
    let shared = |purchase: &Purchase| purchase.store_state().and_then(|state| state.shared);
    assert_eq!(shared(&known), Some(SharedAccess::Family));
    let revocation = Revocation {
        at: day(5),
        extent: RefundExtent::Full,
        ends_access: true,
    };
    let withdrawn = TransactionFact {
        revocation: Some(revocation),
        ..member(day(5))
    };
    let mut facts = message(withdrawn, renewing(day(5)));
    facts.renewals[0].status = Some(SubscriptionStatus::Revoked);
    let decision = settle(&known, &[], &facts);
    assert_eq!(events(&decision), "expired");
    assert_eq!(decision.purchase.end_reason(), Some(EndReason::Other(0)));
    assert_eq!(decision.purchase.expires_at(), Some(day(5)));
    assert_eq!(entries(&decision.purchase), [free]);
}

#[test]
fn a35_a_declined_price_is_an_end_by_the_customer() {
    let facts = over(monthly(1, day(31)), Intent::PriceIncrease);
    let decision = show(&reach("active"), &[Expired], &facts, day(31));
    assert_eq!(events(&decision), "expired");
    assert_eq!(decision.purchase.end_reason(), Some(EndReason::Customer));
}

#[test]
fn a39_a_cancelled_commitment_goes_on_until_its_end() {
    let until = day(360);
    let committed = |number: u32, at: Timestamp, is_on: bool| {
        let mut facts = monthly(number, at);
        let shown = renewal(&mut facts);
        shown.is_on = is_on;
        shown.committed_until = Some(until);
        facts
    };
    let begun = [report(SubscriptionPurchased, day(1))];
    let mut known = settle(&Purchase::default(), &begun, &committed(1, day(1), true)).purchase;
    for number in [2, 3] {
        let at = day(30 * (i64::from(number) - 1)).plus(MINUTE);
        known = show(&known, &[Renewed], &committed(number, at, true), at).purchase;
    }
    let cancelled = show(
        &known,
        &[AutoRenewalOff],
        &committed(3, day(70), false),
        day(70),
    );
    assert_eq!(events(&cancelled), "cancelled");
    assert_eq!(cancelled.purchase.expires_at(), Some(until));
    known = cancelled.purchase;
    for number in 4..=12 {
        let at = day(30 * (i64::from(number) - 1)).plus(MINUTE);
        let decision = show(&known, &[Renewed], &committed(number, at, false), at);
        assert_eq!(
            (events(&decision), decision.purchase.state()),
            ("renewed".to_owned(), State::Off)
        );
        known = decision.purchase;
    }
    let at = until.plus(MINUTE);
    let end = over(committed(12, at, false), Intent::Customer);
    let decision = show(&known, &[Expired], &end, at);
    assert_eq!(events(&decision), "expired");
    assert_eq!(decision.purchase.expires_at(), Some(until));
    assert_eq!(decision.purchase.billing_cycles(), Some(12));
}
