//! Records a decision once, in the transaction of [`Store::record`](crate::Store::record).
//!
//! The purchase's row has the number of its last settling and a fingerprint of the notifications that it settled. A
//! record that matches both is a repetition and gets the same answer. A record with the next number is written,
//! unless something that its decision relied on has changed. Any other record is answered with `Moved`. Locks are
//! taken in this order: the app, the user, the link to the purchase that replaced this one, the link from the purchase
//! that this one continues, the purchase.

use crate::devices::claims::due;
use crate::events::{alarms, deliveries, lanes, user_leases};
use crate::inbox::notifications;
use crate::purchases::owned::{Which, note_changed, shared_ahead};
use crate::purchases::purchase::{self, PurchaseRow, WaitsFor};
use crate::purchases::users::{Customer, Raced, UserRow};
use crate::purchases::{duties, replacements, user_devices};
use crate::settings::listing::Listings;
use crate::settings::unnamed::unnamed;
use crate::settling::comparison::{ABANDONED, Compared, Comparison};
use crate::settling::facts::Facts;
use crate::settling::known::Known;
use crate::settling::profiles::{self, ProfileCheck, Subject, Trigger};
use crate::settling::revision::{Announcement, Settling};
use crate::settling::{continuation, events, handover, succession, unlisted};
use db::alarm::About;
use db::config::Installation;
use db::error::Error;
use db::fault;
use db::secrets::sha256;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Number, clean, sql};
use db::writer::{Faults, Write};
use domain::catalogue::ProductRef;
use domain::settling::{Record, Recorded};
use domain::user::{self, OwnedPurchase};
use domain::{CollapseKey, Lag, Lane, Outcome, Purchase, Waits};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The fail points around the commit of a record.
pub const RECORD: Faults = Faults {
    before_commit: "record.before_commit",
    after_commit: "record.after_commit",
    early_answer: None,
};

/// Maximum length in bytes of a SKU in an indexed column; a longer SKU is stored as NULL there.
const MAX_INDEXED_BYTES: usize = 1000;

/// Records a decision, unless it is already recorded or the purchase has changed since it was loaded.
pub fn record_once(
    write: &mut Write<'_>,
    record: &Record,
    installation: Installation,
    known: Known,
) -> Result<Recorded, Error> {
    let key = record.collapse_key;
    let Known {
        row: seen,
        origin,
        named,
    } = known;
    let app_user_id = named.or_else(|| seen.as_ref().and_then(|row| row.app_user_id.clone()));
    let customer = Customer {
        origin: &origin,
        row: seen.as_ref(),
        app_user_id: app_user_id.as_deref(),
    };
    let is_owned = record.settles() || seen.as_ref().is_some_and(|row| row.user_id.is_some());
    let user = if is_owned {
        Some(customer.find(write)?)
    } else {
        None
    };
    // The server runs these statements in order, and only the first fetch waits for them.
    let locked = purchase::lock_origin(write, key, &origin)?;
    let owner = user
        .map(|user| customer.lock_ahead(write, user))
        .transpose()?;
    let replacement = replacements::lock(write, key)?;
    let former = continuation::link(write, record, &origin)?;
    if seen.is_none() {
        purchase::insert(write, key, &origin)?;
    }
    let row = purchase::lock_ahead(write, key)?;
    let mut facts = Facts::read(write, record, &origin, user.map(|user| user.id()))?;
    let origin = locked
        .fetch(write.connection)?
        .ok_or(Error::Missing { what: "purchase" })?;
    let owner = owner.map(|owner| owner.fetch(write)).transpose()?;
    let is_replaced = replacement.fetch(write.connection)?;
    let row = row
        .first(write.connection)?
        .ok_or(Error::Missing { what: "purchase" })?;
    if row.settling == record.settling && row.fingerprint == fingerprint(&record.seqs) {
        let lanes = open_lanes(write, key)?;
        return Ok(Recorded::Done {
            revision: row.revision,
            state: row.state,
            lanes,
            prompt: BTreeSet::new(),
        });
    }
    // A worker that was suspended after loading must not record a purchase that is on hold by now.
    let now = write.now()?;
    if row.held_until.is_some_and(|until| until > now) {
        return Ok(Recorded::Moved);
    }
    let is_next = row.settling + 1 == record.settling && row.revision == record.revision;
    let is_outdated = record
        .settings_version
        .is_some_and(|version| version != origin.settings_version);
    if !is_next
        || is_outdated
        || is_replaced != record.is_replaced
        || !are_open(write, record, facts.open.take())?
    {
        return Ok(Recorded::Moved);
    }
    if seen.is_some_and(|seen| {
        (seen.user_id, seen.app_user_id) != (row.user_id, row.app_user_id.clone())
    }) {
        return Err(Error::unavailable(Raced));
    }
    // No query was sent, because the platform had no secret or the customer was unknown; now a query is possible.
    if !record.is_queried
        && origin
            .queried_customer(write.connection, key, Some(&row))?
            .is_some()
    {
        return Ok(Recorded::Moved);
    }
    let mut settling = Settling {
        record: Cow::Borrowed(record),
        origin: &origin,
        owner: owner.as_ref(),
        app_user_id: app_user_id.as_deref(),
        installation,
    };
    if succession::find_successor(write, &settling)? {
        return Ok(Recorded::Moved);
    }
    continuation::announce(write, &mut settling, former, &row)?;
    announce_change(write, &mut settling, &mut facts.listings)?;
    handover::note(write, &settling, &row, &mut facts.listings)?;
    if succession::succeed(write, &mut settling)? {
        facts.replaced = replacements::replaced_ahead(write.connection, key)?;
    }
    settling.write(write, &row, facts)
}

