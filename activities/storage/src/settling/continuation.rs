//! Purchases that continue another one by the store's own link, which the store's answer shows.
//!
//! The record of the new purchase stores the link, and creates the old purchase if nothing of it is stored yet: the
//! store is then queried about it, and it settles as replaced. The link is locked before either purchase, so that a
//! record of the old purchase sees it or is rechecked. The old purchase is locked after the new one, and only to create
//! or recheck it: its own record takes the link's lock first. The beginning of the new purchase is announced by what is
//! known of the old one, so that it waits once, for a short time, until the store was queried about that. `domain`
//! decides what is announced.

use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, Origin, PurchaseRow, Urgency, WaitsFor};
use crate::purchases::replacements;
use crate::settling::revision::Settling;
use db::error::Error;
use db::writer::Write;
use domain::notification::MAX_ID_BYTES;
use domain::settling::Record;
use domain::time::MINUTE;
use domain::{CollapseKey, Decision, Purchase, State, Timestamp, Waits, user};
use std::time::Duration;

/// Maximum number of purchases in a row that fell through and are passed over.
const MAX_PASSED: usize = 4;
/// How long a beginning waits for the first answer about the purchase that it continues. The sweep wakes both purchases
/// within a minute.
const MAX_WAIT: Duration = MINUTE.saturating_mul(2);

/// The purchase that another one continues.
pub struct Former {
    key: CollapseKey,
    receipt_id: String,
}

/// Stores and locks the link to the purchase that this one continues, if the answer in the record shows one. The user
/// must be locked already, and no purchase may be. A purchase that fell through continues nothing.
pub fn link(
    write: &mut Write<'_>,
    record: &Record,
    origin: &Origin,
) -> Result<Option<Former>, Error> {
    let state = record.decision.purchase.store_state();
    let state = state.filter(|state| record.is_answer && !state.has_fallen_through);
    let Some(receipt_id) = state.and_then(|state| state.continues.as_deref()) else {
        return Ok(None);
    };
    let former = Former::find(write, origin, receipt_id)?;
    // An id that is longer than those in notifications would not fit the indexes.
    if former.key == record.collapse_key || former.receipt_id.len() > MAX_ID_BYTES {
        return Ok(None);
    }
    replacements::follow(write, former.key, record.collapse_key)?;
    Ok(Some(former))
}

/// Announces the beginning in a decision as the continuation of the purchase that is linked to it. Without a row of
/// that purchase, the row is created and checked at once, and the beginning waits. If another purchase that is known to
/// be real continues it, nothing happens. `row` is the purchase's own row.
pub fn announce(
    write: &mut Write<'_>,
    settling: &mut Settling<'_>,
    former: Option<Former>,
    row: &PurchaseRow,
) -> Result<(), Error> {
    let Some(former) = former else { return Ok(()) };
    let key = settling.record.collapse_key;
    if replacements::successor(write.connection, former.key)? != Some(key) {
        return Ok(());
    }
    let known = former.known(write)?;
    if known.is_none() {
        former.create(write, settling.origin)?;
    }
    if !settling.begins() {
        return Ok(());
    }
    let read = known.filter(|known| known.state() != State::Unknown);
    let has_waited = row.waits_for == Some(WaitsFor::Confirmation);
    match read {
        Some(known) => {
            let decision = settling.record.decision.clone();
            settling.record.to_mut().decision = user::announce_continuation(decision, &known);
            Ok(())
        }
        None if has_waited || settling.record.seqs.is_empty() => Ok(()),
        None => postpone(settling.record.to_mut(), row, write.now()?),
    }
}

/// Leaves everything undecided for [`MAX_WAIT`]. The first record of the old purchase rechecks this one at once.
fn postpone(record: &mut Record, row: &PurchaseRow, now: Timestamp) -> Result<(), Error> {
    record.is_real = false;
    record.decision = Decision {
        purchase: row.known()?,
        transitions: Vec::new(),
        outcomes: Vec::new(),
        waits: Some(Waits::Confirmation),
        wake: Some(now.plus(MAX_WAIT)),
        lag: None,
        refunds: Vec::new(),
        older: Vec::new(),
    };
    Ok(())
}

impl Former {
    fn of(origin: &Origin, receipt_id: &str) -> Self {
        Self {
            key: CollapseKey::of(origin.platform_id, receipt_id),
            receipt_id: receipt_id.to_owned(),
        }
    }

    /// Returns the purchase with this id. If it fell through, returns the one that it should have continued.
    fn find(write: &mut Write<'_>, origin: &Origin, receipt_id: &str) -> Result<Self, Error> {
        let mut former = Self::of(origin, receipt_id);
        for _ in 0..MAX_PASSED {
            let known = former.known(write)?;
            let state = known.as_ref().and_then(Purchase::store_state);
            let passed = state.filter(|state| state.has_fallen_through);
            let Some(earlier) = passed.and_then(|state| state.continues.as_deref()) else {
                break;
            };
            former = Self::of(origin, earlier);
        }
        Ok(former)
    }

    /// Returns what is known of the purchase; `None` if it has no row.
    fn known(&self, write: &mut Write<'_>) -> Result<Option<Purchase>, Error> {
        let row = purchase::find(write.connection, self.key)?;
        row.as_ref().map(PurchaseRow::known).transpose()
    }

    /// Creates the row of a purchase about which the store sent no notification, and checks it at once.
    fn create(&self, write: &mut Write<'_>, origin: &Origin) -> Result<(), Error> {
        purchase::insert(write, self.key, &origin.of_receipt(&self.receipt_id))?;
        purchase::recheck(
            write,
            Urgency::Setting,
            CauseKind::PlanChange,
            purchase::OF_KEY,
            [self.key.into()],
        )?;
        Ok(())
    }
}
