//! Platforms: an app on one store. A deleted platform is hidden; its purchases stay in the database.

use super::device_quota::DeviceQuota;
use super::processes::{self, ShownProcesses};
use super::sealed_key;
use crate::inbox::topics;
use crate::reports::check;
use crate::settings::credential::{SHARED_SECRET, STORE_CREDENTIALS, StorePart, StorePartChange};
use crate::settings::{app_lock, without_default};
use crate::settling::rechecks::{self, RecheckReason};
use crate::store::Store;
use const_format::formatcp;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{CREATED, Page, Paged};
use db::secrets::{Secrets, random_uuid};
use db::sql::{Sql, statement};
use db::statement::{padded, row, sql, written_row};
use db::writer::Write;
use domain::catalogue::ProductRef;
use domain::{AppId, Environment, PlatformId, Timestamp, TransferPolicy, UnknownReceipts};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

written_row! {
    /// The settings of a platform: its columns, and the fields of requests, answers and audit entries with their
    /// descriptions. A new one is also an entry of the store's form.
    #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
    pub struct PlatformSettings {
        /// Display name, unique within the app.
        #[schemars(length(max = 200))]
        pub name: String,
        /// Package name of the app in the store.
        #[schemars(extend("pattern" = "^[A-Za-z0-9._-]+$"))]
        pub package_name: String,
        /// The store's environment: whether purchases are real or tests.
        #[serde(default)]
        pub environment: Environment,
        /// How long a purchase must be quiet before it is settled. Default: the installation's window.
        #[serde(rename = "window_seconds", default)]
        #[serde(serialize_with = "to_seconds", deserialize_with = "of_seconds")]
        #[schemars(with = "i64", range(min = 1, max = 3600), transform = without_default)]
        pub window_ms: i64,
        /// Maximum time until a purchase is settled, however often its window restarts. Must be at least the window. No
        /// limit by default.
        #[serde(rename = "max_wait_seconds", default)]
        #[serde(serialize_with = "to_seconds", deserialize_with = "of_some_seconds")]
        #[schemars(with = "Option<i64>", range(min = 1, max = 86400))]
        pub max_wait_ms: Option<i64>,
        /// Which of a subscription's two SKUs is the product id.
        #[serde(default)]
        pub product_ref: ProductRef,
        /// Whether a revocation is settled immediately, without a window.
        #[serde(default)]
        pub flush_on_revoke: bool,
        /// What to do with a purchase that the store still does not know after a day: give up, or trust its
        /// notifications and mark it as unverified.
        #[serde(default)]
        pub unknown_receipts: UnknownReceipts,
        /// Whether a login on a device takes over another named customer's purchases: immediately, after review, or
        /// never. Default: `review` if logins are signed, otherwise `immediate`.
        pub transfers: Option<TransferPolicy>,
        /// Whether another platform of the app may use the same package in the same environment. All devices of an app
        /// must use the keys of one platform: a purchase reported to both counts twice.
        #[serde(default)]
        pub shares_package: bool,
        ;
        #[serde(flatten)]
        pub quota: DeviceQuota,
    }
}

fn to_seconds<T: Copy + Into<Option<i64>>, S: Serializer>(
    ms: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    (*ms).into().map(|ms| ms / 1000).serialize(serializer)
}

fn of_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(i64::deserialize(deserializer)?.saturating_mul(1000))
}

fn of_some_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.map(|seconds| seconds.saturating_mul(1000)))
}

impl PlatformSettings {
    /// Creates settings with these values, and defaults for all others.
    pub fn new(name: &str, package_name: &str, window_ms: i64) -> Self {
        Self {
            name: name.to_owned(),
            package_name: package_name.to_owned(),
            window_ms,
            ..Self::default()
        }
    }
}

