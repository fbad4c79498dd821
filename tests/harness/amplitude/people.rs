//! The users of a project: which user ids and device ids belong to one person, and that person's properties.

use domain::Timestamp;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Maximum number of updates of user properties per user and hour; further ones are dropped.
const MAX_UPDATES: usize = 1800;
const HOUR_MS: i64 = 3_600_000;

/// A user's profile in a project.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The user id; `None` while only a device id is known.
    pub user_id: Option<String>,
    pub device_ids: BTreeSet<String>,
    pub properties: Value,
    /// The user's events, in the order in which they were accepted.
    pub events: Vec<Value>,
}

#[derive(Debug, Default)]
struct Person {
    user_id: Option<String>,
    devices: BTreeSet<String>,
    properties: Map<String, Value>,
    updates: VecDeque<Timestamp>,
}

impl Person {
    /// Applies `$set` and `$unset`, and sets plain values.
    fn change(&mut self, properties: &Map<String, Value>) {
        for (name, value) in properties {
            match (name.as_str(), value.as_object()) {
                ("$set", Some(values)) => self.properties.extend(values.clone()),
                ("$unset", Some(values)) => {
                    self.properties.retain(|name, _| !values.contains_key(name))
                }
                _ => drop(self.properties.insert(name.clone(), value.clone())),
            }
        }
    }
}

/// All users of a project. A person is an index; when two prove to be one person, both indexes stay valid.
#[derive(Debug, Default)]
pub struct People {
    all: Vec<Person>,
    by_user: BTreeMap<String, usize>,
    by_device: BTreeMap<String, usize>,
    /// For each anonymous person that was merged, the index of the named person that it was merged into.
    joined: BTreeMap<usize, usize>,
}

impl People {
    /// Returns the index of the person with these ids, who is added if new. At least one id must be given.
    pub fn identify(&mut self, user_id: Option<&str>, device_id: Option<&str>) -> usize {
        let of_device = device_id.and_then(|device| self.by_device.get(device).copied());
        let person = match user_id {
            Some(user) => self.named(user, of_device),
            None => of_device.unwrap_or_else(|| self.add()),
        };
        if let Some(device) = device_id {
            self.by_device.insert(device.to_owned(), person);
            self.all[person].devices.insert(device.to_owned());
        }
        person
    }

    /// Returns the index of the person with this user id, after merging the device's anonymous person into it.
    fn named(&mut self, user: &str, of_device: Option<usize>) -> usize {
        let nameless = of_device.filter(|person| self.all[*person].user_id.is_none());
        let known = self.by_user.get(user).copied();
        let person = known.or(nameless).unwrap_or_else(|| self.add());
        if let Some(nameless) = nameless.filter(|nameless| *nameless != person) {
            self.join(nameless, person);
        }
        self.all[person].user_id = Some(user.to_owned());
        self.by_user.insert(user.to_owned(), person);
        person
    }

    /// Copies the properties that the named person lacks, and all devices, from the anonymous one.
    fn join(&mut self, nameless: usize, person: usize) {
        let was = std::mem::take(&mut self.all[nameless]);
        for (name, value) in was.properties {
            self.all[person].properties.entry(name).or_insert(value);
        }
        for device in was.devices {
            self.by_device.insert(device.clone(), person);
            self.all[person].devices.insert(device);
        }
        self.joined.insert(nameless, person);
    }

    fn add(&mut self) -> usize {
        self.all.push(Person::default());
        self.all.len() - 1
    }

    /// Sets a person's properties. Returns `false` if the update exceeds the hourly limit and is dropped.
    pub fn update(
        &mut self,
        person: usize,
        properties: &Map<String, Value>,
        now: Timestamp,
    ) -> bool {
        let person = &mut self.all[person];
        while person
            .updates
            .front()
            .is_some_and(|first| now.millis_since(*first) >= HOUR_MS)
        {
            person.updates.pop_front();
        }
        let is_allowed = person.updates.len() < MAX_UPDATES;
        if is_allowed {
            person.updates.push_back(now);
            person.change(properties);
        }
        is_allowed
    }

    /// Returns the index of the person with this user id or, failing that, device id.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_user
            .get(id)
            .or_else(|| self.by_device.get(id))
            .copied()
    }

    pub fn persons(&self) -> impl Iterator<Item = usize> {
        (0..self.all.len()).filter(|person| !self.joined.contains_key(person))
    }

    /// Returns the index of the person that `person` was merged into; `person` itself if it was not merged.
    pub fn present(&self, mut person: usize) -> usize {
        while let Some(next) = self.joined.get(&person) {
            person = *next;
        }
        person
    }

    /// Returns the profile of a person with these events.
    pub fn profile(&self, person: usize, events: Vec<Value>) -> Profile {
        let person = &self.all[person];
        Profile {
            user_id: person.user_id.clone(),
            device_ids: person.devices.clone(),
            properties: Value::Object(person.properties.clone()),
            events,
        }
    }
}
