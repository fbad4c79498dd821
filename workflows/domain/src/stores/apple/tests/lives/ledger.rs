//! A ledger in memory: the payments of a life, booked after each settling as the storage does.

use super::truth::Truth;
use crate::decide::Decision;
use crate::payment::{EntryKind, RecordedPayment, period_payments, refunded_payment};
use crate::period::{Period, PeriodEntry, missing_entries};
use crate::stores::apple::TransactionFact;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub struct Ledger {
    payments: Vec<RecordedPayment>,
    /// The beginning of the period and its number of units, by the number of the payment.
    periods: BTreeMap<i64, (Timestamp, u32)>,
    /// The times of refunds and reversals, by the number of the payment.
    returned_at: BTreeMap<i64, Timestamp>,
}

impl Ledger {
    /// Books what a decision shows.
    pub fn book(&mut self, decision: &Decision) {
        let mut all = period_payments(
            &decision.transitions,
            &decision.purchase,
            &decision.older,
            &self.payments,
            &BTreeSet::new(),
        );
        let earlier = self.payments.iter().filter_map(|one| {
            let id = one.transaction_id.as_ref()?;
            let is_refunded = decision
                .refunds
                .iter()
                .any(|refund| refund.transaction_id == *id);
            let (begins_at, quantity) = *self.periods.get(&one.number).filter(|_| is_refunded)?;
            let prices = one.entries.iter().filter(|entry| !is_return(entry.kind));
            let booked = Period {
                price: prices.filter_map(|entry| entry.amount).reduce(|a, b| a + b),
                quantity,
                ..Period::unread(id, begins_at)
            };
            let returned_at = self.returned_at.get(&one.number).copied();
            refunded_payment(one, booked, returned_at, &decision.refunds)
        });
        let earlier: Vec<_> = earlier.collect();
        all.extend(earlier);
        for one in all {
            let place = self
                .payments
                .iter()
                .position(|known| known.number == one.number);
            let place = place.unwrap_or_else(|| {
                self.payments.push(RecordedPayment {
                    number: one.number,
                    transaction_id: None,
                    entries: vec![PeriodEntry {
                        kind: one.kind,
                        amount: one.period.as_ref().and_then(|period| period.price),
                    }],
                });
                self.payments.len() - 1
            });
            let Some(period) = one.period else { continue };
            let recorded = &mut self.payments[place];
            recorded.transaction_id = Some(period.transaction_id.clone());
            self.periods
                .insert(one.number, (period.begins_at, period.quantity));
            let missing = missing_entries(&period, one.kind, &recorded.entries);
            for entry in missing.into_iter().filter(|entry| entry.amount.is_some()) {
                if let Some(refund) = period.refund.filter(|_| is_return(entry.kind)) {
                    self.returned_at.insert(one.number, refund.at);
                }
                recorded.entries.push(entry);
            }
        }
    }

    /// What is wrong in comparison with the truth; nothing if each charged period is one payment with what remains of
    /// its price.
    pub fn difference(&self, truth: &Truth) -> Option<String> {
        let charged = truth.transactions.iter();
        let charged: Vec<&TransactionFact> =
            charged.filter(|one| !truth.price(one).is_zero()).collect();
        for fact in &charged {
            let booked: Vec<_> = self.of(&fact.transaction_id).collect();
            let [payment] = booked.as_slice() else {
                return Some(format!(
                    "{} is booked {} times",
                    fact.transaction_id,
                    booked.len()
                ));
            };
            let sum: Decimal = payment
                .entries
                .iter()
                .filter_map(|entry| entry.amount)
                .sum();
            let expected = truth.price(fact) - truth.returned(fact);
            if sum != expected {
                return Some(format!(
                    "{}: {sum} in place of {expected}",
                    fact.transaction_id
                ));
            }
        }
        let others = self.payments.iter().filter(|one| {
            let id = one.transaction_id.as_deref();
            !charged
                .iter()
                .any(|fact| Some(fact.transaction_id.as_str()) == id)
        });
        let is_paid = |one: &RecordedPayment| {
            let mut amounts = one.entries.iter().filter_map(|entry| entry.amount);
            amounts.any(|amount| !amount.is_zero()) || one.transaction_id.is_none()
        };
        let other = others.into_iter().find(|one| is_paid(one));
        other.map(|one| format!("one payment too many: {one:?}"))
    }

    fn of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a RecordedPayment> {
        let all = self.payments.iter();
        all.filter(move |one| one.transaction_id.as_deref() == Some(id))
    }
}

const fn is_return(kind: EntryKind) -> bool {
    matches!(kind, EntryKind::Refund | EntryKind::Restored)
}
