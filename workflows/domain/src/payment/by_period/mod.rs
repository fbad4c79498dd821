//! The payments of a purchase whose store shows each of them: each period is one payment, and no period is two.
//!
//! The transitions of a settling announce payments; the periods have their money. Usually both come together, but an
//! answer may name a payment without its period, and show the period only later. A payment that is announced first is
//! recorded without a price; the next unrecorded period is its own. A period that no transition announces is a payment
//! as well, unless it is free. So is a charged one that the answer shows and the purchase no longer has.

mod refunded;

#[cfg(test)]
mod tests;

pub use refunded::refunded_payment;

use super::{EntryKind, candidates};
use crate::period::{OfferPhase, Period, PeriodEntry};
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::transition::{Transition, TransitionKind};
use std::collections::BTreeSet;

/// A payment in the ledger, by its first entry, with the changes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPayment {
    pub number: i64,
    /// The store's id of the transaction; `None` while the payment's period is not known.
    pub transaction_id: Option<String>,
    /// The entries in the currency of the period, in order. The first one is the payment.
    pub entries: Vec<PeriodEntry>,
}

/// A payment, and its period if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodPayment {
    /// Number of the payment in the order in which they were recorded, from 1.
    pub number: i64,
    pub kind: EntryKind,
    pub standing: Standing,
    /// When it was announced as paid, according to the store.
    pub at: Option<Timestamp>,
    pub period: Option<Period>,
}

/// Whether a payment is recorded, else what announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Recorded,
    /// Transitions of this settling announce it, by their indexes: a conversion is announced as a renewal too.
    Announced {
        index: usize,
        other_index: Option<usize>,
    },
    /// No transition announces it.
    Unannounced,
}

/// A payment that has no period yet.
#[derive(Debug)]
struct AnnouncedPayment {
    payment: PeriodPayment,
    /// Whether the transition announces a payment whatever the store shows of it.
    is_certain: bool,
}

/// Returns the ids of the transactions that the store shows and that this ledger does not have. `older` contains the
/// shown periods that the purchase does not have.
pub fn unrecorded_transactions(
    purchase: &Purchase,
    older: &[Period],
    recorded: &[RecordedPayment],
) -> Vec<String> {
    let shown = older
        .iter()
        .chain(purchase.periods().iter())
        .map(|period| &period.transaction_id);
    let current = purchase
        .store_state()
        .and_then(|state| state.transaction_id.as_ref());
    let all: BTreeSet<&String> = shown.chain(current).collect();
    all.into_iter()
        .filter(|id| !is_recorded(recorded, id))
        .cloned()
        .collect()
}

/// Returns the recorded payments with their periods, and the new ones. `elsewhere` contains the transactions that the
/// ledger of another purchase has: a purchase that continues another one may show the last payment of that one.
/// `older` contains the shown periods that the purchase does not have.
pub fn period_payments(
    transitions: &[Transition],
    purchase: &Purchase,
    older: &[Period],
    recorded: &[RecordedPayment],
    elsewhere: &BTreeSet<String>,
) -> Vec<PeriodPayment> {
    let mut all = Vec::new();
    let mut open = Vec::new();
    for one in recorded {
        let payment = one.with_period(purchase);
        if payment.period.is_some() {
            all.push(payment);
        } else if one.transaction_id.is_none() {
            open.push(AnnouncedPayment {
                payment,
                is_certain: true,
            });
        }
    }
    let announced = announced(transitions, purchase);
    let mut new = unrecorded(purchase, older, recorded, elsewhere);
    if let Some(last) = announced.last() {
        let at = last.payment.at.or_else(|| purchase.not_before());
        let unread = at.and_then(|at| unread(purchase, at));
        new.extend(unread.filter(|period| {
            !is_recorded(recorded, &period.transaction_id)
                && !elsewhere.contains(&period.transaction_id)
        }));
    }
    let mut carriers: Vec<AnnouncedPayment> = open.into_iter().chain(announced).collect();
    leave_out_uncertain(&mut carriers, new.len());
    let mut apart = Vec::new();
    while new.len() > carriers.len() {
        let added = new.iter().position(|period| !period.is_own());
        let apart_from_all = added.or_else(|| new.iter().rposition(Period::is_voided));
        apart.push(new.remove(apart_from_all.unwrap_or(0)));
    }
    // The last announcement is of the last period.
    let earlier = carriers.len().saturating_sub(new.len());
    for (carrier, period) in carriers.iter_mut().skip(earlier).zip(new) {
        carrier.payment.period = Some(period);
    }
    let mut number = recorded.iter().map(|one| one.number).max().unwrap_or(0);
    number = number.max(0);
    let mut next_number = || {
        number = number.saturating_add(1);
        number
    };
    apart.sort_by_key(|period| period.begins_at);
    for period in apart.into_iter().filter(Period::is_charged) {
        let number = next_number();
        all.push(PeriodPayment {
            number,
            kind: if number == 1 {
                EntryKind::Initial
            } else {
                EntryKind::Renewal
            },
            standing: Standing::Unannounced,
            at: None,
            period: Some(period),
        });
    }
    // A payment whose period is not known is followed by the current one, which is new as well.
    let has_new_payment = purchase
        .store_state()
        .and_then(|state| state.transaction_id.as_ref())
        .is_some_and(|id| !elsewhere.contains(id) && !is_recorded(recorded, id));
    for AnnouncedPayment { mut payment, .. } in carriers {
        if payment.standing != Standing::Recorded {
            if payment.period.is_none() && !has_new_payment {
                continue;
            }
            payment.number = next_number();
        }
        all.push(payment);
    }
    all
}

