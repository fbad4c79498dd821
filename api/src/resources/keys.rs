//! `/v1/keys`: API keys.

use super::query::{Listed, OfApp};
use crate::answer::{Created, NoContent};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Draft, Id, Query};
use crate::keyring::KeyText;
use crate::keys::{Acting, Caller, check_name};
use axum::Json;
use axum::extract::State;
use domain::text::visible;
use domain::{AppId, KeyId, Timestamp};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use storage::{ApiKey, Page, Paged, Role};

/// An API key to create.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "help desk", "role": "support", "expires_at": "2126-01-31T12:00:00Z" }]))]
pub struct NewKey {
    /// Name of the key, unique among keys that are not revoked. The audit log shows it, so names that look alike count
    /// as equal.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// Role of the key.
    role: Role,
    /// Id of the only app that the key can access; all apps by default. A key for one app can only create keys for that
    /// app.
    app_id: Option<AppId>,
    /// When the key expires; never by default.
    expires_at: Option<Timestamp>,
}

/// A newly created API key.
#[derive(Serialize, JsonSchema)]
pub struct CreatedKey {
    /// The key without its secret.
    #[serde(flatten)]
    stored: ApiKey,
    /// The key; returned in this response only.
    key: String,
}

/// `POST /v1/keys`
pub async fn create(
    edge: Acting,
    caller: Caller,
    mut draft: Draft<NewKey>,
) -> Result<Created<CreatedKey>, Error> {
    if draft
        .body
        .expires_at
        .is_some_and(|end| end <= (edge.clock)())
    {
        draft.wrong.add("expires_at", "a time in the future");
    }
    check_name(&mut draft.wrong, &draft.body.name);
    let NewKey {
        name,
        role,
        app_id,
        expires_at,
    } = draft.finish()?;
    let app_id = caller.app(&edge, app_id).await?;
    if role == Role::Metrics && app_id.is_some() {
        return Err(Error::Unsuitable(
            "metrics cover all apps, so a key for them cannot be limited to one".to_owned(),
        ));
    }
    let secret = SecretString::from(storage::hex(&(edge.random)()));
    let new = storage::NewKey {
        name: visible(&name),
        role,
        app_id,
        expires_at,
        secret: secret.clone(),
    };
    let stored = edge.store.new_key(new).await?;
    let key = KeyText {
        id: stored.id,
        secret,
    }
    .write();
    Ok(Created(CreatedKey { stored, key }))
}

/// `GET /v1/keys`, oldest first, including revoked keys.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { filter, page }): Query<Listed<OfApp>>,
) -> Result<Json<Paged<ApiKey>>, Error> {
    let app = caller.app(&edge, filter.app_id).await?;
    Ok(Json(of_app(&edge, app, page.page()).await?))
}

/// Returns a page of the keys for one app, or of all keys, oldest first.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_app(edge: &Edge, app: Option<AppId>, page: Page) -> Result<Paged<ApiKey>, Error> {
    Ok(edge.store.keys(app, page).await?)
}

/// `GET /v1/keys/{key_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<KeyId>) -> Result<Json<ApiKey>, Error> {
    Ok(Json(edge.store.key(id).await?.key))
}

/// The caller of a request.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct CallerView {
    /// Name of the key; `admin token` for the configured token.
    pub name: String,
    /// Role of the caller.
    pub role: Role,
    /// Id of the only app that the caller can access; null for all apps.
    pub app_id: Option<AppId>,
}

/// `GET /v1/caller`
pub async fn caller(caller: Caller) -> Json<CallerView> {
    Json(CallerView {
        name: caller.name,
        role: caller.role,
        app_id: caller.app,
    })
}

/// `DELETE /v1/keys/{key_id}`: revokes a key. Revoking it again changes nothing.
pub async fn revoke(edge: Acting, Id(id): Id<KeyId>) -> Result<NoContent, Error> {
    edge.store.revoke_key(id).await?;
    Ok(NoContent)
}
