//! Which transitions are payments, and the sums of the ledger.

use super::{
    Adjustment, EntryKind, LedgerEntry, Payment, RecordedPrice, RefundStatus, Sale, SaleKind,
    UnknownPrice, adjustments, charges, keep_price, matches, payments, reach, refund_status,
    refunded, report_price,
};
use crate::catalogue::PriceSource;
use crate::event::tests::{day, known, monthly};
use crate::notification::NotificationKind;
use crate::purchase::Purchase;
use crate::time::{DAY, Timestamp};
use crate::transition::{Transition, TransitionKind};
use crate::verification::{EndReason, Product, Snapshot, Verification};
use rust_decimal::Decimal;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

fn shown(kinds: &[NotificationKind], snapshot: Snapshot) -> Purchase {
    known(kinds, &Verification::Verified(Box::new(snapshot)))
}

fn bought() -> Purchase {
    shown(&[NotificationKind::SubscriptionPurchased], monthly())
}

/// Returns transitions in terms: one that pays a term after another one begins the next term.
fn happened(kinds: &[(TransitionKind, u64)]) -> Vec<Transition> {
    kinds
        .iter()
        .map(|(what, cycle)| Transition {
            kind: *what,
            at: Some(day(1)),
            cycle: Some(*cycle),
        })
        .collect()
}

/// Kind, number, the indices of the transitions that announce the payment, and whether its price is that of the record.
type Found = (EntryKind, i64, usize, Option<usize>, bool);
/// Transitions, and the payments among them.
type Case<'a> = (&'a [(TransitionKind, u64)], &'a [Found]);

fn found(kinds: &[(TransitionKind, u64)], purchase: &Purchase, paid: &[i64]) -> Vec<Found> {
    let paid: BTreeSet<i64> = paid.iter().copied().collect();
    let shown = |one: Payment| {
        (
            one.kind,
            one.number,
            one.index,
            one.other_index,
            one.is_priced,
        )
    };
    payments(&happened(kinds), purchase, &paid)
        .into_iter()
        .map(shown)
        .collect()
}

#[test]
fn each_term_is_paid_once_by_the_event_that_announces_it() {
    use EntryKind::{Initial, Recovery, Renewal, TrialConversion};
    use TransitionKind::{
        Cancelled, Expired, GraceBegan, PlanChangeScheduled, PlanChanged, Purchased, Recovered,
        Renewed,
    };
    use TransitionKind::{TrialConverted, TrialDidNotConvert, TrialStarted};
    let purchase = bought();
    let rows: &[Case<'_>] = &[
        (&[(Purchased, 1)], &[(Initial, 1, 0, None, true)]),
        (&[(TrialStarted, 1), (Purchased, 1)], &[]),
        (
            &[
                (TrialStarted, 1),
                (Purchased, 1),
                (TrialConverted, 1),
                (Renewed, 1),
            ],
            &[(TrialConversion, 1, 2, Some(3), true)],
        ),
        (
            &[(TrialConverted, 1), (Renewed, 1)],
            &[(TrialConversion, 1, 0, Some(1), true)],
        ),
        (
            &[(TrialConverted, 1), (Recovered, 1)],
            &[(TrialConversion, 1, 0, Some(1), true)],
        ),
        (
            &[(TrialConverted, 1), (Renewed, 1), (Renewed, 2)],
            &[
                (TrialConversion, 1, 0, Some(1), true),
                (Renewal, 2, 2, None, true),
            ],
        ),
        (
            &[(TrialConverted, 4)],
            &[(TrialConversion, 4, 0, None, true)],
        ),
        (
            &[(Renewed, 2), (Renewed, 3)],
            &[(Renewal, 2, 0, None, true), (Renewal, 3, 1, None, true)],
        ),
        (
            &[(Renewed, 2), (Renewed, 2)],
            &[(Renewal, 2, 0, None, true)],
        ),
        (
            &[(Renewed, 2), (Recovered, 2)],
            &[(Renewal, 2, 0, None, true)],
        ),
        (
            &[(Renewed, 2), (Renewed, 3), (PlanChanged, 3)],
            &[(Renewal, 2, 0, None, false), (Renewal, 3, 1, None, true)],
        ),
        (
            &[(Renewed, 2), (PlanChanged, 2), (Renewed, 3)],
            &[(Renewal, 2, 0, None, true), (Renewal, 3, 2, None, true)],
        ),
        (
            &[(GraceBegan, 1), (Recovered, 2)],
            &[(Recovery, 2, 1, None, true)],
        ),
        (&[(PlanChanged, 2)], &[]),
        (&[(PlanChangeScheduled, 2)], &[]),
        (
            &[(Cancelled, 2), (TrialDidNotConvert, 2), (Expired, 2)],
            &[],
        ),
    ];
    for (kinds, expected) in rows {
        assert_eq!(found(kinds, &purchase, &[]), *expected, "{kinds:?}");
    }
}

