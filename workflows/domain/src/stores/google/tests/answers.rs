//! The snapshots of answers: which part counts, until when access lasts, and what an order paid.

use super::{monthly, order_id, show, snapshot};
use crate::catalogue::ProductRef;
use crate::event::tests::day;
use crate::period::{OfferPhase, RefundExtent};
use crate::purchase::Purchase;
use crate::store_state::StoreStatus;
use crate::stores::google::{
    Cancellation, ItemAnswer, OrderState, PlannedItem, PurchaseAnswer, Status,
};
use crate::time::Timestamp;
use crate::verification::{EndReason, Offer, Product};
use std::collections::BTreeSet;

/// A purchase whose part changed or will change from gold to silver.
pub fn parts(name: &str, at: Timestamp) -> PurchaseAnswer {
    let mut answer = monthly(if name == "changed" { 2 } else { 1 }, at);
    let mut silver = answer.items[0].clone();
    silver.product = "silver".to_owned();
    if name == "planned" {
        silver.order = None;
        silver.expires_at = None;
        answer.items[0].planned = Some(PlannedItem::Replacement("silver".to_owned()));
        // The listed order of the parts says nothing.
        answer.items.insert(0, silver);
    } else {
        answer.items = vec![silver];
    }
    answer
}

/// A one-time purchase of two coins.
pub fn one_time(name: &str, at: Timestamp) -> PurchaseAnswer {
    let mut answer = monthly(1, at);
    answer.is_subscription = false;
    answer.items = vec![ItemAnswer {
        product: "coins".to_owned(),
        order: Some(order_id("GPA.1", 1)),
        quantity: Some(2),
        unrefunded: Some(2),
        ..ItemAnswer::default()
    }];
    match name {
        "bought" | "taken back" => {}
        "bought pending" | "never bought" => {
            answer.started_at = None;
            answer.orders.clear();
        }
        "partly returned" => answer.items[0].unrefunded = Some(1),
        "all returned" => answer.items[0].unrefunded = Some(0),
        other => panic!("no answer `{other}`"),
    }
    answer.status = match name {
        "bought pending" => Status::Pending,
        "never bought" | "taken back" => Status::Voided,
        _ => Status::Active,
    };
    answer
}

fn set(skus: &[&str]) -> BTreeSet<String> {
    skus.iter().map(|sku| (*sku).to_owned()).collect()
}

#[test]
fn a_running_plan_has_its_dates_and_its_payments() {
    let shown = snapshot(&monthly(2, day(31)));
    assert_eq!(shown.term_sku.as_deref(), Some("gold:monthly"));
    assert_eq!(shown.product, Product::Subscription);
    assert_eq!((shown.renews_at, shown.ends_at), (Some(day(60)), None));
    assert_eq!(
        (shown.auto_renewing, shown.country.as_deref()),
        (Some(true), Some("DE"))
    );
    let state = shown.state.unwrap();
    assert_eq!((state.status, state.cycle), (StoreStatus::Active, Some(2)));
    assert_eq!(state.transaction_id.as_deref(), Some("GPA.1..0"));
    assert_eq!(state.periods.len(), 2);
    let paid = &state.periods[1];
    assert_eq!((paid.begins_at, paid.ends_at), (day(30), Some(day(60))));
    assert_eq!(
        (paid.price, paid.currency.as_deref()),
        ("4.99".parse().ok(), Some("EUR"))
    );
    assert_eq!(paid.tax, "0.80".parse().ok());
    assert_eq!(paid.country.as_deref(), Some("DE"));
}

#[test]
fn a_change_that_is_due_later_leaves_the_present_part() {
    let shown = snapshot(&parts("planned", day(12)));
    assert_eq!(shown.term_sku.as_deref(), Some("gold:monthly"));
    assert_eq!(
        (shown.deferred_at, shown.deferred_sku.as_deref()),
        (Some(day(30)), Some("silver:monthly"))
    );
    let state = shown.state.unwrap();
    assert_eq!(state.skus, set(&["gold:monthly"]));
    assert_eq!(state.planned, Some(set(&["silver:monthly"])));
}

