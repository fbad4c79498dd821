//! The states of a purchase by name: the messages that lead to each, and what Apple signs in it.

use super::{message, monthly, period, renewal, renewing, show, together};
use crate::decide::Decision;
use crate::event::tests::day;
use crate::notification::NotificationKind::{
    self, AutoRenewalOff, EntitlementPurchased, Expired, GraceBegan, PlanChangeScheduled, Renewed,
    SubscriptionPurchased, Unknown,
};
use crate::period::RefundExtent;
use crate::purchase::Purchase;
use crate::stores::apple::{
    Intent, OfferKind, ProductKind, PurchaseFacts, Revocation, SubscriptionStatus,
    TransactionCause, TransactionFact,
};
use crate::time::{DAY, Timestamp};

/// Messages by which a state is reached.
pub fn history(state: &str) -> &'static [(&'static [NotificationKind], &'static str, i64)] {
    match state {
        "none" => &[],
        "active" => &[(&[SubscriptionPurchased], "paid", 1)],
        "trial" => &[(&[SubscriptionPurchased], "trial", 1)],
        "trial off" => &[
            (&[SubscriptionPurchased], "trial", 1),
            (&[AutoRenewalOff], "trial off", 3),
        ],
        "off" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[AutoRenewalOff], "off", 10),
        ],
        "renewed" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Renewed], "renewed", 31),
        ],
        "grace" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[GraceBegan], "grace", 31),
        ],
        "hold" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Unknown], "hold", 31),
        ],
        "planned" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[PlanChangeScheduled], "planned", 12),
        ],
        "expired" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Expired], "expired", 31),
        ],
        "refunded" => &[
            (&[SubscriptionPurchased], "paid", 1),
            (&[Unknown], "refunded", 12),
        ],
        "bought" => &[(&[EntitlementPurchased], "bought", 1)],
        other => panic!("no history of {other}"),
    }
}

/// Returns a transaction that begins an hour before this time and lasts 30 days.
pub fn bought(id: &str, at: Timestamp) -> TransactionFact {
    let begins_at = at.plus_millis(-3_600_000);
    TransactionFact {
        transaction_id: id.to_owned(),
        bought_at: begins_at,
        expires_at: Some(begins_at.plus(DAY * 30)),
        cause: TransactionCause::Purchase,
        ..period(1, at)
    }
}

/// Returns a transaction whose price was returned an hour before this time.
pub fn refunded(transaction: TransactionFact, at: Timestamp) -> TransactionFact {
    TransactionFact {
        revocation: Some(Revocation {
            at: at.plus_millis(-3_600_000),
            extent: RefundExtent::Full,
            ends_access: true,
        }),
        ..transaction
    }
}

/// What is signed by this name.
pub fn shown(name: &str, at: Timestamp) -> PurchaseFacts {
    match name {
        "paid" | "reversed" => monthly(1, at),
        "renewed" => PurchaseFacts {
            counted: Some(2),
            ..monthly(2, at)
        },
        "renewed twice" => together(&[monthly(2, at), monthly(3, at)]),
        "recovered" => {
            let collected = TransactionFact {
                cause: TransactionCause::Renewal,
                ..bought("200002", at)
            };
            message(collected, renewing(at))
        }
        "off" => {
            let mut facts = monthly(1, at);
            renewal(&mut facts).is_on = false;
            facts
        }
        "grace" | "grace off" | "hold" | "hold off" => failed(name, at),
        "expired" => over(monthly(1, at), Intent::Customer),
        "unpaid" => over(monthly(1, at), Intent::Billing),
        "planned" => {
            let mut facts = monthly(1, at);
            renewal(&mut facts).next_product = Some("silver".to_owned());
            facts
        }
        "changed" | "upgraded" => changed(name, at),
        "again" | "again free" => again(name, at),
        "refunded" => {
            let mut facts = message(refunded(period(1, at), at), renewing(at));
            facts.renewals[0].status = Some(SubscriptionStatus::Expired);
            facts
        }
        "older refunded" => message(refunded(period(1, at), at), renewing(at)),
        "bought" | "bought refunded" => one_time(name, at),
        name => trial(name, at),
    }
}

