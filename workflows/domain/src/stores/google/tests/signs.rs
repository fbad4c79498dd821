//! The signs of one refund, in every order: a notification of the void, its entry in the list, the order that is
//! refunded, and the state that ends. The money is returned once, and the end is announced once.

use super::states::{decided, history};
use super::{events, monthly, order_id, report, settle, snapshot, verified};
use crate::decide::Decision;
use crate::event::tests::day;
use crate::notification::Notification;
use crate::notification::NotificationKind::{self, Expired, SubscriptionCancelled, Unknown};
use crate::payment::{RecordedPayment, period_payments};
use crate::period::{PeriodRefund, RefundExtent, RefundedPayment, missing_entries};
use crate::purchase::{Purchase, State};
use crate::store_state::VoidedPayment;
use crate::stores::google::{Cancellation, OrderState, PurchaseAnswer, Status};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Number of the refunded order, the current one.
const CURRENT: u32 = 2;
/// How much later the list dates the void than the notification does.
const LATER_MS: i64 = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Notification,
    List,
    Order,
    State,
}

const SIGNS: [Sign; 4] = [Sign::Notification, Sign::List, Sign::Order, Sign::State];

/// Returns the signs in each of their 24 orders.
fn sequences() -> Vec<[Sign; 4]> {
    let all = (0..256_usize).map(|number| [0_u32, 2, 4, 6].map(|bits| SIGNS[(number >> bits) & 3]));
    let has_each = |sequence: &[Sign; 4]| SIGNS.iter().all(|sign| sequence.contains(sign));
    all.filter(has_each).collect()
}

/// The time of the refund.
fn refunded_at() -> Timestamp {
    day(32)
}

/// A ledger, which records what each decision adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Ledger(Vec<RecordedPayment>);

impl Ledger {
    /// Records what is missing, and returns the amounts.
    fn record(&mut self, decision: &Decision) -> Vec<String> {
        let elsewhere = BTreeSet::new();
        let (transitions, purchase) = (&decision.transitions, &decision.purchase);
        let mut amounts = Vec::new();
        let older = &decision.older;
        for payment in period_payments(transitions, purchase, older, &self.0, &elsewhere) {
            let period = payment.period.as_ref().expect("a payment with its period");
            if !self.0.iter().any(|one| one.number == payment.number) {
                self.0.push(RecordedPayment {
                    number: payment.number,
                    transaction_id: Some(period.transaction_id.clone()),
                    entries: Vec::new(),
                });
            }
            let mut recorded = self.0.iter_mut();
            let recorded = recorded.find(|one| one.number == payment.number);
            let entries = &mut recorded.expect("a recorded payment").entries;
            let missing = missing_entries(period, payment.kind, entries);
            let known = missing.iter().filter_map(|one| one.amount);
            amounts.extend(known.map(|amount| amount.normalize().to_string()));
            entries.extend(missing);
        }
        amounts
    }
}

/// A purchase with its ledger, and what the store shows of it.
struct Refunded {
    known: Purchase,
    ledger: Ledger,
    answer: PurchaseAnswer,
    /// The type of the notification with which the state ends.
    end: NotificationKind,
}

impl Refunded {
    /// Returns a purchase that was paid twice, and is not refunded yet.
    fn new(end: NotificationKind) -> Self {
        let mut own = Self {
            known: Purchase::default(),
            ledger: Ledger::default(),
            answer: monthly(CURRENT, refunded_at()),
            end,
        };
        let mut paid = Vec::new();
        for (kinds, name, at) in history("renewed") {
            let decision = decided(&own.known, kinds, name, *at);
            paid.extend(own.ledger.record(&decision));
            own.known = decision.purchase;
        }
        assert_eq!(paid, ["4.99", "4.99"]);
        own
    }

    /// Shows what a sign shows from now on, and returns its notification.
    fn report(&mut self, sign: Sign) -> Notification {
        let at = refunded_at();
        let void = |at: Timestamp| Notification {
            voided: Some(VoidedPayment {
                transaction_id: order_id("GPA.1", CURRENT),
                at,
                units: None,
            }),
            ..report(Unknown, at)
        };
        match sign {
            Sign::Notification => void(at),
            Sign::List => void(at.plus_millis(LATER_MS)),
            Sign::Order => {
                let order = self.answer.orders.last_mut().expect("the current order");
                order.state = OrderState::Refunded;
                order.refunded_at = Some(at);
                Notification {
                    refunded: Some(RefundedPayment {
                        transaction_id: order_id("GPA.1", CURRENT),
                        refund: PeriodRefund {
                            at,
                            extent: RefundExtent::Full,
                        },
                        tax: None,
                    }),
                    ..report(Unknown, at)
                }
            }
            Sign::State => {
                self.answer.status = Status::Expired;
                self.answer.cancellation = Some((Cancellation::Developer, None));
                let item = &mut self.answer.items[0];
                (item.expires_at, item.renews) = (Some(at), None);
                report(self.end, at)
            }
        }
    }