/// A platform that is to be created.
#[derive(Debug, Clone)]
pub struct NewPlatform {
    pub app_id: AppId,
    /// The store's name, such as `amazon`.
    pub store: String,
    pub settings: PlatformSettings,
    /// Credential for verification with a store that has one secret.
    pub shared_secret: Option<SecretString>,
    /// The only topic that may send to it, if already known.
    pub topic_arn: Option<String>,
    /// The secret part of the URL that notifications are sent to.
    pub ingress_key: SecretString,
    /// The key with which the platform's devices report; it is not a secret.
    pub publishable_key: String,
    /// Settings and credentials of the store's own form.
    pub of_store: StorePart,
}

row! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Platform {
        pub id: PlatformId,
        pub app_id: AppId,
        pub store: String,
        pub settings: PlatformSettings,
        /// Whether a shared secret is stored.
        pub has_shared_secret: bool,
        /// Whether device logins need a token from the app's own server.
        pub has_login_secret: bool,
        /// When a login without a token was first stored.
        pub unsigned_login_at: Option<Timestamp>,
        /// When the store began to refuse the credentials; `None` while it accepts them.
        pub secret_refused_at: Option<Timestamp>,
        /// The key with which the platform's devices report; it is not a secret.
        pub publishable_key: String,
        /// The settings of its store's own form.
        pub store_settings: Option<Value>,
        /// When the credentials of the store's own form were set; `None` if there are none.
        pub store_credentials_at: Option<Timestamp>,
        pub created_at: Timestamp,
    }
}

/// Changes to a platform other than those of its settings; `None` keeps the stored value.
#[derive(Debug, Clone, Default)]
pub struct PlatformChange {
    /// A new credential of a store that has one secret; `Some(None)` removes it.
    pub shared_secret: Option<Option<SecretString>>,
    pub publishable_key: Option<String>,
    /// An additional topic that may send. Its subscription is confirmed when the topic requests it.
    pub topic_arn: Option<String>,
    /// Changed fields of the store's own form.
    pub of_store: Option<StorePartChange>,
}

impl Platform {
    /// Whether credentials for querying its store are stored.
    pub const fn has_credential(&self) -> bool {
        self.has_shared_secret || self.store_credentials_at.is_some()
    }

    /// Whether its store can be queried: it has a credential that the store has not refused.
    pub const fn can_verify(&self) -> bool {
        self.has_credential() && self.secret_refused_at.is_none()
    }

    /// Returns the policy for device logins that take over another named customer's purchases.
    pub fn transfers(&self) -> TransferPolicy {
        self.settings
            .transfers
            .unwrap_or_else(|| TransferPolicy::usual(self.has_login_secret))
    }
}

const SETTINGS: &str = PlatformSettings::COLUMNS;
const PLACES: &str = PlatformSettings::PLACES;

/// The columns of [`Platform`], its table, and the condition that the platform is not deleted.
pub const PLATFORM: &str = formatcp!(
    "
    id, app_id, store{SETTINGS}, (shared_secret IS NOT NULL) AS has_shared_secret,
        (login_secret IS NOT NULL) AS has_login_secret, unsigned_login_at, secret_refused_at, publishable_key, store_settings,
        store_credentials_at, created_at
    FROM platforms
    WHERE deleted_at IS NULL"
);

