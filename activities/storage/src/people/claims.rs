//! One step in the verification of a claim: the claim is confirmed or refused by what is known of its purchase, or it
//! waits, or the store is queried once.
//!
//! A newly verified claim becomes a notification of its purchase, which restarts the window and is settled in it.
//!
//! Locks are taken in the same order as in all transactions: the users, the device, the claim. A join then locks
//! purchases of these users; no deadlock follows, because every other transaction locks a purchase's owner before the
//! purchase.

use crate::inbox::accept;
use crate::inbox::notifications::{Accepted, NewNotification, Open, OpenRow};
use crate::people::join::join;
use crate::people::{device_users, moves};
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, PurchaseRow, Urgency};
use crate::purchases::users::StoreUser;
use crate::settings::app_lock;
use crate::settings::tombstones::{self, ConcealedName};
use crate::settings::unnamed::{PURCHASE_PREFIX, unnamed};
use crate::store::Store;
use db::config::Installation;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::{OPEN_OF_KEY, PENDING_BY_KEY};
use db::secrets::Secrets;
use db::sql::{Sql, statement};
use db::statement::{clean, row, sql};
use db::writer::Write;
use domain::device::claim::{
    self, CLAIM_STORE_TYPE, ClaimKind, ClaimReason, ClaimStatus, REFUSED_FOR,
};
use domain::stores::Proof;
use domain::time::refused_wait;
use domain::{
    AppId, CollapseKey, DevicePlace, Notification, NotificationKind, Snapshot, StorePolicy,
    Timestamp,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// The next step of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimStep {
    /// Decided, or examined again later.
    Done(ClaimStatus),
    /// Verified from known data, and stored as a new notification of its purchase.
    Reported(Open),
    /// Verified from known data. Its purchase has a notification of this claim already and is to be settled again.
    Recheck,
    /// The store is to be queried.
    Query,
}

/// The store's answer about a claim.
#[derive(Debug, Clone)]
pub enum ClaimAnswer {
    Confirmed {
        snapshot: Box<Snapshot>,
        /// The store's id of the customer, if the answer names it.
        customer: Option<String>,
    },
    /// The store does not confirm the claim, for this reason.
    Refused(ClaimReason),
    /// The store did not answer; it may be queried again after this time.
    Unanswered(Duration),
    /// The store was not queried; it may be queried after this time.
    Later(Duration),
}

/// The result of a claim after the store's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimResult {
    /// Verified, and stored as a new notification of its purchase.
    Reported(Open),
    /// Verified. Its purchase has a notification of this claim already and is to be settled again.
    Verified,
    NotVerified,
}

row! {
    struct ClaimRow {
        receipt_id: String,
        app_user_id: String,
        kind: ClaimKind,
        reason: Option<ClaimReason>,
        failure: Option<String>,
        created_at: Timestamp,
        app_id: AppId,
        store: String,
    }
}

