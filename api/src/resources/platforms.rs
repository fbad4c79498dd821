//! `/v1/platforms`: an app on one store, with the URL that the store sends notifications to.

use super::catalogue::Concerned;
use super::signals::Nothing;
use super::topics::{self, TopicSummary};
use crate::answer::{Accepted, Created, NoContent};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{
    Body, Draft, FieldErrors, Id, PageQuery, Patch, Query, Stored, none_of, nullable, secret,
};
use crate::keys::{Acting, Caller, check_visible};
use crate::stores::{self, LAST_WITHOUT_SIGNS, StoreEntry};
use axum::Json;
use axum::extract::State;
use domain::time::millis;
use domain::{AppId, PlatformId, Timestamp};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use storage::{
    App, Page, Paged, PlatformChange, PlatformSettings, Role, ShownProcesses, StorePart,
    StorePartChange,
};

/// Maximum number of an app's platforms that are searched for another one with the same package.
const TWINS: i64 = 100;

/// Maximum number of an app's platforms that are compared to find out whether they have several stores.
const MAX_COMPARED: i64 = 100;

/// Request field for the fields that only one store has.
const OWN_FIELDS: &str = "store_settings";

/// Default number of hours for which an old notification URL still works.
const DEFAULT_OVERLAP_HOURS: u64 = 72;

/// A platform to create.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "store": stores::ALL[0].name, "name": "fire", "package_name": "com.example.reader" }]))]
pub struct NewPlatform {
    /// The store.
    #[schemars(extend("enum" = stores::names(), "x-openEnum" = true))]
    store: String,
    /// Confirms that no process of release 0.1.0 runs. The first platform of a store that 0.1.0 does not know needs it:
    /// such a process would not settle its purchases.
    #[serde(default)]
    no_older_process: bool,
    /// Credential for verification with a store that has one secret.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    shared_secret: Option<SecretString>,
    /// ARN of the topic that may send to the platform, if known in advance.
    topic_arn: Option<String>,
    /// Fields that only the platform's store has, including its credentials.
    store_settings: Option<Map<String, Value>>,
    #[serde(flatten)]
    settings: PlatformSettings,
}

/// A change to a platform: a JSON merge patch (RFC 7396). Null restores the default.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "fire", "window_seconds": 60, "max_wait_seconds": null }]))]
pub struct PlatformPatch {
    /// Credential for verification with a store that has one secret; null removes it.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    shared_secret: Option<Option<String>>,
    /// ARN of another topic that may send to the platform.
    #[schemars(extend("x-nullIsAbsent" = true))]
    topic_arn: Option<String>,
    /// Fields that only the platform's store has; null removes one. Other fields and the stored credentials stay.
    #[schemars(extend("x-nullIsAbsent" = true))]
    store_settings: Option<Map<String, Value>>,
    #[serde(flatten)]
    settings: Patch<PlatformSettings>,
}

/// An app on one store.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Platform {
    /// Id of the platform.
    pub id: PlatformId,
    /// Id of the platform's app.
    pub app_id: AppId,
    /// Store of the platform.
    #[schemars(extend("enum" = stores::names()))]
    store: String,
    /// Whether the credential `shared_secret` is stored.
    has_shared_secret: bool,
    /// Whether the platform's purchases are verified.
    verification: Verification,
    /// Whether device logins need a token signed by the app's own server.
    signed_login: bool,
    /// When a login without a token was first stored. Such logins can be forged.
    unsigned_login_at: Option<Timestamp>,
    #[serde(flatten)]
    settings: PlatformSettings,
    /// URL for the store's notifications; null for a key with a role below `operator`.
    #[schemars(extend("format" = "uri"))]
    notification_url: Option<String>,
    /// Previous notification URL while it still works; null otherwise.
    old_notification_url: Option<OldUrl>,
    /// Key that devices report with. Every copy of the app contains it, so it is not secret.
    publishable_key: String,
    /// Fields that only the platform's store has, without credentials; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_settings: Option<Map<String, Value>>,
    /// When the credentials among these fields were set; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_credentials_at: Option<Timestamp>,
    /// The topic that may send, or waits for approval.
    topic: TopicSummary,
    /// When the platform was created.
    created_at: Timestamp,
    /// Probable mistakes in the request that created the platform, one sentence each; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The previous notification URL.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OldUrl {
    /// When the URL stops working.
    until: Timestamp,
    /// When a message last arrived at the URL, accurate to a minute; null if none did.
    last_used_at: Option<Timestamp>,
}

