//! Cases from real life, by their numbers, and what a record shows of a purchase.

use super::states::reach;
use super::{events, monthly, order_id, report, settle, show, snapshot, verified};
use crate::event::tests::{bought, day, described, monthly as by_dates};
use crate::notification::NotificationKind::{
    AutoRenewalOff, Expired, GraceBegan, Renewed, SubscriptionPurchased,
};
use crate::purchase::{Purchase, State};
use crate::store_state::VoidedPayment;
use crate::stores::google::{Cancellation, Status};
use crate::time::{MINUTE, Timestamp};
use crate::verification::{EndReason, Verification};
use serde_json::json;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn g01_an_unrecovered_hold_ends_once_at_its_paid_end() {
    let held = reach("hold");
    let paid_until = held.expires_at();
    let mut answer = monthly(1, day(94));
    answer.status = Status::Expired;
    answer.cancellation = Some((Cancellation::System, None));
    answer.items[0].expires_at = Some(day(94));
    let first = show(&held, &[AutoRenewalOff], &answer);
    answer.at = day(94).plus_millis(2_000);
    let second = show(&first.purchase, &[Expired], &answer);
    assert_eq!(
        (events(&first), events(&second)),
        ("expired".to_owned(), String::new())
    );
    assert_eq!(second.purchase.expires_at(), paid_until);
    assert_eq!(second.purchase.end_reason(), Some(EndReason::Store));
    assert_eq!(second.purchase.revoked_at(), None);
}

#[test]
fn g10_a_pending_purchase_is_silent_until_it_is_paid() {
    let pending = reach("pending");
    assert_eq!(pending.state().is_active(), Some(false));
    assert!(!pending.was_paid() && pending.not_before().is_none());
    let mut paid = monthly(1, day(3));
    paid.started_at = Some(day(2));
    let decision = show(&pending, &[SubscriptionPurchased], &paid);
    assert_eq!(events(&decision), "purchased");
    assert_eq!(decision.purchase.not_before(), Some(day(2)));
    assert!(decision.purchase.was_paid());
}

#[test]
fn g15_a_past_date_ends_nothing() {
    let decision = show(
        &reach("active"),
        &[],
        &monthly(1, day(30).plus(MINUTE * 1_200)),
    );
    assert_eq!(
        (decision.purchase.state(), events(&decision)),
        (State::Active, String::new())
    );
    assert!(decision.wake.is_some());
}

#[test]
fn g18_an_account_hold_is_silent_and_its_recovery_renews() {
    let held = reach("hold");
    assert_eq!(held.state(), State::AccountHold);
    let mut answer = monthly(2, day(45));
    answer.items[0].expires_at = Some(day(75));
    let decision = show(&held, &[Renewed], &answer);
    assert_eq!(events(&decision), "renewed");
    assert_eq!(decision.purchase.expires_at(), Some(day(75)));
    assert_eq!(decision.purchase.payment_issues_began_at(), None);
}

#[test]
fn g22_a_hold_that_is_read_behind_grace_is_silent() {
    let mut answer = monthly(1, day(34));
    answer.status = Status::Hold;
    let reported = day(33);
    let grace = [report(GraceBegan, reported)];
    let decision = settle(&reach("active"), &grace, &verified(snapshot(&answer)));
    let held = &decision.purchase;
    assert_eq!(
        (held.state(), events(&decision)),
        (State::AccountHold, String::new())
    );
    assert_eq!(held.payment_issues_began_at(), Some(reported));
    // The store showed the purchase as running after that, without a new payment.
    let running = show(&reach("active"), &[], &monthly(1, day(33).plus(MINUTE)));
    let late = settle(&running.purchase, &grace, &verified(snapshot(&answer)));
    assert_eq!(late.purchase.payment_issues_began_at(), Some(reported));
    answer.at = day(35);
    assert_eq!(events(&show(held, &[], &answer)), "");
}

#[test]
fn g24_an_outage_over_the_end_of_a_period_ends_nothing() {
    let known = reach("active");
    let unreachable = Verification::Unreachable { since: day(29) };
    let decision = settle(&known, &[report(Expired, day(30))], &unreachable);
    assert_eq!(decision.purchase, known);
    let renewed = show(&known, &[Renewed], &monthly(2, day(31)));
    assert_eq!(events(&renewed), "renewed");
}

