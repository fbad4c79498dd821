//! The row of a purchase. Every settling and every change of a purchase locks its row first.

use crate::purchases::cause::{self, ADD_CAUSE, CauseKind, RevisionCause, RevisionCauses};
use crate::settings::app_lock;
use crate::settings::credential::IS_USABLE_F;
use const_format::formatcp;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::OPEN_OF_KEY;
use db::sql::{Clause, Sql, clause, insert, statement};
use db::statement::{Ahead, Value, clean, row, sql, stored};
use db::writer::Write;
use domain::catalogue::ProductRef;
use domain::notification::SAMPLE_PREFIX;
use domain::stores::{CustomerSource, Evidence};
use domain::{
    AppId, CollapseKey, Environment, PlatformId, Purchase, State, StorePolicy, Timestamp,
    UnknownReceipts, UserId,
};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

row! {
    /// A purchase as it is stored.
    pub struct PurchaseRow {
        pub app_user_id: Option<String>,
        /// The store's id of the customer in the last answer that named one.
        pub answered_customer: Option<String>,
        pub user_id: Option<UserId>,
        pub revision: i64,
        pub digest: String,
        pub content_digest: String,
        pub state: State,
        pub purchase: String,
        /// Whether the purchase has a SKU.
        pub is_product_known: bool,
        pub waits_for: Option<WaitsFor>,
        pub waits_through: Option<i64>,
        pub settling: i64,
        pub fingerprint: String,
        pub held_until: Option<Timestamp>,
        pub next_wake_at: Option<Timestamp>,
        /// The causes of its rechecks since its last settling.
        pub causes: Option<RevisionCauses>,
    }
}

row! {
    /// The app and platform of a purchase, and the platform's settings for it.
    #[derive(Clone)]
    pub struct Origin {
        pub platform_id: PlatformId,
        pub app_id: AppId,
        pub store: String,
        /// The platform's environment; the sandbox for a sample.
        pub environment: Environment,
        pub product_ref: ProductRef,
        pub max_wait: Option<Duration>,
        /// What to do if the store does not know the purchase.
        pub unknown_receipts: UnknownReceipts,
        /// The version of the platform's settings, which each change raises.
        pub settings_version: i64,
        /// Whether the store can be queried: the platform is not deleted, and it has a secret that the store has not
        /// refused, or this is a sample, which needs none.
        can_verify: bool,
        /// Whether the platform is not deleted.
        is_connected: bool,
        /// Whether the app's catalogue has entitlements. If so, a product that is missing from the catalogue gives no
        /// access, which is probably a mistake.
        pub has_entitlements: bool,
        pub receipt_id: String,
    }
}

const SELECT: &str = "
    SELECT app_user_id, answered_customer, user_id, revision, digest, content_digest, state, purchase,
        (term_sku IS NOT NULL OR product_id IS NOT NULL) AS is_product_known, waits_for, waits_through, settling,
        fingerprint, held_until, next_wake_at, causes
    FROM purchases
    WHERE collapse_key = ?";

/// Whether the purchase is a sample. Compares with `substr`, because SQLite's `LIKE` ignores case.
const IS_SAMPLE: &str = formatcp!(
    "substr(o.receipt_id, 1, {}) = '{SAMPLE_PREFIX}'",
    SAMPLE_PREFIX.len()
);

const ORIGIN: &str = formatcp!(
    "
    SELECT f.id AS platform_id, f.app_id, f.store, CASE WHEN {IS_SAMPLE} THEN 'sandbox' ELSE f.environment END
        AS environment, f.product_ref, f.max_wait_ms AS max_wait, f.unknown_receipts, f.settings_version,
        (({IS_USABLE_F} OR {IS_SAMPLE}) AND f.deleted_at IS NULL)
        AS can_verify, (f.deleted_at IS NULL) AS is_connected,
        EXISTS (SELECT 1 FROM entitlements e WHERE e.app_id = f.app_id) AS has_entitlements, o.receipt_id
    FROM"
);

