//! `/v1/destinations`: the receivers of an app's events. [`protocols::destinations`] has the rules of each kind.

mod actions;
mod fields;
mod secrets;
mod shown;

pub use fields::NewDestination;

pub use actions::{Retrying, Skipping, disable, enable, probe, retry};
pub use secrets::{Tested, rotate, rotate_version, test};
pub use shown::{CHECKED, CreatedDestination, DestinationStanding, shown_state_for_people};

use crate::answer::{Created, NoContent};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Draft, FieldErrors, Id, PageQuery, Query, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::{AppId, DestinationId, Environment};
use protocols::destinations::{
    self, ChangedSettings, Invalid, Kind, KindSchemas, NewSettings, kind,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use shown::{DestinationDetail, RevealedSecrets};
use storage::{
    Addressee, App, Destination, DestinationChange, DestinationSettings, Page, Paged, Platform,
    ShownDestination, SkippedEvents,
};

/// Maximum number of `user.*` events that one request skips, so that it finishes within its time limit.
const SKIPPED_AT_ONCE: i64 = 50_000;

/// `POST /v1/apps/{app_id}/destinations`. Secrets are in this response only.
pub async fn create(
    edge: Acting,
    Stored(app): Stored<App>,
    mut draft: Draft<NewDestination>,
) -> Result<Created<CreatedDestination>, Error> {
    let Draft { body, wrong } = &mut draft;
    let usual_rate = kind(&body.kind).ok().and_then(Kind::usual_rate);
    fields::check(&body.kind, &body.common, |_| true, wrong);
    fields::check_platforms(&edge, app.id, &body.common.filter, wrong).await?;
    let mut prepared = None;
    if !wrong.has("kind") {
        let names = destinations::fields(&body.kind)
            .map(|own| own.created.keys().map(String::as_str).collect());
        let fields = own_fields(&mut body.own, names, "kind", wrong);
        prepared = collect_errors(
            kind(&body.kind)
                .map_err(|unknown| vec![unknown])
                .and_then(|kind| kind.create(&fields, &edge.allowed, (edge.random)())),
            wrong,
        );
    }
    let NewDestination {
        kind, mut common, ..
    } = draft.finish()?;
    let Some(NewSettings {
        settings,
        secret,
        shown,
        traits,
    }) = prepared
    else {
        return Err(Error::invalid("kind", "a kind of destination"));
    };
    common.rate = common.rate.or(usual_rate);
    let new = storage::NewDestination {
        app_id: app.id,
        kind,
        common,
        settings,
        secret,
        traits,
    };
    let created = edge.store.new_destination(new).await?;
    let skipping = sandbox_warning(&edge, &created).await?;
    let detail = DestinationDetail::read(&edge, created).await?;
    Ok(Created(
        CreatedDestination::new(detail, shown).with_warning(skipping),
    ))
}

/// Returns the warning that a destination skips events of sandbox platforms, if its filter includes one.
async fn sandbox_warning(
    edge: &Edge,
    created: &Destination,
) -> Result<Option<&'static str>, Error> {
    let kind = kind(&created.kind).ok();
    let Some(warning) = kind.and_then(|kind| kind.sandbox_warning(&created.settings)) else {
        return Ok(None);
    };
    let platforms = edge
        .store
        .platforms(created.app_id, Page::default())
        .await?
        .items;
    let is_wanted = |platform: &Platform| {
        platform.settings.environment == Environment::Sandbox
            && created.filter.wants(platform.id, Environment::Sandbox)
    };
    Ok(platforms.iter().any(is_wanted).then_some(warning))
}

/// `GET /v1/apps/{app_id}/destinations`, without secrets or health.
pub async fn list(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<ShownDestination>>, Error> {
    Ok(Json(of_app(&edge, app.id, query.page()).await?))
}

/// Returns a page of an app's destinations, without secrets.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_app(edge: &Edge, app: AppId, page: Page) -> Result<Paged<ShownDestination>, Error> {
    let shown = |one: ShownDestination| ShownDestination {
        destination: destinations::shown(one.destination),
        ..one
    };
    Ok(edge.store.destinations(app, page).await?.map(shown))
}

