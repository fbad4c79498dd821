//! `/v1/platforms`: an app on one store, and the URL that the store sends to.

use super::catalogue::Concerned;
use super::signals::Nothing;
use super::topics::{self, TopicSummary};
use crate::answer::{Accepted, Created, NoContent};
use crate::edge::{Edge, STORES, Shared};
use crate::error::Error;
use crate::extract::{Body, Draft, FieldErrors, Id, PageQuery, Query, Stored, nullable, secret};
use crate::keys::{Acting, Caller};
use axum::Json;
use axum::extract::State;
use domain::catalogue::ProductRef;
use domain::time::millis;
use domain::{AppId, Environment, PlatformId, Timestamp, TransferPolicy, UnknownReceipts};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::{App, DeviceQuota, DeviceQuotaPatch, Paged, Role};

/// Default number of hours for which an old notification URL takes messages.
const DEFAULT_OVERLAP_HOURS: u64 = 72;

/// The highest bound of a day that can be set.
const MAX_QUOTA: i64 = 1_000_000_000_000_000;

/// A new platform.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "store": STORES[0], "name": "fire", "package_name": "com.example.reader" }]))]
pub struct NewPlatform {
    /// The store.
    #[schemars(extend("enum" = STORES))]
    store: String,
    /// A name for people, unique in the app.
    #[schemars(length(max = 200))]
    name: String,
    /// The app's package name in the store.
    package_name: String,
    /// Whether purchases of it are real; `production` when absent.
    #[schemars(extend("default" = "production"))]
    environment: Option<Environment>,
    /// The store's shared secret, for verification.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    shared_secret: Option<SecretString>,
    /// The topic that may send to it, when it is known beforehand.
    topic_arn: Option<String>,
    /// Which SKU of a subscription names its product; `term` when absent.
    #[schemars(extend("default" = "term"))]
    product_ref: Option<ProductRef>,
    /// Whether a revocation is settled at once, without a window.
    flush_on_revoke: Option<bool>,
    /// What happens to receipts that the store still does not know after a day; `give_up` when absent.
    #[schemars(extend("default" = "give_up"))]
    unknown_receipts: Option<UnknownReceipts>,
    /// What a login on a device moves of another named customer's; `review` while logins are signed, else `immediate`, when
    /// absent.
    transfers: Option<TransferPolicy>,
    /// The window; that of the installation when absent.
    #[schemars(range(min = 1, max = 3600))]
    window_seconds: Option<i64>,
    /// The longest wait, however often the window is restarted: at least `window_seconds`. Without a limit when absent.
    #[schemars(range(min = 1, max = 86400))]
    max_wait_seconds: Option<i64>,
    /// Maximum number of events that its devices report in a day (UTC).
    #[schemars(range(min = 0, max = MAX_QUOTA), extend("default" = storage::USUAL_DEVICE_QUOTA.events))]
    device_events_per_day: Option<i64>,
    /// Maximum number of bytes of the requests with them.
    #[schemars(range(min = 0, max = MAX_QUOTA), extend("default" = storage::USUAL_DEVICE_QUOTA.bytes))]
    device_bytes_per_day: Option<i64>,
    /// Maximum number of new devices in a day; known ones are not counted.
    #[schemars(range(min = 0, max = MAX_QUOTA), extend("default" = storage::USUAL_DEVICE_QUOTA.devices))]
    new_devices_per_day: Option<i64>,
    /// Maximum number of customers in a day who are named first by a login on a device.
    #[schemars(range(min = 0, max = MAX_QUOTA), extend("default" = storage::USUAL_DEVICE_QUOTA.users))]
    new_users_per_day: Option<i64>,
}

/// A change of a platform.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "fire", "window_seconds": 60, "max_wait_seconds": null }]))]
pub struct PlatformPatch {
    /// A name for people, unique in the app.
    #[schemars(length(max = 200))]
    name: Option<String>,
    /// The app's package name in the store.
    package_name: Option<String>,
    /// Whether purchases of it are real.
    environment: Option<Environment>,
    /// The store's shared secret; null removes it.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    shared_secret: Option<Option<String>>,
    /// A topic that may send to it as well.
    topic_arn: Option<String>,
    /// Which SKU of a subscription names its product.
    product_ref: Option<ProductRef>,
    /// Whether a revocation is settled at once, without a window.
    flush_on_revoke: Option<bool>,
    /// What happens to receipts that the store still does not know after a day.
    unknown_receipts: Option<UnknownReceipts>,
    /// What a login on a device moves of another named customer's; null for the default.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<TransferPolicy>")]
    transfers: Option<Option<TransferPolicy>>,
    /// The window.
    #[schemars(range(min = 1, max = 3600))]
    window_seconds: Option<i64>,
    /// The longest wait, however often the window is restarted: at least `window_seconds`. Null removes the limit.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 86400))]
    max_wait_seconds: Option<Option<i64>>,
    /// Maximum number of events that its devices report in a day (UTC). Null restores the default.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<i64>", range(min = 0, max = MAX_QUOTA))]
    device_events_per_day: Option<Option<i64>>,
    /// Maximum number of bytes of the requests with them. Null restores the default.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<i64>", range(min = 0, max = MAX_QUOTA))]
    device_bytes_per_day: Option<Option<i64>>,
    /// Maximum number of new devices in a day; known ones are not counted. Null restores the default.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<i64>", range(min = 0, max = MAX_QUOTA))]
    new_devices_per_day: Option<Option<i64>>,
    /// Maximum number of customers in a day who are named first by a login on a device. Null restores the default.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<i64>", range(min = 0, max = MAX_QUOTA))]
    new_users_per_day: Option<Option<i64>>,
}

