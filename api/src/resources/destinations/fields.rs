//! Fields that all kinds of destinations share. [`protocols::destinations`] has the additional fields of each kind.

use crate::edge::Edge;
use crate::error::Error;
use crate::extract::{FieldErrors, Patch};
use crate::keys::check_visible;
use crate::near::near;
use domain::AppId;
use protocols::destinations::{self, check_schedule};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use storage::{DestinationSettings, Filter};

/// A new destination. Each kind has fields of its own besides these.
#[derive(Deserialize, JsonSchema)]
pub struct NewDestination {
    /// Kind of the destination.
    pub kind: String,
    #[serde(flatten)]
    pub common: DestinationSettings,
    /// The fields of its kind.
    #[serde(flatten)]
    pub own: Map<String, Value>,
}

/// A change to a destination: a JSON merge patch (RFC 7396). Only fields of the destination's kind are allowed. Null
/// restores the default.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "events": ["purchase.updated"], "rate": 20, "schedule": null }]))]
pub struct DestinationPatch {
    /// Skip pending `user.*` events. Requires `enabled: true`.
    pub newest_only: Option<bool>,
    #[serde(flatten)]
    pub common: Patch<DestinationSettings>,
    /// All fields, among them those of its kind.
    #[serde(flatten)]
    pub own: Map<String, Value>,
}

/// Checks the common fields of a request for rules that the schema cannot express, such as the kind's events and rate.
pub fn check(
    kind: &str,
    settings: &DestinationSettings,
    has: impl Fn(&str) -> bool,
    wrong: &mut FieldErrors,
) {
    if has("name") {
        check_visible(wrong, &settings.name);
    }
    let bound = destinations::kind(kind)
        .ok()
        .and_then(destinations::Kind::max_rate);
    let expected = wrong_choice(&settings.events)
        .or_else(|| destinations::expected_events(kind, &settings.events));
    if let Some(expected) = expected.filter(|_| has("events")) {
        wrong.add("events", expected);
    }
    if let (Some(rate), Some(bound)) = (settings.rate.filter(|_| has("rate")), bound)
        && rate > bound
    {
        wrong.add(
            "rate",
            format!("a whole number from 1 to {bound}, but it is {rate}"),
        );
    }
    if let Some(Err(expected)) = settings
        .schedule
        .as_ref()
        .filter(|_| has("schedule"))
        .map(|waits| check_schedule(waits))
    {
        wrong.add("schedule", expected.expected);
    }
}

/// Adds an error for each platform in the filter that does not belong to the app.
pub async fn check_platforms(
    edge: &Edge,
    app: AppId,
    filter: &Filter,
    wrong: &mut FieldErrors,
) -> Result<(), Error> {
    for (at, id) in filter.platforms.iter().enumerate() {
        match edge.store.platform(*id).await {
            Ok(platform) if platform.app_id == app => {}
            Ok(_) | Err(storage::Error::Missing { .. }) => {
                let expected = format!("the id of a platform of this app, but `{id}` is not one");
                wrong.add(&format!("filter.platforms[{at}]"), expected);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Returns the error of an invalid choice of events; `None` if it is valid.
fn wrong_choice(events: &[String]) -> Option<String> {
    let expected = domain::event::check_choice(events).err()?;
    let choices = domain::event::choices();
    let strange = events.iter().find(|name| !choices.contains(&name.as_str()));
    Some(strange.map_or(expected, |name| instead_of(name, &choices)))
}

/// Returns the error of an unknown event type. It suggests the nearest type, else lists all types. `*` is never
/// suggested, because a mistyped short name does not mean all events.
fn instead_of(strange: &str, choices: &[&str]) -> String {
    match near(strange, choices.iter().copied().filter(|name| *name != "*")) {
        Some(name) => format!("a type of event; `{strange}` is not one; did you mean `{name}`?"),
        None => format!(
            "a type of event; `{strange}` is not one: {}",
            choices.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::instead_of;

    #[test]
    fn the_nearest_event_comes_first_or_all_types() {
        let choices = domain::event::choices();
        let typo = instead_of("user.subscription.expire", &choices);
        let expected = "a type of event; `user.subscription.expire` is not one; did you mean `user.subscription.expired`?";
        assert_eq!(typo, expected);
        let strange = instead_of("everything", &choices);
        assert!(
            strange.starts_with("a type of event; `everything` is not one: *, "),
            "{strange}"
        );
        for short in ["x", "**", ""] {
            assert!(
                !instead_of(short, &choices).contains("did you mean"),
                "{short}"
            );
        }
        assert!(
            strange.contains("purchase.updated") && strange.contains("user.*"),
            "{strange}"
        );
        assert!(
            strange.contains("device.impression") && strange.contains("user.subscription.paused"),
            "{strange}"
        );
    }
}