/// A rotation of the notification URL.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "overlap_hours": 24 }]))]
pub struct RotateIngressKey {
    /// Number of hours for which the old URL still works; 72 by default.
    #[schemars(range(min = 0, max = 720))]
    overlap_hours: Option<u64>,
}

/// Verification of purchases with the store. It needs credentials that the store accepts.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Verification {
    /// Not verified: no credentials are stored.
    Off,
    /// Verified.
    On,
    /// Not verified: the store refuses the credentials.
    Refused {
        /// When the store first refused the credentials.
        since: Timestamp,
    },
}

/// `POST /v1/apps/{app_id}/platforms`
pub async fn create(
    edge: Acting,
    Stored(app): Stored<App>,
    mut draft: Draft<NewPlatform>,
) -> Result<Created<Platform>, Error> {
    let Draft { body: new, wrong } = &mut draft;
    check_store(&edge, wrong, &new.store);
    new.settings.window_ms = window_ms(&new.settings, edge.default_window);
    check_visible(wrong, &new.settings.name);
    check_wait(wrong, &new.settings);
    check_package(&edge, wrong, &new.store, &new.settings.package_name);
    check_topic(&edge, wrong, &new.store, new.topic_arn.as_deref());
    let own = new.store_settings.take();
    let own = own.map(|fields| changed_fields(None, fields));
    let own = match store_entry(&edge, &new.store) {
        Some(entry) if entry.own_fields.is_some() => Some(own.unwrap_or_default()),
        _ => own,
    };
    let of_store = store_part(&edge, wrong, &new.store, own.as_ref());
    let new = draft.finish()?;
    if !new.no_older_process && needs_confirmation(&edge, &new.store).await? {
        return Err(unconfirmed(&new.store));
    }
    let new = storage::NewPlatform {
        app_id: app.id,
        store: new.store,
        settings: new.settings,
        shared_secret: new.shared_secret,
        topic_arn: new.topic_arn,
        ingress_key: ingress_key(&edge),
        publishable_key: publishable_key(&edge),
        of_store: of_store.unwrap_or_default(),
    };
    // A key for one app must not learn the host names of the installation.
    let shown = match edge.caller.app {
        Some(_) => ShownProcesses::Counted,
        None => ShownProcesses::Named,
    };
    let platform = edge.store.new_platform_for(new, shown).await?;
    let mut warnings: Vec<String> = package_warning(&platform.settings.package_name)
        .into_iter()
        .collect();
    warnings.extend(twin_warning(&edge, &platform).await?);
    Ok(Created(Platform {
        warnings,
        ..view(&edge, &edge.caller, platform).await?
    }))
}

/// `GET /v1/apps/{app_id}/platforms`
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Stored(app): Stored<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<Platform>>, Error> {
    let found = of_app(&edge, app.id, query.page()).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for platform in found.items {
        items.push(view(&edge, &caller, platform).await?);
    }
    Ok(Json(Paged {
        items,
        next_cursor: found.next_cursor,
    }))
}

/// Returns a page of an app's stored platforms.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_app(
    edge: &Edge,
    app: AppId,
    page: Page,
) -> Result<Paged<storage::Platform>, Error> {
    Ok(edge.store.platforms(app, page).await?)
}

/// Returns at most `most` platforms of each app.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_apps(
    edge: &Edge,
    apps: Vec<AppId>,
    most: i64,
) -> Result<Vec<storage::Platform>, Error> {
    Ok(edge.store.platforms_of(apps, most).await?)
}

/// Returns whether the app's first `MAX_COMPARED` platforms have several stores.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn has_several_stores(edge: &Edge, app: AppId) -> Result<bool, Error> {
    let platforms = of_apps(edge, vec![app], MAX_COMPARED).await?;
    let mut stores = platforms.iter().map(|one| &one.store);
    let first = stores.next();
    Ok(stores.any(|store| Some(store) != first))
}

