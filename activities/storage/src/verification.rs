//! What asking the store needs to know, and what is kept of attempts that failed.

use crate::purchase;
use crate::statement::{row, sql};
use crate::{Error, Store};
use domain::{CollapseKey, Environment, PlatformId, Timestamp};
use secrecy::SecretString;

/// What the store is asked with.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The purchase's platform.
    pub platform_id: PlatformId,
    /// The store's name of the customer, when it is known.
    pub app_user_id: Option<String>,
    /// The store's name of the purchase.
    pub receipt_id: String,
    /// Which of the store's two worlds the platform belongs to.
    pub environment: Environment,
    /// The store's name.
    pub store: String,
    /// The platform's secret, unless there is none or the store refuses it.
    pub secret: Option<SecretString>,
}

/// For how long a store could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyFailed {
    /// The first failed attempt since the store last answered.
    pub since: Timestamp,
    /// How many there were.
    pub attempts: i64,
    /// Now, by the clock that stamps rows.
    pub now: Timestamp,
}

row! {
    struct Asked {
        store: String,
        environment: Environment,
        shared_secret: Option<String>,
        secret_refused_at: Option<Timestamp>,
    }
}

row! {
    struct Customer {
        app_user_id: Option<String>,
    }
}

row! {
    struct Failures {
        unverified_since: Option<Timestamp>,
        verify_attempts: i64,
    }
}

impl Store {
    /// What the store is asked with about a purchase; `None` when nothing is known of it.
    pub async fn verification(&self, key: CollapseKey) -> Result<Option<Verification>, Error> {
        let secrets = self.secrets.clone();
        self.read(move |connection| {
            let Some(origin) = purchase::origin(connection, key)? else { return Ok(None) };
            let platform: Option<Asked> =
                sql("SELECT store, environment, shared_secret, secret_refused_at FROM platforms WHERE id = ?")
                    .bind(origin.platform_id)
                    .first(connection)?;
            let platform = platform.ok_or(Error::Missing { what: "platform" })?;
            let customer: Option<Customer> = sql("SELECT app_user_id FROM (\
                 SELECT app_user_id, 0 AS place FROM purchases WHERE collapse_key = ? UNION ALL \
                 SELECT app_user_id, seq AS place FROM notifications WHERE collapse_key = ? AND waiting_topic_id IS NULL) c \
                 WHERE app_user_id IS NOT NULL ORDER BY place LIMIT 1")
            .bind(key)
            .bind(key)
            .first(connection)?;
            let sealed = platform.shared_secret.filter(|_| platform.secret_refused_at.is_none());
            let id = origin.platform_id.to_string();
            Ok(Some(Verification {
                platform_id: origin.platform_id,
                app_user_id: customer.and_then(|customer| customer.app_user_id),
                receipt_id: origin.receipt_id,
                environment: platform.environment,
                store: platform.store,
                secret: sealed.map(|sealed| secrets.open("platforms", &id, &sealed)).transpose()?,
            }))
        })
        .await
    }

    /// Counts an attempt that failed; patience counts from the first.
    pub async fn verify_failed(&self, key: CollapseKey) -> Result<VerifyFailed, Error> {
        self.write(move |write| {
            purchase::lock(write, key)?;
            sql("UPDATE purchases SET unverified_since = COALESCE(unverified_since, ?), \
                 verify_attempts = verify_attempts + 1 WHERE collapse_key = ?")
            .bind(write.now)
            .bind(key)
            .run(write.connection)?;
            let failures: Option<Failures> =
                sql("SELECT unverified_since, verify_attempts FROM purchases WHERE collapse_key = ?")
                    .bind(key)
                    .first(write.connection)?;
            let failures = failures.ok_or(Error::Missing { what: "purchase" })?;
            let since = failures.unverified_since.unwrap_or(write.now);
            Ok(VerifyFailed { since, attempts: failures.verify_attempts, now: write.now })
        })
        .await
    }

    /// Keeps that the store refuses the platform's secret; whether that is news.
    pub async fn refuse_secret(&self, platform: PlatformId) -> Result<bool, Error> {
        self.write(move |write| {
            let refused = sql("UPDATE platforms SET secret_refused_at = ? WHERE id = ? AND secret_refused_at IS NULL")
                .bind(write.now)
                .bind(platform)
                .run(write.connection)?;
            Ok(refused > 0)
        })
        .await
    }
}