/// An app on one store.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Platform {
    /// Its id.
    pub id: PlatformId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The store.
    #[schemars(extend("enum" = STORES))]
    store: String,
    /// A name for people.
    name: String,
    /// The app's package name in the store.
    package_name: String,
    /// Whether purchases of it are real.
    environment: Environment,
    /// Whether a shared secret is stored.
    has_shared_secret: bool,
    /// Whether its purchases are verified.
    verification: Verification,
    /// Whether logins on its devices need a token of the app's own server.
    signed_login: bool,
    /// What a login on a device moves of another named customer's.
    transfers: TransferPolicy,
    /// When a login without a token was stored first: anybody can make one.
    unsigned_login_at: Option<Timestamp>,
    /// Which SKU of a subscription names its product.
    product_ref: ProductRef,
    /// Whether a revocation is settled at once, without a window.
    flush_on_revoke: bool,
    /// What happens to receipts that the store still does not know after a day.
    unknown_receipts: UnknownReceipts,
    /// The window.
    window_seconds: i64,
    /// The longest wait, however often the window is restarted; null without a limit.
    max_wait_seconds: Option<i64>,
    /// Maximum number of events that its devices report in a day (UTC).
    device_events_per_day: i64,
    /// Maximum number of bytes of the requests with them.
    device_bytes_per_day: i64,
    /// Maximum number of new devices in a day; known ones are not counted.
    new_devices_per_day: i64,
    /// Maximum number of customers in a day who are named first by a login on a device.
    new_users_per_day: i64,
    /// The URL that the store sends to; null for a key whose role is below `operator`.
    #[schemars(extend("format" = "uri"))]
    notification_url: Option<String>,
    /// The URL before it, while that takes messages; null without one.
    old_notification_url: Option<OldUrl>,
    /// The key with which its devices report. It is in every copy of the app, so it is no secret.
    publishable_key: String,
    /// The topic that may send, or waits for approval.
    topic: TopicSummary,
    /// When it was created.
    created_at: Timestamp,
}

/// The notification URL before the present one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OldUrl {
    /// When it ends.
    until: Timestamp,
    /// When a message came by it last, up to a minute before the last one; null if none did.
    last_used_at: Option<Timestamp>,
}

/// A new notification URL.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "overlap_hours": 24 }]))]
pub struct RotateIngressKey {
    /// Number of hours for which the old one takes messages, too; 72 when absent.
    #[schemars(range(min = 0, max = 720))]
    overlap_hours: Option<u64>,
}

/// Whether purchases are verified with the store: not without its secret, and not while the store refuses that.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Verification {
    /// No secret is stored.
    Off,
    /// They are.
    On,
    /// The store refuses the secret.
    Refused {
        /// Since when.
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
    let window_ms = new.window_seconds.map_or_else(|| millis(edge.default_window), |seconds| seconds * 1000);
    let max_wait_ms = new.max_wait_seconds.map(|seconds| seconds * 1000);
    check_wait(wrong, window_ms, max_wait_ms);
    check_topic(&edge, wrong, &new.store, new.topic_arn.as_deref());
    let new = draft.finish()?;
    let new = storage::NewPlatform {
        app_id: app.id,
        store: new.store,
        name: new.name,
        package_name: new.package_name,
        environment: new.environment.unwrap_or(Environment::Production),
        shared_secret: new.shared_secret,
        topic_arn: new.topic_arn,
        window_ms,
        max_wait_ms,
        quota: DeviceQuota {
            device_events_per_day: new.device_events_per_day,
            device_bytes_per_day: new.device_bytes_per_day,
            new_devices_per_day: new.new_devices_per_day,
            new_users_per_day: new.new_users_per_day,
        },
        product_ref: new.product_ref.unwrap_or_default(),
        flush_on_revoke: new.flush_on_revoke.unwrap_or(false),
        unknown_receipts: new.unknown_receipts.unwrap_or_default(),
        transfers: new.transfers,
        ingress_key: ingress_key(&edge),
        publishable_key: publishable_key(&edge),
    };
    let platform = edge.store.new_platform(new).await?;
    Ok(Created(view(&edge, &edge.caller, platform).await?))
}

