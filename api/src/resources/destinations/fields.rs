//! The fields that all kinds of destinations have. [`protocols::destinations`] has the further fields of each kind.

use crate::edge::Edge;
use crate::error::Error;
use crate::extract::near::near;
use crate::extract::{FieldErrors, nullable};
use domain::{AppId, Environment, PlatformId};
use protocols::destinations::check_schedule;
use protocols::destinations::schedule::LONGEST;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use storage::{Filter, FilterPatch, Limits, LimitsPatch};

/// Maximum number of entries in `events`.
const MAX_EVENTS: usize = 32;

/// A new destination. Each kind has fields of its own beside these.
#[derive(Deserialize, JsonSchema)]
pub struct NewDestination {
    /// Its kind.
    pub kind: String,
    /// A name for people.
    #[schemars(length(max = 200))]
    pub name: String,
    /// The fields of every kind.
    #[serde(flatten)]
    pub common: Common,
    /// The fields of its kind.
    #[serde(flatten)]
    pub own: Map<String, Value>,
}

/// A change of a destination. Each kind takes its own fields and no other's. Null resets a field to its default.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "events": ["purchase.updated"], "rate": 20, "schedule": null }]))]
pub struct DestinationPatch {
    /// A name for people.
    #[schemars(length(max = 200))]
    pub name: Option<String>,
    /// With `enabled`: true. Skips the pending `user.*` events.
    pub newest_only: Option<bool>,
    /// The fields of every kind.
    #[serde(flatten)]
    pub common: Common,
    /// The fields of its kind.
    #[serde(flatten)]
    pub own: Map<String, Value>,
}

/// The fields of every kind. Each is absent, null where that has a meaning, or a value.
#[derive(Deserialize, JsonSchema)]
pub struct Common {
    /// The events to send, by type or with a wildcard; all when absent.
    #[schemars(extend("maxItems" = MAX_EVENTS))]
    pub events: Option<Vec<String>>,
    /// Which of them, by platform and environment.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<FilterFields>")]
    filter: Option<Option<FilterFields>>,
    /// Whether deliveries are attempted; true when absent.
    pub enabled: Option<bool>,
    /// Maximum number of requests a second over all processes; null for that of the kind, above which none is accepted.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 1000))]
    rate: Option<Option<i64>>,
    /// Maximum number of requests at once over all processes; 32 when absent or null.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 200))]
    concurrency: Option<Option<i64>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<Vec<i64>>", extend("description" = schedule_description()))]
    schedule: Option<Option<Vec<i64>>>,
}

/// Which events, by platform and environment. Empty lists and null select all.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "FilterPatch")]
struct FilterFields {
    /// Only those of these platforms.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<Vec<PlatformId>>", extend("maxItems" = 100))]
    platforms: Option<Option<Vec<PlatformId>>>,
    /// Only those of these environments.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<Vec<Environment>>", extend("maxItems" = 2))]
    environments: Option<Option<Vec<Environment>>>,
}

fn schedule_description() -> String {
    format!("The waits between attempts in seconds, {LONGEST}; null for those of the kind.")
}

impl Common {
    /// Checks what the schema cannot; `bound` is the kind's maximum number of requests a second.
    pub fn check(&self, bound: Option<i64>, wrong: &mut FieldErrors) {
        if let Some(expected) = self.events.as_ref().and_then(|events| wrong_choice(events)) {
            wrong.add("events", expected);
        }
        if let (Some(Some(rate)), Some(bound)) = (self.rate, bound)
            && rate > bound
        {
            wrong.add("rate", format!("a whole number from 1 to {bound}, and it is {rate}"));
        }
        if let Some(Err(expected)) = self.schedule.iter().flatten().map(|waits| check_schedule(waits)).next() {
            wrong.add("schedule", expected.expected);
        }
    }

    /// Adds an error for each platform in the filter that does not belong to the app.
    pub async fn check_platforms(&self, edge: &Edge, app: AppId, wrong: &mut FieldErrors) -> Result<(), Error> {
        let Some(Some(FilterFields { platforms: Some(Some(platforms)), .. })) = &self.filter else { return Ok(()) };
        for (at, id) in platforms.iter().enumerate() {
            match edge.store.platform(*id).await {
                Ok(platform) if platform.app_id == app => {}
                Ok(_) | Err(storage::Error::Missing { .. }) => {
                    let expected = format!("the id of a platform of this app, and `{id}` is none");
                    wrong.add(&format!("filter.platforms[{at}]"), expected);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The change of the limits. Null resets a field to its default.
    pub fn limits(&self, bound: Option<i64>) -> LimitsPatch {
        LimitsPatch {
            rate: self.rate.map(|rate| rate.or(bound)),
            concurrency: self.concurrency.map(|limit| limit.unwrap_or(Limits::default().concurrency)),
            schedule: self.schedule.clone(),
        }
    }

    /// The change of the filter, if there is one. Null removes the filter.
    pub fn filter(&self) -> Option<FilterPatch> {
        self.filter.clone().map(|filter| match filter {
            Some(FilterFields { platforms, environments }) => FilterPatch {
                platforms: platforms.map(Option::unwrap_or_default),
                environments: environments.map(Option::unwrap_or_default),
            },
            None => Filter::default().into(),
        })
    }
}

/// The error of a wrong choice of events; `None` when it is right.
fn wrong_choice(events: &[String]) -> Option<String> {
    let expected = domain::event::check_choice(events).err()?;
    let choices = domain::event::choices();
    let strange = events.iter().find(|name| !choices.contains(&name.as_str()));
    Some(strange.map_or(expected, |name| instead_of(name, &choices)))
}

/// The error of an unknown event type: it proposes the nearest type, then lists all types that are sent.
fn instead_of(strange: &str, choices: &[&str]) -> String {
    let is_sent = |name: &&str| domain::event::unsent_choices(&[(*name).to_owned()]).is_empty();
    let sent: Vec<&str> = choices.iter().copied().filter(is_sent).collect();
    let meant = near(strange, sent.iter().copied());
    let meant = meant.map_or_else(String::new, |name| format!("`{name}` (did you mean that by `{strange}`?), or "));
    let strange = if meant.is_empty() { format!(", and `{strange}` is none") } else { String::new() };
    format!("{meant}a type of event{strange}: {}", sent.join(", "))
}

#[cfg(test)]
mod tests {
    use super::instead_of;

    #[test]
    fn the_nearest_event_comes_first_and_unsent_types_are_left_out() {
        let choices = domain::event::choices();
        let typo = instead_of("user.subscription.expire", &choices);
        assert!(
            typo.starts_with("`user.subscription.expired` (did you mean that by `user.subscription.expire`?)"),
            "{typo}"
        );
        let strange = instead_of("everything", &choices);
        assert!(strange.starts_with("a type of event, and `everything` is none: *, "), "{strange}");
        for expected in [typo, strange] {
            assert!(expected.contains("purchase.updated") && expected.contains("user.*"), "{expected}");
            assert!(expected.contains("device.impression"), "{expected}");
            assert!(!expected.contains("paused"), "{expected}");
        }
    }
}
