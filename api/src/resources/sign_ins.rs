//! `/v1/sign-ins` and `/v1/sign-in-links`: sign-ins to the dashboard, and links that sign other people in.

use super::query::{Listed, OfApp};
use crate::answer::{Created, NoContent};
use crate::edge::pages::PREFIX;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Draft, Id, Query};
use crate::keys::{Acting, Caller, check_name, sign_in_holds};
use axum::Json;
use axum::extract::State;
use domain::text::visible;
use domain::{AppId, SignInId, Timestamp};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::{Actor, Link, LinkEnd, Page, Paged, Person, Role, SignIn, chain};

/// How long a link can be used.
pub const LINK_VALID: Duration = Duration::from_secs(600);
/// Number of bytes in a link's code: 128 bits, enough for a validity of ten minutes.
const CODE_BYTES: usize = 16;

/// A link that signs a person in to the dashboard.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "Anna", "role": "support", "lifetime_seconds": 28800 }]))]
pub struct NewSignInLink {
    /// Name of the person, shown in the audit log.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// Role of the person, at most that of the caller.
    role: Role,
    /// Id of the only app that the person can access; by default, all apps that the caller can access.
    app_id: Option<AppId>,
    /// Duration of the sign-in in seconds. The default and maximum is `ui.sign_in_lifetime`.
    #[schemars(range(min = 60, max = 604_800))]
    lifetime_seconds: Option<i64>,
}

/// A newly created sign-in link.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct SignInLink {
    /// Path of the link on the address of this API; returned in this response only. It works once.
    pub path: String,
    /// Complete link, if `ui.url` is set to the public address of the dashboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When the link expires.
    pub expires_at: Timestamp,
}

/// `POST /v1/sign-in-links`
pub async fn link(
    edge: Acting,
    caller: Caller,
    mut draft: Draft<NewSignInLink>,
) -> Result<Created<SignInLink>, Error> {
    if draft.body.role > caller.role {
        draft.wrong.add(
            "role",
            format!("at most the caller's own role, `{}`", caller.role.as_str()),
        );
    }
    // A caller may reuse its own name, even one that would be refused as new.
    if draft.body.name != caller.name {
        check_name(&mut draft.wrong, &draft.body.name);
    }
    if draft.body.role == Role::Metrics {
        draft.wrong.add("role", "a role that may read");
    }
    let NewSignInLink {
        name,
        role,
        app_id,
        lifetime_seconds,
    } = draft.finish()?;
    let app_id = caller.app(&edge, app_id).await?;
    let longest = edge.pages.sign_in_lifetime;
    let lifetime = lifetime_seconds.map_or(longest, |seconds| {
        Duration::from_secs(seconds.unsigned_abs()).min(longest)
    });
    let person = Person {
        name: visible(&name),
        role,
        app_id,
        ..person(&edge, &caller)
    };
    let code = code(&edge);
    let new = storage::NewLink {
        person,
        code: code.clone(),
        valid: LINK_VALID,
        lifetime,
    };
    let expires_at = edge.store.new_sign_in_link(new).await?;
    let path = path(&code);
    Ok(Created(SignInLink {
        url: edge.pages.link(&path),
        path,
        expires_at,
    }))
}

/// `GET /v1/sign-ins`, oldest first, including those that ended in the last month.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { filter, page }): Query<Listed<OfApp>>,
) -> Result<Json<Paged<SignIn>>, Error> {
    let app = caller.app(&edge, filter.app_id).await?;
    Ok(Json(of_app(&edge, app, page.page()).await?))
}

/// Returns a page of the sign-ins for an app, or of all, oldest first.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_app(edge: &Edge, app: Option<AppId>, page: Page) -> Result<Paged<SignIn>, Error> {
    Ok(edge.store.sign_ins(app, page).await?)
}

/// Returns those of these sign-ins that are still valid.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn holding(edge: &Edge, all: &[SignIn], now: Timestamp) -> Result<Vec<SignIn>, Error> {
    let is_open = |one: &&SignIn| one.finished_at.is_none() && now < one.expires_at;
    let mut holding = Vec::new();
    for one in all.iter().filter(is_open) {
        let found = edge.store.found_sign_in(one.id).await?;
        let found = found.filter(|found| sign_in_holds(found, edge, now));
        holding.extend(found.map(|found| found.sign_in));
    }
    Ok(holding)
}

/// Returns the sign-in with this secret, if it is still valid.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn opened(
    edge: &Edge,
    secret: &SecretString,
    now: Timestamp,
) -> Result<Option<SignIn>, Error> {
    let found = edge.store.sign_in_of(secret).await?;
    let found = found.filter(|found| sign_in_holds(found, edge, now));
    Ok(found.map(|found| found.sign_in))
}

/// Signs in a person who presented an API key.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn begin(edge: &Edge, person: Person, secret: &SecretString) -> Result<SignIn, Error> {
    let lifetime = edge.pages.sign_in_lifetime;
    let begun = edge.store.new_sign_in(person, secret.clone(), lifetime);
    Ok(begun.await?)
}

/// Returns the link with this code, or why it is not valid.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn link_of(edge: &Edge, code: &SecretString) -> Result<Result<Link, LinkEnd>, Error> {
    let token = edge.admin_token_hash();
    Ok(edge.store.sign_in_link(code, token).await?)
}

/// Signs in a person with a link, which can be used once; or returns why the link is not valid.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn take_link(
    edge: &Edge,
    code: &SecretString,
    secret: &SecretString,
) -> Result<Result<SignIn, LinkEnd>, Error> {
    let token = edge.admin_token_hash();
    Ok(edge.store.take_sign_in_link(code, token, secret).await?)
}

/// Signs out the person of this sign-in, at their own request.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn leave(edge: &Edge, sign_in: &SignIn) -> Result<(), Error> {
    let actor = Actor {
        key: sign_in.key_id,
        ..Actor::named(&sign_in.name)
    };
    edge.store.by(actor).finish_sign_in(sign_in.id).await?;
    Ok(())
}

/// Records the use of a sign-in without delaying its request.
pub fn note_used(edge: &Edge, sign_in: &SignIn) {
    let (store, id) = (edge.store.clone(), sign_in.id);
    tokio::spawn(async move {
        if let Err(error) = store.note_sign_in_used(id).await {
            tracing::debug!(sign_in.id = %id, error = chain(&error), "the use of a sign-in was not noted");
        }
    });
}

/// `DELETE /v1/sign-ins/{sign_in_id}`: signs a person out. A sign-in that has already ended does not change.
pub async fn finish(edge: Acting, Id(id): Id<SignInId>) -> Result<NoContent, Error> {
    edge.store.finish_sign_in(id).await?;
    Ok(NoContent)
}

/// Returns the caller as a person to sign in.
pub fn person(edge: &Edge, caller: &Caller) -> Person {
    let token_hash = caller.key.is_none().then(|| edge.admin_token_hash());
    let Caller {
        key,
        name,
        role,
        app,
        ..
    } = caller.clone();
    Person {
        name,
        role,
        app_id: app,
        key_id: key,
        token_hash,
    }
}

pub fn code(edge: &Edge) -> SecretString {
    SecretString::from(storage::hex(
        (edge.random)().get(..CODE_BYTES).unwrap_or_default(),
    ))
}

pub fn path(code: &SecretString) -> String {
    format!("{PREFIX}/sign-in/{}", code.expose_secret())
}