/// Leaves out the oldest announcements that may be of a payment, if there is no period for them.
fn leave_out_uncertain(carriers: &mut Vec<AnnouncedPayment>, periods: usize) {
    let certain = carriers.iter().filter(|one| one.is_certain).count();
    let mut excess = carriers.len().saturating_sub(periods.max(certain));
    carriers.retain(|one| {
        let is_excess = !one.is_certain && excess > 0;
        if is_excess {
            excess = excess.saturating_sub(1);
        }
        !is_excess
    });
}

/// Returns the payments that the transitions announce, in order. A change of plan and the end of a pause may come
/// without one.
fn announced(transitions: &[Transition], purchase: &Purchase) -> Vec<AnnouncedPayment> {
    let mut all: Vec<AnnouncedPayment> = candidates(transitions, purchase)
        .into_iter()
        .map(|found| AnnouncedPayment {
            payment: PeriodPayment {
                number: 0,
                kind: found.kind,
                standing: Standing::Announced {
                    index: found.index,
                    other_index: found.other_index,
                },
                at: found.at,
                period: None,
            },
            is_certain: found.kind != EntryKind::PlanChange,
        })
        .collect();
    let taken: BTreeSet<usize> = all.iter().filter_map(AnnouncedPayment::index).collect();
    let may_be_paid = |kind: TransitionKind| {
        matches!(kind, TransitionKind::Resumed | TransitionKind::PlanChanged)
    };
    for (index, one) in transitions.iter().enumerate() {
        if !may_be_paid(one.kind) || taken.contains(&index) {
            continue;
        }
        let kind = if one.kind == TransitionKind::PlanChanged {
            EntryKind::PlanChange
        } else {
            EntryKind::Renewal
        };
        all.push(AnnouncedPayment {
            payment: PeriodPayment {
                number: 0,
                kind,
                standing: Standing::Announced {
                    index,
                    other_index: None,
                },
                at: one.at,
                period: None,
            },
            is_certain: false,
        });
    }
    all.sort_by_key(AnnouncedPayment::index);
    all
}

/// Returns the periods that neither this ledger nor that of another purchase has, the oldest first, without a trial.
fn unrecorded(
    purchase: &Purchase,
    older: &[Period],
    recorded: &[RecordedPayment],
    elsewhere: &BTreeSet<String>,
) -> Vec<Period> {
    let mut older: Vec<&Period> = older.iter().collect();
    older.sort_by_key(|period| (period.begins_at, &period.transaction_id));
    let stored = purchase.periods().iter();
    let stored = stored.filter(|period| !is_trial(purchase, period));
    let all = older.into_iter().chain(stored).filter(|period| {
        !is_recorded(recorded, &period.transaction_id)
            && !elsewhere.contains(&period.transaction_id)
    });
    all.cloned().collect()
}

/// The current payment, if the store names it without showing its period.
fn unread(purchase: &Purchase, at: Timestamp) -> Option<Period> {
    let id = purchase.store_state()?.transaction_id.as_ref()?;
    let is_unread = purchase.periods().of(id).is_none() && !purchase.stage.in_trial;
    is_unread.then(|| Period::unread(id, at))
}

/// Whether a period is the trial with which the purchase began. A free period of a customer who has paid before is a
/// payment.
fn is_trial(purchase: &Purchase, period: &Period) -> bool {
    let is_free =
        period.phase == OfferPhase::Trial && period.price.is_none_or(|price| price.is_zero());
    let is_paid_before =
        |other: &Period| other.begins_at < period.begins_at && other.phase != OfferPhase::Trial;
    is_free && purchase.has_shown_trial() && !purchase.periods().iter().any(is_paid_before)
}

fn is_recorded(recorded: &[RecordedPayment], id: &str) -> bool {
    recorded
        .iter()
        .any(|one| one.transaction_id.as_deref() == Some(id))
}

impl RecordedPayment {
    /// Returns the payment with its period, if the purchase still has it.
    fn with_period(&self, purchase: &Purchase) -> PeriodPayment {
        let id = self.transaction_id.as_deref();
        let kind = self.entries.first().map(|entry| entry.kind);
        PeriodPayment {
            number: self.number,
            kind: kind.unwrap_or(EntryKind::Renewal),
            standing: Standing::Recorded,
            at: None,
            period: id.and_then(|id| purchase.periods().of(id)).cloned(),
        }
    }
}

impl AnnouncedPayment {
    const fn index(&self) -> Option<usize> {
        match self.payment.standing {
            Standing::Announced { index, .. } => Some(index),
            Standing::Recorded | Standing::Unannounced => None,
        }
    }
}