/// Also clears the secrets, which nothing needs any more.
const DELETE: Sql = statement! {"
    UPDATE platforms
    SET deleted_at = ?, {NO_SECRETS}
    WHERE id = ? AND deleted_at IS NULL
"};

/// Assignments that clear a platform's keys and secrets on deletion.
pub const NO_SECRETS: &str = "
    settings_version = settings_version + 1, shared_secret = NULL, store_credentials = NULL,
        store_credentials_at = NULL, login_secret = NULL, ingress_hash = NULL,
        ingress_key = NULL, old_ingress_hash = NULL, old_ingress_key = NULL, old_ingress_until = NULL,
        old_ingress_used_at = NULL";

const CLOSE_TOPICS: Sql =
    statement!("UPDATE topics SET subscribe_url = NULL WHERE platform_id = ?");

const FIND_BY_PUBLISHABLE_KEYS: Sql = statement! {hot "platforms_publishable_key", "
    SELECT {PLATFORM} AND publishable_key IN (?*)
"};

const LIST: Sql = statement! {"
    SELECT {CREATED} AS cursor, {PLATFORM} AND app_id = ? AND (created_at, id) > (?, ?)
    ORDER BY created_at, id
    LIMIT ?
"};

const OF_APPS: Sql = statement! {"
    SELECT *
    FROM (SELECT ROW_NUMBER() OVER (PARTITION BY app_id ORDER BY created_at, id) AS place, {PLATFORM}
        AND app_id IN (?*)) x
    WHERE x.place <= ?
    ORDER BY x.created_at, x.id
"};

impl Store {
    /// Creates a platform, and its topic when one is named.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if another platform of the app has the same package and environment and this one may not
    /// share them, or if it is the first platform of its store and a running process does not know that store.
    pub async fn new_platform(&self, new: NewPlatform) -> Result<Platform, Error> {
        self.new_platform_for(new, ShownProcesses::Named).await
    }

    /// Creates a platform as [`Self::new_platform`] does. `shown` is what a refusal shows of the processes that cause
    /// it.
    ///
    /// # Errors
    /// Those of [`Self::new_platform`].
    pub async fn new_platform_for(
        &self,
        new: NewPlatform,
        shown: ShownProcesses,
    ) -> Result<Platform, Error> {
        let id = PlatformId::new(random_uuid()?);
        let secrets = self.database.secrets.clone();
        self.change("platform.create", move |write| {
            require_app(write, new.app_id)?;
            app_lock::take(write, new.app_id)?;
            processes::check_store(write, &new.store, shown)?;
            insert(write, &secrets, id, &new)?;
            if let Some(arn) = &new.topic_arn {
                topics::configure(write, id, arn)?;
            }
            let platform = find(write.connection, id)?;
            check_package(write.connection, &platform)?;
            let entry = AuditEntry::on(platform.app_id, id).after(fields(&platform));
            Ok((platform, Some(entry)))
        })
        .await
    }

    pub async fn platform(&self, id: PlatformId) -> Result<Platform, Error> {
        self.read(move |connection| find(connection, id)).await
    }

    /// Lists the platforms of an app, oldest first.
    pub async fn platforms(&self, app: AppId, page: Page) -> Result<Paged<Platform>, Error> {
        let (after, id) = page.pair_or(i64::MIN)?;
        self.read(move |connection| page.read(connection, sql(LIST).bind((app, after, id))))
            .await
    }

    /// Returns the oldest platforms of several apps, at most `most` of each.
    pub async fn platforms_of(&self, apps: Vec<AppId>, most: i64) -> Result<Vec<Platform>, Error> {
        if apps.is_empty() {
            return Ok(Vec::new());
        }
        self.read(move |connection| {
            sql(OF_APPS)
                .uncached()
                .bind_list(apps)
                .bind(most)
                .all(connection)
        })
        .await
    }

    /// Changes a platform. `set` changes its settings, and may run more than once.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if `topic_arn` is a topic that awaits approval, or if the package and environment become
    /// those of another platform of the app and this one may not share them. Nothing is changed then.
    pub async fn update_platform(
        &self,
        id: PlatformId,
        change: PlatformChange,
        mut set: impl FnMut(&mut PlatformSettings) + Send + 'static,
    ) -> Result<Platform, Error> {
        let secrets = self.database.secrets.clone();
        self.change("platform.update", move |write| {
            let app = find(write.connection, id)?.app_id;
            app_lock::take(write, app)?;
            let before = lock(write, id)?;
            let mut after = before.clone();
            set(&mut after.settings);
            after.publishable_key.clone_from(
                change
                    .publishable_key
                    .as_ref()
                    .unwrap_or(&before.publishable_key),
            );
            if let Some(secret) = &change.shared_secret {
                set_secret(write, &secrets, &before, secret.as_ref())?;
            }
            if let Some(part) = &change.of_store {
                set_store_part(write, &secrets, &before, part)?;
            }
            update(write, &before, &after)?;
            if let Some(arn) = &change.topic_arn {
                topics::configure(write, id, arn)?;
            }
            let after = find(write.connection, id)?;
            if after != before || change.shared_secret.is_some() {
                sql(RAISE_VERSION).bind(id).run(write.connection)?;
            }
            let has_credentials = |part: &StorePartChange| part.credentials.is_some();
            let mut changed = fields(&after);
            // The audit entry records only that a secret was replaced.
            if change.shared_secret.is_some() {
                changed["shared_secret"] = json!("replaced");
            }
            if change.of_store.as_ref().is_some_and(has_credentials) {
                changed["store_credentials"] = json!("replaced");
            }
            if change.publishable_key.is_some() {
                changed["publishable_key"] = json!("replaced");
            }
            if let Some(arn) = &change.topic_arn {
                changed["topic_arn"] = json!(arn);
            }
            let entry = AuditEntry::on(after.app_id, id)
                .before(fields(&before))
                .after(changed);
            Ok((after, Some(entry)))
        })
        .await
    }

    /// Deletes a platform: hides it, disables its ingress key and removes its secrets.
    pub async fn delete_platform(&self, id: PlatformId) -> Result<(), Error> {
        self.change("platform.delete", move |write| {
            let platform = find(write.connection, id)?;
            app_lock::take(write, platform.app_id)?;
            sql(DELETE)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)?;
            sql(CLOSE_TOPICS).bind(id).run(write.connection)?;
            let entry = AuditEntry::on(platform.app_id, id).before(fields(&platform));
            Ok(((), Some(entry)))
        })
        .await
    }

    /// Finds the platforms of these publishable keys in one query.
    pub async fn platforms_by_publishable_keys(
        &self,
        keys: Vec<String>,
    ) -> Result<Vec<Platform>, Error> {
        let keys = padded(keys.into_iter().map(|key| key.replace('\0', "")).collect());
        self.read_for_devices(move |connection| {
            sql(FIND_BY_PUBLISHABLE_KEYS)
                .bind_list(keys)
                .all(connection)
        })
        .await
    }

    /// Returns the decrypted credential of a platform whose store has one secret.
    pub async fn platform_secret(&self, id: PlatformId) -> Result<Option<SecretString>, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let Sealed { shared_secret } = sql(SECRET).bind(id).one(connection, "platform")?;
            shared_secret
                .map(|sealed| secrets.open(SHARED_SECRET, &id.to_string(), &sealed))
                .transpose()
        })
        .await
    }
}

