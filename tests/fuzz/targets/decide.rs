//! Any notifications with any answers of the store. Each line of the input is a window: the answer and the elapsed
//! time, four bytes for the receipt that the store shows, then two bytes per notification.
//!
//! The checked laws are those under "What always holds" in `workflows/domain/README.md`; the domain's own tests check
//! them for unverified purchases.

use domain::verification::{EndReason, Product, Term, Unit};
use domain::{
    CollapseKey, Decision, Notification, NotificationKind, Outcome, Parked, PlatformId, Purchase,
    SettlingContext, Snapshot, State, Timestamp, Transition, TransitionKind, Verification, decide,
};
use std::time::Duration;

const DAY_MS: i64 = 24 * 3_600_000;
/// Minutes that elapse before a window.
const PASSED: [i64; 8] = [0, 1, 10, 60, 121, 1_440, 10_080, 44_640];
const KINDS: [NotificationKind; 20] = [
    NotificationKind::SubscriptionPurchased,
    NotificationKind::Renewed,
    NotificationKind::AutoRenewalOff,
    NotificationKind::AutoRenewalOn,
    NotificationKind::SubscriptionCancelled,
    NotificationKind::Expired,
    NotificationKind::GraceBegan,
    NotificationKind::OutOfGrace,
    NotificationKind::TrialConverted,
    NotificationKind::PlanChanged,
    NotificationKind::PlanChangeScheduled,
    NotificationKind::ScheduledToEnd,
    NotificationKind::Replaced,
    NotificationKind::ConsumablePurchased,
    NotificationKind::ConsumableCancelled,
    NotificationKind::EntitlementPurchased,
    NotificationKind::EntitlementCancelled,
    NotificationKind::Adopted,
    NotificationKind::Claimed,
    NotificationKind::Unknown,
];
/// Transitions announced at most once per term; plans and switches may change back and forth.
const ONCE: [TransitionKind; 4] = [
    TransitionKind::Purchased,
    TransitionKind::TrialStarted,
    TransitionKind::TrialConverted,
    TransitionKind::Renewed,
];
/// Maximum size of a stored purchase, in bytes: the number of its reports is limited for each kind.
const MAX_BYTES: usize = 64 * 1024;

pub fn check(data: &[u8]) {
    let (mut known, mut now, mut seq) = (Purchase::default(), day(0), 0);
    for line in data.split(|byte| *byte == b'\n').take(16) {
        let [answer, passed, shown @ ..] = line else {
            continue;
        };
        now = now.plus_millis(PASSED[usize::from(*passed) % PASSED.len()] * 60_000);
        let (receipt, reported) = shown.split_at(shown.len().min(4));
        let verification = verification(*answer, receipt, now);
        // Other bytes are receipts that no store shows, with reports from the future.
        let is_plausible = answer.is_ascii_alphanumeric();
        let reported = reported.chunks_exact(2).take(24).map(|pair| {
            let latest = if is_plausible {
                now
            } else {
                Timestamp::from_micros(i64::MAX)
            };
            notification(pair[0], pair[1], latest)
        });
        let notifications: Vec<(i64, Notification)> = (seq..).zip(reported).collect();
        seq += 24;
        let context = SettlingContext {
            policy: domain::StorePolicy::default(),
            verification: &verification,
            is_replaced: false,
            now,
        };
        let decision = window(&known, &notifications, context);
        if is_plausible {
            replayed(&notifications, &decision, context);
        }
        known = decision.purchase;
    }
}

/// Settles a window.
fn window(
    known: &Purchase,
    notifications: &[(i64, Notification)],
    context: SettlingContext<'_>,
) -> Decision {
    let decision = decide(known, notifications, context);
    let shown = || format!("{known:?}\n{notifications:?}\n{context:?}\n{decision:?}");
    outcomes(notifications, &decision);
    let stored = serde_json::to_string(&decision).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Decision>(&stored).expect("a decision"),
        decision,
        "{stored}"
    );
    assert!(
        serde_json::to_string(&decision.purchase).is_ok_and(|text| text.len() <= MAX_BYTES),
        "{}",
        shown()
    );
    assert!(
        decision.wake.is_none_or(|wake| wake > context.now),
        "{}",
        shown()
    );
    let is_final = known.state() == State::Replaced;
    assert!(
        !is_final || decision.purchase.state() == State::Replaced,
        "{}",
        shown()
    );

    let again = notifications
        .iter()
        .rev()
        .chain(notifications)
        .map(|(_, one)| one.clone());
    let shuffled = decide(known, &(1..).zip(again).collect::<Vec<_>>(), context);
    assert_eq!(
        (&shuffled.purchase, &shuffled.transitions),
        (&decision.purchase, &decision.transitions),
        "{}",
        shown()
    );
    assert_eq!(
        (shuffled.wake, shuffled.waits),
        (decision.wake, decision.waits),
        "{}",
        shown()
    );

    unknown(known, notifications, context);
    decision
}

/// Checks the same window with the same answer again: no term is announced twice; without an answer nothing is
/// announced, and with a contradictory answer nothing after the first repetition.
fn replayed(
    notifications: &[(i64, Notification)],
    decision: &Decision,
    context: SettlingContext<'_>,
) {
    let again = decide(&decision.purchase, notifications, context);
    let shown = || {
        format!(
            "{:?}, {notifications:?}\n{context:?}\n{decision:?}",
            again.transitions
        )
    };
    let is_repeated = |one: &Transition| {
        let same = |first: &Transition| (first.kind, first.cycle) == (one.kind, one.cycle);
        one.cycle.is_some() && ONCE.contains(&one.kind) && decision.transitions.iter().any(same)
    };
    assert!(
        !again.transitions.iter().any(is_repeated),
        "announced twice: {}",
        shown()
    );
    assert!(
        context.verification.is_answer() || again.transitions.is_empty(),
        "{}",
        shown()
    );
    let third = decide(&again.purchase, notifications, context).transitions;
    assert!(
        third.is_empty(),
        "announced again and again: {third:?}, {}",
        shown()
    );
}

