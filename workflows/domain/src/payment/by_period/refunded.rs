//! The refunds of payments whose periods the purchase no longer has: a purchase has the newest ones, the ledger has all.

use super::{PeriodPayment, RecordedPayment, Standing};
use crate::payment::EntryKind;
use crate::period::{Period, RefundedPayment, missing_entries};
use crate::time::Timestamp;

/// Returns a payment in the ledger with what these refunds return of it; `None` if they return nothing that the ledger
/// lacks. `booked` is its period as the ledger has it, and `returned_at` is the time of its last refund or reversal.
pub fn refunded_payment(
    recorded: &RecordedPayment,
    booked: Period,
    returned_at: Option<Timestamp>,
    refunds: &[RefundedPayment],
) -> Option<PeriodPayment> {
    let mut period = booked;
    let is_of_payment =
        |one: &&RefundedPayment| recorded.transaction_id.as_ref() == Some(&one.transaction_id);
    for one in refunds.iter().filter(is_of_payment) {
        period.add_refund(one.refund, one.tax);
    }
    let at = period.refund?.at;
    let first = recorded.entries.first();
    let kind = first.map_or(EntryKind::Renewal, |entry| entry.kind);
    let missing = missing_entries(&period, kind, &recorded.entries);
    let is_reversed = |kind: EntryKind| kind == EntryKind::Restored;
    let last = recorded
        .entries
        .iter()
        .rev()
        .find(|entry| is_reversed(entry.kind) || entry.kind == EntryKind::Refund);
    // A sign that is no newer than what is recorded takes nothing back, and a reversal is not undone by it.
    let is_late = returned_at.is_some_and(|last| at <= last)
        && (missing.iter().any(|entry| is_reversed(entry.kind))
            || last.is_some_and(|entry| is_reversed(entry.kind)));
    let is_missing = missing.iter().any(|entry| entry.amount.is_some());
    (is_missing && !is_late).then_some(PeriodPayment {
        number: recorded.number,
        kind,
        standing: Standing::Recorded,
        at: None,
        period: Some(period),
    })
}