impl PurchaseRow {
    pub fn known(&self) -> Result<Purchase, Error> {
        read(&self.purchase)
    }
}

const FIND: Sql = statement!("{SELECT}");

/// Returns the row of a purchase, if there is one.
pub fn find(
    connection: &mut AnyConnection,
    key: CollapseKey,
) -> Result<Option<PurchaseRow>, Error> {
    find_ahead(connection, key)?.first(connection)
}

/// Like [`find`], but the row is fetched later.
pub fn find_ahead(
    connection: &mut AnyConnection,
    key: CollapseKey,
) -> Result<Ahead<'static, PurchaseRow>, Error> {
    sql(FIND).bind(key).ahead(connection)
}

const ORIGIN_OF_PURCHASE: Sql = statement! {"
    {ORIGIN} purchases o
    JOIN platforms f ON f.id = o.platform_id
    WHERE o.collapse_key = ?
"};

// A purchase has few notifications before its first record; once it has a row, no notification is read. `seq + 0` keeps
// the planner from walking all notifications in order of their numbers.
const ORIGIN_OF_NOTIFICATION: Sql = statement! {hot "notifications_of_key", "
    {ORIGIN} notifications o
    JOIN platforms f ON f.id = o.platform_id
    WHERE o.collapse_key = ? AND (SELECT p.revision FROM purchases p WHERE p.collapse_key = ?) IS NULL
    ORDER BY o.seq + 0
    LIMIT 1
"};

/// Returns the app and platform of a purchase, by its row or else by its notifications.
pub fn origin(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<Origin>, Error> {
    origin_ahead(connection, key)?.fetch(connection)
}

/// Like [`origin`], but the rows are fetched later.
pub fn origin_ahead(connection: &mut AnyConnection, key: CollapseKey) -> Result<Origins, Error> {
    // In this order, so that the second statement sees a row that another process writes between the two.
    let of_notification = sql(ORIGIN_OF_NOTIFICATION)
        .bind(key)
        .bind(key)
        .ahead(connection)?;
    let of_purchase = sql(ORIGIN_OF_PURCHASE).bind(key).ahead(connection)?;
    Ok(Origins {
        of_purchase,
        of_notification,
    })
}

/// The app and platform of a purchase by its row, and by its notifications.
pub struct Origins {
    of_purchase: Ahead<'static, Origin>,
    of_notification: Ahead<'static, Origin>,
}

impl Origins {
    /// Returns the origin by the row or, without a row, by the notifications.
    pub fn fetch(self, connection: &mut AnyConnection) -> Result<Option<Origin>, Error> {
        if let Some(origin) = self.of_purchase.first(connection)? {
            return Ok(Some(origin));
        }
        self.of_notification.first(connection)
    }
}

/// Shares the lock of the app until the end of the transaction, and reads [`origin`] again. So a change of a setting or
/// of the catalogue either precedes this record, which sees it, or follows it and finds the rows that it wrote.
pub fn lock_origin(
    write: &mut Write<'_>,
    key: CollapseKey,
    seen: &Origin,
) -> Result<Origins, Error> {
    app_lock::share(write, seen.app_id)?;
    origin_ahead(write.connection, key)
}

const CUSTOMER: Sql = statement! {hot "notifications_open_of_key", "
    SELECT app_user_id AS value
    FROM notifications
    WHERE collapse_key = ? AND {OPEN_OF_KEY} AND waiting_topic_id IS NULL
        AND app_user_id IS NOT NULL
    ORDER BY seq + 0 DESC
    LIMIT 1
"};

/// The customer in a query about a purchase.
pub struct QueriedCustomer {
    /// The store's id of the customer; absent if it is not known and the store needs none.
    pub app_user_id: Option<String>,
}

impl Origin {
    /// Returns the origin of another purchase on this platform.
    pub fn of_receipt(&self, receipt_id: &str) -> Self {
        Self {
            receipt_id: clean(receipt_id).into_owned(),
            ..self.clone()
        }
    }

    /// Returns the rules of the store.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when this version does not know the store.
    pub fn policy(&self) -> Result<StorePolicy, Error> {
        StorePolicy::of(&self.store).map_err(|unknown| Error::corrupt(unknown.to_string()))
    }

    /// Returns whether a query of the store may use the platform's credential, or needs none because this is a sample.
    pub const fn can_query(&self) -> bool {
        self.can_verify
    }

    /// Returns whether the purchase can be checked by what the store signed, even without a credential.
    fn is_signed_for(&self) -> bool {
        let is_signed = |policy: StorePolicy| policy.evidence == Evidence::Signed;
        self.is_connected && StorePolicy::of(&self.store).is_ok_and(is_signed)
    }

    /// Returns the customer in a query about a purchase: as the store's policy requires, the one in the store's last
    /// answer or in the newest open notification; without either, the last known one. `None` if the purchase cannot be
    /// checked, or the store needs an id and none is known.
    pub fn queried_customer(
        &self,
        connection: &mut AnyConnection,
        key: CollapseKey,
        row: Option<&PurchaseRow>,
    ) -> Result<Option<QueriedCustomer>, Error> {
        if !self.can_verify && !self.is_signed_for() {
            return Ok(None);
        }
        let known = || row.and_then(|row| row.app_user_id.clone());
        match self.policy()?.customer {
            CustomerSource::Answer => {
                let answered = row.and_then(|row| row.answered_customer.clone());
                let app_user_id = answered.or_else(known);
                Ok(Some(QueriedCustomer { app_user_id }))
            }
            CustomerSource::Notification => {
                let notified: Option<String> = sql(CUSTOMER).bind(key).value(connection)?;
                let app_user_id = notified.or_else(known);
                Ok(app_user_id.map(|name| QueriedCustomer {
                    app_user_id: Some(name),
                }))
            }
        }
    }
}

const NOTE_ANSWERED_CUSTOMER: Sql = statement! {"
    UPDATE purchases
    SET answered_customer = ?
    WHERE collapse_key = ? AND (answered_customer IS NULL OR answered_customer <> ?)
"};

/// Stores the store's id of the customer in an answer. The next record assigns the purchase to this customer. The id
/// stays stored until an answer names another customer.
pub fn note_answered_customer(
    write: &mut Write<'_>,
    key: CollapseKey,
    name: &str,
) -> Result<(), Error> {
    let named = sql(NOTE_ANSWERED_CUSTOMER).bind((name, key, name));
    named.run(write.connection).map(drop)
}

/// Locks the row until the end of the transaction. If there is none, it is created from the purchase's notifications.
pub fn lock(write: &mut Write<'_>, key: CollapseKey) -> Result<PurchaseRow, Error> {
    if let Some(row) = find_locked(write, key)? {
        return Ok(row);
    }
    let origin = origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    insert(write, key, &origin)?;
    find_locked(write, key)?.ok_or(Error::Missing { what: "purchase" })
}

const RECHECK: Sql = statement! {"
    UPDATE purchases
    SET {ADD_CAUSE}, next_wake_at = ?, urgency = ?, settling = settling + 1, fingerprint = '', spent_at = NULL
    WHERE {{which}}
"};
const LOCK_MANY: Sql = statement! {"
    SELECT collapse_key AS value
    FROM purchases
    WHERE {{which}}
    ORDER BY collapse_key
    FOR NO KEY UPDATE
"};
/// The statements that a clause for [`recheck`] completes.
pub const RECHECKS: [Sql; 2] = [RECHECK, LOCK_MANY];

/// Rechecks a few purchases at once; returns their number. Use `settling::rechecks` for many. The recheck raises the
/// settling number, so a settling that began before and is not recorded yet gets `Moved`: otherwise it would overwrite
/// the wake, and miss the change that caused it.
pub fn recheck<'v>(
    write: &mut Write<'_>,
    urgency: Urgency,
    kind: CauseKind,
    which: Clause,
    values: impl IntoIterator<Item = Value<'v>>,
) -> Result<usize, Error> {
    let cause = RevisionCause::of(kind, write).json()?;
    recheck_because(write, urgency, &cause, which, values)
}

/// Like [`recheck`], with the stored form of the cause.
pub fn recheck_because<'v>(
    write: &mut Write<'_>,
    urgency: Urgency,
    cause: &str,
    which: Clause,
    values: impl IntoIterator<Item = Value<'v>>,
) -> Result<usize, Error> {
    let values: Vec<Value<'v>> = values.into_iter().collect();
    lock_in_order(write, LOCK_MANY.of(which), &values)?;
    let recheck = sql(RECHECK.of(which))
        .bind_all(cause::noted(cause))
        .bind(write.now()?)
        .bind(urgency);
    recheck.bind_all(values).run(write.connection)
}

/// Maximum number of keys in a statement.
pub const MAX_KEYS: usize = 500;
const OF_KEYS: Clause = clause!(&RECHECKS, "collapse_key IN (?*)");

/// Like [`recheck`], for the purchases with these keys.
pub fn recheck_each(
    write: &mut Write<'_>,
    urgency: Urgency,
    kind: CauseKind,
    keys: BTreeSet<CollapseKey>,
) -> Result<(), Error> {
    let cause = RevisionCause::of(kind, write).json()?;
    let keys: Vec<CollapseKey> = keys.into_iter().collect();
    for keys in keys.chunks(MAX_KEYS) {
        if write.connection.is_shared() {
            let lock = sql(LOCK_MANY.of(OF_KEYS))
                .uncached()
                .bind_list(keys.iter().copied());
            drop(lock.value_ahead::<CollapseKey>(write.connection)?);
        }
        let recheck = sql(RECHECK.of(OF_KEYS))
            .uncached()
            .bind_all(cause::noted(&cause))
            .bind(write.now()?)
            .bind(urgency);
        recheck
            .bind_list(keys.iter().copied())
            .run(write.connection)?;
    }
    Ok(())
}

const RECHECK_BY: Sql = statement! {"
    UPDATE purchases
    SET next_wake_at = ?
    WHERE collapse_key = ? AND (next_wake_at IS NULL OR next_wake_at > ?)
"};

/// Rechecks a purchase at `at`, unless it is checked earlier. A settling that is recorded before then replaces the
/// recheck.
pub fn recheck_by(write: &mut Write<'_>, key: CollapseKey, at: Timestamp) -> Result<(), Error> {
    sql(RECHECK_BY).bind((at, key, at)).later(write.connection)
}

/// Locks the row until the end of the transaction, if there is one.
pub fn lock_existing(write: &mut Write<'_>, key: CollapseKey) -> Result<(), Error> {
    find_locked(write, key).map(drop)
}

const RESET_FAILURES: Sql = statement! {"
    UPDATE purchases
    SET unverified_since = NULL, unverified_because = NULL, verify_attempts = 0
    WHERE unverified_since IS NOT NULL AND {{which}}
"};
const LOCK_UNVERIFIED: Sql = statement! {"
    SELECT collapse_key AS value
    FROM purchases
    WHERE unverified_since IS NOT NULL AND {{which}}
    ORDER BY collapse_key
    FOR NO KEY UPDATE
"};
/// The statements that a clause for [`reset_failures`] completes.
pub const RESETS: [Sql; 2] = [RESET_FAILURES, LOCK_UNVERIFIED];

pub const OF_KEY: Clause = clause!(
    &[RECHECK, LOCK_MANY, RESET_FAILURES, LOCK_UNVERIFIED],
    "collapse_key = ?"
);

/// Resets the number of failed queries of a few purchases to 0, and removes the time of the first one.
pub fn reset_failures<'v>(
    write: &mut Write<'_>,
    which: Clause,
    values: impl IntoIterator<Item = Value<'v>>,
) -> Result<(), Error> {
    let values: Vec<Value<'v>> = values.into_iter().collect();
    lock_in_order(write, LOCK_UNVERIFIED.of(which), &values)?;
    sql(RESET_FAILURES.of(which))
        .bind_all(values)
        .run(write.connection)
        .map(drop)
}

/// Locks purchases in order of their keys, so that two processes do not deadlock.
fn lock_in_order(
    write: &mut Write<'_>,
    lock: Cow<'static, str>,
    values: &[Value<'_>],
) -> Result<(), Error> {
    if write.connection.is_shared() {
        drop(
            sql(lock)
                .bind_all(values.iter().cloned())
                .value_ahead::<CollapseKey>(write.connection)?,
        );
    }
    Ok(())
}

const LOCK: Sql = statement!("{SELECT} FOR UPDATE");

fn find_locked(write: &mut Write<'_>, key: CollapseKey) -> Result<Option<PurchaseRow>, Error> {
    lock_ahead(write, key)?.first(write.connection)
}

/// Locks the row until the end of the transaction, if there is one. It is fetched later.
pub fn lock_ahead(
    write: &mut Write<'_>,
    key: CollapseKey,
) -> Result<Ahead<'static, PurchaseRow>, Error> {
    sql(LOCK).bind(key).ahead(write.connection)
}

const LOCK_ALL: Sql = statement! {"
    SELECT collapse_key AS value
    FROM purchases
    WHERE collapse_key IN (?*)
    ORDER BY collapse_key
    FOR UPDATE
"};

/// Locks purchases until the end of the transaction, in the order of their keys.
pub fn lock_all(write: &mut Write<'_>, keys: &[CollapseKey]) -> Result<(), Error> {
    if !write.connection.is_shared() {
        return Ok(());
    }
    for keys in keys.chunks(MAX_KEYS) {
        sql(LOCK_ALL)
            .uncached()
            .bind_list(keys.iter().copied())
            .values::<CollapseKey>(write.connection)?;
    }
    Ok(())
}

/// Inserts the row of a purchase that was never settled, unless there is one.
pub fn insert(write: &mut Write<'_>, key: CollapseKey, origin: &Origin) -> Result<(), Error> {
    let nothing = Purchase::default();
    insert!(
        purchases {
            collapse_key: key,
            platform_id: origin.platform_id,
            app_id: origin.app_id,
            receipt_id: origin.receipt_id.as_str(),
            revision: 0_i64,
            state: nothing.state(),
            purchase: json(&nothing)?,
            settling: 0_i64,
            fingerprint: "",
            digest: "",
            verify_attempts: 0_i64,
            created_at: write.now()?,
            updated_at: write.now()?,
        },
        "ON CONFLICT DO NOTHING"
    )
    .later(write.connection)
}

/// Returns a purchase as JSON, as it is stored.
pub fn json(purchase: &Purchase) -> Result<String, Error> {
    serde_json::to_string(purchase)
        .map_err(|cause| Error::corrupt_by("a purchase cannot be written as JSON", cause))
}

pub fn read(stored: &str) -> Result<Purchase, Error> {
    serde_json::from_str(stored)
        .map_err(|cause| Error::corrupt_by("a purchase is not readable", cause))
}

stored! {
    /// Why a purchase is woken, the most urgent first.
    pub enum Urgency {
        /// A person changed or requested something about this purchase or its owner.
        Person = "person",
        /// A setting of many purchases changed, or another purchase that concerns this one.
        Setting = "setting",
        /// The time of its next check has come.
        Calendar = "calendar",
    }
}

stored! {
    /// Why the notifications of a purchase wait after a settling left them open.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum WaitsFor {
        Verification = "verification",
        /// A later answer of the store that shows what they report; the last answer did not show it yet.
        Confirmation = "confirmation",
        /// A person, or the end of the time allowed: the store does not accept the purchase.
        Parked = "parked",
    }
}