#[test]
fn a_term_that_is_paid_is_not_paid_again_by_any_event() {
    let purchase = bought();
    for what in [
        TransitionKind::Renewed,
        TransitionKind::Recovered,
        TransitionKind::TrialConverted,
        TransitionKind::Purchased,
    ] {
        assert_eq!(found(&[(what, 2)], &purchase, &[1, 2]), [], "{what:?}");
        assert_eq!(found(&[(what, 3)], &purchase, &[1, 2]).len(), 1, "{what:?}");
    }
}

#[test]
fn terms_that_cannot_be_counted_are_numbered_below_0() {
    let unknown = |what| Transition {
        kind: what,
        at: None,
        cycle: None,
    };
    let reported = [
        unknown(TransitionKind::Renewed),
        unknown(TransitionKind::Renewed),
    ];
    let numbers = |paid: &[i64]| {
        let paid: BTreeSet<i64> = paid.iter().copied().collect();
        payments(&reported, &bought(), &paid)
            .iter()
            .map(|one| one.number)
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&[]), [-1, -2]);
    assert_eq!(numbers(&[-2, -1, 1, 2]), [-3, -4]);
    assert_eq!(numbers(&[3]), [-1, -2]);
}

#[test]
fn a_one_time_purchase_is_paid_once_however_often_reported() {
    let consumable = Snapshot {
        product: Product::Consumable,
        term: None,
        renews_at: None,
        ..monthly()
    };
    let purchase = shown(&[NotificationKind::ConsumablePurchased], consumable);
    let reported = [Transition {
        kind: TransitionKind::Purchased,
        at: None,
        cycle: None,
    }];
    let numbers =
        |paid: &[i64]| payments(&reported, &purchase, &paid.iter().copied().collect()).len();
    assert_eq!((numbers(&[]), numbers(&[1])), (1, 0));
    assert_eq!(reach(&purchase), Duration::MAX);
}

#[test]
fn an_immediate_plan_change_is_a_payment_unless_it_is_a_trial() {
    let change = [(TransitionKind::PlanChanged, 1)];
    let changed = shown(&[NotificationKind::PlanChanged], monthly());
    assert_eq!(
        found(&change, &changed, &[]),
        [(EntryKind::PlanChange, 1, 0, None, true)]
    );
    assert_eq!(found(&change, &changed, &[1]), [], "it was paid already");
    let beside = found(&change, &bought(), &[]);
    assert_eq!(
        beside,
        [(EntryKind::PlanChange, 1, 0, None, true)],
        "bought beside the one that it continues"
    );
    let both = [
        (EntryKind::PlanChange, 1, 0, None, true),
        (EntryKind::Renewal, 2, 1, None, true),
    ];
    for purchase in [&bought(), &changed] {
        assert_eq!(
            found(
                &[
                    (TransitionKind::PlanChanged, 1),
                    (TransitionKind::Renewed, 2)
                ],
                purchase,
                &[]
            ),
            both,
            "each term is paid"
        );
    }
    let same = found(
        &[
            (TransitionKind::Renewed, 1),
            (TransitionKind::PlanChanged, 1),
        ],
        &bought(),
        &[],
    );
    assert_eq!(
        same,
        [(EntryKind::Renewal, 1, 0, None, true)],
        "the first term is paid once"
    );
    assert_eq!(
        found(&[(TransitionKind::PlanChanged, 2)], &bought(), &[1]),
        [],
        "a scheduled change is paid with its renewal"
    );
    let trial = Snapshot {
        trial_ends_at: Some(day(40)),
        renews_at: Some(day(40)),
        ..monthly()
    };
    assert_eq!(
        found(
            &change,
            &shown(&[NotificationKind::PlanChanged], trial),
            &[]
        ),
        []
    );
    assert_eq!(
        found(
            &[
                (TransitionKind::TrialStarted, 1),
                (TransitionKind::PlanChanged, 1)
            ],
            &changed,
            &[]
        ),
        []
    );
}