/// `GET /v1/apps/{app_id}/platforms`
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Stored(app): Stored<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<Platform>>, Error> {
    let found = edge.store.platforms(app.id, query.page()).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for platform in found.items {
        items.push(view(&edge, &caller, platform).await?);
    }
    Ok(Json(Paged { items, next_cursor: found.next_cursor }))
}

/// `GET /v1/platforms/{platform_id}`
pub async fn show(
    State(edge): State<Shared>,
    caller: Caller,
    Stored(platform): Stored<storage::Platform>,
) -> Result<Json<Platform>, Error> {
    Ok(Json(view(&edge, &caller, platform).await?))
}

/// `PATCH /v1/platforms/{platform_id}`. The topic in `topic_arn` is confirmed as soon as it requests to send. A topic
/// that already requested it must be approved instead, because approving confirms its subscription at the store.
pub async fn update(
    edge: Acting,
    Stored(before): Stored<storage::Platform>,
    mut draft: Draft<PlatformPatch>,
) -> Result<Json<Platform>, Error> {
    let Draft { body: patch, wrong } = &mut draft;
    let window_ms = patch.window_seconds.map(|seconds| seconds * 1000);
    let max_wait_ms = patch.max_wait_seconds.map(|seconds| seconds.map(|seconds| seconds * 1000));
    check_wait(wrong, window_ms.unwrap_or(before.window_ms), max_wait_ms.unwrap_or(before.max_wait_ms));
    check_topic(&edge, wrong, &before.store, patch.topic_arn.as_deref());
    let patch = draft.finish()?;
    let patch = storage::PlatformPatch {
        name: patch.name,
        package_name: patch.package_name,
        environment: patch.environment,
        shared_secret: patch.shared_secret.map(|secret| secret.map(SecretString::from)),
        window_ms,
        max_wait_ms,
        quota: DeviceQuotaPatch {
            device_events_per_day: patch.device_events_per_day,
            device_bytes_per_day: patch.device_bytes_per_day,
            new_devices_per_day: patch.new_devices_per_day,
            new_users_per_day: patch.new_users_per_day,
        },
        product_ref: patch.product_ref,
        flush_on_revoke: patch.flush_on_revoke,
        unknown_receipts: patch.unknown_receipts,
        transfers: patch.transfers,
        publishable_key: None,
        topic_arn: patch.topic_arn,
    };
    let platform = edge.store.update_platform(before.id, patch).await?;
    Ok(Json(view(&edge, &edge.caller, platform).await?))
}

/// `DELETE /v1/platforms/{platform_id}`
pub async fn delete(edge: Acting, Id(id): Id<PlatformId>) -> Result<NoContent, Error> {
    edge.store.delete_platform(id).await?;
    Ok(NoContent)
}

/// `POST /v1/platforms/{platform_id}/rotate-ingress-key`: creates a new notification URL. The old one takes messages until
/// the overlap ends; one before it ends within a second, when the cached platform expires.
pub async fn rotate(
    edge: Acting,
    Id(id): Id<PlatformId>,
    Body(body): Body<RotateIngressKey>,
) -> Result<Json<Platform>, Error> {
    let overlap = Duration::from_secs(body.overlap_hours.unwrap_or(DEFAULT_OVERLAP_HOURS).saturating_mul(3600));
    let platform = edge.store.rotate_ingress_key(id, ingress_key(&edge), overlap).await?;
    Ok(Json(view(&edge, &edge.caller, platform).await?))
}

/// `POST /v1/platforms/{platform_id}/end-old-ingress-key`: the notification URL before the present one ends within a
/// second. Without one nothing is changed.
pub async fn end_old(edge: Acting, Id(id): Id<PlatformId>, _: Body<Nothing>) -> Result<Json<Platform>, Error> {
    let platform = edge.store.end_old_ingress_key(id).await?;
    Ok(Json(view(&edge, &edge.caller, platform).await?))
}

/// `POST /v1/platforms/{platform_id}/rotate-publishable-key`: creates a new key for devices. The old one stops working at
/// once, in every copy of the app that has it.
pub async fn rotate_publishable(
    edge: Acting,
    Id(id): Id<PlatformId>,
    _: Body<Nothing>,
) -> Result<Json<Platform>, Error> {
    let publishable_key = Some(publishable_key(&edge));
    let patch = storage::PlatformPatch { publishable_key, ..storage::PlatformPatch::default() };
    let platform = edge.store.update_platform(id, patch).await?;
    Ok(Json(view(&edge, &edge.caller, platform).await?))
}

