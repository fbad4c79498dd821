//! The states of a purchase by name: the answers that lead to each, and what Google shows in it.

use super::{monthly, settle, snapshot, verified};
use crate::decide::Decision;
use crate::event::tests::day;
use crate::notification::NotificationKind::{
    self, AutoRenewalOff, EntitlementPurchased, Expired, GraceBegan, Renewed,
    SubscriptionCancelled, SubscriptionPurchased, Unknown,
};
use crate::period::OfferPhase;
use crate::purchase::Purchase;
use crate::store_state::VoidedPayment;
use crate::stores::google::{Cancellation, PurchaseAnswer, Status};
use crate::time::{DAY, Timestamp};
use crate::verification::Snapshot;

/// Answers by which a state is reached.
pub fn history(state: &str) -> &'static [(&'static [NotificationKind], &'static str, i64)] {
    match state {
        "none" => &[],
        "seen" => &[(&[], "paid", 1)],
        "pending" => &[(&[SubscriptionPurchased], "pending", 1)],
        "fell through" => &[
            (&[SubscriptionPurchased], "pending", 1),
            (&[Unknown], "fell through", 3),
        ],
        "trial" => &[(&[SubscriptionPurchased], "trial", 1)],
        "trial off" => &[
            (&[SubscriptionPurchased], "trial", 1),
            (&[AutoRenewalOff], "trial off", 3),
        ],
        "trial grace" => &[
            (&[SubscriptionPurchased], "trial", 1),
            (&[GraceBegan], "trial grace", 8),
        ],
        "trial hold" => &[
            (&[SubscriptionPurchased], "trial", 1),
            (&[Unknown], "trial hold", 11),
        ],
        "active" => &[(&[SubscriptionPurchased], "paid", 1)],
        "renewed" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Renewed], "renewed", 31),
        ],
        "off" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[AutoRenewalOff], "off", 10),
        ],
        "grace" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[GraceBegan], "grace", 31),
        ],
        "hold" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Unknown], "hold", 34),
        ],
        "unpaid" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Unknown], "hold", 34),
            (&[AutoRenewalOff], "unpaid", 94),
        ],
        "paused" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Unknown], "paused", 31),
        ],
        "planned" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Unknown], "planned", 12),
        ],
        "instalments" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[AutoRenewalOff], "instalments", 12),
        ],
        "expired" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Expired], "expired", 31),
        ],
        "revoked" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[SubscriptionCancelled], "cut", 15),
        ],
        "voided" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Unknown], "voided", 12),
        ],
        "replaced" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Expired], "replaced", 15),
        ],
        "bought" => &[(&[EntitlementPurchased], "bought", 1)],
        "bought pending" => &[(&[EntitlementPurchased], "bought pending", 1)],
        other => panic!("no history of {other}"),
    }
}

/// What is shown by this name.
pub fn shown(name: &str, at: Timestamp) -> Snapshot {
    let mut shown = snapshot(&answer(name, at));
    let voided = |number: u32| VoidedPayment {
        transaction_id: super::order_id("GPA.1", number),
        at: at.plus_millis(-3_600_000),
        units: None,
    };
    let state = shown.state.as_mut().expect("a state");
    match name {
        "voided" | "older voided" => state.voided.push(voided(1)),
        "renewed voided" => state.voided.push(voided(2)),
        _ => {}
    }
    shown
}

fn answer(name: &str, at: Timestamp) -> PurchaseAnswer {
    let paid = || monthly(1, at);
    let ends = |status: Status, by: Cancellation, end: i64| {
        let mut answer = paid();
        answer.status = status;
        answer.cancellation = Some((by, None));
        answer.items[0].expires_at = Some(day(end));
        answer.items[0].renews = None;
        answer
    };
    let until = |status: Status, end: i64| {
        let mut answer = paid();
        answer.status = status;
        answer.items[0].expires_at = Some(day(end));
        answer
    };
    match name {
        "paid" | "voided" => paid(),
        "renewed" | "renewed voided" | "older voided" => monthly(2, at),
        "renewed twice" => monthly(3, at),
        "recovered" => {
            let mut answer = monthly(2, at);
            answer.items[0].expires_at = Some(at.plus(DAY * 30));
            answer
        }
        "deferred date" => until(Status::Active, 45),
        "grace" => until(Status::Grace, 34),
        "hold" => until(Status::Hold, 34),
        "paused" => until(Status::Paused, 30),
        "off" => ends(Status::Canceled, Cancellation::User, 30),
        "expired" => ends(Status::Expired, Cancellation::User, 30),
        "unpaid" => ends(Status::Expired, Cancellation::System, 94),
        "cut" => ends(Status::Expired, Cancellation::User, 15),
        "replaced" => ends(Status::Expired, Cancellation::Replacement, 15),
        "instalments" | "instalments renewed" => {
            let mut answer = monthly(if name == "instalments" { 1 } else { 2 }, at);
            answer.items[0].ends_after_commitment = true;
            answer
        }
        "pending" | "fell through" => {
            let mut answer = paid();
            answer.status = if name == "pending" {
                Status::Pending
            } else {
                Status::PendingCanceled
            };
            answer.started_at = None;
            answer.items[0].expires_at = None;
            answer.items[0].order = None;
            answer.orders.clear();
            answer
        }
        "other parts" | "planned" | "changed" => super::answers::parts(name, at),
        name if name.starts_with("trial") || name == "converted" => trial(name, at),
        name => super::answers::one_time(name, at),
    }
}

/// A purchase that began with seven free days.
fn trial(name: &str, at: Timestamp) -> PurchaseAnswer {
    let is_converted = name == "converted";
    let mut answer = monthly(if is_converted { 2 } else { 1 }, at);
    let (status, end) = match name {
        "trial" => (Status::Active, 7),
        "trial off" => (Status::Canceled, 7),
        "trial grace" => (Status::Grace, 10),
        "trial hold" => (Status::Hold, 10),
        "trial expired" => (Status::Expired, 7),
        "trial unpaid" => (Status::Expired, 67),
        "trial cut" => (Status::Expired, 5),
        _ => (Status::Active, 37),
    };
    answer.status = status;
    answer.items[0].expires_at = Some(day(end));
    if !is_converted {
        answer.items[0].phase = Some(OfferPhase::Trial);
        answer.orders.truncate(1);
    }
    answer.orders[0].phase = Some(OfferPhase::Trial);
    answer.orders[0].total = "0".parse().ok();
    answer.orders[0].paid_until = Some(day(7));
    answer
}

/// The purchase in a state.
pub fn reach(state: &str) -> Purchase {
    let steps = history(state).iter();
    steps.fold(Purchase::default(), |known, (kinds, name, at)| {
        decided(&known, kinds, name, *at).purchase
    })
}

/// Settles a purchase by reports and by what is shown by this name on that day.
pub fn decided(known: &Purchase, kinds: &[NotificationKind], name: &str, at: i64) -> Decision {
    let time = day(at).plus_millis(-60_000);
    let reported: Vec<_> = kinds
        .iter()
        .map(|kind| super::report(*kind, time))
        .collect();
    settle(known, &reported, &verified(shown(name, day(at))))
}
