//! Queries of a store: their parameters, failed attempts, and platforms whose secret is refused.
//!
//! Only this module decrypts a credential for a request. It sends nothing itself.

use crate::events::alarms;
use crate::inbox::notifications;
use crate::purchases::purchase::{self, PurchaseRow, QueriedCustomer};
use crate::settings::app_lock;
use crate::settings::credential::{
    Credential, IS_USABLE, IS_USABLE_F, SealedCredential, StorePart,
};
use crate::settings::tombstones::{self, ConcealedName};
use crate::settings::unnamed::unnamed;
use crate::settling::rechecks::{self, RecheckReason};
use crate::settling::{load, repairs};
use crate::store::Store;
use db::alarm::About;
use db::audit_log::AuditEntry;
use db::error::Error;
use db::partial::{OPEN_OF_KEY, PENDING_BY_KEY};
use db::sql::{Sql, statement};
use db::statement::{clean, row, sql};
use domain::notification::is_sample_purchase;
use domain::settling::MAX_PER_SETTLING;
use domain::stores::Evidence;
use domain::time::MINUTE;
use domain::{
    AppId, CollapseKey, DevicePlace, Environment, PlatformId, Purchase, Timestamp, UnknownReceipts,
};
use secrecy::SecretString;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// The parameters of a query of a store.
pub struct StoreQuery {
    /// The platform, for its budget of requests.
    pub platform_id: PlatformId,
    /// The store's name, such as `amazon`.
    pub store: String,
    /// Which of the store's environments is queried.
    pub environment: Environment,
    /// The store's id of the customer; absent if it is not known and the store needs none.
    pub app_user_id: Option<String>,
    pub receipt_id: String,
    /// The package name of the platform's app.
    pub package_name: String,
    /// The purchase as it was recorded last; `None` if it is new.
    pub purchase: Option<Box<Purchase>>,
    /// When the purchase was first reported; `None` if it is not known.
    pub reported_at: Option<Timestamp>,
    /// The bodies of the purchase's open notifications, oldest first, if the store signs what they show; else empty.
    pub reported: Vec<Value>,
    /// What to do if the store does not know the purchase.
    pub unknown_receipts: UnknownReceipts,
    /// The number of the settling before this query, which a recheck raises.
    pub settling: i64,
    /// The credential of a store that has one secret; empty for others.
    pub secret: SecretString,
    /// The platform's settings and credentials in its store's own form.
    pub of_store: StorePart,
    /// The encrypted credential as stored, to detect whether the platform's credential has changed since.
    sealed: String,
}

impl StoreQuery {
    /// Returns whether the query has a credential of the platform.
    pub const fn has_credential(&self) -> bool {
        !self.sealed.is_empty()
    }
}

impl fmt::Debug for StoreQuery {
    /// Omits the secret, the customer and the purchase.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreQuery")
            .field("platform_id", &self.platform_id)
            .field("store", &self.store)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// Why a store refuses a credential.
#[derive(Debug, Clone, Copy)]
pub struct CredentialRefusal {
    /// The detail of the alarm.
    pub why: &'static str,
    /// When to use the credential again, if what is missing can be granted to it; `None` if another one is needed.
    pub retry_in: Option<Duration>,
}

row! {
    /// The time since which the store has not answered about a purchase, and the number of queries that failed since
    /// then.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Unanswered {
        /// The first failed query since its last answer.
        pub since: Timestamp,
        /// Number of failed queries since its last answer.
        pub attempts: i64,
    }
}

row! {
    /// The app of a platform, and the credential to query its store.
    struct QueriedPlatform {
        package_name: String,
        credential: SealedCredential,
    }
}