/// Returns a stored platform; `None` if it is deleted.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn stored(edge: &Edge, id: PlatformId) -> Result<Option<storage::Platform>, Error> {
    match edge.store.platform(id).await {
        Err(storage::Error::Missing { .. }) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// `GET /v1/platforms/{platform_id}`
pub async fn show(
    State(edge): State<Shared>,
    caller: Caller,
    Stored(platform): Stored<storage::Platform>,
) -> Result<Json<Platform>, Error> {
    Ok(Json(view(&edge, &caller, platform).await?))
}

/// `PATCH /v1/platforms/{platform_id}`. A new topic in `topic_arn` is confirmed as soon as it requests to send. A topic
/// that has already requested it must be approved instead, because the approval confirms its subscription at the store.
pub async fn update(
    edge: Acting,
    Stored(before): Stored<storage::Platform>,
    mut draft: Draft<PlatformPatch>,
) -> Result<Json<Platform>, Error> {
    let default_window = edge.default_window;
    let after = move |patch: &PlatformPatch, settings: &PlatformSettings| {
        let settings = patch.settings.apply(settings)?;
        Ok::<_, Error>(PlatformSettings {
            window_ms: window_ms(&settings, default_window),
            ..settings
        })
    };
    let Draft { body: patch, wrong } = &mut draft;
    let settings = after(patch, &before.settings)?;
    if patch.settings.has("name") {
        check_visible(wrong, &settings.name);
    }
    check_wait(wrong, &settings);
    if settings.package_name != before.settings.package_name {
        check_package(&edge, wrong, &before.store, &settings.package_name);
    }
    check_topic(&edge, wrong, &before.store, patch.topic_arn.as_deref());
    let (own, stored) = (patch.store_settings.take(), before.store_settings.as_ref());
    let own = own.map(|fields| changed_fields(stored, fields));
    let of_store = store_part(&edge, wrong, &before.store, own.as_ref())
        .map(|part| StorePartChange::between(stored, part));
    let patch = draft.finish()?;
    let change = PlatformChange {
        shared_secret: patch
            .shared_secret
            .clone()
            .map(|secret| secret.map(SecretString::from)),
        topic_arn: patch.topic_arn.clone(),
        publishable_key: None,
        of_store,
    };
    let set = move |settings: &mut PlatformSettings| {
        // Applied again under the lock, because another change may have been stored meanwhile. The patch was valid
        // above.
        if let Ok(changed) = after(&patch, settings) {
            *settings = changed;
        }
    };
    let platform = edge.store.update_platform(before.id, change, set).await?;
    Ok(Json(view(&edge, &edge.caller, platform).await?))
}

/// `DELETE /v1/platforms/{platform_id}`
pub async fn delete(edge: Acting, Id(id): Id<PlatformId>) -> Result<NoContent, Error> {
    edge.store.delete_platform(id).await?;
    Ok(NoContent)
}

/// `POST /v1/platforms/{platform_id}/rotate-ingress-key`: creates a new notification URL. The old one works until the
/// overlap ends; the one before that stops working within a second, when the cached platform expires.
pub async fn rotate(
    edge: Acting,
    Id(id): Id<PlatformId>,
    Body(body): Body<RotateIngressKey>,
) -> Result<Json<Platform>, Error> {
    let overlap = Duration::from_secs(
        body.overlap_hours
            .unwrap_or(DEFAULT_OVERLAP_HOURS)
            .saturating_mul(3600),
    );
    let platform = edge
        .store
        .rotate_ingress_key(id, ingress_key(&edge), overlap)
        .await?;
    Ok(Json(view(&edge, &edge.caller, platform).await?))
}

/// `POST /v1/platforms/{platform_id}/retire-old-ingress-key`: the old notification URL stops working within a second.
/// Does nothing if there is none.
pub async fn retire_old(
    edge: Acting,
    Id(id): Id<PlatformId>,
    _: Body<Nothing>,
) -> Result<Json<Platform>, Error> {
    let platform = edge.store.retire_old_ingress_key(id).await?;
    Ok(Json(view(&edge, &edge.caller, platform).await?))
}

/// `POST /v1/platforms/{platform_id}/rotate-publishable-key`: creates a new publishable key. The old one stops working
/// immediately, in every installed copy of the app.
pub async fn rotate_publishable(
    edge: Acting,
    Id(id): Id<PlatformId>,
    _: Body<Nothing>,
) -> Result<Json<Platform>, Error> {
    let change = PlatformChange {
        publishable_key: Some(publishable_key(&edge)),
        ..PlatformChange::default()
    };
    let platform = edge.store.update_platform(id, change, |_| {}).await?;
    Ok(Json(view(&edge, &edge.caller, platform).await?))
}

/// Secret with which the app's own server signs login tokens.
#[derive(Serialize, JsonSchema)]
pub struct LoginSecret {
    /// The secret; returned in this response only.
    login_secret: String,
}

/// `POST /v1/platforms/{platform_id}/login-secret`: requires logins to have a token signed with the new secret. A
/// previous secret stops working immediately.
pub async fn set_login_secret(
    edge: Acting,
    Id(id): Id<PlatformId>,
    _: Body<Nothing>,
) -> Result<Json<LoginSecret>, Error> {
    let login_secret = format!("ls_{}", storage::hex(&(edge.random)()));
    edge.store
        .set_login_secret(id, Some(SecretString::from(login_secret.clone())))
        .await?;
    Ok(Json(LoginSecret { login_secret }))
}

/// `DELETE /v1/platforms/{platform_id}/login-secret`: stops requiring a token for logins.
pub async fn remove_login_secret(edge: Acting, Id(id): Id<PlatformId>) -> Result<NoContent, Error> {
    edge.store.set_login_secret(id, None).await?;
    Ok(NoContent)
}

/// `POST /v1/platforms/{platform_id}/retry-parked`: retries verification of the purchases that the store did not know
/// or attributed to another customer.
pub async fn retry_parked(
    edge: Acting,
    Stored(platform): Stored<storage::Platform>,
    _: Body<Nothing>,
) -> Result<Accepted<Concerned>, Error> {
    let purchases = edge.store.retry_parked(platform.id).await?;
    edge.wake_for_persons();
    Ok(Accepted(Concerned {
        purchases,
        warnings: Vec::new(),
    }))
}

async fn view(
    edge: &Edge,
    caller: &Caller,
    platform: storage::Platform,
) -> Result<Platform, Error> {
    let notification_url = match caller.role >= Role::Operator {
        true => Some(notification_url(edge, &platform).await?),
        false => None,
    };
    let old = edge.store.old_ingress_key(platform.id).await?;
    Ok(Platform {
        verification: verification(&platform),
        settings: PlatformSettings {
            transfers: Some(platform.transfers()),
            ..platform.settings
        },
        notification_url,
        old_notification_url: old.map(|old| OldUrl {
            until: old.until,
            last_used_at: old.used_at,
        }),
        publishable_key: platform.publishable_key,
        store_settings: platform.store_settings.and_then(|own| match own {
            Value::Object(fields) => Some(fields),
            _ => None,
        }),
        store_credentials_at: platform.store_credentials_at,
        topic: topics::summary(&edge.store.topics(platform.id).await?),
        id: platform.id,
        app_id: platform.app_id,
        store: platform.store,
        has_shared_secret: platform.has_shared_secret,
        signed_login: platform.has_login_secret,
        unsigned_login_at: platform.unsigned_login_at,
        created_at: platform.created_at,
        warnings: Vec::new(),
    })
}

/// The fields that only a platform's store has, after a change of these; null removes one.
fn changed_fields(stored: Option<&Value>, settings: Map<String, Value>) -> Map<String, Value> {
    let change = StorePartChange {
        settings,
        credentials: None,
    };
    change.applied(stored)
}

/// Settings and credentials from the fields of a store's own form; `None` without any, or if some are wrong.
fn store_part(
    edge: &Edge,
    wrong: &mut FieldErrors,
    store: &str,
    fields: Option<&Map<String, Value>>,
) -> Option<StorePart> {
    let fields = fields?;
    let Some(read) = store_entry(edge, store).and_then(|entry| entry.own_fields) else {
        wrong.add(OWN_FIELDS, "nothing: this store has no fields of its own");
        return None;
    };
    match read(fields) {
        Ok(part) => Some(part),
        Err(all) => {
            for one in all {
                wrong.add(&format!("{OWN_FIELDS}.{}", one.field), one.expected);
            }
            None
        }
    }
}

fn store_entry(edge: &Edge, store: &str) -> Option<&'static StoreEntry> {
    edge.known.iter().find(|one| one.name == store).copied()
}