#[test]
fn g34_each_of_three_renewals_in_a_window_is_counted() {
    let began = at("2026-03-01T12:00:00Z");
    let minutes = |count: i64| began.plus_millis(count * 300_000);
    let tester = |number: u32, at: Timestamp| {
        let mut answer = monthly(number, at);
        answer.is_test = true;
        answer.items[0].expires_at = Some(minutes(i64::from(number)));
        answer
    };
    let begun = show(
        &Purchase::default(),
        &[SubscriptionPurchased],
        &tester(1, minutes(0)),
    );
    let three = [1, 2, 3].map(|count| report(Renewed, minutes(count)));
    let shown = verified(snapshot(&tester(4, minutes(3).plus(MINUTE))));
    let decision = settle(&begun.purchase, &three, &shown);
    assert_eq!(events(&decision), "renewed renewed renewed");
    let cycles: Vec<_> = decision.transitions.iter().map(|one| one.cycle).collect();
    assert_eq!(cycles, [Some(2), Some(3), Some(4)]);
    let times: Vec<_> = decision.transitions.iter().map(|one| one.at).collect();
    assert_eq!(times, [1, 2, 3].map(|count| Some(minutes(count))));
    let last = show(&decision.purchase, &[], &tester(7, minutes(6)));
    assert_eq!(events(&last), "renewed renewed renewed");
    assert_eq!(last.purchase.billing_cycles(), Some(7));
    assert_eq!(last.purchase.periods().iter().count(), 7);
}

#[test]
fn a_void_that_comes_before_its_answer_ends_it_once() {
    let mut shown = snapshot(&monthly(1, day(12)));
    let voided = VoidedPayment {
        transaction_id: order_id("GPA.1", 1),
        at: day(11),
        units: None,
    };
    shown.state.as_mut().unwrap().voided.push(voided);
    let decision = settle(&reach("active"), &[], &verified(shown));
    assert_eq!(events(&decision), "expired");
    let revoked = &decision.purchase;
    assert_eq!(
        (revoked.state(), revoked.revoked_at()),
        (State::Revoked, Some(day(11)))
    );
    let next = show(revoked, &[], &monthly(1, day(13)));
    assert_eq!(
        (next.purchase.state(), events(&next)),
        (State::Revoked, String::new())
    );
}

#[test]
fn a_record_has_no_payments_twice_and_reads_back() {
    let known = reach("renewed");
    let stored = serde_json::to_value(&known).unwrap();
    assert_eq!(stored["snapshot"]["state"]["periods"], json!(null));
    assert_eq!(stored["periods"].as_array().map(Vec::len), Some(2));
    assert_eq!(stored["store"], "google");
    let read: Purchase = serde_json::from_value(stored).unwrap();
    assert_eq!(read, known);
}

#[test]
fn a_record_of_dates_alone_has_none_of_the_new_fields() {
    let stored = serde_json::to_value(bought(by_dates())).unwrap();
    assert_eq!(stored.get("periods"), None);
    assert_eq!(stored["snapshot"].get("state"), None);
    assert_eq!(stored["stage"].get("halt"), None);
}

/// What an earlier release leaves of a record that it writes: it drops the fields that it does not know.
fn rewritten(known: &Purchase) -> Purchase {
    let mut stored = serde_json::to_value(known).unwrap();
    let fields = stored.as_object_mut().unwrap();
    fields.remove("periods");
    for place in ["/snapshot", "/stage", "/verified/stage"] {
        let field = stored
            .pointer_mut(place)
            .and_then(|one| one.as_object_mut());
        if let Some(field) = field {
            field.remove("state");
            field.remove("halt");
        }
    }
    serde_json::from_value(stored).unwrap()
}

#[test]
fn an_earlier_release_loses_nothing_that_is_not_shown_again() {
    for (state, name, number) in [
        ("active", State::Active, 1),
        ("renewed", State::Active, 2),
        ("off", State::Active, 1),
    ] {
        let known = rewritten(&reach(state));
        let seen = show(&known, &[], &monthly(number, day(40)));
        let expected = if state == "off" { "resumed" } else { "" };
        assert_eq!(
            (seen.purchase.state(), events(&seen)),
            (name, expected.to_owned()),
            "{state}"
        );
        let periods = seen.purchase.periods().iter().count();
        assert_eq!(u32::try_from(periods), Ok(number), "{state}");
    }
    let held = rewritten(&reach("hold"));
    assert_eq!(held.state(), State::Expired, "without access, as in a hold");
    let mut answer = monthly(1, day(50));
    answer.status = Status::Hold;
    let seen = show(&held, &[], &answer);
    assert_eq!(
        (seen.purchase.state(), events(&seen)),
        (State::AccountHold, String::new())
    );
    let recovered = show(&seen.purchase, &[Renewed], &monthly(2, day(55)));
    assert_eq!(events(&recovered), "renewed");
}

#[test]
fn the_transaction_of_a_record_is_the_order_else_the_token() {
    let known = reach("renewed");
    let data = crate::event::data(described(&known));
    assert_eq!(data["transaction_id"], "GPA.1..0");
    assert_eq!(
        (&data["billing_cycles"], &data["product_ref_id"]),
        (&json!(2), &json!("gold:monthly"))
    );
    let price = (
        &data["purchase_price"],
        &data["purchase_currency"],
        &data["price_source"],
    );
    assert_eq!(price, (&json!("4.99"), &json!("EUR"), &json!("store")));
    let pending = crate::event::data(described(&reach("pending")));
    assert_eq!(
        (&pending["transaction_id"], &pending["is_active"]),
        (&json!("receipt"), &json!(false))
    );
    assert_eq!(pending["billing_cycles"], json!(null));
}
