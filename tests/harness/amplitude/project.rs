//! One project: the events it accepts and counts, its limits and its users.

use super::people::{People, Profile};
use super::request::{Event, IDENTIFY, text};
use super::response::{Busy, Refusal};
use domain::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Events repeated within this time are ignored.
const DEDUPLICATION_MS: i64 = 7 * 86_400_000;
/// Time span over which the events per second are averaged.
const RATE_SPAN_MS: i64 = 30_000;
/// Maximum number of events per user or device within [`RATE_SPAN_MS`]: 30 per second.
const MAX_IN_SPAN: usize = 900;
/// Maximum length of a text, and of an array as JSON, in characters.
const MAX_CHARS: usize = 1024;
/// The daily quota stated in answers.
const DAILY_QUOTA: usize = 500_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    pub event: Value,
    /// When the event was first accepted, by the fake's clock.
    pub at: Timestamp,
    person: usize,
}

/// Why events of a user or device are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Rate,
    Daily,
}

/// A project and everything it received.
#[derive(Debug, Default)]
pub struct Project {
    secret_key: String,
    events: Vec<Counted>,
    /// Accepted `$identify` entries, which change profiles and are not counted as events.
    identified: Vec<Counted>,
    /// When each event was last counted, by insert id and device id.
    counted: BTreeMap<(String, Option<String>), Timestamp>,
    repeated: usize,
    people: People,
    silenced: BTreeSet<String>,
    limits: BTreeMap<String, (Limit, Timestamp)>,
    /// The times of the events within [`RATE_SPAN_MS`], by user id or device id.
    recent: BTreeMap<String, VecDeque<Timestamp>>,
    cut: usize,
    dropped: usize,
}

impl Project {
    pub fn new(secret_key: &str) -> Self {
        Self {
            secret_key: secret_key.to_owned(),
            ..Self::default()
        }
    }

    pub fn has_secret(&self, secret_key: &str) -> bool {
        self.secret_key == secret_key
    }

    pub fn silence(&mut self, device_id: &str) {
        self.silenced.insert(device_id.to_owned());
    }

    pub fn limit(&mut self, id: &str, limit: Limit, until: Timestamp) {
        self.limits.insert(id.to_owned(), (limit, until));
    }

    pub fn events(&self) -> &[Counted] {
        &self.events
    }

    pub fn identified(&self) -> &[Counted] {
        &self.identified
    }

    pub const fn repeated(&self) -> usize {
        self.repeated
    }

    /// Returns the number of values that were cut and of updates that were dropped.
    pub const fn losses(&self) -> (usize, usize) {
        (self.cut, self.dropped)
    }

    pub fn profile(&self, id: &str) -> Option<Profile> {
        Some(self.profile_of(self.people.find(id)?))
    }

    pub fn profiles(&self) -> Vec<Profile> {
        self.people
            .persons()
            .map(|person| self.profile_of(person))
            .collect()
    }

    fn profile_of(&self, person: usize) -> Profile {
        let own = self
            .events
            .iter()
            .filter(|one| self.people.present(one.person) == person);
        self.people
            .profile(person, own.map(|one| one.event.clone()).collect())
    }

    /// Accepts all events of a request, or refuses all.
    pub fn take(&mut self, events: &[Event], now: Timestamp) -> Result<(), Refusal> {
        if let Some((index, device)) = self.first_silenced(events) {
            return Err(Refusal::silenced(device, index));
        }
        self.within(events, Limit::Daily, now)?;
        self.within(events, Limit::Rate, now)?;
        self.within_rate(events, now)?;
        for event in events {
            self.count(event, now);
        }
        Ok(())
    }

