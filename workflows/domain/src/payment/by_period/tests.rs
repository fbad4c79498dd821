use super::*;
use crate::event::tests::day;
use crate::period::{PeriodRefund, RefundExtent, RefundedPayment, missing_entries};
use crate::store_state::StoreState;
use crate::stores::tests::by_state;
use crate::verification::{Product, Snapshot};

/// A month, paid with this transaction on this day.
fn month(id: &str, from: i64) -> Period {
    Period {
        transaction_id: id.to_owned(),
        as_of: day(from),
        product: "gold".to_owned(),
        begins_at: day(from),
        ends_at: Some(day(from + 30)),
        price: "4.99".parse().ok(),
        currency: Some("EUR".to_owned()),
        ..Period::unread(id, day(from))
    }
}

fn free(id: &str, from: i64) -> Period {
    Period {
        phase: OfferPhase::Trial,
        price: "0".parse().ok(),
        ..month(id, from)
    }
}

/// A subscription whose last payment is `current`, with these periods.
fn paid(current: &str, periods: &[Period]) -> Purchase {
    let state = StoreState {
        transaction_id: Some(current.to_owned()),
        periods: periods.to_vec(),
        ..StoreState::default()
    };
    let mut purchase = Purchase::default().of_store(by_state());
    purchase.add_payments(&state);
    purchase.apply_snapshot(&Snapshot {
        at: day(100),
        product: Product::Subscription,
        purchased_at: Some(day(0)),
        state: Some(Box::new(state.without_payments())),
        ..Snapshot::default()
    });
    purchase
}

fn transitions(kinds: &[TransitionKind]) -> Vec<Transition> {
    let one = |kind: &TransitionKind| Transition {
        kind: *kind,
        at: Some(day(90)),
        cycle: Some(3),
    };
    kinds.iter().map(one).collect()
}

fn recorded(number: i64, id: Option<&str>) -> RecordedPayment {
    let amount = id.and_then(|_| "4.99".parse().ok());
    RecordedPayment {
        number,
        transaction_id: id.map(str::to_owned),
        entries: vec![PeriodEntry {
            kind: EntryKind::Renewal,
            amount,
        }],
    }
}

/// The payments: number, kind, transaction, and how it stands.
fn found(
    kinds: &[TransitionKind],
    purchase: &Purchase,
    recorded: &[RecordedPayment],
) -> Vec<String> {
    found_with(kinds, purchase, &[], recorded)
}

/// Like [`found`], with shown periods that the purchase does not have.
fn found_with(
    kinds: &[TransitionKind],
    purchase: &Purchase,
    older: &[Period],
    recorded: &[RecordedPayment],
) -> Vec<String> {
    let transitions = transitions(kinds);
    let all = period_payments(&transitions, purchase, older, recorded, &BTreeSet::new());
    all.iter()
        .map(|one| {
            let id = one.period.as_ref().map(|one| one.transaction_id.as_str());
            let standing = match one.standing {
                Standing::Recorded => "recorded".to_owned(),
                Standing::Announced { index, .. } => format!("by {index}"),
                Standing::Unannounced => "apart".to_owned(),
            };
            let kind = one.kind.as_str();
            format!("{} {kind} {} {standing}", one.number, id.unwrap_or("-"))
        })
        .collect()
}

#[test]
fn each_announced_payment_has_its_own_period() {
    let three = [month("a", 0), month("b", 30), month("c", 60)];
    let renewed = [TransitionKind::Renewed; 2];
    assert_eq!(
        found(&renewed, &paid("c", &three), &[recorded(1, Some("a"))]),
        [
            "1 renewal a recorded",
            "2 renewal b by 0",
            "3 renewal c by 1"
        ]
    );
    let all = [recorded(1, Some("a")), recorded(2, Some("b"))];
    let all = [all.as_slice(), &[recorded(3, Some("c"))]].concat();
    let again = found(&[], &paid("c", &three), &all);
    assert!(again.iter().all(|one| one.ends_with("recorded")));
}