const FIND: Sql = statement! {"
    SELECT c.receipt_id, c.app_user_id, c.kind, c.reason, c.failure, c.created_at, f.app_id, f.store
    FROM claims c
    JOIN platforms f ON f.id = c.platform_id
    WHERE c.platform_id = ? AND c.device_id = ? AND c.collapse_key = ? AND c.status {PENDING_BY_KEY}
"};

const HAS_OPEN: Sql = statement! {hot "notifications_open_of_key", "
    SELECT COUNT(*) AS value
    FROM notifications
    WHERE collapse_key = ? AND {OPEN_OF_KEY} AND waiting_topic_id IS NULL
"};

const REPORTED: Sql = statement! {"
    SELECT n.seq, n.collapse_key, n.due_at, n.cap_at, n.traceparent
    FROM notifications n
    WHERE n.seq = ?
"};

const VERIFY: Sql = statement! {"
    UPDATE claims
    SET app_user_id = ?, status = 'verified', reason = NULL, failure = NULL, verified_at = ?, network = ''
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status {PENDING_BY_KEY} AND app_user_id = ?
"};

const REFUSE: Sql = statement! {"
    UPDATE claims
    SET app_user_id = ?, status = 'refused', reason = ?, failure = NULL, due_at = ?
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status {PENDING_BY_KEY} AND app_user_id = ?
"};

const POSTPONE: Sql = statement! {"
    UPDATE claims
    SET app_user_id = ?, due_at = ?, attempts = attempts + ?,
        created_at = CASE WHEN reason = 'no_secret' OR failure IS NOT NULL THEN ? ELSE created_at END,
        reason = ?, failure = NULL
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status {PENDING_BY_KEY} AND app_user_id = ?
"};

const NOTE_FAILURE: Sql = statement! {"
    UPDATE claims
    SET due_at = ?, failure = ?
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status {PENDING_BY_KEY}
"};

const REFUSED: Sql = statement! {hot "claims_of_key", "
    SELECT c.reason, c.due_at
    FROM claims c
    WHERE c.collapse_key = ? AND c.app_user_id = ? AND c.status = 'refused' AND c.reason NOT IN ('given_up', 'displaced')
        AND c.due_at > ?
    ORDER BY c.due_at DESC
    LIMIT 1
"};

const REFUSED_PURCHASE: Sql = statement! {hot "claims_of_key", "
    SELECT c.reason, c.due_at
    FROM claims c
    WHERE c.collapse_key = ? AND c.status = 'refused' AND c.reason NOT IN ('given_up', 'displaced') AND c.due_at > ?
    ORDER BY c.due_at DESC
    LIMIT 1
"};

row! {
    /// An earlier refusal of a claim by the store.
    struct RefusedRow {
        reason: ClaimReason,
        due_at: Timestamp,
    }
}

impl Store {
    /// Examines a due claim. Decides it without a query of the store if what is known of its purchase suffices.
    pub async fn examine_claim(
        &self,
        place: DevicePlace,
        key: CollapseKey,
    ) -> Result<ClaimStep, Error> {
        let (installation, secrets) = (self.installation(), self.database.secrets.clone());
        self.write_of_device(place, move |write| {
            let Some(pending) = Pending::find(write.connection, &secrets, place, key)? else {
                return Ok(ClaimStep::Done(ClaimStatus::Verified));
            };
            let row = purchase::find(write.connection, key)?;
            let proof = pending.proof()?;
            let unnamed = match proof {
                Proof::Pair => None,
                Proof::Possession | Proof::Signed => Some(pending.unnamed_customer()),
            };
            let status = match claimed_purchase(write.connection, key, row.as_ref(), unnamed)? {
                ClaimedPurchase::Verified(customer) if pending.is_proved_for(&customer)? => {
                    let pending = pending.of(customer);
                    return pending.verify_known(write, installation, &secrets);
                }
                ClaimedPurchase::Verified(_) => {
                    pending.refuse(write, ClaimReason::WrongCustomer)?
                }
                ClaimedPurchase::Unknown if pending.was_refused(write)? => ClaimStatus::Refused,
                ClaimedPurchase::Unsettled => {
                    pending.postpone(write, Some(ClaimReason::Unsettled), Duration::ZERO)?
                }
                // The purchase's id, which is all that a query has, proves nothing.
                ClaimedPurchase::Unknown if proof == Proof::Signed => {
                    pending.postpone(write, None, Duration::ZERO)?
                }
                ClaimedPurchase::Unknown
                    if claim::may_query(pending.row.created_at, write.now()?) =>
                {
                    return Ok(ClaimStep::Query);
                }
                ClaimedPurchase::Unknown => pending.postpone(write, None, Duration::ZERO)?,
            };
            Ok(ClaimStep::Done(status))
        })
        .await
    }

    /// Records the store's answer about a claim. A confirmed claim is verified and becomes a notification of its
    /// purchase, in one transaction.
    pub async fn finish_claim(
        &self,
        place: DevicePlace,
        key: CollapseKey,
        answer: ClaimAnswer,
    ) -> Result<ClaimResult, Error> {
        let (installation, secrets) = (self.installation(), self.database.secrets.clone());
        self.write_of_device(place, move |write| {
            let Some(pending) = Pending::find(write.connection, &secrets, place, key)? else {
                return Ok(ClaimResult::NotVerified);
            };
            match &answer {
                ClaimAnswer::Confirmed { snapshot, customer } => {
                    let pending = pending.named(write, &secrets, snapshot, customer.as_deref())?;
                    pending.confirm(write, installation, &secrets, snapshot)
                }
                ClaimAnswer::Refused(reason) => pending
                    .refuse(write, *reason)
                    .map(|_| ClaimResult::NotVerified),
                ClaimAnswer::Unanswered(wait) => {
                    let postponed = pending.postpone(write, Some(ClaimReason::Unanswered), *wait);
                    postponed.map(|_| ClaimResult::NotVerified)
                }
                ClaimAnswer::Later(wait) => pending
                    .postpone(write, None, *wait)
                    .map(|_| ClaimResult::NotVerified),
            }
        })
        .await
    }

    /// Notes why the database permanently refuses a step of a claim, and schedules the next examination. The claim is
    /// neither given up nor counted as unanswered, because the store is not at fault.
    pub async fn note_claim_failure(
        &self,
        place: DevicePlace,
        key: CollapseKey,
        why: &str,
    ) -> Result<(), Error> {
        let (secrets, why) = (self.database.secrets.clone(), clean(why).into_owned());
        self.write_of_device(place, move |write| {
            let Some(pending) = Pending::find(write.connection, &secrets, place, key)? else {
                return Ok(());
            };
            let wait = refused_wait(write.now()?.since(pending.row.created_at));
            sql(NOTE_FAILURE)
                .bind((
                    write.now()?.plus(wait),
                    why.as_str(),
                    place.platform,
                    place.device,
                    key,
                ))
                .run(write.connection)
                .map(drop)
        })
        .await
    }
}

/// Current knowledge about the purchase of a claim.
enum ClaimedPurchase {
    /// The store's last answer is valid, and for this customer.
    Verified(String),
    /// Known, but without a valid answer of the store yet.
    Unsettled,
    Unknown,
}

fn claimed_purchase(
    connection: &mut AnyConnection,
    key: CollapseKey,
    row: Option<&PurchaseRow>,
    unnamed: Option<String>,
) -> Result<ClaimedPurchase, Error> {
    if let Some(row) = row.filter(|row| row.revision > 0) {
        let customer = row.app_user_id.clone().or(unnamed);
        let customer = customer.filter(|_| row.waits_for.is_none());
        let verified =
            customer.map(|customer| row.known().map(|known| (customer, !known.is_unverified())));
        return Ok(match verified.transpose()? {
            Some((customer, true)) => ClaimedPurchase::Verified(customer),
            _ => ClaimedPurchase::Unsettled,
        });
    }
    let open: Option<i64> = sql(HAS_OPEN).bind(key).value(connection)?;
    Ok(if open.unwrap_or(0) > 0 {
        ClaimedPurchase::Unsettled
    } else {
        ClaimedPurchase::Unknown
    })
}

/// Returns the customer of a known purchase, unless what the store signed names the customer of a later period.
fn known_customer(row: &PurchaseRow, signed: &Snapshot) -> Result<Option<String>, Error> {
    let named_at = signed.state.as_ref().and_then(|state| state.named_at);
    let known = row.known()?;
    let known_since = known.store_state().and_then(|state| state.named_at);
    let is_later = named_at.is_some() && named_at >= known_since;
    Ok(row.app_user_id.clone().filter(|_| !is_later))
}

struct Pending {
    place: DevicePlace,
    key: CollapseKey,
    row: ClaimRow,
    /// The store's id of the claim's customer; the tombstone if the customer was erased since.
    app_user_id: String,
}

impl Pending {
    fn find(
        connection: &mut AnyConnection,
        secrets: &Secrets,
        place: DevicePlace,
        key: CollapseKey,
    ) -> Result<Option<Self>, Error> {
        let row: Option<ClaimRow> = sql(FIND)
            .bind((place.platform, place.device, key))
            .first(connection)?;
        let Some(row) = row else { return Ok(None) };
        let customer = ConcealedName {
            app: row.app_id,
            store: &row.store,
            app_user_id: &row.app_user_id,
        };
        let app_user_id = tombstones::or_tombstone(connection, secrets, customer)?;
        Ok(Some(Self {
            place,
            key,
            row,
            app_user_id,
        }))
    }

    /// Returns whether the claim is proved, by the store's policy, if the purchase belongs to this customer.
    fn is_proved_for(&self, customer: &str) -> Result<bool, Error> {
        Ok(match self.proof()? {
            Proof::Pair => customer == self.app_user_id,
            // A claim is stored only with a signed transaction, if the store signs them.
            Proof::Possession | Proof::Signed => true,
        })
    }

    fn proof(&self) -> Result<Proof, Error> {
        let policy = StorePolicy::of(&self.row.store);
        let policy = policy.map_err(|unknown| Error::corrupt(unknown.to_string()))?;
        Ok(policy.proof)
    }

    /// Returns the customer's key of a purchase whose customer the store did not name.
    fn unnamed_customer(&self) -> String {
        unnamed(&self.row.receipt_id)
    }

    /// Returns the claim with this customer.
    fn of(self, app_user_id: String) -> Self {
        Self {
            app_user_id,
            ..self
        }
    }

    /// Returns the claim, assigned to the customer in the store's answer, if the answer identifies the customer. A signed
    /// transaction may be an old one: the customer of a known purchase stays, unless the transaction names a later one.
    fn named(
        self,
        write: &mut Write<'_>,
        secrets: &Secrets,
        snapshot: &Snapshot,
        customer: Option<&str>,
    ) -> Result<Self, Error> {
        match self.proof()? {
            Proof::Pair => return Ok(self),
            Proof::Possession => {}
            Proof::Signed => {
                let row = purchase::find(write.connection, self.key)?;
                let known = row.map(|row| known_customer(&row, snapshot)).transpose()?;
                if let Some(known) = known.flatten() {
                    return Ok(self.of(known));
                }
            }
        }
        // Only the store may name the customer, not the device: without a name the purchase stands for its customer.
        let Some(name) = customer else {
            let unnamed = self.unnamed_customer();
            return Ok(self.of(unnamed));
        };
        let name = clean(name);
        let customer = ConcealedName {
            app: self.row.app_id,
            store: &self.row.store,
            app_user_id: &name,
        };
        let name = tombstones::or_tombstone(write.connection, secrets, customer)?;
        Ok(self.of(name))
    }

    /// Verifies the claim by the store's answer, and stores it as a notification of its purchase. The notification
    /// reports the beginning of the purchase as the store shows it, unless the purchase became known meanwhile.
    fn confirm(
        &self,
        write: &mut Write<'_>,
        installation: Installation,
        secrets: &Secrets,
        snapshot: &Snapshot,
    ) -> Result<ClaimResult, Error> {
        if !self.verify(write, installation)? {
            return Ok(ClaimResult::NotVerified);
        }
        let is_known =
            purchase::find(write.connection, self.key)?.is_some_and(|row| row.revision > 0);
        let (kind, at) = if is_known {
            (NotificationKind::Claimed, write.now()?)
        } else {
            claim::reported(self.row.kind, snapshot, write.now()?)
        };
        Ok(self
            .report(write, secrets, kind, at)?
            .map_or(ClaimResult::Verified, ClaimResult::Reported))
    }

    /// Verifies the claim of a known purchase, and stores it as a notification of that purchase. If a settling has
    /// verified the claim since it was read, that settling announces it.
    fn verify_known(
        &self,
        write: &mut Write<'_>,
        installation: Installation,
        secrets: &Secrets,
    ) -> Result<ClaimStep, Error> {
        if !self.verify(write, installation)? {
            return Ok(ClaimStep::Done(ClaimStatus::Verified));
        }
        let now = write.now()?;
        let reported = self.report(write, secrets, NotificationKind::Claimed, now)?;
        Ok(reported.map_or(ClaimStep::Recheck, ClaimStep::Reported))
    }

    /// Stores the verified claim as a notification of its purchase, so that it restarts the window as a store's
    /// notification does. If the same device claimed the purchase before, rechecks the purchase and returns `None`.
    fn report(
        &self,
        write: &mut Write<'_>,
        secrets: &Secrets,
        kind: NotificationKind,
        at: Timestamp,
    ) -> Result<Option<Open>, Error> {
        // The customer of a known purchase is known, and stays.
        let is_named = !self.app_user_id.starts_with(PURCHASE_PREFIX);
        let is_new = kind != NotificationKind::Claimed && is_named;
        let app_user_id = is_new.then(|| self.app_user_id.clone());
        let notification = Notification {
            message_id: claim::message_id(self.place.device, self.key),
            collapse_key: self.key,
            receipt_id: self.row.receipt_id.clone(),
            kind,
            store_type: CLAIM_STORE_TYPE.to_owned(),
            store_time: at,
            app_user_id,
            related_receipt_id: None,
            is_test: false,
            voided: None,
            refunded: None,
        };
        let notification = NewNotification {
            // With a store time, a device's claim would be a duplicate of another device's.
            store_time: None,
            ..NewNotification::of(self.place.platform, notification)
        };
        let accepted = accept::insert(write, secrets, &[&notification])?;
        let Some(Accepted::New { seq }) = accepted.first() else {
            purchase::recheck(
                write,
                Urgency::Person,
                CauseKind::Device,
                purchase::OF_KEY,
                [self.key.into()],
            )?;
            return Ok(None);
        };
        let row: Option<OpenRow> = sql(REPORTED).bind(*seq).first(write.connection)?;
        let now = write.now()?;
        Ok(row.map(|row| row.open(now)))
    }

    /// Verifies the claim, and joins the device with the customer's user. Returns whether the claim was still pending
    /// once its device was locked. It is verified before the join, so that the join's events list the device.
    fn verify(&self, write: &mut Write<'_>, installation: Installation) -> Result<bool, Error> {
        let ClaimRow {
            app_id,
            store,
            app_user_id,
            ..
        } = &self.row;
        let customer = StoreUser {
            app_id: *app_id,
            store: store.clone(),
            app_user_id: self.app_user_id.clone(),
        };
        self.lock_users(write, &customer)?;
        device_users::lock(write, self.place)?;
        let verify = sql(VERIFY).bind((
            self.app_user_id.as_str(),
            write.now()?,
            self.place.platform,
            self.place.device,
            self.key,
        ));
        if verify.bind(app_user_id.as_str()).run(write.connection)? == 0 {
            return Ok(false);
        }
        join(write, installation, self.place, &customer)?;
        Ok(true)
    }

    /// Locks the app, then the users of the customer and of the device, before the purchase. The join locks them again.
    fn lock_users(&self, write: &mut Write<'_>, customer: &StoreUser) -> Result<(), Error> {
        app_lock::share(write, customer.app_id)?;
        let of_device = device_users::find(write.connection, self.place)?.id(self.place);
        let of_customer = match customer.find(write.connection)? {
            Some(user) => user,
            None => customer.assign(write, customer.anonymous())?,
        };
        moves::lock_users(write, &BTreeSet::from([of_device, of_customer])).map(drop)
    }

    /// Refuses the claim if the store refused the same purchase on another device, as long as that claim is stored: the
    /// publishable key is public, so anyone can invent devices. If the store proves pairs of purchase and customer, the
    /// refusal counts only for the same customer. Returns whether it refused the claim.
    fn was_refused(&self, write: &mut Write<'_>) -> Result<bool, Error> {
        let now = write.now()?;
        let claim = match self.proof()? {
            Proof::Pair => sql(REFUSED).bind((self.key, self.row.app_user_id.as_str(), now)),
            Proof::Possession => sql(REFUSED_PURCHASE).bind((self.key, now)),
            // No query of the store refuses such a claim.
            Proof::Signed => return Ok(false),
        };
        let refused: Option<RefusedRow> = claim.first(write.connection)?;
        let Some(RefusedRow { reason, due_at }) = refused else {
            return Ok(false);
        };
        self.refuse_until(write, reason, due_at).map(|_| true)
    }

    fn refuse(&self, write: &mut Write<'_>, reason: ClaimReason) -> Result<ClaimStatus, Error> {
        let until = write.now()?.plus(REFUSED_FOR);
        self.refuse_until(write, reason, until)
    }

    /// Refuses the claim, which stays stored until `until`.
    fn refuse_until(
        &self,
        write: &mut Write<'_>,
        reason: ClaimReason,
        until: Timestamp,
    ) -> Result<ClaimStatus, Error> {
        sql(REFUSE)
            .bind((
                self.app_user_id.as_str(),
                reason,
                until,
                self.place.platform,
                self.place.device,
                self.key,
                self.row.app_user_id.as_str(),
            ))
            .run(write.connection)?;
        Ok(ClaimStatus::Refused)
    }

    /// Schedules the next examination of the claim, after `wait` at the earliest; gives the claim up after two days.
    /// Time without a secret does not count, nor time in which the database refused the claim.
    fn postpone(
        &self,
        write: &mut Write<'_>,
        reason: Option<ClaimReason>,
        wait: Duration,
    ) -> Result<ClaimStatus, Error> {
        let begins_anew =
            self.row.reason == Some(ClaimReason::NoSecret) || self.row.failure.is_some();
        let claimed_at = if begins_anew {
            write.now()?
        } else {
            self.row.created_at
        };
        let Some(next) = claim::next_check(claimed_at, write.now()?) else {
            return self.refuse(write, ClaimReason::Abandoned);
        };
        sql(POSTPONE)
            .bind((
                self.app_user_id.as_str(),
                next.max(write.now()?.plus(wait)),
                i64::from(reason == Some(ClaimReason::Unanswered)),
                claimed_at,
                reason,
                self.place.platform,
                self.place.device,
                self.key,
                self.row.app_user_id.as_str(),
            ))
            .run(write.connection)?;
        Ok(ClaimStatus::Pending)
    }
}