/// Checks that each notification has one outcome, or waits for something.
fn outcomes(notifications: &[(i64, Notification)], decision: &Decision) {
    let mut decided: Vec<i64> = decision.outcomes.iter().map(|(seq, _)| *seq).collect();
    decided.sort_unstable();
    decided.dedup();
    assert_eq!(decided.len(), decision.outcomes.len(), "{decision:?}");
    assert_eq!(
        decision.waits.is_some(),
        decided.len() < notifications.len(),
        "{notifications:?} {decision:?}"
    );
    for (seq, outcome) in &decision.outcomes {
        let (_, one) = notifications
            .iter()
            .find(|(known, _)| known == seq)
            .expect("one of the window");
        assert_eq!(
            *outcome == Outcome::Unknown,
            one.kind == NotificationKind::Unknown,
            "{one:?} {decision:?}"
        );
    }
}

/// Checks that a notification of an unknown kind changes nothing by itself.
fn unknown(known: &Purchase, notifications: &[(i64, Notification)], context: SettlingContext<'_>) {
    let others: Vec<_> = notifications
        .iter()
        .filter(|(_, one)| one.kind != NotificationKind::Unknown)
        .cloned()
        .collect();
    let (without, with) = (
        decide(known, &others, context),
        decide(known, notifications, context),
    );
    assert_eq!(
        without.transitions, with.transitions,
        "{known:?} {notifications:?} {context:?}"
    );
    // For an unknown purchase, it is a reason to record what the store shows, while an end alone would wait.
    if known.state() != State::Unknown {
        assert_eq!(
            without.purchase.state(),
            with.purchase.state(),
            "{known:?} {notifications:?} {context:?}"
        );
    }
}

fn day(days: i64) -> Timestamp {
    let first: Timestamp = "2026-01-10T00:00:00Z".parse().expect("a time");
    first.plus_millis(days * DAY_MS)
}

/// Parses a date: `0` is the first day, `1` the next one; `-` is none.
fn date(byte: Option<&u8>) -> Option<Timestamp> {
    byte.filter(|byte| **byte != b'-')
        .map(|byte| day(i64::from(*byte) - i64::from(b'0')))
}

fn notification(kind: u8, at: u8, latest: Timestamp) -> Notification {
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    let platform = PlatformId::new(uuid::Uuid::nil());
    Notification {
        message_id: format!("{kind:?}-{at}"),
        collapse_key: CollapseKey::of(platform, "receipt"),
        receipt_id: "receipt".to_owned(),
        kind,
        store_type: format!("{kind:?}"),
        store_time: date(Some(&at)).unwrap_or_default().min(latest),
        app_user_id: Some("customer".to_owned()),
        related_receipt_id: at.is_multiple_of(7).then(|| "other".to_owned()),
        is_test: false,
        voided: None,
        refunded: None,
    }
}

/// Returns the answer for a byte: letters for the special answers, digits for receipts.
fn verification(answer: u8, receipt: &[u8], now: Timestamp) -> Verification {
    match answer {
        b'G' => Verification::Gone,
        b'U' => Verification::Unverifiable,
        b'D' => Verification::Unreachable { since: now },
        b'L' => Verification::Unreachable {
            since: now.minus(Duration::from_secs(90_000)),
        },
        b'P' => Verification::Parked(Parked::UnknownReceipt),
        b'B' => Verification::Parked(Parked::Believable),
        b'W' => Verification::Parked(Parked::WrongCustomer),
        other => Verification::Verified(Box::new(snapshot(other, receipt, now))),
    }
}

fn snapshot(product: u8, receipt: &[u8], now: Timestamp) -> Snapshot {
    let earliest = if product.is_ascii_digit() {
        day(0)
    } else {
        Timestamp::EARLIEST
    };
    let date = |at: usize| date(receipt.get(at)).map(|date| date.max(earliest));
    let (renews_at, ends_at, third) = (date(0), date(1), date(2));
    let flags = receipt.get(3).copied().unwrap_or_default();
    let product = match product % 4 {
        0 | 1 => Product::Subscription,
        2 => Product::Consumable,
        _ => Product::Unknown,
    };
    let reasons = [
        EndReason::Customer,
        EndReason::Store,
        EndReason::Replaced,
        EndReason::Pending,
    ];
    Snapshot {
        at: now,
        product,
        product_id: Some("gold".to_owned()),
        term_sku: Some(
            if flags & 32 == 0 {
                "gold-month"
            } else {
                "silver-month"
            }
            .to_owned(),
        ),
        term: (product == Product::Subscription).then_some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(day(0)),
        renews_at,
        ends_at,
        end_reason: ends_at.map(|_| reasons[usize::from(flags >> 3) % 4]),
        auto_renewing: match flags % 3 {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        },
        trial_ends_at: third.filter(|_| flags & 64 != 0),
        grace_ends_at: third.filter(|_| flags & 64 == 0),
        deferred_at: renews_at.filter(|at| flags & 128 != 0 && (*at > now || earliest < day(0))),
        deferred_sku: (flags & 128 != 0).then(|| "silver-month".to_owned()),
        ..Snapshot::default()
    }
}