#[test]
fn a_payment_finds_its_period_later() {
    let renewed = [TransitionKind::Renewed; 2];
    let first = [recorded(1, Some("a"))];
    // The order between the two was not read, nor was the last one.
    assert_eq!(
        found(&renewed, &paid("c", &[month("a", 0)]), &first),
        [
            "1 renewal a recorded",
            "2 renewal - by 0",
            "3 renewal c by 1"
        ]
    );
    let open = [
        recorded(1, Some("a")),
        recorded(2, None),
        recorded(3, Some("c")),
    ];
    let all = [month("a", 0), month("b", 30), month("c", 60)];
    assert_eq!(
        found(&[], &paid("c", &all), &open),
        [
            "1 renewal a recorded",
            "3 renewal c recorded",
            "2 renewal b recorded"
        ]
    );
}

#[test]
fn a_period_without_an_announcement_is_a_payment() {
    let two = [month("a", 0), month("b", 30)];
    assert_eq!(
        found(&[], &paid("b", &two), &[]),
        ["1 initial a apart", "2 renewal b apart"]
    );
    let voided = Period {
        voided_at: Some(day(61)),
        refund: Some(PeriodRefund {
            at: day(61),
            extent: RefundExtent::Full,
        }),
        ..month("c", 60)
    };
    let three = [month("a", 0), month("b", 30), voided];
    assert_eq!(
        found(
            &[TransitionKind::Renewed],
            &paid("c", &three),
            &[recorded(1, Some("a"))]
        ),
        [
            "1 renewal a recorded",
            "2 renewal c apart",
            "3 renewal b by 0"
        ]
    );
}

#[test]
fn a_pause_or_a_change_pays_only_with_a_period() {
    let known = [recorded(1, Some("a"))];
    for kind in [TransitionKind::Resumed, TransitionKind::PlanChanged] {
        assert_eq!(
            found(&[kind], &paid("a", &[month("a", 0)]), &known),
            ["1 renewal a recorded"]
        );
        let two = [month("a", 0), month("b", 50)];
        let all = found(&[kind], &paid("b", &two), &known);
        assert!(all[1].ends_with("b by 0"), "{all:?}");
    }
    let two = [month("a", 0), month("b", 50)];
    let both = [TransitionKind::Resumed, TransitionKind::Renewed];
    assert_eq!(
        found(&both, &paid("b", &two), &known)[1],
        "2 renewal b by 1"
    );
}

#[test]
fn a_recovery_without_a_new_transaction_is_no_payment() {
    let known = [recorded(1, Some("a"))];
    let purchase = paid("a", &[month("a", 0)]);
    assert_eq!(
        found(&[TransitionKind::Recovered], &purchase, &known),
        ["1 renewal a recorded"]
    );
}

#[test]
fn a_trial_is_no_payment_but_a_free_renewal_is() {
    let converted = [TransitionKind::TrialConverted, TransitionKind::Renewed];
    let mut trial = paid("b", &[free("a", 0), month("b", 30)]);
    trial.seen.trial_ends_at = Some(day(30));
    assert_eq!(
        found(&converted, &trial, &[]),
        ["1 trial_conversion b by 0"]
    );
    let free = [month("a", 0), free("b", 30)];
    assert_eq!(
        found(
            &[TransitionKind::Renewed],
            &paid("b", &free),
            &[recorded(1, Some("a"))]
        )[1],
        "2 renewal b by 0"
    );
}

#[test]
fn a_payment_of_another_purchase_is_not_counted_again() {
    let purchase = paid("a", &[month("a", 0)]);
    assert_eq!(unrecorded_transactions(&purchase, &[], &[]), ["a"]);
    let elsewhere = BTreeSet::from(["a".to_owned()]);
    let purchased = transitions(&[TransitionKind::Purchased]);
    let payments =
        |older: &[Period]| period_payments(&purchased, &purchase, older, &[], &elsewhere);
    assert_eq!(payments(&[]), []);
    assert_eq!(payments(&[month("a", 0)]), []);
}

