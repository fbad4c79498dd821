//! The mappings, the snapshots of answers, and what is decided from them.

mod answers;
mod arrows;
mod beginnings;
mod cases;
mod changes;
mod duties;
mod lives;
mod mappings;
mod refunds;
mod signs;
mod states;
mod wakes;

use crate::decide::{Decision, SettlingContext, decide};
use crate::event::tests::{day, key};
use crate::notification::{Notification, NotificationKind};
use crate::period::OfferPhase;
use crate::purchase::Purchase;
use crate::stores::google::{ItemAnswer, OrderAnswer, OrderState, PurchaseAnswer, Status};
use crate::stores::tests::by_state;
use crate::time::{DAY, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::{Product, Snapshot, Verification};

/// A monthly plan that was paid `number` times, as it is shown on this day. A month has 30 days.
fn monthly(number: u32, at: Timestamp) -> PurchaseAnswer {
    PurchaseAnswer {
        at,
        is_subscription: true,
        status: Status::Active,
        started_at: Some(day(0)),
        country: Some("DE".to_owned()),
        is_acknowledged: Some(true),
        is_test: false,
        items: vec![ItemAnswer {
            product: "gold".to_owned(),
            plan: Some("monthly".to_owned()),
            expires_at: Some(day(30 * i64::from(number))),
            order: Some(order_id("GPA.1", number)),
            phase: Some(OfferPhase::Base),
            renews: Some(true),
            ..ItemAnswer::default()
        }],
        orders: (1..=number).map(order).collect(),
        cancellation: None,
        resumes_at: None,
        linked: None,
        term: None,
        listed: Product::Unknown,
    }
}

fn order_id(first: &str, number: u32) -> String {
    match number.checked_sub(2) {
        Some(renewal) => format!("{first}..{renewal}"),
        None => first.to_owned(),
    }
}

/// The order with this number, of 4.99 euros.
fn order(number: u32) -> OrderAnswer {
    let from = day(30 * (i64::from(number) - 1));
    OrderAnswer {
        id: order_id("GPA.1", number),
        state: OrderState::Processed,
        created_at: Some(from),
        total: "4.99".parse().ok(),
        currency: Some("EUR".to_owned()),
        tax: "0.80".parse().ok(),
        country: Some("DE".to_owned()),
        phase: Some(OfferPhase::Base),
        paid_from: Some(from),
        paid_until: Some(from.plus(DAY * 30)),
        refunded: None,
        refunded_at: None,
        refunded_tax: None,
    }
}

fn report(kind: NotificationKind, time: Timestamp) -> Notification {
    Notification {
        message_id: format!("{kind:?}-{time}"),
        collapse_key: key("token"),
        receipt_id: "token".to_owned(),
        kind,
        store_type: format!("{kind:?}"),
        store_time: time,
        app_user_id: None,
        related_receipt_id: None,
        is_test: false,
        voided: None,
        refunded: None,
    }
}

fn verified(snapshot: Snapshot) -> Verification {
    Verification::Verified(Box::new(snapshot))
}

fn snapshot(answer: &PurchaseAnswer) -> Snapshot {
    answer.snapshot().expect("an answer with a part")
}

/// The decision about reports and what the store answers.
fn settle(known: &Purchase, reported: &[Notification], verification: &Verification) -> Decision {
    let now = match verification {
        Verification::Verified(shown) => shown.at,
        _ => day(400),
    };
    let numbered: Vec<_> = (1..).zip(reported.iter().cloned()).collect();
    let context = SettlingContext {
        policy: by_state(),
        verification,
        is_replaced: false,
        now,
    };
    decide(known, &numbered, context)
}

/// The decision about an answer, with reports of these kinds a minute before it.
fn show(known: &Purchase, kinds: &[NotificationKind], answer: &PurchaseAnswer) -> Decision {
    let time = answer.at.plus_millis(-60_000);
    let reported: Vec<_> = kinds.iter().map(|kind| report(*kind, time)).collect();
    settle(known, &reported, &verified(snapshot(answer)))
}

/// The types of the announced events, without their common prefixes.
fn events(decision: &Decision) -> String {
    let short = |kind: TransitionKind| {
        let name = kind.event_type().trim_start_matches("user.");
        name.trim_start_matches("subscription.").to_owned()
    };
    let all = decision.transitions.iter().map(|one| short(one.kind));
    all.collect::<Vec<_>>().join(" ")
}