#[test]
fn a_price_that_is_not_known_has_its_reason() {
    let why = |data| UnknownPrice::of(&data).map(UnknownPrice::as_str);
    assert_eq!(why(json!({"price_in_usd": "1.00"})), None);
    assert_eq!(
        why(json!({"price_in_usd": null, "purchase_price": "1.00"})),
        Some("no_rate")
    );
    assert_eq!(
        why(json!({"product_ref_id": null})),
        Some("product_unknown")
    );
    assert_eq!(
        why(json!({"product_ref_id": "x", "is_in_intro_offer_period": true})),
        Some("promotion")
    );
    assert_eq!(
        why(json!({"product_ref_id": "x", "offer_type": "retention"})),
        Some("promotion")
    );
    let no_offer =
        json!({"product_ref_id": "x", "is_in_intro_offer_period": false, "offer_type": null});
    assert_eq!(why(no_offer), Some("not_listed"));
}

#[test]
fn the_refund_status_follows_what_the_store_shows() {
    assert_eq!(refund_status(&bought()), RefundStatus::Valid);
    let expired = |reason| Snapshot {
        at: day(16),
        ends_at: Some(day(15)),
        end_reason: Some(reason),
        renews_at: None,
        auto_renewing: Some(false),
        ..monthly()
    };
    let reported = [
        NotificationKind::SubscriptionPurchased,
        NotificationKind::SubscriptionCancelled,
    ];
    assert_eq!(
        refund_status(&shown(&reported, expired(EndReason::Customer))),
        RefundStatus::Refunded(day(15))
    );
    // A change of plan refunds a part of the payment, which only the sales report shows.
    assert_eq!(
        refund_status(&shown(&reported, expired(EndReason::Replaced))),
        RefundStatus::Unknown
    );
    assert_eq!(
        refund_status(&shown(&reported, expired(EndReason::Pending))),
        RefundStatus::Unknown
    );
    assert_eq!(refund_status(&Purchase::default()), RefundStatus::Unknown);
}