    fn first_silenced<'a>(&self, events: &'a [Event]) -> Option<(usize, &'a str)> {
        let mut devices = events
            .iter()
            .enumerate()
            .filter_map(|(index, event)| Some((index, text(event, "device_id")?)));
        devices.find(|(_, device)| self.silenced.contains(*device))
    }

    /// Refuses the events if one of their users or devices currently exceeds this limit.
    fn within(&self, events: &[Event], limit: Limit, now: Timestamp) -> Result<(), Refusal> {
        let is_limited = |id: &str| {
            self.limits
                .get(id)
                .is_some_and(|(kind, until)| *kind == limit && *until > now)
        };
        match limit {
            Limit::Rate => busy(events, |id| is_limited(id).then_some(31))
                .map_or(Ok(()), |busy| Err(busy.throttled())),
            Limit::Daily => busy(events, |id| is_limited(id).then_some(DAILY_QUOTA + 1))
                .map_or(Ok(()), |busy| Err(busy.over_quota())),
        }
    }

    fn within_rate(&mut self, events: &[Event], now: Timestamp) -> Result<(), Refusal> {
        let mut counts = BTreeMap::<String, usize>::new();
        for id in events.iter().flat_map(ids).map(|(_, id)| id) {
            *counts.entry(id.to_owned()).or_default() += 1;
        }
        for (id, count) in &mut counts {
            let recent = self.recent.entry(id.clone()).or_default();
            while recent
                .front()
                .is_some_and(|first| now.millis_since(*first) >= RATE_SPAN_MS)
            {
                recent.pop_front();
            }
            *count += recent.len();
        }
        let eps = |id: &str| {
            counts
                .get(id)
                .filter(|count| **count > MAX_IN_SPAN)
                .map(|count| count.div_ceil(30))
        };
        busy(events, eps).map_or(Ok(()), |busy| Err(busy.throttled()))
    }

    fn count(&mut self, event: &Event, now: Timestamp) {
        for (_, id) in ids(event) {
            self.recent.entry(id.to_owned()).or_default().push_back(now);
        }
        if let Some(insert_id) = text(event, "insert_id") {
            let name = (
                insert_id.to_owned(),
                text(event, "device_id").map(str::to_owned),
            );
            if self
                .counted
                .get(&name)
                .is_some_and(|last| now.millis_since(*last) < DEDUPLICATION_MS)
            {
                self.repeated += 1;
                return;
            }
            self.counted.insert(name, now);
        }
        let mut event = Value::Object(event.clone());
        self.cut += cut(&mut event);
        let person = self
            .people
            .identify(event["user_id"].as_str(), event["device_id"].as_str());
        let properties = event["user_properties"]
            .as_object()
            .filter(|properties| !properties.is_empty());
        if let Some(properties) = properties
            && event["$skip_user_properties_sync"] != true
            && !self.people.update(person, properties, now)
        {
            self.dropped += 1;
        }
        let is_event = event["event_type"] != IDENTIFY;
        let list = if is_event {
            &mut self.events
        } else {
            &mut self.identified
        };
        list.push(Counted {
            event,
            at: now,
            person,
        });
    }
}

/// Returns an event's user id and device id, each after the name of its field.
fn ids(event: &Event) -> impl Iterator<Item = (&'static str, &str)> {
    ["user_id", "device_id"]
        .into_iter()
        .filter_map(|field| Some((field, text(event, field)?)))
}

/// Returns the users and devices for which `eps` returns a number, with that number; `None` if there are none.
fn busy(events: &[Event], eps: impl Fn(&str) -> Option<usize>) -> Option<Busy> {
    let mut found: Option<Busy> = None;
    for (index, event) in events.iter().enumerate() {
        for (field, id) in ids(event) {
            let Some(eps) = eps(id) else { continue };
            let busy = found.get_or_insert_with(|| Busy {
                first: index,
                ..Busy::default()
            });
            let list = if field == "user_id" {
                &mut busy.users
            } else {
                &mut busy.devices
            };
            list.insert(id.to_owned(), json!(eps));
        }
    }
    found
}

/// Cuts overlong values, and returns how many were cut.
fn cut(value: &mut Value) -> usize {
    match value {
        Value::String(text) => {
            let is_long = text.chars().count() > MAX_CHARS;
            if is_long {
                *text = text.chars().take(MAX_CHARS).collect();
            }
            usize::from(is_long)
        }
        Value::Array(items) => {
            let before = items.len();
            while json!(items).to_string().chars().count() > MAX_CHARS && items.pop().is_some() {}
            usize::from(items.len() < before)
        }
        Value::Object(fields) => fields.values_mut().map(cut).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