/// Returns a platform's fields for the audit log: all but its keys and secrets.
pub fn fields(platform: &Platform) -> Value {
    let mut fields = json!(platform.settings);
    fields["transfers"] = json!(platform.transfers());
    fields["store"] = json!(platform.store);
    fields["has_shared_secret"] = json!(platform.has_shared_secret);
    if let Some(settings) = &platform.store_settings {
        fields["store_settings"] = settings.clone();
    }
    if platform.store_credentials_at.is_some() {
        fields["has_store_credentials"] = json!(true);
    }
    fields
}

row! {
    struct Sealed {
        shared_secret: Option<String>,
    }
}

const SECRET: Sql =
    statement!("SELECT shared_secret FROM platforms WHERE deleted_at IS NULL AND id = ?");

const FIND: Sql = statement!("SELECT {PLATFORM} AND id = ?");

const LOCK: Sql = statement! {"
    SELECT {PLATFORM} AND id = ?
    FOR NO KEY UPDATE
"};

/// Reads and locks a platform, because a change also writes back the columns that it leaves unchanged.
pub fn lock(write: &mut Write<'_>, id: PlatformId) -> Result<Platform, Error> {
    sql(LOCK).bind(id).one(write.connection, "platform")
}

pub fn find(connection: &mut AnyConnection, id: PlatformId) -> Result<Platform, Error> {
    sql(FIND).bind(id).one(connection, "platform")
}

const FIND_APP: Sql =
    statement!("SELECT created_at AS value FROM apps WHERE id = ? AND deleted_at IS NULL");

/// Checks that an app exists and was not deleted.
pub fn require_app(write: &mut Write<'_>, id: AppId) -> Result<(), Error> {
    let created_at: Option<Timestamp> = sql(FIND_APP).bind(id).value(write.connection)?;
    created_at.map(drop).ok_or(Error::Missing { what: "app" })
}

const INSERT: Sql = statement! {"
    INSERT INTO platforms (id, app_id, store, shared_secret, ingress_hash, ingress_key, publishable_key,
        store_settings, store_credentials, store_credentials_at, created_at{SETTINGS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?{PLACES})
"};

fn insert(
    write: &mut Write<'_>,
    secrets: &Secrets,
    id: PlatformId,
    new: &NewPlatform,
) -> Result<(), Error> {
    let part = &new.of_store;
    let sealed = seal(
        write,
        secrets,
        SHARED_SECRET,
        id,
        new.shared_secret.as_ref(),
    )?;
    let credentials = seal(
        write,
        secrets,
        STORE_CREDENTIALS,
        id,
        part.credentials.as_ref(),
    )?;
    let credentials_at = credentials.is_some().then(|| write.now()).transpose()?;
    let (ingress_hash, ingress_key) = sealed_key::seal(write, secrets, id, &new.ingress_key)?;
    sql(INSERT)
        .bind((
            id,
            new.app_id,
            new.store.as_str(),
            sealed,
            ingress_hash,
            ingress_key,
            new.publishable_key.as_str(),
            part.settings.as_ref().map(Value::to_string),
            credentials,
            credentials_at,
            write.now()?,
        ))
        .bind_all(new.settings.values())
        .run(write.connection)
        .map_err(|error| error.or_taken("platform", &new.settings.name))
        .map(drop)
}

const TWIN: Sql = statement! {"
    SELECT name AS value
    FROM platforms
    WHERE app_id = ? AND store = ? AND package_name = ? AND environment = ? AND id <> ? AND deleted_at IS NULL
    ORDER BY created_at, id
    LIMIT 1
"};

/// Refuses a platform if another one of the app has its package in the same environment, unless it may share the
/// package.
fn check_package(connection: &mut AnyConnection, platform: &Platform) -> Result<(), Error> {
    let PlatformSettings {
        package_name,
        environment,
        shares_package,
        ..
    } = &platform.settings;
    if *shares_package {
        return Ok(());
    }
    let twin = sql(TWIN).bind((
        platform.app_id,
        platform.store.as_str(),
        package_name.as_str(),
    ));
    let Some(twin) = twin
        .bind(*environment)
        .bind(platform.id)
        .value::<String>(connection)?
    else {
        return Ok(());
    };
    let detail = format!(
        "the platform `{twin}` of this app has the package name `{package_name}` too, in the same environment. All devices \
         of an app use the keys of one platform: a purchase that is reported to both counts twice. Use `{twin}`, or set \
         `shares_package` (`--shares-package`) to allow it"
    );
    Err(Error::Conflict {
        what: "package name",
        detail,
    })
}

const UPDATE: Sql = statement! {"
    UPDATE platforms
    SET (publishable_key{SETTINGS}) = (?{PLACES})
    WHERE id = ?
"};

const RAISE_VERSION: Sql =
    statement!("UPDATE platforms SET settings_version = settings_version + 1 WHERE id = ?");

const SET_SECRET: Sql =
    statement!("UPDATE platforms SET shared_secret = ?, secret_refused_at = NULL WHERE id = ?");

/// Writes a platform, and schedules a recheck of the purchases that the change affects; the sweep settles them at its
/// own pace.
///
/// The app's lock is taken first. A settling that is creating a purchase shares that lock, so the change waits for it,
/// and the recheck includes the new purchase.
fn update(write: &mut Write<'_>, before: &Platform, after: &Platform) -> Result<(), Error> {
    let (was, is) = (&before.settings, &after.settings);
    let package =
        |of: &PlatformSettings| (of.package_name.clone(), of.environment, of.shares_package);
    // Earlier releases did not check this, so unchanged packages are accepted.
    if package(was) != package(is) {
        check_package(write.connection, after)?;
    }
    sql(UPDATE)
        .bind(after.publishable_key.as_str())
        .bind_all(is.values())
        .bind(before.id)
        .run(write.connection)
        .map_err(|error| error.or_taken("platform", &is.name))?;
    if is.environment != was.environment {
        // The filters of destinations match other purchases from now on.
        check::reset_choices_of_platform(write, before.id)?;
        rechecks::recheck_platform(write, before.id, RecheckReason::Environment)?;
    }
    if is.product_ref != was.product_ref {
        rechecks::recheck_platform(write, before.id, RecheckReason::ProductRef)?;
    }
    Ok(())
}

/// Replaces or removes the credential. A new one schedules a recheck of the purchases whose queries failed. Removing it
/// rechecks nothing, since the store cannot be queried without it, and only resets the counts of failed queries to 0.
fn set_secret(
    write: &mut Write<'_>,
    secrets: &Secrets,
    before: &Platform,
    secret: Option<&SecretString>,
) -> Result<(), Error> {
    let sealed = seal(write, secrets, SHARED_SECRET, before.id, secret)?;
    sql(SET_SECRET)
        .bind(sealed)
        .bind(before.id)
        .run(write.connection)?;
    match secret {
        // Affects the purchases whose queries failed since the store began to refuse the old credential.
        Some(_) => rechecks::recheck_secret(write, before.id, before.secret_refused_at),
        None => rechecks::recheck_platform(write, before.id, RecheckReason::NoUsableSecret),
    }
}

const SET_STORE_SETTINGS: Sql = statement!("UPDATE platforms SET store_settings = ? WHERE id = ?");

const SET_STORE_CREDENTIALS: Sql = statement! {"
    UPDATE platforms
    SET store_credentials = ?, store_credentials_at = ?, secret_refused_at = NULL
    WHERE id = ?
"};

const USE_AGAIN: Sql = statement!("UPDATE platforms SET secret_refused_at = NULL WHERE id = ?");

/// Changes fields of the store's own form and, if `part` has any, its credentials. Schedules a recheck if either changed.
/// `before` is the locked row, so it contains earlier changes.
fn set_store_part(
    write: &mut Write<'_>,
    secrets: &Secrets,
    before: &Platform,
    part: &StorePartChange,
) -> Result<(), Error> {
    let settings = Some(part.applied(before.store_settings.as_ref()))
        .filter(|settings| !settings.is_empty())
        .map(Value::Object);
    sql(SET_STORE_SETTINGS)
        .bind(settings.as_ref().map(Value::to_string))
        .bind(before.id)
        .run(write.connection)?;
    let credentials = part.credentials.as_ref();
    let Some(sealed) = seal(write, secrets, STORE_CREDENTIALS, before.id, credentials)? else {
        // The store may have refused the credentials only because of a wrong setting.
        if settings != before.store_settings {
            sql(USE_AGAIN).bind(before.id).run(write.connection)?;
            rechecks::recheck_secret(write, before.id, before.secret_refused_at)?;
        }
        return Ok(());
    };
    sql(SET_STORE_CREDENTIALS)
        .bind((sealed, write.now()?, before.id))
        .run(write.connection)?;
    rechecks::recheck_secret(write, before.id, before.secret_refused_at)
}

/// Encrypts a secret for a purpose and a platform.
fn seal(
    write: &mut Write<'_>,
    secrets: &Secrets,
    purpose: &'static str,
    id: PlatformId,
    secret: Option<&SecretString>,
) -> Result<Option<String>, Error> {
    secret
        .map(|secret| secrets.seal(write, (purpose, &id.to_string()), secret))
        .transpose()
}
