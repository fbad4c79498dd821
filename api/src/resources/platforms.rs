//! `/v1/platforms`: an app on one store, and the URL that the store is told.

use super::topics;
use super::{Body, Fields, Id, Query};
use crate::edge::{Edge, STORES, Shared};
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::catalogue::ProductRef;
use domain::{AppId, Environment, PlatformId, UnknownReceipts};
use secrecy::SecretString;
use serde_json::{Value, json};
use storage::{NewPlatform, Platform, PlatformPatch};

/// The longest window in seconds; the longest wait may be a day.
const WINDOW_SECONDS: (i64, i64) = (3600, 86_400);

/// `POST /v1/apps/{app_id}/platforms`
pub async fn create(
    State(edge): State<Shared>,
    Id(app_id): Id<AppId>,
    Body(mut fields): Body,
) -> Result<(StatusCode, Json<Value>), Error> {
    let store = fields.required_text("store");
    if !store.is_empty() && !STORES.contains(&store.as_str()) {
        fields.wrong("store", format!("one of {}", STORES.join(", ")));
    }
    let window_ms = window(&mut fields).unwrap_or(edge.default_window_ms);
    let max_wait_ms = max_wait(&mut fields);
    check_wait(&mut fields, window_ms, max_wait_ms);
    let topic_arn = topic_arn(&edge, &mut fields, &store);
    let new = NewPlatform {
        app_id,
        store,
        name: fields.required_text("name"),
        package_name: fields.required_text("package_name"),
        environment: environment(&mut fields).unwrap_or(Environment::Production),
        shared_secret: fields.text("shared_secret").map(SecretString::from),
        topic_arn,
        window_ms,
        max_wait_ms,
        product_ref: product_ref(&mut fields).unwrap_or_default(),
        flush_on_revoke: fields.flag("flush_on_revoke").unwrap_or(false),
        unknown_receipts: unknown_receipts(&mut fields).unwrap_or_default(),
        ingress_key: ingress_key(&edge),
    };
    fields.finish()?;
    edge.store.app(app_id).await?;
    let platform = edge.store.new_platform(new).await?;
    Ok((StatusCode::CREATED, Json(view(&edge, &platform).await?)))
}

/// `GET /v1/apps/{app_id}/platforms`
pub async fn list(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Query(mut fields): Query,
) -> Result<Json<Value>, Error> {
    let page = fields.page();
    fields.finish()?;
    edge.store.app(app).await?;
    let found = edge.store.platforms(app, page).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for platform in &found.items {
        items.push(view(&edge, platform).await?);
    }
    Ok(Json(json!({ "items": items, "next_cursor": found.next_cursor })))
}

/// `GET /v1/platforms/{platform_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<PlatformId>) -> Result<Json<Value>, Error> {
    let platform = edge.store.platform(id).await?;
    Ok(Json(view(&edge, &platform).await?))
}

/// `PATCH /v1/platforms/{platform_id}`. A topic that is named is confirmed when it asks; one that asked before
/// is approved instead, since its subscription has to be confirmed at the store.
pub async fn update(
    State(edge): State<Shared>,
    Id(id): Id<PlatformId>,
    Body(mut fields): Body,
) -> Result<Json<Value>, Error> {
    let before = edge.store.platform(id).await?;
    let window_ms = window(&mut fields);
    let changes_wait = fields.has("max_wait_seconds");
    let max_wait_ms = max_wait(&mut fields);
    let wait_after = if changes_wait { max_wait_ms } else { before.max_wait_ms };
    check_wait(&mut fields, window_ms.unwrap_or(before.window_ms), wait_after);
    let changes_secret = fields.has("shared_secret");
    let secret = fields.text("shared_secret").map(SecretString::from);
    let topic_arn = topic_arn(&edge, &mut fields, &before.store);
    let patch = PlatformPatch {
        name: fields.text("name"),
        package_name: fields.text("package_name"),
        environment: environment(&mut fields),
        shared_secret: changes_secret.then_some(secret),
        window_ms,
        max_wait_ms: changes_wait.then_some(max_wait_ms),
        product_ref: product_ref(&mut fields),
        flush_on_revoke: fields.flag("flush_on_revoke"),
        unknown_receipts: unknown_receipts(&mut fields),
        ingress_key: None,
        topic_arn,
    };
    fields.finish()?;
    let platform = edge.store.update_platform(id, patch).await?;
    Ok(Json(view(&edge, &platform).await?))
}