fn usd(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn entry(number: i64, kind: EntryKind, amount: Option<&str>) -> LedgerEntry {
    LedgerEntry {
        number,
        kind,
        at: day(number * 30),
        usd: amount.map(usd),
        transaction_id: None,
        is_by_rate: false,
    }
}

fn sale(id: &str, kind: SaleKind, days: i64, amount: &str) -> Sale {
    Sale {
        transaction_id: id.to_owned(),
        kind,
        at: day(days),
        price: usd(amount),
        currency: "USD".to_owned(),
        usd: Some(usd(amount)),
        conversion: None,
    }
}

fn adjusted(
    booked: &[LedgerEntry],
    sales: &[Sale],
    refund_status: RefundStatus,
) -> Vec<(i64, EntryKind, String)> {
    let shown = |one: Adjustment| (one.number, one.kind, one.usd.to_string());
    adjustments(booked, sales, refund_status, 15 * DAY)
        .into_iter()
        .map(shown)
        .collect()
}

#[test]
fn a_refund_reverts_the_newest_payment_once_and_can_be_undone() {
    use EntryKind::{Initial, Refund, Renewal, Restored};
    let paid = [
        entry(1, Initial, Some("9.99")),
        entry(2, Renewal, Some("9.99")),
    ];
    let back = RefundStatus::Refunded(day(62));
    assert_eq!(adjusted(&paid, &[], RefundStatus::Valid), []);
    assert_eq!(
        adjusted(&paid, &[], back),
        [(2, Refund, "-9.99".to_owned())]
    );
    let mut refunded = paid.to_vec();
    refunded.push(entry(2, Refund, Some("-9.99")));
    for refund_status in [back, RefundStatus::Unknown] {
        assert_eq!(
            adjusted(&refunded, &[], refund_status),
            [],
            "{refund_status:?}"
        );
    }
    assert_eq!(
        adjusted(&refunded, &[], RefundStatus::Valid),
        [(2, Restored, "9.99".to_owned())]
    );
    let mut valid = refunded.clone();
    valid.push(entry(2, Restored, Some("9.99")));
    assert_eq!(adjusted(&valid, &[], RefundStatus::Valid), []);
    assert_eq!(
        adjusted(&valid, &[], back),
        [(2, Refund, "-9.99".to_owned())]
    );
    // A later payment does not restore an earlier, refunded one.
    refunded.push(entry(3, Renewal, Some("9.99")));
    assert_eq!(adjusted(&refunded, &[], RefundStatus::Valid), []);
}

#[test]
fn what_was_never_earned_is_not_refunded() {
    let unknown = [entry(1, EntryKind::Initial, None)];
    assert_eq!(adjusted(&unknown, &[], RefundStatus::Refunded(day(31))), []);
    assert_eq!(adjusted(&[], &[], RefundStatus::Refunded(day(31))), []);
}

#[test]
fn a_report_corrects_a_price_once_before_and_after_a_refund() {
    use EntryKind::{Correction, Initial, Refund};
    let charge = [sale("t1", SaleKind::Charge, 30, "8.49")];
    let mut booked = vec![entry(1, Initial, Some("9.99"))];
    assert_eq!(
        adjusted(&booked, &charge, RefundStatus::Valid),
        [(1, Correction, "-1.50".to_owned())]
    );
    booked.push(LedgerEntry {
        transaction_id: Some("t1".to_owned()),
        ..entry(1, Correction, Some("-1.50"))
    });
    assert_eq!(adjusted(&booked, &charge, RefundStatus::Valid), []);
    let back = RefundStatus::Refunded(day(40));
    assert_eq!(
        adjusted(&booked, &charge, back),
        [(1, Refund, "-8.49".to_owned())]
    );
    // The refund came first, and reverted the whole payment regardless of its price.
    let refunded = [
        entry(1, Initial, Some("9.99")),
        entry(1, Refund, Some("-9.99")),
    ];
    assert_eq!(adjusted(&refunded, &charge, back), []);
    assert_eq!(
        adjusted(&[entry(1, Initial, None)], &charge, RefundStatus::Valid),
        [(1, Correction, "8.49".to_owned())]
    );
}

#[test]
fn a_refund_of_the_report_is_exact_and_wins_over_the_store() {
    use EntryKind::{Correction, Initial, Refund};
    let sales = [
        sale("t1", SaleKind::Charge, 30, "9.99"),
        sale("t2", SaleKind::Refund, 45, "4.00"),
    ];
    let mut booked = vec![entry(1, Initial, Some("9.99"))];
    assert_eq!(
        adjusted(&booked, &sales, RefundStatus::Unknown),
        [(1, Refund, "-4.00".to_owned())]
    );
    booked.push(entry(1, Refund, Some("-4.00")));
    for refund_status in [
        RefundStatus::Unknown,
        RefundStatus::Valid,
        RefundStatus::Refunded(day(45)),
    ] {
        assert_eq!(
            adjusted(&booked, &sales, refund_status),
            [],
            "{refund_status:?}"
        );
    }
    let whole = [
        entry(1, Initial, Some("9.99")),
        entry(1, Refund, Some("-9.99")),
    ];
    assert_eq!(
        adjusted(&whole, &sales, RefundStatus::Unknown),
        [(1, Correction, "5.99".to_owned())]
    );
    let back = [
        sale("t1", SaleKind::Charge, 30, "9.99"),
        sale("t1", SaleKind::Chargeback, 45, "9.99"),
    ];
    assert_eq!(
        adjusted(
            &[entry(1, Initial, Some("9.99"))],
            &back,
            RefundStatus::Valid
        ),
        [(1, Refund, "-9.99".to_owned())]
    );
}

#[test]
fn a_charge_belongs_to_the_nearest_payment_and_each_has_one() {
    use EntryKind::{Initial, Renewal};
    let booked = [
        entry(1, Initial, Some("9.99")),
        entry(2, Renewal, Some("9.99")),
        entry(3, Renewal, Some("9.99")),
    ];
    let sales = [
        sale("a", SaleKind::Charge, 0, "1"),
        sale("b", SaleKind::Charge, 31, "2"),
        sale("c", SaleKind::Charge, 32, "3"),
        sale("d", SaleKind::Charge, 89, "4"),
        sale("e", SaleKind::Refund, 91, "4"),
        sale("f", SaleKind::Refund, 3, "4"),
    ];
    let half_a_month = 15 * DAY;
    assert_eq!(
        matches(&booked, &sales, half_a_month),
        [None, Some(1), None, Some(3), Some(3), None]
    );
    let ids: Vec<_> = charges(&booked, &sales, half_a_month)
        .into_iter()
        .map(|(number, sale)| (number, sale.transaction_id))
        .collect();
    assert_eq!(ids, [(1, "b".to_owned()), (3, "d".to_owned())]);
    assert_eq!(reach(&bought()), half_a_month);
}

#[test]
fn a_charge_without_a_rate_corrects_nothing_yet() {
    let booked = [entry(1, EntryKind::Initial, Some("9.99"))];
    let euros = [Sale {
        currency: "EUR".to_owned(),
        usd: None,
        ..sale("t1", SaleKind::Charge, 30, "8.49")
    }];
    assert_eq!(adjusted(&booked, &euros, RefundStatus::Valid), []);
    let mut data = json!({"purchase_price": "9.99", "price_in_usd": "9.99", "price_source": "catalogue", "x": 1});
    report_price(&mut data, &euros[0]);
    let expected = json!({"purchase_price": "8.49", "purchase_currency": "EUR", "price_in_usd": null,
        "transaction_id": "t1", "price_source": "report", "x": 1});
    assert_eq!(data, expected);
}

#[test]
fn what_is_refunded_of_a_payment_is_the_sum_of_its_changes() {
    let entry = |number, kind, at: i64, usd: &str| LedgerEntry {
        number,
        kind,
        at: Timestamp::from_micros(at),
        usd: Some(usd.parse().unwrap()),
        transaction_id: None,
        is_by_rate: false,
    };
    let paid = [
        entry(0, EntryKind::Initial, 1, "9.99"),
        entry(1, EntryKind::Renewal, 2, "9.99"),
    ];
    let with = |more: &[LedgerEntry]| [paid.to_vec(), more.to_vec()].concat();
    assert_eq!(refunded(&with(&[]), 1), None);
    let (part, rest) = (
        entry(1, EntryKind::Refund, 3, "-4.00"),
        entry(1, EntryKind::Refund, 4, "-5.99"),
    );
    let both = refunded(&with(&[part.clone(), rest.clone()]), 1).expect("a refund");
    assert_eq!(
        (both.usd.to_string().as_str(), both.at),
        ("9.99", Timestamp::from_micros(4))
    );
    assert_eq!(
        refunded(&with(std::slice::from_ref(&part)), 0),
        None,
        "it is of another payment"
    );
    let restored = entry(1, EntryKind::Restored, 5, "4.00");
    assert_eq!(
        refunded(&with(&[part, restored]), 1),
        None,
        "it is valid again"
    );
}

#[test]
fn a_recorded_price_outranks_the_present_list() {
    let paid = |usd: Option<&str>| RecordedPrice {
        sku: Some("gold".to_owned()),
        price: "8.99".parse().unwrap(),
        currency: "EUR".to_owned(),
        usd: usd.map(|usd| usd.parse().unwrap()),
        source: PriceSource::Device,
    };
    let fields = [
        "purchase_price",
        "purchase_currency",
        "price_in_usd",
        "price_source",
    ];
    let with = |listed: [&str; 3], usd| {
        let [price, currency, in_usd] = listed;
        let mut data = json!({
            "product_ref_id": "gold", "purchase_price": price, "purchase_currency": currency, "price_in_usd": in_usd,
            "price_source": "catalogue",
        });
        keep_price(&mut data, &paid(usd));
        fields
            .map(|field| data[field].as_str().unwrap_or("-").to_owned())
            .join(" ")
    };
    assert_eq!(
        with(["9.99", "USD", "9.99"], Some("9.89")),
        "8.99 EUR 9.89 device"
    );
    assert_eq!(
        with(["8.99", "EUR", "9.90"], Some("9.89")),
        "8.99 EUR 9.89 device"
    );
    assert_eq!(
        with(["8.99", "EUR", "9.90"], None),
        "8.99 EUR 9.90 device",
        "the rate is known now"
    );
    assert_eq!(
        with(["9.99", "USD", "9.99"], None),
        "8.99 EUR - device",
        "it is the rate of another price"
    );
    assert!(paid(None).is_of(&json!({ "product_ref_id": "gold" })));
    assert!(
        !paid(None).is_of(&json!({ "product_ref_id": "silver" })) && !paid(None).is_of(&json!({}))
    );
}
