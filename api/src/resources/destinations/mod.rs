//! `/v1/destinations`: whom an app's events are told. What a kind needs to know is that kind's own rule, see
//! [`crate::edge::Kinds`].

mod actions;
mod fields;
mod replay;
mod secrets;
mod snapshot;

pub use actions::{disable, enable, probe, redeliver, retry};
pub use replay::replay;
pub use secrets::{rotate, test};
pub use snapshot::snapshot;

use super::{Body, Fields, Id, Query};
use crate::edge::{Edge, Made, Shared};
use crate::error::{Error, Field};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{AppId, DestinationId};
use fields::Common;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use storage::{Destination, DestinationPatch, Filter, Forgotten, Limits, NewDestination};

/// So many `user.*` events one request ends as skipped, well within its time.
const FORGOTTEN_AT_ONCE: i64 = 50_000;

/// What is shown once, by its name.
type Shown = Vec<(&'static str, SecretString)>;

/// `POST /v1/apps/{app_id}/destinations`. What its kind shows once, such as a secret, is in this answer only.
pub async fn create(
    State(edge): State<Shared>,
    Id(app_id): Id<AppId>,
    Body(mut fields): Body,
) -> Result<(StatusCode, Json<Value>), Error> {
    edge.store.app(app_id).await?;
    let kind = fields.required_text("kind");
    let name = fields.required_text("name");
    let bound = edge.kinds.bound(&kind);
    let common = Common::read(&mut fields, &*edge.kinds, bound);
    common.check_platforms(&edge, app_id, &mut fields).await?;
    let given = match edge.kinds.own(&kind) {
        Some(own) => fields.named(&[own.lasting, own.at_making].concat()),
        None => fields.rest(),
    };
    let made = if kind.is_empty() { None } else { Some(edge.kinds.make(&kind, &given, (edge.random)())) };
    let made = made.and_then(|made| made_of(made, &mut fields));
    fields.finish()?;
    let Some(Made { settings, secret, shown, traits }) = made else {
        return Err(Error::invalid("kind", "a kind of destination"));
    };
    let limits = common.limits(bound).of(Limits { rate: bound, ..Limits::default() });
    let filter = common.filter().unwrap_or_default().of(Filter::default());
    let events = common.events.unwrap_or_else(|| vec!["*".to_owned()]);
    let enabled = common.enabled.unwrap_or(true);
    let new = NewDestination { app_id, kind, name, events, filter, settings, secret, traits, limits, enabled };
    let made = edge.store.new_destination(new).await?;
    let mut view = detail(&edge, &made).await?;
    warn(&mut view, &made.events);
    show_once(&mut view, shown);
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /v1/apps/{app_id}/destinations`, without secrets and figures.
pub async fn list(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Query(mut fields): Query,
) -> Result<Json<Value>, Error> {
    let page = fields.page();
    fields.finish()?;
    edge.store.app(app).await?;
    let found = edge.store.destinations(app, page).await?;
    let items: Vec<Value> = found.items.iter().map(view).collect();
    Ok(Json(json!({ "items": items, "next_cursor": found.next_cursor })))
}

/// `GET /v1/destinations/{destination_id}`: all but its secrets, and how it fares.
pub async fn show(State(edge): State<Shared>, Id(id): Id<DestinationId>) -> Result<Json<Value>, Error> {
    let destination = edge.store.destination(id).await?;
    Ok(Json(detail(&edge, &destination).await?))
}

/// `PATCH /v1/destinations/{destination_id}`. What is owed stays owed while it is disabled, and is sent when it is
/// enabled again: all of it, or with `newest_only` the newest state of each purchase alone.
pub async fn update(
    State(edge): State<Shared>,
    Id(id): Id<DestinationId>,
    Body(mut fields): Body,
) -> Result<Json<Value>, Error> {
    let before = edge.store.destination(id).await?;
    let name = fields.text("name");
    let bound = edge.kinds.bound(&before.kind);
    let common = Common::read(&mut fields, &*edge.kinds, bound);
    common.check_platforms(&edge, before.app_id, &mut fields).await?;
    let wanted = Switch::read(&mut fields, common.enabled, &before);
    let given = of_kind(&edge, &before.kind, &mut fields);
    let secret = edge.store.destination_secret(id).await?;
    let changed = if given.is_empty() { None } else { Some(edge.kinds.change(&before, &secret, &given)) };
    let changed = changed.and_then(|changed| made_of(changed, &mut fields));
    fields.finish()?;
    let wanted = wanted?;
    let mut patch = DestinationPatch {
        name,
        limits: common.limits(bound),
        filter: common.filter(),
        events: common.events,
        ..DestinationPatch::default()
    };
    let chosen = patch.events.clone().unwrap_or_default();
    let shown = changed.map(|made| remade(&mut patch, &before, (secret, made)));
    let after = wanted.apply(&edge, id, patch).await?;
    let mut view = detail(&edge, &after).await?;
    warn(&mut view, &chosen);
    show_once(&mut view, shown.unwrap_or_default());
    Ok(Json(view))
}

/// Takes over what its kind made of it; what of that is shown once.
fn remade(patch: &mut DestinationPatch, before: &Destination, (secret, made): (SecretString, Made)) -> Shown {
    patch.profile = made.traits.profile;
    patch.settings = Some(made.settings).filter(|settings| *settings != before.settings);
    patch.secret = Some(made.secret).filter(|made| made.expose_secret() != secret.expose_secret());
    patch.made_of = Some((before.settings.clone(), secret));
    made.shown
}

/// `DELETE /v1/destinations/{destination_id}`
pub async fn delete(State(edge): State<Shared>, Id(id): Id<DestinationId>) -> Result<StatusCode, Error> {
    edge.store.delete_destination(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether it is to be switched on or off.
struct Switch {
    on: Option<bool>,
    newest_only: bool,
}

impl Switch {
    /// What is asked of a destination that is as it is `before`. What is on already cannot be enabled in a certain way.
    fn read(fields: &mut Fields, enabled: Option<bool>, before: &Destination) -> Result<Self, Error> {
        let newest_only = fields.flag("newest_only").unwrap_or(false);
        if newest_only && enabled != Some(true) {
            fields.wrong("newest_only", "`enabled`: true beside it, since it says what is sent then");
        }
        if newest_only && before.enabled {
            let detail = "the destination is enabled, so its events are on their way: disable it first";
            return Err(Error::Conflict(detail.to_owned()));
        }
        Ok(Self { on: enabled.filter(|enabled| *enabled != before.enabled), newest_only })
    }

    /// Changes the destination, and switches it.
    async fn apply(self, edge: &Edge, id: DestinationId, mut patch: DestinationPatch) -> Result<Destination, Error> {
        if self.newest_only {
            // First what can be refused, so that a refusal forgets nothing.
            edge.store.update_destination(id, std::mem::take(&mut patch)).await?;
            let Forgotten { ended, more } = edge.store.forget_user_events(id, FORGOTTEN_AT_ONCE).await?;
            if more {
                let detail = format!(
                    "{ended} `user.*` events ended as skipped and there may be more, so it is still disabled: \
                     send this again, or POST /v1/destinations/{id}/enable, which goes on by itself"
                );
                return Err(Error::Unavailable(detail));
            }
        }
        patch.enabled = self.on;
        patch.reason = self.on.map(|on| (!on).then(|| "disabled by an admin".to_owned()));
        let after = edge.store.update_destination(id, patch).await?;
        if self.on.is_some() {
            tend(edge, id).await;
        }
        Ok(after)
    }
}

/// Tells the engine that what is owed can be sent, or need not be waited for. Where it does not hear it, the sweep does.
async fn tend(edge: &Edge, id: DestinationId) {
    if let Err(error) = super::asked::taken(edge.dispatch.engine().tend(id)).await {
        tracing::warn!(destination.id = %id, reason = %error, "the engine was not told of it; the sweep finds what is owed");
    }
}

/// What a change gives of the fields of the kind alone.
fn of_kind(edge: &Edge, kind: &str, fields: &mut Fields) -> Map<String, Value> {
    let Some(own) = edge.kinds.own(kind) else { return fields.rest() };
    let mut given = fields.named(own.lasting);
    given.extend(fields.unlisted(own.at_making));
    given
}

fn made_of(made: Result<Made, Vec<Field>>, fields: &mut Fields) -> Option<Made> {
    made.map_err(|wrong| wrong.into_iter().for_each(|wrong| fields.wrong(&wrong.field, wrong.expected))).ok()
}

fn show_once(view: &mut Value, shown: Shown) {
    for (name, secret) in shown {
        view[name] = json!(secret.expose_secret());
    }
}

/// Says which of the events that were chosen in this request nothing causes as yet.
fn warn(view: &mut Value, chosen: &[String]) {
    let warnings = domain::event::unsent_choices(chosen);
    if !warnings.is_empty() {
        view["warnings"] = json!(warnings);
    }
}

/// What is shown of one: also how it fares.
async fn detail(edge: &Edge, destination: &Destination) -> Result<Value, Error> {
    let mut view = view(destination);
    view["health"] = json!(edge.store.destination_health(destination.id).await?);
    Ok(view)
}

/// What is shown of each in a list: all but its secrets. Which of them there are is among the settings of its kind.
fn view(destination: &Destination) -> Value {
    let mut view = json!({
        "id": destination.id,
        "app_id": destination.app_id,
        "kind": destination.kind,
        "name": destination.name,
        "events": destination.events,
        "filter": destination.filter,
        "rate": destination.rate,
        "concurrency": destination.concurrency,
        "schedule": destination.schedule,
        "enabled": destination.enabled,
        "state": destination.state,
        "since": destination.since,
        "created_at": destination.created_at,
    });
    if let Some(reason) = &destination.reason {
        view["reason"] = json!(reason);
    }
    for (name, value) in destination.settings.as_object().into_iter().flatten() {
        view[name] = value.clone();
    }
    view
}