/// `DELETE /v1/platforms/{platform_id}`
pub async fn delete(State(edge): State<Shared>, Id(id): Id<PlatformId>) -> Result<StatusCode, Error> {
    edge.store.delete_platform(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/platforms/{platform_id}/rotate-ingress-key`: a new notification URL; the old one ends within
/// a second.
pub async fn rotate(
    State(edge): State<Shared>,
    Id(id): Id<PlatformId>,
    Body(fields): Body,
) -> Result<Json<Value>, Error> {
    fields.finish()?;
    let patch = PlatformPatch { ingress_key: Some(ingress_key(&edge)), ..PlatformPatch::default() };
    let platform = edge.store.update_platform(id, patch).await?;
    Ok(Json(view(&edge, &platform).await?))
}

/// `POST /v1/platforms/{platform_id}/retry-parked`: purchases that the store did not know, or of another customer, are
/// looked at again.
pub async fn retry_parked(
    State(edge): State<Shared>,
    Id(id): Id<PlatformId>,
    Body(fields): Body,
) -> Result<(StatusCode, Json<Value>), Error> {
    edge.store.platform(id).await?;
    fields.finish()?;
    let purchases = edge.store.retry_parked(id).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "purchases": purchases }))))
}

async fn view(edge: &Edge, platform: &Platform) -> Result<Value, Error> {
    Ok(json!({
        "id": platform.id,
        "app_id": platform.app_id,
        "store": platform.store,
        "name": platform.name,
        "package_name": platform.package_name,
        "environment": platform.environment,
        "has_shared_secret": platform.has_shared_secret,
        "verification": verification(platform),
        "product_ref": platform.product_ref,
        "flush_on_revoke": platform.flush_on_revoke,
        "unknown_receipts": platform.unknown_receipts,
        "window_seconds": platform.window_ms / 1000,
        "max_wait_seconds": platform.max_wait_ms.map(|ms| ms / 1000),
        "notification_url": edge.url(&format!("/v1/stores/{}/{}", platform.store, platform.ingress_key)),
        "topic": topics::summary(&edge.store.topics(platform.id).await?),
        "created_at": platform.created_at,
    }))
}

/// Whether the store is asked about purchases: not without its secret, and not while it refuses that.
fn verification(platform: &Platform) -> Value {
    match platform.secret_refused_at {
        _ if !platform.has_shared_secret => json!({ "state": "off" }),
        Some(since) => json!({ "state": "refused", "since": since }),
        None => json!({ "state": "on" }),
    }
}

fn product_ref(fields: &mut Fields) -> Option<ProductRef> {
    match fields.text("product_ref")?.as_str() {
        "term" => Some(ProductRef::Term),
        "parent" => Some(ProductRef::Parent),
        other => {
            fields.wrong("product_ref", format!("`term` or `parent`, and it is `{other}`"));
            None
        }
    }
}

fn unknown_receipts(fields: &mut Fields) -> Option<UnknownReceipts> {
    match fields.text("unknown_receipts")?.parse() {
        Ok(chosen) => Some(chosen),
        Err(expected) => {
            fields.wrong("unknown_receipts", expected);
            None
        }
    }
}

fn window(fields: &mut Fields) -> Option<i64> {
    fields.integer("window_seconds", 1..=WINDOW_SECONDS.0).map(|seconds| seconds * 1000)
}

fn max_wait(fields: &mut Fields) -> Option<i64> {
    fields.integer("max_wait_seconds", 1..=WINDOW_SECONDS.1).map(|seconds| seconds * 1000)
}

fn check_wait(fields: &mut Fields, window_ms: i64, max_wait_ms: Option<i64>) {
    if max_wait_ms.is_some_and(|ms| ms < window_ms) {
        fields.wrong("max_wait_seconds", format!("at least the window, {} s", window_ms / 1000));
    }
}

fn environment(fields: &mut Fields) -> Option<Environment> {
    fields.parsed("environment", "`production` or `sandbox`")
}

/// The field, by the rule of the store. An unknown store is told elsewhere.
fn topic_arn(edge: &Edge, fields: &mut Fields, store: &str) -> Option<String> {
    let arn = fields.text("topic_arn")?;
    if STORES.contains(&store)
        && let Err(expected) = edge.check_topic(store, &arn)
    {
        fields.wrong("topic_arn", expected);
    }
    Some(arn)
}

/// 128 random bits in lower-case hex.
fn ingress_key(edge: &Edge) -> String {
    let random = (edge.random)();
    random.iter().take(16).fold(String::with_capacity(32), |hex, byte| hex + &format!("{byte:02x}"))
}
