//! `/v1/events`: recorded events.

use super::query::Listed;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Id, Query};
use crate::keys::Caller;
use crate::near::did_you_mean;
use axum::Json;
use axum::extract::State;
use domain::event::recorded_types;
use domain::{AppId, CollapseKey, Environment, EventId, PlatformId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{EventFilter, EventView, Page, Paged};

/// Which events; all that are set must match.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct EventQuery {
    /// Only this event.
    id: Option<EventId>,
    /// Only events of this app.
    app_id: Option<AppId>,
    /// Only events about purchases of this platform.
    platform_id: Option<PlatformId>,
    /// Only events about this purchase or, with a destination's id, about that destination.
    collapse_key: Option<CollapseKey>,
    /// Only events about purchases that this user owned when the events were recorded.
    user_id: Option<UserId>,
    /// Only events of these types, separated by commas: names, or groups such as `user.*`.
    #[serde(rename = "type")]
    #[schemars(extend("examples" = ["user.*,purchase.updated"]))]
    types: Option<String>,
    /// Only those recorded in this environment.
    environment: Option<Environment>,
    /// Only events recorded at or after this time.
    from: Option<Timestamp>,
    /// Only events recorded before this time.
    until: Option<Timestamp>,
}

impl EventQuery {
    fn filter(self) -> Result<EventFilter, Error> {
        Ok(EventFilter {
            types: self
                .types
                .map_or_else(|| Ok(Vec::new()), |types| chosen(&types))
                .map_err(wrong_type)?,
            id: self.id,
            app_id: self.app_id,
            platform_id: self.platform_id,
            collapse_key: self.collapse_key,
            user_id: self.user_id,
            environment: self.environment,
            from: self.from,
            until: self.until,
        })
    }
}

/// `GET /v1/events`, newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { filter, page }): Query<Listed<EventQuery>>,
) -> Result<Json<Paged<EventView>>, Error> {
    let mut filter = filter.filter()?;
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(edge.store.events(filter, page.page()).await?))
}

/// `GET /v1/events/{event_id}`
pub async fn show(
    State(edge): State<Shared>,
    Id(id): Id<EventId>,
) -> Result<Json<EventView>, Error> {
    match edge.store.event(id).await {
        Err(storage::Error::Missing { .. }) => Err(Error::missing("event", id)),
        found => Ok(Json(found?)),
    }
}

/// Returns a page of the events about a user of an app, newest first.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_user(
    edge: &Edge,
    app: AppId,
    user: UserId,
    page: Page,
) -> Result<Paged<EventView>, Error> {
    let about = EventFilter {
        app_id: Some(app),
        user_id: Some(user),
        ..EventFilter::default()
    };
    Ok(edge.store.events(about, page).await?)
}

fn wrong_type(expected: String) -> Error {
    Error::invalid("type", expected)
}

/// Returns the types matched by a list of names and groups; empty for all.
///
/// # Errors
/// The expected values, if a name matches no type.
pub fn chosen(text: &str) -> Result<Vec<String>, String> {
    let known = recorded_types();
    let mut types = Vec::new();
    for name in text.split(',').map(str::trim) {
        let before = types.len();
        match name.strip_suffix('*') {
            Some("") => return Ok(Vec::new()),
            Some(group) => types.extend(
                known
                    .iter()
                    .filter(|one| group.ends_with('.') && one.starts_with(group)),
            ),
            None => types.extend(known.iter().filter(|one| **one == name)),
        }
        if types.len() == before {
            let meant = did_you_mean(name, known.iter().copied());
            let shown: String = name.chars().take(100).collect();
            let known = if meant.is_empty() {
                format!("; event types: {}", known.join(", "))
            } else {
                String::new()
            };
            return Err(format!(
                "an event type or a group such as `user.*`, not `{shown}`{meant}{known}"
            ));
        }
    }
    types.sort_unstable();
    types.dedup();
    Ok(types.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn groups_and_names_are_types() {
        assert_eq!(chosen("purchase.updated").unwrap(), ["purchase.updated"]);
        let users = chosen("user.*").unwrap();
        assert!(
            users.len() > 10 && users.iter().all(|name| name.starts_with("user.")),
            "{users:?}"
        );
        assert_eq!(chosen("user.*, user.subscription.renewed").unwrap(), users);
        assert_eq!(
            chosen("user.subscription.*,purchase.updated").unwrap()[0],
            "purchase.updated"
        );
        assert!(chosen("*,purchase.updated").unwrap().is_empty());
        for wrong in [
            "",
            "user",
            "user*",
            "nothing.*",
            "purchase.updated,",
            "purchase.update",
        ] {
            assert!(chosen(wrong).is_err(), "{wrong}");
        }
        let typo = chosen("purchase.update").unwrap_err();
        assert!(typo.contains("did you mean `purchase.updated`?"), "{typo}");
    }
}