/// A payment failed, with or without a grace period until day 34.
fn failed(name: &str, at: Timestamp) -> PurchaseFacts {
    let mut facts = monthly(1, at);
    let in_grace = name.starts_with("grace");
    let shown = renewal(&mut facts);
    shown.is_retried = true;
    shown.is_on = !name.ends_with("off");
    shown.grace_ends_at = in_grace.then(|| day(34));
    let status = if in_grace {
        SubscriptionStatus::Grace
    } else {
        SubscriptionStatus::Retry
    };
    facts.renewals[0].status = Some(status);
    facts
}

/// The subscription ended for this reason.
pub fn over(mut facts: PurchaseFacts, intent: Intent) -> PurchaseFacts {
    facts.renewals[0].status = Some(SubscriptionStatus::Expired);
    let shown = renewal(&mut facts);
    shown.is_on = intent == Intent::Billing;
    shown.intent = Some(intent);
    facts
}

/// Another product of the group, from a renewal on or at once.
fn changed(name: &str, at: Timestamp) -> PurchaseFacts {
    let transaction = match name {
        "changed" => period(2, at),
        _ => bought("upgraded", at),
    };
    let transaction = TransactionFact {
        product: "silver".to_owned(),
        ..transaction
    };
    let mut facts = message(transaction, renewing(at));
    let shown = renewal(&mut facts);
    shown.product = "silver".to_owned();
    shown.next_product = Some("silver".to_owned());
    facts
}

/// The subscription was bought again behind a lapse.
fn again(name: &str, at: Timestamp) -> PurchaseFacts {
    let mut transaction = bought("again", at);
    if name == "again free" {
        transaction.offer = Some(OfferKind::Code);
        transaction.is_free = true;
        transaction.price = None;
    }
    let began_at = transaction.bought_at;
    let mut facts = message(transaction, renewing(at));
    renewal(&mut facts).began_at = Some(began_at);
    facts
}

/// A subscription that began with seven free days.
fn trial(name: &str, at: Timestamp) -> PurchaseFacts {
    let mut transaction = period(1, at);
    transaction.expires_at = Some(day(7));
    transaction.offer = Some(OfferKind::Introductory);
    transaction.is_free = true;
    transaction.price = "0".parse().ok();
    match name {
        "trial" => message(transaction, renewing(at)),
        "trial off" => {
            let mut facts = message(transaction, renewing(at));
            renewal(&mut facts).is_on = false;
            facts
        }
        "trial expired" => over(message(transaction, renewing(at)), Intent::Customer),
        "converted" => {
            let paid = TransactionFact {
                bought_at: day(7),
                expires_at: Some(day(37)),
                ..period(2, at)
            };
            message(paid, renewing(at))
        }
        other => panic!("nothing is signed as {other}"),
    }
}

/// A product that is bought once.
fn one_time(name: &str, at: Timestamp) -> PurchaseFacts {
    let transaction = TransactionFact {
        kind: ProductKind::NonConsumable,
        expires_at: None,
        ..period(1, at)
    };
    let transaction = match name {
        "bought refunded" => refunded(transaction, at),
        _ => transaction,
    };
    PurchaseFacts {
        transactions: vec![transaction],
        ..PurchaseFacts::default()
    }
}

/// Returns facts as they are signed again at this time.
pub fn signed_again(mut facts: PurchaseFacts, at: Timestamp) -> PurchaseFacts {
    for fact in &mut facts.transactions {
        fact.signed_at = at;
    }
    for fact in &mut facts.renewals {
        fact.signed_at = at;
    }
    facts
}

/// The purchase in a state.
pub fn reach(state: &str) -> Purchase {
    let steps = history(state).iter();
    steps.fold(Purchase::default(), |known, (kinds, name, at)| {
        decided(&known, kinds, name, *at).purchase
    })
}

/// Settles a purchase by reports and by what is signed by this name on that day.
pub fn decided(known: &Purchase, kinds: &[NotificationKind], name: &str, at: i64) -> Decision {
    show(known, kinds, &shown(name, day(at)), day(at))
}