#[test]
fn a_part_that_is_removed_later_leaves_the_others() {
    let mut answer = monthly(1, day(12));
    let mut extra = answer.items[0].clone();
    extra.product = "extra".to_owned();
    extra.planned = Some(PlannedItem::Removal);
    answer.items.push(extra);
    let state = snapshot(&answer).state.unwrap();
    assert_eq!(state.skus, set(&["extra:monthly", "gold:monthly"]));
    assert_eq!(state.planned, Some(set(&["gold:monthly"])));
    assert_eq!(snapshot(&answer).deferred_sku, None);
}

#[test]
fn a_purchase_has_the_skus_of_all_its_parts() {
    let mut answer = monthly(1, day(1));
    let mut extra = answer.items[0].clone();
    extra.product = "extra".to_owned();
    answer.items.push(extra);
    let shown = show(&Purchase::default(), &[], &answer).purchase;
    assert_eq!(
        shown.parts(),
        [["gold:monthly", "gold"], ["extra:monthly", "extra"]]
    );
    assert_eq!(
        shown.skus(ProductRef::Term),
        ["gold:monthly", "extra:monthly"]
    );
    assert_eq!(shown.skus(ProductRef::Parent), ["gold", "extra"]);
    let plain = one_time("bought", day(1));
    let shown = show(&Purchase::default(), &[], &plain).purchase;
    assert_eq!(shown.parts(), [["coins"]]);
    assert_eq!(Purchase::default().parts(), Vec::<Vec<&str>>::new());
}

#[test]
fn an_end_has_its_reason_and_a_prepaid_plan_its_date() {
    let mut answer = monthly(1, day(10));
    answer.status = Status::Canceled;
    answer.cancellation = Some((Cancellation::User, Some(day(9))));
    let shown = snapshot(&answer);
    assert_eq!(
        (shown.ends_at, shown.end_reason),
        (Some(day(30)), Some(EndReason::Customer))
    );
    assert_eq!(shown.auto_renewing, Some(false));
    assert_eq!(shown.state.unwrap().canceled_at, Some(day(9)));
    let mut prepaid = monthly(1, day(10));
    prepaid.items[0].is_prepaid = true;
    prepaid.items[0].renews = None;
    let shown = snapshot(&prepaid);
    assert_eq!(
        (shown.ends_at, shown.auto_renewing),
        (Some(day(30)), Some(false))
    );
}

#[test]
fn an_order_without_a_phase_of_the_part_shows_the_trial() {
    let mut answer = monthly(1, day(1));
    answer.items[0].phase = None;
    answer.orders[0].phase = Some(OfferPhase::Trial);
    let shown = snapshot(&answer);
    assert_eq!(
        (shown.trial_ends_at, shown.offer),
        (Some(day(30)), Some(Offer::Introductory))
    );
    answer.orders.clear();
    let unknown = snapshot(&answer);
    assert_eq!((unknown.trial_ends_at, unknown.offer), (None, None));
}

#[test]
fn refunds_are_those_of_the_order_or_of_its_pieces() {
    let mut answer = monthly(1, day(12));
    answer.orders[0].state = OrderState::PartiallyRefunded;
    answer.orders[0].refunded = "1.50".parse().ok();
    answer.orders[0].refunded_at = Some(day(11));
    let state = snapshot(&answer).state.unwrap();
    let refund = state.periods[0].refund.unwrap();
    let part = RefundExtent::Amount("1.50".parse().unwrap());
    assert_eq!((refund.at, refund.extent), (day(11), part));
    let state = snapshot(&one_time("partly returned", day(5)))
        .state
        .unwrap();
    let refund = state.periods[0].refund.unwrap();
    assert_eq!(refund.extent, RefundExtent::Units(1));
    answer.orders[0].state = OrderState::Pending;
    assert!(snapshot(&answer).state.unwrap().periods.is_empty());
}

#[test]
fn an_answer_without_a_part_is_no_snapshot() {
    let mut answer = monthly(1, day(1));
    answer.items.clear();
    assert_eq!(answer.snapshot(), None);
}