/// Announces the beginning of a subscription as a change of plan, if the user's other subscriptions show that it is
/// one. The user is locked, so the user's other purchases do not change meanwhile.
fn announce_change(
    write: &mut Write<'_>,
    settling: &mut Settling<'_>,
    listings: &mut Listings,
) -> Result<(), Error> {
    let (origin, decision) = (settling.origin, &settling.record.decision);
    let may_change = settling.begins() && !decision.purchase.is_one_time_purchase();
    let Some(owner) = settling.owner.filter(|_| may_change) else {
        return Ok(());
    };
    let others = shared_ahead(write, owner.id, Which::Counted)?.fetch(write, listings)?;
    let bought = OwnedPurchase {
        collapse_key: settling.record.collapse_key,
        platform_id: origin.platform_id,
        platform_type: origin.store.clone(),
        environment: settling.environment(),
        is_replaced: settling.record.is_replaced,
        product_ref: origin.product_ref,
        listing: listings.find(write.connection, &decision.purchase)?,
        purchase: decision.purchase.clone(),
    };
    settling.record.to_mut().decision = user::announce_change(decision.clone(), &bought, &others);
    Ok(())
}

const UPDATE: Sql = statement! {"
    UPDATE purchases
    SET revision = ?, state = ?, environment = ?, purchase = ?, digest = ?, content_digest = ?, term_sku = ?, product_id = ?,
        part_skus = ?, settling = ?, fingerprint = ?, app_user_id = ?, user_id = ?,
        first_user_id = COALESCE(first_user_id, ?), waits_for = ?, waits_through = ?,
        unverified_since = CASE WHEN ? THEN NULL ELSE unverified_since END,
        unverified_because = CASE WHEN ? THEN NULL ELSE unverified_because END,
        verify_attempts = CASE WHEN ? THEN 0 ELSE verify_attempts END, next_wake_at = ?, urgency = 'calendar',
        causes = NULL,
        payments = payments + ?, updated_at = ?, spent_at = NULL
    WHERE collapse_key = ?
"};

/// Maximum length in bytes of the SKUs of a purchase's further parts. They are indexed, and index entries are bounded
/// (<https://www.postgresql.org/docs/current/btree.html>).
const MAX_PART_SKUS: usize = 2_000;

/// Returns the SKUs of the further parts of a purchase, each between two bars, without those that exceed the maximum
/// length; `None` if it has one part.
fn part_skus(purchase: &Purchase) -> Option<String> {
    let parts = purchase.parts();
    let mut skus = "|".to_owned();
    for sku in parts.iter().skip(1).flatten() {
        if skus.len() + sku.len() < MAX_PART_SKUS {
            skus.push_str(sku);
            skus.push('|');
        }
    }
    (skus.len() > 1).then(|| clean(&skus).into_owned())
}

impl Settling<'_> {
    fn write(
        &self,
        write: &mut Write<'_>,
        row: &PurchaseRow,
        facts: Facts,
    ) -> Result<Recorded, Error> {
        let record = &*self.record;
        let Facts {
            mut listings,
            replaced,
            ledger,
            destinations,
            accesses,
            epoch,
            open: _,
        } = facts;
        let destinations = destinations.all(write.connection)?;
        if let Some(epoch) = epoch {
            write.remember_epoch(epoch)?;
        }
        let found = self.compare(
            write,
            row,
            Compared {
                listings: &mut listings,
                replaced,
                ledger,
                accesses,
            },
        )?;
        self.update(write, &found)?;
        for outcome in [
            Outcome::Settled,
            Outcome::NoChange,
            Outcome::Unknown,
            Outcome::Abandoned,
        ] {
            found.end(write, record, outcome)?;
        }
        self.note_waits(write, row)?;
        note_lag(write, record)?;
        self.alarm(write, row)?;
        if found.changed {
            unlisted::alarm_of_record(write, self, &found.description, &mut listings)?;
        }
        if let Some(customer) = self
            .app_user_id
            .filter(|_| found.changed && record.is_answer)
        {
            let unnamed = unnamed(&self.origin.receipt_id);
            due::take_up(write, record.collapse_key, customer, &unnamed)?;
        }
        let realized = if record.is_real {
            Some(replacements::realize_ahead(write, record.collapse_key)?)
        } else {
            None
        };
        let owned = match self.owner {
            Some(owner) if !record.decision.transitions.is_empty() => {
                let owned = shared_ahead(write, owner.id, Which::for_destinations(&destinations))?;
                Some((owned, user_devices::of_ahead(write.connection, owner.id)?))
            }
            _ => None,
        };
        realized.map_or(Ok(()), |realized| realized.recheck(write))?;
        let mut carried = None;
        if found.changed {
            let (owned, devices) = match owned {
                Some((owned, devices)) => (
                    owned.fetch(write, &mut listings)?,
                    devices.fetch(write.connection)?,
                ),
                None => (Vec::new(), Vec::new()),
            };
            let announcement = Announcement {
                settling: self,
                epoch: write.epoch()?,
                revision: found.revision,
                coalesced: found.coalesced(record),
                causes: found.causes(write, record)?.json()?,
                description: &found.description,
                destinations: &destinations,
                owned,
                devices,
            };
            carried = events::announce(write, &announcement, &found.booking)?;
        }
        // A purchase without a revision has no lanes in which a profile could be sent.
        if let Some(owner) = self.owner.filter(|_| found.revision > 0) {
            profiles::queue(
                write,
                &self.subject(owner, found.revision),
                &destinations,
                carried.as_ref(),
            )?;
        }
        self.watch_duty(write)?;
        Ok(Recorded::Done {
            revision: found.revision,
            state: record.decision.purchase.state(),
            lanes: open_lanes(write, record.collapse_key)?,
            prompt: BTreeSet::new(),
        })
    }

    /// Stores the duty to acknowledge the purchase, or closes it, as the store's answer shows it.
    fn watch_duty(&self, write: &mut Write<'_>) -> Result<(), Error> {
        let record = &*self.record;
        match record.shown_acknowledgement() {
            Some(shown) => {
                let platform = self.origin.platform_id;
                duties::watch(write, platform, record.collapse_key, shown)
            }
            None => Ok(()),
        }
    }

    /// Returns the subject of the profile check: the owner, whose profile this record may have changed.
    fn subject<'s>(&'s self, owner: &'s UserRow, revision: i64) -> Subject<'s> {
        Subject {
            check: ProfileCheck {
                origin: self.origin,
                owner,
                trigger: Trigger::Settling,
            },
            collapse_key: self.record.collapse_key,
            revision,
            environment: self.environment(),
            traceparent: self.record.traceparent.as_deref(),
        }
    }

    /// Updates the purchase's row. The next wake is the one that this decision computes; `app_user_id` comes from the
    /// notifications, because a decision has none. If the owner changed, deliveries that waited for the former
    /// owner's id become due. Notifications that the decision leaves open are hidden from the sweep and the
    /// dispatcher only if a wake will settle them.
    fn update(&self, write: &mut Write<'_>, found: &Comparison<'_>) -> Result<(), Error> {
        let (record, decision) = (&*self.record, &self.record.decision);
        let waits_for = decision.waits.map(waits_for);
        let sku = |by| {
            decision
                .purchase
                .sku(by)
                .filter(|sku| sku.len() <= MAX_INDEXED_BYTES)
                .map(clean)
        };
        let owner = self.owner.map(|owner| owner.id).or(found.row.user_id);
        if let (Some(former), Some(owner)) = (found.row.user_id, owner)
            && former != owner
        {
            deliveries::release_purchase(write, record.collapse_key)?;
            user_leases::hand_over(write, self.origin.app_id, former, owner)?;
            write.forget_shared();
        }
        note_changed(write, owner, record.collapse_key);
        sql(UPDATE)
            .bind((
                found.revision,
                decision.purchase.state(),
                self.environment(),
                purchase::json(&decision.purchase)?,
                found.digest.as_str(),
                found.content_digest.as_str(),
                sku(ProductRef::Term).as_deref(),
                sku(ProductRef::Parent).as_deref(),
                part_skus(&decision.purchase),
            ))
            .bind((
                record.settling,
                fingerprint(&record.seqs),
                self.app_user_id,
                owner,
                owner,
                waits_for,
                self.waiting().last().copied(),
                record.ends_failures(),
                record.ends_failures(),
                record.ends_failures(),
                decision.wake,
                if found.changed {
                    found.booking.entries()
                } else {
                    0
                },
                write.now()?,
                record.collapse_key,
            ))
            .later(write.connection)?;
        if !found.row.is_product_known && decision.purchase.sku(self.origin.product_ref).is_some() {
            replacements::recheck_successor(write, record.collapse_key)?;
        }
        Ok(())
    }

    /// Marks the notifications that wait for the next wake. Those that this record settled keep their mark, which shows
    /// that they were settled late because they waited.
    fn note_waits(&self, write: &mut Write<'_>, before: &PurchaseRow) -> Result<(), Error> {
        let waiting = self.waiting();
        if !waiting.is_empty() || before.waits_through.is_some() {
            let through = waiting.last().copied();
            notifications::wait(write, self.record.collapse_key, waiting, through)?;
        }
        Ok(())
    }

    /// Returns the notifications that wait for the next wake.
    fn waiting(&self) -> BTreeSet<i64> {
        let decision = &self.record.decision;
        decision
            .waits
            .and(decision.wake)
            .map(|_| self.record.left_open())
            .unwrap_or_default()
    }

    /// Raises an alarm if notifications begin to wait for a store that does not answer, if notifications are given
    /// up, or if the successor of a replaced purchase is unknown.
    fn alarm(&self, write: &mut Write<'_>, before: &PurchaseRow) -> Result<(), Error> {
        let decision = &self.record.decision;
        let begins = decision.waits == Some(Waits::Verification)
            && before.waits_for != Some(WaitsFor::Verification)
            && !self.record.left_open().is_empty();
        let platform = About::Platform(self.origin.platform_id);
        if begins {
            alarms::raise(
                write,
                platform,
                alarms::VERIFICATION_WAITS,
                alarms::STORE_SILENT,
            )?;
        }
        if decision
            .outcomes
            .iter()
            .any(|(_, outcome)| *outcome == Outcome::Abandoned)
        {
            let detail = format!("notifications were given up: {ABANDONED}");
            alarms::raise(write, platform, "given_up", &detail)?;
        }
        succession::alarm(write, self, before)
    }
}

