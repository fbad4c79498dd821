//! The keys of the API. A key is shown once and stored as its SHA-256: its 256 random bits rule out a brute-force
//! search, and a slow hash would only slow requests down.

use crate::admin::platforms::require_app;
use crate::reports::filtered::Filtered;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{CREATED, Page, Paged};
use db::secrets::{random_uuid, sha256};
use db::sql::{Clause, Sql, clause, insert, statement};
use db::statement::{row, sql, stored};
use domain::text::{alike, folded};
use domain::{AppId, KeyId, Timestamp};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Minimum time between two updates of a key's time of last use.
const LAST_USED_PRECISION: Duration = Duration::from_secs(60);

stored! {
    /// The role of a key. Each role includes the ones before it.
    #[derive(PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[schemars(inline)]
    pub enum Role {
        /// Can only read metrics.
        Metrics = "metrics",
        /// Can read everything except secrets.
        Read = "read",
        /// Can also name and move customers, and act on single purchases and pending deliveries.
        Support = "support",
        /// Can also change platforms, destinations, the catalogue and prices, and see new secrets.
        Operator = "operator",
        /// Can also create and delete apps, erase customers, and create keys.
        Admin = "admin",
    }
}

impl Role {
    /// All roles, the least privileged first.
    pub const ALL: [Self; 5] = [
        Self::Metrics,
        Self::Read,
        Self::Support,
        Self::Operator,
        Self::Admin,
    ];
}

/// A key that is to be stored.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Name of the key, unique among keys that are not revoked. Names that look alike count as equal.
    pub name: String,
    pub role: Role,
    /// The only app that the key can access; `None` for all apps.
    pub app_id: Option<AppId>,
    /// When the key expires; `None` if it never does.
    pub expires_at: Option<Timestamp>,
    pub secret: SecretString,
}

row! {
    /// An API key, without its secret.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct ApiKey {
        /// Id of the key.
        pub id: KeyId,
        /// Name of the key, unique among keys that are not revoked.
        pub name: String,
        /// Role of the key.
        pub role: Role,
        /// Id of the only app that the key can access; null for all apps.
        pub app_id: Option<AppId>,
        /// When the key was created.
        pub created_at: Timestamp,
        /// When the key expires; null if it never does.
        pub expires_at: Option<Timestamp>,
        /// When the key was revoked; null if it is valid.
        pub revoked_at: Option<Timestamp>,
        /// When the key was last used, accurate to a minute; null if never.
        pub last_used_at: Option<Timestamp>,
    }
}

row! {
    /// A key with the hash of its secret.
    #[derive(Clone)]
    pub struct HashedKey {
        pub key: ApiKey,
        /// The SHA-256 of the key's secret part, in lower-case hex.
        pub hash: String,
    }
}

const COLUMNS: &str = "id, name, role, app_id, created_at, expires_at, revoked_at, last_used_at";

const LIST: Sql = statement! {"
    SELECT {CREATED} AS cursor, {COLUMNS}
    FROM api_keys
    WHERE (created_at, id) > (?, ?) AND {{which}}
    ORDER BY created_at, id
    LIMIT ?
"};
const OF_APP: Clause = clause!(&[LIST], "app_id = ?");

const FIND: Sql = statement!("SELECT {COLUMNS}, hash FROM api_keys WHERE id = ?");

const NAMED: Sql =
    statement!("SELECT id AS value FROM api_keys WHERE folded_name = ? AND revoked_at IS NULL");

const REVOKE: Sql =
    statement!("UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at + 0 IS NULL");

const USE: Sql = statement! {"
    UPDATE api_keys
    SET last_used_at = ?
    WHERE id = ? AND (last_used_at IS NULL OR last_used_at <= ?)
"};

/// Returns the hash under which the secret part of a key is stored.
pub fn key_hash(secret: &str) -> String {
    sha256(secret)
}

impl Store {
    pub async fn new_key(&self, new: NewKey) -> Result<ApiKey, Error> {
        let id = KeyId::new(random_uuid()?);
        let hash = key_hash(new.secret.expose_secret());
        self.change("key.create", move |write| {
            if let Some(app) = new.app_id {
                require_app(write, app)?;
            }
            // Earlier releases stored names with only their case folded.
            let earlier: Option<KeyId> =
                sql(NAMED).bind(folded(&new.name)).value(write.connection)?;
            if earlier.is_some() {
                return Err(Error::taken("key", &new.name));
            }
            insert!(api_keys {
                id,
                name: new.name.as_str(),
                folded_name: alike(&new.name),
                role: new.role,
                app_id: new.app_id,
                hash: hash.as_str(),
                created_at: write.now()?,
                expires_at: new.expires_at,
            })
            .run(write.connection)
            .map_err(|error| error.or_taken("key", &new.name))?;
            let key = find(write.connection, id)?.key;
            let entry = AuditEntry::on(key.app_id, id).after(fields(&key));
            Ok((key, Some(entry)))
        })
        .await
    }

    /// Lists the keys, oldest first; only those of `app`, if there is one.
    pub async fn keys(&self, app: Option<AppId>, page: Page) -> Result<Paged<ApiKey>, Error> {
        let (after, id) = page.pair_or(i64::MIN)?;
        self.read(move |connection| {
            let list = Filtered::new(LIST, [after.into(), id.as_str().into()]).and(OF_APP, app);
            page.read(connection, list.statement())
        })
        .await
    }

    /// Returns a key with the hash of its secret.
    pub async fn key(&self, id: KeyId) -> Result<HashedKey, Error> {
        self.read(move |connection| find(connection, id)).await
    }

    /// Revokes a key. A key that is already revoked does not change.
    pub async fn revoke_key(&self, id: KeyId) -> Result<ApiKey, Error> {
        self.change("key.revoke", move |write| {
            let before = find(write.connection, id)?.key;
            let revoked = sql(REVOKE)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)?;
            let key = find(write.connection, id)?.key;
            let entry = AuditEntry::on(key.app_id, id)
                .before(fields(&before))
                .after(fields(&key));
            Ok((key, (revoked > 0).then_some(entry)))
        })
        .await
    }

    /// Records that a key was used now, unless a use within the last minute is already recorded.
    pub async fn note_key_used(&self, id: KeyId) -> Result<(), Error> {
        self.write(move |write| {
            let noted = write.now()?.minus(LAST_USED_PRECISION);
            sql(USE)
                .bind((write.now()?, id, noted))
                .run(write.connection)
                .map(drop)
        })
        .await
    }
}

fn find(connection: &mut AnyConnection, id: KeyId) -> Result<HashedKey, Error> {
    sql(FIND).bind(id).one(connection, "key")
}

fn fields(key: &ApiKey) -> Value {
    json!({
        "name": key.name,
        "role": key.role,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    })
}
