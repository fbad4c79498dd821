//! A subscription that another receipt replaced of which nobody knows: its looks, and its end after a week.

use super::tests::{at, told};
use super::{Decision, Given, decide};
use crate::notification::{Kind, Notification};
use crate::purchase::{Purchase, State};
use crate::reading::{EndReason, Product, Reading, Snapshot};
use crate::transition::What;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// When the receipt ends.
const CHANGE: i64 = 10 * DAY;
/// When that is read first.
const READ: i64 = CHANGE + 3 * HOUR;

fn shown(seconds: i64, reason: Option<EndReason>) -> Reading {
    let has_ended = reason.is_some();
    Reading::Verified(Box::new(Snapshot {
        at: at(seconds),
        product: Product::Subscription,
        term_sku: Some("gold".to_owned()),
        purchased_at: Some(at(0)),
        renews_at: (!has_ended).then(|| at(31 * DAY)),
        ends_at: has_ended.then(|| at(CHANGE)),
        auto_renewing: Some(!has_ended),
        end_reason: reason,
        ..Snapshot::default()
    }))
}

fn settle(
    known: &Purchase,
    words: &[Notification],
    (reading, seconds): (&Reading, i64),
    is_replaced: bool,
) -> Decision {
    let numbered: Vec<_> = (1..).zip(words.iter().cloned()).collect();
    decide(known, &numbered, Given { reading, is_replaced, now: at(seconds) })
}

fn look(known: &Purchase, seconds: i64) -> Decision {
    settle(known, &[], (&shown(seconds, Some(EndReason::Replaced)), seconds), false)
}

fn names(decision: &Decision) -> Vec<What> {
    decision.transitions.iter().map(|one| one.what).collect()
}

/// It was bought, and ended by a change of plan.
fn replaced() -> Decision {
    let bought =
        settle(&Purchase::default(), &[told(Kind::SubscriptionPurchased, 0)], (&shown(HOUR, None), HOUR), false);
    look(&bought.purchase, READ)
}

#[test]
fn it_is_looked_at_daily_for_a_week_and_then_ends_once() {
    let mut last = replaced();
    let mut looks = Vec::new();
    while let Some(wake) = last.wake {
        assert!(last.transitions.is_empty(), "{:?}", last.transitions);
        looks.push(wake);
        last = look(&last.purchase, wake.micros() / 1_000_000);
    }
    assert_eq!(looks, (1..=7).map(|day| at(READ + day * DAY)).collect::<Vec<_>>());
    assert_eq!(names(&last), [What::Expired]);
    assert_eq!(last.transitions[0].at, Some(at(CHANGE)), "when the store says that it ended");
    assert_eq!(last.purchase.state(), State::Replaced);
    let again = settle(
        &last.purchase,
        &[told(Kind::Expired, READ + 8 * DAY), told(Kind::SubscriptionCancelled, CHANGE)],
        (&shown(READ + 9 * DAY, Some(EndReason::Replaced)), READ + 9 * DAY),
        false,
    );
    assert_eq!((names(&again), again.wake), (Vec::new(), None));
}

#[test]
fn a_link_or_the_notification_of_the_old_receipt_ends_the_search() {
    let known = replaced().purchase;
    assert_eq!(known.successor_missing_since(), Some(at(READ)));
    let reading = shown(READ + 8 * DAY, Some(EndReason::Replaced));
    let linked = settle(&known, &[], (&reading, READ + 8 * DAY), true);
    assert_eq!((names(&linked), linked.wake), (Vec::new(), None));
    let early = shown(READ + DAY, Some(EndReason::Replaced));
    let named = settle(&known, &[told(Kind::Replaced, CHANGE)], (&early, READ + DAY), false);
    assert_eq!((named.purchase.successor_missing_since(), named.wake), (None, None));
}

#[test]
fn what_an_import_adopts_as_replaced_is_no_news() {
    let reading = shown(READ, Some(EndReason::Replaced));
    let adopted = settle(&Purchase::default(), &[told(Kind::Adopted, READ)], (&reading, READ), false);
    assert_eq!((adopted.purchase.successor_missing_since(), adopted.wake), (None, None));
}

#[test]
fn what_had_ended_before_its_reason_was_known_ends_once() {
    let bought =
        settle(&Purchase::default(), &[told(Kind::SubscriptionPurchased, 0)], (&shown(HOUR, None), HOUR), false);
    let pending = shown(READ, Some(EndReason::Pending));
    let ended = settle(&bought.purchase, &[told(Kind::SubscriptionCancelled, CHANGE)], (&pending, READ), false);
    assert_eq!(names(&ended), [What::Expired]);
    let explained = look(&ended.purchase, READ + DAY);
    assert!(explained.purchase.successor_missing_since().is_some());
    assert!(look(&explained.purchase, READ + 9 * DAY).transitions.is_empty());
}
