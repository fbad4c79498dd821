//! The fields that destinations of every kind have. What a kind needs besides is its own rule, see
//! [`crate::edge::Kinds`].

use crate::edge::{Edge, Kinds};
use crate::error::Error;
use crate::resources::Fields;
use crate::resources::near::near;
use domain::AppId;
use std::ops::RangeInclusive;
use storage::{Filter, FilterPatch, Limits, LimitsPatch};

/// More names than there are to choose from are a mistake.
const MOST_EVENTS: usize = 32;
/// Platforms that a filter may name.
const MOST_PLATFORMS: usize = 100;
/// As many as there are.
const MOST_ENVIRONMENTS: usize = 2;
/// Requests a second.
const RATE: RangeInclusive<i64> = 1..=1000;
/// Requests at once.
const CONCURRENCY: RangeInclusive<i64> = 1..=200;

/// What is given of a destination. Each field is absent, null where that means something, or a value.
pub struct Common {
    /// The events that it chose.
    pub events: Option<Vec<String>>,
    filter: Option<Option<FilterPatch>>,
    /// Whether deliveries are attempted.
    pub enabled: Option<bool>,
    rate: Option<Option<i64>>,
    concurrency: Option<Option<i64>>,
    schedule: Option<Option<Vec<i64>>>,
}

impl Common {
    /// Reads them; `bound` is the most requests a second that the kind allows.
    pub fn read(fields: &mut Fields, kinds: &dyn Kinds, bound: Option<i64>) -> Self {
        Self {
            events: events(fields),
            filter: fields.nullable("filter", |fields, name| fields.object(name, filter)),
            enabled: fields.flag("enabled"),
            rate: fields.nullable("rate", |fields, name| rate(fields, name, bound)),
            concurrency: fields.nullable("concurrency", |fields, name| fields.integer(name, CONCURRENCY)),
            schedule: fields.nullable("schedule", |fields, name| schedule(fields, name, kinds)),
        }
    }

    /// What is to change in the limits. Null brings back what holds without a word.
    pub fn limits(&self, bound: Option<i64>) -> LimitsPatch {
        LimitsPatch {
            rate: self.rate.map(|rate| rate.or(bound)),
            concurrency: self.concurrency.map(|given| given.unwrap_or(Limits::default().concurrency)),
            schedule: self.schedule.clone(),
        }
    }

    /// What is to change in the filter; `None` when nothing is. Null wants all.
    pub fn filter(&self) -> Option<FilterPatch> {
        self.filter.clone().map(|given| given.unwrap_or_else(|| Filter::default().into()))
    }

    /// Notes each platform in the filter that is none of the app's.
    pub async fn check_platforms(&self, edge: &Edge, app: AppId, fields: &mut Fields) -> Result<(), Error> {
        let Some(Some(filter)) = &self.filter else { return Ok(()) };
        for (at, id) in filter.platforms.iter().flatten().enumerate() {
            match edge.store.platform(*id).await {
                Ok(platform) if platform.app_id == app => {}
                Ok(_) | Err(storage::Error::Missing { .. }) => {
                    let expected = format!("the id of a platform of this app, and `{id}` is none");
                    fields.wrong(&format!("filter.platforms[{at}]"), expected);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn events(fields: &mut Fields) -> Option<Vec<String>> {
    let events = fields.texts("events")?;
    if events.len() > MOST_EVENTS {
        fields.wrong("events", format!("at most {MOST_EVENTS} names"));
    } else if let Err(expected) = domain::event::check_choice(&events) {
        let choices = domain::event::choices();
        let strange = events.iter().find(|name| !choices.contains(&name.as_str()));
        fields.wrong("events", strange.map_or(expected, |name| instead_of(name, &choices)));
    }
    Some(events)
}

/// What is expected instead of a strange name: the nearest one first, then those that are sent.
fn instead_of(strange: &str, choices: &[&str]) -> String {
    let is_sent = |name: &&str| domain::event::unsent_choices(&[(*name).to_owned()]).is_empty();
    let sent: Vec<&str> = choices.iter().copied().filter(is_sent).collect();
    let meant = near(strange, sent.iter().copied());
    let meant = meant.map_or_else(String::new, |name| format!("`{name}` (did you mean that by `{strange}`?), or "));
    let strange = if meant.is_empty() { format!(", and `{strange}` is none") } else { String::new() };
    format!("{meant}a type of event{strange}: {}", sent.join(", "))
}

fn filter(fields: &mut Fields) -> FilterPatch {
    let platforms = fields.nullable("platforms", |fields, name| parsed(fields, name, "a platform id (a UUID)"));
    let environments = fields.nullable("environments", |fields, name| parsed(fields, name, "production or sandbox"));
    let (platforms, environments) =
        (platforms.map(Option::unwrap_or_default), environments.map(Option::unwrap_or_default));
    if platforms.as_ref().is_some_and(|platforms: &Vec<_>| platforms.len() > MOST_PLATFORMS) {
        fields.wrong("platforms", format!("at most {MOST_PLATFORMS} platforms"));
    }
    if environments.as_ref().is_some_and(|environments: &Vec<_>| environments.len() > MOST_ENVIRONMENTS) {
        fields.wrong("environments", "each environment once");
    }
    FilterPatch { platforms, environments }
}

fn parsed<T: std::str::FromStr>(fields: &mut Fields, name: &'static str, expected: &str) -> Option<Vec<T>> {
    let mut found = Vec::new();
    for (at, text) in fields.texts(name)?.into_iter().enumerate() {
        match text.parse() {
            Ok(value) => found.push(value),
            Err(_) => fields.wrong(&format!("{name}[{at}]"), format!("{expected}, and it is `{text}`")),
        }
    }
    Some(found)
}

fn rate(fields: &mut Fields, name: &'static str, bound: Option<i64>) -> Option<i64> {
    let most = bound.unwrap_or(*RATE.end()).min(*RATE.end());
    fields.integer(name, *RATE.start()..=most)
}

fn schedule(fields: &mut Fields, name: &'static str, kinds: &dyn Kinds) -> Option<Vec<i64>> {
    let waits = fields.integers(name)?;
    if let Err(wrong) = kinds.check_schedule(&waits) {
        fields.wrong(name, wrong.expected);
    }
    Some(waits)
}

#[cfg(test)]
mod tests {
    use super::instead_of;

    #[test]
    fn the_nearest_event_comes_first_and_none_that_is_never_sent_is_offered() {
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
            assert!(!expected.contains("device."), "{expected}");
            assert!(!expected.contains("transferred"), "{expected}");
        }
    }
}