const PLATFORM: Sql = statement! {"
    SELECT package_name, shared_secret, store_settings, store_credentials
    FROM platforms
    WHERE id = ?
"};

/// Selects the earliest of a few notifications, however many there are: of a purchase that the store has not shown, there
/// are few.
const FIRST_REPORT: Sql = statement! {hot "notifications_of_key", "
    SELECT MIN(accepted_at) AS value
    FROM (
        SELECT accepted_at
        FROM notifications
        WHERE collapse_key = ?
        ORDER BY collapse_key, duplicate_key
        LIMIT 10) few
"};

row! {
    /// The purchase of a claim, and the platform whose store is queried about it.
    struct ClaimedRow {
        receipt_id: String,
        app_user_id: String,
        created_at: Timestamp,
        store: String,
        package_name: String,
        environment: Environment,
        unknown_receipts: UnknownReceipts,
        credential: SealedCredential,
    }
}

const CLAIMED: Sql = statement! {"
    SELECT c.receipt_id, c.app_user_id, c.created_at, f.store, f.package_name, f.environment, f.unknown_receipts,
        f.shared_secret, f.store_settings, f.store_credentials
    FROM claims c
    JOIN platforms f ON f.id = c.platform_id
    WHERE c.platform_id = ? AND c.device_id = ? AND c.collapse_key = ? AND c.status {PENDING_BY_KEY}
        AND {IS_USABLE_F} AND f.deleted_at IS NULL
"};

const COUNT_FAILURE: Sql = statement! {"
    UPDATE purchases
    SET unverified_since = COALESCE(unverified_since, ?), unverified_because = ?, verify_attempts = verify_attempts + 1
    WHERE collapse_key = ?
    RETURNING unverified_since AS since, verify_attempts AS attempts
"};

/// Time after which a run that should have queried the store again counts as lost.
const LOST: Duration = MINUTE;

/// Selects the notifications of a purchase whose window has ended.
const SETTLEABLE: Sql = statement! {hot "notifications_open_of_key", "
    SELECT seq AS value
    FROM notifications
    WHERE collapse_key = ? AND {OPEN_OF_KEY} AND waiting_topic_id IS NULL AND due_at <= ?
"};

const SCHEDULE: Sql = statement! {"
    UPDATE purchases
    SET next_wake_at = ?, woken_for = ?, sweep_at = ?, wakes = 1, urgency = 'calendar',
        waits_through = COALESCE(CAST(? AS BIGINT), waits_through)
    WHERE collapse_key = ? AND settling = ?
    RETURNING waits_through AS value
"};

const USES_SECRET: Sql = statement! {"
    SELECT app_id AS value
    FROM platforms
    WHERE id = ? AND secret_refused_at IS NULL AND COALESCE(store_credentials, shared_secret) = ?
"};

/// Does not raise `settings_version`, because the decision that follows knows of the refusal.
const REFUSE_SECRET: Sql = statement! {"
    UPDATE platforms
    SET secret_refused_at = ?, secret_retry_at = ?
    WHERE id = ? AND secret_refused_at IS NULL AND COALESCE(store_credentials, shared_secret) = ?
"};

row! {
    struct RefusedPlatform {
        id: PlatformId,
        app_id: AppId,
    }
}

const RETRY_DUE: Sql = statement! {"
    SELECT id, app_id
    FROM platforms
    WHERE secret_retry_at <= ? AND secret_refused_at IS NOT NULL
    ORDER BY secret_retry_at
    LIMIT ?
"};

const USE_AGAIN: Sql = statement! {"
    UPDATE platforms
    SET secret_refused_at = NULL, secret_retry_at = NULL
    WHERE id = ? AND secret_retry_at <= ? AND secret_refused_at IS NOT NULL
"};

const USE_AT_ONCE: Sql = statement! {"
    UPDATE platforms
    SET secret_refused_at = NULL, secret_retry_at = NULL
    WHERE id = ?
"};

const FIND_PLATFORM: Sql =
    statement!("SELECT app_id AS value FROM platforms WHERE id = ? AND deleted_at IS NULL");

row! {
    /// A platform whose store is read apart from purchases.
    struct UsablePlatform {
        store: String,
        environment: Environment,
        unknown_receipts: UnknownReceipts,
        package_name: String,
        credential: SealedCredential,
    }
}

const USABLE: Sql = statement! {"
    SELECT store, environment, unknown_receipts, package_name, shared_secret, store_settings, store_credentials
    FROM platforms
    WHERE id = ? AND {IS_USABLE} AND deleted_at IS NULL
"};

impl Store {
    /// Returns the parameters to query the store of a purchase; `None` when it cannot be queried: the platform has no
    /// usable secret, or the customer is unknown. A store that signs what its notifications show needs no secret.
    pub async fn store_query(&self, key: CollapseKey) -> Result<Option<StoreQuery>, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            // Read before the settings: a later change of them raises the settling number.
            let row = purchase::find(connection, key)?;
            let Some(origin) = purchase::origin(connection, key)? else {
                return Ok(None);
            };
            let queried = origin.queried_customer(connection, key, row.as_ref())?;
            let Some(QueriedCustomer { app_user_id }) = queried else {
                return Ok(None);
            };
            let reveal = |name| tombstones::reveal(connection, &secrets, name);
            let app_user_id = app_user_id.map(reveal).transpose()?;
            let stored: Option<QueriedPlatform> =
                sql(PLATFORM).bind(origin.platform_id).first(connection)?;
            let Some(QueriedPlatform {
                package_name,
                credential,
            }) = stored
            else {
                return Ok(None);
            };
            // A sample is never sent to the store.
            let credential = if is_sample_purchase(&origin.receipt_id) {
                Some(Credential::default())
            } else if !origin.can_query() {
                Some(credential.without_secret())
            } else {
                credential.open(&secrets, origin.platform_id)?
            };
            let Some(credential) = credential else {
                return Ok(None);
            };
            let known = row.as_ref().map(PurchaseRow::known).transpose()?;
            // If the platform was switched since, the store knows the purchase only in the earlier environment.
            let known_in = known.as_ref().and_then(Purchase::known_in);
            // Matters only until the store shows the purchase.
            let is_shown = known.as_ref().is_some_and(Purchase::is_shown);
            let reported_at: Option<Timestamp> = if is_shown {
                None
            } else {
                let first: Option<Option<Timestamp>> =
                    sql(FIRST_REPORT).bind(key).value(connection)?;
                first.flatten()
            };
            let reported = if origin.policy()?.evidence == Evidence::Signed {
                load::bodies(connection, key, MAX_PER_SETTLING)?
            } else {
                Vec::new()
            };
            Ok(Some(StoreQuery {
                secret: credential.secret,
                of_store: credential.of_store,
                sealed: credential.sealed,
                platform_id: origin.platform_id,
                store: origin.store,
                environment: known_in.unwrap_or(origin.environment),
                unknown_receipts: origin.unknown_receipts,
                settling: row.map_or(0, |row| row.settling),
                app_user_id,
                receipt_id: origin.receipt_id,
                package_name,
                purchase: known.map(Box::new),
                reported_at,
                reported,
            }))
        })
        .await
    }

    /// Returns the parameters to query the store about the purchase of a claim, of which nothing else is known; `None`
    /// when the claim is decided, or the platform has no usable secret.
    pub async fn claim_query(
        &self,
        place: DevicePlace,
        key: CollapseKey,
    ) -> Result<Option<StoreQuery>, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let claimed = sql(CLAIMED).bind((place.platform, place.device, key));
            let Some(row) = claimed.first::<ClaimedRow>(connection)? else {
                return Ok(None);
            };
            let Some(credential) = row.credential.open(&secrets, place.platform)? else {
                return Ok(None);
            };
            let is_named = row.app_user_id != unnamed(&row.receipt_id);
            let customer = is_named.then_some(row.app_user_id);
            let reveal = |name| tombstones::reveal(connection, &secrets, name);
            Ok(Some(StoreQuery {
                secret: credential.secret,
                of_store: credential.of_store,
                sealed: credential.sealed,
                platform_id: place.platform,
                store: row.store,
                environment: row.environment,
                unknown_receipts: row.unknown_receipts,
                settling: 0,
                app_user_id: customer.map(reveal).transpose()?,
                receipt_id: row.receipt_id,
                package_name: row.package_name,
                purchase: None,
                reported_at: Some(row.created_at),
                reported: Vec::new(),
            }))
        })
        .await
    }

    /// Counts a failed query about a purchase, and stores why it failed; returns since when the store has not answered,
    /// and how many queries failed.
    pub async fn verify_failed(&self, key: CollapseKey, why: &str) -> Result<Unanswered, Error> {
        let why = clean(why).into_owned();
        self.write(move |write| {
            purchase::lock(write, key)?;
            rechecks::reset_noted_failures(write, key)?;
            let count = sql(COUNT_FAILURE).bind((write.now()?, why.as_str(), key));
            count.one(write.connection, "purchase")
        })
        .await
    }

    /// Notes that the store is queried again about a purchase after `delay`. The run waits for that by itself, so the
    /// purchase counts as woken; a minute later the sweep finds it, in case the run was lost. Returns whether it was
    /// noted; it is not if a recheck was requested since the settling with this number.
    pub async fn schedule_query(
        &self,
        key: CollapseKey,
        settling: i64,
        delay: Duration,
    ) -> Result<bool, Error> {
        self.write(move |write| {
            purchase::lock(write, key)?;
            let at = write.now()?.plus(delay);
            let waiting: Vec<i64> = sql(SETTLEABLE)
                .bind(key)
                .bind(write.now()?)
                .values(write.connection)?;
            let newest = waiting.iter().max().copied();
            let schedule = sql(SCHEDULE).bind((at, at, at.plus(LOST), newest, key, settling));
            let through: Option<Option<i64>> = schedule.value(write.connection)?;
            let Some(through) = through else {
                return Ok(false);
            };
            notifications::wait(write, key, waiting, through)?;
            Ok(true)
        })
        .await
    }

    /// Resets the number of failed queries of a purchase: the store answered, although not that the purchase is real.
    /// `record` does the same for an answer that it records.
    pub async fn verify_answered(&self, key: CollapseKey) -> Result<(), Error> {
        self.write(move |write| purchase::reset_failures(write, purchase::OF_KEY, [key.into()]))
            .await
    }

    /// Stores the store's id of the customer in an answer about a purchase; for an erased customer, the tombstone.
    pub async fn note_answered_customer(
        &self,
        key: CollapseKey,
        app_user_id: &str,
    ) -> Result<(), Error> {
        let (secrets, name) = (
            self.database.secrets.clone(),
            clean(app_user_id).into_owned(),
        );
        self.write(move |write| {
            let Some(origin) = purchase::origin(write.connection, key)? else {
                return Ok(());
            };
            app_lock::share(write, origin.app_id)?;
            let customer = ConcealedName {
                app: origin.app_id,
                store: &origin.store,
                app_user_id: &name,
            };
            let name = tombstones::or_tombstone(write.connection, &secrets, customer)?;
            purchase::lock(write, key)?;
            purchase::note_answered_customer(write, key, &name)
        })
        .await
    }

    /// Notes that the store refuses the secret of a query, so that the secret is not used again, and raises an alarm that
    /// says why; returns whether the refusal is new. Nothing changes if the platform has another secret by now.
    pub async fn refuse_secret(
        &self,
        query: &StoreQuery,
        refusal: CredentialRefusal,
    ) -> Result<bool, Error> {
        let (platform, sealed) = (query.platform_id, query.sealed.clone());
        self.write(move |write| {
            // Many queries are refused at once, and only the first one has to be alone.
            let app: Option<AppId> = sql(USES_SECRET)
                .bind(platform)
                .bind(sealed.as_str())
                .value(write.connection)?;
            let Some(app) = app else { return Ok(false) };
            app_lock::take(write, app)?;
            let now = write.now()?;
            let retry_at = refusal.retry_in.map(|wait| now.plus(wait));
            let refused = sql(REFUSE_SECRET)
                .bind((now, retry_at, platform, sealed.as_str()))
                .run(write.connection)?;
            if refused == 0 {
                return Ok(false);
            }
            rechecks::recheck_platform(write, platform, RecheckReason::NoUsableSecret)?;
            alarms::raise(
                write,
                About::Platform(platform),
                "secret_refused",
                refusal.why,
            )?;
            Ok(true)
        })
        .await
    }

    /// Returns the parameters to query a platform's store apart from purchases, with an empty id of the purchase;
    /// `None` if the platform is deleted, or has no usable secret.
    pub async fn platform_query(&self, platform: PlatformId) -> Result<Option<StoreQuery>, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let found: Option<UsablePlatform> = sql(USABLE).bind(platform).first(connection)?;
            let Some(row) = found else {
                return Ok(None);
            };
            let Some(credential) = row.credential.open(&secrets, platform)? else {
                return Ok(None);
            };
            Ok(Some(StoreQuery {
                secret: credential.secret,
                of_store: credential.of_store,
                sealed: credential.sealed,
                platform_id: platform,
                store: row.store,
                environment: row.environment,
                unknown_receipts: row.unknown_receipts,
                settling: 0,
                app_user_id: None,
                receipt_id: String::new(),
                package_name: row.package_name,
                purchase: None,
                reported_at: None,
                reported: Vec::new(),
            }))
        })
        .await
    }

    /// Uses refused credentials again whose time to retry has come, of at most `limit` platforms; returns their number.
    /// The repair of their store's list tries them. No purchase is woken for that, since the right may still be missing:
    /// those that wait wake by themselves.
    pub async fn retry_refused_secrets(&self, limit: i64) -> Result<usize, Error> {
        let due: Vec<RefusedPlatform> = self
            .read_now(move |connection, now| sql(RETRY_DUE).bind((now, limit)).all(connection))
            .await?;
        let mut retried = 0;
        for RefusedPlatform { id, app_id } in due {
            let is_used = self.write(move |write| {
                app_lock::take(write, app_id)?;
                let used = sql(USE_AGAIN)
                    .bind((id, write.now()?))
                    .run(write.connection)?;
                if used > 0 {
                    repairs::begin_again(write, id)?;
                }
                Ok(used > 0)
            });
            retried += usize::from(is_used.await?);
        }
        Ok(retried)
    }

    /// Uses the credentials of a platform again, even if its store refused them. The repair of its store's list, which is
    /// due before all others, tries them. No purchase is woken for that; an open duty is attempted within an hour.
    pub async fn try_access(&self, platform: PlatformId) -> Result<(), Error> {
        self.change("platform.try-access", move |write| {
            let known: Option<AppId> = sql(FIND_PLATFORM).bind(platform).value(write.connection)?;
            let app = known.ok_or(Error::Missing { what: "platform" })?;
            app_lock::take(write, app)?;
            sql(USE_AT_ONCE).bind(platform).run(write.connection)?;
            repairs::begin_at_once(write, platform)?;
            Ok(((), Some(AuditEntry::on(app, platform))))
        })
        .await
    }

    /// Requests a test notification of a platform's store. The request is due before all repairs.
    pub async fn request_test(&self, platform: PlatformId) -> Result<(), Error> {
        self.change("platform.test", move |write| {
            let known: Option<AppId> = sql(FIND_PLATFORM).bind(platform).value(write.connection)?;
            let app = known.ok_or(Error::Missing { what: "platform" })?;
            repairs::request_test(write, platform)?;
            Ok(((), Some(AuditEntry::on(app, platform))))
        })
        .await
    }

    /// Rechecks the purchases of a platform that the store did not accept; returns their number, counted up
    /// to 100,000.
    pub async fn retry_parked(&self, platform: PlatformId) -> Result<i64, Error> {
        let parked = self
            .read(move |connection| rechecks::parked(connection, platform))
            .await?;
        self.change("platform.retry-parked", move |write| {
            let known: Option<AppId> = sql(FIND_PLATFORM).bind(platform).value(write.connection)?;
            let app = known.ok_or(Error::Missing { what: "platform" })?;
            rechecks::recheck_platform(write, platform, RecheckReason::Parked)?;
            Ok(((), Some(AuditEntry::on(app, platform))))
        })
        .await?;
        Ok(parked)
    }
}