/// Returns a destination, even a deleted one; `None` if it never existed.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn once_created(edge: &Edge, id: DestinationId) -> Result<Option<Addressee>, Error> {
    match edge.store.explain_destination(id).await {
        Err(storage::Error::Missing { .. }) => Ok(None),
        found => Ok(Some(found?.addressee)),
    }
}

/// Returns the version of a destination's secret, so that a form that replaces the secret can tell whether it has
/// changed.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn secret_version(edge: &Edge, id: DestinationId) -> Result<String, Error> {
    Ok(edge.store.destination_secret_version(id).await?)
}

/// `GET /v1/destinations/{destination_id}`: its settings without secrets, and its health.
pub async fn show(
    State(edge): State<Shared>,
    Stored(destination): Stored<Destination>,
) -> Result<Json<DestinationDetail>, Error> {
    Ok(Json(DestinationDetail::read(&edge, destination).await?))
}

/// `PATCH /v1/destinations/{destination_id}`. Pending deliveries stay pending while the destination is disabled. Once
/// it is enabled again, all of them are sent or, with `newest_only`, only the latest state of each purchase.
pub async fn update(
    edge: Acting,
    Stored(before): Stored<Destination>,
    mut draft: Draft<fields::DestinationPatch>,
) -> Result<Json<CreatedDestination>, Error> {
    let Draft { body, wrong } = &mut draft;
    let usual_rate = kind(&before.kind).ok().and_then(Kind::usual_rate);
    let common = body.common.apply(&before.common)?;
    fields::check(&before.kind, &common, |name| body.common.has(name), wrong);
    // Checked only if the request sets them: platforms in the stored filter may have been deleted since.
    if body
        .common
        .get("filter")
        .is_some_and(|filter| filter.get("platforms").is_some())
    {
        fields::check_platforms(&edge, before.app_id, &common.filter, wrong).await?;
    }
    let enabled = body.common.has("enabled").then_some(common.enabled);
    let wanted = Switch::read(body.newest_only, enabled, &before, wrong);
    let own = destinations::fields(&before.kind);
    let refused = take(
        &mut body.own,
        own.map(|own| own.on_creation).unwrap_or_default(),
    );
    let mut fields = own_fields(
        &mut body.own,
        own.map(KindSchemas::changeable),
        "newest_only",
        wrong,
    );
    fields.extend(refused);
    let secret = edge.store.destination_secret(before.id).await?;
    let changed = if fields.is_empty() {
        None
    } else {
        let kind = kind(&before.kind).map_err(|unknown| vec![unknown]);
        Some(kind.and_then(|kind| kind.change(&before.settings, &secret, &fields, &edge.allowed)))
    };
    let changed = changed.and_then(|changed| collect_errors(changed, wrong));
    let patch = draft.finish()?.common;
    let wanted = wanted?;
    let (change, shown) = changed
        .map(|changed| change_of(&before, secret, changed))
        .unwrap_or_default();
    let set = move |settings: &mut DestinationSettings| {
        // Applied again under the lock, because another change may have been stored meanwhile. The patch was valid
        // above.
        if let Ok(changed) = patch.apply(settings) {
            let rate = changed.rate.or(usual_rate);
            *settings = DestinationSettings {
                rate,
                enabled: settings.enabled,
                ..changed
            };
        }
    };
    let after = wanted.apply(&edge, before.id, change, set).await?;
    let detail = DestinationDetail::read(&edge, after).await?;
    Ok(Json(CreatedDestination::new(detail, shown)))
}

/// Returns the change to store for the kind's changed settings, and the secrets that only this response shows.
fn change_of(
    before: &Destination,
    secret: SecretString,
    changed: ChangedSettings,
) -> (DestinationChange, RevealedSecrets) {
    let change = DestinationChange {
        profile: changed.profile,
        settings: Some(changed.settings).filter(|settings| *settings != before.settings),
        secret: Some(changed.secret).filter(|new| new.expose_secret() != secret.expose_secret()),
        based_on: Some((before.settings.clone(), secret)),
        reason: None,
    };
    (change, changed.shown)
}

/// `DELETE /v1/destinations/{destination_id}`
pub async fn delete(edge: Acting, Id(id): Id<DestinationId>) -> Result<NoContent, Error> {
    edge.store.delete_destination(id).await?;
    Ok(NoContent)
}

