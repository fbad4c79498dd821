//! Finds the payment of each line of a sales report.
//!
//! A line is matched by the transaction id if the report contains the charge, else by time. A line about a payment that
//! is not in the ledger matches none.

use super::{KnownPayment, Sale, SaleKind};
use crate::time::{DAY, Timestamp};
use rust_decimal::Decimal;
use std::time::Duration;

/// Maximum time by which a refund in a report may precede its payment in the ledger.
const MAX_EARLY: Duration = DAY;

/// Assigns at most one charge to each payment: of all pairs within `reach`, the closest first.
pub fn assign_charges<'a>(known: &mut [KnownPayment<'a>], sales: &'a [Sale], reach: Duration) {
    let charges = || sales.iter().filter(|sale| is_payment(sale));
    let pair = |(place, one): (usize, &KnownPayment<'_>), sale: &'a Sale| {
        (sale.at.distance(one.at), place, sale)
    };
    let all = known
        .iter()
        .enumerate()
        .flat_map(|one| charges().map(move |sale| pair(one, sale)));
    let mut pairs: Vec<_> = all.filter(|(distance, ..)| *distance <= reach).collect();
    pairs.sort_by(|a, b| (a.0, a.1, &a.2.transaction_id).cmp(&(b.0, b.1, &b.2.transaction_id)));
    let mut taken: Vec<&Sale> = Vec::new();
    for (_, place, sale) in pairs {
        let Some(one) = known.get_mut(place).filter(|one| one.charge.is_none()) else {
            continue;
        };
        if !taken.iter().any(|other| std::ptr::eq(*other, sale)) {
            taken.push(sale);
            one.charge = Some(sale);
        }
    }
}

/// Assigns each refund to the payment of the same transaction, else to the one for which it is booked, else to the last
/// earlier one with enough left to refund.
pub fn assign_returns<'a>(known: &mut [KnownPayment<'a>], sales: &'a [Sale], reach: Duration) {
    let is_absent = |sale: &&Sale| known.iter().all(|one| sale.at.distance(one.at) > reach);
    let absent: Vec<Timestamp> = sales
        .iter()
        .filter(|sale| is_payment(sale))
        .filter(is_absent)
        .map(|sale| sale.at)
        .collect();
    let mut returns: Vec<&Sale> = sales
        .iter()
        .filter(|sale| sale.kind != SaleKind::Charge)
        .collect();
    returns
        .sort_by(|a, b| (a.at, &a.transaction_id, a.kind).cmp(&(b.at, &b.transaction_id, b.kind)));
    // Refunds with a transaction or a ledger entry are assigned before those that are matched by time.
    let (mut sure, mut by_time) = (Vec::new(), Vec::new());
    for sale in returns {
        let is_named = |other: &Sale| {
            other.kind == SaleKind::Charge && other.transaction_id == sale.transaction_id
        };
        let charged = |one: &KnownPayment<'_>| one.charge.is_some_and(is_named);
        let booked = |one: &KnownPayment<'_>| one.refund_ids.contains(sale.transaction_id.as_str());
        match known.iter().position(charged) {
            Some(place) => sure.push((place, sale)),
            // The refund's charge belongs to no payment in the ledger.
            None if sales.iter().any(is_named) => {}
            None => match known.iter().position(booked) {
                Some(place) => sure.push((place, sale)),
                None => by_time.push(sale),
            },
        }
    }
    for (place, sale) in sure {
        known
            .get_mut(place)
            .into_iter()
            .for_each(|one| one.returns.push(sale));
    }
    for sale in by_time {
        let after = absent.iter().copied().filter(|at| *at <= sale.at).max();
        let place = shown_by_store(known, sale).or_else(|| last_with_room(known, sale, after));
        place
            .and_then(|place| known.get_mut(place))
            .into_iter()
            .for_each(|one| one.returns.push(sale));
    }
    known
        .iter_mut()
        .for_each(|one| one.returns.sort_by_key(|sale| sale.at));
}

fn is_payment(sale: &Sale) -> bool {
    sale.kind == SaleKind::Charge && !sale.is_of_trial()
}

/// Returns the payment for which the store showed a refund at the time of `sale`.
fn shown_by_store(known: &[KnownPayment<'_>], sale: &Sale) -> Option<usize> {
    let is_near = |at: Timestamp| at.distance(sale.at) <= MAX_EARLY;
    known
        .iter()
        .rposition(|one| one.returns.is_empty() && one.store_refund.is_some_and(is_near))
}

/// Returns the last payment before a refund that has enough left to refund, else the last one that has anything left.
/// `after` is the last charge of a payment that is not in the ledger: a later refund is not taken from a payment before
/// that charge.
fn last_with_room(
    known: &[KnownPayment<'_>],
    sale: &Sale,
    after: Option<Timestamp>,
) -> Option<usize> {
    let is_before = |one: &KnownPayment<'_>| match one.charge {
        Some(charge) => charge.at <= sale.at,
        None => one.at <= sale.at.plus(MAX_EARLY),
    };
    let mut places: Vec<(Timestamp, usize)> = known
        .iter()
        .enumerate()
        .filter(|(_, one)| is_before(one))
        .map(|(place, one)| (one.began_at(), place))
        .collect();
    places.retain(|(at, _)| after.is_none_or(|after| *at >= after));
    places.sort_unstable();
    let last = |fits: &dyn Fn(&KnownPayment<'_>) -> bool| {
        places
            .iter()
            .rev()
            .map(|(_, place)| *place)
            .find(|place| known.get(*place).is_some_and(fits))
    };
    last(&|one| one.has_room_for(sale))
        .or_else(|| last(&|one| one.room().is_some_and(|room| !room.is_zero())))
}

impl KnownPayment<'_> {
    /// Returns when the payment was charged: by the report if it contains the charge, since refunds have the report's
    /// times too.
    fn began_at(&self) -> Timestamp {
        self.charge.map_or(self.at, |charge| charge.at)
    }

    /// Returns the part that is not refunded yet, in USD; `None` if the price is not known.
    fn room(&self) -> Option<Decimal> {
        let price = self.price()?;
        Some(price.saturating_sub(self.returned(price).unwrap_or_default()))
    }

    /// Whether enough is left for this refund. If the price is not known, one refund counts as the whole payment.
    fn has_room_for(&self, sale: &Sale) -> bool {
        let Some((price, room)) = self.price().zip(self.room()) else {
            return self.returns.is_empty();
        };
        let is_same = self
            .charge
            .filter(|charge| charge.currency == sale.currency);
        let value = is_same
            .map(|charge| super::part(price, sale.price, charge.price))
            .or(sale.usd);
        !room.is_zero() && value.is_none_or(|value| value <= room)
    }
}
