//! The mappings, the snapshots of signed facts, and what is decided from them.

mod answers;
mod arrows;
mod cases;
mod lives;
mod mappings;
mod refunds;
mod states;
mod wakes;

use crate::decide::{Decision, SettlingContext, decide};
use crate::environment::Environment;
use crate::event::tests::{day, key};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::Purchase;
use crate::stores::apple::{
    Ownership, ProductKind, PurchaseFacts, Renewal, RenewalFact, SubscriptionStatus,
    TransactionCause, TransactionFact,
};
use crate::stores::tests::signed;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::Verification;

/// The period with this number of a monthly plan for 4.99 euros, signed at this time. A month has 30 days.
fn period(number: u32, at: Timestamp) -> TransactionFact {
    let number = i64::from(number);
    TransactionFact {
        signed_at: at,
        transaction_id: format!("20000{number}"),
        product: "gold".to_owned(),
        kind: ProductKind::AutoRenewable,
        bought_at: day(30 * (number - 1)),
        began_at: Some(day(0)),
        expires_at: Some(day(30 * number)),
        offer: None,
        is_free: false,
        cause: if number == 1 {
            TransactionCause::Purchase
        } else {
            TransactionCause::Renewal
        },
        ownership: Ownership::Buyer,
        price: "4.99".parse().ok(),
        currency: Some("EUR".to_owned()),
        storefront: Some("DEU".to_owned()),
        quantity: 1,
        is_upgraded: false,
        revocation: None,
        committed_until: None,
        environment: Environment::Production,
    }
}

/// A running subscription that renews.
fn renewing(at: Timestamp) -> RenewalFact {
    RenewalFact {
        signed_at: at,
        status: Some(SubscriptionStatus::Active),
        renewal: Some(Renewal {
            product: "gold".to_owned(),
            next_product: Some("gold".to_owned()),
            is_on: true,
            renews_at: None,
            intent: None,
            is_retried: false,
            grace_ends_at: None,
            began_at: Some(day(0)),
            committed_until: None,
        }),
    }
}

/// What one message shows: a transaction and the state.
fn message(transaction: TransactionFact, state: RenewalFact) -> PurchaseFacts {
    PurchaseFacts {
        transactions: vec![transaction],
        renewals: vec![state],
        ..PurchaseFacts::default()
    }
}

/// The plan that was paid this many times and renews.
fn monthly(number: u32, at: Timestamp) -> PurchaseFacts {
    message(period(number, at), renewing(at))
}

/// Several messages.
fn together(all: &[PurchaseFacts]) -> PurchaseFacts {
    let mut facts = PurchaseFacts::default();
    for one in all {
        facts.transactions.extend(one.transactions.iter().cloned());
        facts.renewals.extend(one.renewals.iter().cloned());
        facts.counted = facts.counted.max(one.counted);
    }
    facts
}

/// Returns the renewal information of a message.
fn renewal(facts: &mut PurchaseFacts) -> &mut Renewal {
    let state = facts.renewals.first_mut().expect("a state");
    state.renewal.as_mut().expect("renewal information")
}

fn report(kind: NotificationKind, time: Timestamp) -> Notification {
    Notification {
        message_id: format!("{kind:?}-{time}"),
        collapse_key: key("20000"),
        receipt_id: "20000".to_owned(),
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

/// The decision about reports and what was signed.
fn settle(known: &Purchase, reported: &[Notification], facts: &PurchaseFacts) -> Decision {
    let shown = facts.snapshot(Some(known)).expect("a transaction");
    let now = shown.at;
    let verification = Verification::Verified(Box::new(shown));
    let numbered: Vec<_> = (1..).zip(reported.iter().cloned()).collect();
    let context = SettlingContext {
        policy: signed(),
        verification: &verification,
        is_replaced: false,
        now,
    };
    decide(known, &numbered, context)
}

/// The decision about what was signed, with reports of these kinds a minute before this time.
fn show(
    known: &Purchase,
    kinds: &[NotificationKind],
    facts: &PurchaseFacts,
    at: Timestamp,
) -> Decision {
    let time = at.plus_millis(-60_000);
    let reported: Vec<_> = kinds.iter().map(|kind| report(*kind, time)).collect();
    settle(known, &reported, facts)
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