/// The secret with which the app's own server signs logins.
#[derive(Serialize, JsonSchema)]
pub struct LoginSecret {
    /// The secret; shown only here.
    login_secret: String,
}

/// `POST /v1/platforms/{platform_id}/login-secret`: logins need a token from now on, signed with this secret. The one before
/// ends at once.
pub async fn set_login_secret(
    edge: Acting,
    Id(id): Id<PlatformId>,
    _: Body<Nothing>,
) -> Result<Json<LoginSecret>, Error> {
    let login_secret = format!("ls_{}", storage::hex(&(edge.random)()));
    edge.store.set_login_secret(id, Some(SecretString::from(login_secret.clone()))).await?;
    Ok(Json(LoginSecret { login_secret }))
}

/// `DELETE /v1/platforms/{platform_id}/login-secret`: logins need no token any more.
pub async fn remove_login_secret(edge: Acting, Id(id): Id<PlatformId>) -> Result<NoContent, Error> {
    edge.store.set_login_secret(id, None).await?;
    Ok(NoContent)
}

/// `POST /v1/platforms/{platform_id}/retry-parked`: verifies purchases again whose receipt the store did not know, or
/// which belong to another customer.
pub async fn retry_parked(
    edge: Acting,
    Stored(platform): Stored<storage::Platform>,
    _: Body<Nothing>,
) -> Result<Accepted<Concerned>, Error> {
    let purchases = edge.store.retry_parked(platform.id).await?;
    edge.wake_for_persons();
    Ok(Accepted(Concerned { purchases }))
}

async fn view(edge: &Edge, caller: &Caller, platform: storage::Platform) -> Result<Platform, Error> {
    let notification_url = match caller.role >= Role::Operator {
        true => Some(notification_url(edge, &platform).await?),
        false => None,
    };
    let old = edge.store.old_ingress_key(platform.id).await?;
    let (bounds, transfers) = (platform.quota.bounds(), platform.transfers());
    Ok(Platform {
        verification: verification(&platform),
        notification_url,
        old_notification_url: old.map(|old| OldUrl { until: old.until, last_used_at: old.used_at }),
        publishable_key: platform.publishable_key,
        topic: topics::summary(&edge.store.topics(platform.id).await?),
        id: platform.id,
        app_id: platform.app_id,
        store: platform.store,
        name: platform.name,
        package_name: platform.package_name,
        environment: platform.environment,
        has_shared_secret: platform.has_shared_secret,
        signed_login: platform.has_login_secret,
        transfers,
        unsigned_login_at: platform.unsigned_login_at,
        product_ref: platform.product_ref,
        flush_on_revoke: platform.flush_on_revoke,
        unknown_receipts: platform.unknown_receipts,
        window_seconds: platform.window_ms / 1000,
        max_wait_seconds: platform.max_wait_ms.map(|ms| ms / 1000),
        device_events_per_day: bounds.events,
        device_bytes_per_day: bounds.bytes,
        new_devices_per_day: bounds.devices,
        new_users_per_day: bounds.users,
        created_at: platform.created_at,
    })
}

/// The URL with the ingress key, which is stored encrypted.
async fn notification_url(edge: &Edge, platform: &storage::Platform) -> Result<String, Error> {
    let key = edge.store.ingress_key(platform.id).await?;
    Ok(edge.url(&format!("/v1/stores/{}/{}", platform.store, key.expose_secret())))
}

const fn verification(platform: &storage::Platform) -> Verification {
    match platform.secret_refused_at {
        _ if !platform.has_shared_secret => Verification::Off,
        Some(since) => Verification::Refused { since },
        None => Verification::On,
    }
}

fn check_wait(wrong: &mut FieldErrors, window_ms: i64, max_wait_ms: Option<i64>) {
    if max_wait_ms.is_some_and(|ms| ms < window_ms) {
        wrong.add("max_wait_seconds", format!("at least the window, {} s", window_ms / 1000));
    }
}

/// Checks the form of a topic's ARN. An unknown store has an error of its own already.
fn check_topic(edge: &Edge, wrong: &mut FieldErrors, store: &str, arn: Option<&str>) {
    if let Some(arn) = arn
        && !wrong.has("store")
        && let Err(expected) = edge.check_topic(store, arn)
    {
        wrong.add("topic_arn", expected);
    }
}

/// A new ingress key: 128 random bits in lower-case hex.
fn ingress_key(edge: &Edge) -> SecretString {
    storage::hex(&(edge.random)()[..16]).into()
}

/// A new publishable key: `pk_` and 128 random bits in lower-case hex.
fn publishable_key(edge: &Edge) -> String {
    format!("pk_{}", storage::hex(&(edge.random)()[..16]))
}