#[test]
fn a_shown_period_that_is_not_stored_is_a_payment_once() {
    let all: Vec<Period> = (0..20)
        .map(|number| month(&format!("o{number:02}"), 30 * number))
        .collect();
    let mut purchase = Purchase::default().of_store(by_state());
    let state = StoreState {
        transaction_id: Some("o19".to_owned()),
        periods: all.clone(),
        ..StoreState::default()
    };
    let others = purchase.add_payments(&state);
    assert_eq!((&others.periods[..], others.refunds.len()), (&all[..4], 0));
    purchase.apply_snapshot(&Snapshot {
        at: day(600),
        product: Product::Subscription,
        purchased_at: Some(day(0)),
        state: Some(Box::new(state.without_payments())),
        ..Snapshot::default()
    });
    let older = &others.periods;
    let shown = unrecorded_transactions(&purchase, older, &[recorded(1, Some("o00"))]);
    assert_eq!(shown.len(), 19);

    // All are announced: each has its own period.
    let announced = found_with(&[TransitionKind::Renewed; 20], &purchase, older, &[]);
    assert_eq!(announced[0], "1 renewal o00 by 0");
    assert_eq!(announced[19], "20 renewal o19 by 19");
    // One is announced: the others are payments of their own.
    let apart = found_with(&[TransitionKind::Purchased], &purchase, older, &[]);
    assert_eq!(
        (apart.len(), apart[0].as_str()),
        (20, "1 initial o00 apart")
    );
    assert_eq!(apart[19], "20 initial o19 by 0");
    let known: Vec<_> = (1..)
        .zip(&all)
        .map(|(number, one)| recorded(number, Some(one.transaction_id.as_str())))
        .collect();
    let again = found_with(&[], &purchase, older, &known);
    assert!(
        again.iter().all(|one| one.ends_with("recorded")),
        "{again:?}"
    );
}

/// A refund of the transaction `o1` on this day.
fn returned(on: i64, extent: RefundExtent) -> RefundedPayment {
    RefundedPayment {
        transaction_id: "o1".to_owned(),
        refund: PeriodRefund {
            at: day(on),
            extent,
        },
        tax: None,
    }
}

fn amount(text: &str) -> Option<rust_decimal::Decimal> {
    text.parse().ok()
}

/// A payment of 4.99 with these later entries, of which the last one is of day 50, and what refunds add to them.
fn added(
    entries: &[(EntryKind, &str)],
    refunds: &[RefundedPayment],
) -> Vec<(EntryKind, Option<rust_decimal::Decimal>)> {
    let mut paid = recorded(3, Some("o1"));
    paid.entries
        .extend(entries.iter().map(|(kind, text)| PeriodEntry {
            kind: *kind,
            amount: amount(text),
        }));
    let returned_at = (!entries.is_empty()).then(|| day(50));
    let Some(found) = refunded_payment(&paid, month("o1", 0), returned_at, refunds) else {
        return Vec::new();
    };
    assert_eq!((found.number, found.standing), (3, Standing::Recorded));
    let period = found.period.unwrap();
    let missing = missing_entries(&period, found.kind, &paid.entries);
    missing.iter().map(|one| (one.kind, one.amount)).collect()
}

#[test]
fn a_refund_of_a_period_that_is_not_stored_is_added_once() {
    let full = || returned(50, RefundExtent::Full);
    let all = [(EntryKind::Refund, amount("-4.99"))];
    assert_eq!(added(&[], &[full()]), all);
    // Reported twice: by a notification, and later in the list.
    let listed = returned(51, RefundExtent::Full);
    assert_eq!(added(&[], &[full(), listed.clone()]), all);
    assert_eq!(added(&[(EntryKind::Refund, "-4.99")], &[listed]), []);
    let other = RefundedPayment {
        transaction_id: "o2".to_owned(),
        ..full()
    };
    assert_eq!(added(&[], &[other]), []);
    let unknown = returned(50, RefundExtent::Unknown);
    assert_eq!(added(&[], &[unknown]), [], "it waits for the amount");
}

#[test]
fn a_late_sign_of_such_a_refund_takes_nothing_back() {
    use EntryKind::{Refund, Restored};
    let part = |on| returned(on, RefundExtent::Amount("2.00".parse().unwrap()));
    let full = |on| returned(on, RefundExtent::Full);
    let rest = [(Refund, amount("-2.99"))];
    assert_eq!(added(&[(Refund, "-2.00")], &[full(52)]), rest);
    assert_eq!(added(&[(Refund, "-2.00")], &[part(40), full(52)]), rest);
    for on in [40, 50] {
        assert_eq!(added(&[(Refund, "-4.99")], &[part(on)]), [], "{on}");
        let restored = [(Refund, "-4.99"), (Restored, "4.99")];
        assert_eq!(added(&restored, &[full(on)]), [], "{on}");
    }
    let reversed = returned(60, RefundExtent::Reversed);
    let back = [(Restored, amount("4.99"))];
    assert_eq!(added(&[(Refund, "-4.99")], &[reversed]), back);
}