fn check_store(edge: &Edge, wrong: &mut FieldErrors, store: &str) {
    let known: Vec<&str> = edge.known.iter().map(|one| one.name).collect();
    if !known.contains(&store) {
        wrong.add("store", none_of(&known, store));
    }
}

/// Returns whether creating a platform of this store needs the operator's confirmation that no process runs whose
/// release does not know the store: such a process leaves no sign of life. True for the first platform of a store that
/// is new.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn needs_confirmation(edge: &Edge, store: &str) -> Result<bool, Error> {
    let is_new = store_entry(edge, store).is_some_and(StoreEntry::is_newer_than_signs);
    Ok(is_new && !edge.store.has_platform_of(store).await?)
}

fn unconfirmed(store: &str) -> Error {
    Error::Conflict(format!(
        "the platform cannot be stored: it is the first one of the store `{store}`, which processes of release \
         {LAST_WITHOUT_SIGNS} do not know, and settle cannot see whether one runs. Stop or upgrade all of them, then \
         confirm that with `no_older_process: true` (`--no-older-process`)"
    ))
}

/// Checks a package name by the rule of its store. Skipped for a name that already has an error.
fn check_package(edge: &Edge, wrong: &mut FieldErrors, store: &str, name: &str) {
    let own = store_entry(edge, store).and_then(|entry| entry.check_package);
    let check = own.unwrap_or(usual_package);
    if !wrong.has("package_name")
        && let Err(expected) = check(name)
    {
        wrong.add("package_name", expected);
    }
}