    /// Settles these signs together on a day, and returns the events and the amounts that this adds.
    fn settle(&mut self, signs: &[Sign], on: i64) -> (String, Vec<String>) {
        let reported: Vec<_> = signs.iter().map(|sign| self.report(*sign)).collect();
        self.answer.at = day(on);
        let decision = settle(&self.known, &reported, &verified(snapshot(&self.answer)));
        let added = (events(&decision), self.ledger.record(&decision));
        self.known = decision.purchase;
        added
    }
}

#[test]
fn the_four_signs_of_a_refund_count_once_in_all_24_orders() {
    let sequences = sequences();
    assert_eq!(sequences.len(), 24);
    for end in [SubscriptionCancelled, Expired] {
        let mut ledgers = Vec::new();
        for sequence in &sequences {
            let mut refunded = Refunded::new(end);
            let (mut announced, mut returned) = (Vec::new(), Vec::new());
            // Each of them again, in the same order.
            for (on, sign) in (33..).zip(sequence.iter().chain(sequence)) {
                let (events, amounts) = refunded.settle(&[*sign], on);
                announced.extend(Some(events).filter(|events| !events.is_empty()));
                returned.extend(amounts);
            }
            assert_eq!(announced, ["expired"], "{end:?} {sequence:?}");
            assert_eq!(returned, ["-4.99"], "{end:?} {sequence:?}");
            let known = &refunded.known;
            assert_eq!(
                (known.state(), known.revoked_at()),
                (State::Revoked, Some(refunded_at())),
                "{end:?} {sequence:?}"
            );
            ledgers.push(refunded.ledger);
        }
        assert!(
            ledgers.iter().all(|ledger| *ledger == ledgers[0]),
            "{end:?}"
        );
    }
}

#[test]
fn the_first_sign_but_the_order_announces_the_end() {
    for sequence in sequences() {
        let mut refunded = Refunded::new(Expired);
        for (on, sign) in (33..).zip(sequence) {
            let was_running = refunded.known.state() == State::Active;
            let (events, _) = refunded.settle(&[sign], on);
            let ends = was_running && sign != Sign::Order;
            assert_eq!(events, if ends { "expired" } else { "" }, "{sequence:?}");
        }
    }
}

#[test]
fn all_signs_of_a_refund_in_one_window_count_once() {
    for sequence in sequences() {
        let mut refunded = Refunded::new(SubscriptionCancelled);
        let added = refunded.settle(&sequence, 33);
        let expected = ("expired".to_owned(), vec!["-4.99".to_owned()]);
        assert_eq!(added, expected, "{sequence:?}");
        let again = refunded.settle(&sequence, 34);
        assert_eq!(again, (String::new(), Vec::new()), "{sequence:?}");
    }
}

#[test]
fn a_refund_that_is_taken_back_resumes_and_pays_again_once() {
    let mut refunded = Refunded::new(Expired);
    let added = refunded.settle(&[Sign::Notification], 33);
    assert_eq!(added, ("expired".to_owned(), vec!["-4.99".to_owned()]));
    refunded.answer.at = day(34);
    let mut shown = snapshot(&refunded.answer);
    let state = shown.state.as_mut().expect("a state");
    let current = state.periods.last_mut().expect("the current period");
    current.refund = Some(PeriodRefund {
        at: day(34),
        extent: RefundExtent::Reversed,
    });
    for (announced, paid) in [("resumed", vec!["4.99"]), ("", Vec::new())] {
        let decision = settle(&refunded.known, &[], &verified(shown.clone()));
        assert_eq!(events(&decision), announced);
        assert_eq!(refunded.ledger.record(&decision), paid);
        refunded.known = decision.purchase;
    }
    let known = &refunded.known;
    assert_eq!((known.state(), known.revoked_at()), (State::Active, None));
}