/// Whether to enable or disable the destination.
struct Switch {
    on: Option<bool>,
    newest_only: bool,
}

impl Switch {
    /// Reads the switch from a patch. A destination that is already enabled cannot be enabled with `newest_only`.
    fn read(
        newest_only: Option<bool>,
        enabled: Option<bool>,
        before: &Destination,
        wrong: &mut FieldErrors,
    ) -> Result<Self, Error> {
        let newest_only = newest_only.unwrap_or(false);
        if newest_only && enabled != Some(true) {
            wrong.add(
                "newest_only",
                "`enabled`: true as well, since it selects what is sent after enabling",
            );
        }
        if newest_only && before.enabled {
            let detail =
                "the destination is enabled, so its events are on their way: disable it first";
            return Err(Error::Conflict(detail.to_owned()));
        }
        Ok(Self {
            on: enabled.filter(|enabled| *enabled != before.enabled),
            newest_only,
        })
    }

    /// Stores the change, and enables or disables the destination.
    async fn apply(
        self,
        edge: &Acting,
        id: DestinationId,
        mut change: DestinationChange,
        mut set: impl FnMut(&mut DestinationSettings) + Clone + Send + 'static,
    ) -> Result<Destination, Error> {
        if self.newest_only {
            // First the changes that storage may refuse, so that after a refusal no event is skipped.
            edge.store
                .update_destination(id, std::mem::take(&mut change), set.clone())
                .await?;
            let SkippedEvents { skipped, more } =
                edge.store.skip_user_events(id, SKIPPED_AT_ONCE).await?;
            if more {
                let detail = format!(
                    "{skipped} `user.*` events were skipped and there may be more, so the destination is still \
                     disabled: repeat this request, or POST /v1/destinations/{id}/enable, which continues by itself"
                );
                return Err(Error::Unavailable(detail));
            }
        }
        change.reason = self
            .on
            .map(|on| (!on).then(|| "disabled by an admin".to_owned()));
        let switched = move |settings: &mut DestinationSettings| {
            set(settings);
            settings.enabled = self.on.unwrap_or(settings.enabled);
        };
        let after = edge.store.update_destination(id, change, switched).await?;
        if self.on.is_some() {
            supervise(edge, id).await;
        }
        if self.on == Some(true) && edge.store.stream_backlog(id).await? > 0 {
            edge.dispatch.engine().stream(id);
        }
        Ok(after)
    }
}

/// Starts or signals the destination's workflow after a change. If Temporal does not accept the signal, the sweep finds
/// the pending deliveries later.
async fn supervise(edge: &Edge, id: DestinationId) {
    if let Err(error) = super::signals::taken(edge.dispatch.engine().supervise(id)).await {
        tracing::warn!(
            destination.id = %id,
            reason = %error,
            "Temporal took no signal; the sweep finds what is pending"
        );
    }
}

/// Moves the fields with these names out of the map.
fn take(fields: &mut Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    names
        .iter()
        .filter_map(|name| fields.remove_entry(*name))
        .collect()
}

/// Moves the fields of the kind out of the map. If the kind is known, all remaining fields are errors. `request_field`
/// is the common field that only this request has: `kind` or `newest_only`.
fn own_fields(
    fields: &mut Map<String, Value>,
    names: Option<Vec<&str>>,
    request_field: &'static str,
    wrong: &mut FieldErrors,
) -> Map<String, Value> {
    let Some(names) = names else {
        return std::mem::take(fields);
    };
    let common = [
        request_field,
        "name",
        "events",
        "filter",
        "enabled",
        "rate",
        "concurrency",
        "schedule",
        "both_environments",
    ];
    fields.retain(|name, _| !common.contains(&name.as_str()));
    let own = take(fields, &names);
    let known: Vec<&str> = common
        .into_iter()
        .chain(names.into_iter().filter(|name| !common.contains(name)))
        .collect();
    fields
        .keys()
        .for_each(|name| wrong.add_unknown(name, &known));
    own
}

fn collect_errors<T>(result: Result<T, Vec<Invalid>>, wrong: &mut FieldErrors) -> Option<T> {
    result
        .map_err(|all| {
            all.into_iter()
                .for_each(|one| wrong.add(&one.field, one.expected))
        })
        .ok()
}