/// Refuses a package name with characters that no package name has. Android allows letters, digits, `_` and dots
/// (<https://developer.android.com/build/configure-app-module>); a hyphen is allowed too.
fn usual_package(name: &str) -> Result<(), &'static str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let expected = "letters, digits, dots, `_` and `-` only, such as com.example.app";
    name.chars().all(is_part).then_some(()).ok_or(expected)
}

/// Returns the warning about a package name without a dot, since real package names have one.
fn package_warning(name: &str) -> Option<String> {
    let is_usual = name.contains('.');
    (!is_usual).then(|| {
        format!(
            "`{name}` has no dot, but package names look like com.example.app; messages for any other package \
             are refused"
        )
    })
}

/// Returns the warning that another platform of the app has the same package, store and environment. It names the first
/// one found.
async fn twin_warning(edge: &Edge, created: &storage::Platform) -> Result<Option<String>, Error> {
    let all = edge
        .store
        .platforms(
            created.app_id,
            Page {
                cursor: None,
                limit: TWINS,
            },
        )
        .await?
        .items;
    let (own, store) = (&created.settings, &created.store);
    let is_twin = |one: &&storage::Platform| {
        let of = &one.settings;
        one.id != created.id
            && one.store == *store
            && (&of.package_name, of.environment) == (&own.package_name, own.environment)
    };
    Ok(all.iter().find(is_twin).map(|one| {
        format!(
            "the platform `{}` of this app has the package name `{}` too; a purchase that is reported to both counts \
             twice",
            one.settings.name, own.package_name
        )
    }))
}

/// Returns a platform's notification URL, with its decrypted ingress key.
async fn notification_url(edge: &Edge, platform: &storage::Platform) -> Result<String, Error> {
    let key = edge.store.ingress_key(platform.id).await?;
    Ok(edge.url(&format!(
        "/v1/stores/{}/{}",
        platform.store,
        key.expose_secret()
    )))
}

const fn verification(platform: &storage::Platform) -> Verification {
    match platform.secret_refused_at {
        _ if !platform.has_credential() => Verification::Off,
        Some(since) => Verification::Refused { since },
        None => Verification::On,
    }
}

/// Returns a platform's quiet window in milliseconds; the installation's default if the settings have none.
fn window_ms(settings: &PlatformSettings, default: Duration) -> i64 {
    if settings.window_ms == 0 {
        millis(default)
    } else {
        settings.window_ms
    }
}

fn check_wait(wrong: &mut FieldErrors, settings: &PlatformSettings) {
    if settings
        .max_wait_ms
        .is_some_and(|ms| ms < settings.window_ms)
    {
        wrong.add(
            "max_wait_seconds",
            format!("at least the window, {} s", settings.window_ms / 1000),
        );
    }
}

/// Checks the format of a topic's ARN. Skipped for an unknown store, which has its own error.
fn check_topic(edge: &Edge, wrong: &mut FieldErrors, store: &str, arn: Option<&str>) {
    if let Some(arn) = arn
        && !wrong.has("store")
        && let Err(expected) = edge.topics(store).map_or_else(
            || Err("no topic: this store has none".to_owned()),
            |topics| topics.check(arn),
        )
    {
        wrong.add("topic_arn", expected);
    }
}

/// Returns a new ingress key: 128 random bits in lower-case hex.
fn ingress_key(edge: &Edge) -> SecretString {
    storage::hex(&(edge.random)()[..16]).into()
}

/// Returns a new publishable key: `pk_` and 128 random bits in lower-case hex.
fn publishable_key(edge: &Edge) -> String {
    format!("pk_{}", storage::hex(&(edge.random)()[..16]))
}