/// Returns the value of the column `waits_for`.
const fn waits_for(waits: Waits) -> WaitsFor {
    match waits {
        Waits::Verification => WaitsFor::Verification,
        Waits::Confirmation => WaitsFor::Confirmation,
        Waits::Parked(_) => WaitsFor::Parked,
    }
}

fn open_lanes(write: &mut Write<'_>, key: CollapseKey) -> Result<Vec<Lane>, Error> {
    if fault::is_planted("record.forget_lane") {
        return Ok(Vec::new());
    }
    let mut open = lanes::open(write.connection, key)?;
    open.retain(|lane| !fault::is_planted_for("record.forget_lane", lane.destination_id));
    Ok(open)
}

/// Returns the SHA-256 of the sequence numbers of the settled notifications, in hex.
fn fingerprint(seqs: &[i64]) -> String {
    let mut seqs = seqs.to_vec();
    seqs.sort_unstable();
    let text: Vec<String> = seqs.iter().map(i64::to_string).collect();
    sha256(&text.join(","))
}

/// Returns whether every notification that the decision saw is still open: an admin may have discarded some.
fn are_open(
    write: &mut Write<'_>,
    record: &Record,
    open: Option<Ahead<'static, Number>>,
) -> Result<bool, Error> {
    let Some(open) = open else { return Ok(true) };
    let open = open.first(write.connection)?.map_or(0, |open| open.value);
    Ok(usize::try_from(open) == Ok(record.seqs.len()))
}

const NOTE_LAG: Sql = statement! {"
    UPDATE notifications
    SET reason = ?
    WHERE collapse_key = ? AND store_time = ?
        AND (outcome IS NULL OR outcome IN ('settled', 'no_change'))
"};

/// Stores how the store's answer relates to a notification, as the notification's reason; `settle explain` shows it.
fn note_lag(write: &mut Write<'_>, record: &Record) -> Result<(), Error> {
    let Some((since, lag)) = record.decision.lag else {
        return Ok(());
    };
    let reason = match lag {
        Lag::Behind => {
            "the store did not show it yet; the store's response two hours later decides".to_owned()
        }
        Lag::CaughtUp => format!("the store showed it at {}", write.now()?),
        Lag::Overruled => {
            format!(
                "the store showed otherwise two hours later, and its response of {} counts",
                write.now()?
            )
        }
    };
    sql(NOTE_LAG)
        .bind((reason, record.collapse_key, since))
        .later(write.connection)
}
